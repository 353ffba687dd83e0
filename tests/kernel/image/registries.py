"""A real registry (Debian's docker-registry) on loopback, and a proxy in front of it that misbehaves as told."""

import asyncio
import base64
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

USER, PASSWORD = "lab", "s3cret"
_HTPASSWD = "lab:$2b$04$z3bFWHg8uUgqYw6YdS6vEuYbnDAYXvDYszDimbYmXjVYrfBEyfT8G\n"
_CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {data}}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error}}
{auth}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def registry(directory: Path, *, auth: bool = False) -> Iterator[str]:
    """Run a registry; gives its HOST:PORT."""
    port, passwords = free_port(), directory / "htpasswd"
    passwords.write_text(_HTPASSWD)
    section = f"auth: {{htpasswd: {{realm: lab, path: {passwords}}}}}" if auth else ""
    config = directory / "registry.yml"
    config.write_text(_CONFIG.format(data=directory / "data", port=port, auth=section))
    with open(directory / "registry.log", "wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        wait_listening(port)
        yield f"127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


def wait_listening(port: int) -> None:
    import time

    deadline = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the registry did not start"
            time.sleep(0.02)  # another program's socket: there is nothing to be notified by


def push(archive: Path, target: str, *, credentials: str = "") -> None:
    """Push with a second client."""
    options = ["--dest-tls-verify=false", *(["--dest-creds", credentials] if credentials else [])]
    command = ["skopeo", "--insecure-policy", "copy", "-q", *options, f"docker-archive:{archive}"]
    subprocess.run([*command, f"docker://{target}"], check=True, capture_output=True, env=_plain())


def _plain() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}


@dataclass
class FaultyProxy:
    """Passes requests on; each GET of a blob takes the next of `faults`: cut, wrong, long, busy, sick, whole."""

    upstream: str
    token: str = ""  # ask for this bearer token, given out at /token for USER and PASSWORD
    moved: str = ""  # where the token service sends its clients (307)
    realm: str = ""  # what is named as the token service, instead of this one
    faults: list[str] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)  # that came with the requests
    address: str = ""
    passes_authorization: bool = False
    silent: bool = False  # take requests, and never answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path, dict(request.headers)))
        self.bodies.append(await request.read())
        if self.silent:
            await asyncio.Event().wait()
        if request.path == "/token" and self.moved:
            return web.Response(status=307, headers={"Location": self.moved})
        if request.path == "/token":
            return self._give_token(request)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            realm = self.realm or f"http://{self.address}/token"
            challenge = f'Bearer realm="{realm}",service="lab",scope="pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        blob = request.method == "GET" and "/blobs/" in request.path
        fault = self.faults.pop(0) if blob and self.faults else ""
        if fault in ("busy", "sick"):
            status, headers = (429, {"Retry-After": "0"}) if fault == "busy" else (503, {})
            return web.Response(status=status, headers=headers)
        return await self._pass_on(request, fault)

    def _give_token(self, request: web.Request) -> web.Response:
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return web.Response(status=401)
        return web.json_response({"token": self.token})

    async def _pass_on(self, request: web.Request, fault: str) -> web.StreamResponse:
        names = ("Accept", "Range", *(["Authorization"] if self.passes_authorization else []))
        headers = {k: v for k, v in request.headers.items() if k in names}
        if fault == "whole":
            headers.pop("Range", None)
        async with ClientSession(auto_decompress=False) as session:
            url = f"http://{self.upstream}{request.path_qs}"
            async with session.request(request.method, url, headers=headers) as found:
                data = await found.read()
                kept = ("Content-Type", "Docker-Content-Digest", "Content-Range", "Content-Length")
                kept += ("WWW-Authenticate",)
                passed = {k: v for k, v in found.headers.items() if k in kept}
                return await self._answer(request, found.status, passed, data, fault)

    async def _answer(
        self, request: web.Request, status: int, headers: dict[str, str], data: bytes, fault: str
    ) -> web.StreamResponse:
        if fault == "wrong":
            data = bytes([data[0] ^ 1]) + data[1:]
        if fault == "long":
            data, headers = data + b"x", {k: v for k, v in headers.items() if k != "Content-Length"}
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        await response.write(data[: len(data) // 2] if fault == "cut" else data)
        if fault == "cut":
            assert request.transport is not None
            request.transport.close()
        return response


@contextmanager
def faulty_proxy(upstream: str, **settings: Any) -> Iterator[FaultyProxy]:
    """Run a proxy in a thread of its own."""
    proxy = FaultyProxy(upstream, **settings)
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        runner = web.ServerRunner(web.Server(proxy.handle), shutdown_timeout=0.1)  # type: ignore[arg-type]
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        sockets = site._server.sockets  # type: ignore[attr-defined]
        proxy.address = f"127.0.0.1:{sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
