"""What a container and a Pod may use: requests and limits as cgroup numbers. Pure.

The arithmetic is the kubelet's (kernel documentation: cgroup-v1/cpu, sched-bwc): shares are 1024 per CPU requested,
the quota is the limit's part of every 100 ms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from mmap import PAGESIZE

from minipod.api.pod_resources import compute_enforced, sum_containers
from minipod.api.quantity import parse, value
from minipod.client import Object
from minipod.node.pods import is_sidecar
from minipod.runtime.spec import Resources

PERIOD_US = 100_000
QUOTA_MIN_US = 1_000
SHARES_MIN, SHARES_MAX = 2, 262_144

GUARANTEED_SCORE = -997
BEST_EFFORT_SCORE = 1000


@dataclass(frozen=True)
class MemoryThrottling:
    """From where on a container is slowed down (kubelet memoryThrottlingFactor, KEP-2570).

    It is this part of the way from the memory that it asks for to its limit, or without one to `allocatable_bytes`.
    """

    factor: float  # above 0, up to 1
    allocatable_bytes: int


def pod_limits(pod: Object) -> Object:
    """Return the limits of the Pod's own, which are those of every container that has none (KEP-2837)."""
    return (pod["spec"].get("resources") or {}).get("limits") or {}


def compute_container_resources(
    container: Object,
    inherited: Mapping[str, str],
    throttling: MemoryThrottling | None = None,
) -> Resources:
    """Return the cgroup settings of one container; `inherited` are the limits that it may take over."""
    resources = container.get("resources") or {}
    own = {name: each for name, each in (resources.get("limits") or {}).items() if parse(each)}
    limits = {**inherited, **own}
    cpu = (resources.get("requests") or {}).get("cpu", limits.get("cpu", "0"))
    return Resources(
        cpu_shares=compute_shares(parse(cpu)),
        cpu_quota_us=_quota(parse(limits["cpu"])) if "cpu" in limits else None,
        cpu_period_us=PERIOD_US if "cpu" in limits else None,
        memory_bytes=value(limits["memory"]) if "memory" in limits else None,
        memory_high_bytes=_memory_high(
            _memory_request(container), value(limits.get("memory", "0")), throttling
        ),
    )


def _memory_high(request: int, limit: int, throttling: MemoryThrottling | None) -> int | None:
    """Return whole pages; -1 for a container that is not slowed down: it is given what it asks for, or less."""
    if throttling is None:
        return None
    if request == limit != 0:
        return -1
    way = (limit or throttling.allocatable_bytes) - request
    high = floor((request + way * throttling.factor) / PAGESIZE) * PAGESIZE
    return high if high > request else -1


def compute_pod_resources(pod: Object, pids: int | None) -> Resources:
    """Return the cgroup settings of the whole Pod."""
    enforced = compute_enforced(pod)
    requests, limits = enforced.get("requests", {}), enforced.get("limits", {})
    cpu_limit, memory = parse(limits.get("cpu", "0")), parse(limits.get("memory", "0"))
    return Resources(
        cpu_shares=compute_shares(parse(requests.get("cpu", "0"))),
        cpu_quota_us=_quota(cpu_limit) if cpu_limit else None,
        cpu_period_us=PERIOD_US if cpu_limit else None,
        memory_bytes=floor(memory) if memory else None,
        pids=pids,
    )


def compute_oom_score(pod: Object, container: Object, qos: str, memory_bytes: int) -> int:
    """Return whom to kill first when memory runs out: those who asked for little of it (kubelet qos policy).

    What the Pod asks for beyond its containers is theirs in equal parts; a sidecar goes no sooner than the containers
    that it serves.
    """
    if pod["spec"].get("priorityClassName") == "system-node-critical" or qos == "Guaranteed":
        return GUARANTEED_SCORE
    if qos == "BestEffort":
        return BEST_EFFORT_SCORE
    requested = _memory_request(container)
    if is_sidecar(container):
        requested = max(requested, min(map(_memory_request, pod["spec"]["containers"])))
    score = 1000 - floor(1000 * (requested + _memory_share(pod))) // memory_bytes
    return min(max(score, 1000 + GUARANTEED_SCORE), BEST_EFFORT_SCORE - 1)


def _memory_request(container: Object) -> int:
    return value(((container.get("resources") or {}).get("requests") or {}).get("memory", "0"))


def _memory_share(pod: Object) -> int:
    """Return each container's part of the memory that only the Pod as a whole asks for."""
    spec = pod["spec"]
    whole = ((spec.get("resources") or {}).get("requests") or {}).get("memory")
    if not whole:
        return 0
    rest = value(whole) - sum_containers(spec, "requests").get("memory", Fraction())
    return int(rest) // len([*spec["containers"], *(spec.get("initContainers") or ())])


def compute_shares(cpu: Fraction) -> int:
    """Return the cpu.shares of a number of processors."""
    return min(max(floor(cpu * 1024), SHARES_MIN), SHARES_MAX)


def _quota(cpu: Fraction) -> int:
    return max(floor(cpu * PERIOD_US), QUOTA_MIN_US)
