"""delete and deletecollection: mark what must end first, remove what need not.

A Pod on a node is only marked, with the time it has; its node ends it and then deletes it with grace 0. Objects with
finalizers wait for whoever clears them, a namespace for its contents. Semantics of apiserver's rest.BeforeDelete and
the Pod strategy's CheckGracefulDelete.
"""

import enum
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from minipod.api.errors import StatusError, conflict, not_found
from minipod.api.kind import Kind
from minipod.client import Object, Request
from minipod.server import keys, metadata, node_restriction, wire
from minipod.server.admission import Admission
from minipod.server.answers import Many, One, success
from minipod.server.conversion import presented
from minipod.server.decoding import parsed
from minipod.server.options import DeleteOptions, delete_options, dry_run
from minipod.server.reading import Reader
from minipod.store import Conflict, Entry, Store

FOREGROUND = "foregroundDeletion"  # the finalizers that the garbage collector takes off
ORPHAN = "orphan"
_ATTEMPTS = 50
_DEFAULT_GRACE = 30
_ANSWERS_OBJECT = ("pods", "namespaces", "serviceaccounts")  # upstream's ReturnDeletedObject


class Fate(enum.Enum):
    """What a delete does to one object."""

    UNCHANGED = enum.auto()
    MARKED = enum.auto()
    REMOVED = enum.auto()


class Deleter:
    """The deleting verbs over a store."""

    def __init__(self, store: Store, admission: Admission, reader: Reader) -> None:
        self._store = store
        self._admission = admission
        self._reader = reader

    async def delete(self, request: Request, kind: Kind) -> One:
        """Delete one object. Raises NotFound, Conflict (preconditions), Forbidden."""
        wanted = _wanted(request)
        self._admission.check_delete(kind, request.name)
        key = keys.object_key(kind, request.namespace, request.name)
        entry = self._store.get(key)
        if entry is not None:
            node_restriction.check_delete(request, kind, wire.stored(entry))
        fate, obj, value = await self._delete(kind, key, request.name, wanted)
        if fate is Fate.REMOVED and kind.resource not in _ANSWERS_OBJECT:
            return success(kind, request.name, obj["metadata"]["uid"])
        return One(presented(kind, value), kind)

    async def delete_collection(self, request: Request, kind: Kind) -> Many:
        """Delete every selected object, with a `limit` the first ones; answers what was there.

        Those that go meanwhile are no failure.
        """
        wanted = _wanted(request)
        found = self._reader.list_objects(request, kind)
        for item in found.items:
            name = wire.decode(item)["metadata"]["name"]
            key = keys.object_key(kind, request.namespace, name)
            try:
                await self._delete(kind, key, name, wanted)
            except StatusError as error:
                if error.reason != "NotFound":
                    raise
        return found

    async def _delete(
        self, kind: Kind, key: str, name: str, wanted: DeleteOptions
    ) -> tuple[Fate, Object, bytes]:
        for _ in range(_ATTEMPTS):
            entry = self._store.get(key)
            if entry is None:
                raise not_found(kind, name)
            obj = wire.stored(entry)
            metadata.check_preconditions(kind, wanted.uid, wanted.resource_version, obj)
            fate = compute_deletion(kind, obj, wanted, datetime.now(UTC))
            try:
                return fate, obj, await self._commit(entry, obj, fate, wanted.dry_run)
            except Conflict:
                continue
        raise conflict(kind, name)

    async def _commit(self, entry: Entry, obj: Object, fate: Fate, dry: bool) -> bytes:
        if fate is Fate.UNCHANGED:
            return entry.value
        if dry:
            return wire.encode(obj)
        write = self._store.delete if fate is Fate.REMOVED else self._store.put
        made = await write(
            entry.key, lambda revision: wire.with_version(obj, revision), expected=entry.revision
        )
        return made.value


def compute_deletion(kind: Kind, obj: Object, wanted: DeleteOptions, now: datetime) -> Fate:
    """Decide what a delete does to `obj`, and mark it in place."""
    found = obj["metadata"]
    grace = _grace(kind, obj, wanted.grace)
    changed = _set_finalizers(found, _finalizers(kind, found, wanted.policy))
    waits = bool(found.get("finalizers")) or bool(_namespace_finalizers(kind, obj))
    if not found.get("deletionTimestamp"):
        if not grace and not waits:
            return Fate.REMOVED
        return _mark(kind, obj, grace, now)
    remaining = found.get("deletionGracePeriodSeconds") or 0
    if grace >= remaining:
        if not remaining and not waits:
            return Fate.REMOVED
        return Fate.MARKED if changed else Fate.UNCHANGED
    if not grace and not waits:
        return Fate.REMOVED
    found["deletionTimestamp"] = metadata.shifted(found["deletionTimestamp"], grace - remaining)
    found["deletionGracePeriodSeconds"] = grace
    return Fate.MARKED


def _finalizers(kind: Kind, found: Object, policy: str) -> list[str]:
    """Return the finalizers with which an object waits for the garbage collector, as the policy has it."""
    known = found.get("finalizers") or []
    kept = [each for each in known if each not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan" or (not policy and (ORPHAN in known or _orphans(kind, known))):
        return [*kept, ORPHAN]
    if policy == "Foreground" or (not policy and FOREGROUND in known):
        return [*kept, FOREGROUND]
    return kept


def _orphans(kind: Kind, known: list[str]) -> bool:
    return kind.orphans_dependents and FOREGROUND not in known


def _set_finalizers(found: Object, wanted: list[str]) -> bool:
    """Set the finalizers in place; return whether that changes which there are."""
    if sorted(wanted) == sorted(found.get("finalizers") or []):
        return False
    found.pop("finalizers", None)
    if wanted:
        found["finalizers"] = wanted
    return True


def _grace(kind: Kind, obj: Object, wanted: int | None) -> int:
    """Return the seconds an object has to end: none but for a Pod that a node may be running."""
    if not kind.graceful_deletion:
        return 0
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    grace = (
        wanted if wanted is not None else spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE)
    )
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    return 1 if grace < 0 else int(grace)


def _mark(kind: Kind, obj: Object, grace: int, now: datetime) -> Fate:
    found = obj["metadata"]
    found["deletionTimestamp"] = metadata.shifted(metadata.timestamp(now), grace)
    found["deletionGracePeriodSeconds"] = grace
    if kind.generation:
        found["generation"] = found.get("generation", 0) + 1
    if kind.resource == "namespaces":
        obj.setdefault("status", {})["phase"] = "Terminating"
        found.pop("deletionGracePeriodSeconds")
    return Fate.MARKED


def _namespace_finalizers(kind: Kind, obj: Object) -> Any:
    return kind.resource == "namespaces" and (obj.get("spec") or {}).get("finalizers")


def _wanted(request: Request) -> DeleteOptions:
    wanted = delete_options(request.options, parsed(request.body).value)
    if dry_run(request.options):
        return replace(wanted, dry_run=True)
    return wanted
