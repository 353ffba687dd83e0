"""Termination messages: what a container wrote to its terminationMessagePath, or the end of its log."""

import os
from pathlib import Path

from minipod.client import Object
from minipod.node.logs import LineFormat, LogOptions
from minipod.node.observed import LABEL_ATTEMPT, LABEL_CONTAINER
from minipod.node.parts import Parts
from minipod.node.pods import find_container, uid_of
from minipod.node.translate import termination_log
from minipod.runtime.spec import ContainerStatus

FILE_LIMIT = 4096  # bytes; the limits are the kubelet's
LOG_LIMIT = 2048  # bytes of log, at most ...
LOG_LINES = 80  # ... so many lines
LOG_WINDOW = 32 * 1024  # holds them: 80 stamps, the text, and one line of 16 KiB that is cut off


def attach_messages(parts: Parts, pod: Object) -> None:
    """Read the messages of containers that have ended, once each."""
    told = parts.memory(uid_of(pod)).messages
    for status in parts.running.of_pod(uid_of(pod)).containers:
        if status.state == "exited" and status.id not in told:
            told.add(status.id)
            if not status.message:
                parts.running.set_message(status.id, _read_message(parts, pod, status))


def _read_message(parts: Parts, pod: Object, status: ContainerStatus) -> str:
    name = status.labels.get(LABEL_CONTAINER, "")
    found = find_container(pod, name)
    attempt = int(status.labels.get(LABEL_ATTEMPT, "0"))
    message = _read_tail(termination_log(pod, name, attempt, parts.config), FILE_LIMIT)
    if message or not found or status.exit_code == 0:
        return message.decode(errors="replace")
    if found[1].get("terminationMessagePolicy") != "FallbackToLogsOnError":
        return ""
    log = _read_tail(Path(status.log_path), LOG_WINDOW) if status.log_path else b""
    return read_log_end(log).decode(errors="replace")


def read_log_end(log: bytes) -> bytes:
    """Return the text at the end of a log, within the kubelet's limits; of a full window the first line is cut."""
    lines = log.removesuffix(b"\n").split(b"\n")[len(log) == LOG_WINDOW :]
    return LineFormat(LogOptions()).convert(b"\n".join(lines[-LOG_LINES:]))[-LOG_LIMIT:]


def _read_tail(path: Path, limit: int) -> bytes:
    """Return the last bytes of a file, b"" when it cannot be read: the container may have put anything there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, limit, max(0, size - limit))
    except OSError:
        return b""
    finally:
        os.close(descriptor)
