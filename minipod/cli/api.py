"""The API as commands use it: verbs on resources, watches, tables; every failure is a `CliError`."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from minipod.cli.errors import CliError, ServerError
from minipod.cli.http import Connection, Response
from minipod.cli.resources import Resource, discover, parse_json
from minipod.paths import Layout

Object = dict[str, Any]
Query = Mapping[str, Any]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
SHOW_REQUESTS = 6  # kubectl's -v level for this
PATCH_TYPES = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}


class Api:
    """One API server, on its Unix socket. Warnings it sends are printed on stderr, each once."""

    def __init__(
        self, layout: Layout, start_with: str = "sudo minipod up", verbosity: int = 0
    ) -> None:
        self._verbosity = verbosity
        self._path = str(layout.api_socket)
        self._start_with = start_with
        self._timeout: float | None = None
        self._connections: list[Connection] = []
        self._connection = self.connection()
        self._discovered: list[Resource] | None = None
        self._warned: set[str] = set()

    def connection(self) -> Connection:
        """Return a connection of its own, for a stream beside other calls."""
        made = Connection(self._path, start_with=self._start_with)
        made.set_timeout(self._timeout)
        self._connections.append(made)
        return made

    def close(self) -> None:
        """Close every connection."""
        for each in self._connections:
            each.close()

    def set_timeout(self, seconds: float | None) -> None:
        """Let each wait for the server end after `seconds` with TimeoutError."""
        self._timeout = seconds
        for each in self._connections:
            each.set_timeout(seconds)

    def discovered(self) -> list[Resource]:
        """Return every resource the server serves (asked once)."""
        if self._discovered is None:
            self._discovered = list(discover(self))
        return self._discovered

    def get_path(self, path: str, query: Query | None = None, accept: str = "") -> Object:
        """Return the JSON object at `path`. Raises ServerError."""
        return self.call("GET", path, query, accept=accept)

    def get_text(self, path: str, query: Query | None = None) -> str:
        """Return the text at `path`. Raises ServerError."""
        return self._send(self._connection, "GET", path, query).read().decode("utf-8", "replace")

    def post_text(self, path: str, body: Object) -> str:
        """Post a JSON object and return the text it is answered with. Raises ServerError."""
        return (
            self._send(self._connection, "POST", path, None, body).read().decode("utf-8", "replace")
        )

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return one object. Raises ServerError (NotFound)."""
        return self.get_path(resource.path(namespace, name))

    def list(self, resource: Resource, namespace: str, query: Query | None = None) -> Object:
        """Return a list object of a namespace, or of all when it is ""."""
        return self.get_path(resource.path(namespace), query)

    def create(
        self, resource: Resource, namespace: str, obj: Object, query: Query | None = None
    ) -> Object:
        """Create an object and return it as the server has it."""
        return self.call("POST", resource.path(namespace), query, obj)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Any,
        kind: str,
        query: Query | None = None,
    ) -> Object:
        """Patch an object; `kind` is one of PATCH_TYPES. Returns the object as the server has it now."""
        path = resource.path(namespace, name)
        return self.call("PATCH", path, query, patch, content_type=PATCH_TYPES[kind])

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        options: Object,
        query: Query | None = None,
    ) -> Object:
        """Delete an object; returns it, or a Status."""
        return self.call("DELETE", resource.path(namespace, name), query, options)

    def call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        *,
        accept: str = "",
        content_type: str = "application/json",
    ) -> Object:
        """Perform one request and return its JSON object. Raises ServerError."""
        response = self._send(
            self._connection, method, path, query, body, accept=accept, content_type=content_type
        )
        found = parse_json(response.read() or b"{}", f"the server's answer to {method} {path}")
        return found if isinstance(found, dict) else {"items": found}

    def watch(
        self,
        path: str,
        query: Query,
        *,
        accept: str = "",
        connection: Connection | None = None,
    ) -> Iterator[Object]:
        """Yield watch events ({"type", "object"}) until the server ends the watch. An ERROR event is raised."""
        own = connection or self.connection()
        response = self._send(own, "GET", path, {**query, "watch": "true"}, accept=accept)
        try:
            for line in response.lines():
                if not line.strip():
                    continue
                event = parse_json(line, "a watch event")
                if event.get("type") == "ERROR":
                    raise ServerError(event.get("object") or {})
                yield event
        finally:
            own.close()

    def stream(self, path: str, query: Query) -> Response:
        """Return a response of its own connection whose body is read as it arrives. Raises ServerError."""
        return self._send(self.connection(), "GET", path, query)

    def _send(
        self,
        connection: Connection,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        *,
        accept: str = "",
        content_type: str = "application/json",
    ) -> Response:
        headers = {"Accept": accept or "application/json, */*", "User-Agent": "minipod"}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body, ensure_ascii=False).encode()
        response = self._timed(connection, method, target(path, query), headers, data)
        for warning in response.warnings:
            self._warn(warning)
        if response.status >= 300:
            raise failure(response, f"{method} {path}")
        return response

    def _timed(
        self,
        connection: Connection,
        method: str,
        where: str,
        headers: Mapping[str, str],
        data: bytes | None,
    ) -> Response:
        begin = time.perf_counter()
        response = connection.request(method, where, headers, data)
        if self._verbosity >= SHOW_REQUESTS:
            taken = (time.perf_counter() - begin) * 1000
            print(
                f"{method} {where} {response.status} in {taken:.1f} milliseconds", file=sys.stderr
            )
        return response

    def _warn(self, header: str) -> None:
        text = header.partition('"')[2].rpartition('"')[0].replace('\\"', '"').replace("\\\\", "\\")
        if text and text not in self._warned:
            self._warned.add(text)
            warn(text)


def target(path: str, query: Query | None) -> str:
    """Return the request target of a path and its query parameters."""
    if not query:
        return path
    from urllib.parse import urlencode

    return f"{path}?{urlencode(query, doseq=True)}"


def failure(response: Response, request: str) -> CliError:
    """Return the error that a response of status 300 or more stands for."""
    text = response.read()
    try:
        status = json.loads(text)
    except ValueError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return ServerError(status)
    said = text.decode("utf-8", "replace").strip() or "nothing"
    return ServerError(
        {"code": response.status, "message": f"{request}: {response.status}: {said}"}
    )


def warn(text: str) -> None:
    """Print a warning on stderr as kubectl does."""
    from minipod.cli.terminal import coloured

    print(coloured("Warning:", "33;1", sys.stderr), text, file=sys.stderr)
