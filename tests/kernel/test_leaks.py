"""The leak check sees everything that it is there for."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests import lanes, leaks

pytestmark = pytest.mark.usefixtures("outer_namespace")


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)


@contextmanager
def _undone_by(command: str, *, made: str) -> Iterator[str]:
    try:
        yield made
    finally:
        _run(command)


@contextmanager
def _process(**options: object) -> Iterator[str]:
    with subprocess.Popen(["sleep", "1000"], **options) as process:  # type: ignore[call-overload]
        try:
            yield f"{process.pid} sleep 1000"
        finally:
            process.kill()


@contextmanager
def _contained_process() -> Iterator[str]:
    """A process as in a container: its cgroup tells of it, not its environment."""
    with _cgroup() as cgroup, _process(env={}) as process:
        Path(cgroup, "cgroup.procs").write_text(process.split()[0])
        yield process


@contextmanager
def _mount() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        _run(f"mount -t tmpfs none {directory}")
        with _undone_by(f"umount {directory}", made=f"/ {directory}") as made:
            yield made


@contextmanager
def _network_of_a_process(cgroup: str = "", **options: object) -> Iterator[str]:
    enter = f"echo $$ >{cgroup}/cgroup.procs;" if cgroup else ""
    command = ["unshare", "--net", "sh", "-c", f"{enter} echo; exec sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        try:
            yield os.readlink(f"/proc/{process.pid}/ns/net")
        finally:
            process.kill()


@contextmanager
def _network_of_a_mount() -> Iterator[str]:
    with tempfile.NamedTemporaryFile() as file:
        _run(f"unshare --net={file.name} true")
        with _undone_by(f"umount {file.name}", made=f"net:[{os.stat(file.name).st_ino}]") as made:
            yield made


@contextmanager
def _cgroup() -> Iterator[str]:
    """A cgroup in one of minipod's, which is in somebody else's."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    places = {mount[mount.index("-") + 1]: mount[4] for mount in mounts}
    hierarchy = places.get("cgroup2") or places["cgroup"]
    instance = lanes.note(f"minipod-test-{os.getpid()}")
    directory = Path(hierarchy, f"test-{os.getpid()}", instance, "container")
    directory.mkdir(parents=True)
    try:
        yield str(directory)
    finally:
        for each in (directory, *directory.parents[:2]):
            each.rmdir()


def _link() -> AbstractContextManager[str]:
    _run("ip link add mp-test type bridge")
    return _undone_by("ip link delete mp-test", made="mp-test")


def _route() -> AbstractContextManager[str]:
    _run("ip route add 10.91.0.0/16 dev lo")
    return _undone_by("ip route delete 10.91.0.0/16", made="lo 00005B0A ")  # the last byte first


def _table() -> AbstractContextManager[str]:
    _run("nft add table inet minipod-test")
    return _undone_by("nft delete table inet minipod-test", made="table inet minipod-test")


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("processes", _process),
        ("processes", _contained_process),
        ("mounts", _mount),
        ("network_namespaces", _network_of_a_process),
        ("network_namespaces", _network_of_a_mount),
        ("cgroups", _cgroup),
        ("links", _link),
        ("routes", _route),
        ("nft_tables", _table),
    ],
)
def test_what_is_left_is_seen_and_seen_to_be_gone(
    kind: str, make: Callable[[], AbstractContextManager[str]]
) -> None:
    def seen() -> bool:
        return any(each.startswith(made) for each in getattr(leaks.look(), kind))

    before = leaks.look()
    with make() as made:
        assert seen()
        assert kind in leaks.look().leaked_since(before)
    deadline = time.monotonic() + 10
    while seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # the kernel tells nobody when it has freed a namespace


def test_what_another_run_has_noted_is_no_leak_and_what_nobody_has_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lanes.RUN, str(tmp_path / "first"))
    before = leaks.look()
    with _cgroup() as cgroup, _network_of_a_process(cgroup, env={}) as network:

        def seen() -> tuple[bool, bool]:
            left = leaks.look().leaked_since(before)
            return cgroup in left.get("cgroups", []), network in left.get("network_namespaces", [])

        assert seen() == (True, True)
        monkeypatch.setenv(lanes.RUN, str(tmp_path / "last"))
        assert seen() == (False, False)
        (note,) = tmp_path.glob("first/noted/*")
        note.unlink()
        assert seen() == (True, True)


def test_another_runs_process_is_no_leak_and_neither_is_its_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = leaks.look()
    with _network_of_a_process() as network:
        assert network in leaks.look().leaked_since(before)["network_namespaces"]
        monkeypatch.setenv(lanes.RUN, "another")
        left = leaks.look().leaked_since(before)
    assert network not in left.get("network_namespaces", [])


def test_a_network_that_another_run_visited_was_there_before() -> None:
    def visit(pid: str) -> subprocess.Popen[bytes]:
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-c", "echo; exec sleep 1000"]
        another = {**os.environ, lanes.RUN: "another"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=another)

    with _network_of_a_process() as network:
        (pid,) = [each.pid for each in leaks.find_processes() if each.network == network]
        with visit(str(pid)) as visitor:
            assert visitor.stdout
            visitor.stdout.readline()
            before = leaks.look()
            visitor.kill()
        assert network not in leaks.look().leaked_since(before).get("network_namespaces", [])


def test_a_sessions_fixtures_are_seen_to_come_and_go(request: pytest.FixtureRequest) -> None:
    told = request.session.ihook.pytest_fixture_setup.get_hookimpls()
    assert "WiderFixtures" in {type(each.plugin).__name__ for each in told}
