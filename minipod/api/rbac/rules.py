"""Policy rules: whether they allow something, whether they cover other rules, and how they are written down.

Semantics of upstream's pkg/apis/rbac/v1 (RuleAllows) and component-helpers/auth/rbac/validation (Covers).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from minipod.api.rbac.attributes import Attributes

Rule = dict[str, Any]
ALL = "*"
FULL_AUTHORITY: tuple[Rule, ...] = (
    {"verbs": [ALL], "apiGroups": [ALL], "resources": [ALL]},
    {"verbs": [ALL], "nonResourceURLs": [ALL]},
)
_PARTS = (
    ("APIGroups", "apiGroups"),
    ("Resources", "resources"),
    ("NonResourceURLs", "nonResourceURLs"),
    ("ResourceNames", "resourceNames"),
    ("Verbs", "verbs"),
)


class CompiledRules:
    """Rules of one subject, indexed so that a question costs a few look-ups however many rules there are.

    `add` tells where rules come from, which `allows` answers.
    """

    def __init__(self) -> None:
        self._resources: dict[tuple[str, str, str], str] = {}
        self._named: dict[tuple[str, str, str, str], str] = {}
        self._paths: dict[tuple[str, str], str] = {}
        self._prefixes: list[tuple[str, str, str]] = []

    def add(self, rules: Iterable[Rule], source: str) -> None:
        """Take rules in."""
        for rule in rules:
            self._add_resources(rule, source)
            for verb, path in product(rule.get("verbs") or (), rule.get("nonResourceURLs") or ()):
                if path.endswith(ALL):
                    self._prefixes.append((verb, path.rstrip(ALL), source))
                else:
                    self._paths.setdefault((verb, path), source)

    def allows(self, asked: Attributes) -> str | None:
        """Return the source of a rule that allows it; None when none does."""
        return self._allows_path(asked) if asked.path else self._allows_resource(asked)

    def _add_resources(self, rule: Rule, source: str) -> None:
        parts = (rule.get(each) or () for each in ("verbs", "apiGroups", "resources"))
        for verb, group, resource in product(*parts):
            if not rule.get("resourceNames"):
                self._resources.setdefault((verb, group, resource), source)
            for name in rule.get("resourceNames") or ():
                self._named.setdefault((verb, group, resource, name), source)

    def _allows_resource(self, asked: Attributes) -> str | None:
        resources = [asked.combined_resource, ALL]
        if asked.subresource:
            resources.append(f"{ALL}/{asked.subresource}")
        for key in product((asked.verb, ALL), (asked.group, ALL), resources):
            found = self._resources.get(key)
            if found is None and asked.name:
                found = self._named.get((*key, asked.name))
            if found is not None:
                return found
        return None

    def _allows_path(self, asked: Attributes) -> str | None:
        for verb in (asked.verb, ALL):
            if (found := self._paths.get((verb, asked.path))) is not None:
                return found
        for verb, prefix, source in self._prefixes:
            if verb in (asked.verb, ALL) and asked.path.startswith(prefix):
                return source
        return None


def missing_rules(held: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """Return the parts of `wanted` that no single rule of `held` covers."""
    return [
        part
        for rule in wanted
        for part in _broken_down(rule)
        if not any(_covers(owner, part) for owner in held)
    ]


def describe_rules(rules: Iterable[Rule]) -> list[str]:
    """Return rules as upstream writes them in an error, those that differ in verbs alone as one, sorted."""
    simple: dict[tuple[str, str], Rule] = {}
    others: list[Rule] = []
    for rule in rules:
        groups, resources = rule.get("apiGroups") or [], rule.get("resources") or []
        if (
            rule.get("resourceNames")
            or rule.get("nonResourceURLs")
            or len(groups) * len(resources) != 1
        ):
            others.append(rule)
        elif (groups[0], resources[0]) in simple:
            simple[groups[0], resources[0]]["verbs"] += rule["verbs"]
        else:
            simple[groups[0], resources[0]] = {**rule, "verbs": list(rule["verbs"])}
    return sorted({_described(rule) for rule in (*others, *simple.values())})


def quoted_list(values: Iterable[str]) -> str:
    """Return a list as Go's %q writes one: `["a" "b"]`."""
    return "[" + " ".join(json.dumps(each, ensure_ascii=False) for each in values) + "]"


def _described(rule: Rule) -> str:
    parts = (f"{label}:{quoted_list(rule[name])}" for label, name in _PARTS if rule.get(name))
    return "{" + ", ".join(parts) + "}"


def _broken_down(rule: Rule) -> Iterator[Rule]:
    """Yield rules of one verb, one group, one resource and one name each, or of one verb and one path."""
    names = rule.get("resourceNames") or (None,)
    parts = (rule.get(each) or () for each in ("apiGroups", "resources", "verbs"))
    for group, resource, verb in product(*parts):
        for name in names:
            made: Rule = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
            if name is not None:
                made["resourceNames"] = [name]
            yield made
    for verb, path in product(rule.get("verbs") or (), rule.get("nonResourceURLs") or ()):
        yield {"verbs": [verb], "nonResourceURLs": [path]}


def _covers(owner: Rule, part: Rule) -> bool:
    names = owner.get("resourceNames") or ()
    wanted = part.get("resourceNames") or ()
    return (
        _has_all(owner.get("verbs") or (), part.get("verbs") or ())
        and _has_all(owner.get("apiGroups") or (), part.get("apiGroups") or ())
        and all(_covers_resource(owner, each) for each in part.get("resources") or ())
        and all(_covers_path(owner, each) for each in part.get("nonResourceURLs") or ())
        and (not names or (bool(wanted) and set(wanted) <= set(names)))
    )


def _has_all(held: Sequence[str], wanted: Iterable[str]) -> bool:
    return ALL in held or set(wanted) <= set(held)


def _covers_resource(owner: Rule, resource: str) -> bool:
    held = owner.get("resources") or ()
    _, slash, subresource = resource.partition("/")
    return ALL in held or resource in held or bool(slash and f"{ALL}/{subresource}" in held)


def _covers_path(owner: Rule, path: str) -> bool:
    for held in owner.get("nonResourceURLs") or ():
        if held == path or (held.endswith(ALL) and path.startswith(held.rstrip(ALL))):
            return True
    return False
