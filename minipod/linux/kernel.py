"""How system calls are made: one entry, numbers per machine, errors as OSError with the call and its path.

ctypes is imported in this package alone. `call` keeps the interpreter's lock for its whole duration, so that no other
thread runs Python between a clone and the child's first instruction.
"""

import ctypes
import os
import platform

# Calls newer than 5.0 have one number everywhere; the older ones without a glibc wrapper differ.
_MACHINE_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "rt_sigaction": 13,
        "rt_sigprocmask": 14,
        "pivot_root": 155,
        "keyctl": 250,
        "seccomp": 317,
        "bpf": 321,
        "execveat": 322,
    },
    "aarch64": {
        "rt_sigaction": 134,
        "rt_sigprocmask": 135,
        "pivot_root": 41,
        "keyctl": 219,
        "seccomp": 277,
        "bpf": 280,
        "execveat": 281,
    },
}
NUMBERS: dict[str, int] = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
    **_MACHINE_NUMBERS.get(platform.machine(), {}),
}

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100

_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

Argument = int | bytes | None


def system_call(name: str, *arguments: Argument, path: object = None) -> int:
    """Make the system call `name` by number (syscall(2)) and return its result.

    Integers travel as `long`, bytes as pointers, None as NULL. Raises OSError with the call's name and `path`;
    ENOSYS where this machine's number is unknown.
    """
    number = NUMBERS.get(name)
    if number is None:
        raise error(name, path, 38)
    result: int = _syscall(ctypes.c_long(number), *map(_convert, arguments))
    if result < 0:
        raise error(name, path)
    return result


def library_call(name: str, *arguments: Argument, path: object = None) -> int:
    """Call the C library's wrapper `name`. Raises OSError with its name and `path`."""
    result: int = getattr(_libc, name)(*map(_convert, arguments))
    if result < 0:
        raise error(name, path)
    return result


def error(name: str, path: object = None, number: int | None = None) -> OSError:
    """Return the OSError for a failed call: its text names the call, its filename is `path`."""
    code = ctypes.get_errno() if number is None else number
    return OSError(
        code,
        f"{name}: {os.strerror(code)}",
        None if path is None else os.fsdecode(path) if isinstance(path, bytes) else str(path),
    )


def _convert(value: Argument) -> "ctypes.c_long | bytes | None":
    return ctypes.c_long(value) if isinstance(value, int) else value
