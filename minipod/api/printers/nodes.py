"""What `get nodes` shows."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.durations import age

Object = dict[str, Any]

COLUMNS = (
    Column("Name", format="name", description="Name of the node."),
    Column("Status", description="Whether the node is ready, and takes new Pods."),
    Column("Roles", description="The roles of the node, by its labels."),
    Column("Age", description="Time since creation."),
    Column("Version", description="Version of the node agent."),
    Column("Internal-IP", description="Address inside.", priority=1),
    Column("External-IP", description="Address outside.", priority=1),
    Column("OS-Image", description="Operating system.", priority=1),
    Column("Kernel-Version", description="Version of the kernel.", priority=1),
    Column("Container-Runtime", description="What runs the containers.", priority=1),
)
_ROLE_PREFIX = "node-role.kubernetes.io/"


def cells(node: Object, now: datetime) -> list[Any]:
    """Return the cells of a node's row."""
    metadata, status = node["metadata"], node.get("status") or {}
    info = status.get("nodeInfo") or {}
    return [
        metadata.get("name", ""),
        _status(node),
        _roles(metadata.get("labels") or {}),
        age(metadata.get("creationTimestamp"), now),
        info.get("kubeletVersion") or "",
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _status(node: Object) -> str:
    words = [
        "Ready" if each.get("status") == "True" else "NotReady"
        for each in (node.get("status") or {}).get("conditions") or ()
        if each.get("type") == "Ready"
    ] or ["Unknown"]
    if (node.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(labels: dict[str, str]) -> str:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    roles.add(labels.get("kubernetes.io/role", ""))
    return ",".join(sorted(roles - {""})) or "<none>"


def _address(status: Object, kind: str) -> str:
    for each in status.get("addresses") or ():
        if each.get("type") == kind:
            return str(each.get("address"))
    return "<none>"
