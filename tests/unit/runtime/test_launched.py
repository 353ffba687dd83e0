"""What a process says on its way to its program: taken only as far as it can be true."""

import struct

import pytest

from minipod.runtime import machine
from minipod.runtime.launched import _tells_failure


@pytest.mark.parametrize(
    ("address", "number", "believed"),
    [
        (machine.LATE_CODE, 2, True),
        (machine.LATE_CODE, 0, False),
        (machine.LATE_CODE, 4096, False),
        (machine.LATE_CODE, 2**63, False),
        (1, 2, False),
    ],
)
def test_only_an_errors_number_is_one(address: int, number: int, believed: bool) -> None:
    assert _tells_failure(struct.pack("<QQ", address, number)) is believed


def test_a_message_of_another_length_is_none() -> None:
    assert not _tells_failure(bytes(8))
