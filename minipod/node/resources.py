"""What a container and a Pod may use: requests and limits as cgroup numbers. Pure.

The arithmetic is the kubelet's (kernel documentation: cgroup-v1/cpu, sched-bwc): shares are 1024 per CPU requested,
the quota is the limit's part of every 100 ms.
"""

from fractions import Fraction
from math import floor

from minipod.api.quantity import parse, value
from minipod.client import Object
from minipod.node.pods import is_sidecar
from minipod.runtime.spec import Resources

PERIOD_US = 100_000
QUOTA_MIN_US = 1_000
SHARES_MIN, SHARES_MAX = 2, 262_144

GUARANTEED_SCORE = -997
BEST_EFFORT_SCORE = 1000


def compute_container_resources(container: Object) -> Resources:
    """Return the cgroup settings of one container."""
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    cpu = requests.get("cpu", limits.get("cpu", "0"))
    return Resources(
        cpu_shares=_shares(parse(cpu)),
        cpu_quota_us=_quota(parse(limits["cpu"])) if "cpu" in limits else None,
        cpu_period_us=PERIOD_US if "cpu" in limits else None,
        memory_bytes=value(limits["memory"]) if "memory" in limits else None,
    )


def compute_pod_resources(pod: Object, pids: int | None) -> Resources:
    """Return the cgroup settings of the whole Pod: limited only when each container that runs on is."""
    spec = pod["spec"]
    own = spec.get("resources") or {}
    requests, limits = own.get("requests") or {}, own.get("limits") or {}
    cpu = parse(requests["cpu"]) if "cpu" in requests else _total(pod, "cpu", "requests")
    cpu_limit = parse(limits["cpu"]) if "cpu" in limits else _limit(pod, "cpu")
    memory = parse(limits["memory"]) if "memory" in limits else _limit(pod, "memory")
    return Resources(
        cpu_shares=_shares(cpu),
        cpu_quota_us=_quota(cpu_limit) if cpu_limit else None,
        cpu_period_us=PERIOD_US if cpu_limit else None,
        memory_bytes=floor(memory) if memory else None,
        pids=pids,
    )


def compute_total_request(pod: Object, name: str) -> Fraction:
    """Return what a Pod asks for of one resource."""
    own = ((pod["spec"].get("resources") or {}).get("requests") or {}).get(name)
    return parse(own) if own is not None else _total(pod, name, "requests")


def compute_oom_score(pod: Object, container: Object, qos: str, memory_bytes: int) -> int:
    """Return whom to kill first when memory runs out: those who asked for little of it (kubelet qos policy)."""
    if pod["spec"].get("priorityClassName") == "system-node-critical" or qos == "Guaranteed":
        return GUARANTEED_SCORE
    if qos == "BestEffort":
        return BEST_EFFORT_SCORE
    requested = _amount(container, "memory", "requests")
    score = 1000 - floor(1000 * requested / memory_bytes)
    return min(max(score, 1000 + GUARANTEED_SCORE), BEST_EFFORT_SCORE - 1)


def _shares(cpu: Fraction) -> int:
    return min(max(floor(cpu * 1024), SHARES_MIN), SHARES_MAX)


def _quota(cpu: Fraction) -> int:
    return max(floor(cpu * PERIOD_US), QUOTA_MIN_US)


def _amount(container: Object, name: str, part: str) -> Fraction:
    resources = container.get("resources") or {}
    amounts = resources.get(part) or {}
    if part == "requests" and name not in amounts:
        amounts = resources.get("limits") or {}
    return parse(amounts.get(name, "0"))


def _total(pod: Object, name: str, part: str) -> Fraction:
    """Return the largest amount needed at any time: initialisation in turn, or all that runs on together."""
    running = peak = Fraction()
    for container in pod["spec"].get("initContainers") or ():
        amount = _amount(container, name, part)
        if is_sidecar(container):
            running += amount
            peak = max(peak, running)
        else:
            peak = max(peak, running + amount)
    running += sum((_amount(each, name, part) for each in pod["spec"]["containers"]), Fraction())
    overhead = parse((pod["spec"].get("overhead") or {}).get(name, "0"))
    return max(peak, running) + overhead


def _limit(pod: Object, name: str) -> Fraction | None:
    everyone = (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"])
    limited = all(name in ((each.get("resources") or {}).get("limits") or {}) for each in everyone)
    return _total(pod, name, "limits") if limited else None
