"""Daemon and shim as processes: who listens on a socket, starting one in the background, waiting for one to end."""

import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation

TAIL_BYTES = 4096


def require_root(what: str, command: str) -> None:
    """Raise CliError unless this process is root."""
    if os.geteuid() != 0:
        raise CliError(f"{what} needs root (namespaces, mounts, cgroups); try: {command}")


def listener(path: Path) -> int | None:
    """Return the process that listens on a Unix socket (SO_PEERCRED, unix(7)), or None when nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(2)
        try:
            sock.connect(str(path))
        except PermissionError as denied:
            raise CliError(
                f'may not open "{path}": minipod talks to root only; run this with sudo'
            ) from denied
        except OSError as failed:
            return (
                _other_type(path) if failed.errno == 91 else None
            )  # EPROTOTYPE: a SOCK_SEQPACKET socket
        return _peer(sock)


def _other_type(path: Path) -> int | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return None
        return _peer(sock)


def _peer(sock: socket.socket) -> int:
    pid: int = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid


def execute(
    invocation: Invocation, module: str, arguments: list[str], *, root_flag: bool = True
) -> None:
    """Become another program of minipod's, on the same root. Does not return."""
    sys.stdout.flush()
    root = invocation.root_arguments() if root_flag else []
    if invocation.root:
        os.environ["MINIPOD_ROOT"] = os.path.realpath(invocation.root)
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *root, *arguments])


def start_detached(
    invocation: Invocation, module: str, arguments: list[str], log: Path, *, ready_flag: str = ""
) -> int:
    """Start a program of minipod's in a session of its own and return its PID once it says that it is ready.

    Readiness is one byte on the descriptor named by MINIPOD_READY_FD, or by `ready_flag`; a program that ends
    before is an error that quotes what it wrote to its log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    told = [ready_flag, str(writing)] if ready_flag else []
    with open(log, "ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *invocation.root_arguments(), *arguments, *told],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(writing,),
            env={**os.environ, "MINIPOD_READY_FD": str(writing)},
        )
    os.close(writing)
    try:
        _await_ready(reading, process, log, begin)
    finally:
        os.close(reading)
    process.returncode = 0  # it lives on: nobody here waits for it
    return process.pid


READY_SECONDS = 60
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}


def _await_ready(reading: int, process: "subprocess.Popen[bytes]", log: Path, begin: int) -> None:
    try:
        readable, _, _ = select.select([reading], [], [], READY_SECONDS)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if not readable:
        process.terminate()
        process.wait()
        raise CliError(f'it was not ready within {READY_SECONDS} s and was ended; see "{log}"')
    if os.read(reading, 1):
        return
    code = process.wait()
    said = _since(log, begin)
    if -code in _CRASHES:
        raise CliError(f'it crashed (signal {-code}){_explain_crash(said)}; "{log}" tells where')
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    if not said and not os.statvfs(log).f_bfree:
        raise CliError(
            f'no room is left on the disk of "{log}", nor for what it would say ({ended})'
        )
    said = said or "(nothing)"
    raise CliError(f'it ended before it was ready ({ended}); "{log}" says:\n{said}')


def _explain_crash(said: str) -> str:
    """Say what is known of a crash by where it was: a library's fault, that what is on the host brings about."""
    if "nftables.py" not in said:
        return ""
    return (
        " in libnftables: it may be older than the program that made one of this host's tables (does `nft list tables` "
        "crash, too?); upgrade the package libnftables1, or remove that table"
    )


def _since(log: Path, begin: int) -> str:
    with open(log, "rb") as file:
        file.seek(begin)
        return file.read().decode("utf-8", "replace")[-TAIL_BYTES:].rstrip()


def stop(pid: int, seconds: float, waiting: Callable[[], None]) -> None:
    """Send SIGTERM and return when the process has ended. Raises CliError after `seconds`."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if select.select([descriptor], [], [], 1.0)[0]:
            return
        waiting()
        if not select.select([descriptor], [], [], seconds)[0]:
            raise CliError(
                f"process {pid} has not ended {seconds:.0f} s after SIGTERM; it is left alone"
            )
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)
