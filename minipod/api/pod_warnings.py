"""What the sender of a valid Pod should know: what probably does not mean what it says (pkg/api/pod/warnings.go)."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from minipod.api import deprecations, names, volume_warnings
from minipod.api.validation.pod_annotations import APPARMOR_OF, SECCOMP_OF, SECCOMP_OF_POD
from minipod.api.volume_warnings import COMPARED, MOST

Object = dict[str, Any]

_BYTES = ("memory", "ephemeral-storage")
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
    "security.alpha.kubernetes.io/unsafe-sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
}
_SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_APPARMOR = 'deprecated since v1.30; use the "appArmorProfile" field instead'
_NOBODY = "a null labelSelector results in matching no pod"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def compute_warnings(pod: Object, path: str = "") -> list[str]:
    """Return one line for each oddity of a Pod, or of the template at `path`, its path first."""
    spec, before = pod.get("spec") or {}, f"{path}." if path else ""
    at = f"{before}spec"
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    containers = _containers(spec, at)
    return [
        *_placement(spec, at),
        *(
            f"{before}metadata.annotations[{name}]: {why}"
            for name, why in _ANNOTATIONS.items()
            if name in annotations
        ),
        *islice(volume_warnings.of_volumes(spec.get("volumes") or [], f"{at}.volumes"), MOST),
        *_repeated(spec.get("hostAliases") or [], "ip", f"{at}.hostAliases"),
        *_repeated(spec.get("imagePullSecrets") or [], "name", f"{at}.imagePullSecrets"),
        *_nameless(spec.get("imagePullSecrets") or [], f"{at}.imagePullSecrets"),
        *deprecations.of_fractions(spec.get("overhead"), _BYTES, f"{at}.overhead"),
        *_profiles_of_pod(spec, annotations, f"{before}metadata.annotations"),
        *(
            warning
            for container, where in containers
            for warning in (
                *_profiles(container, spec, annotations, path),
                *_of_container(container, where),
            )
        ),
        *islice(_ports(containers), MOST),
        *_port_names(containers),
        *_grace(spec, at),
        *_affinity(spec.get("affinity") or {}, f"{at}.affinity"),
        *_spellings(spec, at),
    ]


def _containers(spec: Object, path: str) -> list[tuple[Object, str]]:
    return [
        (container, f"{path}.{name}[{index}]")
        for name in ("initContainers", "containers", "ephemeralContainers")
        for index, container in enumerate(spec.get(name) or ())
    ]


# -- the Pod ---------------------------------------------------------------------------------------


def _placement(spec: Object, path: str) -> Iterator[str]:
    """Warn of labels of nodes that were renamed, and of spreading nobody."""
    for label in spec.get("nodeSelector") or {}:
        yield from deprecations.of_node_label(label, f"{path}.nodeSelector[{label}]")
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    at = f"{path}.affinity.nodeAffinity"
    terms = (affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()
    yield from deprecations.of_node_terms(terms, f"{at}.{_REQUIRED}.nodeSelectorTerms")
    for index, each in enumerate(affinity.get(_PREFERRED) or ()):
        yield from _preference(
            each.get("preference") or {}, f"{at}.{_PREFERRED}[{index}].preference"
        )
    for index, each in enumerate(spec.get("topologySpreadConstraints") or ()):
        at = f"{path}.topologySpreadConstraints[{index}]"
        key = each.get("topologyKey") or ""
        yield from deprecations.of_node_label(key, f"{at}.topologyKey", named=True)
        if each.get("labelSelector") is None:
            yield f"{at}.labelSelector: {_NOBODY}"


def _preference(term: Object, path: str) -> Iterator[str]:
    """Warn of values that no label has: a preference may name them all the same."""
    yield from deprecations.of_requirements(term, path)
    for index, each in enumerate(term.get("matchExpressions") or ()):
        for at, value in enumerate(each.get("values") or ()):
            for why in names.label_value(value):
                yield f"{path}.matchExpressions[{index}].values[{at}]: {value} is invalid, {why}"


def _repeated(entries: list[Object], key: str, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, each in enumerate(entries):
        value = each.get(key) or ""
        if value in seen:
            yield f"{path}[{index}].{key}: duplicate {key} {json.dumps(value)}"
        seen.add(value)


def _nameless(secrets: list[Object], path: str) -> Iterator[str]:
    for index, each in enumerate(secrets):
        if not each.get("name"):
            yield f'{path}[{index}].name: invalid empty name ""'


def _grace(spec: Object, path: str) -> Iterator[str]:
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        why = "must be >= 0; negative values are invalid and will be treated as 1"
        yield f"{path}.terminationGracePeriodSeconds: {why}"


def _affinity(affinity: Object, path: str) -> Iterator[str]:
    for name in ("podAffinity", "podAntiAffinity"):
        given = affinity.get(name) or {}
        for index, term in enumerate(given.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                yield f"{path}.{name}.{_REQUIRED}[{index}].labelSelector: {_NOBODY}"
        for index, each in enumerate(given.get(_PREFERRED) or ()):
            if (each.get("podAffinityTerm") or {}).get("labelSelector") is None:
                at = f"{path}.{name}.{_PREFERRED}[{index}].podAffinityTerm"
                yield f"{at}.labelSelector: {_NOBODY}"


def _spellings(spec: Object, path: str) -> Iterator[str]:
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        yield from deprecations.of_ip(server, f"{path}.dnsConfig.nameservers[{index}]")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        yield from deprecations.of_ip(alias.get("ip") or "", f"{path}.hostAliases[{index}].ip")


# -- profiles that were annotations ----------------------------------------------------------------


def _profiles_of_pod(spec: Object, annotations: Object, path: str) -> Iterator[str]:
    profile = (spec.get("securityContext") or {}).get("seccompProfile")
    if profile is None and SECCOMP_OF_POD in annotations:
        yield f"{path}[{SECCOMP_OF_POD}]: {_SECCOMP}"


def _profiles(container: Object, spec: Object, annotations: Object, path: str) -> Iterator[str]:
    own, at = container.get("securityContext") or {}, f"{path}.metadata" if path else "metadata"
    seccomp = f"{SECCOMP_OF}{container.get('name')}"
    if own.get("seccompProfile") is None and seccomp in annotations:
        yield f"{at}.annotations[{seccomp}]: {_SECCOMP}"
    apparmor = f"{APPARMOR_OF}{container.get('name')}"
    if not path or own.get("appArmorProfile") is not None or apparmor not in annotations:
        return
    of_pod = (spec.get("securityContext") or {}).get("appArmorProfile")
    if of_pod is None or of_pod != _profile_of(annotations[apparmor]):
        yield f"{at}.annotations[{apparmor}]: {_APPARMOR}"


def _profile_of(annotation: str) -> Object | None:
    """Return the field that says what an annotation of AppArmor did."""
    known = {"unconfined": "Unconfined", "runtime/default": "RuntimeDefault"}
    if annotation in known:
        return {"type": known[annotation]}
    kind, _, name = annotation.partition("/")
    return {"type": "Localhost", "localhostProfile": name} if kind == "localhost" and name else None


# -- containers ------------------------------------------------------------------------------------


def _of_container(container: Object, path: str) -> Iterator[str]:
    resources = container.get("resources") or {}
    for name in _BYTES:
        for which in ("limits", "requests"):
            at = f"{path}.resources.{which}"
            yield from deprecations.of_fractions(resources.get(which), (name,), at)
    yield from _hidden_variables(container.get("env") or [], f"{path}.env")


def _hidden_variables(variables: list[Object], path: str) -> Iterator[str]:
    """Warn of a variable that is set again, unless it only adds to what it was."""
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        name, value = variable.get("name") or "", variable.get("value") or ""
        itself = f"$({name})"
        adds = itself in value and value != itself and variable.get("valueFrom") is None
        if name in seen and not adds:
            yield (
                f"{path}[{index}]: hides previous definition of {json.dumps(name)}, "
                "which may be dropped when using apply"
            )
        seen.add(name)


def _ports(containers: list[tuple[Object, str]]) -> Iterator[str]:
    """Warn of ports that are said twice: the containers of a Pod share them."""
    seen: dict[tuple[Any, Any], list[tuple[Object, str]]] = {}
    for container, path in containers:
        for index, port in enumerate(container.get("ports") or ()):
            at = f"{path}.ports[{index}]"
            if port.get("hostIP") and not port.get("hostPort"):
                yield f"{at}: hostIP set without hostPort: {_struct(port)}"
            others = seen.setdefault((port.get("containerPort"), port.get("protocol")), [])
            for other, where in others:
                if relation := _relation(port, other):
                    yield f"{at}: {relation} port definition with {where}"
            if len(others) < COMPARED:
                others.append((port, at))


def _relation(port: Object, other: Object) -> str:
    one, two = port.get("hostPort") or 0, other.get("hostPort") or 0
    mine, its = port.get("hostIP") or "", other.get("hostIP") or ""
    if (one, mine) == (two, its):
        return "duplicate"
    if not one or not two:
        return "overlapping"
    return "dangerously ambiguous" if one == two and bool(mine) != bool(its) else ""


def _struct(port: Object) -> str:
    """Return a port as Go prints it."""
    return (
        f"{{Name:{port.get('name') or ''} HostPort:{port.get('hostPort') or 0} "
        f"ContainerPort:{port.get('containerPort') or 0} Protocol:{port.get('protocol') or ''} "
        f"HostIP:{port.get('hostIP') or ''}}}"
    )


def _port_names(containers: list[tuple[Object, str]]) -> Iterator[str]:
    first: dict[str, str] = {}
    for container, path in containers:
        for index, port in enumerate(container.get("ports") or ()):
            name, at = port.get("name"), f"{path}.ports[{index}]"
            if name and name in first:
                yield (
                    f"{at}: duplicate port name {json.dumps(name)} with {first[name]}, services and "
                    f"probes that select ports by name will use {first[name]}"
                )
            elif name:
                first[name] = at
