"""What is true of every HTTP request, whatever it asks: it is counted, it is in the audit log, it waits its turn."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from minipod.api.rbac.attributes import Attributes, resource_attributes
from minipod.clock import Clock
from minipod.server.audit import Audited, AuditOptions, Auditor, Received
from minipod.server.fairness import FairQueue, LongRunning
from minipod.server.identity import Identity
from minipod.server.metrics import Metrics, RequestLabels
from minipod.server.routes import Target

STREAMS_LIMIT = 1000
AUDIT_HEADER = "Audit-ID"


@dataclass
class Call:
    """One HTTP request on its way through the server."""

    http: web.BaseRequest
    target: Target | None
    asked: Attributes
    long_running: bool = False
    user: str = ""
    audited: Audited | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    @property
    def labels(self) -> RequestLabels:
        """What the request is counted as: of what is no resource, only the verb is told apart."""
        asked = self.asked
        return asked.verb, asked.group, asked.version, asked.resource, asked.subresource


class Oversight:
    """Counts requests, keeps the audit log, and has users take turns."""

    def __init__(self, metrics: Metrics, clock: Clock, max_watches: int) -> None:
        self._metrics = metrics
        self._clock = clock
        self._auditor = Auditor(AuditOptions(), clock)
        self.places = FairQueue(on_reject=metrics.rejected)
        self.watches = LongRunning("watches", max_watches, metrics.rejected)
        self.streams = LongRunning("streams", STREAMS_LIMIT, metrics.rejected)

    def keep_audit_log(self, options: AuditOptions) -> None:
        """Keep an audit log; none is kept before."""
        self._auditor.close()
        self._auditor = Auditor(options, self._clock)

    def begin(self, call: Call) -> None:
        """Count a request in."""
        self._metrics.begin(call.labels, long_running=call.long_running)

    def identified(self, call: Call, caller: Identity | None, acting: Identity | None) -> None:
        """Open its entry in the audit log: it is known who sends it, or (None) that this is nobody."""
        call.user = acting.user if acting else ""
        http = call.http
        received = Received(
            http.rel_url.raw_path_qs,
            call.asked,
            _sources(http),
            http.headers.get("User-Agent", ""),
            http.headers.get(AUDIT_HEADER, ""),
        )
        call.audited = self._auditor.begin(received, caller, acting)

    def allowed(self, call: Call, reason: str) -> None:
        """Note by what right it is answered."""
        call.annotations["authorization.k8s.io/decision"] = "allow"
        call.annotations["authorization.k8s.io/reason"] = reason

    def forbidden(self, call: Call) -> None:
        """Note that there was no right to it; RBAC gives no reason for that, and readers look for one."""
        call.annotations["authorization.k8s.io/decision"] = "forbid"
        call.annotations["authorization.k8s.io/reason"] = ""

    def started(self, call: Call) -> None:
        """Note that an answer has begun which will last."""
        if call.audited is not None:
            self._auditor.started(call.audited)

    def keep_request(self, call: Call, body: Any) -> None:
        """Keep the request's object for the log, if that wants it."""
        if call.audited is not None and call.audited.wants_request:
            call.audited.request_object = body

    def keep_response(self, call: Call, value: Callable[[], bytes]) -> None:
        """Keep the answer's object for the log, if that wants it."""
        if call.audited is not None and call.audited.wants_response:
            call.audited.response_object = value()

    def end(self, call: Call, response: web.StreamResponse | None) -> None:
        """Count a request out and close its entry; None when its client has gone."""
        code = response.status if response is not None else 499
        seconds = time.monotonic() - call.begun
        self._metrics.end(call.labels, code, seconds, long_running=call.long_running)
        if call.audited is None:
            return
        self._auditor.complete(call.audited, code, call.annotations)
        if response is not None and not response.prepared:
            response.headers[AUDIT_HEADER] = call.audited.identifier

    def close(self) -> None:
        """Close the log."""
        self._auditor.close()


def make_call(http: web.BaseRequest, target: Target | None, verb: str, streams: bool) -> Call:
    """Return a request as it is overseen."""
    if target is None:
        path = unquote(http.rel_url.raw_path)
        return Call(http, None, Attributes(http.method.lower(), path=path))
    asked = resource_attributes(
        verb,
        target.resource,
        target.namespace,
        target.name,
        target.subresource,
        version=target.version,
        field_selector=http.rel_url.query.get("fieldSelector", ""),
    )
    return Call(http, target, asked, streams or verb == "watch")


def _sources(http: web.BaseRequest) -> tuple[str, ...]:
    """Return where a request comes from: an address, or nothing for the Unix socket."""
    peer = http.transport.get_extra_info("peername") if http.transport else None
    return (str(peer[0]),) if isinstance(peer, tuple) and peer else ()
