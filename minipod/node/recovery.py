"""After a start: what the last daemon left behind is taken up, or ended and removed.

Pods of the API are simply synced: their sandboxes and containers are found by their labels, whatever step the last
daemon was killed at. This file is about the rest: what runs, lies about or is held for Pods that do not exist any more.
"""

import logging
import shutil
from collections.abc import Iterable

from minipod.client import Object
from minipod.node.log_files import link_log, remove_dead_links
from minipod.node.observed import LABEL_CONTAINER, LABEL_NAME, LABEL_NAMESPACE, LABEL_UID
from minipod.node.parts import Parts
from minipod.node.termination import removal_of
from minipod.runtime.service import RuntimeFailure, RuntimeState

logger = logging.getLogger(__name__)

ORPHAN_GRACE = 2  # seconds: nobody is left to ask how long it may take


def make_orphans(state: RuntimeState, known: Iterable[str]) -> list[Object]:
    """Return a stand-in for each Pod that runs here though the API has none of that UID."""
    alive = set(known)
    found: dict[str, Object] = {}
    labelled = [each.labels for each in state.sandboxes]
    labelled += [each.labels for each in state.containers]
    for labels in labelled:
        uid = labels.get(LABEL_UID, "")
        if uid and uid not in alive:
            pod = found.setdefault(uid, _stand_in(uid, labels))
            name = labels.get(LABEL_CONTAINER)
            if name and name not in [each["name"] for each in pod["spec"]["containers"]]:
                pod["spec"]["containers"].append({"name": name})
    return list(found.values())


def _stand_in(uid: str, labels: dict[str, str]) -> Object:
    metadata = {
        "uid": uid,
        "name": labels.get(LABEL_NAME, uid),
        "namespace": labels.get(LABEL_NAMESPACE, "default"),
    }
    spec = {"containers": [], "terminationGracePeriodSeconds": ORPHAN_GRACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def remove_leftovers(parts: Parts, known: Iterable[str]) -> None:
    """Remove directories, addresses, leases and logs of Pods that neither the API nor the runtime knows."""
    alive = set(known) | set(parts.running.uids())
    await _remove_directories(parts, alive)
    for owner in parts.addresses.owners():
        if owner not in alive:
            parts.addresses.release(owner)
    for owner in parts.images.leases():
        if owner.partition(".")[0] not in alive:
            parts.images.release(owner)
    parts.images.clear_leftovers()
    if parts.config.layout.pod_logs.exists():
        for entry in parts.config.layout.pod_logs.iterdir():
            if entry.name.rpartition("_")[2] not in alive:
                shutil.rmtree(entry, ignore_errors=True)
    _link_logs(parts)


def _link_logs(parts: Parts) -> None:
    """Remove the links that lead nowhere, and make those that a daemon was killed before."""
    links = parts.config.layout.container_logs
    remove_dead_links(links)
    for status in parts.running.all().containers:
        if status.state == "running":
            link_log(links, status)


async def _remove_directories(parts: Parts, alive: set[str]) -> None:
    if not parts.config.layout.pods.exists():
        return
    for entry in parts.config.layout.pods.iterdir():
        if entry.name in alive:
            continue
        try:
            await parts.runtime.perform(removal_of(str(entry)))
        except RuntimeFailure as failure:
            logger.warning('removing what a former pod left at "%s": %s', entry, failure)
