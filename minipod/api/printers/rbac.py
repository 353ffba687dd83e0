"""What `get` shows of bindings of roles."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.durations import age
from minipod.api.printers.simple import AGE, NAME

Object = dict[str, Any]

BINDING_COLUMNS = (
    NAME,
    Column("Role", description="The role that is granted."),
    AGE,
    Column("Users", description="The users it is granted to.", priority=1),
    Column("Groups", description="The groups it is granted to.", priority=1),
    Column("ServiceAccounts", description="The ServiceAccounts it is granted to.", priority=1),
)


def binding_cells(binding: Object, now: datetime) -> list[Any]:
    """Return the cells of a binding's row."""
    metadata, reference = binding["metadata"], binding.get("roleRef") or {}
    subjects = binding.get("subjects") or ()
    named = {
        kind: ", ".join(each.get("name", "") for each in subjects if each.get("kind") == kind)
        for kind in ("User", "Group")
    }
    accounts = ", ".join(
        f"{each.get('namespace', '')}/{each.get('name', '')}"
        for each in subjects
        if each.get("kind") == "ServiceAccount"
    )
    return [
        metadata.get("name", ""),
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        age(metadata.get("creationTimestamp"), now),
        named["User"],
        named["Group"],
        accounts,
    ]
