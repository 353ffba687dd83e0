"""`drain`: what becomes of each Pod of a node, decided before anything is done, in kubectl's words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
MIRROR = "kubernetes.io/config.mirror"
DAEMON_SET = "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"
DAEMON_SET_IGNORED = "ignoring DaemonSet-managed Pods"
LOCAL_STORAGE = "Pods with local storage (use --delete-emptydir-data to override)"
LOCAL_STORAGE_LOST = "deleting Pods with local storage"
UNMANAGED = "Pods that declare no controller (use --force to override)"
UNMANAGED_LOST = "deleting Pods that declare no controller"


@dataclass(frozen=True)
class Permissions:
    """The flags by which a user says what may be lost."""

    force: bool = False
    ignore_daemonsets: bool = False
    delete_emptydir_data: bool = False


@dataclass(frozen=True)
class Fate:
    """What becomes of a Pod; a `refusal` keeps the whole node from being drained."""

    goes: bool
    warning: str = ""
    refusal: str = ""


def compute_fate(pod: Object, permitted: Permissions) -> Fate:
    """Return what becomes of one Pod. Finished ones go without asking, mirror Pods stay."""
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        return Fate(goes=False)
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return Fate(goes=True)
    owner = _controller(pod)
    if owner == "DaemonSet":
        if permitted.ignore_daemonsets:
            return Fate(goes=False, warning=DAEMON_SET_IGNORED)
        return Fate(goes=False, refusal=DAEMON_SET)
    stored = any("emptyDir" in each for each in pod["spec"].get("volumes") or [])
    if stored and not permitted.delete_emptydir_data:
        return Fate(goes=False, refusal=LOCAL_STORAGE)
    if not owner:
        if not permitted.force:
            return Fate(goes=False, refusal=UNMANAGED)
        return Fate(goes=True, warning=UNMANAGED_LOST)
    return Fate(goes=True, warning=LOCAL_STORAGE_LOST if stored else "")


def _controller(pod: Object) -> str:
    owners = pod["metadata"].get("ownerReferences") or []
    return next((each["kind"] for each in owners if each.get("controller")), "")


def by_reason(reasons: Iterable[tuple[str, Object]]) -> list[str]:
    """Return one sentence for each reason, with the Pods that it is about."""
    named: dict[str, list[str]] = {}
    for reason, pod in reasons:
        if reason:
            metadata = pod["metadata"]
            named.setdefault(reason, []).append(f"{metadata['namespace']}/{metadata['name']}")
    return [f"{reason}: {', '.join(pods)}" for reason, pods in named.items()]
