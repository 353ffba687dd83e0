"""Network probes against real servers on loopback: codes, redirects, certificates, headers, time-outs, gRPC health."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from minipod.client import Object
from minipod.node.probe_actions import Outcome, ProbeActions, Target
from tests.fakes.clock import FakeClock
from tests.fakes.runtime import FakeRuntime

LOCAL = "127.0.0.1"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(handler: Handler, **options: Any) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, LOCAL, 0, **options)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def run(probe: Object, **container: Any) -> Outcome:
    actions = ProbeActions(FakeRuntime(FakeClock()))
    try:
        return await actions.run(probe, Target({"name": "app", **container}, "id", LOCAL))
    finally:
        await actions.close()


def get(port: Any, path: str = "/", **fields: Any) -> Object:
    return {"httpGet": {"port": port, "path": path, **fields}, "timeoutSeconds": 1}


async def site(request: web.Request) -> web.StreamResponse:
    port = request.url.port
    match request.path:
        case "/local":
            raise web.HTTPFound("/fine")
        case "/far":
            raise web.HTTPFound(f"http://localhost:{port}/fine")
        case "/loop":
            raise web.HTTPFound("/loop")
        case "/nowhere":
            return web.Response(status=302, text="stay")
        case "/slow":
            await asyncio.sleep(30)
        case "/headers":
            shown = [request.headers[name] for name in ("User-Agent", "Accept", "Host", "X-Me")]
            return web.Response(text=" ".join(shown))
        case "/bad":
            return web.Response(status=500, text="secret")
    return web.Response(text="fine")


def test_http_codes_redirects_and_headers() -> None:
    async def scene() -> None:
        async with server(site) as port:
            assert await run(get(port)) == Outcome("success", "fine")
            assert await run(get(port, "/bad")) == Outcome(
                "failure", "HTTP probe failed with statuscode: 500"
            )
            assert await run(get(port, "/local")) == Outcome("success", "fine")
            far = await run(get(port, "/far"))
            assert far.result == "warning"
            assert far.output.startswith("Probe terminated redirects, Response body: ")
            nowhere = await run(get(port, "/nowhere"))
            assert nowhere.output == "Probe terminated redirects, Response body: stay"
            loop = await run(get(port, "/loop"))
            assert loop == Outcome(
                "failure", f'Get "http://{LOCAL}:{port}/loop": stopped after 10 redirects'
            )
            given = [{"name": "Host", "value": "shop.example"}, {"name": "X-Me", "value": "1"}]
            told = await run(get(port, "/headers", httpHeaders=given))
            assert told.output == "kube-probe/1.36 */* shop.example 1"
            named = await run(get("web"), ports=[{"name": "web", "containerPort": port}])
            assert named.result == "success"
            slow = await run(get(port, "/slow"))
            assert slow.result == "failure"
            assert slow.output.endswith(
                "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            )

    asyncio.run(scene())


def test_an_unknown_port_name_is_no_result() -> None:
    outcome = asyncio.run(run(get("web")))
    assert outcome == Outcome("unknown", 'strconv.Atoi: parsing "web": invalid syntax')


def test_https_checks_no_certificate_and_names_a_server_without_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    options = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=nobody",
        "-days",
        "1",
    ]
    command = ["openssl", "req", "-x509", *options, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def scene() -> None:
        async with server(site, ssl_context=context) as port:
            assert await run(get(port, scheme="HTTPS")) == Outcome("success", "fine")
        async with server(site) as port:
            plain = await run(get(port, scheme="HTTPS"))
            assert plain.result == "failure"
            assert plain.output == (
                f'Get "https://{LOCAL}:{port}/": http: server gave HTTP response to HTTPS client'
            )

    asyncio.run(scene())


def test_nobody_listening_is_told_as_the_kubelet_tells_it() -> None:
    async def scene() -> None:
        async with server(site) as port:
            listening = await run({"tcpSocket": {"port": port}})
            assert listening == Outcome("success")
        refused = f"dial tcp {LOCAL}:{port}: connect: connection refused"
        assert await run({"tcpSocket": {"port": port}}) == Outcome("failure", refused)
        assert await run(get(port)) == Outcome(
            "failure", f'Get "http://{LOCAL}:{port}/": {refused}'
        )

    asyncio.run(scene())


# -- gRPC: a server made of h2, beside which the client's side is held --------------------------------


@asynccontextmanager
async def grpc(answers: dict[str, bytes | tuple[int, str]]) -> AsyncIterator[int]:
    """Answer health checks by service: a message, or a (status, text). Unknown ones are left waiting."""
    import h2.config
    import h2.connection
    import h2.events

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        said = b""
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    said += event.data
                if isinstance(event, h2.events.StreamEnded):
                    _answer(connection, answers.get(said[7:].decode()))
            writer.write(connection.data_to_send())
        writer.transport.abort()
        ended.set()

    ended = asyncio.Event()
    listener = await asyncio.start_server(serve, LOCAL, 0)
    try:
        yield listener.sockets[0].getsockname()[1]
        await asyncio.wait_for(ended.wait(), 5)
    finally:
        listener.close()


def _answer(connection: Any, answer: bytes | tuple[int, str] | None) -> None:
    if answer is None:
        return
    head = [(":status", "200"), ("content-type", "application/grpc")]
    if isinstance(answer, tuple):
        trailers = [("grpc-status", str(answer[0])), ("grpc-message", answer[1])]
        connection.send_headers(1, head + trailers, end_stream=True)
        return
    connection.send_headers(1, head)
    connection.send_data(1, b"\x00" + len(answer).to_bytes(4, "big") + answer)
    connection.send_headers(1, [("grpc-status", "0")], end_stream=True)


@pytest.mark.parametrize(
    ("service", "result", "output"),
    [
        ("", "success", "service healthy"),
        ("sick", "failure", 'service unhealthy (responded with "NOT_SERVING")'),
        ("young", "failure", 'service unhealthy (responded with "UNKNOWN")'),
        (
            "none",
            "failure",
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
        ),
        (
            "old",
            "failure",
            "error: this server does not implement the grpc health protocol "
            "(grpc.health.v1.Health): unknown method",
        ),
        ("mute", "failure", "timeout: health rpc did not complete within 1s"),
    ],
)
def test_grpc_health(service: str, result: str, output: str) -> None:
    answers: dict[str, bytes | tuple[int, str]] = {
        "": b"\x08\x01",
        "sick": b"\x08\x02",
        "young": b"",
        "none": (5, "unknown%20service"),
        "old": (12, "unknown method"),
    }

    async def scene() -> Outcome:
        async with grpc(answers) as port:
            return await run({"grpc": {"port": port, "service": service}, "timeoutSeconds": 1})

    assert asyncio.run(scene()) == Outcome(result, output)  # type: ignore[arg-type]
