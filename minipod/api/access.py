"""The kinds of access, declared: roles and bindings, and the questions about tokens and rights, which nothing keeps."""

from typing import Any

from minipod.api.kind import Hooks, Kind
from minipod.api.printers import rbac as printers
from minipod.api.rbac.default_roles import API_GROUP
from minipod.api.validation import rbac

Object = dict[str, Any]

AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"


def _default_binding(binding: Object) -> None:
    """Roles, users and groups are of RBAC's own API group."""
    reference = binding.setdefault("roleRef", {})
    if not reference.get("apiGroup"):
        reference["apiGroup"] = API_GROUP
    for subject in binding.get("subjects") or ():
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            subject["apiGroup"] = API_GROUP


def _rbac(kind: str, plural: str, *, namespaced: bool, hooks: Hooks) -> Kind:
    return Kind(
        group=API_GROUP,
        version="v1",
        kind=kind,
        plural=plural,
        namespaced=namespaced,
        schema_name=f"io.k8s.api.rbac.v1.{kind}",
        create_on_update=True,
        name_rule="path_segment",
        hooks=hooks,
    )


def _review(group: str, kind: str, *, namespaced: bool = False) -> Kind:
    package = group.partition(".")[0]
    return Kind(
        group=group,
        version="v1",
        kind=kind,
        plural=f"{kind.lower()}s",
        namespaced=namespaced,
        verbs=("create",),
        schema_name=f"io.k8s.api.{package}.v1.{kind}",
    )


CLUSTER_ROLE = _rbac(
    "ClusterRole",
    "clusterroles",
    namespaced=False,
    hooks=Hooks(
        validate_create=rbac.validate_cluster_role,
        validate_update=rbac.validate_cluster_role_update,
    ),
)
ROLE = _rbac(
    "Role",
    "roles",
    namespaced=True,
    hooks=Hooks(
        validate_create=rbac.validate_role,
        validate_update=rbac.validate_role_update,
    ),
)
CLUSTER_ROLE_BINDING = _rbac(
    "ClusterRoleBinding",
    "clusterrolebindings",
    namespaced=False,
    hooks=Hooks(
        defaults=_default_binding,
        validate_create=rbac.validate_cluster_role_binding,
        validate_update=rbac.validate_cluster_role_binding_update,
        columns=printers.BINDING_COLUMNS,
        cells=printers.binding_cells,
    ),
)
ROLE_BINDING = _rbac(
    "RoleBinding",
    "rolebindings",
    namespaced=True,
    hooks=Hooks(
        defaults=_default_binding,
        validate_create=rbac.validate_role_binding,
        validate_update=rbac.validate_role_binding_update,
        columns=printers.BINDING_COLUMNS,
        cells=printers.binding_cells,
    ),
)
# Not served by itself: the body of serviceaccounts/token.
TOKEN_REQUEST = _review(AUTHENTICATION, "TokenRequest", namespaced=True)
REVIEWS = (
    _review(AUTHENTICATION, "TokenReview"),
    _review(AUTHENTICATION, "SelfSubjectReview"),
    _review(AUTHORIZATION, "LocalSubjectAccessReview", namespaced=True),
    _review(AUTHORIZATION, "SelfSubjectAccessReview"),
    _review(AUTHORIZATION, "SelfSubjectRulesReview"),
    _review(AUTHORIZATION, "SubjectAccessReview"),
)

ACCESS = (CLUSTER_ROLE_BINDING, CLUSTER_ROLE, ROLE_BINDING, ROLE, *REVIEWS)
