"""Where a Pod may run, on the one node there is: what keeps it away, what drives it away, and how it comes back."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from minipod.api.quantity import value
from minipod.linux import cgroup
from minipod.node.pressure import most_processes
from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import inspect, pod, wait_gone, wait_phase, wait_pod
from tests.e2e.test_probes import condition, events


@pytest.fixture
def node(shared: Instance) -> Iterator[str]:
    """The node's name; whatever a test does to it is taken back."""
    name = shared.get("nodes")["items"][0]["metadata"]["name"]
    yield name
    change(shared, name, {"spec": {"taints": None, "unschedulable": None}})


def change(instance: Instance, node: str, patch: dict[str, Any]) -> None:
    instance.run("patch", "node", node, "--type=merge", "-p", json.dumps(patch))


def pending(instance: Instance, name: str, reason: str) -> None:
    found = wait_pod(
        instance, name, lambda p: p["status"].get("conditions"), "a word of the scheduler"
    )
    told = condition(found, "PodScheduled")
    assert (told["status"], told["reason"]) == ("False", "Unschedulable")
    assert f"0/1 nodes are available: 1 {reason}." in told["message"]
    wait_until(lambda: ("FailedScheduling", told["message"]) in events(instance, name), "its event")


def test_a_cordoned_node_takes_nobody_until_it_is_uncordoned(shared: Instance, node: str) -> None:
    change(shared, node, {"spec": {"unschedulable": True}})
    shared.apply(pod("waits"))
    pending(shared, "waits", "node(s) were unschedulable")
    change(shared, node, {"spec": {"unschedulable": None}})
    wait_phase(shared, "waits", "Running")
    shared.run("delete", "pod", "waits", "--now")


def test_a_taint_drives_away_who_does_not_tolerate_it(shared: Instance, node: str) -> None:
    taint = {"key": "lab", "value": "closed", "effect": "NoExecute"}
    stays = [{"key": "lab", "operator": "Exists"}]
    shared.apply(pod("goes"), pod("stays", tolerations=stays), options=("--until-ready",))
    change(shared, node, {"spec": {"taints": [taint]}})
    wait_gone(shared, "goes")
    assert ("TaintManagerEviction", "Marking for deletion Pod default/goes") in events(
        shared, "goes"
    )
    assert shared.get("pod", "stays")["status"]["phase"] == "Running"
    shared.apply(pod("late"))
    pending(shared, "late", "node(s) had untolerated taint(s)")
    shared.run("delete", "pod", "stays", "late", "--now")


def test_what_does_not_fit_or_is_shunned_waits(shared: Instance, node: str) -> None:
    huge = pod("huge")
    huge["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "4000"}}
    alone = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": {"role": "hermit"}},
                }
            ]
        }
    }
    first, second = pod("one", affinity=alone), pod("two", affinity=alone)
    for each in (first, second):
        each["metadata"]["labels"] = {"role": "hermit"}
    shared.apply(first, options=("--until-ready",))
    shared.apply(huge, second)
    pending(shared, "huge", "Insufficient cpu")
    pending(shared, "two", "node(s) didn't match pod anti-affinity rules")
    shared.run("delete", "pod", "one", "--now")
    wait_phase(shared, "two", "Running")
    shared.run("delete", "pod", "two", "huge", "--now")


def test_a_cordon_is_a_taint_and_the_node_has_a_lease(shared: Instance, node: str) -> None:
    def taints() -> list[tuple[str, str]]:
        found = shared.get("node", node)["spec"].get("taints") or []
        return [(each["key"], each["effect"]) for each in found]

    shared.run("cordon", node)
    wanted = [("node.kubernetes.io/unschedulable", "NoSchedule")]
    wait_until(lambda: taints() == wanted, "the taint")
    shared.run("uncordon", node)
    wait_until(lambda: not taints(), "the taint's end")
    lease = shared.get("lease", node, "-n", "kube-node-lease")
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == (node, 40)
    assert lease["metadata"]["ownerReferences"][0]["name"] == node
    assert f"HolderIdentity:  {node}" in shared.out("describe", "node", node)


def test_a_pod_that_is_put_here_past_the_scheduler_must_fit(shared: Instance, node: str) -> None:
    shared.apply(pod("squeezed", nodeName=node, nodeSelector={"disk": "none"}))
    found = wait_phase(shared, "squeezed", "Failed")
    why = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    status = found["status"]
    assert (status["reason"], status["message"]) == ("NodeAffinity", f"Pod was rejected: {why}")
    wait_until(lambda: ("NodeAffinity", why) in events(shared, "squeezed"), "its event")
    assert "NodeAffinity" in shared.out("get", "pod", "squeezed")
    shared.run("delete", "pod", "squeezed", "--now")


def test_all_pods_together_are_held_to_what_is_not_reserved(
    make_instance: Callable[..., Instance],
) -> None:
    instance = make_instance(options=("--system-reserved", "cpu=500m,memory=1Gi,pid=100"))
    instance.up()
    instance.apply(pod("inside"), options=("--until-ready",))
    whole = inspect(instance, "inside")["cgroup"]["path"].rpartition("/")[0]
    layout, cpus = cgroup.this_host(), os.cpu_count() or 1

    def limit(controller: str, v1: str, v2: str) -> str:
        name = v2 if layout.is_v2(controller) else v1
        return Path(layout.directory(controller, whole), name).read_text().strip()

    capacity = instance.get("node", instance.get("nodes")["items"][0]["metadata"]["name"])
    memory = value(capacity["status"]["capacity"]["memory"]) - (1 << 30)
    assert int(limit("memory", "memory.limit_in_bytes", "memory.max")) == memory
    shares = 1024 * cpus - 512
    weight = cgroup.shares_to_weight(shares) if layout.is_v2("cpu") else shares
    assert int(limit("cpu", "cpu.shares", "cpu.weight")) == weight
    assert int(limit("pids", "pids.max", "pids.max")) == most_processes() - 100
    if layout.is_v2("memory"):  # not all of them die when one takes too much
        assert limit("memory", "", "memory.oom.group") == "0"
    instance.run("delete", "pod", "inside", "--now")
    instance.down()
    assert not [each for each in layout.hierarchies if Path(each, whole).exists()]


def test_a_node_that_is_short_of_memory_says_so_and_takes_no_best_effort_pods(
    make_instance: Callable[..., Instance],
) -> None:
    instance = make_instance(options=("--eviction-hard", "memory.available<100Ti"))
    instance.up()
    name = instance.get("nodes")["items"][0]["metadata"]["name"]
    taint = "node.kubernetes.io/memory-pressure"

    def tainted() -> bool:
        taints = instance.get("node", name)["spec"].get("taints") or ()
        return [(each["key"], each["effect"]) for each in taints] == [(taint, "NoSchedule")]

    wait_until(tainted, "the taint")
    told = condition(instance.get("node", name), "MemoryPressure")
    assert (told["status"], told["reason"]) == ("True", "KubeletHasInsufficientMemory")
    instance.apply(pod("waits"), pod("pushed", nodeName=name), pod("needed", **_NEEDED))
    pending(instance, "waits", "node(s) had untolerated taint(s)")
    status = wait_phase(instance, "pushed", "Failed")["status"]
    why = "The node had condition: [MemoryPressure]. "
    assert (status["reason"], status["message"]) == ("Evicted", f"Pod was rejected: {why}")
    assert "DisruptionTarget" not in {each["type"] for each in status["conditions"]}
    wait_pod(instance, "needed", lambda p: p["status"].get("phase") != "Pending", "a start")
    instance.run("delete", "pod", "waits", "pushed", "needed", "--now")
    instance.down()


def test_a_node_that_is_short_of_memory_evicts_who_takes_the_most_beyond_what_it_asked_for(
    make_instance: Callable[..., Instance],
) -> None:
    whole = psutil.virtual_memory().total // 1024
    free = f"{whole - 65536}Ki"  # as good as all of it: what is kept free no Pod can ask for
    instance = make_instance(options=("--eviction-hard", f"memory.available<{free}"))
    instance.up()
    take = (
        "head -c 8000000 /dev/zero >/held/it; trap 'exit 0' TERM; while :; do sleep 1 & wait; done"
    )
    volume = {"name": "held", "emptyDir": {"medium": "Memory"}}
    greedy = pod("greedy", volumes=[volume], **_NEEDED)
    greedy["spec"]["containers"][0] |= {
        "command": ["sh", "-c", take],
        "volumeMounts": [{"name": "held", "mountPath": "/held"}],
        "resources": {"requests": {"memory": "1Mi"}},
    }
    vital = pod("vital", priorityClassName="system-node-critical", **_NEEDED)
    vital["metadata"]["namespace"] = "kube-system"
    instance.apply(greedy, vital)
    status = wait_phase(instance, "greedy", "Failed", seconds=45)["status"]
    assert status["reason"] == "Evicted"
    assert re.fullmatch(
        r"The node was low on resource: memory\. Threshold quantity: \d+(Ki|Mi), available: \d+(Ki|Mi)?\. "
        r"Container c0 was using \d+(Ki|Mi)?, request is 1Mi, has larger consumption of memory\. ",
        status["message"],
    )
    told = condition({"status": status}, "DisruptionTarget")
    assert (told["status"], told["reason"]) == ("True", "TerminationByKubelet")
    wait_until(lambda: ("Evicted", status["message"]) in events(instance, "greedy"), "its event")
    assert "Attempting to reclaim memory" in instance.out("events", "-A")
    kept = instance.get("pod", "vital", "-n", "kube-system")
    assert kept["status"]["phase"] == "Running"
    instance.run("delete", "pod", "greedy", "--now")
    instance.run("delete", "pod", "vital", "-n", "kube-system", "--now")
    instance.down()


_NEEDED = {"tolerations": [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]}
