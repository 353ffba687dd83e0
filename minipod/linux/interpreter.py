"""Keeps this program's own file out of reach of the containers it starts (CVE-2019-5736).

A container that sees a process of ours can execute its /proc/PID/exe ("#!/proc/self/exe", in an image, is the classical
way), open what it executes, and write to it once nobody executes it any more. What minipod puts into containers is no
file of the host's (runtime/machine.py); this is the second wall: whoever starts containers executes itself through a
private read-only mount first.
The mount belongs to no namespace, costs no memory, and goes with the process; through it not even root can write.
"""

import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from minipod.linux.mount import MOUNT_ATTR_RDONLY, mount_setattr, open_tree

EXECUTABLE = "/proc/self/exe"


def is_protected() -> bool:
    """Tell whether this process's own executable lies on a read-only mount."""
    descriptor = os.open(EXECUTABLE, os.O_PATH | os.O_CLOEXEC)
    try:
        return bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)
    finally:
        os.close(descriptor)


def execute_protected(arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by the program `arguments[0]` (a path), executed through a read-only mount of it.

    For Python that is `sys.executable`, by which it finds its libraries. Open descriptors are kept as in execve(2).
    OSError where the kernel refuses (CAP_SYS_ADMIN is needed).
    """
    tree = open_tree(os.path.realpath(arguments[0]))
    mount_setattr(tree, attributes=MOUNT_ATTR_RDONLY)
    os.execve(tree, list(arguments), environment)
