"""What is special about flowcontrol.apiserver.k8s.io/v1: defaults and columns; its rules are in `validation`."""

from datetime import datetime
from typing import Any

from minipod.api.hooks.templates import fill
from minipod.api.kind import Column, Hooks
from minipod.api.printers.simple import AGE, NAME, NONE, age_cell, row
from minipod.api.validation import flow_control

Object = dict[str, Any]

_SCHEMA_COLUMNS = (
    NAME,
    Column("PriorityLevel", description="Which level its requests are of."),
    Column("MatchingPrecedence", description="The lowest that matches a request counts."),
    Column("DistinguisherMethod", description="What tells flows apart."),
    AGE,
    Column("MissingPL", description="Whether the level is not there."),
)
_LEVEL_COLUMNS = (
    NAME,
    Column("Type", description="Whether its requests are limited."),
    Column("NominalConcurrencyShares", description="Its share of the places."),
    Column("Queues", description="How many queues it has."),
    Column("HandSize", description="How many of them a flow may use."),
    Column("QueueLengthLimit", description="How many requests wait in each."),
    AGE,
)


def _default_schema(schema: Object) -> None:
    fill(schema.setdefault("spec", {}), {"matchingPrecedence": 1000})


def _default_level(level: Object) -> None:
    spec = level.setdefault("spec", {})
    if spec.get("type") == "Exempt":
        fill(spec.setdefault("exempt", {}), {"nominalConcurrencyShares": 0, "lendablePercent": 0})
    limited = spec.get("limited")
    if limited is None:
        return
    fill(limited, {"nominalConcurrencyShares": 30, "lendablePercent": 0})
    queuing = (limited.get("limitResponse") or {}).get("queuing")
    if queuing is not None:
        fill(queuing, {"queues": 64, "handSize": 8, "queueLengthLimit": 50})


def _schema_cells(schema: Object, now: datetime) -> list[Any]:
    spec = schema.get("spec") or {}
    conditions = (schema.get("status") or {}).get("conditions") or ()
    dangling = [each.get("status") for each in conditions if each.get("type") == "Dangling"]
    return [
        schema["metadata"].get("name", ""),
        (spec.get("priorityLevelConfiguration") or {}).get("name") or "",
        spec.get("matchingPrecedence") or 0,
        (spec.get("distinguisherMethod") or {}).get("type") or NONE,
        age_cell(schema, now),
        dangling[0] if dangling else "?",
    ]


def _level_cells(level: Object, now: datetime) -> list[Any]:
    spec = level.get("spec") or {}
    limited = spec.get("limited") or {}
    queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
    numbers = (queuing.get(name, NONE) for name in ("queues", "handSize", "queueLengthLimit"))
    shares = limited.get("nominalConcurrencyShares", NONE)
    return row(level, now, spec.get("type") or "", shares, *numbers)


FLOW_SCHEMA = Hooks(
    defaults=_default_schema,
    validate_create=flow_control.validate_schema,
    validate_update=lambda new, _old: flow_control.validate_schema(new),
    validate_status_update=lambda new, _old: flow_control.validate_status(new),
    columns=_SCHEMA_COLUMNS,
    cells=_schema_cells,
)
PRIORITY_LEVEL = Hooks(
    defaults=_default_level,
    validate_create=flow_control.validate_level,
    validate_update=lambda new, _old: flow_control.validate_level(new),
    validate_status_update=lambda new, _old: flow_control.validate_status(new),
    columns=_LEVEL_COLUMNS,
    cells=_level_cells,
)
