"""Objects as a table (meta.k8s.io/v1 Table): what every client prints, decided in one place."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from minipod.api.kind import Column, Kind
from minipod.api.printers.simple import DEFAULT_COLUMNS, default_cells

Object = dict[str, Any]
Include = Literal["None", "Metadata", "Object"]


def table(
    kind: Kind,
    objects: Sequence[Object],
    wide: bool,
    now: datetime,
    include: Include = "Metadata",
) -> Object:
    """Return a Table of objects, one row each; `now` (with its zone) is what ages are counted to.

    With `wide` columns of priority 1 are there too (upstream always sends them, and clients leave them out).
    `include` says what each row carries of its object. The list's own metadata is the caller's to fill in.
    """
    columns = kind.hooks.columns or DEFAULT_COLUMNS
    print_cells = kind.hooks.cells or default_cells
    shown = [index for index, column in enumerate(columns) if wide or not column.priority]
    rows = []
    for obj in objects:
        cells = print_cells(obj, now)
        row: Object = {"cells": [cells[index] for index in shown]}
        conditions = _row_conditions(kind, obj)
        if conditions:
            row["conditions"] = conditions
        if include != "None":
            row["object"] = obj if include == "Object" else _partial(obj)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [_definition(columns[index]) for index in shown],
        "rows": rows,
    }


def _definition(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _partial(obj: Object) -> Object:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }


def _row_conditions(kind: Kind, obj: Object) -> list[Object]:
    """A Pod that is over is marked, so that clients can hide it."""
    phase = (obj.get("status") or {}).get("phase") if kind.kind == "Pod" else None
    if phase not in ("Succeeded", "Failed"):
        return []
    word = "successfully" if phase == "Succeeded" else "with a failure"
    message = f"The Pod has ended {word}."
    return [{"type": "Completed", "status": "True", "reason": phase, "message": message}]
