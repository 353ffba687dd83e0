"""Many Pods come and go, again and again: every count on the host returns to where it was.

25 Pods 3 times over as a rule; MINIPOD_SOAK=100x20 is what is run before a release (docs/testing.md).
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests import leaks
from tests.e2e import leftovers
from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import container, pod, settle

PODS, ROUNDS = map(int, os.environ.get("MINIPOD_SOAK", "25x3").split("x"))
# Where other minipods run meanwhile, only what the tests' own namespaces hold can be compared.
ALONE, OWN = bool(os.environ.get("MINIPOD_LEAK_CHECK")), ("mounts", "links", "nft_tables")
THREADS = 16  # a daemon's pools are made when they are needed, and bounded
# Events live for an hour and are kept in memory (five for a Pod, 1.5 kB each); the newest versions are in a ring.
GROWTH_KIB = {"daemon": 16384 + 12 * PODS * ROUNDS, "shim": 3072}


@dataclass(frozen=True)
class Process:
    """What one process holds, as the kernel counts it."""

    descriptors: int
    threads: int
    kib: int  # memory of its own (USS): what it shares with its children is not counted twice

    @classmethod
    def look(cls, pid: int) -> "Process":
        status = Path(f"/proc/{pid}/status").read_text()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        private = re.findall(r"^Private_(?:Clean|Dirty): +([0-9]+)", rollup, re.M)
        (threads,) = re.findall(r"^Threads:\s+([0-9]+)", status, re.M)
        return cls(len(os.listdir(f"/proc/{pid}/fd")), int(threads), sum(map(int, private)))


def test_many_pods_come_and_go_without_a_trace(make_instance: Callable[..., Instance]) -> None:
    instance = make_instance(options=("--backoff-base", "0.5"))
    instance.up()
    settle(instance)
    _round(instance)  # the second time is like every other
    pids = {"daemon": instance.daemon_pid(), "shim": instance.shim_pid()}
    leftovers.wait_nothing_left(instance)
    host = leaks.look()
    before = {name: Process.look(pid) for name, pid in pids.items()}
    for number in range(ROUNDS):
        began = time.monotonic()
        _round(instance)
        after = {name: Process.look(pid) for name, pid in pids.items()}
        print(
            f"round {number + 1} of {ROUNDS}, {time.monotonic() - began:.1f} s: {after}", flush=True
        )
    leftovers.wait_nothing_left(instance)
    leaked = leaks.wait_until_clean(host)[0] if ALONE else leaks.look().leaked_since(host)
    assert {kind: names for kind, names in leaked.items() if ALONE or kind in OWN} == {}
    for name, pid in pids.items():
        wait_until(
            lambda pid=pid, then=before[name]: (  # type: ignore[misc]
                Process.look(pid).descriptors <= then.descriptors
            ),
            f"descriptors of the {name} ({_links(pid)}) back to {before[name]}",
        )
        assert Process.look(pid).threads <= THREADS
        assert Process.look(pid).kib <= before[name].kib + GROWTH_KIB[name], (name, before[name])
    instance.down()
    instance.remove()


def _links(pid: int) -> list[str]:
    return sorted(os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd"))


def _round(instance: Instance) -> None:
    names = [f"many-{number}" for number in range(PODS)]
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    volumes = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
    made = [
        pod(name, container("c0", "exec sleep 3600", **mounts), volumes=volumes) for name in names
    ]
    for number, each in enumerate(made[:10]):
        each["spec"]["containers"][0]["ports"] = [
            {"containerPort": 80, "hostPort": 18300 + number, "protocol": "UDP"}
        ]
    instance.apply(*made, options=("--until-ready", "--timeout=170s"), timeout=180)
    instance.run("delete", "pod", *names, "--now", timeout=180)
