"""The proxy to servers in the cluster, against a server that says what it was asked."""

import asyncio
import gzip
import json
import socket
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from minipod.api.errors import StatusError
from minipod.server import proxying
from minipod.server.proxy_locations import Location
from minipod.server.proxying import BackendProxy
from minipod.server.responses import status_response

from .harness import PODS, Api, pod, serve

PREFIX = "/api/v1/namespaces/default/pods/web/proxy"


class Backend:
    """Answers with what it was asked, or with what a test wants."""

    def __init__(self) -> None:
        self.answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = self.echo

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self.answer(request)

    async def echo(self, request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.read()).decode()
        said = {"line": f"{request.method} {request.path_qs}", "body": body}
        headers = {name.lower(): value for name, value in request.headers.items()}
        return web.json_response({**said, "headers": headers}, status=202, headers={"X-B": "1"})


def through_proxy(
    body: Callable[[Callable[..., Any], Backend, int], Awaitable[None]], *, port: int = 0
) -> None:
    """Run `body` with a way to ask through the proxy; all on loopback, which only the locations keep out."""

    async def main() -> None:
        backend, proxy = Backend(), BackendProxy()
        loop = asyncio.get_running_loop()
        behind = web.Server(backend.handle)
        listening = await loop.create_server(behind, "127.0.0.1", 0)
        there = port or listening.sockets[0].getsockname()[1]

        async def front(request: web.BaseRequest) -> web.StreamResponse:
            rest = request.rel_url.raw_path.removeprefix(PREFIX)
            try:
                return await proxy.forward(request, Location("http", "127.0.0.1", there), rest)
            except StatusError as error:
                return status_response(error)

        before = web.Server(front)
        entrance = await loop.create_server(before, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{entrance.sockets[0].getsockname()[1]}"
        async with aiohttp.ClientSession(auto_decompress=False) as session:

            def ask(method: str, rest: str, **more: Any) -> Any:
                return session.request(
                    method, f"{url}{PREFIX}{rest}", allow_redirects=False, **more
                )

            try:
                await asyncio.wait_for(body(ask, backend, there), 20)
            finally:
                await proxy.close()
                entrance.close()
                listening.close()
                await before.shutdown(0.1)
                await behind.shutdown(0.1)

    asyncio.run(main())


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_request_goes_on_with_path_query_headers_and_body(method: str) -> None:
    async def body(ask: Callable[..., Any], backend: Backend, there: int) -> None:
        headers = {
            "Authorization": "Bearer secret",
            "Impersonate-User": "jane",
            "Cookie": "session=1",
            "X-Mine": "yes",
            "X-Forwarded-For": "192.0.2.1",
        }
        data = b"some" if method != "GET" else None
        async with ask(method, "/a%2Fb//c?x=1&x=%20", headers=headers, data=data) as answer:
            said = json.loads(await answer.read())
            assert (answer.status, answer.headers["X-B"]) == (202, "1")
        assert said["line"] == f"{method} /a%2Fb//c?x=1&x=%20"
        assert said["body"] == (data or b"").decode()
        assert {"authorization", "impersonate-user"} & set(said["headers"]) == set()
        assert said["headers"]["cookie"] == "session=1"
        assert said["headers"]["x-mine"] == "yes"
        assert said["headers"]["x-forwarded-for"] == "192.0.2.1, 127.0.0.1"
        assert said["headers"]["x-forwarded-uri"] == f"{PREFIX}/a%2Fb//c"
        assert said["headers"]["host"].startswith("127.0.0.1:")

    through_proxy(body)


def test_the_root_is_asked_for_with_a_slash() -> None:
    async def body(ask: Callable[..., Any], backend: Backend, there: int) -> None:
        async with ask("GET", "?a=1") as answer:
            assert (answer.status, answer.headers["Location"]) == (301, f"{PREFIX}/?a=1")
        async with ask("GET", "/?a=1") as answer:
            assert json.loads(await answer.read())["line"] == "GET /?a=1"
        async with ask("POST", "") as answer:
            assert json.loads(await answer.read())["line"] == "POST /"

    through_proxy(body)


@pytest.mark.parametrize("status", [201, 302, 307])
def test_a_location_leads_through_the_proxy(status: int) -> None:
    async def body(ask: Callable[..., Any], backend: Backend, there: int) -> None:
        async def redirect(request: web.BaseRequest) -> web.StreamResponse:
            where = request.query["to"].replace("HERE", f"127.0.0.1:{there}")
            return web.Response(status=status, headers={"Location": where})

        backend.answer = redirect
        for target, expected in (
            ("/x/", f"{PREFIX}/x/"),
            ("http://HERE/x?y", f"{PREFIX}/x?y"),
            ("http://elsewhere.test/x", "http://elsewhere.test/x"),
            ("sideways", "sideways"),
        ):
            async with ask("GET", "/", params={"to": target}) as answer:
                assert (answer.status, answer.headers["Location"]) == (status, expected)

    through_proxy(body)


def _pack(data: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.compress(data)
    if encoding == "raw deflate":
        packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return packing.compress(data) + packing.flush()
    return zlib.compress(data) if encoding == "deflate" else data


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate", "raw deflate"])
def test_the_links_of_a_page_lead_through_the_proxy(encoding: str) -> None:
    page = "<html><a href='/x'>ü</a></html>"

    async def body(ask: Callable[..., Any], backend: Backend, there: int) -> None:
        async def answer_page(request: web.BaseRequest) -> web.StreamResponse:
            headers = {"Content-Type": "text/html; charset=latin-1", "ETag": "1"}
            if encoding:
                headers["Content-Encoding"] = encoding.removeprefix("raw ")
            return web.Response(body=_pack(page.encode("latin-1"), encoding), headers=headers)

        backend.answer = answer_page
        async with ask("GET", "/") as answer:
            rewritten = page.replace("'/x'", f'"{PREFIX}/x"').encode("latin-1")
            assert await answer.read() == rewritten
            assert answer.headers.getall("Content-Type") == ["text/html; charset=latin-1"]
            assert "Content-Encoding" not in answer.headers
            assert answer.headers["ETag"] == "1"

    through_proxy(body)


@pytest.mark.parametrize("encoding", ["", "br", "gzip"])
def test_a_page_that_cannot_be_read_goes_as_it_is(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxying, "PAGE_LIMIT", 100_000)
    page = b"<a href='/x'>" + (b"x" * 300_000 if not encoding else b"not packed at all")

    async def body(ask: Callable[..., Any], backend: Backend, there: int) -> None:
        async def answer_page(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/html"})
            if encoding:
                response.headers["Content-Encoding"] = encoding
            await response.prepare(request)
            await response.write(page)
            await response.write_eof()
            return response

        backend.answer = answer_page
        async with ask("GET", "/") as answer:
            assert await answer.read() == page

    through_proxy(body)


def test_an_answer_arrives_as_it_is_made() -> None:
    go_on = asyncio.Event()

    async def body(ask: Callable[..., Any], backend: Backend, there: int) -> None:
        async def slowly(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"first\n")
            await go_on.wait()
            await response.write(b"second\n")
            await response.write_eof()
            return response

        backend.answer = slowly
        async with ask("GET", "/") as answer:
            assert await answer.content.readline() == b"first\n"
            go_on.set()
            assert await answer.content.read() == b"second\n"

    through_proxy(body)


def test_a_websocket_is_relayed() -> None:
    async def body(ask: Callable[..., Any], backend: Backend, there: int) -> None:
        async def talk(request: web.BaseRequest) -> web.StreamResponse:
            sock = web.WebSocketResponse(protocols=("chat",))
            await sock.prepare(request)
            await sock.send_str(f"{request.path_qs} {request.headers.get('Authorization')}")
            async for message in sock:
                await sock.send_str(message.data.upper())
            return sock

        backend.answer = talk
        async with aiohttp.ClientSession() as session:
            url = str((await ask("HEAD", "/x?y=1")).url)
            sent = {"Authorization": "Bearer secret"}
            async with session.ws_connect(url, protocols=("chat",), headers=sent) as sock:
                assert sock.protocol == "chat"
                assert await sock.receive_str() == "/x?y=1 None"
                await sock.send_str("hello")
                assert await sock.receive_str() == "HELLO"

    through_proxy(body)


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        async def body(ask: Callable[..., Any], backend: Backend, there: int) -> None:
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
            for headers in ({}, upgrade):
                async with ask("GET", "/", headers=headers) as answer:
                    told = json.loads(await answer.read())
                assert (answer.status, told["reason"]) == (503, "ServiceUnavailable")
                assert told["message"] == (
                    f"error trying to reach service: dial tcp 127.0.0.1:{port}: "
                    "connect: connection refused"
                )

        through_proxy(body, port=port)


def test_what_cannot_be_reached_is_refused_by_the_server(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(PODS, pod())
        ports = [{"port": 80}]
        services = PODS.replace("pods", "services")
        await api.make(services, {"metadata": {"name": "web"}, "spec": {"ports": ports}})
        await api.make(PODS.replace("pods", "endpoints"), {"metadata": {"name": "web"}})
        for path, status, message in (
            (f"{PODS}/nginx/proxy/", 400, "address not allowed"),
            (f"{PODS}/a:b:c:d/proxy/", 400, 'invalid pod request "a:b:c:d"'),
            (f"{PODS}/none:80/proxy/", 404, 'pods "none" not found'),
            (f"{services}/web/proxy/", 503, 'no endpoints available for service "web"'),
            (f"{services}/web:81/proxy/", 503, 'no service port 81 found for service "web"'),
            (f"{services}/none/proxy/", 404, 'services "none" not found'),
        ):
            answer = await api("GET", path)
            assert (answer.status, answer.body["message"]) == (status, message)
        assert (await api("TRACE", f"{PODS}/nginx/proxy/")).status == 405
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            asked = await api(method, f"{PODS}/none:80/proxy/")
            assert (asked.status, asked.body["message"]) == (404, 'pods "none" not found'), method

    serve(tmp_path, body)
