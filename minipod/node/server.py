"""The kubelet's HTTP API on a root-only Unix socket: the Pods, their logs and streams; and plan, trace, inspect.

The API server is its one client. Refusals are metav1.Status objects, as the API server passes them on.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterable, Awaitable, Callable
from pathlib import Path

from aiohttp import web

from minipod.api.errors import StatusError, bad_request, internal_error
from minipod.node.errors import StepError
from minipod.node.log_requests import find_attempt, is_set, parse_options
from minipod.node.logs import Follower, read_log
from minipod.node.node_view import NodeView, find_pod
from minipod.node.streaming.requests import StreamRequests
from minipod.node.streaming.websocket_text import send_text, wants_websocket
from minipod.node.usage import Look, UsageMeter, look_at
from minipod.node.usage_documents import resource_metrics, summary
from minipod.runtime.service import RuntimeFailure

STOP_SECONDS = 2.0  # for requests under way; streams are ended at once
_BODY_LIMIT = 4 * 1024 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class KubeletServer:
    """Serves one node's HTTP API."""

    def __init__(self, node: NodeView, socket: Path) -> None:
        self._node = node
        self._socket = socket
        self._runner: web.AppRunner | None = None
        self._streaming: set[asyncio.Task[object]] = set()
        self._meter = UsageMeter(self._look, node.now)

    async def start(self) -> None:
        """Listen, on a socket that only root may open."""
        streams = StreamRequests(self._node)
        app = web.Application(middlewares=[_answer_errors], client_max_size=_BODY_LIMIT)
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/pods", self._pods),
                web.get("/containerLogs/{namespace}/{pod}/{container}", self._stream(self._logs)),
                *self._session("/exec/{namespace}/{pod}/{container}", streams.exec),
                *self._session("/attach/{namespace}/{pod}/{container}", streams.attach),
                *self._session("/portForward/{namespace}/{pod}", streams.port_forward),
                web.get("/stats/summary", self._summary),
                web.get("/metrics/resource", self._resource_metrics),
                web.get("/metrics/probes", self._probe_metrics),
                web.post("/minipod/plan", self._plan),
                web.get("/minipod/trace/{namespace}/{pod}", self._trace),
                web.get("/minipod/inspect/{namespace}/{pod}", self._inspect),
            ]
        )
        # handler_cancellation: a client that leaves a followed log must not leave its follower behind
        self._runner = web.AppRunner(
            app, handler_cancellation=True, shutdown_timeout=STOP_SECONDS, access_log=None
        )
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
        for each in self._streaming:
            each.cancel()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    def _session(self, path: str, handler: Handler) -> list[web.RouteDef]:
        """Serve streams in both directions: WebSocket comes by GET, SPDY by either."""
        stream = self._stream(handler)
        return [web.get(path, stream, allow_head=False), web.post(path, stream)]

    def _stream(self, handler: Handler) -> Handler:
        """Return the handler of what ends only when somebody ends it: `stop` does."""

        async def streaming(request: web.Request) -> web.StreamResponse:
            task = asyncio.current_task()
            assert task is not None
            self._streaming.add(task)
            try:
                return await handler(request)
            finally:
                self._streaming.discard(task)

        return streaming

    # -- the node and its Pods -------------------------------------------------------------------

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        items = self._node.pods()
        return web.json_response(
            {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
        )

    async def _look(self) -> Look:
        return await look_at(await self._node.runtime.state(), self._node.now())

    async def _summary(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(summary(self._node.node_name, await self._meter.measure()))

    async def _resource_metrics(self, request: web.Request) -> web.StreamResponse:
        text = resource_metrics(await self._meter.look())
        return web.Response(text=text, content_type="text/plain", charset="utf-8")

    async def _probe_metrics(self, request: web.Request) -> web.StreamResponse:
        text = self._node.probe_metrics()
        return web.Response(text=text, content_type="text/plain", charset="utf-8")

    # -- logs ------------------------------------------------------------------------------------

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        node, pod = self._node, find_pod(self._node, request)
        name = request.match_info["container"]
        options = parse_options(request.query, node.now())
        previous = is_set(request.query, "previous")
        attempt = find_attempt(pod, node.status_of(pod), name, previous)
        path, container_id = node.find_log(pod, name, attempt)
        wake = asyncio.Event()
        forget = node.watch_exit(container_id, wake)
        try:
            follower = Follower(lambda: node.has_ended(container_id), wake)
            pieces = read_log(path, options, follower)
            if wants_websocket(request):
                return await send_text(request, pieces)
            return await _send(request, pieces)
        finally:
            forget()

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
        return web.json_response(self._node.trace(find_pod(self._node, request)))

    async def _inspect(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._node.inspect(find_pod(self._node, request)))


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
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


async def _send(request: web.Request, pieces: AsyncIterable[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # the client has read enough
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    return response
