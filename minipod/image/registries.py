"""Where an image's registry is reached: its own address, and what `registries.toml` says of it. Pure.

    ["docker.io"]
    mirrors = ["http://127.0.0.1:5000"]   # asked first, in this order
    only_mirrors = true                   # and nobody else

    ["registry.lab:5000"]
    plain_http = true                     # without TLS
    ca = "/etc/ssl/lab.pem"               # trusted beside the host's authorities

A registry on this very host (localhost, 127.0.0.0/8, ::1) may lack TLS, as for docker and containerd.
"""

import ipaddress
import tomllib
from dataclasses import dataclass

from .errors import ImageError
from .names import DEFAULT_DOMAIN

_HUB_HOST = "registry-1.docker.io"
_MEMBERS = {"mirrors": list, "only_mirrors": bool, "plain_http": bool, "ca": str}


@dataclass(frozen=True)
class Registry:
    """What is configured for one registry."""

    mirrors: tuple[str, ...] = ()
    only_mirrors: bool = False
    plain_http: bool = False
    ca: str = ""


def parse_registries(text: str, where: str) -> dict[str, Registry]:
    """Read `registries.toml`; raises ImageError that names the line or the key."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ImageError(f'"{where}": {error}') from None
    return {name: _parse(name, table, where) for name, table in document.items()}


def _parse(name: str, table: object, where: str) -> Registry:
    if not isinstance(table, dict):
        raise ImageError(f'"{where}": "{name}" is no table; write ["{name}"]')
    for key, value in table.items():
        if key not in _MEMBERS:
            raise ImageError(f'"{where}": ["{name}"] has no "{key}"; it has {", ".join(_MEMBERS)}')
        if not isinstance(value, _MEMBERS[key]):
            raise ImageError(f'"{where}": ["{name}"] {key} is not a {_MEMBERS[key].__name__}')
    mirrors = tuple(str(each).rstrip("/") for each in table.get("mirrors", ()))
    for mirror in mirrors:
        if not mirror.startswith(("http://", "https://")):
            raise ImageError(f'"{where}": ["{name}"] mirror "{mirror}" is no http(s) URL')
    return Registry(**{**table, "mirrors": mirrors})


def endpoints(domain: str, configured: Registry) -> tuple[str, ...]:
    """Return the addresses to ask, one after another."""
    host = _HUB_HOST if domain == DEFAULT_DOMAIN else domain
    if configured.only_mirrors:
        own: tuple[str, ...] = ()
    elif configured.plain_http:
        own = (f"http://{host}",)
    elif _is_local(domain):
        own = (f"https://{host}", f"http://{host}")
    else:
        own = (f"https://{host}",)
    return (*configured.mirrors, *own)


def _is_local(domain: str) -> bool:
    host = domain if domain.endswith("]") else domain.rpartition(":")[0] or domain
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
