"""Nodes."""

from fractions import Fraction
from typing import Any

from minipod.api.pod_resources import compute_pod_amounts
from minipod.api.quantity import in_binary, in_decimal, parse
from minipod.cli.describe.common import annotation_lines, event_lines
from minipod.cli.describe.layout import Writer
from minipod.cli.times import age, rfc1123

Object = dict[str, Any]
SUMMED = ("cpu", "memory", "ephemeral-storage")
SYSTEM_INFO = (
    ("Machine ID", "machineID"),
    ("System UUID", "systemUUID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
    ("Kube-Proxy Version", "kubeProxyVersion"),
)
ROLE = "node-role.kubernetes.io/"


def describe_node(
    node: Object, events: list[Object], pods: list[Object], lease: Object | None = None
) -> str:
    """Return a node's description."""
    w = Writer()
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    labels = metadata.get("labels") or {}
    w.field(0, "Name", metadata["name"])
    roles = sorted(key.removeprefix(ROLE) for key in labels if key.startswith(ROLE))
    w.field(0, "Roles", ",".join(roles) or "<none>")
    w.mapping(0, "Labels", labels)
    annotation_lines(w, metadata.get("annotations") or {})
    w.field(0, "CreationTimestamp", rfc1123(metadata.get("creationTimestamp")))
    w.field(0, "Taints", _taints(spec) or "<none>")
    w.field(0, "Unschedulable", "true" if spec.get("unschedulable") else "false")
    _lease(w, lease or {})
    _node_conditions(w, status.get("conditions") or [])
    w.line(0, "Addresses:")
    for each in status.get("addresses") or []:
        w.field(1, each["type"], each["address"])
    for title in ("capacity", "allocatable"):
        if status.get(title):
            w.line(0, f"{title.capitalize()}:")
            for name in sorted(status[title]):
                w.field(1, name, status[title][name])
    info = status.get("nodeInfo") or {}
    w.line(0, "System Info:")
    for name, key in SYSTEM_INFO:
        w.field(1, name, info.get(key, ""))
    if spec.get("podCIDR"):
        w.field(0, "PodCIDR", spec["podCIDR"])
        w.field(0, "PodCIDRs", ",".join(spec.get("podCIDRs") or []))
    _node_pods(w, pods, status.get("allocatable") or {})
    event_lines(w, events)
    return w.text()


def _taints(spec: Object) -> str:
    taints = spec.get("taints") or []
    texts = (f"{each['key']}={each.get('value', '')}:{each['effect']}" for each in taints)
    return ", ".join(text.replace("=:", ":") for text in texts)


def _lease(w: Writer, lease: Object) -> None:
    """Show who renews the node's Lease, and when it was last done."""
    spec = lease.get("spec") or {}
    w.line(0, "Lease:")
    w.field(1, "HolderIdentity", spec.get("holderIdentity") or "<unset>")
    for title in ("AcquireTime", "RenewTime"):
        time = spec.get(title[0].lower() + title[1:])
        w.field(1, title, rfc1123(time) if time else "<unset>")


def _node_conditions(w: Writer, conditions: list[Object]) -> None:
    if not conditions:
        return
    w.line(0, "Conditions:")
    w.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage")
    w.line(1, "----\t------\t-----------------\t------------------\t------\t-------")
    for each in conditions:
        beat, change = (
            rfc1123(each.get("lastHeartbeatTime")),
            rfc1123(each.get("lastTransitionTime")),
        )
        words = f"{each.get('reason', '')} \t{each.get('message', '')}"
        w.line(1, f"{each['type']} \t{each['status']} \t{beat} \t{change} \t{words}")


def _node_pods(w: Writer, pods: list[Object], allocatable: Object) -> None:
    ended = ("Succeeded", "Failed")
    running = [each for each in pods if (each.get("status") or {}).get("phase") not in ended]
    w.line(0, f"Non-terminated Pods:\t({len(running)} in total)")
    w.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge")
    w.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---")
    huge = sorted(name for name in allocatable if name.startswith("hugepages-"))
    sums = {name: [Fraction(0), Fraction(0)] for name in (*SUMMED, *huge)}
    for pod in running:
        metadata, cells = pod["metadata"], []
        amounts_of = [compute_pod_amounts(pod, which) for which in ("requests", "limits")]
        for name in sums:
            for position, amounts in enumerate(amounts_of):
                sums[name][position] += amounts.get(name, Fraction(0))
                cells.append(_share(name, amounts.get(name, Fraction(0)), allocatable))
        row = [
            metadata["namespace"],
            metadata["name"],
            "",
            *cells[:4],
            age(metadata.get("creationTimestamp")),
        ]
        w.line(1, "\t".join(row))
    _allocated(w, sums, allocatable)


def _allocated(w: Writer, sums: dict[str, list[Fraction]], allocatable: Object) -> None:
    w.line(0, "Allocated resources:")
    w.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)")
    w.line(1, "Resource\tRequests\tLimits")
    w.line(1, "--------\t--------\t------")
    for name, amounts in sums.items():
        w.line(1, "\t".join([name, *(_share(name, each, allocatable) for each in amounts)]))


def _share(name: str, amount: Fraction, allocatable: Object) -> str:
    """Return `100m (5%)`: an amount, and what part of the node's it is."""
    text = in_decimal(amount) if name == "cpu" else in_binary(amount)
    whole = parse(allocatable.get(name, "0"))
    return f"{text} ({int(amount * 100 / whole) if whole else 0}%)"
