"""Where a Pod may run: pure. Each filter names what stands in the way with the words of upstream's scheduler."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from typing import NamedTuple

from minipod.api.pod_fit import host_ports, matches_selector, ports_taken, tolerates
from minipod.api.pod_resources import Amounts, compute_pod_requests
from minipod.api.quantity import parse as parse_quantity
from minipod.client import Object
from minipod.controllers.neighbours import (
    Surroundings,
    find_affinity_obstacle,
    find_spread_obstacle,
)


@dataclass(frozen=True)
class Placement:
    """The node chosen, or why there is none."""

    node: str = ""
    reasons: Counter[str] = field(default_factory=Counter)
    nodes: int = 0
    hopeless: int = 0  # nodes on which nobody's leaving would help
    preempts: bool = True  # the Pod's preemptionPolicy

    @property
    def message(self) -> str:
        """Return upstream's sentence: "0/1 nodes are available: 1 Insufficient cpu."."""
        if not self.nodes:
            return "no nodes available to schedule pods"
        counted = ", ".join(sorted(f"{count} {reason}" for reason, count in self.reasons.items()))
        return f"0/{self.nodes} nodes are available: {counted}. {self._preemption}"

    @property
    def _preemption(self) -> str:
        """Return what upstream's scheduler adds after it has looked for Pods to evict: nobody is evicted here."""
        after = "no new claims to deallocate, preemption:"
        if not self.preempts:
            return f"{after} not eligible due to preemptionPolicy=Never."
        counts = {
            "No preemption victims found for incoming pod": self.nodes - self.hopeless,
            "Preemption is not helpful for scheduling": self.hopeless,
        }
        counted = ", ".join(f"{count} {why}" for why, count in counts.items() if count)
        return f"{after} 0/{self.nodes} nodes are available: {counted}."


class Obstacle(NamedTuple):
    """One reason against a node. Nothing that another Pod's leaving could change is `hopeless`."""

    reason: str
    hopeless: bool


def compute_placement(
    pod: Object,
    nodes: Sequence[Object],
    placed: Mapping[str, Sequence[Object]],
    namespaces: Mapping[str, Mapping[str, str]] | None = None,
) -> Placement:
    """Choose the first node that passes all filters; `placed` holds each node's Pods that have not finished.

    `namespaces` has their labels, by name.
    """
    reasons: Counter[str] = Counter()
    hopeless = 0
    around = Surroundings(nodes, placed, namespaces or {})
    for node in nodes:
        name = node["metadata"]["name"]
        found = find_obstacles(pod, node, around)
        if not found:
            return Placement(node=name, nodes=len(nodes))
        reasons.update(each.reason for each in found)
        hopeless += any(each.hopeless for each in found)
    preempts = pod["spec"].get("preemptionPolicy") != "Never"
    return Placement("", reasons, len(nodes), hopeless, preempts)


def find_obstacles(pod: Object, node: Object, around: Surroundings) -> list[Obstacle]:
    """Return why `pod` cannot run on `node`: the first failing filter's reasons, in upstream's order of filters."""
    others = around.placed.get(node["metadata"]["name"], ())
    if (node.get("spec") or {}).get("unschedulable") and not tolerates(
        pod, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return [Obstacle("node(s) were unschedulable", True)]
    if _has_untolerated_taint(pod, node):
        return [Obstacle("node(s) had untolerated taint(s)", True)]
    if not matches_selector(pod, node):
        return [Obstacle("node(s) didn't match Pod's node affinity/selector", True)]
    if ports_taken(host_ports(pod), chain.from_iterable(map(host_ports, others))):
        return [Obstacle("node(s) didn't have free ports for the requested pod ports", False)]
    found = _find_shortages(pod, node, others)
    if not found and (reason := find_spread_obstacle(pod, node, around)):
        return [Obstacle(reason, "missing" in reason)]
    if not found and (reason := find_affinity_obstacle(pod, node, around)):
        return [Obstacle(reason, reason.endswith("match pod affinity rules"))]
    return found


# -- taints and readiness --------------------------------------------------------------------------


def _has_untolerated_taint(pod: Object, node: Object) -> bool:
    taints = [*(node.get("spec") or {}).get("taints", ())]
    lost = {"": "not-ready", "False": "not-ready", "Unknown": "unreachable"}.get(ready_status(node))
    if lost:  # the taint itself comes a moment after the condition
        taints.append({"key": f"node.kubernetes.io/{lost}", "effect": "NoSchedule"})
    hard = (each for each in taints if each.get("effect") in ("NoSchedule", "NoExecute"))
    return not all(tolerates(pod, each) for each in hard)


def ready_status(node: Object) -> str:
    """Return what a node's Ready condition says, "" for a node that has none."""
    known = (node.get("status") or {}).get("conditions") or ()
    return next((str(each["status"]) for each in known if each["type"] == "Ready"), "")


# -- resources -------------------------------------------------------------------------------------


def _find_shortages(pod: Object, node: Object, others: Sequence[Object]) -> list[Obstacle]:
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    limit = parse_quantity(allocatable.get("pods", "110"))
    found = [Obstacle("Too many pods", False)] if len(others) + 1 > limit else []
    wanted = {name: amount for name, amount in compute_pod_requests(pod).items() if amount}
    if not wanted:
        return found
    used: Amounts = {}
    for other in others:
        for name, amount in compute_pod_requests(other).items():
            used[name] = used.get(name, Fraction()) + amount
    for name, amount in sorted(wanted.items()):
        whole = parse_quantity(allocatable.get(name, "0"))
        if amount > whole - used.get(name, Fraction()):
            found.append(Obstacle(f"Insufficient {name}", amount > whole))
    return found
