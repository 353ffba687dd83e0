"""What the shim knows of sandboxes and containers, and the files that outlive it.

Every record is written before its process is made and removed after its last trace is gone, so a successor finds
whatever a killed shim left: `run/shim/sandboxes/ID.json`, `run/shim/containers/ID.json`. A running container's whole
spec, as the daemon sent it, is in its file alone: it is rarely asked for, and memory is not for it.
"""

import contextlib
import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from minipod.runtime import protocol

Plain = dict[str, Any]
State = Literal["creating", "running", "exited"]
UNKNOWN_EXIT_CODE = 137  # what the kubelet reports for a container whose end nobody saw


@dataclass(slots=True)
class SandboxRecord:
    """A sandbox. `configured` once the daemon has given it its network."""

    id: str
    cgroup: str
    created_at: float
    pid: int = 0  # 0 once the pause process is gone
    configured: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    network: Plain | None = None  # spec.SandboxNetwork, handed back for taking it down
    host_ipc: bool = False
    pid_namespace: str = "container"
    privileged: bool = False

    def status(self) -> Plain:
        """Return spec.SandboxStatus as JSON, with what a restarted daemon must know of the spec beside it."""
        address = self.network["address"].partition("/")[0] if self.network else ""
        return {
            "id": self.id,
            "ready": bool(self.pid) and self.configured,
            "configured": self.configured,
            "pid": self.pid,
            "created_at": self.created_at,
            "address": address,
            "labels": self.labels,
            "network": self.network,
            "cgroup": self.cgroup,
            "host_ipc": self.host_ipc,
            "pid_namespace": self.pid_namespace,
            "privileged": self.privileged,
        }


@dataclass(slots=True)
class ContainerRecord:
    """A container. Members up to `log_path` are spec.ContainerStatus's."""

    id: str
    sandbox_id: str
    cgroup: str
    created_at: float
    state: State = "creating"
    pid: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    signal: int = 0
    oom_killed: bool = False
    reason: str = ""
    message: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    log_path: str = ""
    log_max_bytes: int = 10 * 1024 * 1024
    log_max_files: int = 5
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    stop_signal: str = "SIGTERM"
    identity: Plain | None = (
        None  # passwd.Identity that its program was started as, and whatever is exec'd is
    )

    def status(self) -> Plain:
        """Return spec.ContainerStatus as JSON."""
        kept = plain(self)
        for name in ("cgroup", "log_max_bytes", "log_max_files", "stdin", "stdin_once", "tty"):
            del kept[name]
        del kept["stop_signal"], kept["identity"]
        return kept

    def finish(self, now: float, exit_code: int, reason: str, message: str = "") -> None:
        """Turn it into an exited one."""
        self.state, self.pid, self.finished_at = "exited", 0, now
        self.exit_code, self.reason, self.message = exit_code, reason, message


R = TypeVar("R", SandboxRecord, ContainerRecord)


def from_fields(kind: type[R], plain: Plain) -> R:
    """Return a record from JSON, whatever other members it has. Raises TypeError when some are missing."""
    known = {item.name for item in fields(kind)}
    return kind(**{name: value for name, value in plain.items() if name in known})


def plain(record: SandboxRecord | ContainerRecord) -> Plain:
    """Return a record's members by name. (dataclasses.asdict copies every label of it as well.)"""
    return {name: getattr(record, name) for name in type(record).__slots__}


class RecordFiles:
    """The files under run/shim. Every write is atomic; a crash leaves the old or the new."""

    def __init__(self, directory: Path) -> None:
        self._directory = os.fspath(directory)
        for kind in ("sandboxes", "containers"):
            os.makedirs(os.path.join(self._directory, kind), mode=0o700, exist_ok=True)

    def write(self, record: SandboxRecord | ContainerRecord, spec: Plain | None = None) -> None:
        """Ensure the record's file, with the whole spec while something may still run by it. Raises OSError."""
        path = self._path(record)
        temporary = path + ".new"
        try:
            # An environment may hold what a Secret holds: nobody else's to read.
            with open(temporary, "w", opener=_private) as file:
                written = {"record": plain(record), "spec": spec}
                file.write(json.dumps(written, default=protocol.to_base64))
            os.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def follow(self, record: SandboxRecord | ContainerRecord) -> None:
        """Write what has happened already. Where a full disk leaves the former file, memory alone has the truth."""
        with contextlib.suppress(OSError):
            self.write(record)

    def read_spec(self, record: SandboxRecord | ContainerRecord) -> Plain | None:
        """Return the whole spec. Raises OSError or ValueError."""
        with open(self._path(record)) as file:
            spec: Plain | None = json.load(file)["spec"]
        return spec

    def remove(self, record: SandboxRecord | ContainerRecord) -> None:
        """Ensure that the file is gone."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(record))

    def sandboxes(self) -> list[SandboxRecord]:
        """Read every sandbox's record; unreadable ones are left out."""
        return self._read_all("sandboxes", SandboxRecord)

    def containers(self) -> list[ContainerRecord]:
        """Read every container's record; unreadable ones are left out."""
        return self._read_all("containers", ContainerRecord)

    def _path(self, record: SandboxRecord | ContainerRecord) -> str:
        kind = "sandboxes" if isinstance(record, SandboxRecord) else "containers"
        return os.path.join(self._directory, kind, record.id + ".json")

    def _read_all(self, kind: str, record_type: type[R]) -> list[R]:
        directory = os.path.join(self._directory, kind)
        found = []
        for name in sorted(item for item in os.listdir(directory) if item.endswith(".json")):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                text = Path(directory, name).read_text()
                found.append(from_fields(record_type, json.loads(text)["record"]))
        return found


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
