"""What may change of a Pod, and what may happen to its status."""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any

from minipod.api import equality, names
from minipod.api.field import Cause, duplicate, forbidden, invalid
from minipod.api.restart_rules import is_restarted, may_restart_all
from minipod.api.validation.metadata import causes_of, immutable
from minipod.api.validation.pod import validate_pod
from minipod.api.validation.scheduling import validate_tolerations
from minipod.api.validation.values import INT32_MAX, in_range

Object = dict[str, Any]

UPDATABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)
_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")
_TERM_LISTS = ("matchExpressions", "matchFields")
# Go's zero value of these is the same as not saying anything; of other booleans and numbers it is not.
_PLAIN_ZEROS = frozenset(
    ("hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty", "readOnly", "hostPort")
)


def validate_pod_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing the Pod `old` into `new`."""
    return [*validate_pod(new), *_changes(new["spec"], old["spec"])]


def validate_pod_status_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with a Pod's new status: classes do not change, the dead stay dead."""
    return list(_status_changes(new, old))


def _changes(new: Object, old: Object) -> Iterator[Cause]:
    for name in ("containers", "initContainers"):
        if len(new.get(name) or ()) != len(old.get(name) or ()):
            yield forbidden(f"spec.{name}", "pod updates may not add or remove containers")
            return
    yield from _deadline(new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds"))
    yield from _tolerations(new.get("tolerations") or [], old.get("tolerations") or [])
    yield from _gates(new.get("schedulingGates") or [], old.get("schedulingGates") or [])
    munged = _munged(new, old)
    if old.get("schedulingGates"):
        yield from _narrowing(munged, old)
    if munged == old:
        return
    changed = equality.unequal(_canonical(munged), _canonical(old), "spec")
    if changed:
        allowed = ",".join(UPDATABLE)
        listed = "\n".join(f"changed: {each}" for each in changed)
        yield forbidden("spec", f"pod updates may not change fields other than {allowed}\n{listed}")


def _munged(new: Object, old: Object) -> Object:
    """Return the new spec with all that may change put back, to compare the rest."""
    munged = deepcopy(new)
    for name in ("containers", "initContainers"):
        for container, before in zip(munged.get(name) or (), old.get(name) or (), strict=True):
            container["image"] = before.get("image")
    for name in ("activeDeadlineSeconds", "tolerations", "schedulingGates"):
        _put_back(munged, old, name)
    grace = "terminationGracePeriodSeconds"
    if (old.get(grace) or 0) < 0 and munged.get(grace) == 1:
        munged[grace] = old[grace]
    return munged


def _narrowing(munged: Object, old: Object) -> Iterator[Cause]:
    """Yield how a gated Pod's choice of nodes became wider, and put the choice back in `munged`."""
    if not equality.equal(munged.get("nodeSelector"), old.get("nodeSelector"), "nodeSelector"):
        selector = munged.get("nodeSelector") or {}
        if not (old.get("nodeSelector") or {}).items() <= selector.items():
            why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            yield invalid("spec.nodeSelector", munged.get("nodeSelector"), why)
        _put_back(munged, old, "nodeSelector")
    affinity, before = munged.get("affinity") or {}, old.get("affinity") or {}
    if equality.equal(affinity.get("nodeAffinity"), before.get("nodeAffinity")):
        return
    yield from _narrowed_terms(_terms(affinity), _terms(before))
    affinity = dict(affinity)
    _put_back(affinity, before, "nodeAffinity")
    munged["affinity"] = affinity
    if not affinity and not before:
        _put_back(munged, old, "affinity")


def _put_back(munged: Object, old: Object, name: str) -> None:
    munged.pop(name, None)
    if name in old:
        munged[name] = old[name]


def _terms(affinity: Object) -> list[Object] | None:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = ((affinity.get("nodeAffinity") or {}).get(required) or {}).get("nodeSelectorTerms")
    return terms or None


def _narrowed_terms(new: list[Object] | None, old: list[Object] | None) -> Iterator[Cause]:
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    if old is None:
        return
    if new is None or len(new) != len(old):
        why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        yield invalid(path, new, why)
        return
    for index, (term, before) in enumerate(zip(new, old, strict=True)):
        if not _only_adds(term, before):
            why = "only additions are allowed (no mutations or deletions)"
            yield invalid(f"{path}[{index}]", term, why)


def _only_adds(new: Object, old: Object) -> bool:
    """Whether a term asks for all that it asked for, and more; an empty one, that fits no node, stays so."""
    lists = [(new.get(each) or [], old.get(each) or []) for each in _TERM_LISTS]
    if not any(before for _, before in lists):
        return not any(after for after, _ in lists)
    return all(equality.equal(after[: len(before)], before) for after, before in lists)


def _deadline(new: int | None, old: int | None) -> Iterator[Cause]:
    path = "spec.activeDeadlineSeconds"
    if new is None:
        if old is not None:
            yield invalid(path, new, "must not update from a positive integer to nil value")
        return
    yield from in_range(new, 0, INT32_MAX, path)
    if old is not None and old < new:
        yield invalid(path, new, "must be less than or equal to previous value")


def _tolerations(new: list[Object], old: list[Object]) -> Iterator[Cause]:
    path = "spec.tolerations"
    remaining = [_without_seconds(each) for each in new]
    if any(_without_seconds(each) not in remaining for each in old):
        yield forbidden(
            path, "existing toleration can not be modified except its tolerationSeconds"
        )
    elif new != old:
        yield from validate_tolerations(new, path)


def _without_seconds(toleration: Object) -> Object:
    return {name: each for name, each in toleration.items() if name != "tolerationSeconds"}


def _gates(new: list[Object], old: list[Object]) -> Iterator[Cause]:
    known = [each.get("name") for each in old]
    for index, gate in enumerate(new):
        if gate.get("name") not in known:
            why = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            yield forbidden(f"spec.schedulingGates[{index}].name", why)


def _canonical(value: Any) -> Any:
    """Return a value without what means nothing, so that what is semantically equal compares equal."""
    return equality.meaning(_without_zeros(value))


def _without_zeros(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_zeros(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {key: each for key, each in value.items() if each or key not in _PLAIN_ZEROS}
    return {key: _without_zeros(each) for key, each in kept.items()}


def _status_changes(new: Object, old: Object) -> Iterator[Cause]:
    status, before = new.get("status") or {}, old.get("status") or {}
    for index, condition in enumerate(status.get("conditions") or ()):
        name = condition.get("type") or ""
        if name not in _SYSTEM_CONDITIONS:
            yield from causes_of(
                names.qualified_name(name), f"status.conditions[{index}].type", name
            )
    yield from immutable(status.get("qosClass"), before.get("qosClass"), "status.qosClass")
    spec = old.get("spec") or {}
    for name, group in (
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
    ):
        yield from _transitions(status, before, name, spec, spec.get(group) or ())
    never: Object = {"restartPolicy": "Never"}
    yield from _transitions(status, before, "ephemeralContainerStatuses", never, ())
    for name in ("podIPs", "hostIPs"):
        yield from _addresses(status.get(name) or [], f"status.{name}")
    if status.get("hostIPs") and status["hostIPs"][0].get("ip") != status.get("hostIP"):
        yield invalid(
            "status.hostIPs[0].ip", status["hostIPs"][0].get("ip"), "must be equal to `hostIP`"
        )


def _transitions(
    status: Object, before: Object, name: str, spec: Object, containers: Iterable[Object]
) -> Iterator[Cause]:
    """A terminated container that is not to be restarted must not be reported alive again."""
    policy, own = (
        spec.get("restartPolicy") or "Always",
        {each.get("name"): each for each in containers},
    )
    if policy == "Always" or may_restart_all(spec):
        return
    now = {each.get("name"): each for each in status.get(name) or ()}
    for index, earlier in enumerate(before.get(name) or ()):
        ended = (earlier.get("state") or {}).get("terminated")
        container = own.get(earlier.get("name")) or {}
        if ended is None or is_restarted(container, policy, ended.get("exitCode") or 0):
            continue
        later = now.get(earlier.get("name"))
        if later is not None and (later.get("state") or {}).get("terminated") is None:
            why = "may not be transitioned to non-terminated state"
            yield forbidden(f"status.{name}[{index}].state", why)


def _addresses(addresses: list[Object], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, each in enumerate(addresses):
        address = each.get("ip") or ""
        yield from causes_of(names.ip(address), f"{path}[{index}]", address)
        if address in seen:
            yield duplicate(f"{path}[{index}]", each)
        seen.add(address)
    families = [":" in each for each in seen]
    if len(families) != len(set(families)):
        yield invalid(path, addresses, "may specify no more than one IP for each IP family")
