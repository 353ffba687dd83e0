"""The pause: a complete static program of under 400 bytes, executed from a sealed memory file.

It blocks SIGTERM, SIGINT and SIGCHLD and waits for them: a child's end makes it reap (with a shared PID namespace it
is PID 1 there), the other two make it leave. It reads nothing, opens nothing and allocates nothing. Its file is no file
of the host's, cannot be changed by anybody, and cannot be read by the user it runs as, which is what makes the kernel
refuse to let that user trace it (prctl(2), PR_SET_DUMPABLE).
"""

import functools
import struct

from minipod.runtime import elf

_X86_64 = bytes.fromhex(
    "b89d000000 bf04000000 31f6 0f05"  # prctl(PR_SET_DUMPABLE, 0)
    "b89d000000 bf0f000000 488d3569000000 0f05"  # prctl(PR_SET_NAME, name)
    "b80e000000 31ff 488d3551000000 31d2 41ba08000000 0f05"  # rt_sigprocmask(SIG_BLOCK, set, 0, 8)
    # wait:
    "b880000000 488d3d3b000000 31f6 31d2 41ba08000000 0f05"  # eax = rt_sigtimedwait(set, 0, 0, 8)
    "83f811 740d"  # if eax == SIGCHLD: goto reap
    "85c0 78df"  # if eax < 0: goto wait (interrupted)
    "b8e7000000 31ff 0f05"  # exit_group(0)
    # reap:
    "b83d000000 bfffffffff 31f6 ba01000000 4531d2 0f05"  # eax = wait4(-1, 0, WNOHANG, 0)
    "85c0 7fe6"  # if eax > 0: goto reap
    "ebba 90"  # goto wait; padding
)
_AARCH64 = b"".join(
    struct.pack("<I", instruction)
    for instruction in (
        *(0xD28014E8, 0xD2800080, 0xD2800001, 0xD4000001),  # prctl(PR_SET_DUMPABLE, 0)
        *(0xD28014E8, 0xD28001E0, 0x10000401, 0xD4000001),  # prctl(PR_SET_NAME, name)
        *(0xD28010E8, 0xD2800000, 0x10000341),  # rt_sigprocmask(SIG_BLOCK, set,
        *(0xD2800002, 0xD2800103, 0xD4000001),  # 0, 8)
        # wait:
        *(0xD2801128, 0x100002A0, 0xD2800001),  # w0 = rt_sigtimedwait(set, 0,
        *(0xD2800002, 0xD2800103, 0xD4000001),  # 0, 8)
        *(0x7100441F, 0x540000A0),  # if w0 == SIGCHLD: goto reap
        0x37FFFF00,  # if w0 < 0: goto wait (interrupted)
        *(0xD2800BC8, 0xD2800000, 0xD4000001),  # exit_group(0)
        # reap:
        *(0xD2802088, 0x92800000, 0xD2800001),  # w0 = wait4(-1, 0,
        *(0xD2800022, 0xD2800003, 0xD4000001),  # WNOHANG, 0)
        *(0x7100001F, 0x54FFFF2C),  # if w0 > 0: goto reap
        *(0x17FFFFEC, 0xD503201F),  # goto wait; padding
    )
)
_DATA = struct.pack("<Q", 1 << 1 | 1 << 14 | 1 << 16) + b"pause\0"  # set: INT, TERM, CHLD; name


def program(machine: str | None = None) -> bytes:
    """Return the pause as an ELF executable for `machine` (this one's). ValueError for one it is not written for."""
    codes = {"x86_64": _X86_64, "aarch64": _AARCH64}
    return elf.executable("pause", codes, _DATA, machine)


@functools.cache
def descriptor() -> int:
    """Return this process's descriptor of the pause."""
    return elf.executable_file("pause", program())
