"""Processes and namespaces: setns, unshare, pidfd, prctl, credentials, sealed memory files."""

import errno
import fcntl
import os
import signal
import struct

from minipod.linux.kernel import library_call, system_call

# clone(2), sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_CLEAR_SIGHAND = 0x100000000
CLONE_INTO_CGROUP = 0x200000000

NAMESPACES = {  # by their names below /proc/PID/ns
    "mnt": CLONE_NEWNS,
    "cgroup": CLONE_NEWCGROUP,
    "uts": CLONE_NEWUTS,
    "ipc": CLONE_NEWIPC,
    "pid": CLONE_NEWPID,
    "net": CLONE_NEWNET,
}

# prctl(2)
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_GET_DUMPABLE = 3
PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_SET_NAME = 15

ALL_SIGNALS = b"\xff" * 8  # as a mask; the kernel leaves SIGKILL and SIGSTOP out
_SIG_SETMASK = 2

SECCOMP_SET_MODE_FILTER = 1
KEYCTL_JOIN_SESSION_KEYRING = 1
CLOSE_RANGE_CLOEXEC = 4
_CAPABILITY_VERSION_3 = 0x20080522
MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_EXEC = 1, 2, 16
_ALL_SEALS = 1 | 2 | 4 | 8  # F_SEAL_SEAL, SHRINK, GROW, WRITE (fcntl(2))


def namespace_flags(names: "tuple[str, ...] | list[str]") -> int:
    """Return the CLONE_NEW* flags of namespaces named as in /proc/PID/ns. KeyError for an unknown name."""
    flags = 0
    for name in names:
        flags |= NAMESPACES[name]
    return flags


def clone_arguments(flags: int, *, pidfd: int = 0, exit_signal: int = 0) -> bytes:
    """Return struct clone_args (clone3(2)); `pidfd` is an address. The last member is the cgroup's descriptor."""
    # flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup
    return struct.pack("11Q", flags, pidfd, 0, 0, exit_signal, 0, 0, 0, 0, 0, 0)


def setns(descriptor: int, flags: int) -> None:
    """Join the namespaces `flags` of a pidfd, or the one that a namespace descriptor refers to (setns(2))."""
    library_call("setns", descriptor, flags)


def unshare(flags: int) -> None:
    """Leave shared namespaces for new ones (unshare(2))."""
    library_call("unshare", flags)


def ignored_signals() -> tuple[int, ...]:
    """Return the signals that this process ignores, as the kernel has them (proc_pid_status(5), SigIgn)."""
    with open("/proc/self/status", "rb") as file:
        ignored = int(file.read().partition(b"SigIgn:")[2].split(None, 1)[0], 16)
    return tuple(number for number in range(1, 65) if ignored >> (number - 1) & 1)


def signal_mask(*numbers: int) -> bytes:
    """Return the mask of some signals, as `set_signal_mask` takes it."""
    return struct.pack("=Q", sum(1 << (number - 1) for number in numbers))


def set_signal_mask(mask: bytes) -> bytes:
    """Block exactly the signals of a mask (8 bytes) and return the mask before (rt_sigprocmask(2)).

    signal.pthread_sigmask makes an object of each signal in it, sixty of them twice with every clone.
    """
    import ctypes

    former = ctypes.create_string_buffer(8)
    system_call("rt_sigprocmask", _SIG_SETMASK, mask, ctypes.addressof(former), 8)
    return former.raw


def pidfd_open(pid: int) -> int:
    """Return a descriptor of the process `pid` (pidfd_open(2)). ProcessLookupError when it is gone.

    Of one that has been waited for while its session or group lives on, kernels before 6.15 say EINVAL.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno == errno.EINVAL and pid > 0:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
        raise


def prctl(option: int, argument: int = 0, third: int = 0) -> int:
    """Change or read an attribute of this process (prctl(2))."""
    return library_call("prctl", option, argument, third, 0, 0)


def end_with_parent(pid: int) -> None:
    """Be interrupted (SIGINT) when the parent, which should be `pid`, ends; at once when it is gone already."""
    prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != pid:
        raise KeyboardInterrupt


def capability_data(effective: int, permitted: int, inheritable: int) -> tuple[bytes, bytes]:
    """Return header and data of capset(2), version 3, from bit masks."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    data = struct.pack(
        "6I",
        *(effective & low, permitted & low, inheritable & low),
        *(effective >> high, permitted >> high, inheritable >> high),
    )
    return header, data


def sealed_memory_file(name: str, content: bytes) -> int:
    """Return a close-on-exec descriptor of an anonymous file that nobody can ever change (memfd_create(2))."""
    flags = MFD_CLOEXEC | MFD_ALLOW_SEALING
    try:
        descriptor = os.memfd_create(name, flags | MFD_EXEC)
    except OSError:  # MFD_EXEC came with Linux 6.3; before it every memfd could be executed
        descriptor = os.memfd_create(name, flags)
    os.write(descriptor, content)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _ALL_SEALS)
    return descriptor
