"""Which devices a cgroup's processes may open and make, whatever nodes they have: what CAP_MKNOD does not decide.

Where cgroup v2 is mounted, with controllers or without, a program of type BPF_PROG_TYPE_CGROUP_DEVICE decides (bpf(2);
Linux 4.15), elsewhere v1's devices controller
(Documentation/admin-guide/cgroup-v1/devices.rst). No library assembles such programs without a compiler, and ours are
a few comparisons for each rule, checked by the kernel's verifier: they are put together here, by hand.
"""

import contextlib
import fcntl
import functools
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from minipod.linux.cgroup import CgroupLayout, write
from minipod.linux.kernel import system_call

_BPF_PROG_LOAD, _BPF_PROG_ATTACH, _BPF_PROG_QUERY = 5, 8, 16
_BPF_PROG_TYPE_CGROUP_DEVICE, _BPF_CGROUP_DEVICE = 15, 6
_BPF_F_ALLOW_MULTI = 2  # beside what a service manager has attached: all of them must agree
_ATTRIBUTE_BYTES = 128
_TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*
_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*
_ALL_ACCESS = 7


@dataclass(frozen=True)
class DeviceRule:
    """What is allowed of a kind of device ("c" or "b"); None stands for every number."""

    kind: str
    major: int | None
    minor: int | None
    access: str = "rwm"

    def text(self) -> str:
        """Return the rule as the v1 controller and other runtimes write it."""
        major, minor = ("*" if each is None else str(each) for each in (self.major, self.minor))
        return f"{self.kind} {major}:{minor} {self.access}"


# The OCI runtime spec's default devices. To make a node of any device is allowed, as with other runtimes (packages
# bring them): opening it is what is not.
DEFAULT_RULES = (
    DeviceRule("c", 1, 3),  # null
    DeviceRule("c", 1, 5),  # zero
    DeviceRule("c", 1, 7),  # full
    DeviceRule("c", 1, 8),  # random
    DeviceRule("c", 1, 9),  # urandom
    DeviceRule("c", 5, 0),  # tty
    DeviceRule("c", 5, 1),  # console
    DeviceRule("c", 5, 2),  # ptmx
    DeviceRule("c", 136, None),  # /dev/pts
    DeviceRule("c", None, None, "m"),
    DeviceRule("b", None, None, "m"),
)


def limit(layout: CgroupLayout, path: str, rules: tuple[DeviceRule, ...] = DEFAULT_RULES) -> None:
    """Let processes in the cgroup `path` and below use what `rules` allow and no other device. Repeatable.

    Raises OSError where the kernel cannot hold them to it.
    """
    if layout.unified:
        _attach(f"{layout.unified}/{path}", rules)
    elif directory := layout.directory("devices", path):
        if Path(directory, "devices.list").read_text().startswith("a "):
            write(f"{directory}/devices.deny", "a")
        for rule in rules:
            with contextlib.suppress(PermissionError):  # we are held to less ourselves
                write(f"{directory}/devices.allow", rule.text())


def _attach(directory: str, rules: tuple[DeviceRule, ...]) -> None:
    cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _attached(cgroup):
            arguments = (cgroup, _program(rules), _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI)
            _bpf(_BPF_PROG_ATTACH, struct.pack("4I", *arguments), directory)
    finally:
        os.close(cgroup)


def _attached(cgroup: int) -> int:
    """Return how many device programs the cgroup has of its own."""
    _, answer = _bpf(_BPF_PROG_QUERY, struct.pack("2I", cgroup, _BPF_CGROUP_DEVICE))
    return int(struct.unpack_from("I", answer, 24)[0])


@functools.cache
def _program(rules: tuple[DeviceRule, ...]) -> int:
    """Return a descriptor of the rules' program, loaded once."""
    import ctypes

    code = assemble(rules)
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    places = (ctypes.addressof(instructions), ctypes.addressof(licence))
    fields = (_BPF_PROG_TYPE_CGROUP_DEVICE, len(code) // 8, *places)
    loaded, _ = _bpf(_BPF_PROG_LOAD, struct.pack("=2I2Q", *fields))
    fcntl.fcntl(loaded, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    return loaded


def _bpf(command: int, attribute: bytes, path: object = None) -> tuple[int, bytes]:
    """Call bpf(2); return its result and the attribute as the kernel has left it."""
    import ctypes

    buffer = ctypes.create_string_buffer(attribute, _ATTRIBUTE_BYTES)
    result = system_call("bpf", command, ctypes.addressof(buffer), _ATTRIBUTE_BYTES, path=path)
    return result, buffer.raw


def assemble(rules: tuple[DeviceRule, ...]) -> bytes:
    """Return the rules as BPF instructions (Documentation/bpf/standardization/instruction-set.rst). Pure.

    The program is given struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor. It returns 1 to allow.
    """
    code = [
        _instruction(0x61, 2, source=1, offset=0),  # r2 = access and type
        _instruction(0xBF, 3, source=2),
        _instruction(0x77, 3, value=16),  # r3 = access
        _instruction(0x57, 2, value=0xFFFF),  # r2 = type
        _instruction(0x61, 4, source=1, offset=4),  # r4 = major
        _instruction(0x61, 5, source=1, offset=8),  # r5 = minor
    ]
    for rule in rules:
        code += _compare(rule)
    code += [_instruction(0xB7, 0, value=0), _instruction(0x95, 0)]
    return b"".join(code)


def _compare(rule: DeviceRule) -> list[bytes]:
    """Return: allow when all comparisons hold, else fall through to what comes next."""
    wanted = [(2, _TYPES[rule.kind])]
    wanted += [(register, n) for register, n in ((4, rule.major), (5, rule.minor)) if n is not None]
    refused = _ALL_ACCESS & ~sum(_ACCESS[letter] for letter in rule.access)
    checks = [
        (0x55, register, number) for register, number in wanted
    ]  # if register != number: next
    prepared = []
    if refused:
        prepared = [_instruction(0xBF, 6, source=3), _instruction(0x57, 6, value=refused)]
        checks.insert(0, (0x55, 6, 0))
    allow = [_instruction(0xB7, 0, value=1), _instruction(0x95, 0)]
    jumps = [
        _instruction(operation, register, value=number, offset=len(checks) - index - 1 + len(allow))
        for index, (operation, register, number) in enumerate(checks)
    ]
    return [*prepared, *jumps, *allow]


def _instruction(
    code: int, register: int, source: int = 0, offset: int = 0, value: int = 0
) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | register, offset, value)
