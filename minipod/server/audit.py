"""The audit log: who asked for what, and what came of it. One audit.k8s.io/v1 Event a line, JSON.

Written by the event loop itself (one write(2) to a file opened for appending is tens of microseconds), so that a line
is with the kernel before the answer is with the client. Rotated by size; a file that cannot be written is told of
once and does not stop the server, as upstream's default mode.
"""

import json
import logging
import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minipod.api.rbac.attributes import Attributes
from minipod.clock import Clock, format_micro_time
from minipod.server.audit_policy import DEFAULT, NOTHING, Policy, Verdict, parse_policy
from minipod.server.identity import Identity
from minipod.server.reviews import user_info

logger = logging.getLogger(__name__)

Object = dict[str, Any]
_ID_LIMIT = 64  # characters of an ID that a client brings


@dataclass(frozen=True)
class AuditOptions:
    """Where the log is, what it keeps, and when it is rotated. No path: nothing is kept."""

    path: Path | None = None
    policy: Policy = field(default_factory=lambda: parse_policy(DEFAULT))
    max_bytes: int = 100 << 20
    max_backups: int = 10


@dataclass
class Audited:
    """One request on its way through the server, as the log sees it."""

    identifier: str
    verdict: Verdict
    event: Object
    received: float
    request_object: Any = None
    response_object: Any = None

    @property
    def wants_request(self) -> bool:
        """Whether the request's body is kept."""
        return self.verdict.level in ("Request", "RequestResponse")

    @property
    def wants_response(self) -> bool:
        """Whether the answer's body is kept."""
        return self.verdict.level == "RequestResponse"


@dataclass(frozen=True)
class Received:
    """What is known of a request before anybody answers it."""

    uri: str
    asked: Attributes
    sources: tuple[str, ...]
    user_agent: str
    identifier: str  # the client's own, or ""


class Auditor:
    """Keeps the log. `begin`, then `started` for what lasts, then `complete`."""

    def __init__(self, options: AuditOptions, clock: Clock) -> None:
        self._policy = options.policy
        self._clock = clock
        self._log = RotatedLog(options) if options.path is not None else None

    def begin(
        self, received: Received, caller: Identity | None, acting: Identity | None
    ) -> Audited:
        """Take a request up, after it was found out who sends it."""
        identifier = received.identifier[:_ID_LIMIT] or str(uuid.uuid4())
        verdict = NOTHING if self._log is None else self._policy.judge(acting, received.asked)
        now = self._clock.now()
        event = {} if verdict is NOTHING else _event(received, caller, acting, verdict, identifier)
        audited = Audited(identifier, verdict, event, now)
        self._write(audited, "RequestReceived", {})
        return audited

    def started(self, audited: Audited, code: int = 200) -> None:
        """Tell that an answer has begun which will last."""
        self._write(audited, "ResponseStarted", {"responseStatus": {"metadata": {}, "code": code}})

    def complete(self, audited: Audited, code: int, annotations: dict[str, str]) -> None:
        """Tell how it ended."""
        if not audited.verdict.keeps("ResponseComplete"):
            return
        more: Object = {"responseStatus": {"metadata": {}, "code": code}}
        fields = not audited.verdict.omit_managed_fields
        if audited.wants_request and audited.request_object is not None:
            more["requestObject"] = _kept(audited.request_object, managed_fields=fields)
        if audited.wants_response and audited.response_object is not None:
            more["responseObject"] = _kept(audited.response_object, managed_fields=fields)
        if annotations:
            more["annotations"] = annotations
        self._write(audited, "ResponseComplete", more)

    def close(self) -> None:
        """Close the file."""
        if self._log is not None:
            self._log.close()

    def _write(self, audited: Audited, stage: str, more: Object) -> None:
        if self._log is None or not audited.verdict.keeps(stage):
            return
        event = {
            **audited.event,
            "stage": stage,
            **more,
            "requestReceivedTimestamp": format_micro_time(audited.received),
            "stageTimestamp": format_micro_time(self._clock.now()),
        }
        self._log.write(json.dumps(event, separators=(",", ":"), ensure_ascii=False))


class RotatedLog:
    """A file of lines, readable by its owner alone; full ones are kept as PATH.1 (the newest), PATH.2..."""

    def __init__(self, options: AuditOptions) -> None:
        assert options.path is not None
        self._path = options.path
        self._limit, self._backups = options.max_bytes, options.max_backups
        self._descriptor = -1
        self._size = 0
        self._failed = False

    def write(self, line: str) -> None:
        """Append a line."""
        data = line.encode("utf-8", "replace") + b"\n"
        try:
            if self._descriptor < 0:
                self._open()
            if self._size and self._size + len(data) > self._limit:
                self._rotate()
            os.write(self._descriptor, data)
            self._size += len(data)
            self._failed = False
        except OSError as error:
            if not self._failed:  # once, not for every request
                logger.error('audit log "%s": %s', self._path, error.strerror or error)
            self._failed = True

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        """Number the kept files up, the oldest away, and begin a new one."""
        self.close()
        for number in range(self._backups, 0, -1):
            older = self._backup(number)
            newer = self._backup(number - 1) if number > 1 else self._path
            if newer.exists():
                newer.replace(older)
        if not self._backups:
            self._path.unlink(missing_ok=True)
        self._open()

    def _backup(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _event(
    received: Received,
    caller: Identity | None,
    acting: Identity | None,
    verdict: Verdict,
    identifier: str,
) -> Object:
    event: Object = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": verdict.level,
        "auditID": identifier,
        "stage": "",
        "requestURI": received.uri,
        "verb": received.asked.verb,
        "user": user_info(caller) if caller is not None else {},
        "sourceIPs": list(received.sources),
        "userAgent": received.user_agent,
    }
    if acting is not None and acting != caller:
        event["impersonatedUser"] = user_info(acting)
    reference = _reference(received.asked)
    if reference:
        event["objectRef"] = reference
    return event


def _reference(asked: Attributes) -> Object:
    names = (
        ("resource", asked.resource),
        ("namespace", asked.namespace),
        ("name", asked.name),
        ("apiGroup", asked.group),
        ("apiVersion", asked.version),
        ("subresource", asked.subresource),
    )
    return {name: value for name, value in names if value and asked.resource}


def _kept(obj: Any, *, managed_fields: bool) -> Any:
    """Return an object as the log has it."""
    if isinstance(obj, bytes):
        obj = json.loads(obj)
    if managed_fields or not isinstance(obj, dict):
        return obj
    made = dict(obj)
    if isinstance(made.get("metadata"), dict):
        made["metadata"] = {k: v for k, v in made["metadata"].items() if k != "managedFields"}
    if isinstance(made.get("items"), list):
        made["items"] = [_kept(item, managed_fields=False) for item in made["items"]]
    return made
