"""A real server on a Unix socket in a temporary root, and a client for it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from minipod.client import Client
from minipod.paths import Layout, layout
from minipod.server.app import ApiServer, ServerOptions
from minipod.store import Limits, Store

PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
Object = dict[str, Any]


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any

    @property
    def warnings(self) -> list[str]:
        return list(self.headers.getall("Warning", []))


class Api:
    """Speaks HTTP to the server under test."""

    def __init__(self, session: aiohttp.ClientSession, server: ApiServer, store: Store) -> None:
        self.session = session
        self.server = server
        self.store = store
        self.client = Client(server.transport)

    async def __call__(
        self, method: str, path: str, body: Any = None, *, data: bytes | None = None, **headers: str
    ) -> Answer:
        """Send one request; header names are written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, f"http://api{path}", data=data, headers=sent
        ) as response:
            raw = await response.read()
            plain = not response.content_type.endswith("json")
            return Answer(response.status, raw if plain else json.loads(raw), response.headers)

    async def make(self, path: str, obj: Object) -> Object:
        """Create an object that must be accepted."""
        answer = await self("POST", path, obj)
        assert answer.status == 201, answer.body
        return dict(answer.body)

    @asynccontextmanager
    async def watch(self, path: str, **headers: str) -> AsyncIterator["Events"]:
        """Open a watch that must be accepted."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(f"http://api{path}", headers=sent) as response:
            assert response.status == 200, await response.text()
            yield Events(response)


class Events:
    """The events of one watch stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Object | None:
        line = await asyncio.wait_for(self.response.content.readline(), 10)
        return dict(json.loads(line)) if line else None

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Return the types and names of the next events."""
        found = [await self.next() for _ in range(count)]
        return [(e["type"], e["object"]["metadata"].get("name", "")) for e in found if e]


def serve(
    root: Path,
    body: Callable[[Api], Awaitable[None]],
    *,
    limits: Limits | None = None,
    **options: Any,
) -> None:
    """Run `body` against a server of its own."""

    async def main() -> None:
        where = layout(root)
        store = await Store.open(where.database, limits)
        options.setdefault("administrators", frozenset({os.getuid()}))
        server = ApiServer(store, where, ServerOptions(**options))
        try:
            await server.start()
            async with connect(where) as session:
                await asyncio.wait_for(body(Api(session, server, store)), 30)
        finally:
            await server.stop()
            await store.close()

    asyncio.run(main())


@asynccontextmanager
async def connect(where: Layout) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(where.api_socket), limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until `condition` holds; the test's own time limit ends it otherwise."""
    while not condition():  # noqa: ASYNC110 - nothing tells when the server notices that a client left
        await asyncio.sleep(0)


def pod(name: str = "nginx", **spec: Any) -> Object:
    containers = [{"name": "main", "image": "busybox"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": containers, **spec},
    }


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> Object:
    metadata: Object = {"name": name}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
