"""What the sender of a valid Pod should know: what probably does not mean what it says (pkg/api/pod/warnings.go)."""

import json
from collections.abc import Iterator
from typing import Any

from minipod.api import quantity

Object = dict[str, Any]


def compute_warnings(pod: Object, path: str = "") -> list[str]:
    """Return one line for each oddity of a Pod, or of the template at `path`, its path first."""
    spec, at = pod.get("spec") or {}, f"{path}.spec" if path else "spec"
    return [
        warning
        for name in ("initContainers", "containers")
        for index, container in enumerate(spec.get(name) or ())
        for warning in _of_container(container, f"{at}.{name}[{index}]")
    ]


def _of_container(container: Object, path: str) -> Iterator[str]:
    yield from _hidden_variables(container.get("env") or [], f"{path}.env")
    yield from _repeated_ports(container.get("ports") or [], f"{path}.ports")
    resources = container.get("resources") or {}
    for which in ("limits", "requests"):
        for name in ("memory", "ephemeral-storage"):
            amount = (resources.get(which) or {}).get(name)
            if amount is not None and quantity.parse(amount).denominator != 1:
                at = f"{path}.resources.{which}[{name}]"
                yield f'{at}: fractional byte value "{amount}" is invalid, must be an integer'


def _hidden_variables(variables: list[Object], path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        name = variable.get("name") or ""
        if name in seen:
            yield (
                f"{path}[{index}]: hides previous definition of {json.dumps(name)}, "
                "which may be dropped when using apply"
            )
        seen.add(name)


def _repeated_ports(ports: list[Object], path: str) -> Iterator[str]:
    seen: dict[tuple[Any, ...], int] = {}
    for index, port in enumerate(ports):
        key = tuple(port.get(name) for name in ("containerPort", "protocol", "hostIP", "hostPort"))
        if key in seen:
            yield f"{path}[{index}]: duplicate port definition with {path}[{seen[key]}]"
        seen.setdefault(key, index)
