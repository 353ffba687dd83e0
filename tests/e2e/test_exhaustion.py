"""What runs out: descriptors of daemon and shim, a disk that takes no writes. One line says so, and all heals."""

import json
import os
import resource
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.e2e.instance import Instance, wait_until
from tests.e2e.leftovers import wait_nothing_left
from tests.e2e.pods import container, inside, pod, status_of, wait_phase, wait_pod


@contextmanager
def _few_descriptors(pid: int, more: int) -> Iterator[None]:
    """Let a process open at most `more` further files."""
    highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1 + more, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def test_a_shim_without_descriptors_says_so_and_recovers(fresh: Instance) -> None:
    fresh.apply(pod("before"), options=("--until-ready",))
    with _few_descriptors(fresh.shim_pid(), 2):
        fresh.apply(pod("victim"))
        wait_until(
            lambda: "oo many open files" in fresh.out("events", "--for", "pod/victim"), "the event"
        )
        assert "Traceback" not in fresh.out("describe", "pod", "victim")
        done = fresh.run("exec", "before", "--", "true", check=False, timeout=30)
        assert done.returncode != 0
        assert "oo many open files" in done.stderr
    wait_phase(fresh, "victim", "Running", 40)
    assert inside(fresh, "before", "echo alive") == "alive"
    assert status_of(fresh.get("pod", "before"), "c0")["restartCount"] == 0
    fresh.run("delete", "pod", "before", "victim", "--now")
    wait_nothing_left(fresh)


def test_a_daemon_without_descriptors_recovers(fresh: Instance) -> None:
    fresh.apply(pod("before"), options=("--until-ready",))
    held = []
    with _few_descriptors(fresh.daemon_pid(), 4):
        for _ in range(12):  # connections take the last ones
            held.append(socket.socket(socket.AF_UNIX))
            with suppress(OSError):
                held[-1].connect(str(fresh.layout.api_socket))
        made = json.dumps(pod("victim"))
        with pytest.raises((subprocess.TimeoutExpired, AssertionError)):
            fresh.run("apply", "-f", "-", input=made, timeout=3)
        for each in held:
            each.close()
    fresh.apply(pod("victim"))
    wait_phase(fresh, "victim", "Running", 40)
    assert status_of(fresh.get("pod", "before"), "c0")["restartCount"] == 0
    fresh.run("delete", "pod", "before", "victim", "--now")
    wait_nothing_left(fresh)


def test_a_disk_that_turns_read_only_is_said_and_heals(
    make_instance: Callable[..., Instance],
) -> None:
    instance = make_instance(options=("--backoff-base", "0.1"))
    state = instance.layout.state
    subprocess.run(["mount", "--bind", state, state], check=True)
    try:
        instance.up()
        instance.apply(pod("before"), options=("--until-ready",))
        instance.kill_daemon()
        subprocess.run(["mount", "-o", "remount,bind,ro", state], check=True)
        refused = instance.run("up", check=False)
        assert refused.returncode == 1
        assert "ead-only file system" in refused.stderr
        assert "defect" not in refused.stderr
        assert "Traceback" not in refused.stderr
        subprocess.run(["mount", "-o", "remount,bind,rw", state], check=True)
        instance.up()
        found = wait_pod(instance, "before", lambda p: status_of(p, "c0")["ready"], "the Pod")
        assert status_of(found, "c0")["restartCount"] == 0
        volumes = [{"name": "v", "emptyDir": {}}]
        mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
        instance.apply(pod("after", container("c0", **mounts), volumes=volumes))
        wait_phase(instance, "after", "Running")
        instance.down()
    finally:
        subprocess.run(["umount", "-l", state], check=False)
        instance.remove()
