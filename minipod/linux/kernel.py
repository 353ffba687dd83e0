"""How system calls are made: one entry, numbers per machine, errors as OSError with the call and its path.

ctypes is imported in this package alone. `call` keeps the interpreter's lock for its whole duration, so that no other
thread runs Python between a clone and the child's first instruction.
"""

import ctypes
import os
import platform

# Calls up to 5.0 have a number of each machine's own, the newer ones one everywhere.
_OLD_NUMBERS: dict[str, tuple[int, int]] = {  # x86_64, aarch64
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "ioctl": (16, 29),
    "pread64": (17, 67),
    "sendfile": (40, 71),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "clone": (56, 220),
    "execve": (59, 221),
    "fcntl": (72, 25),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "fchmod": (91, 52),
    "fchown": (93, 55),
    "umask": (95, 166),
    "setsid": (112, 157),
    "setgroups": (116, 159),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "capset": (126, 91),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "chroot": (161, 51),
    "mount": (165, 40),
    "umount2": (166, 39),
    "sethostname": (170, 161),
    "clock_gettime": (228, 113),
    "exit_group": (231, 94),
    "keyctl": (250, 219),
    "openat": (257, 56),
    "mkdirat": (258, 34),
    "mknodat": (259, 33),
    "symlinkat": (266, 36),
    "unshare": (272, 97),
    "dup3": (292, 24),
    "prlimit64": (302, 261),
    "setns": (308, 268),
    "seccomp": (317, 277),
    "bpf": (321, 280),
    "execveat": (322, 281),
    "statx": (332, 291),
}
_NEW_NUMBERS: dict[str, int] = {
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
}
_MACHINES = ("x86_64", "aarch64")


def numbers(machine: str) -> dict[str, int]:
    """Return the system calls' numbers on a machine: only the new ones where it is not known."""
    if machine not in _MACHINES:
        return dict(_NEW_NUMBERS)
    index = _MACHINES.index(machine)
    return {name: each[index] for name, each in _OLD_NUMBERS.items()} | _NEW_NUMBERS


NUMBERS = numbers(platform.machine())

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
