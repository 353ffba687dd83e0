"""The device program, run by a small interpreter of the few instructions that it may have."""

import struct

import pytest

from minipod.linux.devices import DEFAULT_RULES, DeviceRule, assemble

READ, WRITE, MKNOD = 2, 4, 1
BLOCK, CHAR = 1, 2


def allows(program: bytes, access: int, kind: int, major: int, minor: int) -> bool:
    """Run a program as the kernel would; anything but these instructions is a failure."""
    context = struct.pack("<3I", access << 16 | kind, major, minor)
    registers, position = [0] * 11, 0
    while True:
        code, pair, offset, value = struct.unpack_from("<BBhi", program, position * 8)
        target, source = pair & 15, pair >> 4
        position += 1
        match code:
            case 0x61:
                registers[target] = struct.unpack_from("<I", context, offset)[0]
            case 0xBF:
                registers[target] = registers[source]
            case 0xB7:
                registers[target] = value
            case 0x77:
                registers[target] >>= value
            case 0x57:
                registers[target] &= value
            case 0x55:
                position += offset if registers[target] != value else 0
            case 0x95:
                return registers[0] == 1
            case _:
                raise AssertionError(f"instruction {code:#x}")


@pytest.mark.parametrize(
    ("access", "kind", "major", "minor", "expected"),
    [
        (READ | WRITE, CHAR, 1, 3, True),  # /dev/null
        (READ | WRITE, CHAR, 136, 7, True),  # a terminal
        (READ, CHAR, 5, 2, True),
        (READ, CHAR, 1, 11, False),  # the kernel's log
        (READ, CHAR, 1, 1, False),  # memory
        (READ, BLOCK, 1, 3, False),
        (READ, BLOCK, 254, 0, False),  # a disk
        (WRITE, BLOCK, 8, 0, False),
        (MKNOD, BLOCK, 8, 0, True),
        (MKNOD | READ, BLOCK, 8, 0, False),
        (MKNOD, CHAR, 10, 200, True),
        (READ, CHAR, 10, 200, False),  # tun
    ],
)
def test_the_default_is_the_oci_runtime_specs(
    access: int, kind: int, major: int, minor: int, expected: bool
) -> None:
    assert allows(assemble(DEFAULT_RULES), access, kind, major, minor) is expected


def test_no_rule_allows_nothing() -> None:
    assert not allows(assemble(()), READ, CHAR, 1, 3)


def test_a_rule_may_allow_some_access_only() -> None:
    program = assemble((DeviceRule("c", 10, None, "r"), DeviceRule("c", 10, 5, "rw")))

    assert allows(program, READ, CHAR, 10, 1)
    assert not allows(program, READ | WRITE, CHAR, 10, 1)
    assert allows(program, READ | WRITE, CHAR, 10, 5)


def test_rules_are_written_as_v1_has_them() -> None:
    assert DeviceRule("c", 136, None).text() == "c 136:* rwm"
    assert DeviceRule("b", None, None, "m").text() == "b *:* m"
