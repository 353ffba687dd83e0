"""The parts of a Pod's spec that change through a subresource of their own, and nothing else with them. Pure.

`pods/ephemeralcontainers` adds containers for debugging (KEP-277), `pods/resize` changes cpu and memory in place
(KEP-1287). Upstream: registry/core/pod strategy.go and core/validation ValidatePodEphemeralContainersUpdate,
ValidatePodResize.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from minipod.api import quantity
from minipod.api.field import Cause, forbidden, invalid
from minipod.api.pod_resources import compute_qos_class
from minipod.api.validation.pod import validate_pod

Object = dict[str, Any]

RESIZABLE = ("cpu", "memory")


@dataclass(frozen=True)
class Part:
    """One such part: how it is taken from what was sent, and what may not become of it."""

    take: Callable[[Object, Object], Object]  # (given spec, old spec) -> new spec
    validate: Callable[[Object, Object], Iterator[Cause]]  # (new Pod, old Pod)


def with_part(part: Part, given: Object, old: Object) -> Object:
    """Return `old` with the part of `given`; its metadata stays, but for who manages what."""
    metadata = {**old["metadata"]}
    if "managedFields" in given["metadata"]:
        metadata["managedFields"] = given["metadata"]["managedFields"]
    spec = part.take(given.get("spec") or {}, old["spec"])
    return {**old, "metadata": metadata, "spec": spec}


# -- ephemeral containers --------------------------------------------------------------------------


def _take_ephemeral(given: Object, old: Object) -> Object:
    new = {name: each for name, each in old.items() if name != "ephemeralContainers"}
    if given.get("ephemeralContainers"):
        new["ephemeralContainers"] = given["ephemeralContainers"]
    return new


def _validate_ephemeral(new: Object, old: Object) -> Iterator[Cause]:
    yield from validate_pod(new)
    path = "spec.ephemeralContainers"
    now = {each.get("name"): each for each in new["spec"].get("ephemeralContainers") or ()}
    for each in old["spec"].get("ephemeralContainers") or ():
        name = each["name"]
        if name not in now:
            yield forbidden(path, f'existing ephemeral containers "{name}" may not be removed')
        elif now[name] != each:
            yield forbidden(path, f'existing ephemeral containers "{name}" may not be changed')


# -- resize ----------------------------------------------------------------------------------------


def _take_resources(given: Object, old: Object) -> Object:
    """Containers that were added, removed or renamed are taken whole, for the validation to refuse."""
    new = deepcopy(old)
    new.pop("resources", None)
    if given.get("resources"):
        new["resources"] = given["resources"]
    for group in ("containers", "initContainers"):
        theirs, ours = given.get(group) or [], new.get(group) or []
        if [each.get("name") for each in theirs] != [each.get("name") for each in ours]:
            new[group] = theirs
            continue
        for container, sent in zip(ours, theirs, strict=True):
            for name in ("resources", "resizePolicy"):
                container.pop(name, None)
                if name in sent:
                    container[name] = sent[name]
    return new


def _validate_resize(new: Object, old: Object) -> Iterator[Cause]:
    yield from validate_pod(new)
    if compute_qos_class(new) != compute_qos_class(old):
        why = "Pod QOS Class may not change as a result of resizing"
        yield invalid("spec", compute_qos_class(new), why)
    for group in ("containers", "initContainers"):
        before, now = old["spec"].get(group) or [], new["spec"].get(group) or []
        if [each.get("name") for each in before] != [each.get("name") for each in now]:
            why = "pod resize may not add, remove, rename or reorder containers"
            yield forbidden(f"spec.{group}", why)
            continue
        for index, (was, container) in enumerate(zip(before, now, strict=True)):
            at = f"spec.{group}[{index}]"
            if container.get("resizePolicy") != was.get("resizePolicy"):
                yield forbidden(f"{at}.resizePolicy", "resize policy is immutable")
            yield from _resources_change(container, was, at)
    yield from _resources_change(new["spec"], old["spec"], "spec")


def _resources_change(container: Object, was: Object, path: str) -> Iterator[Cause]:
    for kind in ("limits", "requests"):
        now = (container.get("resources") or {}).get(kind) or {}
        before = (was.get("resources") or {}).get(kind) or {}
        at = f"{path}.resources.{kind}"
        for name in dict.fromkeys((*before, *now)):
            if name in RESIZABLE:
                if name in before and name not in now:
                    yield forbidden(at, f"resource {kind} cannot be removed")
            elif _amount(now.get(name)) != _amount(before.get(name)):
                yield forbidden(at, "only cpu and memory resources are mutable")


def _amount(text: Any) -> Any:
    return None if text is None else quantity.canonical(str(text))


PARTS = {
    "ephemeralcontainers": Part(_take_ephemeral, _validate_ephemeral),
    "resize": Part(_take_resources, _validate_resize),
}
