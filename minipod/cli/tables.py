"""Tables: the server decides columns and cells (meta.k8s.io/v1 Table); here they are lined up as kubectl does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
PADDING = 3  # spaces between columns
NARROWEST = 6  # a column's least width, its padding included


def lay_out(rows: Sequence[Sequence[str]], widths: list[int] | None = None) -> str:
    """Return lined-up rows; the last column is not padded. `widths`, if given, is used and widened in place."""
    if not rows:
        return ""
    known = widths if widths is not None else []
    for row in rows:
        known.extend([NARROWEST] * (len(row) - 1 - len(known)))
        for position, cell in enumerate(row[:-1]):
            known[position] = max(known[position], len(cell) + PADDING)
    lines = []
    for row in rows:
        padded = [cell.ljust(known[position]) for position, cell in enumerate(row[:-1])]
        lines.append("".join([*padded, row[-1] if row else ""]))
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class TableOptions:
    """How `get` wants its tables."""

    wide: bool = False
    headers: bool = True
    with_namespace: bool = False
    show_labels: bool = False
    label_columns: tuple[str, ...] = ()
    show_kind: bool = False
    show_events: bool = False  # an EVENT column first, for watches


@dataclass
class TableWriter:
    """Lays out the tables of one kind, remembering columns and widths from one to the next (a watch has many)."""

    options: TableOptions
    kind_name: str = ""  # "pod", or "deployment.apps": put before names when kinds are mixed
    _columns: list[Object] = field(default_factory=list)
    _widths: list[int] = field(default_factory=list)
    _began: bool = False

    def text(self, table: Object, event: str = "") -> str:
        """Return the rows of a Table, with headers the first time."""
        self._columns = table.get("columnDefinitions") or self._columns
        rows = [self._row(each, event) for each in table.get("rows") or []]
        if not rows:
            return ""
        if self.options.headers and not self._began:
            rows.insert(0, self._headers())
        self._began = True
        return lay_out(rows, self._widths)

    def _shown(self) -> list[int]:
        wide = self.options.wide
        return [i for i, each in enumerate(self._columns) if wide or not each.get("priority")]

    def _headers(self) -> list[str]:
        options = self.options
        before = ["EVENT"] if options.show_events else []
        before += ["NAMESPACE"] if options.with_namespace else []
        names = [str(self._columns[i]["name"]).upper() for i in self._shown()]
        after = [each.rpartition("/")[2].upper() for each in options.label_columns]
        return before + names + after + (["LABELS"] if options.show_labels else [])

    def _row(self, row: Object, event: str) -> list[str]:
        options, metadata = self.options, (row.get("object") or {}).get("metadata") or {}
        labels = metadata.get("labels") or {}
        before = [event] if options.show_events else []
        before += [metadata.get("namespace", "")] if options.with_namespace else []
        cells = [cell_text(row["cells"][i]) for i in self._shown()]
        if options.show_kind and cells:
            cells[0] = f"{self.kind_name}/{cells[0]}"
        after = [labels.get(each, "") for each in options.label_columns]
        return before + cells + after + ([labels_text(labels)] if options.show_labels else [])


def cell_text(cell: Any) -> str:
    """Return one cell as printed: one line, and nothing that a terminal would act upon."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    text = str(cell)
    end = next((i for i, letter in enumerate(text) if letter in "\f\n\r"), -1)
    if end >= 0:
        text = text[:end] + "..."
    return text.replace("\x1b", "^[")


def labels_text(labels: dict[str, str]) -> str:
    """Return `a=1,b=2`, or `<none>`."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) or "<none>"


def as_table(listed: Object) -> Object:
    """Return a Table of NAME and AGE for a server that sent the objects themselves."""
    from minipod.cli.times import age

    if listed.get("kind") == "Table":
        return listed
    items = listed.get("items", [listed])
    columns = [{"name": "Name"}, {"name": "Age"}]
    rows = [
        {
            "cells": [each["metadata"]["name"], age(each["metadata"].get("creationTimestamp"))],
            "object": each,
        }
        for each in items or []
    ]
    metadata = listed.get("metadata", {})
    return {"kind": "Table", "metadata": metadata, "columnDefinitions": columns, "rows": rows}
