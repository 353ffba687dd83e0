"""A new process that executes a program at once, made as vfork(2) does.

fork copies the page tables, and both sides pay for each page that they write to afterwards. Here the child shares the
memory and makes one system call in a few instructions of its own; the caller waits for it, as with vfork. So it is born
where its parent is, never in another cgroup: there it could be frozen or throttled, and its parent would wait; or be
killed for want of memory, and the kernel kills all that share a memory. Sources: vfork_x86_64.s, vfork_aarch64.s.
"""

import ctypes
import functools
import mmap
import os
import platform
import signal
import struct
from collections.abc import Callable, Sequence

from minipod.linux.process import (
    ALL_SIGNALS,
    CLONE_CLEAR_SIGHAND,
    CLONE_PIDFD,
    clone_arguments,
    sealed_memory_file,
    set_signal_mask,
)

CLONE_VM = 0x00000100
CLONE_VFORK = 0x00004000

# clone3(first, second); in the child execveat(third, fifth, fourth, fifth, AT_EMPTY_PATH), *sixth = its error; exit
_X86_64 = bytes.fromhex(
    "4989ca b8b3010000 0f05 85c0 7527"  # r10 = rcx; eax = clone3(rdi, rsi); if eax: goto done
    "89d7 4c89c6 4c89d2 4d89c2 41b800100000 b842010000 0f05"
    "418901 b8e7000000 bf7f000000 0f05"  # *r9 = eax; exit_group(127)
    "c3"  # done: return eax
)
_AARCH64 = struct.pack(
    "<15I",
    *(0xD2803668, 0xD4000001, 0xB5000180),  # x0 = clone3(x0, x1); if x0: goto done
    *(0xAA0203E0, 0xAA0403E1, 0xAA0303E2, 0xAA0403E3, 0xD2820004, 0xD2802328, 0xD4000001),
    *(0xB90000A0, 0xD2800BC8, 0xD2800FE0, 0xD4000001),  # *x5 = w0; exit_group(127)
    0xD65F03C0,  # done: return x0
)
CODES = {"x86_64": _X86_64, "aarch64": _AARCH64}


def clone_and_execute(
    program: int, arguments: Sequence[str], inherited: Sequence[int]
) -> tuple[int, int]:
    """Execute the file behind `program` in a new process beside this one; return its pid and pidfd.

    The process has no environment, all signals blocked and handled by default (ignored ones stay ignored), and of this
    process's close-on-exec descriptors those that are `inherited`. The caller must be single-threaded. Raises OSError:
    of clone3 (EAGAIN, ENOMEM), or of execveat.
    """
    pidfd = ctypes.c_int(-1)
    flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND
    where = ctypes.addressof(pidfd)
    given = clone_arguments(flags, pidfd=where, exit_signal=signal.SIGCHLD)
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*map(os.fsencode, arguments), None)
    empty = ctypes.create_string_buffer(16)  # an empty path, and an environment that ends at once
    failed = ctypes.c_int(0)
    before = set_signal_mask(ALL_SIGNALS)
    try:
        for each in inherited:
            os.set_inheritable(each, True)
        pid = _code()(given, len(given), program, argv, empty, ctypes.byref(failed))
    finally:
        for each in inherited:
            os.set_inheritable(each, False)
        set_signal_mask(before)
    if pid < 0:
        raise OSError(-pid, f"clone3: {os.strerror(-pid)}")
    if failed.value:
        os.close(pidfd.value)
        os.waitpid(pid, 0)
        raise OSError(-failed.value, f"execveat: {os.strerror(-failed.value)}")
    return pid, pidfd.value


@functools.cache
def _code() -> Callable[..., int]:
    """Map the instructions, which nobody can write to, and return them as a function. It keeps the interpreter's lock.

    ValueError for a machine that they are not written for.
    """
    machine = platform.machine()
    if machine not in CODES:
        raise ValueError(f'no way to start processes on machine "{machine}"')
    file = sealed_memory_file("vfork", CODES[machine])
    library = ctypes.PyDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    shown = mmap.PROT_READ | mmap.PROT_EXEC
    address = library.mmap(None, mmap.PAGESIZE, shown, mmap.MAP_PRIVATE, file, ctypes.c_long(0))
    os.close(file)
    if address == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, f"mmap: {os.strerror(number)}")
    kinds = (ctypes.c_char_p, ctypes.c_long, ctypes.c_long, *[ctypes.c_void_p] * 3)
    return ctypes.PYFUNCTYPE(ctypes.c_long, *kinds)(address)
