"""Kernel settings that this instance changed on its host: remembered before, put back after.

The record names the boot and the network namespace that it holds for: in another one it means nothing.
"""

import errno
import json
import os
from pathlib import Path

SYSCTL = Path("/proc/sys")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Sysctls:
    """The settings of one network namespace, with a record in `path` of what they were."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def set(self, name: str, value: str, original: str | None = None) -> None:
        """Ensure a setting ("net/ipv4/ip_forward"), remembering first what it was.

        `original` is what it was before somebody else changed it, if that is known. OSError names the setting.
        """
        current = read(name)
        saved = self.saved()
        if name not in saved and (original is not None or current != value):
            self._write({**saved, name: current if original is None else original})
        if current != value:
            write(name, value)

    def saved(self) -> dict[str, str]:
        """Return the remembered originals that still mean something."""
        try:
            record = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        if record.get("holds_for") != _here():
            return {}
        values: dict[str, str] = record["values"]
        return values

    def restore(self, name: str) -> None:
        """Put a setting back to what was remembered, and forget it. Nothing when nothing was."""
        saved = self.saved()
        if name in saved:
            write(name, saved.pop(name))
            self._write(saved)

    def forget(self, name: str) -> None:
        """Leave a setting as it is: others need it, and know what it was."""
        saved = self.saved()
        if saved.pop(name, None) is not None:
            self._write(saved)

    def _write(self, values: dict[str, str]) -> None:
        if not values:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"holds_for": _here(), "values": values}))
        os.replace(fresh, self._path)


def read(name: str) -> str:
    """Return a setting's value. OSError names the setting."""
    try:
        return (SYSCTL / name).read_text().strip()
    except OSError as error:
        raise OSError(
            error.errno, f"cannot read the kernel setting: {error.strerror}", name
        ) from error


def write(name: str, value: str) -> None:
    """Set a setting. OSError names the setting and the way out."""
    try:
        (SYSCTL / name).write_text(value)
    except OSError as error:
        hint = "; /proc/sys must be writable" if error.errno == errno.EROFS else ""
        reason = f"cannot set the kernel setting to {value}: {error.strerror}{hint}"
        raise OSError(error.errno, reason, name) from error


def exists(name: str) -> bool:
    """Say whether this kernel has the setting."""
    return (SYSCTL / name).exists()


def _here() -> list[str]:
    return [BOOT_ID.read_text().strip(), os.readlink("/proc/self/ns/net")]
