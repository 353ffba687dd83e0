"""Keeping the default roles and bindings what they should be (upstream's component-helpers/auth/rbac/reconciliation).

What is there is only added to: rules, subjects, labels and annotations that are missing. Objects whose `autoupdate`
annotation is not "true" any more are left alone. A binding that refers to another role is made anew: a roleRef does
not change.
"""

from typing import Any

from minipod.api.rbac.default_roles import AUTO_UPDATE
from minipod.api.rbac.rules import missing_rules

Object = dict[str, Any]


def compute_role(found: Object, wanted: Object) -> Object | None:
    """Return a role with what it lacks added; None when it lacks nothing or does not want to be updated."""
    if not _may_update(found):
        return None
    made = _with_metadata(found, wanted)
    if wanted.get("aggregationRule"):
        if found.get("aggregationRule") != wanted["aggregationRule"]:
            made["aggregationRule"] = wanted["aggregationRule"]
    else:
        held = found.get("rules") or []
        lacking = [
            each for each in wanted["rules"] if each not in held and missing_rules(held, [each])
        ]
        if lacking:
            made["rules"] = [*held, *lacking]
    return None if made == found else made


def compute_binding(found: Object, wanted: Object) -> Object | None:
    """Return a binding with what it lacks added; None when it lacks nothing or does not want to be updated."""
    if not _may_update(found):
        return None
    made = _with_metadata(found, wanted)
    held = found.get("subjects") or []
    lacking = [each for each in wanted.get("subjects") or () if each not in held]
    if lacking:
        made["subjects"] = [*held, *lacking]
    return None if made == found else made


def refers_elsewhere(found: Object, wanted: Object) -> bool:
    """Whether a binding is of another role, and may be made anew."""
    return _may_update(found) and bool(found["roleRef"] != wanted["roleRef"])


def _may_update(found: Object) -> bool:
    annotations = found["metadata"].get("annotations") or {}
    return bool(annotations.get(AUTO_UPDATE) == "true")


def _with_metadata(found: Object, wanted: Object) -> Object:
    metadata = dict(found["metadata"])
    for name in ("labels", "annotations"):
        metadata[name] = {**(wanted["metadata"].get(name) or {}), **(metadata.get(name) or {})}
    return {**found, "metadata": metadata}
