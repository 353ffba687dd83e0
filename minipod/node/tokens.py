"""Tokens of service accounts for the volumes of Pods: asked for once, kept, and renewed in good time.

The kubelet's rule (pkg/kubelet/token): a new one when four fifths of its life have passed, or a day. A token is bound
to its Pod, so it ends with it. Nothing is written down: after a restart new ones are asked for.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from minipod.client import Client, Object
from minipod.clock import Clock, Timer, parse_time
from minipod.node.pods import uid_of

RENEW_AFTER, LONGEST = 0.8, 24 * 3600.0  # of a token's life; seconds
JITTER = 10.0  # seconds, so that many Pods' tokens are not renewed at one moment

Wanted = tuple[str, int]  # audience ("" for the API server), seconds


@dataclass
class _Kept:
    token: str
    timer: Timer


class Tokens:
    """The tokens of a node's Pods. `on_due` is set by whoever wakes the Pods."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.on_due: Callable[[str], None] = lambda uid: None
        self._client = client
        self._clock = clock
        self._kept: dict[str, dict[Wanted, _Kept]] = {}

    async def get(self, pod: Object, wanted: Wanted) -> str:
        """Return a Pod's token, asked for when there is none or its time has come. StatusError."""
        uid = uid_of(pod)
        kept = self._kept.setdefault(uid, {})
        if wanted not in kept:
            token, due = await self._request(pod, wanted)
            kept[wanted] = _Kept(token, self._clock.call_at(due, lambda: self._renew(uid, wanted)))
        return kept[wanted].token

    def forget(self, uid: str) -> None:
        """Forget a Pod that is gone."""
        for each in self._kept.pop(uid, {}).values():
            each.timer.cancel()

    def stop(self) -> None:
        """Renew nothing any more."""
        for uid in list(self._kept):
            self.forget(uid)

    def _renew(self, uid: str, wanted: Wanted) -> None:
        self._kept.get(uid, {}).pop(wanted, None)
        self.on_due(uid)

    async def _request(self, pod: Object, wanted: Wanted) -> tuple[str, float]:
        """Return a new token, and when to ask for the next."""
        audience, seconds = wanted
        metadata = pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": uid_of(pod)}
        spec = {
            "audiences": [audience] if audience else [],
            "expirationSeconds": seconds,
            "boundObjectRef": bound,
        }
        answer = await self._client.create(
            "serviceaccounts",
            metadata["namespace"],
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
            name=pod["spec"].get("serviceAccountName") or "default",
            subresource="token",
        )
        now = self._clock.now()
        life = parse_time(answer["status"]["expirationTimestamp"]) - now
        due = now + min(life * RENEW_AFTER, LONGEST) - random.uniform(0, JITTER)
        return str(answer["status"]["token"]), max(due, now + 1)
