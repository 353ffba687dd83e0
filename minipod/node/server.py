"""The kubelet's HTTP API on a root-only Unix socket: logs, exec, attach, the Pods; and minipod's plan, trace, inspect.

The API server is its one client. Refusals are metav1.Status objects, as the API server passes them on.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from aiohttp import web

from minipod.api.errors import StatusError, bad_request, internal_error
from minipod.client import Object
from minipod.node import channels
from minipod.node.errors import StepError
from minipod.node.log_requests import (
    container_not_running,
    find_attempt,
    is_set,
    parse_options,
    pod_not_found,
)
from minipod.node.logs import Follower, read_log
from minipod.runtime.service import Runtime, RuntimeFailure, Streams
from minipod.runtime.spec import ContainerStatus, ExecSpec

_BODY_LIMIT = 4 * 1024 * 1024


class NodeView(Protocol):
    """What the HTTP API asks of the node."""

    runtime: Runtime

    def now(self) -> float:
        """Return the present."""

    def find_pod(self, namespace: str, name: str) -> Object | None:
        """Return a Pod of this node."""

    def pods(self) -> list[Object]:
        """Return all Pods of this node, with their newest statuses."""

    def status_of(self, pod: Object) -> Object:
        """Return a Pod's newest status."""

    def running_container(self, pod: Object, name: str) -> ContainerStatus | None:
        """Return a container that runs now."""

    def find_log(self, pod: Object, name: str, attempt: int) -> tuple[Path, str]:
        """Return the log file of an attempt, and its container's ID."""

    def has_ended(self, container_id: str) -> bool:
        """Whether a container does not run any more."""

    def watch_exit(self, container_id: str, wake: asyncio.Event) -> Callable[[], None]:
        """Set `wake` when the container ends; return what takes this back."""

    async def plan(self, pod: Object) -> str:
        """Return the script that would make the Pod."""

    def trace(self, pod: Object) -> Object:
        """Return the steps that made the Pod."""

    async def inspect(self, pod: Object) -> Object:
        """Return the Pod as the kernel has it."""


class KubeletServer:
    """Serves one node's HTTP API."""

    def __init__(self, node: NodeView, socket: Path) -> None:
        self._node = node
        self._socket = socket
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen, on a socket that only root may open."""
        app = web.Application(middlewares=[_answer_errors], client_max_size=_BODY_LIMIT)
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/pods", self._pods),
                web.get("/containerLogs/{namespace}/{pod}/{container}", self._logs),
                web.route("*", "/exec/{namespace}/{pod}/{container}", self._exec),
                web.route("*", "/attach/{namespace}/{pod}/{container}", self._attach),
                web.post("/minipod/plan", self._plan),
                web.get("/minipod/trace/{namespace}/{pod}", self._trace),
                web.get("/minipod/inspect/{namespace}/{pod}", self._inspect),
            ]
        )
        # handler_cancellation: a client that leaves a followed log must not leave its follower behind
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await self._runner.setup()
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()  # of a daemon that was killed; the root's lock says there is none now
        mask = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._socket)).start()
        finally:
            os.umask(mask)

    async def stop(self) -> None:
        """End all streams and listen no more."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    # -- the node and its Pods -------------------------------------------------------------------

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        items = self._node.pods()
        return web.json_response(
            {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
        )

    def _find(self, request: web.Request) -> Object:
        name = request.match_info["pod"]
        pod = self._node.find_pod(request.match_info["namespace"], name)
        if pod is None:
            raise pod_not_found(name)
        return pod

    # -- logs ------------------------------------------------------------------------------------

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        node, pod = self._node, self._find(request)
        name = request.match_info["container"]
        options = parse_options(request.query, node.now())
        previous = is_set(request.query, "previous")
        attempt = find_attempt(pod, node.status_of(pod), name, previous)
        path, container_id = node.find_log(pod, name, attempt)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        wake = asyncio.Event()
        forget = node.watch_exit(container_id, wake)
        try:
            follower = Follower(lambda: node.has_ended(container_id), wake)
            async for piece in read_log(path, options, follower):
                await response.write(piece)
            await response.write_eof()
        except ConnectionError:
            pass  # the client has read enough
        finally:
            forget()
        return response

    # -- exec and attach -------------------------------------------------------------------------

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        wanted = _wanted(request)
        spec = ExecSpec(
            args=tuple(request.query.getall("command", [])), tty=wanted.tty, stdin=wanted.stdin
        )
        if not spec.args:
            raise bad_request("you must specify at least one command for the container")
        running = self._running(request)

        async def begin(size: channels.Size) -> Streams:
            return await self._node.runtime.exec(running.id, replace(spec, terminal_size=size))

        return await self._stream(request, begin, wanted, sized=wanted.tty, wait_for_exit=True)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        running = self._running(request)

        async def begin(_size: channels.Size) -> Streams:
            return await self._node.runtime.attach(running.id)

        wanted = _wanted(request)
        return await self._stream(request, begin, wanted, sized=False, wait_for_exit=False)

    def _running(self, request: web.Request) -> ContainerStatus:
        pod, name = self._find(request), request.match_info["container"]
        found = self._node.running_container(pod, name)
        if found is None:
            raise container_not_running(name, pod["metadata"]["name"])
        return found

    async def _stream(
        self,
        request: web.Request,
        begin: Callable[[channels.Size], Awaitable[Streams]],
        wanted: channels.Wanted,
        *,
        sized: bool,
        wait_for_exit: bool,
    ) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise bad_request("you must upgrade to WebSocket; kubectl does from version 1.31 on")
        socket = await channels.open_channels(request)
        size, early = await channels.receive_first_size(socket) if sized else (channels.NO_SIZE, [])
        if socket.closed:
            return socket
        try:
            streams = await begin(size)
        except RuntimeFailure as failure:
            await channels.send_status(socket, channels.failure(str(failure)))
            return socket
        await channels.serve(socket, streams, wanted, early, wait_for_exit=wait_for_exit)
        return socket

    # -- minipod's own ---------------------------------------------------------------------------

    async def _plan(self, request: web.Request) -> web.StreamResponse:
        try:
            pod = json.loads(await request.read())
        except ValueError as error:
            raise bad_request(f"the body is no JSON: {error}") from None
        if not isinstance(pod, dict) or pod.get("kind") != "Pod":
            raise bad_request("the body is no Pod")
        script = await self._node.plan(pod)
        return web.Response(text=script, content_type="text/x-shellscript")

    async def _trace(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._node.trace(self._find(request)))

    async def _inspect(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._node.inspect(self._find(request)))


def _wanted(request: web.Request) -> channels.Wanted:
    query = request.query
    return channels.Wanted(
        stdin=is_set(query, "stdin"),
        stdout=is_set(query, "stdout"),
        stderr=is_set(query, "stderr") and not is_set(query, "tty"),
        tty=is_set(query, "tty"),
    )


@web.middleware
async def _answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except StatusError as error:
        return web.json_response(error.status, status=error.code)
    except StepError as error:
        refused = bad_request(f"{error.reason}: {error.message}")
        return web.json_response(refused.status, status=refused.code)
    except (RuntimeFailure, OSError) as error:
        failed = internal_error(str(error))
        return web.json_response(failed.status, status=failed.code)
