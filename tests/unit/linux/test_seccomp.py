"""Filters are judged by running them: a small interpreter of classic BPF stands for the kernel."""

import errno
import platform
import struct

import pytest

from minipod.linux import capabilities, seccomp
from minipod.linux.seccomp import Condition, Rule

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
UNSHARE, MOUNT, CLONE, READ, CLONE3, SOCKET = (
    (272, 165, 56, 0, 435, 41) if platform.machine() == "x86_64" else (97, 40, 220, 63, 435, 198)
)


def run(program: bytes, number: int, *arguments: int, arch: int = 0) -> int:
    """Return what the filter answers for a call on this machine (seccomp(2), struct seccomp_data)."""
    arch = arch or ARCHITECTURES[platform.machine()]
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, arch, 0, *padded)
    accumulator, position = 0, 0
    while True:
        code, true, false, value = struct.unpack_from("<HBBI", program, position * 8)
        position += 1
        if code == 0x20:  # load a word
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return value
        elif code == 0x05:
            position += value
        else:
            compare = {0x15: accumulator == value, 0x25: accumulator > value}
            compare[0x35] = accumulator >= value
            position += true if compare[code] else false


@pytest.fixture(scope="module")
def default() -> bytes:
    return seccomp.compile_default(capabilities.DEFAULT)


@pytest.mark.parametrize(
    ("number", "arguments", "answer"),
    [
        (READ, (), ALLOW),
        (UNSHARE, (), ERRNO | errno.EPERM),
        (MOUNT, (), ERRNO | errno.EPERM),
        (CLONE, (0x11,), ALLOW),
        (CLONE, (0x10000000,), ERRNO | errno.EPERM),  # CLONE_NEWUSER
        (CLONE3, (), ERRNO | errno.ENOSYS),
        (SOCKET, (2,), ALLOW),
        *((SOCKET, (family,), ALLOW) for family in (0, 1, 10, 16, 17, 37, 39, 41, 44, 45)),
        (SOCKET, (40,), ERRNO | errno.EPERM),  # AF_VSOCK
        (SOCKET, (38,), ERRNO | errno.EPERM),  # AF_ALG
        (SOCKET, (40 + 2**32,), ERRNO | errno.EPERM),  # the same to the kernel
        (SOCKET, (38 + 2**40,), ERRNO | errno.EPERM),
        (452, (), ALLOW),  # fchmodat2: newer than many a libseccomp
        (425, (), ERRNO | errno.EPERM),  # io_uring_setup
        (500, (), ERRNO | errno.ENOSYS),  # of a kernel to come
    ],
)
def test_default_profile(
    default: bytes, number: int, arguments: tuple[int, ...], answer: int
) -> None:
    assert run(default, number, *arguments) == answer


I386 = 0x40000003
X32 = 0x40000000


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has three ways to call")
@pytest.mark.parametrize(
    ("number", "arguments", "answer"),
    [
        (102, (1, 0xFFFF), ERRNO | errno.ENOSYS),  # socketcall(SYS_SOCKET, ...)
        (102, (3, 0xFFFF), ERRNO | errno.ENOSYS),  # socketcall(SYS_CONNECT, ...)
        (359, (2,), ALLOW),  # socket
        (359, (40,), ERRNO | errno.EPERM),
        (359, (38,), ERRNO | errno.EPERM),
        (362, (), ALLOW),  # connect
        (117, (1,), ALLOW),  # ipc: all that it stands for is allowed
        (310, (), ERRNO | errno.EPERM),  # unshare
        (120, (0x10000000,), ERRNO | errno.EPERM),  # clone
        (21, (), ERRNO | errno.EPERM),  # mount
        (288, (), ERRNO | errno.EPERM),  # keyctl
        (128, (), ERRNO | errno.EPERM),  # init_module
    ],
)
def test_the_32_bit_ways_lead_no_further(
    default: bytes, number: int, arguments: tuple[int, ...], answer: int
) -> None:
    assert run(default, number, *arguments, arch=I386) == answer


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has three ways to call")
def test_the_x32_ways_lead_no_further(default: bytes) -> None:
    assert run(default, X32 | READ) == ALLOW
    for number, *arguments in ((UNSHARE,), (MOUNT,), (SOCKET, 38), (SOCKET, 40 + 2**32), (321,)):
        assert run(default, X32 | number, *arguments) == ERRNO | errno.EPERM, number


def test_capabilities_bring_their_calls() -> None:
    program = seccomp.compile_default((*capabilities.DEFAULT, "SYS_ADMIN"))

    for number in (UNSHARE, MOUNT, CLONE3):
        assert run(program, number) == ALLOW
    assert run(program, CLONE, 0x10000000) == ALLOW


def test_profile_files_are_understood() -> None:
    document = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {
                "names": ["socket", "of_no_such_kernel"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 1,
                "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}],
            },
            {"name": "mount", "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["unshare"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_BPF"]}},
        ],
    }
    rules, default = seccomp.parse_profile(document, ("CHOWN",))
    program = seccomp.compile_rules(rules, default)

    assert rules[0] == Rule(("socket", "of_no_such_kernel"), "ERRNO", 1, (Condition(0, "EQ", 16),))
    assert run(program, SOCKET, 16) == ERRNO | 1
    assert run(program, SOCKET, 2) == ALLOW
    assert run(program, MOUNT) == ERRNO | errno.EPERM
    assert run(program, UNSHARE) == ALLOW


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({}, "not a seccomp profile"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, '"SCMP_ACT_NOTIFY" is not supported'),
        ({"defaultAction": 3}, "not a seccomp profile"),
    ],
)
def test_what_is_no_profile_is_refused(document: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        seccomp.parse_profile(document, ())
