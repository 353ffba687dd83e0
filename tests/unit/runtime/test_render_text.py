"""What a rendered script says, without running it."""

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from minipod.runtime import render_commands
from minipod.runtime.child_operations import (
    ChangeDirectory,
    Clone,
    Exec,
    ExecPause,
    JoinNamespaces,
    LimitCapabilities,
    LoadSeccomp,
    NewSession,
    OpenTerminal,
    PivotRoot,
    SetCapabilities,
    SetNoNewPrivileges,
    SetUser,
    Unshare,
)
from minipod.runtime.operations import (
    CheckHostPath,
    KeepOnly,
    MakeDirectory,
    MakeSymlink,
    MountLayers,
    MountTmpfs,
    Operation,
    RemoveCgroup,
    RemoveTree,
    Unmount,
    WriteFile,
    kinds,
)
from minipod.runtime.plan import (
    HostFacts,
    compute_container_plan,
    compute_network_removal,
    compute_sandbox_plan,
)
from minipod.runtime.render import render
from minipod.runtime.render_commands import Context, commands
from minipod.runtime.render_program import Program, program_commands
from minipod.runtime.spec import User
from tests.unit.runtime.plans import CONTAINER, POD, SANDBOX, V1, V2

PLAN = (
    *compute_sandbox_plan(SANDBOX, V2),
    *compute_container_plan(CONTAINER, POD, V2),
    *compute_network_removal(SANDBOX),
)


@pytest.mark.parametrize("host", [V1, V2])
def test_is_valid_shell(host: HostFacts) -> None:
    text = render(PLAN, host.cgroups)

    subprocess.run(["sh", "-n"], input=text, text=True, check=True, timeout=10)


def test_every_step_is_numbered_once() -> None:
    text = render(PLAN, V2.cgroups)

    numbers = [int(found[1]) for found in re.finditer(r"^# (\d+)\. \[", text, re.MULTILINE)]
    assert sorted(numbers) == list(range(1, len(PLAN) + 1))


def test_network_is_said_in_ip_and_nft() -> None:
    text = render(PLAN, V2.cgroups)

    assert 'peer name eth0 mtu 1500 netns "$pause_pid"' in text
    assert 'nsenter --target "$pause_pid" --net ip route add default via 10.85.0.1' in text
    assert "add element inet minipod ports { tcp . 8001 : 10.85.0.7 . 8080 }" in text
    guard = "sources { veth123 . 0a:58:0a:55:00:07 . 10.85.0.7 }"
    assert f"add element bridge minipod {guard}" in text
    assert "link set eth0 address 0a:58:0a:55:00:07" in text


def test_what_a_shell_cannot_say_is_said_in_a_comment() -> None:
    text = render(PLAN, V2.cgroups)

    assert "# a shell cannot load a seccomp filter (2 instructions)" in text
    assert "# supervision, log pipes and exit codes are the shim's" in text


@pytest.mark.parametrize("line", ["END", "END_", "# x\nEND"])
def test_no_argument_ends_the_script_of_its_process(line: str) -> None:
    """What follows the end of a here document runs outside, as root on the host."""
    args = ("sh", "-c", f"cat <<END\n{line}\ntouch /outside\n")
    plan = compute_container_plan(replace(CONTAINER, args=args), POD, V2)
    text = render(plan, V2.cgroups)
    ends = re.findall(r"^cat >.* <<'(.*)'$", text, re.MULTILINE)
    rest = text
    for end in ends:
        rest = rest.partition(f"<<'{end}'\n")[2].partition(f"\n{end}\n")[2]
    assert "/outside" not in rest


@pytest.mark.parametrize(
    "user", ["$(touch made)", '";touch made;"', "`touch made`", "'; touch made; '"]
)
def test_no_user_of_an_image_is_taken_for_shell(user: str, tmp_path: Path) -> None:
    lines = program_commands(SetUser(User(name=user)), Program(), Context(V2.cgroups))
    assert lines is not None
    subprocess.run(["sh", "-c", "\n".join(lines)], cwd=tmp_path, check=False, capture_output=True)
    assert not list(tmp_path.iterdir())


WORDS = ["; rm -rf /", "$(reboot)", "`reboot`", "it's", 'a"b', "$HOME", "$pause_pid", "a\nb"]


@pytest.mark.parametrize("word", WORDS)
def test_no_content_is_taken_for_shell(word: str) -> None:
    """Whatever a manifest says reaches a command as it is."""
    command = commands(WriteFile("/nowhere", word), Context(V2.cgroups))[0].rpartition(" >")[0]

    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert said.stdout == word


@pytest.mark.parametrize("word", WORDS)
def test_no_argument_is_taken_for_shell(word: str) -> None:
    lines = program_commands(Exec(("echo", word), (f"A={word}",)), Program(), Context(V2.cgroups))
    assert lines is not None
    words = shlex.split("\n".join(lines[2:]))

    assert words[-1] == word
    assert f"A={word}" in words


@pytest.mark.parametrize(
    ("operation", "lines"),
    [
        (MakeDirectory("/a b", 0o700), ["mkdir -p '/a b' && chmod 700 '/a b'"]),
        (MakeSymlink("/a", "b c"), ["ln -sfn 'b c' /a"]),
        (RemoveTree("/a"), ["rm -rf --one-file-system /a"]),
        (
            KeepOnly("/a", ("..data", "b c")),
            [
                "find /a -xdev -mindepth 1 -maxdepth 1 ! -name ..data ! -name 'b c' -exec rm -rf {} +"
            ],
        ),
        (Unmount("/a"), ["! mountpoint -q /a || umount -R /a"]),
        (CheckHostPath("/a", "Socket"), ["[ -S /a ]"]),
        (CheckHostPath("/a", "DirectoryOrCreate"), ["mkdir -p /a"]),
        (
            MountLayers("/a", ("/b:c", "/d")),
            [
                "mkdir -p /a",
                "mountpoint -q /a || mount -t overlay -o 'ro,nosuid,nodev,lowerdir=/b\\:c:/d:/a' overlay /a",
            ],
        ),
        (
            MountTmpfs("/a", 100, 0o1777, 1, 2),
            [
                "mkdir -p /a",
                "mountpoint -q /a || "
                "mount -t tmpfs -o nosuid,nodev,mode=1777,uid=1,gid=2,size=100 tmpfs /a",
            ],
        ),
        (
            RemoveCgroup("x"),
            ["echo 1 >/cg/x/cgroup.kill", "find /cg/x -depth -type d -exec rmdir {} +"],
        ),
    ],
)
def test_host_operations(operation: Operation, lines: list[str]) -> None:
    assert commands(operation, Context(V2.cgroups)) == lines


PROCESS_STEPS = {  # what render and render_program say themselves
    *(Clone, JoinNamespaces, Unshare, PivotRoot, NewSession, OpenTerminal, ChangeDirectory),
    *(LimitCapabilities, SetUser, SetCapabilities, SetNoNewPrivileges, LoadSeccomp),
    *(Exec, ExecPause),
}


def test_no_operation_is_without_its_shell() -> None:
    ours = {kind for kind in kinds().values() if kind.__module__.startswith("minipod.")}

    assert ours - PROCESS_STEPS == set(render_commands.COMMANDS)
