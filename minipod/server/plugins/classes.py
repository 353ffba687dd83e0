"""DefaultIngressClass and RuntimeClass: what follows from the class that an object names, or does not name."""

from collections.abc import Iterable

from minipod.client import Object

_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_LEGACY = "kubernetes.io/ingress.class"


def admit_ingress(ingress: Object, classes: Iterable[Object]) -> None:
    """Give a new Ingress that names no class the default one, in place: the newest, then the first by name."""
    spec = ingress.setdefault("spec", {})
    if spec.get("ingressClassName") or _LEGACY in (ingress["metadata"].get("annotations") or {}):
        return
    defaults = [
        each["metadata"]
        for each in classes
        if (each["metadata"].get("annotations") or {}).get(_DEFAULT) == "true"
    ]
    if defaults:
        newest = max(each.get("creationTimestamp") or "" for each in defaults)
        spec["ingressClassName"] = min(
            each["name"] for each in defaults if (each.get("creationTimestamp") or "") == newest
        )


def admit_runtime(pod: Object, runtime_class: Object | None) -> str:
    """Add the overhead and the nodes of a Pod's RuntimeClass, in place. Returns why it is refused, or ""."""
    spec = pod["spec"]
    name = spec.get("runtimeClassName")
    if not name:
        return "" if not spec.get("overhead") else _NO_OVERHEAD
    if runtime_class is None:
        return f'pod rejected: RuntimeClass "{name}" not found'
    fixed = (runtime_class.get("overhead") or {}).get("podFixed")
    if spec.get("overhead") and spec["overhead"] != (fixed or {}):
        return "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
    if fixed:
        spec["overhead"] = dict(fixed)
    return _schedule(spec, runtime_class.get("scheduling") or {})


_NO_OVERHEAD = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"


def _schedule(spec: Object, scheduling: Object) -> str:
    wanted, given = scheduling.get("nodeSelector") or {}, spec.get("nodeSelector") or {}
    for key, value in wanted.items():
        if given.get(key, value) != value:
            return (
                "pod rejected: conflict: runtimeClass.scheduling.nodeSelector"
                f"[{key}] = {value}; pod.spec.nodeSelector[{key}] = {given[key]}"
            )
    if wanted:
        spec["nodeSelector"] = {**given, **wanted}
    tolerations = spec.get("tolerations") or []
    added = [each for each in scheduling.get("tolerations") or () if each not in tolerations]
    if added:
        spec["tolerations"] = [*tolerations, *added]
    return ""
