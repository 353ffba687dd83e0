"""Ports of containers by number or name (kubelet probe.ResolveContainerPort). Pure."""

import re

from minipod.client import Object

_NUMBER = re.compile(r"[+-]?[0-9]+")


class PortError(ValueError):
    """A port that a probe or a hook names does not exist."""


def resolve_port(port: int | str, container: Object) -> int:
    """Return the number of a port given as a number, or as the name of one of the container's. PortError."""
    found: int | None = port if isinstance(port, int) else None
    if isinstance(port, str):
        named = (p for p in container.get("ports") or () if p.get("name") == port)
        found = next((int(each["containerPort"]) for each in named), None)
        if found is None:
            if not _NUMBER.fullmatch(port):
                raise PortError(f'strconv.Atoi: parsing "{port}": invalid syntax')
            found = int(port)
    if found is None or not 0 < found < 65536:
        raise PortError(f"invalid port number: {found}")
    return found
