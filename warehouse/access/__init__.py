"""Access: who may take what, and until when, by requests, reviews and agreements that are events of a log in the lake.

Belongs here: the log and its chain, the states of an application, what an agreement allows. Does not: what is taken
(warehouse/query and above ask here first), and the commands (warehouse/cli).
"""
