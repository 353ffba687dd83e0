"""A daemon killed between two steps, and the next one: the same Pods, nothing twice, nothing left over."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from minipod import fault
from minipod.node.faults import CREATION, DELETION
from tests.unit.node.pods import NODE, World, container, make_pod, world


class Killed(BaseException):
    """Stands for SIGKILL: not an Exception, so that nothing handles it."""


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the daemon die at a fault point: no later step of that Pod runs."""

    def choose(name: str) -> None:
        monkeypatch.setattr(fault, "_armed", name)
        monkeypatch.setattr(fault, "_remaining", 1)

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (os.getpid(), signal.SIGKILL)
        fault._armed = ""
        raise Killed

    monkeypatch.setattr(os, "kill", kill)
    return choose


async def crash(made: World) -> None:
    """Stop everything as it stands, without any goodbye."""
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def live_until_killed(root: Path, act: Callable[[World], object]) -> World:
    async with world(root) as made:
        await act(made)
        await made.settle()
        assert fault._armed == "", "the fault point was not reached"
        await crash(made)
        return made


async def create_whole(made: World) -> None:
    """Ask for a Pod that passes every point: with a volume in memory, and an init container that is over at once."""
    made.runtime.exits_at_once["init"] = 0
    volumes = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
    whole = make_pod("web", initContainers=[container("init")], volumes=volumes)
    await made.api.client().create("pods", "default", whole)


@pytest.mark.parametrize("name", CREATION)
def test_a_pod_half_made_is_finished_by_the_next_daemon(tmp_path, arm, name):
    async def scene() -> None:
        arm(name)
        old = await live_until_killed(tmp_path, create_whole)
        async with world(tmp_path, old=old) as made:
            assert made.runtime.running() == ["app"]
            assert made.status()["phase"] == "Running"
            assert made.status()["containerStatuses"][0]["restartCount"] == 0
            assert list(made.addresses.held) == ["uid-web"]

    asyncio.run(scene())


@pytest.mark.parametrize("name", DELETION)
def test_a_pod_half_ended_is_gone_after_the_next_daemon(tmp_path, arm, name):
    async def act(made: World) -> None:
        await made.create(make_pod())
        arm(name)
        await made.api.client().delete("pods", "default", "web")

    async def scene() -> None:
        old = await live_until_killed(tmp_path, act)
        async with world(tmp_path, old=old) as made:
            assert not made.api.all("pods")
            assert not made.runtime.sandboxes
            assert not made.runtime.containers
            assert not made.addresses.held
            assert not made.images.held

    asyncio.run(scene())


def test_a_restart_touches_nothing_that_runs(tmp_path):
    async def scene() -> None:
        async with world(tmp_path) as old:
            await old.create(make_pod("web", container("one"), container("two")))
        old.runtime.calls.clear()
        async with world(tmp_path, old=old) as made:
            asked = {name for name, _ in made.runtime.calls}
            assert asked == {"state", "limit_pods"}
            assert sorted(made.runtime.running()) == ["one", "two"]

    asyncio.run(scene())


def test_what_ran_before_a_restart_still_takes_its_room(tmp_path):
    port = {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}

    async def scene() -> None:
        async with world(tmp_path) as old:
            await old.create(make_pod("first", container("app", ports=[port])))
        async with world(tmp_path, old=old) as made:
            late = make_pod("late", container("other", ports=[port]), nodeName=NODE)
            await made.create(late)
            assert made.status("late").get("reason") == "NodePorts"
            assert made.runtime.running() == ["app"]

    asyncio.run(scene())


def test_what_ran_before_a_restart_has_a_link_to_its_log(tmp_path):
    async def scene() -> None:
        async with world(tmp_path) as old:
            await old.create(make_pod())
        links = old.config.layout.container_logs
        made_once = [each.name for each in links.iterdir()]
        for each in links.iterdir():  # killed before it was made
            each.unlink()
        async with world(tmp_path, old=old):
            assert [each.name for each in links.iterdir()] == made_once != []

    asyncio.run(scene())


def test_an_exit_while_no_daemon_ran_is_seen_and_counted(tmp_path):
    async def scene() -> None:
        async with world(tmp_path) as old:
            await old.create(make_pod())
        old.runtime.exit("app", 7)
        async with world(tmp_path, old=old) as made:
            status = made.status()["containerStatuses"][0]
            assert status["restartCount"] == 1
            assert status["lastState"]["terminated"]["exitCode"] == 7

    asyncio.run(scene())


def test_a_reboot_restarts_by_policy_and_keeps_counts(tmp_path):
    async def scene() -> None:
        async with world(tmp_path) as old:
            await old.create(make_pod())
            old.runtime.exit("app", 1)
            await old.settle()
            await old.create(make_pod("once", container("job"), restartPolicy="Never"))
        old.runtime.sandboxes.clear()
        old.runtime.containers.clear()
        async with world(tmp_path, old=old) as made:
            assert made.runtime.running() == ["app"]
            assert made.status()["containerStatuses"][0]["restartCount"] == 2
            assert made.status("once")["phase"] == "Failed"

    asyncio.run(scene())


def test_what_runs_for_no_pod_is_ended(tmp_path):
    async def scene() -> None:
        async with world(tmp_path) as old:
            await old.create(make_pod())
        await old.api.client().delete("pods", "default", "web", grace_period_seconds=0)
        logs = old.config.log_directory("default", "web", "uid-web")
        logs.mkdir(parents=True)
        async with world(tmp_path, old=old) as made:
            assert not made.runtime.sandboxes
            assert not made.runtime.containers
            assert not made.addresses.held
            assert not logs.exists()

    asyncio.run(scene())


def test_leftovers_of_unknown_pods_are_removed(tmp_path):
    from minipod.runtime.operations import RemoveTree, Unmount

    def litter(made: World) -> None:
        made.addresses.allocate("uid-old")
        made.images.held["uid-old.app"] = "sha256:x"
        made.config.pod_directory("uid-old").mkdir(parents=True)

    async def scene() -> None:
        async with world(tmp_path, before=litter) as made:
            path = str(made.config.pod_directory("uid-old"))
            assert Unmount(path) in made.runtime.performed
            assert RemoveTree(path) in made.runtime.performed
            assert not made.addresses.held
            assert not made.images.held

    asyncio.run(scene())


def test_a_finished_pod_is_not_run_again(tmp_path):
    async def scene() -> None:
        async with world(tmp_path) as old:
            await old.create(make_pod("web", container(), restartPolicy="Never"))
            old.runtime.exit("app")
            await old.settle()
        old.runtime.calls.clear()
        async with world(tmp_path, old=old) as made:
            assert "run_sandbox" not in {name for name, _ in made.runtime.calls}
            assert made.status()["phase"] == "Succeeded"

    asyncio.run(scene())
