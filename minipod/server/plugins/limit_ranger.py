"""LimitRanger: what a namespace's LimitRanges give containers, and what they refuse."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from minipod.api import quantity
from minipod.api.pod_resources import compute_pod_amounts, written
from minipod.client import Object

_ANNOTATION = "kubernetes.io/limit-ranger"


def admit_pod(pod: Object, ranges: Iterable[Object]) -> None:
    """Give a new Pod's containers the default requests and limits of the namespace, in place."""
    done: list[str] = []
    for limit_range in ranges:
        defaults = _container_defaults(limit_range)
        for name, what in (("containers", "container"), ("initContainers", "init container")):
            for container in pod["spec"].get(name) or ():
                done += _fill(container, defaults, what)
    if done:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[_ANNOTATION] = f"LimitRanger plugin set: {'; '.join(done)}"


def _container_defaults(limit_range: Object) -> dict[str, Object]:
    found: dict[str, Object] = {"limits": {}, "requests": {}}
    for limit in (limit_range.get("spec") or {}).get("limits") or ():
        if limit.get("type") == "Container":
            found["limits"] |= limit.get("default") or {}
            found["requests"] |= limit.get("defaultRequest") or {}
    return found


def _fill(container: Object, defaults: Mapping[str, Object], what: str) -> Iterator[str]:
    """Set what is missing; yield a sentence about it."""
    resources = container.setdefault("resources", {})
    for which, word in (("requests", "request"), ("limits", "limit")):
        given = resources.get(which) or {}
        added = {name: each for name, each in defaults[which].items() if name not in given}
        if added:
            resources[which] = {**given, **added}
            yield f"{', '.join(sorted(added))} {word} for {what} {container.get('name', '')}"


def find_pod_problems(pod: Object, limit_range: Object) -> list[str]:
    """Return what a LimitRange refuses of a Pod."""
    spec = pod.get("spec") or {}
    problems: list[str] = []
    for limit in (limit_range.get("spec") or {}).get("limits") or ():
        kind = limit.get("type") or ""
        if kind == "Container":
            for name in ("containers", "initContainers"):
                for container in spec.get(name) or ():
                    resources = container.get("resources") or {}
                    problems += _problems(kind, limit, resources)
        elif kind == "Pod":
            problems += _problems(kind, limit, _sums(pod))
    return problems


def _sums(pod: Object) -> Object:
    """Return what a Pod asks for in all, as a container would write it."""
    return {
        which: {name: written(name, each) for name, each in compute_pod_amounts(pod, which).items()}
        for which in ("requests", "limits")
    }


def find_claim_problems(claim: Object, limit_range: Object) -> list[str]:
    """Return what a LimitRange refuses of a PersistentVolumeClaim."""
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    problems: list[str] = []
    for limit in (limit_range.get("spec") or {}).get("limits") or ():
        if limit.get("type") == "PersistentVolumeClaim":
            problems += _minimum(limit, requests, {})
            for name, bound in sorted((limit.get("max") or {}).items()):
                given = requests.get(name)
                if given is not None and quantity.parse(given) > quantity.parse(bound):
                    text = f"maximum {name} usage per PersistentVolumeClaim is {bound}"
                    problems.append(f"{text}, but request is {given}")
    return problems


def _problems(kind: str, limit: Object, resources: Object) -> Iterator[str]:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    yield from _minimum(limit, requests, limits)
    for name, bound in sorted((limit.get("max") or {}).items()):
        text = f"maximum {name} usage per {kind} is {bound}"
        if name not in limits:
            yield f"{text}.  No limit is specified"
        elif _amount(limits[name]) > _amount(bound):
            yield f"{text}, but limit is {limits[name]}"
        elif name in requests and _amount(requests[name]) > _amount(bound):
            yield f"{text}, but request is {requests[name]}"
    for name, bound in sorted((limit.get("maxLimitRequestRatio") or {}).items()):
        text = f"{name} max limit to request ratio per {kind} is {bound}"
        asked, most = _amount(requests.get(name, 0)), _amount(limits.get(name, 0))
        if not asked:
            yield f"{text}, but no request is specified or request is 0"
        elif not most:
            yield f"{text}, but no limit is specified or limit is 0"
        elif most / asked > _amount(bound):
            yield f"{text}, but provided ratio is {float(most / asked):f}"


def _minimum(limit: Object, requests: Object, limits: Object) -> Iterator[str]:
    for name, bound in sorted((limit.get("min") or {}).items()):
        text = f"minimum {name} usage per {limit.get('type')} is {bound}"
        if name not in requests:
            yield f"{text}.  No request is specified"
        elif _amount(requests[name]) < _amount(bound):
            yield f"{text}, but request is {requests[name]}"
        elif name in limits and _amount(limits[name]) < _amount(bound):
            yield f"{text}, but limit is {limits[name]}"


def _amount(text: Any) -> Fraction:
    return quantity.parse(text)


def refusal(problems: list[str]) -> str:
    """Return problems as one sentence, as Go's aggregated errors have it."""
    found = list(dict.fromkeys(problems))
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]"
