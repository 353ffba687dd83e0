"""Nobody gives what he does not have: what writing roles and bindings takes beyond being allowed to write them.

A role may hold only what its writer holds himself, unless he may `escalate` that role; a binding may refer only to a
role whose rules its writer holds, unless he may `bind` it. Upstream's pkg/registry/rbac (policybased storage).
"""

import json
from collections.abc import Iterable

from minipod.api.errors import forbidden
from minipod.api.kind import Kind
from minipod.api.rbac.attributes import Attributes
from minipod.api.rbac.default_roles import API_GROUP
from minipod.api.rbac.rules import (
    FULL_AUTHORITY,
    Rule,
    describe_rules,
    missing_rules,
    quoted_list,
)
from minipod.client import Object, Request
from minipod.server.authorization import Authorizer
from minipod.server.identity import MASTERS, Identity

_ROLES, _BINDINGS = ("roles", "clusterroles"), ("rolebindings", "clusterrolebindings")
_COLLECTION = ("ownerReferences", "finalizers", "managedFields", "resourceVersion")


class EscalationGuard:
    """Looks at roles and bindings on their way into the store."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def check(self, request: Request, kind: Kind, obj: Object, old: Object | None) -> None:
        """Refuse a role or binding that grants more than its writer has. Raises Forbidden, NotFound."""
        if MASTERS in request.groups:
            return
        if kind.kind == "ClusterTrustBundle":
            self._check_signer(request, kind, obj, old)
        if kind.group != API_GROUP:
            return
        if old is not None and _only_collected(obj, old):
            return
        identity = Identity(request.user, request.groups)
        if kind.plural in _ROLES:
            self._check_role(identity, request, kind, obj, old)
        elif kind.plural in _BINDINGS:
            self._check_binding(identity, request, kind, obj)

    def _check_signer(self, request: Request, kind: Kind, obj: Object, old: Object | None) -> None:
        """A signer's trust is given by those who may attest for it (upstream's ClusterTrustBundleAttest).

        A right on `example.com/*` is one on all signers of that domain.
        """
        signer = (obj.get("spec") or {}).get("signerName")
        if not signer or (old is not None and obj.get("spec") == old.get("spec")):
            return
        identity, domain = Identity(request.user, request.groups), signer.partition("/")[0]
        for name in (signer, f"{domain}/*"):
            attest = Attributes("attest", kind.group, "", "signers", "", "", name)
            if self._authorizer.decide(identity, attest).allowed:
                return
        raise forbidden(
            kind,
            obj["metadata"].get("name", ""),
            f'user not permitted to attest for signerName "{signer}"',
        )

    def check_creation(self, request: Request) -> None:
        """Refuse to make what an apply did not find to whoever may patch it, but not create it. Raises Forbidden."""
        plural, _, group = request.resource.partition(".")
        create = Attributes(
            "create", group, request.version, plural, "", request.namespace, request.name
        )
        self._authorizer.authorize(Identity(request.user, request.groups), create)

    def _check_role(
        self, identity: Identity, request: Request, kind: Kind, obj: Object, old: Object | None
    ) -> None:
        if old is not None and _same_rules(obj, old):
            return
        name = obj["metadata"].get("name", "")
        escalate = Attributes("escalate", API_GROUP, "v1", kind.plural, "", request.namespace, name)
        if self._authorizer.decide(identity, escalate).allowed:
            return
        wanted: list[Rule] = list(obj.get("rules") or ())
        if obj.get("aggregationRule"):  # it may come to hold anything
            wanted += FULL_AUTHORITY
        self._check_held(identity, kind, name, request.namespace, wanted)

    def _check_binding(self, identity: Identity, request: Request, kind: Kind, obj: Object) -> None:
        reference = obj["roleRef"]
        resource = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
        group, name = reference.get("apiGroup", ""), reference.get("name", "")
        bind = Attributes("bind", group, "", resource, "", request.namespace, name)
        if self._authorizer.decide(identity, bind).allowed:
            return
        rules = self._authorizer.referred_rules(reference, request.namespace)
        self._check_held(identity, kind, obj["metadata"].get("name", ""), request.namespace, rules)

    def _check_held(
        self, identity: Identity, kind: Kind, name: str, namespace: str, wanted: Iterable[Rule]
    ) -> None:
        grants = self._authorizer.grants(identity, namespace)
        missing = missing_rules([rule for grant in grants for rule in grant.rules], wanted)
        if not missing:
            return
        user, groups = json.dumps(identity.user, ensure_ascii=False), quoted_list(identity.groups)
        listed = "\n".join(describe_rules(missing))
        why = f"user {user} (groups={groups}) is attempting to grant RBAC permissions not currently held:\n{listed}"
        errors = [grant.error for grant in grants if grant.error]
        if errors:
            why += f"; resolution errors: [{'; '.join(errors)}]"
        raise forbidden(kind, name, why)


def _only_collected(new: Object, old: Object) -> bool:
    """Whether a change is nothing but what the garbage collector needs to delete an object."""

    def rest(obj: Object) -> Object:
        metadata = {
            name: value for name, value in obj["metadata"].items() if name not in _COLLECTION
        }
        return {**obj, "metadata": metadata}

    return rest(new) == rest(old)


def _same_rules(new: Object, old: Object) -> bool:
    return (new.get("rules") or []) == (old.get("rules") or []) and new.get(
        "aggregationRule"
    ) == old.get("aggregationRule")
