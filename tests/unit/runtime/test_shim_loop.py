"""The shim's loop, records and small decisions."""

import os
import select
import signal
from collections import Counter
from pathlib import Path

import pytest

from minipod.linux.cgroup import CgroupLayout
from minipod.runtime.shim.__main__ import parse
from minipod.runtime.shim.containers import compute_reason, signal_number
from minipod.runtime.shim.core import Refusal, cgroup_path, identifier
from minipod.runtime.shim.loop import Loop
from minipod.runtime.shim.records import ContainerRecord, RecordFiles, SandboxRecord
from minipod.runtime.shim.recovery import recover

NOWHERE = CgroupLayout()


def test_control_is_served_between_the_turns_of_a_flood() -> None:
    loop, served = Loop(), Counter[str]()
    floods = [os.pipe() for _ in range(8)]
    control = os.pipe()
    for number, (read_end, write_end) in enumerate(floods):
        os.write(write_end, b"x" * 4096)  # never read: ready for ever
        loop.watch_bulk(read_end, lambda _events, name=f"flood{number}": served.update([name]))

    def on_control(_events: int) -> None:
        served["control"] += 1
        loop.running = served["control"] < 40

    os.write(control[1], b"x")
    loop.watch(control[0], select.EPOLLIN, on_control)
    loop.run()
    turns = [served[f"flood{number}"] for number in range(8)]
    assert sum(turns) <= 80  # at most two per turn of the loop
    assert max(turns) - min(turns) <= 2  # and each its share
    for pair in (*floods, control):
        os.close(pair[0])
        os.close(pair[1])


def test_timers_come_in_order_and_can_be_cancelled() -> None:
    loop, seen = Loop(), list[str]()

    def stop() -> None:
        loop.running = False

    loop.call_at(2.0, lambda: seen.append("second"))
    loop.call_at(1.0, lambda: seen.append("first"))
    loop.call_at(1.5, lambda: seen.append("never")).cancel()
    loop.call_at(3.0, stop)
    loop.run()
    assert seen == ["first", "second"]


def test_works_are_done_one_in_a_turn_when_all_else_has_been_served() -> None:
    loop, seen = Loop(), list[str]()
    read_end, write_end = os.pipe()

    def on_readable(_events: int) -> None:
        seen.append(os.read(read_end, 1).decode())

    def first() -> None:
        seen.append("first")
        os.write(write_end, b"x")
        loop.work(lambda: seen.append("its next part"), next_=True)
        loop.work(stop)

    def stop() -> None:
        loop.running = False

    loop.watch(read_end, select.EPOLLIN, on_readable)
    loop.work(first)
    loop.work(lambda: seen.append("second"))
    loop.run()
    assert seen == ["first", "x", "its next part", "second"]
    os.close(read_end)
    os.close(write_end)


def test_a_failing_handler_does_not_end_the_loop(capfd: pytest.CaptureFixture[str]) -> None:
    loop = Loop()

    def fail() -> None:
        raise ZeroDivisionError

    def stop() -> None:
        loop.running = False

    loop.call_at(0, fail)
    loop.call_at(1, stop)
    loop.run()
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", signal.SIGTERM),
        ("term", signal.SIGTERM),
        ("9", 9),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
    ],
)
def test_signals_by_name(name: str, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize("name", ["", "SIGNOTHING", "0", "99", "RTMIN+77", "-9"])
def test_unknown_signals_are_refused(name: str) -> None:
    with pytest.raises(Refusal, match="no signal"):
        signal_number(name)


def test_reasons() -> None:
    assert compute_reason(0, oom_killed=False) == "Completed"
    assert compute_reason(1, oom_killed=False) == "Error"
    assert compute_reason(137, oom_killed=True) == "OOMKilled"


@pytest.mark.parametrize("value", ["", "..", "../x", "a/b", ".hidden", "x" * 200, 7, None])
def test_identifiers_cannot_name_anything_else(value: object) -> None:
    with pytest.raises(Refusal):
        identifier({"id": value}, "id")


@pytest.mark.parametrize("value", ["", "/abs", "a/../b", "a//b", "a/", "..", "a/..", None])
def test_cgroup_paths_cannot_lead_out(value: object) -> None:
    with pytest.raises(Refusal):
        cgroup_path({"cgroup": value}, "cgroup")
    assert cgroup_path({"cgroup": "minipod/pod-1/c.1"}, "cgroup") == "minipod/pod-1/c.1"


def test_options() -> None:
    assert parse(["--root", "/x", "--replace"]) == {"--root": "/x", "--replace": ""}
    assert parse(["--root=/x"]) == {"--root": "/x"}
    with pytest.raises(SystemExit, match="unknown option"):
        parse(["--wrong"])


def records(tmp_path: Path) -> RecordFiles:
    (tmp_path / "shim").mkdir()
    return RecordFiles(tmp_path / "shim")


def test_records_survive_in_their_files(tmp_path: Path) -> None:
    files = records(tmp_path)
    sandbox = SandboxRecord("s", "minipod/s", 1.5, labels={"a": "b"})
    container = ContainerRecord("c", "s", "minipod/s/c", 2.5, tty=True)
    files.write(sandbox)
    files.write(container, {"id": "c"})
    (tmp_path / "shim/containers/torn.json").write_text('{"record": {"id"')
    (tmp_path / "shim/containers/other.json").write_text('{"record": {"id": "other"}}')
    assert files.sandboxes() == [sandbox]
    assert files.containers() == [container]
    assert files.read_spec(container) == {"id": "c"}
    files.remove(container)
    files.remove(container)
    assert files.containers() == []


def test_what_a_dead_shim_left_running_has_ended_unknown(tmp_path: Path) -> None:
    files = records(tmp_path)
    files.write(SandboxRecord("s", "minipod/s", 1.0, pid=1, configured=True))
    files.write(ContainerRecord("lost", "s", "minipod/s/lost", 1.0, state="running", pid=2))
    done = ContainerRecord("done", "s", "minipod/s/done", 1.0)
    done.finish(3.0, 4, "Error")
    files.write(done)
    sandboxes, containers, problems = recover(files, tmp_path, ["minipod-test"], NOWHERE)
    assert problems == []
    assert not sandboxes[0].status()["ready"]
    by_id = {item.id: item for item in containers}
    assert by_id["done"] == done
    lost = by_id["lost"]
    assert (lost.state, lost.exit_code, lost.reason) == ("exited", 137, "ContainerStatusUnknown")
    assert recover(files, tmp_path, ["minipod-test"], NOWHERE)[1] == containers  # repeatable
