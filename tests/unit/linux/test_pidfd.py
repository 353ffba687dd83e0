"""A process that is gone, as kernels of different ages tell of it."""

import errno
import os

import pytest

from minipod.linux.process import pidfd_open


@pytest.mark.parametrize("number", [errno.ESRCH, errno.EINVAL])
def test_one_that_has_been_waited_for_is_gone(monkeypatch, number):
    """EINVAL: before Linux 6.15, while its session or group lives on."""

    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(ProcessLookupError):
        pidfd_open(4711)


def test_a_number_that_is_no_process_is_refused():
    with pytest.raises(OSError, match="Invalid argument"):
        pidfd_open(-1)
