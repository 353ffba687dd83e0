"""Annotations that mean something to Pods: what was a field's predecessor must say what the field says.

Upstream's pkg/apis/core/validation (ValidatePodSpecificAnnotations and what compares annotations with fields).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from minipod.api.field import Cause, forbidden, invalid
from minipod.api.validation.values import descending_path

Object = dict[str, Any]

MIRROR = "kubernetes.io/config.mirror"
SECCOMP_OF_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_OF = "container.seccomp.security.alpha.kubernetes.io/"
APPARMOR_OF = "container.apparmor.security.beta.kubernetes.io/"
_COST = "controller.kubernetes.io/pod-deletion-cost"
_INTEGER = re.compile(r"-\d+|0|[1-9]\d*")
_SECCOMP = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default", "docker/default")}
_APPARMOR = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default",)}


def validate_pod_annotations(annotations: Object, spec: Object, path: str) -> Iterator[Cause]:
    """Check the annotations of a Pod or of a template."""
    if MIRROR in annotations and not spec.get("nodeName"):
        why = "must set spec.nodeName if mirror pod annotation is set"
        yield invalid(f"{path}[{MIRROR}]", annotations[MIRROR], why)
    cost = annotations.get(_COST)
    if cost is not None and not (_INTEGER.fullmatch(cost) and -(2**31) <= int(cost) < 2**31):
        yield invalid(f"{path}[{_COST}]", cost, "must be a 32bit integer")
    for name, value in annotations.items():
        if name == SECCOMP_OF_POD or name.startswith(SECCOMP_OF):
            yield from _seccomp(value, f"{path}.{name}")
    known = {each.get("name") for each, _ in _containers(spec, "")}
    for name, value in annotations.items():
        if name.startswith(APPARMOR_OF):
            container = name.removeprefix(APPARMOR_OF)
            if container not in known:
                yield invalid(f"{path}[{name}]", container, "container not found")
            if value not in ("", "runtime/default", "unconfined") and not _is_local(value):
                why = f'invalid AppArmor profile name: "{value}"'
                yield invalid(f"{path}[{name}]", value, why)


def validate_profiles_agree(annotations: Object, spec: Object, path: str) -> Iterator[Cause]:
    """Check that fields say of profiles what annotations say."""
    of_pod = spec.get("securityContext") or {}
    containers = [
        (each, each.get("securityContext") or {}, f"{at}.securityContext")
        for each, at in _containers(spec, path)
    ]
    asked = [(SECCOMP_OF_POD, of_pod.get("seccompProfile"), f"{path}.securityContext")]
    asked += [
        (f"{SECCOMP_OF}{each.get('name')}", own.get("seccompProfile"), at)
        for each, own, at in containers
    ]
    for key, profile, at in asked:
        if profile is not None and key in annotations:
            yield from _agree(
                annotations[key], profile, _SECCOMP, "seccomp", f"{at}.seccompProfile"
            )
    for each, own, at in containers:
        key, profile = f"{APPARMOR_OF}{each.get('name')}", own.get("appArmorProfile")
        profile = of_pod.get("appArmorProfile") if profile is None else profile
        if profile is not None and key in annotations:
            yield from _agree(
                annotations[key], profile, _APPARMOR, "apparmor", f"{at}.appArmorProfile"
            )


def _containers(spec: Object, path: str) -> Iterator[tuple[Object, str]]:
    for name in ("initContainers", "containers", "ephemeralContainers"):
        for index, each in enumerate(spec.get(name) or ()):
            yield each, f"{path}.{name}[{index}]"


def _is_local(value: str) -> bool:
    return value.startswith("localhost/")


def _seccomp(value: str, path: str) -> Iterator[Cause]:
    if _is_local(value):
        yield from descending_path(value.removeprefix("localhost/"), path)
    elif value not in ("runtime/default", "docker/default", "unconfined"):
        yield invalid(path, value, "must be a valid seccomp profile")


def _agree(
    annotation: str, profile: Object, words: Mapping[str, tuple[str, ...]], what: str, path: str
) -> Iterator[Cause]:
    kind = profile.get("type") or ""
    local = kind == "Localhost"
    if (kind in words and annotation not in words[kind]) or (local and not _is_local(annotation)):
        yield forbidden(f"{path}.type", f"{what} type in annotation and field must match")
    elif local and annotation.removeprefix("localhost/") != profile.get("localhostProfile"):
        why = f"{what} profile in annotation and field must match"
        yield forbidden(f"{path}.localhostProfile", why)
