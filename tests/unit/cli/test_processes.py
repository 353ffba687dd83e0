"""Starting, finding and ending processes; `up`, `down` and `status` without a real daemon; the systemd units."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from minipod.cli.commands.install_units import UNITS, unit
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.processes import listener, start_detached, stop
from tests.fakes.apiserver import FakeApiServer
from tests.unit.cli.conftest import Minipod, pod

PROGRAMS = {
    "program_ready": "import os, signal; os.write(int(os.environ['MINIPOD_READY_FD']), b'1'); signal.pause()",
    "program_flag": "import os, signal, sys; os.write(int(sys.argv[-1]), b'1'); signal.pause()",
    "nftables": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "program_rules": "import faulthandler; faulthandler.enable(); import nftables",
    "program_crashes": "import faulthandler, os; faulthandler.enable(); os.abort()",
    "program_dies": "import sys; print('no room at the inn', file=sys.stderr); sys.exit(3)",
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in PROGRAMS.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.parametrize(("program", "flag"), [("program_ready", ""), ("program_flag", "--ready")])
def test_a_detached_program_outlives_its_start(
    programs: None, root: Path, program: str, flag: str
) -> None:
    pid = start_detached(
        Invocation(root=str(root)), program, [], root / "log" / "x.log", ready_flag=flag
    )
    try:
        assert os.getsid(pid) == pid
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert b"--root" in arguments
    finally:
        stop(pid, 5, lambda: None)
        os.waitpid(pid, 0)


def test_a_program_that_dies_is_quoted(programs: None, root: Path) -> None:
    log = root / "log" / "x.log"
    log.parent.mkdir()
    log.write_text("of an earlier run\n")
    with pytest.raises(CliError) as caught:
        start_detached(Invocation(root=str(root)), "program_dies", [], log)
    assert caught.value.message == (
        f'it ended before it was ready (exit code 3); "{log}" says:\nno room at the inn'
    )


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("program_rules", "it crashed (signal 11) in libnftables: "),
        ("program_crashes", "it crashed (signal 6); "),
    ],
)
def test_a_program_that_crashes_is_one_line(
    programs: None, root: Path, program: str, said: str
) -> None:
    log = root / "log" / "x.log"
    with pytest.raises(CliError) as caught:
        start_detached(Invocation(root=str(root)), program, [], log)
    message = caught.value.message
    assert message.startswith(said)
    assert message.endswith(f'"{log}" tells where')
    assert len(message.splitlines()) == 1


def test_the_listener_of_a_socket(root: Path) -> None:
    path = root / "x.sock"
    assert listener(path) is None
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as sock:
            sock.bind(str(path))
            sock.listen()
            assert listener(path) == os.getpid()
        assert listener(path) is None
        path.unlink()


def test_stopping_waits_for_the_end_and_gives_up_in_time() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        stop(process.pid, 5, lambda: None)
        assert process.wait() == -signal.SIGTERM
    stop(process.pid, 5, lambda: None)  # gone already
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(CliError, match=r"has not ended 0 s after SIGTERM; it is left alone"):
            stop(process.pid, 0.05, lambda: None)
        process.kill()


def test_up_twice_says_so(server: FakeApiServer, minipod: Minipod) -> None:
    assert minipod("up").out == f"minipod is up already (process {os.getpid()})\n"


def test_down_without_anything_is_no_error(minipod: Minipod) -> None:
    assert minipod("down").out == "minipod is not up\n"
    assert minipod("down", "--pods").out == "minipod is not up\n"


def test_up_and_down_need_root(
    minipod: Minipod, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for verb in ("up", "down", "daemon", "shim"):
        err = minipod(verb).err
        assert err.startswith(f"error: minipod {verb} needs root")
        assert err.endswith(f"try: sudo minipod --root {root} {verb}\n")


def test_status(server: FakeApiServer, minipod: Minipod, root: Path) -> None:
    server.put("pods", pod())
    server.put("nodes", {"metadata": {"name": "me"}, "status": pod()["status"]})
    ended = minipod("status")
    assert ended.code == 0
    assert f"daemon    up, process {os.getpid()}, version v1.36.0+fake\n" in ended.out
    assert "node      me (Ready)\npods      1 Running\n" in ended.out
    assert '"up": true' in minipod("status", "-o", "json").out


def test_status_of_nothing(root: Path, minipod: Minipod) -> None:
    ended = minipod("status")
    assert ended.code == 1
    assert f"daemon    not up; try: sudo minipod --root {root} up\n" in ended.out


@pytest.mark.parametrize("name", UNITS)
def test_units_name_this_program(name: str) -> None:
    text = unit(name, "/opt/minipod/bin/minipod")
    assert "ExecStart=/opt/minipod/bin/minipod " in text
    assert "@" not in text
    assert "KillMode=process" in text


def test_install_units(minipod: Minipod, tmp_path: Path) -> None:
    ended = minipod("install-units", f"--directory={tmp_path}")
    assert ended.code == 0
    assert ended.out.endswith(
        "next: systemctl daemon-reload && systemctl enable --now minipod-shim minipod\n"
    )
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(UNITS)
    assert minipod("install-units", "--directory=/no/such").code == 1


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        (tmp_path / name).write_text(unit(name, "/bin/true"))
    (tmp_path / "minipod.slice").write_text("[Slice]\n")
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in UNITS)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    problems = [line for line in ended.stderr.splitlines() if "minipod" in line]
    assert problems == []


PROXY = "/api/v1/nodes/me/proxy/minipod"


@pytest.fixture
def node(server: FakeApiServer) -> FakeApiServer:
    """A server with a node and a Pod on it."""
    server.put("nodes", {"metadata": {"name": "me"}})
    made = pod()
    made["spec"]["nodeName"] = "me"  # type: ignore[index]
    server.put("pods", made)
    return server


def test_plan_asks_the_node(node: FakeApiServer, minipod: Minipod, tmp_path: Path) -> None:
    node.answers[f"{PROXY}/plan"] = (200, b"#!/bin/sh\n")
    path = tmp_path / "pod.yaml"
    path.write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: other}\nspec: {}\n")
    assert minipod("plan", "-f", str(path)).out == "#!/bin/sh\n"
    sent = next(each for each in node.writes() if each.path.endswith("/plan"))
    assert sent.body["metadata"]["name"] == "other"
    assert ("pods", "default", "other") not in node.objects
    assert minipod("plan", "pod/nginx").out == "#!/bin/sh\n"
    assert minipod("plan").err == "error: give either -f FILE or the name of a Pod\n"


def test_inspect_asks_the_node(node: FakeApiServer, minipod: Minipod) -> None:
    facts = {
        "host": {"namespaces": {"net": "net:[1]", "user": "user:[9]"}},
        "cgroup": {"path": "/minipod/x"},
        "sandboxes": [{"id": "s", "pid": 5, "namespaces": {"net": "net:[2]", "user": "user:[9]"}}],
        "containers": [
            {
                "id": "c",
                "name": "app",
                "pid": 7,
                "namespaces": {"net": "net:[2]", "user": "user:[9]", "mnt": "mnt:[3]"},
                "mounts": ["/proc proc proc rw"],
                "processes": [{"pid": 7, "command": "sleep 9"}],
            }
        ],
    }
    node.answers[f"{PROXY}/inspect/default/nginx"] = (200, json.dumps(facts).encode())
    lines = [line.split() for line in minipod("inspect", "pod/nginx").out.splitlines()]
    assert ["net:", "net:[2]", "the", "Pod's"] in lines
    assert ["user:", "user:[9]", "the", "host's"] in lines
    assert ["mnt:", "mnt:[3]", "its", "own"] in lines
    assert ["Process", "7:", "sleep", "9"] in lines
    assert minipod("inspect", "pod/nginx", "-o", "json").out.startswith('{\n    "cgroup": {')


def test_trace_asks_the_node(node: FakeApiServer, minipod: Minipod) -> None:
    steps = [
        {"where": "shim", "summary": "clone the pause process", "duration_us": 1200},
        {"where": "daemon", "summary": "add a veth pair", "duration_us": 900, "error": "EEXIST"},
    ]
    trace = {
        "traces": [
            {"title": "sandbox", "steps": steps},
            {"title": "container app", "steps": steps[:1]},
        ]
    }
    node.answers[f"{PROXY}/trace/default/nginx"] = (200, json.dumps(trace).encode())
    assert minipod("trace", "pod/nginx").out == (
        "MICROSECONDS   WHERE    OPERATION\n"
        "sandbox:\n"
        "        1200   shim     clone the pause process\n"
        "         900   daemon   add a veth pair (failed: EEXIST)\n"
        "container app:\n"
        "        1200   shim     clone the pause process\n"
        "        3300            total of 3 operations\n"
    )
