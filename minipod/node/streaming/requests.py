"""exec, attach and port-forward: which container is meant, which protocol, and the upgrade to it.

The paths and parameters are the kubelet's: input, output, error, tty, command; port.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aiohttp import web

from minipod.api.errors import bad_request, status_error
from minipod.clock import call_off
from minipod.node.log_requests import container_not_running, is_set
from minipod.node.node_view import NodeView, find_pod
from minipod.node.streaming import remote_command, spdy_command, websocket
from minipod.node.streaming.port_forward import (
    Forwarder,
    parse_ports,
    serve_spdy,
    serve_websocket,
)
from minipod.node.streaming.remote_command import NO_SIZE, Channels, Wanted
from minipod.node.streaming.spdy_session import Pipe, WebSocketPipe
from minipod.node.streaming.statuses import failure
from minipod.runtime.service import RuntimeFailure, Streams
from minipod.runtime.spec import ContainerStatus, ExecSpec
from minipod.upgrade import Taken, UpgradedConnection, wants_upgrade

IDLE_SECONDS = 4 * 3600.0  # the kubelet's --streaming-connection-idle-timeout
SPDY = "SPDY/3.1"
PROTOCOL_HEADER = "X-Stream-Protocol-Version"
FORWARD_SPDY = "portforward.k8s.io"
FORWARD_TUNNEL = "SPDY/3.1+portforward.k8s.io"
FORWARD_CHANNELS = (websocket.V4, websocket.V4_BASE64, websocket.NONE)
Begin = Callable[[Channels], Awaitable[Streams]]


class StreamRequests:
    """The handlers of one node."""

    def __init__(self, node: NodeView, idle_seconds: float = IDLE_SECONDS) -> None:
        self._node = node
        self._idle = idle_seconds

    async def exec(self, request: web.Request) -> web.StreamResponse:
        """Run a command in a container with a client's streams."""
        wanted = _wanted(request)
        args = tuple(request.query.getall("command", []))
        if not args:
            raise bad_request("you must specify at least one command for the container")
        running, spec = self._running(request), ExecSpec(args, tty=wanted.tty, stdin=wanted.stdin)

        async def begin(channels: Channels) -> Streams:
            size = await channels.first_size() if wanted.tty else NO_SIZE
            try:
                return await self._node.runtime.exec(running.id, replace(spec, terminal_size=size))
            except RuntimeFailure as failed:
                raise RuntimeFailure(
                    failed.reason, f"error executing command in container: {failed}"
                ) from failed

        return await self._serve(request, begin, wanted, wait_for_exit=True)

    async def attach(self, request: web.Request) -> web.StreamResponse:
        """Join a client to the streams of a container's own program."""
        wanted, running = _wanted(request), self._running(request)

        async def begin(_channels: Channels) -> Streams:
            try:
                return await self._node.runtime.attach(running.id)
            except RuntimeFailure as failed:
                raise RuntimeFailure(
                    failed.reason, f"error attaching to container: {failed}"
                ) from failed

        return await self._serve(request, begin, wanted, wait_for_exit=False)

    async def port_forward(self, request: web.Request) -> web.StreamResponse:
        """Connect a client to ports of a Pod."""
        pod = find_pod(self._node, request)
        metadata = pod["metadata"]
        sandbox = self._node.sandbox_id(pod)
        if sandbox is None:
            message = f'pod "{metadata["name"]}" is not running: it has no network to forward to'
            raise status_error(404, "NotFound", message)
        runtime = self._node.runtime
        forwarder = Forwarder(
            metadata["name"], metadata["uid"], lambda port: runtime.dial(sandbox, port)
        )
        if _is_websocket(request):
            return await self._forward_websocket(request, forwarder)
        _require_spdy(request)
        pipe = _take_spdy(request, _negotiate(request, (FORWARD_SPDY,)))
        await serve_spdy(pipe, forwarder, self._idle)
        return Taken()

    async def _forward_websocket(
        self, request: web.Request, forwarder: Forwarder
    ) -> web.StreamResponse:
        protocol = websocket.choose_protocol(request, (FORWARD_TUNNEL, *FORWARD_CHANNELS))
        if protocol == FORWARD_TUNNEL:
            socket = await websocket.accept(request, protocol)
            await serve_spdy(WebSocketPipe(socket), forwarder, self._idle)
            return socket
        ports = parse_ports(request.query.getall("port", []))
        socket = await websocket.accept(request, protocol)
        codec = websocket.Codec(protocol == websocket.V4_BASE64)
        await serve_websocket(socket, codec, ports, forwarder, self._idle)
        return socket

    def _running(self, request: web.Request) -> ContainerStatus:
        pod, name = find_pod(self._node, request), request.match_info["container"]
        found = self._node.running_container(pod, name)
        if found is None:
            raise container_not_running(name, pod["metadata"]["name"])
        return found

    async def _serve(
        self, request: web.Request, begin: Begin, wanted: Wanted, *, wait_for_exit: bool
    ) -> web.StreamResponse:
        if _is_websocket(request):
            return await self._serve_websocket(request, begin, wanted, wait_for_exit)
        _require_spdy(request)
        return await self._serve_spdy(request, begin, wanted, wait_for_exit)

    async def _serve_websocket(
        self, request: web.Request, begin: Begin, wanted: Wanted, wait_for_exit: bool
    ) -> web.StreamResponse:
        protocol = websocket.choose_protocol(request, websocket.PROTOCOLS)
        socket = await websocket.accept(request, protocol)
        channels = websocket.WebSocketChannels(socket, protocol, self._idle)
        try:
            await channels.begin(wanted)
            await _connect(channels, begin, wanted, wait_for_exit)
        finally:
            channels.close()
        return socket

    async def _serve_spdy(
        self, request: web.Request, begin: Begin, wanted: Wanted, wait_for_exit: bool
    ) -> web.StreamResponse:
        protocol = _negotiate(request, spdy_command.PROTOCOLS)
        pipe = _take_spdy(request, protocol)
        channels = spdy_command.SpdyChannels(pipe, protocol, wanted, self._idle)
        serving = asyncio.create_task(channels.run())
        try:
            if await channels.wait_complete():
                await _connect(channels, begin, wanted, wait_for_exit)
            await channels.close()
        finally:
            await call_off(serving)
        return Taken()


async def _connect(channels: Channels, begin: Begin, wanted: Wanted, wait_for_exit: bool) -> None:
    try:
        streams = await begin(channels)
    except RuntimeFailure as failed:
        with contextlib.suppress(ConnectionError):
            await channels.finish(failure(str(failed)))
        return
    await remote_command.serve(channels, streams, wanted, wait_for_exit=wait_for_exit)


def _wanted(request: web.Request) -> Wanted:
    query, tty = request.query, is_set(request.query, "tty")
    wanted = Wanted(
        stdin=is_set(query, "input"),
        stdout=is_set(query, "output"),
        stderr=is_set(query, "error") and not tty,
        tty=tty,
    )
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return wanted


def _is_websocket(request: web.Request) -> bool:
    return wants_upgrade(request) and request.headers["Upgrade"].lower() == "websocket"


def _require_spdy(request: web.Request) -> None:
    if not wants_upgrade(request) or request.headers["Upgrade"].lower() != SPDY.lower():
        raise bad_request("Upgrade request required: to WebSocket, or to SPDY/3.1")


def _negotiate(request: web.Request, known: Sequence[str]) -> str:
    """Return the client's first stream protocol that we know; the oldest when it names none. Raises Forbidden."""
    offered = [
        name.strip()
        for header in request.headers.getall(PROTOCOL_HEADER, [])
        for name in header.split(",")
    ]
    if not offered:
        return known[-1]
    for name in offered:
        if name in known:
            return name
    message = (
        f"unable to negotiate protocol: client supports {offered}, server accepts {list(known)}"
    )
    raise status_error(403, "Forbidden", message)


def _take_spdy(request: web.Request, protocol: str) -> Pipe:
    head = (
        "HTTP/1.1 101 Switching Protocols\r\n"
        f"Connection: Upgrade\r\nUpgrade: {SPDY}\r\n{PROTOCOL_HEADER}: {protocol}\r\n\r\n"
    )
    return UpgradedConnection.take(request, head.encode())
