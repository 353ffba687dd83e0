"""What is special about metrics.k8s.io: its columns, as metrics-server prints them."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column, Hooks
from minipod.api.quantity import parse

Object = dict[str, Any]
_NAME = Column("Name", format="name", description="Whose use it is.")
_CPU = Column("cpu", description="CPU in use, in billionths of one.")
_MEMORY = Column("memory", description="The working set.")
_WINDOW = Column("Window", description="The time over which CPU was measured.")


def _node_cells(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"].get("name"), *_amounts([obj]), obj.get("window")]


def _pod_cells(obj: Object, now: datetime) -> list[Any]:
    amounts = _amounts(obj.get("containers") or [])
    return [obj["metadata"].get("name"), *amounts, obj.get("window")]


def _amounts(users: list[Object]) -> list[str]:
    """Return the CPU and memory of all together."""
    used = [each.get("usage") or {} for each in users]
    cpu = sum(parse(each.get("cpu", "0")) for each in used)
    memory = sum(parse(each.get("memory", "0")) for each in used)
    return [f"{int(cpu * 10**9)}n", f"{int(memory) // 1024}Ki"]


_COLUMNS = (_NAME, _CPU, _MEMORY, _WINDOW)
NODE_METRICS = Hooks(columns=_COLUMNS, cells=_node_cells)
POD_METRICS = Hooks(columns=_COLUMNS, cells=_pod_cells)
