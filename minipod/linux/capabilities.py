"""Capabilities: their names and numbers (capabilities(7)), and the set that container runtimes give by default."""

from collections.abc import Iterable

from minipod.linux.process import PR_CAPBSET_READ, prctl

NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)
NUMBERS = {name: number for number, name in enumerate(NAMES)}

# What Docker and containerd give a container that asks for nothing.
DEFAULT = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)


def normalise(name: str) -> str:
    """Return a capability's name without CAP_, in capitals. ValueError when the kernel knows no such one."""
    plain = name.upper().removeprefix("CAP_")
    if plain not in NUMBERS:
        raise ValueError(f'unknown capability "{name}"')
    return plain


def mask(names: Iterable[str]) -> int:
    """Return the bit mask of capability names (without CAP_)."""
    total = 0
    for name in names:
        total |= 1 << NUMBERS[name]
    return total


def bounding() -> int:
    """Return the mask of this thread's bounding set: the most that any process started from here can have."""
    total = 0
    for number in range(64):
        try:
            total |= prctl(PR_CAPBSET_READ, number) << number
        except OSError:
            break
    return total
