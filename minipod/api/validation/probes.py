"""Probes and lifecycle hooks: exactly one handler each, and sane numbers."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, forbidden, invalid, required
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.values import non_negative, one_of

Object = dict[str, Any]

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_NUMBERS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)


def validate_handlers(container: Object, grace: int | None, path: str) -> Iterator[Cause]:
    """Check the probes and hooks of an ordinary container or a sidecar. `grace` is the Pod's, in seconds."""
    for name, hook in (container.get("lifecycle") or {}).items():
        if name in ("postStart", "preStop") and hook is not None:
            yield from _handler(hook, _HOOK_HANDLERS, grace, f"{path}.lifecycle.{name}")
    for name in PROBES:
        if container.get(name) is not None:
            yield from _probe(container[name], name, f"{path}.{name}")


def _probe(probe: Object, name: str, path: str) -> Iterator[Cause]:
    yield from _handler(probe, _PROBE_HANDLERS, None, path)
    for number in _NUMBERS:
        yield from non_negative(probe.get(number), f"{path}.{number}")
    grace = probe.get("terminationGracePeriodSeconds")
    at = f"{path}.terminationGracePeriodSeconds"
    if grace is not None and grace <= 0:
        yield invalid(at, grace, "must be greater than 0")
    if name == "readinessProbe":
        if grace is not None:
            yield invalid(at, grace, "must not be set for readinessProbes")
    elif probe.get("successThreshold", 1) != 1:
        yield invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _handler(
    handler: Object, known: tuple[str, ...], grace: int | None, path: str
) -> Iterator[Cause]:
    given = [name for name in known if handler.get(name) is not None]
    if not given:
        yield required(path, "must specify a handler type")
        return
    for extra in given[1:]:
        yield forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")
    name = given[0]
    action, at = handler[name], f"{path}.{name}"
    if name == "exec" and not action.get("command"):
        yield required(f"{at}.command")
    elif name == "httpGet":
        yield from _http_get(action, at)
    elif name == "tcpSocket" or name == "grpc":
        yield from _port(action.get("port"), f"{at}.port")
    elif name == "sleep":
        yield from _sleep(action, grace, at)


def _http_get(action: Object, path: str) -> Iterator[Cause]:
    if not action.get("path"):
        yield required(f"{path}.path")
    yield from _port(action.get("port"), f"{path}.port")
    yield from one_of(action.get("scheme"), ("HTTP", "HTTPS"), f"{path}.scheme")
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        yield from causes_of(names.http_header(name), f"{path}.httpHeaders", name)


def _port(port: int | str | None, path: str) -> Iterator[Cause]:
    """A port is a number, or the name of one of the container's ports."""
    if isinstance(port, str):
        yield from causes_of(names.port_name(port), path, port)
    else:
        yield from causes_of(names.port_number(port or 0), path, port or 0)


def _sleep(action: Object, grace: int | None, path: str) -> Iterator[Cause]:
    seconds = action.get("seconds", 0)
    if grace is not None and not 0 <= seconds <= grace:
        why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        yield invalid(path, seconds, why)
