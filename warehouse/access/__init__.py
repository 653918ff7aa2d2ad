"""Access: who may take what, until when. Requests, reviews, decisions and agreements as events of a log in the lake.

Belongs here: the log and its chain, the states of an application, what an agreement allows. Does not: what is taken
(warehouse/query and above ask here first), and the commands (warehouse/cli).
"""
