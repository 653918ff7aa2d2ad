"""The warehouse as a service: one core of questions, with rights, limits and a log behind all of them.

Here: which scope a request has (as-of date, snapshot, group), who asks and with which rights, the lake kept open, the
questions themselves, and the processes in which SQL of somebody else runs. The adapters are thin: `http/` for programs
and people, `dicomweb/` for viewers, `mcp/` for assistants. Nothing here writes to the lake. Needs the extra `serve`.
"""
