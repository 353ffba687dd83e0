"""exec, attach and port-forward as the kubelet serves them.

requests        which container, which protocol, and the upgrade
remote_command  a program's streams against a client's channels, whatever carries them
websocket       channels over WebSocket: v5, v4, their base64 and older forms
spdy_command    channels over SPDY/3.1: remote command protocols v1 to v4
port_forward    pairs of streams against ports of a Pod: over SPDY, SPDY in a WebSocket, WebSocket channels
spdy_session    SPDY/3.1 on the asyncio loop, for both
"""
