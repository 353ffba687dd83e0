"""Signs what was approved for kubernetes.io/kube-apiserver-client, and clears away requests whose time is over.

Upstream's csrsigning and csrcleaner controllers. Other signers' requests are theirs: they are stored, approved and
shown, and their own controllers sign them through the API.
"""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from minipod.api.errors import StatusError
from minipod.api.hooks.signing_requests import APPROVED, DENIED, FAILED, condition_of
from minipod.client import Client
from minipod.clock import Clock, format_time, parse_time
from minipod.controllers.keyed_loop import KeyedLoop
from minipod.informer import Informer

Object = dict[str, Any]
SIGNER = "kubernetes.io/kube-apiserver-client"
RESOURCE = "certificatesigningrequests.certificates.k8s.io"
LONGEST = timedelta(days=365)
_ALLOWED = {"client auth", "digital signature", "key encipherment"}
_KEPT_PENDING, _KEPT_DECIDED = 24 * 3600.0, 3600.0  # seconds, as upstream
Sign = Callable[
    [bytes, datetime, timedelta], bytes
]  # (request PEM, now, lifetime) -> certificate PEM


class CertificateSigner:
    """Follows requests. `sign` makes a certificate, or raises ValueError with what is wrong with the request."""

    def __init__(self, client: Client, clock: Clock, sign: Sign) -> None:
        self._client = client
        self._clock = clock
        self._sign = sign
        self._loop = KeyedLoop(clock, "certificate signing request", self._sync)
        self._requests = Informer(client, RESOURCE, self._on_request)

    async def start(self) -> None:
        """Follow requests from now on."""
        await self._requests.start()

    async def stop(self) -> None:
        """End."""
        await self._requests.stop()
        await self._loop.stop()

    async def wait_idle(self) -> None:
        """Wait until nothing is being signed."""
        await self._loop.wait_idle()

    def _on_request(self, new: Object | None, _old: Object | None) -> None:
        if new is not None:
            self._loop.look("", new["metadata"]["name"])

    async def _sync(self, _namespace: str, name: str) -> None:
        request = self._requests.get("", name)
        if request is None:
            return
        left = end_of(request) - self._clock.now()
        if left <= 0:
            uid = request["metadata"]["uid"]
            await self._client.delete(RESOURCE, "", name, uid=uid)
            return
        if is_due(request):
            try:
                await self._client.update(RESOURCE, "", self._signed(request), subresource="status")
            except StatusError as error:
                if error.code != 409:  # the watch tells of a newer one
                    raise
        self._loop.look_later("", name, left)

    def _signed(self, request: Object) -> Object:
        """Return the request with its certificate, or with why there is none."""
        spec, status = request["spec"], request.get("status") or {}
        now = datetime.fromtimestamp(int(self._clock.now()), UTC)
        problem = usage_problem(spec.get("usages") or [])
        if not problem:
            seconds = spec.get("expirationSeconds")
            life = LONGEST if seconds is None else min(LONGEST, timedelta(seconds=seconds))
            try:
                made = self._sign(base64.b64decode(spec["request"]), now, life)
                return {
                    **request,
                    "status": {**status, "certificate": base64.b64encode(made).decode()},
                }
            except ValueError as error:
                problem = str(error)
        at = format_time(self._clock.now())
        failed = {
            "type": FAILED,
            "status": "True",
            "reason": "SignerValidationFailure",
            "message": problem,
            "lastUpdateTime": at,
        }
        return {**request, "status": {**status, "conditions": [*status["conditions"], failed]}}


def is_due(request: Object) -> bool:
    """Whether a request waits for this signer. Pure."""
    waits = condition_of(request, APPROVED) and not (request.get("status") or {}).get("certificate")
    over = condition_of(request, DENIED) or condition_of(request, FAILED)
    return bool(waits and not over and request["spec"].get("signerName") == SIGNER)


def usage_problem(usages: list[str]) -> str:
    """Return why a client's certificate cannot have these usages, "" when it can. Pure."""
    if "client auth" in usages and set(usages) <= _ALLOWED:
        return ""
    needed = "client auth is needed, digital signature and key encipherment are allowed"
    return f"usages [{' '.join(usages)}] do not fit: {needed}"


def end_of(request: Object) -> float:
    """Return when a request is cleared away: a day after it was made, an hour after it was decided. Pure."""
    decided = [condition_of(request, kind) for kind in (APPROVED, DENIED, FAILED)]
    times = [each.get("lastUpdateTime") for each in decided if each]
    last = max((parse_time(each) for each in times if each), default=None)
    if last is not None:
        return last + _KEPT_DECIDED
    return parse_time(request["metadata"]["creationTimestamp"]) + _KEPT_PENDING
