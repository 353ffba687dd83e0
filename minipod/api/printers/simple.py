"""What `get` shows of kinds with little to show: a name, a word or a count, an age."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.durations import age

Object = dict[str, Any]

_NAME = Column("Name", format="name", description="Name of the object, unique in its namespace.")
_AGE = Column("Age", description="Time since creation.")

NAMESPACE_COLUMNS = (_NAME, Column("Status", description="Active or Terminating."), _AGE)
SECRET_COLUMNS = (
    _NAME,
    Column("Type", description="What the Secret is for."),
    Column("Data", type="string", description="How many keys it has."),
    _AGE,
)
CONFIG_MAP_COLUMNS = (
    _NAME,
    Column("Data", type="string", description="How many keys it has."),
    _AGE,
)
SERVICE_ACCOUNT_COLUMNS = (
    _NAME,
    Column("Secrets", type="string", description="How many Secrets it refers to."),
    _AGE,
)
# Of kinds that declare no columns.
DEFAULT_COLUMNS = (_NAME, _AGE)


def namespace_cells(namespace: Object, now: datetime) -> list[Any]:
    """Return the cells of a namespace's row."""
    return _row(namespace, now, (namespace.get("status") or {}).get("phase") or "")


def secret_cells(secret: Object, now: datetime) -> list[Any]:
    """Return the cells of a Secret's row."""
    return _row(secret, now, secret.get("type") or "", len(secret.get("data") or {}))


def config_map_cells(config_map: Object, now: datetime) -> list[Any]:
    """Return the cells of a ConfigMap's row."""
    keys = len(config_map.get("data") or {}) + len(config_map.get("binaryData") or {})
    return _row(config_map, now, keys)


def service_account_cells(account: Object, now: datetime) -> list[Any]:
    """Return the cells of a ServiceAccount's row."""
    return _row(account, now, len(account.get("secrets") or ()))


def default_cells(obj: Object, now: datetime) -> list[Any]:
    """Return the cells of an object whose kind declares no columns."""
    return _row(obj, now)


def _row(obj: Object, now: datetime, *between: Any) -> list[Any]:
    metadata = obj["metadata"]
    return [metadata.get("name", ""), *between, age(metadata.get("creationTimestamp"), now)]
