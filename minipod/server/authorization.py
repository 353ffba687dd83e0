"""Who may do what: `system:masters` everything, nodes what their Pods need, everybody else what RBAC's bindings grant.

The rules of a subject are compiled when it first asks, from the committed roles and bindings, and kept until one of
those changes (`Store.changed`): the very next request after a change sees it. Upstream's authorizers PrivilegedGroups,
Node (`node_authorization`) and RBAC, in this order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from minipod.api.errors import StatusError, status_error
from minipod.api.rbac.attributes import Attributes, forbidden_reason
from minipod.api.rbac.default_roles import API_GROUP, NODE_RULES
from minipod.api.rbac.rules import FULL_AUTHORITY, CompiledRules, Rule
from minipod.client import Object
from minipod.server import wire
from minipod.server.identity import MASTERS, Identity
from minipod.server.node_authorization import NODES_GROUP, NodeAuthorizer, node_name
from minipod.store import Store

_ACCOUNT = "system:serviceaccount:"
_SUBJECTS_KEPT = 4096
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether it is allowed, and by what; or what went wrong while looking."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """Rules that a subject has through one binding; or why they could not be found."""

    source: str
    rules: tuple[Rule, ...]
    error: str = ""


class Authorizer:
    """Decides over the roles and bindings of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._policy = Policy(store)
        self._nodes = NodeAuthorizer(store)

    def decide(self, identity: Identity, asked: Attributes) -> Decision:
        """Return whether somebody may do something."""
        if MASTERS in identity.groups:
            return Decision(True)
        why = ""
        if name := node_name(identity):
            allowed, why = self._nodes.decide(name, asked)
            if allowed:
                return Decision(True, "")
        decision = self._current().decide(identity, asked)
        if decision.allowed or not why:
            return decision
        return Decision(False, f"{why}, {decision.reason}" if decision.reason else why)

    def authorize(self, identity: Identity, asked: Attributes) -> str:
        """Return why somebody may do something. Raises Forbidden."""
        decision = self.decide(identity, asked)
        if not decision.allowed:
            raise forbidden(identity, asked, decision.reason)
        return decision.reason

    def grants(self, identity: Identity, namespace: str) -> list[Grant]:
        """Return everything that somebody is granted in a namespace, "" for what holds everywhere."""
        found = list(self._current().grants(identity, namespace))
        if MASTERS in identity.groups:
            found.insert(0, Grant(MASTERS, FULL_AUTHORITY))
        if node_name(identity):
            found.insert(0, Grant(NODES_GROUP, NODE_RULES))
        return found

    def referred_rules(self, reference: Object, namespace: str) -> tuple[Rule, ...]:
        """Return the rules of the role that a binding refers to. Raises NotFound."""
        grant = self._current().referred(reference, namespace)
        if grant.error:
            kind = str(reference.get("kind", "")).lower()
            details = {"name": reference.get("name"), "group": API_GROUP, "kind": kind}
            raise status_error(404, "NotFound", grant.error, details)
        return grant.rules

    def _current(self) -> "Policy":
        if not self._policy.is_current():
            self._policy = Policy(self._store)
        return self._policy


class Policy:
    """The roles and bindings of one moment, and the rules compiled from them so far."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._versions = self._seen()
        self._everywhere: dict[Identity, _Compiled] = {}
        self._within: dict[tuple[Identity, str], _Compiled] = {}

    def is_current(self) -> bool:
        """Whether no role and no binding has changed since."""
        return self._versions == self._seen()

    def decide(self, identity: Identity, asked: Attributes) -> Decision:
        """Return what the bindings say."""
        key = Identity(identity.user, identity.groups)
        compiled = self._everywhere.get(key)
        if compiled is None:
            grants = self._cluster_grants(key)
            compiled = _keep(self._everywhere, key, _Compiled(grants))
        source, errors = compiled.rules.allows(asked), compiled.errors
        if source is None and asked.namespace:
            local = self._within.get((key, asked.namespace))
            if local is None:
                grants = self._namespace_grants(key, asked.namespace)
                local = _keep(self._within, (key, asked.namespace), _Compiled(grants))
            source, errors = local.rules.allows(asked), (*errors, *local.errors)
        if source is not None:
            return Decision(True, f"RBAC: allowed by {source}")
        return Decision(False, f"RBAC: {_aggregate(errors)}" if errors else "")

    def grants(self, identity: Identity, namespace: str) -> Iterator[Grant]:
        """Yield what the bindings grant somebody."""
        yield from self._cluster_grants(identity)
        if namespace:
            yield from self._namespace_grants(identity, namespace)

    def referred(self, reference: Object, namespace: str, source: str = "") -> Grant:
        """Return the rules that a roleRef stands for."""
        kind, name = reference.get("kind", ""), reference.get("name", "")
        key = f"{namespace}/{name}" if kind == "Role" else name
        roles = self._roles if kind == "Role" else self._cluster_roles
        found = roles.get(key)
        if found is None:
            return Grant(source, (), f'{kind.lower()}.{API_GROUP} "{name}" not found')
        return Grant(source, tuple(found.get("rules") or ()))

    def _cluster_grants(self, identity: Identity) -> Iterator[Grant]:
        for binding in self._cluster_bindings.values():
            subject = _applying(identity, binding, "")
            if subject is not None:
                source = _source(
                    "ClusterRoleBinding", binding["metadata"]["name"], binding, subject, ""
                )
                yield self.referred(binding["roleRef"], "", source)

    def _namespace_grants(self, identity: Identity, namespace: str) -> Iterator[Grant]:
        for binding in self._bindings.get(namespace, ()):
            subject = _applying(identity, binding, namespace)
            if subject is not None:
                name = f"{binding['metadata']['name']}/{namespace}"
                source = _source("RoleBinding", name, binding, subject, namespace)
                yield self.referred(binding["roleRef"], namespace, source)

    @cached_property
    def _cluster_roles(self) -> dict[str, Object]:
        return self._load("clusterroles")

    @cached_property
    def _roles(self) -> dict[str, Object]:
        return self._load("roles")

    @cached_property
    def _cluster_bindings(self) -> dict[str, Object]:
        return self._load("clusterrolebindings")

    @cached_property
    def _bindings(self) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = {}
        for key, binding in self._load("rolebindings").items():
            found.setdefault(key.partition("/")[0], []).append(binding)
        return found

    def _load(self, plural: str) -> dict[str, Object]:
        prefix = _prefix(plural)
        page = self._store.list(prefix)
        return {entry.key.removeprefix(prefix): wire.decode(entry.value) for entry in page.entries}

    def _seen(self) -> tuple[int, ...]:
        return tuple(map(self._store.changed, _PREFIXES))


class _Compiled:
    """The rules of one subject, and what of them could not be found."""

    def __init__(self, grants: Iterator[Grant]) -> None:
        self.rules = CompiledRules()
        errors = []
        for grant in grants:
            self.rules.add(grant.rules, grant.source)
            if grant.error:
                errors.append(grant.error)
        self.errors = tuple(errors)


def forbidden(identity: Identity, asked: Attributes, reason: str = "") -> StatusError:
    """Return the refusal of a request, in upstream's words."""
    why = forbidden_reason(identity.user, asked)
    if reason:
        why = f"{why}: {reason}"
    details: Object = {}
    if asked.path:
        return status_error(403, "Forbidden", f"forbidden: {why}", details)
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    if asked.name:
        details["name"] = asked.name
    if asked.group:
        details["group"] = asked.group
    details["kind"] = asked.resource
    subject = f'{resource} "{asked.name}"' if asked.name else resource
    return status_error(403, "Forbidden", f"{subject} is forbidden: {why}", details)


def _prefix(plural: str) -> str:
    return f"/{plural}.{API_GROUP}/"


_PREFIXES = tuple(map(_prefix, ("clusterroles", "roles", "clusterrolebindings", "rolebindings")))


def _applying(identity: Identity, binding: Object, namespace: str) -> Object | None:
    """Return the first subject of a binding that means this user."""
    for subject in binding.get("subjects") or ():
        name, kind = subject.get("name", ""), subject.get("kind", "")
        if kind == "User" and name == identity.user:
            return dict(subject)
        if kind == "Group" and name in identity.groups:
            return dict(subject)
        if kind == "ServiceAccount":
            where = subject.get("namespace") or namespace
            if where and identity.user == f"{_ACCOUNT}{where}:{name}":
                return dict(subject)
    return None


def _source(kind: str, name: str, binding: Object, subject: Object, namespace: str) -> str:
    reference, who = binding["roleRef"], subject.get("name", "")
    if subject.get("kind") == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or namespace}"
    return (
        f'{kind} "{name}" of {reference.get("kind")} "{reference.get("name")}" '
        f'to {subject.get("kind")} "{who}"'
    )


def _aggregate(errors: tuple[str, ...]) -> str:
    distinct = list(dict.fromkeys(errors))
    return distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]"


def _keep(kept: dict[_Key, _Value], key: _Key, value: _Value) -> _Value:
    """Keep something, and forget everything when there is too much of it."""
    if len(kept) >= _SUBJECTS_KEPT:
        kept.clear()
    kept[key] = value
    return value
