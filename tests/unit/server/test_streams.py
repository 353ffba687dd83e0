"""Logs, exec, attach and the node proxy, against a kubelet that says what it was asked."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from minipod.paths import layout

from .harness import PODS, Api, pod, serve, until

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
NODE = "/api/v1/nodes/one/proxy"


class FakeKubelet:
    """Answers with what it was asked; streams and refuses on demand."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.gone = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path.startswith(("/exec/", "/attach/")):
            return await self._socket(request)
        if "follow" in request.rel_url.query:
            return await self._follow(request)
        body = await request.read()
        said = [request.method, request.path_qs, body.decode()]
        return web.json_response(said, status=202, headers={"X-Kubelet": "one"})

    async def _follow(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await response.write(b"first\n")
        try:
            await self.go_on.wait()
            await response.write(b"second\n")
            await response.write_eof()
        finally:
            self.gone.set()
        return response

    async def _socket(self, request: web.BaseRequest) -> web.StreamResponse:
        if "refused" in request.rel_url.path:
            return web.json_response({"kind": "Status", "message": "no such container"}, status=404)
        socket = web.WebSocketResponse(protocols=PROTOCOLS)
        await socket.prepare(request)
        await socket.send_bytes(b"\x01" + request.path_qs.encode())
        async for message in socket:
            await socket.send_bytes(b"\x01" + message.data[1:])
        self.gone.set()
        return socket


def with_kubelet(root: Path, body: Callable[[Api, FakeKubelet], Awaitable[None]]) -> None:
    async def main(api: Api) -> None:
        kubelet = FakeKubelet()
        server = web.Server(kubelet.handle, handler_cancellation=True)
        listening = await asyncio.get_running_loop().create_unix_server(
            server, layout(root).kubelet_socket
        )
        try:
            await api.make("/api/v1/nodes", {"metadata": {"name": "one"}})
            await api.make(PODS, pod(nodeName="one"))
            await body(api, kubelet)
        finally:
            listening.close()
            await server.shutdown(0.05)

    serve(root, main)


def test_a_log_is_fetched_from_the_kubelet(tmp_path: Path) -> None:
    async def body(api: Api, kubelet: FakeKubelet) -> None:
        answer = await api("GET", f"{PODS}/nginx/log?tailLines=3&timestamps=true")
        assert answer.status == 202
        path = "/containerLogs/default/nginx/main?tailLines=3&timestamps=true"
        assert answer.body == ["GET", path, ""]

    with_kubelet(tmp_path, body)


def test_a_followed_log_arrives_line_by_line_and_ends_with_its_client(tmp_path: Path) -> None:
    async def body(api: Api, kubelet: FakeKubelet) -> None:
        url = f"http://api{PODS}/nginx/log?follow=true"
        async with api.session.get(url) as response:
            assert await response.content.readline() == b"first\n"
            kubelet.go_on.set()
            assert await response.content.readline() == b"second\n"
            assert await response.content.read() == b""
        kubelet.go_on.clear()
        kubelet.gone.clear()
        async with api.session.get(url) as response:
            assert await response.content.readline() == b"first\n"
        await asyncio.wait_for(kubelet.gone.wait(), 5)

    with_kubelet(tmp_path, body)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("none/log", 404, 'pods "none" not found'),
        ("two/log", 400, "a container name must be specified for pod two, choose one of: [a b]"),
        ("two/log?container=c", 400, "container c is not valid for pod two"),
        (
            "nginx/log?tailLines=-1",
            422,
            'PodLogOptions "nginx" is invalid: tailLines: Invalid value: -1: must be greater than or '
            "equal to 0",
        ),
        ("nginx/log?limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        (
            "nginx/log?sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z",
            422,
            "[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        (
            "nginx/log?sinceTime=yesterday",
            400,
            'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"',
        ),
        ("nginx/exec", 400, "at least one command"),
        ("two/exec?container=a&command=x", 400, "does not have a host assigned"),
        ("two/portforward", 400, "does not have a host assigned"),
        ("nginx/exec?command=x&tty=perhaps", 400, "must be true or false"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused(
    tmp_path: Path, path: str, status: int, message: str
) -> None:
    async def body(api: Api, kubelet: FakeKubelet) -> None:
        containers = [{"name": name, "image": "busybox"} for name in "ab"]
        await api.make(PODS, pod("two", containers=containers))
        answer = await api("GET", f"{PODS}/{path}")
        assert answer.status == status
        assert message in answer.body["message"]

    with_kubelet(tmp_path, body)


def test_a_pod_without_a_node_has_an_empty_log(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(PODS, pod())
        answer = await api("GET", f"{PODS}/nginx/log")
        assert (answer.status, answer.body) == (200, b"")

    serve(tmp_path, body)


@pytest.mark.parametrize("what", ["exec", "attach"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_exec_and_attach_are_relayed_with_their_subprotocol(
    tmp_path: Path, what: str, protocol: str
) -> None:
    async def body(api: Api, kubelet: FakeKubelet) -> None:
        url = f"http://api{PODS}/nginx/{what}?command=sh&command=-c&command=a%20b&stdin=true"
        async with api.session.ws_connect(
            url, protocols=[protocol, "base64.channel.k8s.io"]
        ) as socket:
            assert socket.protocol == protocol
            asked = (await socket.receive_bytes()).decode()
            query = "input=1&output=1&error=1"
            query += "&command=sh&command=-c&command=a+b" if what == "exec" else ""
            assert asked == f"\x01/{what}/default/nginx/main?{query}"
            for size in (1, 100_000, 1_000_000):
                await socket.send_bytes(b"\x00" + b"x" * size)
                assert await socket.receive_bytes() == b"\x01" + b"x" * size
        await asyncio.wait_for(kubelet.gone.wait(), 5)

    with_kubelet(tmp_path, body)


def test_another_protocol_is_relayed_as_bytes(tmp_path: Path) -> None:
    """What kubectl up to 1.30 asks for; the kubelet answers with what it was asked, then echoes."""

    async def spdy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nfirst"
        )
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def body(api: Api) -> None:
        listening = await asyncio.start_unix_server(spdy, layout(tmp_path).kubelet_socket)
        await api.make(PODS, pod(nodeName="one"))
        reader, writer = await asyncio.open_unix_connection(layout(tmp_path).api_socket)
        head = (
            f"POST {PODS}/nginx/portforward?ports=80 HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n"
        )
        head += "Authorization: Bearer secret\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n"
        writer.write(f"{head}Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n".encode())
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(5) == b"first"
        data = bytes(range(256)) * 4000
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.close()
        listening.close()
        assert asked[0].startswith("POST /portForward/default/nginx?port=80 HTTP/1.1\r\n")
        assert "X-Stream-Protocol-Version: portforward.k8s.io" in asked[0]
        assert "secret" not in asked[0]
        assert "Content-Length" not in asked[0]

    asked: list[str] = []
    serve(tmp_path, body)


def test_a_flood_neither_way_is_lost(tmp_path: Path) -> None:
    async def body(api: Api, kubelet: FakeKubelet) -> None:
        async with api.session.ws_connect(f"http://api{PODS}/nginx/attach") as socket:
            await socket.receive_bytes()
            chunk = b"x" * 200_000

            async def flood() -> None:
                for number in range(50):
                    await socket.send_bytes(bytes([0, number]) + chunk)

            sending = asyncio.ensure_future(flood())
            for number in range(50):
                assert await socket.receive_bytes() == bytes([1, number]) + chunk
            await sending

    with_kubelet(tmp_path, body)


def test_a_kubelet_that_does_not_read_stops_its_client_not_the_server(tmp_path: Path) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # nobody has asked anything over it: the spare one
            writer.close()
            return
        head = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        writer.write(head)
        await done.wait()
        writer.close()

    async def body(api: Api) -> None:
        listening = await asyncio.start_unix_server(
            deaf, layout(tmp_path).kubelet_socket, limit=1024
        )
        await api.make(PODS, pod(nodeName="one"))
        reader, writer = await asyncio.open_unix_connection(layout(tmp_path).api_socket)
        head = f"GET {PODS}/nginx/attach HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        writer.write(f"{head}Sec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        for _ in range(400):
            writer.write(b"x" * 65536)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.3)
        assert writer.transport.get_write_buffer_size() > 20 << 20
        done.set()
        writer.transport.abort()
        listening.close()

    done = asyncio.Event()
    serve(tmp_path, body)


def test_streams_leave_no_descriptor_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def once(api: Api) -> None:
        async with api.session.ws_connect(f"http://api{PODS}/nginx/exec?command=x") as socket:
            await socket.receive_bytes()
        async with api.session.get(f"http://api{PODS}/nginx/log?follow=true") as response:
            await response.content.readline()

    async def body(api: Api, kubelet: FakeKubelet) -> None:
        await once(api)
        before = descriptors() + 2  # and both ends of the spare connection
        for _ in range(20):
            await once(api)
        await until(lambda: descriptors() <= before)

    with_kubelet(tmp_path, body)


def test_a_refused_upgrade_says_why(tmp_path: Path) -> None:
    async def body(api: Api, kubelet: FakeKubelet) -> None:
        await api.make(PODS, pod("refused", nodeName="one"))
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        url = f"http://api{PODS}/refused/exec?command=x"
        async with api.session.get(url, headers=headers) as response:
            assert response.status == 404
            assert (await response.json())["message"] == "no such container"

    with_kubelet(tmp_path, body)


def test_a_completed_pod_takes_no_exec(tmp_path: Path) -> None:
    async def body(api: Api, kubelet: FakeKubelet) -> None:
        done = {"status": {"phase": "Succeeded"}}
        await api.client.patch("pods", "default", "nginx", done, subresource="status")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await api.session.ws_connect(f"http://api{PODS}/nginx/exec?command=x")
        assert refused.value.status == 400

    with_kubelet(tmp_path, body)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_the_node_proxy_passes_everything_on(tmp_path: Path, method: str) -> None:
    async def body(api: Api, kubelet: FakeKubelet) -> None:
        async def pieces() -> Any:
            for piece in (b"one,", b"two"):
                yield piece

        url = f"http://api{NODE}/minipod/plan/a%2Fb?x=1&x=2"
        data = pieces() if method != "GET" else None
        async with api.session.request(method, url, data=data) as response:
            said = "one,two" if data else ""
            assert await response.json() == [method, "/minipod/plan/a%2Fb?x=1&x=2", said]
            assert (response.status, response.headers["X-Kubelet"]) == (202, "one")
        assert (await api(method, "/api/v1/nodes/two/proxy/pods")).status == 404
        assert (await api("GET", NODE)).body[1] == "/"

    with_kubelet(tmp_path, body)


def test_a_kubelet_that_is_away_is_named(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(PODS, pod(nodeName="one"))
        await api.make("/api/v1/nodes", {"metadata": {"name": "one"}})
        for path in (f"{PODS}/nginx/log", f"{NODE}/pods"):
            answer = await api("GET", path)
            assert (answer.status, answer.body["reason"]) == (503, "ServiceUnavailable")
            assert "kubelet.sock" in answer.body["message"]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await api.session.ws_connect(f"http://api{PODS}/nginx/attach")
        assert refused.value.status == 503
        assert json.loads(json.dumps(answer.body)) == answer.body

    serve(tmp_path, body)
