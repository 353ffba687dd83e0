"""Seccomp profiles by name, compiled once: RuntimeDefault, and Localhost files below the node's profile directory."""

import json
from functools import lru_cache
from pathlib import Path

from minipod.client import Object
from minipod.linux import seccomp
from minipod.node.errors import StepError


class SeccompProfiles:
    """Compiles what `seccompProfile` names."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def compile(self, profile: Object, capabilities: tuple[str, ...]) -> bytes | None:
        """Return the filter for a profile and the capabilities kept. StepError when it cannot be had."""
        kind = profile.get("type")
        try:
            if kind == "Localhost":
                return self._local(str(profile.get("localhostProfile") or ""), capabilities)
            return _default(capabilities)
        except (OSError, ValueError, KeyError, TypeError) as error:
            name = profile.get("localhostProfile") or kind
            raise StepError(
                "CreateContainerError", f'cannot load seccomp profile "{name}": {error}'
            ) from error

    def _local(self, name: str, capabilities: tuple[str, ...]) -> bytes:
        path = self._directory / name
        if not name or ".." in Path(name).parts or Path(name).is_absolute():
            raise ValueError(f'it must be a path below "{self._directory}"')
        return _from_file(path, path.stat().st_mtime_ns, capabilities)


@lru_cache(maxsize=64)
def _default(capabilities: tuple[str, ...]) -> bytes:
    return seccomp.compile_default(capabilities)


@lru_cache(maxsize=64)
def _from_file(path: Path, _changed: int, capabilities: tuple[str, ...]) -> bytes:
    rules, default = seccomp.parse_profile(json.loads(path.read_text()), capabilities)
    return seccomp.compile_rules(rules, default)
