"""What `get` shows of kinds with little to show: a name, a word or a count, an age."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.durations import age

Object = dict[str, Any]

NONE = "<none>"

NAME = Column("Name", format="name", description="Name of the object, unique in its namespace.")
AGE = Column("Age", description="Time since creation.")

NAMESPACE_COLUMNS = (NAME, Column("Status", description="Active or Terminating."), AGE)
SECRET_COLUMNS = (
    NAME,
    Column("Type", description="What the Secret is for."),
    Column("Data", type="string", description="How many keys it has."),
    AGE,
)
CONFIG_MAP_COLUMNS = (
    NAME,
    Column("Data", type="string", description="How many keys it has."),
    AGE,
)
SERVICE_ACCOUNT_COLUMNS = (NAME, AGE)
# Of kinds that declare no columns.
DEFAULT_COLUMNS = (NAME, Column("Created At", type="date", description="When it was made."))


def namespace_cells(namespace: Object, now: datetime) -> list[Any]:
    """Return the cells of a namespace's row."""
    return row(namespace, now, (namespace.get("status") or {}).get("phase") or "")


def secret_cells(secret: Object, now: datetime) -> list[Any]:
    """Return the cells of a Secret's row."""
    return row(secret, now, secret.get("type") or "", len(secret.get("data") or {}))


def config_map_cells(config_map: Object, now: datetime) -> list[Any]:
    """Return the cells of a ConfigMap's row."""
    keys = len(config_map.get("data") or {}) + len(config_map.get("binaryData") or {})
    return row(config_map, now, keys)


def service_account_cells(account: Object, now: datetime) -> list[Any]:
    """Return the cells of a ServiceAccount's row."""
    return row(account, now)


def scale_cells(scale: Object, now: datetime) -> list[Any]:
    """Return the cells of a Scale's row."""
    wanted = (scale.get("spec") or {}).get("replicas") or 0
    return row(scale, now, wanted, (scale.get("status") or {}).get("replicas") or 0)


def default_cells(obj: Object, _now: datetime) -> list[Any]:
    """Return the cells of an object whose kind declares no columns."""
    metadata = obj["metadata"]
    return [metadata.get("name", ""), metadata.get("creationTimestamp") or ""]


def age_cell(obj: Object, now: datetime) -> str:
    """Return the time since an object was made."""
    return age(obj["metadata"].get("creationTimestamp"), now)


def row(obj: Object, now: datetime, *between: Any) -> list[Any]:
    """Return a row of a name, other cells, and an age."""
    return [obj["metadata"].get("name", ""), *between, age_cell(obj, now)]
