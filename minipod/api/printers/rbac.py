"""What `get` shows of roles and bindings."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.durations import age

Object = dict[str, Any]

_NAME = Column("Name", format="name", description="Name of the object, unique in its namespace.")
_AGE = Column("Age", description="Time since creation.")
ROLE_COLUMNS = (_NAME, Column("Created At", description="When it was created."))
BINDING_COLUMNS = (
    _NAME,
    Column("Role", description="The role that is granted."),
    _AGE,
    Column("Users", description="The users it is granted to.", priority=1),
    Column("Groups", description="The groups it is granted to.", priority=1),
    Column("ServiceAccounts", description="The ServiceAccounts it is granted to.", priority=1),
)


def role_cells(role: Object, _now: datetime) -> list[Any]:
    """Return the cells of a role's row."""
    metadata = role["metadata"]
    return [metadata.get("name", ""), metadata.get("creationTimestamp") or ""]


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
