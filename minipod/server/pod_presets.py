"""PodPreset admission: a new Pod is given what the presets of its namespace have for it, or, on a conflict, nothing.

A conflict is told of in a warning to the Pod's sender, and in an Event on the Pod to everybody else: upstream (until
1.19) says so in its documentation, and only in the server's log in fact.
"""

import time

from minipod.api import kinds
from minipod.api.pod_presets import PresetConflict, apply_presets, select_presets
from minipod.client import Object
from minipod.clock import format_time
from minipod.eventing import MESSAGE_LIMIT, event_name, make_reference
from minipod.server import keys, wire
from minipod.store import Store

REASON = "PodPresetConflict"


def admit_presets(store: Store, pod: Object) -> str:
    """Complete a new, defaulted Pod in place; a conflict leaves it alone and is returned in words."""
    kind = kinds.by_resource("podpresets.settings.k8s.io")
    page = store.list(keys.prefix(kind, pod["metadata"]["namespace"]))
    presets = select_presets(map(wire.stored, page.entries), pod)
    if not presets:
        return ""
    try:
        made = apply_presets(presets, pod)
    except PresetConflict as conflict:
        names = ", ".join(each["metadata"]["name"] for each in presets)
        return f"conflict occurred while applying podpresets: {names} on pod: {conflict}"
    pod["spec"], pod["metadata"] = made["spec"], made["metadata"]
    return ""


def conflict_event(pod: Object, message: str) -> Object:
    """Return the Event that tells of a conflict on a Pod that was made nevertheless."""
    stamp, metadata = time.time_ns(), pod["metadata"]
    now = format_time(stamp / 1e9)
    return {
        "metadata": {
            "name": event_name(metadata["name"], stamp),
            "namespace": metadata["namespace"],
        },
        "involvedObject": make_reference(pod),
        "type": "Warning",
        "reason": REASON,
        "message": message[:MESSAGE_LIMIT],
        "source": {"component": "podpreset-admission"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
