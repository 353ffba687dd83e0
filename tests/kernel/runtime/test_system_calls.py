"""The default system call filter as programs meet it, in each of the three ways of calling that x86-64 has."""

import errno
import platform
from dataclasses import replace

import pytest

from minipod.linux import capabilities, seccomp
from tests.kernel.runtime.programs import X32, one_call
from tests.kernel.runtime.world import SECURITY, World

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has three ways to call"),
]

NEW_USER_NAMESPACE, NO_RANDOMIZE, NO_FILE = 0x10000000, 0x40000, 0xFFFFFFFF
# name: number, number of the 32-bit call, first argument. Without a filter none of these fails with EPERM.
REFUSED = {
    "unshare": (272, 310, NEW_USER_NAMESPACE),
    "setns": (308, 346, NO_FILE),
    "keyctl": (250, 288, 0),
    "add_key": (248, 286, 0),
    "request_key": (249, 287, 0),
    "io_uring_setup": (425, 425, 1),
    "personality": (135, 136, NO_RANDOMIZE),
    "get_mempolicy": (239, 275, 0),
    "set_mempolicy": (238, 276, 0),
    "move_pages": (279, 317, 0),
    "migrate_pages": (256, 294, 0),
    "perf_event_open": (298, 336, 0),
    "socket-alg": (41, 359, 38),
    "socket-vsock": (41, 359, 40),
}
ALLOWED = {"getuid": (102, 199, 0), "socket-unix": (41, 359, 1)}
SOCKETCALL, SYS_SOCKET = 102, 1


def make_programs(world: World) -> list[str]:
    """Put a program for each call and way into the image; return their names."""
    programs = {f"64-socket-vsock-{high}": one_call(41, 40 + (1 << high)) for high in (32, 63)}
    programs["32-socketcall"] = one_call(SOCKETCALL, SYS_SOCKET, bits=32)
    for name, (number, number_32, argument) in {**REFUSED, **ALLOWED}.items():
        programs[f"64-{name}"] = one_call(number, argument)
        programs[f"32-{name}"] = one_call(number_32, argument, bits=32)
    for name in ("unshare", "keyctl", "socket-alg"):
        number, _, argument = REFUSED[name]
        programs[f"x32-{name}"] = one_call(X32 | number, argument)
    directory = world.layer / "calls"
    directory.mkdir()
    for name, content in programs.items():
        (directory / name).write_bytes(content)
        (directory / name).chmod(0o755)
    return sorted(programs)


def run_all(world: World, profile: bytes | None) -> dict[str, int]:
    """Run every program in a container; return its error number by name."""
    script = "cd /calls; for call in *; do ./$call; echo $call $?; done"
    security = replace(SECURITY, seccomp=profile)
    finished = world.run(
        "sh", "-c", script, security=security, name="filtered" if profile else "free"
    )
    return {name: int(code) for name, code in (line.split() for line in finished.lines())}


def test_dangerous_calls_are_refused_in_every_way(pod: World) -> None:
    names = make_programs(pod)
    filtered = run_all(pod, seccomp.compile_default(capabilities.DEFAULT))

    assert sorted(filtered) == names
    for name, code in filtered.items():
        if name == "32-socketcall":
            assert code == errno.ENOSYS
        elif name.partition("-")[2] in ALLOWED:
            assert code not in (errno.EPERM, errno.ENOSYS), name
        else:
            assert code == errno.EPERM, name

    free = run_all(pod, None)
    refused = [name for name in free if name.partition("-")[2] in REFUSED and name[0] != "x"]
    assert {name: free[name] for name in refused if free[name] == errno.EPERM} == {}
