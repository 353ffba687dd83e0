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
    usage = obj["usage"]
    return [obj["metadata"]["name"], usage["cpu"], usage["memory"], obj["window"]]


def _pod_cells(obj: Object, now: datetime) -> list[Any]:
    cpu = sum(parse(each["usage"]["cpu"]) for each in obj["containers"])
    memory = sum(parse(each["usage"]["memory"]) for each in obj["containers"])
    amounts = [f"{int(cpu * 10**9)}n", f"{int(memory) // 1024}Ki"]
    return [obj["metadata"]["name"], *amounts, obj["window"]]


_COLUMNS = (_NAME, _CPU, _MEMORY, _WINDOW)
NODE_METRICS = Hooks(columns=_COLUMNS, cells=_node_cells)
POD_METRICS = Hooks(columns=_COLUMNS, cells=_pod_cells)
