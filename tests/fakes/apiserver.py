"""A small API server on a Unix socket, for tests of the command line: objects in memory, watches, tables, streams.

It knows enough of the API's rules for a client to be tested against (errors as Status, resourceVersions, field and
label selectors by equality) and records every request. Streams are answered by `on_exec`.
"""

import base64
import hashlib
import json
import socketserver
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Object = dict[str, Any]
KINDS = {
    "pods": ("Pod", "po", True),
    "namespaces": ("Namespace", "ns", False),
    "nodes": ("Node", "no", False),
    "events": ("Event", "ev", True),
    "secrets": ("Secret", "", True),
    "configmaps": ("ConfigMap", "cm", True),
    "serviceaccounts": ("ServiceAccount", "sa", True),
}
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class FakeApiServer:
    """Use as a context manager; `objects` is keyed by (resource, namespace, name)."""

    socket_path: Path
    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    requests: list[Seen] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # path: (status, body)
    logs: dict[str, bytes] = field(default_factory=dict)  # container: log
    on_exec: "Callable[[ExecStream], None] | None" = None
    protocols: tuple[str, ...] = ("v5.channel.k8s.io", "v4.channel.k8s.io")
    on_write: Callable[["FakeApiServer", str, Object], None] | None = None
    version: int = 100
    history: list[tuple[int, str, tuple[str, str, str], Object]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    closing: bool = False

    def __enter__(self) -> "FakeApiServer":
        self.socket_path.parent.mkdir(parents=True, exist_ok=True)
        self._server = _Server(str(self.socket_path), _Handler)
        self._server.fake = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, resource: str, obj: Object, event: str = "") -> Object:
        """Store an object as a new version, as if somebody else had written it."""
        with self.changed:
            self.version += 1
            metadata = obj.setdefault("metadata", {})
            key = (resource, metadata.get("namespace", ""), metadata["name"])
            kind = event or ("MODIFIED" if key in self.objects else "ADDED")
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata.setdefault("creationTimestamp", "2024-01-01T00:00:00Z")
            metadata["resourceVersion"] = str(self.version)
            obj = {"apiVersion": "v1", "kind": KINDS[resource][0], **obj}
            self.objects[key] = obj
            self.history.append((self.version, kind, key, json.loads(json.dumps(obj))))
            self.changed.notify_all()
        return obj

    def remove(self, resource: str, namespace: str, name: str) -> Object:
        """Take an object away."""
        with self.changed:
            self.version += 1
            obj = self.objects.pop((resource, namespace, name))
            self.history.append((self.version, "DELETED", (resource, namespace, name), obj))
            self.changed.notify_all()
        return obj

    def wait_for_request(self, wanted: Callable[[Seen], bool], seconds: float = 5) -> None:
        """Return when such a request has arrived."""
        with self.changed:
            assert self.changed.wait_for(lambda: any(map(wanted, self.requests)), timeout=seconds)

    def writes(self) -> list[Seen]:
        """Return the requests that were not reads."""
        return [each for each in self.requests if each.method != "GET"]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    fake: FakeApiServer


class ExecStream:
    """The server's end of an exec or attach: unmasked frames out, channel messages in."""

    def __init__(self, handler: "_Handler", query: dict[str, list[str]], protocol: str) -> None:
        self._handler = handler
        self.query = query
        self.protocol = protocol

    def send(self, channel: int, data: bytes, opcode: int = 2) -> None:
        payload = bytes((channel,)) + data
        self.frame(payload, opcode)

    def frame(self, payload: bytes, opcode: int = 2, final: bool = True) -> None:
        head = bytes(((0x80 if final else 0) | opcode,))
        if len(payload) < 126:
            head += bytes((len(payload),))
        elif len(payload) < 65536:
            head += b"\x7e" + len(payload).to_bytes(2, "big")
        else:
            head += b"\x7f" + len(payload).to_bytes(8, "big")
        self._handler.wfile.write(head + payload)
        self._handler.wfile.flush()

    def receive(self) -> tuple[int, bytes] | None:
        """Return (opcode, payload) of the next frame; None when the client is gone."""
        first = self._handler.rfile.read(2)
        if len(first) < 2:
            return None
        assert first[1] & 0x80, "a client must mask"
        length = first[1] & 0x7F
        if length == 126:
            length = int.from_bytes(self._handler.rfile.read(2), "big")
        elif length == 127:
            length = int.from_bytes(self._handler.rfile.read(8), "big")
        key = self._handler.rfile.read(4)
        data = self._handler.rfile.read(length)
        mask = (key * (length // 4 + 1))[:length]
        mixed = int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")
        return first[0] & 0x0F, mixed.to_bytes(length, "big")

    def finish(self, code: int = 0, **status: Any) -> None:
        """Send the final Status and close."""
        if code:
            causes = [{"reason": "ExitCode", "message": str(code)}]
            found = {
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "message": f"command terminated with non-zero exit code: exit status {code}",
                "details": {"causes": causes},
            }
        else:
            found = {"status": "Success", **status}
        self.send(3, json.dumps(found).encode())
        self.frame((1000).to_bytes(2, "big"), 8)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def address_string(self) -> str:
        return "unix"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        fake = self.server.fake
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        headers = {key.lower(): value for key, value in self.headers.items()}
        with fake.changed:
            fake.requests.append(Seen(method, parts.path, query, headers, body))
            fake.changed.notify_all()
        if parts.path in fake.answers:
            self._answer(*fake.answers[parts.path])
            return
        if parts.path == "/api/v1":
            self._json(200, _discovery())
            return
        if parts.path == "/apis":
            self._json(200, {"kind": "APIGroupList", "groups": []})
            return
        if parts.path == "/version":
            self._json(200, {"gitVersion": "v1.36.0+fake"})
            return
        self._object(method, [unquote(each) for each in parts.path.split("/")[3:]], query, body)

    def _object(
        self, method: str, parts: list[str], query: dict[str, list[str]], body: Any
    ) -> None:
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        resource, name = parts[0], parts[1] if len(parts) > 1 else ""
        if resource not in KINDS:
            self._failure(404, "NotFound", "the server could not find the requested resource")
        elif len(parts) > 2 and parts[2] in ("exec", "attach"):
            self._stream(query)
        elif len(parts) > 2 and parts[2] == "log":
            self._answer(
                200, self.server.fake.logs.get(query.get("container", [""])[0], b""), "text/plain"
            )
        elif method == "POST":
            self._create(resource, namespace, query, body)
        elif not name and "watch" in query:
            self._watch(resource, namespace, query)
        elif not name:
            self._list(resource, namespace, query)
        else:
            self._single(method, (resource, namespace, name), query, body)

    def _create(
        self, resource: str, namespace: str, query: dict[str, list[str]], body: Object
    ) -> None:
        fake = self.server.fake
        key = (resource, namespace, body["metadata"]["name"])
        if key in fake.objects:
            self._failure(409, "AlreadyExists", f'{resource} "{key[2]}" already exists')
            return
        if namespace:
            body["metadata"]["namespace"] = namespace
        if "dryRun" in query:
            self._json(201, body)
            return
        made = fake.put(resource, body)
        self._json(201, made)
        if fake.on_write:
            fake.on_write(fake, "create", made)

    def _single(
        self, method: str, key: tuple[str, str, str], query: dict[str, list[str]], body: Any
    ) -> None:
        fake = self.server.fake
        found = fake.objects.get(key)
        if found is None:
            self._failure(404, "NotFound", f'{key[0]} "{key[2]}" not found')
        elif method == "GET":
            self._listing([found], query) if self._wants_table() else self._json(200, found)
        elif method == "PATCH":
            merged = json.loads(json.dumps(found))
            _merge(merged, body)
            self._json(
                200, merged if "dryRun" in query or merged == found else fake.put(key[0], merged)
            )
        else:
            self._json(200, found)
            if "dryRun" not in query:
                fake.remove(*key)

    def _matching(self, resource: str, namespace: str, query: dict[str, list[str]]) -> list[Object]:
        return [
            obj
            for (kind, where, _), obj in sorted(self.server.fake.objects.items())
            if kind == resource and namespace in ("", where) and _selected(obj, query)
        ]

    def _list(self, resource: str, namespace: str, query: dict[str, list[str]]) -> None:
        with self.server.fake.changed:  # the version is that of these objects
            found = json.loads(json.dumps(self._matching(resource, namespace, query)))
            version = self.server.fake.version
        self._listing(found, query, KINDS[resource][0], version)

    def _listing(
        self,
        objects: list[Object],
        query: dict[str, list[str]],
        kind: str = "",
        version: int | None = None,
    ) -> None:
        newest = self.server.fake.version if version is None else version
        metadata = {"resourceVersion": str(newest)}
        if self._wants_table():
            self._json(200, {**_table(objects, query), "metadata": metadata})
        else:
            self._json(
                200,
                {"kind": f"{kind}List", "apiVersion": "v1", "metadata": metadata, "items": objects},
            )

    def _wants_table(self) -> bool:
        return "as=Table" in self.headers.get("Accept", "")

    def _watch(self, resource: str, namespace: str, query: dict[str, list[str]]) -> None:
        fake = self.server.fake
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        since = int(query.get("resourceVersion", ["0"])[0] or 0)
        while True:
            with fake.changed:
                fake.changed.wait_for(
                    lambda seen=since: fake.closing or fake.version > seen, timeout=30
                )
                new, closing = [each for each in fake.history if each[0] > since], fake.closing
                since = max(since, fake.version)
            for _, kind, key, obj in new:
                if key[0] == resource and namespace in ("", key[1]) and _selected(obj, query):
                    shown = _table([obj], query) if self._wants_table() else obj
                    self._chunk(json.dumps({"type": kind, "object": shown}).encode() + b"\n")
            if closing:
                self._chunk(b"")
                return

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _stream(self, query: dict[str, list[str]]) -> None:
        fake = self.server.fake
        offered = [
            each.strip() for each in self.headers.get("Sec-WebSocket-Protocol", "").split(",")
        ]
        protocol = next(each for each in fake.protocols if each in offered)
        digest = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + GUID).encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.send_header("Sec-WebSocket-Protocol", protocol)
        self.end_headers()
        assert fake.on_exec is not None
        fake.on_exec(ExecStream(self, query, protocol))
        self.close_connection = True

    def _failure(self, code: int, reason: str, message: str) -> None:
        status = {
            "kind": "Status",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        }
        self._json(code, status)

    def _json(self, code: int, body: Object) -> None:
        self._answer(code, json.dumps(body).encode())

    def _answer(self, code: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        for warning in self.server.fake.warnings:
            self.send_header("Warning", f'299 - "{warning}"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _selected(obj: Object, query: dict[str, list[str]]) -> bool:
    for term in query.get("fieldSelector", [""])[0].split(","):
        path, equals, value = term.partition("=")
        found: Any = obj
        for part in path.split(".") if equals else []:
            found = (found or {}).get(part)
        if equals and str(found or "") != value:
            return False
    labels = obj["metadata"].get("labels") or {}
    for term in query.get("labelSelector", [""])[0].split(","):
        key, equals, value = term.partition("=")
        if equals and labels.get(key) != value:
            return False
    return True


def _merge(into: Object, patch: Object) -> None:
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def _table(objects: list[Object], query: dict[str, list[str]]) -> Object:
    columns = [
        {"name": "Name", "type": "string", "priority": 0},
        {"name": "Status", "type": "string", "priority": 0},
        {"name": "Age", "type": "string", "priority": 0},
        {"name": "IP", "type": "string", "priority": 1},
    ]
    whole = query.get("includeObject") == ["Object"]
    rows = []
    for obj in objects:
        status = obj.get("status") or {}
        cells = [
            obj["metadata"]["name"],
            status.get("phase", ""),
            "5s",
            status.get("podIP", "<none>"),
        ]
        partial = {"kind": "PartialObjectMetadata", "metadata": obj["metadata"]}
        rows.append({"cells": cells, "object": obj if whole else partial})
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "columnDefinitions": columns,
        "rows": rows,
    }


def _discovery() -> Object:
    resources = []
    for plural, (kind, short, namespaced) in KINDS.items():
        found: Object = {
            "name": plural,
            "singularName": kind.lower(),
            "kind": kind,
            "namespaced": namespaced,
        }
        found["verbs"] = ["create", "delete", "get", "list", "patch", "update", "watch"]
        if short:
            found["shortNames"] = [short]
        if kind == "Pod":
            found["categories"] = ["all"]
        resources += [
            found,
            {"name": f"{plural}/status", "kind": kind, "namespaced": namespaced, "verbs": ["get"]},
        ]
    return {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources}
