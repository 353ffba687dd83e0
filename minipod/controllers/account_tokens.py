"""Secrets of type kubernetes.io/service-account-token: filled with their account's token, and gone with it.

Upstream's tokens controller. Such a token never expires; it holds while the Secret and the account do.
"""

import asyncio
import base64
import logging
from collections.abc import Callable

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock, call_off
from minipod.informer import Informer, Key, key_of

logger = logging.getLogger(__name__)

TYPE = "kubernetes.io/service-account-token"
NAME_ANNOTATION = "kubernetes.io/service-account.name"
UID_ANNOTATION = "kubernetes.io/service-account.uid"
_RETRY = 2.0  # seconds after a write that failed
_PATIENCE = 5.0  # seconds that a Secret may be there before its account
Issue = Callable[[Object, Object], str]  # an account and a Secret to the token


def compute_secret(
    secret: Object, account: Object, authority: bytes, issue: Issue
) -> Object | None:
    """Return the completed token Secret; None when nothing is missing."""
    data, metadata = secret.get("data") or {}, secret["metadata"]
    wanted = {
        "ca.crt": base64.b64encode(authority).decode(),
        "namespace": base64.b64encode(metadata["namespace"].encode()).decode(),
    }
    uid = account["metadata"]["uid"]
    missing = {name: value for name, value in wanted.items() if data.get(name) != value}
    renewed = (metadata.get("annotations") or {}).get(UID_ANNOTATION) != uid
    if not data.get("token") or renewed:
        missing["token"] = base64.b64encode(issue(account, secret).encode()).decode()
    if not missing:
        return None
    annotations = {**(metadata.get("annotations") or {}), UID_ANNOTATION: uid}
    made = {**secret, "metadata": {**metadata, "annotations": annotations}}
    return {**made, "data": {**data, **missing}}


class AccountTokens:
    """Keeps token Secrets. `authority` returns the certificate that clients are to trust."""

    def __init__(
        self, client: Client, clock: Clock, issue: Issue, authority: Callable[[], bytes]
    ) -> None:
        self._client = client
        self._clock = clock
        self._issue = issue
        self._authority = authority
        self._secrets = Informer(client, "secrets", self._on_secret, field_selector=f"type={TYPE}")
        self._accounts = Informer(client, "serviceaccounts", self._on_account)
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._again: set[Key] = set()
        self._first_seen: dict[Key, float] = {}

    async def start(self) -> None:
        """Follow ServiceAccounts and token Secrets.

        Secrets are not waited for: with one that no key opens there is no list of them, and all else shall go on.
        """
        await self._accounts.start()
        self._secrets.begin()

    async def stop(self) -> None:
        """End."""
        await self._secrets.stop()
        await self._accounts.stop()
        await call_off(*self._tasks.values())

    async def wait_idle(self) -> None:
        """Wait until nothing is being written."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))
            await asyncio.sleep(0)

    def _on_secret(self, new: Object | None, old: Object | None) -> None:
        key = key_of(new or old or {})
        if new is None:
            self._first_seen.pop(key, None)
        elif "deletionTimestamp" not in new["metadata"]:
            self._first_seen.setdefault(key, self._clock.now())
            self._look(key)

    def _on_account(self, new: Object | None, old: Object | None) -> None:
        namespace, name = key_of(new or old or {})
        for key, secret in list(self._secrets.objects.items()):
            if key[0] == namespace and _account_name(secret) == name:
                self._look(key)

    def _look(self, key: Key) -> None:
        if key in self._tasks:
            self._again.add(key)
            return
        task = self._tasks[key] = asyncio.create_task(self._complete(key), name=f"token {key[1]}")
        task.add_done_callback(lambda _: self._done(key))

    def _done(self, key: Key) -> None:
        self._tasks.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self._look(key)

    async def _complete(self, key: Key) -> None:
        secret = self._secrets.objects.get(key)
        if secret is None:
            return
        try:
            account = self._accounts.get(key[0], _account_name(secret))
            if account is None:
                await self._without_account(key, secret)
                return
            made = compute_secret(secret, account, self._authority(), self._issue)
            if made is not None:
                await self._client.update("secrets", key[0], made)
        except StatusError as error:
            if error.code in (404, 409):
                return  # gone or changed: the watch tells
            logger.warning('token secret "%s/%s": %s; trying again', *key, error)
            self._clock.call_at(self._clock.now() + _RETRY, lambda: self._look(key))

    async def _without_account(self, key: Key, secret: Object) -> None:
        """Remove a Secret whose account is gone; one that is new waits a while for it."""
        age = self._clock.now() - self._first_seen.get(key, 0.0)
        known = (secret["metadata"].get("annotations") or {}).get(UID_ANNOTATION)
        if known or age >= _PATIENCE:
            await self._client.delete("secrets", *key, uid=secret["metadata"]["uid"])
            return
        self._clock.call_at(self._clock.now() + _PATIENCE - age, lambda: self._look(key))


def _account_name(secret: Object) -> str:
    return str((secret["metadata"].get("annotations") or {}).get(NAME_ANNOTATION, ""))
