"""MCP: the warehouse for assistants, over stdio (`chest mcp`) and at /mcp of the server, with the same rights and log.

Tools answer briefly and in structure. Rows of patients are for those who may see rows; others get rounded counts.
"""
