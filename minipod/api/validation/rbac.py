"""Roles and bindings (pkg/apis/rbac/validation)."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, invalid, not_supported, required
from minipod.api.rbac.default_roles import API_GROUP
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.scheduling import validate_label_selector

Object = dict[str, Any]

_REFERENCE = ("apiGroup", "kind", "name")

_ROLE_KINDS = ("Role", "ClusterRole")
_SUBJECT_KINDS = ("ServiceAccount", "User", "Group")


def validate_role(role: Object) -> list[Cause]:
    """Return what is wrong with a Role."""
    return list(_rules(role, namespaced=True))


def validate_role_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing a Role."""
    return validate_role(new)


def validate_cluster_role(role: Object) -> list[Cause]:
    """Return what is wrong with a ClusterRole."""
    causes = list(_rules(role, namespaced=False))
    aggregation = role.get("aggregationRule")
    if aggregation is None:
        return causes
    path = "aggregationRule.clusterRoleSelectors"
    selectors = aggregation.get("clusterRoleSelectors") or []
    if not selectors:
        causes.append(
            required(
                path, "at least one clusterRoleSelector required if aggregationRule is non-nil"
            )
        )
    for index, selector in enumerate(selectors):
        found = list(validate_label_selector(selector, f"{path}[{index}]"))
        causes += found
        if found:
            causes.append(invalid(f"{path}[{index}]", None, "invalid label selector."))
    return causes


def validate_cluster_role_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing a ClusterRole."""
    return validate_cluster_role(new)


def validate_role_binding(binding: Object) -> list[Cause]:
    """Return what is wrong with a RoleBinding."""
    return list(_binding(binding, _ROLE_KINDS, namespaced=True))


def validate_role_binding_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a RoleBinding."""
    return [*validate_role_binding(new), *_same_role(new, old)]


def validate_cluster_role_binding(binding: Object) -> list[Cause]:
    """Return what is wrong with a ClusterRoleBinding."""
    return list(_binding(binding, ("ClusterRole",), namespaced=False))


def validate_cluster_role_binding_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a ClusterRoleBinding."""
    return [*validate_cluster_role_binding(new), *_same_role(new, old)]


def _rules(role: Object, *, namespaced: bool) -> Iterator[Cause]:
    for index, rule in enumerate(role.get("rules") or ()):
        yield from _rule(rule, f"rules[{index}]", namespaced)


def _rule(rule: Object, path: str, namespaced: bool) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs")
    if urls:
        at = f"{path}.nonResourceURLs"
        if namespaced:
            yield invalid(at, urls, "namespaced rules cannot apply to non-resource URLs")
        if any(rule.get(each) for each in ("apiGroups", "resources", "resourceNames")):
            yield invalid(
                at, urls, "rules cannot apply to both regular resources and non-resource URLs"
            )
        return
    if not rule.get("apiGroups"):
        yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


def _binding(binding: Object, kinds: tuple[str, ...], *, namespaced: bool) -> Iterator[Cause]:
    reference = binding.get("roleRef") or {}
    if reference.get("apiGroup") != API_GROUP:
        yield not_supported("roleRef.apiGroup", reference.get("apiGroup") or "", (API_GROUP,))
    if reference.get("kind") not in kinds:
        yield not_supported("roleRef.kind", reference.get("kind") or "", kinds)
    name = reference.get("name") or ""
    if not name:
        yield required("roleRef.name")
    else:
        yield from causes_of(names.path_segment(name), "roleRef.name", name)
    for index, subject in enumerate(binding.get("subjects") or ()):
        yield from _subject(subject, f"subjects[{index}]", namespaced)


def _subject(subject: Object, path: str, namespaced: bool) -> Iterator[Cause]:
    name, kind, group = (subject.get(each) or "" for each in ("name", "kind", "apiGroup"))
    if not name:
        yield required(f"{path}.name")
    if kind == "ServiceAccount":
        if name:
            yield from causes_of(names.dns1123_subdomain(name), f"{path}.name", name)
        if group:
            yield not_supported(f"{path}.apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            yield required(f"{path}.namespace")
    elif kind in _SUBJECT_KINDS:
        if group != API_GROUP:
            yield not_supported(f"{path}.apiGroup", group, (API_GROUP,))
    else:
        yield not_supported(f"{path}.kind", kind, _SUBJECT_KINDS)


def _same_role(new: Object, old: Object) -> Iterator[Cause]:
    if new.get("roleRef") != old.get("roleRef"):
        reference = {**dict.fromkeys(_REFERENCE, ""), **(new.get("roleRef") or {})}
        shown = dict(
            zip(("APIGroup", "Kind", "Name"), (reference[n] for n in _REFERENCE), strict=True)
        )
        yield invalid("roleRef", shown, "cannot change roleRef")
