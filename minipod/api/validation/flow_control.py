"""flowcontrol.apiserver.k8s.io/v1 (pkg/apis/flowcontrol/validation)."""

import math
from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.equality import equal
from minipod.api.field import Cause, duplicate, forbidden, invalid, not_supported, required
from minipod.api.validation.metadata import causes_of

Object = dict[str, Any]

_PRECEDENCE_LIMIT = 10_000
_QUEUES_LIMIT = 10_000_000
_POSITIVE = "must be positive"
_HASH_BITS = 60  # what a flow is dealt its queues by
_DISTINGUISHERS = ("ByNamespace", "ByUser")
_VERBS = (
    *("create", "delete", "deletecollection", "get", "list"),
    *("patch", "proxy", "update", "watch"),
)
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_EXEMPT, _CATCH_ALL = "exempt", "catch-all"
_ROUND_TRIP = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"


def _for_everything(*groups: str) -> list[Object]:
    """Return the rules that hold for whatever these groups ask."""
    resources = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    return [
        {
            "subjects": [{"kind": "Group", "group": {"name": group}} for group in groups],
            "resourceRules": [{**resources, "clusterScope": True}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }
    ]


# What upstream relies on, so that these names mean the same in every cluster (apis/flowcontrol/bootstrap).
_FIXED_SCHEMAS: dict[str, Object] = {
    _EXEMPT: {
        "priorityLevelConfiguration": {"name": _EXEMPT},
        "matchingPrecedence": 1,
        "rules": _for_everything("system:masters"),
    },
    _CATCH_ALL: {
        "priorityLevelConfiguration": {"name": _CATCH_ALL},
        "matchingPrecedence": 10_000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": _for_everything("system:unauthenticated", "system:authenticated"),
    },
}
_FIXED_LEVELS: dict[str, Object] = {
    _EXEMPT: {"type": "Exempt"},  # its share may be changed
    _CATCH_ALL: {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 5,
            "lendablePercent": 0,
            "limitResponse": {"type": "Reject"},
        },
    },
}


def validate_schema(schema: Object) -> list[Cause]:
    """Check a FlowSchema."""
    name, spec = schema["metadata"].get("name") or "", schema.get("spec") or {}
    fixed = _FIXED_SCHEMAS.get(name)
    return [*_precedence(spec, name), *_schema_spec(spec), *_fixed(name, spec, fixed)]


def _fixed(name: str, spec: Object, fixed: Object | None, but: str = "") -> Iterator[Cause]:
    """Check what may not differ from what it is everywhere, but for one field."""
    if fixed is None:
        return
    given = {key: value for key, value in spec.items() if key != but}
    if not equal(given, fixed):
        exception = f" except the 'spec.{but}' field" if but else ""
        yield invalid("spec", spec, f"spec of '{name}'{exception} must equal the fixed value")


def validate_status(obj: Object) -> list[Cause]:
    """Check the conditions that a FlowSchema or a PriorityLevelConfiguration is given."""
    found: list[Cause] = []
    seen: set[str] = set()
    for index, each in enumerate((obj.get("status") or {}).get("conditions") or ()):
        path, kind = f"status.conditions[{index}].type", each.get("type") or ""
        if kind in seen:
            found.append(duplicate(path, kind))
        if not kind:
            found.append(required(path, "must not be empty"))
        seen.add(kind)
    return found


def _precedence(spec: Object, name: str) -> Iterator[Cause]:
    path, given = "spec.matchingPrecedence", spec.get("matchingPrecedence") or 0
    if given <= 0:
        yield invalid(path, given, "must be a positive value")
    if given > _PRECEDENCE_LIMIT:
        yield invalid(path, given, f"must not be greater than {_PRECEDENCE_LIMIT}")
    if given == 1 and name != _EXEMPT:
        yield invalid(path, given, "only the schema named 'exempt' may have matchingPrecedence 1")


def _schema_spec(spec: Object) -> Iterator[Cause]:
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _DISTINGUISHERS:
        yield not_supported("spec.distinguisherMethod.type", method, _DISTINGUISHERS)
    path = "spec.priorityLevelConfiguration.name"
    level = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
    if level:
        yield from causes_of(names.dns1123_subdomain(level), path, level)
    else:
        yield required(path, "must reference a priority level")
    for index, rule in enumerate(spec.get("rules") or ()):
        yield from _rules(rule, f"spec.rules[{index}]")


def _rules(rule: Object, path: str) -> Iterator[Cause]:
    subjects = rule.get("subjects") or ()
    for index, subject in enumerate(subjects):
        yield from _subject(subject, f"{path}.subjects[{index}]")
    if not subjects:
        yield required(f"{path}.subjects", "subjects must contain at least one value")
    resources, others = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resources and not others:
        why = "at least one of resourceRules and nonResourceRules has to be non-empty"
        yield required(path, why)
    for index, each in enumerate(resources):
        yield from _resource_rule(each, f"{path}.resourceRules[{index}]")
    for index, each in enumerate(others):
        yield from _other_rule(each, f"{path}.nonResourceRules[{index}]")


def _subject(subject: Object, path: str) -> Iterator[Cause]:
    kind = subject.get("kind") or ""
    if kind not in _SUBJECTS:
        yield not_supported(f"{path}.kind", kind, _SUBJECTS)
        return
    yield from _subject_of(kind, subject, path)
    for other in ("ServiceAccount", "User", "Group"):
        name = _SUBJECTS[other]
        if other != kind and subject.get(name) is not None:
            why = f"{name} is forbidden when subject kind is not '{other}'"
            yield forbidden(f"{path}.{name}", why)


def _subject_of(kind: str, subject: Object, path: str) -> Iterator[Cause]:
    """Check the part of a subject that its kind asks for."""
    name = _SUBJECTS[kind]
    given = subject.get(name)
    if given is None:
        yield required(f"{path}.{name}", f"{name} is required when subject kind is '{kind}'")
        return
    if not given.get("name"):
        yield required(f"{path}.{name}.name")
    if kind == "ServiceAccount":
        yield from _account(given, f"{path}.{name}")


def _account(account: Object, path: str) -> Iterator[Cause]:
    name, namespace = account.get("name") or "", account.get("namespace") or ""
    if name not in ("", "*"):
        yield from causes_of(names.dns1123_subdomain(name), f"{path}.name", name)
    if namespace:
        yield from causes_of(names.dns1123_label(namespace), f"{path}.namespace", namespace)
    else:
        yield required(f"{path}.namespace", "must specify namespace for service account")


def _verbs(rule: Object, path: str) -> Iterator[Cause]:
    verbs = rule.get("verbs") or []
    if not verbs:
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    elif "*" in verbs:
        yield from _alone(verbs, f"{path}.verbs", "verbs")
    elif not set(verbs) <= set(_VERBS):
        yield not_supported(f"{path}.verbs", verbs, _VERBS)


def _alone(values: list[str], path: str, what: str) -> Iterator[Cause]:
    """Check that a `*` has no company."""
    if "*" in values and len(values) > 1:
        yield invalid(path, values, f"if '*' is present, must not specify other {what}")


def _resource_rule(rule: Object, path: str) -> Iterator[Cause]:
    yield from _verbs(rule, path)
    for name, one, many in (
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ):
        if rule.get(name):
            yield from _alone(rule[name], f"{path}.{name}", many)
        else:
            yield required(f"{path}.{name}", f"resource rules must supply at least one {one}")
    path, namespaces = f"{path}.namespaces", rule.get("namespaces") or []
    if not namespaces and not rule.get("clusterScope"):
        why = "resource rules that are not cluster scoped must supply at least one namespace"
        yield required(path, why)
    elif "*" in namespaces:
        yield from _alone(namespaces, path, "namespaces")
    else:
        for index, each in enumerate(namespaces):
            for problem in names.dns1123_label(each):
                why = f"each member of this list must be '*' or a DNS-1123 label; {problem}"
                yield invalid(f"{path}[{index}]", each, why)


def _other_rule(rule: Object, path: str) -> Iterator[Cause]:
    yield from _verbs(rule, path)
    path, urls = f"{path}.nonResourceURLs", rule.get("nonResourceURLs") or []
    if not urls:
        yield required(path, "nonResourceURLs must contain at least one value")
    elif "*" in urls:
        yield from _alone(urls, path, "non-resource URLs")
    else:
        for index, each in enumerate(urls):
            if problem := _url_problem(each):
                yield invalid(f"{path}[{index}]", each, problem)


def _url_problem(url: str) -> str:
    if not url:
        return "must not be empty"
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    if "*" in url and (url.count("*") > 1 or not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


def validate_level(level: Object) -> list[Cause]:
    """Check a PriorityLevelConfiguration."""
    metadata, spec = level["metadata"], level.get("spec") or {}
    name = metadata.get("name") or ""
    causes: list[Cause] = []
    if _ROUND_TRIP in (metadata.get("annotations") or {}):
        why = f"annotation '{_ROUND_TRIP}' is forbidden"
        causes.append(forbidden("metadata.annotations", why))
    causes += _level(name, spec)
    causes += _fixed(name, spec, _FIXED_LEVELS.get(name), "exempt" if name == _EXEMPT else "")
    return causes


def _level(name: str, spec: Object) -> Iterator[Cause]:
    kind, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
    if (name == _EXEMPT) != (kind == "Exempt"):
        yield invalid("spec.type", kind, "must be 'Exempt' if and only if `name` is 'exempt'")
    if kind == "Exempt":
        if limited is not None:
            yield forbidden("spec.limited", "must be nil if the type is not Limited")
        yield from _shares(exempt or {}, "spec.exempt")
        yield from _lent(exempt or {}, "spec.exempt")
    elif kind == "Limited":
        if exempt is not None:
            yield forbidden("spec.exempt", "must be nil if the type is Limited")
        if limited is None:
            yield required("spec.limited", "must not be empty when type is Limited")
        else:
            yield from _limited(limited, "spec.limited")
    else:
        yield not_supported("spec.type", kind, ("Exempt", "Limited"))


def _limited(limited: Object, path: str) -> Iterator[Cause]:
    yield from _shares(limited, path)
    yield from _response(limited.get("limitResponse") or {}, f"{path}.limitResponse")
    yield from _lent(limited, path)
    borrowed = limited.get("borrowingLimitPercent") or 0
    if borrowed < 0:
        why = "if specified, must be a non-negative integer"
        yield invalid(f"{path}.borrowingLimitPercent", borrowed, why)


def _shares(given: Object, path: str) -> Iterator[Cause]:
    shares = given.get("nominalConcurrencyShares") or 0
    if shares < 0:
        yield invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")


def _lent(given: Object, path: str) -> Iterator[Cause]:
    lent = given.get("lendablePercent") or 0
    if not 0 <= lent <= 100:
        yield invalid(f"{path}.lendablePercent", lent, "must be between 0 and 100, inclusive")


def _response(response: Object, path: str) -> Iterator[Cause]:
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            why = "must be nil if limited.limitResponse.type is not Limited"
            yield forbidden(f"{path}.queuing", why)
    elif kind != "Queue":
        yield not_supported(f"{path}.type", kind, ("Queue", "Reject"))
    elif queuing is None:
        why = "must not be empty if limited.limitResponse.type is Limited"
        yield required(f"{path}.queuing", why)
    else:
        yield from _queuing(queuing, f"{path}.queuing")


def _queuing(queuing: Object, path: str) -> Iterator[Cause]:
    length, queues, hand = (
        queuing.get(name) or 0 for name in ("queueLengthLimit", "queues", "handSize")
    )
    if length <= 0:
        yield invalid(f"{path}.queueLengthLimit", length, _POSITIVE)
    if queues <= 0:
        yield invalid(f"{path}.queues", queues, _POSITIVE)
    elif queues > _QUEUES_LIMIT:
        yield invalid(f"{path}.queues", queues, f"must not be greater than {_QUEUES_LIMIT}")
    if problem := _hand_problem(hand, queues):
        yield invalid(f"{path}.handSize", hand, problem)


def _hand_problem(hand: int, queues: int) -> str:
    """Return why a flow cannot be dealt so many of the queues."""
    if hand <= 0:
        return _POSITIVE
    if hand > queues:
        return f"should not be greater than queues ({queues})"
    if math.ceil(math.log2(queues) * hand) > _HASH_BITS:
        return (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be "
            f"greater than {_HASH_BITS}"
        )
    return ""
