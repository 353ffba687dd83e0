"""Following the Secrets and ConfigMaps that Pods refer to: one watch for each object, as the kubelet has it.

ClusterTrustBundles are watched all together, as long as a Pod wants any.

A node may read only what its own Pods name, so an object is watched by its name, once, however many Pods refer to it,
for as long as one of them is there. A Pod is told (`on_change`) when an object is not the version that it was made
from: changed, deleted, or there at last.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

from minipod.client import Client, Object
from minipod.informer import Informer
from minipod.node.environment import References
from minipod.node.pods import uid_of
from minipod.node.references import TRUST_BUNDLES, find_references, wants_trust_bundles

Key = tuple[str, str, str]  # resource, namespace, name ("": all of them)
OnChange = Callable[[str], None]  # takes a Pod's UID
ALL_BUNDLES: Key = (TRUST_BUNDLES, "", "")  # which of them are wanted may follow from their labels


class ReferenceWatches:
    """All watches of a node. `on_change` is set by whoever wakes the Pods."""

    def __init__(self, client: Client) -> None:
        self.on_change: OnChange = lambda uid: None
        self._client = client
        self._informers: dict[Key, Informer] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._keys: dict[str, frozenset[Key]] = {}  # by Pod
        self._uids: dict[Key, set[str]] = defaultdict(set)
        self._used: dict[str, dict[Key, str]] = {}  # by Pod: the versions that it was made from

    def follow(self, pod: Object) -> None:
        """Watch what the Pod refers to, and nothing that only it referred to before."""
        uid, keys = uid_of(pod), find_keys(pod)
        known = self._keys.get(uid, frozenset())
        for key in keys - known:
            self._uids[key].add(uid)
            if key not in self._informers:
                self._watch(key)
        self._drop(uid, known - keys)
        self._keys[uid] = keys

    def note(self, pod: Object, references: References) -> None:
        """Remember which versions the Pod's volumes and environment were made from."""
        uid, namespace = uid_of(pod), pod["metadata"]["namespace"]
        used = self._used.setdefault(uid, {})
        found = {"secrets": references.secrets, "configmaps": references.config_maps}
        for resource, objects in found.items():
            for name, obj in objects.items():
                used[resource, namespace, name] = _version(obj)
        if wants_trust_bundles(pod):
            used[ALL_BUNDLES] = _versions(references.trust_bundles)

    def forget(self, uid: str) -> None:
        """Watch nothing for a Pod that is gone."""
        self._drop(uid, self._keys.pop(uid, frozenset()))
        self._used.pop(uid, None)  # of one that came and went before it was followed, too

    def watched(self) -> set[Key]:
        """Return what is watched now."""
        return set(self._informers)

    async def stop(self) -> None:
        """End every watch."""
        informers, self._informers = list(self._informers.values()), {}
        await asyncio.gather(*(each.stop() for each in informers), *self._ending)

    def _watch(self, key: Key) -> None:
        resource, namespace, name = key
        informer = self._informers[key] = Informer(
            self._client,
            resource,
            lambda new, old: self._report(key, new),
            namespace=namespace,
            field_selector=f"metadata.name={name}" if name else "",
        )
        informer.begin()

    def _report(self, key: Key, new: Object | None) -> None:
        version = _version(new)
        for uid in list(self._uids.get(key, ())):
            used = self._used.get(uid, {}).get(key)
            known = bool(version) and version in (used or "").split()  # one of all that are used
            if used != version and not (key == ALL_BUNDLES and known):
                self.on_change(uid)

    def _drop(self, uid: str, keys: frozenset[Key]) -> None:
        for key in keys:
            self._used.get(uid, {}).pop(key, None)
            self._uids[key].discard(uid)
            if not self._uids[key]:
                del self._uids[key]
                self._end(self._informers.pop(key))

    def _end(self, informer: Informer) -> None:
        task = asyncio.create_task(informer.stop(), name="end of a watch")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def find_keys(pod: Object) -> frozenset[Key]:
    """Return every object that a Pod's volumes and environment refer to. Pure."""
    secrets, config_maps = find_references(pod)
    namespace = pod["metadata"]["namespace"]
    found = {("secrets", namespace, name) for name in secrets}
    if wants_trust_bundles(pod):
        found.add(ALL_BUNDLES)
    return frozenset(found | {("configmaps", namespace, name) for name in config_maps})


def _versions(objects: Iterable[Object]) -> str:
    return " ".join(_version(each) for each in objects)


def _version(obj: Object | None) -> str:
    return str(obj["metadata"].get("resourceVersion", "")) if obj else ""
