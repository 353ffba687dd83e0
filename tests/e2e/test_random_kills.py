"""Daemon, shim, pauses and containers are killed at random while Pods come and go: in the end all is as it should be.

Six kills as a rule; MINIPOD_KILLS=100 is what is run before a release, MINIPOD_SEED repeats what a failure names.
"""

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance, wait_until
from tests.e2e.leftovers import wait_nothing_left
from tests.e2e.pods import IDLE, container, pod, status_of

KILLS = int(os.environ.get("MINIPOD_KILLS", "6"))
SEED = int(os.environ.get("MINIPOD_SEED", "0")) or random.randrange(1, 1 << 31)
NAMES = [f"p{number}" for number in range(8)]


def test_random_kills_leave_nothing_wrong(fresh: Instance) -> None:
    chance = random.Random(SEED)
    print(f"MINIPOD_SEED={SEED}", flush=True)
    for _ in range(KILLS):
        changing = [_change(fresh, chance) for _ in range(chance.randrange(1, 4))]
        time.sleep(chance.random() * 0.8)  # the moment is what is random here
        killed = _kill(fresh, chance)
        print(killed, end=" ", flush=True)
        for each in changing:
            each.wait(60)
        if killed == "daemon":
            fresh.up()
    _settle(fresh)
    _check(fresh)


def _change(instance: Instance, chance: random.Random) -> "subprocess.Popen[bytes]":
    """Begin to make or delete a Pod, as the command line does, without waiting."""
    name = chance.choice(NAMES)
    made = chance.random() < 0.6
    arguments = ["apply", "-f", "-"] if made else ["delete", "pod", name, "--ignore-not-found"]
    if not made and chance.random() < 0.5:
        arguments.append("--now")
    process = subprocess.Popen(
        ["minipod", *arguments],
        env=instance.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(json.dumps(_some_pod(name)).encode())
    return process


def _some_pod(name: str) -> dict[str, Any]:
    """Return a Pod of this name: each name has its own shape."""
    number = NAMES.index(name)
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    ports = [{"containerPort": 80, "hostPort": 18500 + number, "protocol": "UDP"}]
    program = ("exit 1", "sleep 0.3; exit 0", IDLE)[number % 3]
    return pod(
        name,
        container("c0", program, ports=ports, **mounts),
        initContainers=[container("init", "echo x > /v/x", **mounts)],
        volumes=[{"name": "v", "emptyDir": {"medium": "Memory"} if number % 2 else {}}],
        restartPolicy=("Always", "OnFailure", "Never")[number // 3],
        shareProcessNamespace=number % 4 == 3,
        terminationGracePeriodSeconds=1,
    )


def _kill(instance: Instance, chance: random.Random) -> str:
    kind = chance.choice(("daemon", "daemon", "shim", "member"))
    if kind == "daemon":
        instance.kill_daemon()
    elif kind == "shim":
        shim = json.loads(instance.out("status", "-o", "json", check=False))["shim"]
        if shim:
            _send_kill(shim)
    else:
        members = _members(instance)
        if members:
            _send_kill(chance.choice(members))
    return kind


def _send_kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _members(instance: Instance) -> list[int]:
    """Return the processes in this instance's cgroups: pauses and containers."""
    found: list[int] = []
    for groups in Path("/proc").glob("[0-9]*/cgroup"):
        with suppress(OSError):
            if f"/{instance.layout.instance}/pod" in groups.read_text():
                found.append(int(groups.parent.name))
    return found


def _settle(instance: Instance) -> None:
    """Every Pod reaches what its spec leads to."""

    def settled() -> bool:
        return all(_is_settled(each) for each in instance.get("pods")["items"])

    wait_until(settled, "every Pod's end or readiness", 60)


def _is_settled(found: dict[str, Any]) -> bool:
    phase = found["status"].get("phase")
    if "deletionTimestamp" in found["metadata"]:
        return False
    if phase in ("Succeeded", "Failed"):
        return True
    if "containerStatuses" not in found["status"]:
        return False  # nothing was told of it yet
    status = status_of(found, "c0")
    waiting = (status["state"].get("waiting") or {}).get("reason")
    return bool(status["ready"]) or waiting == "CrashLoopBackOff" or status["restartCount"] > 0


def _check(instance: Instance) -> None:
    """No traceback was written, and with the Pods everything of theirs goes."""
    for name in ("daemon.log", "shim.log"):
        text = (instance.layout.log / name).read_text()
        assert "Traceback" not in text, text[text.index("Traceback") :][:3000]
    instance.run("delete", "pods", "--all", "--now", timeout=60)
    wait_nothing_left(instance)
