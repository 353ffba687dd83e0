"""One daemon for each root."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from minipod.paths import SYSTEM_INSTANCE, Layout


class StartError(Exception):
    """The daemon cannot start; the message is one line."""


@contextlib.contextmanager
def only_daemon(place: Layout) -> Iterator[None]:
    """Hold the root's lock (flock(2)): gone with the process, however it ends."""
    if os.geteuid() != 0:
        raise StartError(
            "the daemon needs root (namespaces, mounts, cgroups); try: sudo minipod up"
        )
    _forget_other_boot(place)
    for directory in (place.state, place.run, place.log):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
    lock = os.open(place.run / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode() or "unknown"
        root = "" if place.instance == SYSTEM_INSTANCE else f" --root {place.state.parent}"
        raise StartError(
            f'a daemon is already running on "{place.state}" (pid {holder}); try: minipod{root} down'
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    try:
        yield
    finally:
        os.close(lock)


def _forget_other_boot(place: Layout) -> None:
    """Empty a run directory that a reboot left behind: its sockets and processes are of another boot."""
    import shutil

    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    record = place.run / "boot_id"
    before = record.read_text() if record.exists() else ""
    if before == boot:
        return
    if before:
        shutil.rmtree(place.run, ignore_errors=True)
    place.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = record.with_name("boot_id.new")
    fresh.write_text(boot)  # a full disk must not leave the record of no boot at all
    fresh.rename(record)
