"""What this node refuses to run, whatever the API and the scheduler took: such a Pod fails, as with the kubelet. Pure.

Whether a Pod fits is asked once, before anything of it is made: for one that was put here past the scheduler.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from math import ceil

from minipod.api.pod_fit import HostPort, host_ports, matches_selector, ports_taken, tolerates
from minipod.api.pod_resources import compute_granted
from minipod.api.quantity import parse
from minipod.client import Object
from minipod.node.pods import containers_of, uid_of
from minipod.node.pressure import MEMORY, conditions_of
from minipod.node.qos import compute_qos
from minipod.node.security import effective, pod_context

EVICTED = "Evicted"  # the kubelet has one word for who must go and who must not come
SYSCTL_FORBIDDEN = "SysctlForbidden"
APP_ARMOR = "AppArmor"

# Kernel parameters that each Pod has of its own and that harm nobody else (the kubelet's safe sysctls). Any other may
# be the whole host's: kernel.core_pattern alone would run a Pod's program as the host's root.
SAFE_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    )
)


def compute_refusal(pod: Object, *, apparmor: bool) -> tuple[str, str] | None:
    """Return (reason, message) for a Pod that must not run here, None for any other.

    `apparmor` tells whether the host enforces profiles; minipod itself applies none.
    """
    for sysctl in pod_context(pod).get("sysctls") or ():
        if str(sysctl["name"]).replace("/", ".") not in SAFE_SYSCTLS:
            return SYSCTL_FORBIDDEN, f'forbidden sysctl: "{sysctl["name"]}" not allowlisted'
    if any(_wants_profile(pod, container) for _, container in containers_of(pod)):
        why = "AppArmor is not enabled on the host"
        if apparmor:
            why = "minipod applies no AppArmor profiles; leave appArmorProfile out, or set its type to Unconfined"
        return APP_ARMOR, f"Cannot enforce AppArmor: {why}"
    return None


def _wants_profile(pod: Object, container: Object) -> bool:
    profile = effective(pod, container, "appArmorProfile") or {"type": "Unconfined"}
    return bool(profile.get("type") != "Unconfined")


# -- whether it fits -------------------------------------------------------------------------------

Refusal = tuple[str, str]  # reason and message
_COUNTED = {"cpu": 1000, "memory": 1, "ephemeral-storage": 1}  # in these parts of a unit
_OS_LABEL = "kubernetes.io/os"
_MEMORY_TAINT = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
CRITICAL_PRIORITY = 2_000_000_000  # and above: system-cluster-critical, system-node-critical


@dataclass(frozen=True)
class _Share:
    """What one Pod takes of the node."""

    amounts: dict[str, int]
    ports: set[HostPort]


class Room:
    """What the Pods that were admitted take of the node, and whether another fits beside them."""

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}

    def __contains__(self, uid: str) -> bool:
        return uid in self._shares

    def take(self, pod: Object) -> None:
        """Count a Pod, or what it has been resized to."""
        granted = compute_granted(pod)
        amounts = {n: ceil(granted[n] * parts) for n, parts in _COUNTED.items() if granted.get(n)}
        self._shares[uid_of(pod)] = _Share(amounts, host_ports(pod))

    def give_back(self, uid: str) -> None:
        """Count a Pod no more."""
        self._shares.pop(uid, None)

    def find_misfit(self, pod: Object, node: Object) -> Refusal | None:
        """Return why a Pod cannot be admitted, None when it can: the first of upstream's reasons."""
        reasons = chain(
            _pressed(pod, node),
            _other_system(pod, node),
            self._shortages(pod, node),
            _shunned(pod, node),
        )
        return next(reasons, None)

    def _shortages(self, pod: Object, node: Object) -> Iterator[Refusal]:
        """Yield what there is not enough of, then (upstream's order) a selector that does not match, then ports."""
        shares, allocatable = self._shares, (node.get("status") or {}).get("allocatable") or {}
        room = int(parse(allocatable.get("pods", "110")))
        if len(shares) + 1 > room:
            yield _out_of("pods", 1, len(shares), room)
        wanted = compute_granted(pod)
        for name, parts in _COUNTED.items():
            asked = ceil(wanted.get(name, 0) * parts)
            used = sum(each.amounts.get(name, 0) for each in shares.values()) if asked else 0
            whole = int(parse(allocatable.get(name, "0")) * parts)
            if asked and asked > whole - used:
                yield _out_of(name, asked, used, whole)
        if not matches_selector(pod, node):
            yield _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
        taken = chain.from_iterable(each.ports for each in shares.values())
        if ports_taken(host_ports(pod), taken):
            yield _failed("NodePorts", "node(s) didn't have free ports for the requested pod ports")


def _pressed(pod: Object, node: Object) -> Iterator[Refusal]:
    """A node that runs out of something takes critical Pods alone; out of memory, also those that ask for some."""
    pressures = conditions_of(node)
    if not pressures or int(pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY:
        return
    bearable = compute_qos(pod) != "BestEffort" or tolerates(pod, _MEMORY_TAINT)
    if pressures != [MEMORY] or not bearable:
        yield EVICTED, f"The node had condition: [{' '.join(pressures)}]. "


def _other_system(pod: Object, node: Object) -> Iterator[Refusal]:
    label = (pod["spec"].get("nodeSelector") or {}).get(_OS_LABEL)
    if label and label != (node["metadata"].get("labels") or {}).get(_OS_LABEL):
        text = f"Failed to admit pod as the `{_OS_LABEL}` label doesn't match node label"
        yield "PodOSSelectorNodeLabelDoesNotMatch", text
    if (pod["spec"].get("os") or {}).get("name", "linux") != "linux":
        yield "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"


def _shunned(pod: Object, node: Object) -> Iterator[Refusal]:
    taints = (node.get("spec") or {}).get("taints") or ()
    if any(each.get("effect") == "NoExecute" and not tolerates(pod, each) for each in taints):
        yield _failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")


def _failed(predicate: str, why: str) -> Refusal:
    return predicate, f"Predicate {predicate} failed: {why}"


def _out_of(name: str, asked: int, used: int, whole: int) -> Refusal:
    numbers = f"{name}, requested: {asked}, used: {used}, capacity: {whole}"
    return f"OutOf{name}", f"Node didn't have enough resource: {numbers}"
