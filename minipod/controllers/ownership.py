"""Who owns whom: the graph of owner references, and what is to be done about one object of it. Pure.

Semantics of upstream's garbage collector (pkg/controller/garbagecollector). The graph knows of each object only its
metadata; objects that are only spoken of, in an owner reference, are not in it.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(eq=False)
class Node:
    """One object. `obj` is its apiVersion, kind and metadata."""

    resource: str
    obj: Object

    @property
    def metadata(self) -> Object:
        """The object's metadata."""
        found: Object = self.obj["metadata"]
        return found

    @property
    def uid(self) -> str:
        """The identity that owner references go by."""
        return str(self.metadata["uid"])

    @property
    def namespace(self) -> str:
        """The namespace, "" for what is cluster-scoped."""
        return str(self.metadata.get("namespace") or "")

    @property
    def name(self) -> str:
        """The name."""
        return str(self.metadata["name"])

    @property
    def owners(self) -> list[Object]:
        """The owner references."""
        return self.metadata.get("ownerReferences") or []

    @property
    def finalizers(self) -> list[str]:
        """What its deletion waits for."""
        return self.metadata.get("finalizers") or []

    @property
    def deleting(self) -> bool:
        """Whether it is on its way out."""
        return bool(self.metadata.get("deletionTimestamp"))

    @property
    def deleting_dependents(self) -> bool:
        """Whether it waits for its dependents to go first."""
        return self.deleting and FOREGROUND in self.finalizers

    @property
    def orphaning(self) -> bool:
        """Whether it waits for its dependents to be set free."""
        return self.deleting and ORPHAN in self.finalizers

    def blocks(self, owner_uid: str) -> bool:
        """Whether an owner's foreground deletion waits for this object."""
        return any(
            each.get("uid") == owner_uid and each.get("blockOwnerDeletion") for each in self.owners
        )


@dataclass
class Graph:
    """Objects by uid, and their dependents."""

    nodes: dict[str, Node] = field(default_factory=dict)
    _dependents: dict[str, dict[str, None]] = field(default_factory=dict)

    def dependents(self, uid: str) -> list[Node]:
        """Return the objects that name this owner."""
        return [self.nodes[each] for each in self._dependents.get(uid, ())]

    def observe(self, node: Node) -> list[str]:
        """Take a new or changed object over; return the uids to look at because of it."""
        before = self.nodes.get(node.uid)
        self.nodes[node.uid] = node
        old = {each.get("uid", "") for each in before.owners} if before else set()
        new = {each.get("uid", "") for each in node.owners}
        for uid in old - new:
            self._drop(uid, node.uid)
        for uid in new:
            self._dependents.setdefault(uid, {})[node.uid] = None
        if before and _same(before, node):
            return []
        found = [node.uid, *self._waiting_owners(old | new)]
        if node.deleting_dependents:
            found += self._dependents.get(node.uid, ())
        return found

    def forget(self, uid: str) -> list[str]:
        """Take out an object that is gone; return the uids to look at because of it."""
        node = self.nodes.pop(uid, None)
        if node is None:
            return []
        owners = {each.get("uid", "") for each in node.owners}
        for each in owners:
            self._drop(each, uid)
        return [*self._dependents.get(uid, ()), *self._waiting_owners(owners)]

    def _waiting_owners(self, uids: Iterable[str]) -> list[str]:
        return [u for u in uids if u in self.nodes and self.nodes[u].deleting_dependents]

    def _drop(self, owner: str, dependent: str) -> None:
        found = self._dependents.get(owner)
        if found is not None:
            found.pop(dependent, None)
            if not found:
                del self._dependents[owner]


def _same(one: Node, other: Node) -> bool:
    return (one.owners, one.finalizers, one.deleting) == (
        other.owners,
        other.finalizers,
        other.deleting,
    )


class Owner(enum.Enum):
    """What an owner is to its dependent."""

    SOLID = enum.auto()  # it is there, and stays
    ABSENT = enum.auto()
    WAITING = enum.auto()  # it goes as soon as its dependents have


@dataclass(frozen=True)
class Delete:
    """Delete the object."""

    policy: str


@dataclass(frozen=True)
class DropOwners:
    """Take references out of an object that other owners keep."""

    uids: tuple[str, ...]


@dataclass(frozen=True)
class Unblock:
    """Let the owners of a circle not wait for this object, then delete it in the foreground."""


@dataclass(frozen=True)
class Orphan:
    """Set the dependents free, then let the object go."""


@dataclass(frozen=True)
class Finish:
    """Nothing blocks a foreground deletion any more: let the object go."""


@dataclass(frozen=True)
class DeleteDependents:
    """Have the blocking dependents looked at."""

    uids: tuple[str, ...]


Action = Delete | DropOwners | Unblock | Orphan | Finish | DeleteDependents


def compute_action(
    node: Node, owners: Mapping[str, Owner], dependents: Sequence[Node]
) -> Action | None:
    """Decide what to do about an object, given what its owners (by uid) are; None for nothing."""
    if node.orphaning:
        return Orphan()
    if node.deleting_dependents:
        blocking = [each for each in dependents if each.blocks(node.uid)]
        if not blocking:
            return Finish()
        waiting = tuple(each.uid for each in blocking if not each.deleting_dependents)
        return DeleteDependents(waiting) if waiting else None
    if node.deleting or not node.owners:
        return None
    return _by_owners(node, owners, dependents)


def _by_owners(
    node: Node, owners: Mapping[str, Owner], dependents: Sequence[Node]
) -> Action | None:
    gone = tuple(uid for uid, state in owners.items() if state is not Owner.SOLID)
    if len(gone) < len(owners):
        return DropOwners(gone) if gone else None
    if Owner.WAITING in owners.values() and dependents:
        if any(each.deleting_dependents for each in dependents):
            return Unblock()
        return Delete("Foreground")
    if ORPHAN in node.finalizers:
        return Delete("Orphan")
    return Delete("Foreground" if FOREGROUND in node.finalizers else "Background")
