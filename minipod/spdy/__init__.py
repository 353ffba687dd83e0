"""SPDY/3.1, as much as Kubernetes' streams use, as a state machine without I/O.

`connection.Connection` takes bytes that came and gives events and bytes to send; who reads and writes sockets is not
its concern (the node's is asyncio, the command line's is select(2)). Draft: draft-mbelshe-httpbis-spdy-00 and its
successor for 3.1, which adds a window of the whole connection.
"""
