"""The garbage collector: what has lost its owners goes, in the background, the foreground, or not at all.

Watches every kind's metadata and keeps the graph of owners and dependents (`ownership`). Every change puts objects on
a list to be looked at; looking at one decides from the graph, asks the API about owners that the graph does not know,
and acts. Everything can be done twice: a second look at the same object finds nothing left to do.
"""

import asyncio
import logging
from typing import Any

from minipod.api.errors import StatusError
from minipod.api.kind import Kind
from minipod.api.kinds import UnknownKind, all_kinds, by_kind, stored_kind
from minipod.client import Client, Object
from minipod.clock import Clock, call_off
from minipod.controllers.ownership import (
    FOREGROUND,
    ORPHAN,
    Action,
    Delete,
    DeleteDependents,
    DropOwners,
    Finish,
    Graph,
    Node,
    Orphan,
    Owner,
    Unblock,
    compute_action,
)
from minipod.eventing import Recorder
from minipod.informer import Informer

logger = logging.getLogger(__name__)

_IGNORED = ("events",)  # many, short-lived, and never owners
_FOLLOWED = {"list", "watch", "delete", "patch"}  # what a kind must know to be collected
_AT_ONCE = 20  # objects looked at together
_RETRY = 1.0  # seconds until an object that could not be dealt with is looked at again
_DEFECT_RETRY = 60.0  # ... for a defect of ours


class GarbageCollector:
    """Follows every kind that can be listed, watched and deleted."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._graph = Graph()
        self._recorder = Recorder(client, clock, "garbage-collector-controller")
        self._informers: dict[str, Informer] = {}
        self._queue: dict[str, None] = {}
        self._told: set[tuple[str, str]] = set()  # an object's UID, and what is odd about it
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read all there is, and follow it, in the background."""
        self._task = asyncio.create_task(self._begin(), name="garbage collector")

    async def stop(self) -> None:
        """End."""
        await call_off(self._task)
        await asyncio.gather(*(informer.stop() for informer in self._informers.values()))
        await self._recorder.stop()

    async def _begin(self) -> None:
        """Judge nothing before everything is known: while one kind cannot be read, what it owns is not to be seen."""
        await asyncio.gather(*(self.follow(kind) for kind in all_kinds()))
        await self._run()

    async def follow(self, kind: Kind) -> None:
        """Collect this kind from now on. Once is enough for all of its versions."""
        known = kind.resource in self._informers or kind.stored_as is not None
        if known or kind.resource in _IGNORED or not _FOLLOWED.issubset(kind.verbs):
            return

        def on_change(new: Object | None, old: Object | None) -> None:
            self._on_change(kind, new, old)

        informer = Informer(self._client, kind.resource, on_change, keep=_identity)
        self._informers[kind.resource] = informer
        await informer.start()

    async def wait_idle(self) -> None:
        """Wait until nothing is left to be looked at."""
        await self._idle.wait()

    # ---- what changes ----

    def _on_change(self, kind: Kind, new: Object | None, old: Object | None) -> None:
        if new is not None:
            node = Node(kind.resource, {**new, "apiVersion": kind.api_version, "kind": kind.kind})
            self._look(self._graph.observe(node))
            self._report_foreign_owners(node)
        elif old is not None:
            self._look(self._graph.forget(old["metadata"]["uid"]))

    def _look(self, uids: list[str]) -> None:
        for uid in uids:
            self._queue[uid] = None
        if self._queue:
            self._idle.clear()
            self._woken.set()

    def _report_foreign_owners(self, node: Node) -> None:
        """An owner in another namespace is none: say so, once for each reference."""
        for dependent, owner in [
            *((node, self._graph.nodes.get(ref.get("uid", ""))) for ref in node.owners),
            *((each, node) for each in self._graph.dependents(node.uid)),
        ]:
            if owner is None or owner.namespace in ("", dependent.namespace):
                continue
            if (dependent.uid, owner.uid) not in self._told:
                self._told.add((dependent.uid, owner.uid))
                self._report_foreign_owner(dependent, owner.uid)

    def _report_foreign_owner(self, node: Node, owner: str) -> None:
        for ref in node.owners:
            if ref.get("uid") == owner:
                text = (
                    f"[{ref.get('apiVersion')}/{ref.get('kind')}, namespace: {node.namespace}, "
                    f"name: {ref.get('name')}, uid: {owner}]"
                )
                message = f'ownerRef {text} does not exist in namespace "{node.namespace}"'
                self._recorder.record(node.obj, "Warning", "OwnerRefInvalidNamespace", message)

    # ---- looking at one object after another ----

    async def _run(self) -> None:
        while True:
            while self._queue:
                batch = list(self._queue)[:_AT_ONCE]
                for uid in batch:
                    del self._queue[uid]
                await asyncio.gather(*map(self._process, batch))
            self._idle.set()
            self._woken.clear()
            await self._woken.wait()

    async def _process(self, uid: str) -> None:
        node = self._graph.nodes.get(uid)
        if node is None:
            return
        try:
            owners = {}
            if not node.deleting:
                owners = {ref.get("uid", ""): await self._owner(node, ref) for ref in node.owners}
            action = compute_action(node, owners, self._graph.dependents(uid))
            if action is not None:
                await self._perform(node, action)
        except StatusError as error:
            if error.code == 404:
                return  # it went meanwhile: its watch says so
            if error.code != 409:
                where = f"{node.namespace}/{node.name}".lstrip("/")
                logger.warning('collecting %s "%s": %s; trying again', node.resource, where, error)
            self._look_later(uid, _RETRY)
        except Exception as defect:  # one object's: all others are collected
            if (uid, repr(defect)) not in self._told:
                self._told.add((uid, repr(defect)))
                where = f"{node.namespace}/{node.name}".lstrip("/")
                logger.exception(
                    'collecting %s "%s": %r; trying again', node.resource, where, defect
                )
            self._look_later(uid, _DEFECT_RETRY)

    def _look_later(self, uid: str, seconds: float) -> None:
        self._clock.call_at(self._clock.now() + seconds, lambda: self._look([uid]))

    async def _owner(self, node: Node, reference: Object) -> Owner:
        """Return what an owner is: by the graph, or where it does not know, by the API."""
        try:
            kind = stored_kind(by_kind(reference.get("apiVersion", ""), reference.get("kind", "")))
        except UnknownKind:
            return Owner.SOLID  # nobody can tell: it may be served again
        if kind.namespaced and not node.namespace:
            return Owner.SOLID  # cannot be resolved, and is not ours to judge
        namespace = node.namespace if kind.namespaced else ""
        known = self._graph.nodes.get(reference.get("uid", ""))
        if known is not None and known.resource == kind.resource:
            there = (known.namespace, known.name) == (namespace, reference.get("name"))
            return _state(known) if there else Owner.ABSENT
        try:
            found = await self._client.get(kind.resource, namespace, reference.get("name", ""))
        except StatusError as error:
            if error.code == 404:
                return Owner.ABSENT
            raise
        live = Node(kind.resource, found)
        return _state(live) if live.uid == reference.get("uid") else Owner.ABSENT

    async def _perform(self, node: Node, action: Action) -> None:
        match action:
            case Delete(policy):
                await self._delete(node, policy)
            case DropOwners(uids):
                await self._drop_owners(node, uids)
            case Unblock():
                await self._unblock(node)
                await self._delete(node, "Foreground")
            case DeleteDependents(uids):
                self._look(list(uids))
            case Orphan():
                free = self._graph.dependents(node.uid)
                await asyncio.gather(*(self._drop_owners(each, (node.uid,)) for each in free))
                await self._remove_finalizer(node, ORPHAN)
            case Finish():
                await self._remove_finalizer(node, FOREGROUND)

    async def _delete(self, node: Node, policy: str) -> None:
        await self._client.delete(
            node.resource, node.namespace, node.name, uid=node.uid, propagation_policy=policy
        )

    async def _drop_owners(self, node: Node, uids: tuple[str, ...]) -> None:
        gone = [{"$patch": "delete", "uid": uid} for uid in uids]
        try:
            await self._patch(node, {"ownerReferences": gone}, "strategic")
        except StatusError as error:
            if error.code != 404:
                raise

    async def _unblock(self, node: Node) -> None:
        free = [{"uid": ref["uid"], "blockOwnerDeletion": False} for ref in node.owners]
        await self._patch(node, {"ownerReferences": free}, "strategic")

    async def _remove_finalizer(self, node: Node, finalizer: str) -> None:
        live = (await self._client.get(node.resource, node.namespace, node.name))["metadata"]
        if live["uid"] != node.uid or finalizer not in (live.get("finalizers") or ()):
            return
        left = [each for each in live["finalizers"] if each != finalizer]
        change = {"resourceVersion": live["resourceVersion"], "finalizers": left}
        await self._patch(node, change, "merge")

    async def _patch(self, node: Node, metadata: Object, patch_type: Any) -> None:
        patch = {"metadata": {"uid": node.uid, **metadata}}
        await self._client.patch(
            node.resource, node.namespace, node.name, patch, patch_type=patch_type
        )


def _state(owner: Node) -> Owner:
    return Owner.WAITING if owner.deleting_dependents else Owner.SOLID


_IDENTITY = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "ownerReferences",
    "finalizers",
    "deletionTimestamp",
)


def _identity(obj: Object) -> Object:
    """Return what the graph needs of an object."""
    found = obj["metadata"]
    return {"metadata": {name: found[name] for name in _IDENTITY if name in found}}
