"""PodPreset admission: a new Pod is given what the presets of its namespace have for it, or, on a conflict, nothing."""

from collections.abc import Callable

from minipod.api import kinds
from minipod.api.pod_presets import PresetConflict, apply_presets, select_presets
from minipod.client import Object
from minipod.server import keys, wire
from minipod.store import Store


def admit_presets(store: Store, pod: Object, warn: Callable[[str], None]) -> None:
    """Complete a new, defaulted Pod in place; a conflict leaves it alone and is told of."""
    kind = kinds.by_resource("podpresets.settings.k8s.io")
    page = store.list(keys.prefix(kind, pod["metadata"]["namespace"]))
    presets = select_presets(map(wire.stored, page.entries), pod)
    if not presets:
        return
    try:
        made = apply_presets(presets, pod)
    except PresetConflict as conflict:
        names = ", ".join(each["metadata"]["name"] for each in presets)
        warn(f"conflict occurred while applying podpresets: {names} on pod: {conflict}")
        return
    pod["spec"], pod["metadata"] = made["spec"], made["metadata"]
