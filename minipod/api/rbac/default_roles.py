"""The roles and bindings that every cluster has (upstream's bootstrappolicy, v1.36), but for those of controllers.

Written as tables: verbs, API groups and resources are words, "core" is the group without a name.
"""

from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]

API_GROUP = "rbac.authorization.k8s.io"
AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_AGGREGATE = f"{API_GROUP}/aggregate-to-"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_READ = "get list watch"
_WRITE = "create delete deletecollection patch update"
_AUTHENTICATION, _AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"
_CERTIFICATES, _NETWORKING = "certificates.k8s.io", "networking.k8s.io"
_DISCOVERY, _STORAGE, _LEASES = "discovery.k8s.io", "storage.k8s.io", "coordination.k8s.io"
_DEVICES = "resource.k8s.io"
_PUBLIC = "/healthz /livez /readyz /version /version/"
_WORKLOADS = "daemonsets deployments deployments/scale replicasets replicasets/scale"


def rule(verbs: str, groups: str, resources: str, *, names: str = "") -> Object:
    """Return a rule on resources."""
    made: Object = {
        "verbs": verbs.split(),
        "apiGroups": ["" if each == "core" else each for each in groups.split()],
        "resources": resources.split(),
    }
    if names:
        made["resourceNames"] = names.split()
    return made


def paths(urls: str, verbs: str = "get") -> Object:
    """Return a rule on paths that are no resources."""
    return {"verbs": verbs.split(), "nonResourceURLs": urls.split()}


EVENTS = rule("create patch update", "core events.k8s.io", "events")
_REVIEWS = (
    rule("create", _AUTHENTICATION, "tokenreviews"),
    rule("create", _AUTHORIZATION, "subjectaccessreviews"),
)

NODE_RULES = (
    rule("create", _AUTHENTICATION, "tokenreviews"),
    rule("create", _AUTHORIZATION, "localsubjectaccessreviews subjectaccessreviews"),
    rule(_READ, "core", "services"),
    rule("create get list watch", "core", "nodes"),
    rule("patch update", "core", "nodes/status"),
    rule("patch update", "core", "nodes"),
    EVENTS,
    rule(_READ, "core", "pods"),
    rule("create delete", "core", "pods"),
    rule("patch update", "core", "pods/status"),
    rule("create", "core", "pods/eviction"),
    rule(_READ, "core", "configmaps secrets"),
    rule("get", "core", "persistentvolumeclaims persistentvolumes"),
    rule("get", "core", "endpoints"),
    rule("create get list watch", _CERTIFICATES, "certificatesigningrequests"),
    rule("create delete get patch update", _LEASES, "leases"),
    rule("get", _STORAGE, "volumeattachments"),
    rule("create", "core", "serviceaccounts/token"),
    rule("get patch update", "core", "persistentvolumeclaims/status"),
    rule(_READ, _STORAGE, "csidrivers"),
    rule("create delete get patch update", _STORAGE, "csinodes"),
    rule(_READ, "node.k8s.io", "runtimeclasses"),
    rule(_READ, _CERTIFICATES, "clustertrustbundles"),
)
# What the role has beside: there is no dynamic allocation here, and no credential provider that wants an account.
_MORE_OF_NODES = (
    rule("get", _DEVICES, "resourceclaims"),
    rule("deletecollection", _DEVICES, "resourceslices"),
    rule("get", "core", "serviceaccounts"),
)

_EDIT = (
    rule(_READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    rule("impersonate", "core", "serviceaccounts"),
    rule(_WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    rule("create", "core", "pods/eviction"),
    rule(
        _WRITE,
        "core",
        "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale "
        "secrets serviceaccounts services services/proxy",
    ),
    rule(_WRITE, "core events.k8s.io", "events"),
    rule("create", "core", "serviceaccounts/token"),
    rule(_WRITE, "apps", f"{_WORKLOADS} deployments/rollback statefulsets statefulsets/scale"),
    rule(_WRITE, "autoscaling", "horizontalpodautoscalers"),
    rule(_WRITE, "batch", "cronjobs jobs"),
    rule(
        _WRITE,
        "extensions",
        f"{_WORKLOADS} deployments/rollback ingresses networkpolicies replicationcontrollers/scale",
    ),
    rule(_WRITE, "policy", "poddisruptionbudgets"),
    rule(_WRITE, _NETWORKING, "ingresses networkpolicies"),
    rule(f"{_READ} {_WRITE}", _LEASES, "leases"),
    rule(_WRITE, _DEVICES, "resourceclaims resourceclaimtemplates"),
)

_VIEW = (
    rule(
        _READ,
        "core",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
    ),
    rule(
        _READ,
        "core",
        "bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
        "resourcequotas resourcequotas/status",
    ),
    rule(_READ, "core events.k8s.io", "events"),
    rule(_READ, "core", "namespaces"),
    rule(_READ, _DISCOVERY, "endpointslices"),
    rule(
        _READ,
        "apps",
        f"controllerrevisions {_WORKLOADS} daemonsets/status deployments/status replicasets/status "
        "statefulsets statefulsets/scale statefulsets/status",
    ),
    rule(_READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    rule(_READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    rule(
        _READ,
        "extensions",
        f"{_WORKLOADS} daemonsets/status deployments/status ingresses ingresses/status networkpolicies "
        "replicasets/status replicationcontrollers/scale",
    ),
    rule(_READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    rule(_READ, _NETWORKING, "ingresses ingresses/status networkpolicies"),
    rule(_READ, _DEVICES, "resourceclaims resourceclaims/status resourceclaimtemplates"),
)

_CONTROLLER_MANAGER = (
    EVENTS,
    rule("create", _LEASES, "leases"),
    rule("get update", _LEASES, "leases", names="kube-controller-manager"),
    rule("create", "core", "secrets serviceaccounts"),
    rule("delete", "core", "secrets"),
    rule("get", "core", "configmaps namespaces secrets serviceaccounts"),
    rule("update", "core", "secrets serviceaccounts"),
    *_REVIEWS,
    rule("list watch", "*", "*"),
    rule("create", "core", "serviceaccounts/token"),
)

_SCHEDULER = (
    EVENTS,
    rule("create", _LEASES, "leases"),
    rule("get list update watch", _LEASES, "leases", names="kube-scheduler"),
    rule(f"{_READ} {_WRITE}", _LEASES, "leasecandidates"),
    rule(_READ, "core", "nodes"),
    rule("delete get list watch", "core", "pods"),
    rule("create", "core", "bindings pods/binding"),
    rule("patch update", "core", "pods/status"),
    rule(_READ, "core", "replicationcontrollers services"),
    rule(_READ, "apps extensions", "replicasets"),
    rule(_READ, "apps", "statefulsets"),
    rule(_READ, "policy", "poddisruptionbudgets"),
    rule(_READ, "core", "persistentvolumeclaims persistentvolumes"),
    *_REVIEWS,
    rule(_READ, _STORAGE, "csinodes"),
    rule(_READ, _STORAGE, "volumeattachments"),
    rule(_READ, "core", "namespaces"),
    rule(_READ, _STORAGE, "csidrivers"),
    rule(_READ, _STORAGE, "csistoragecapacities"),
    rule(_READ, _DEVICES, "deviceclasses"),
    rule("get list patch update watch", _DEVICES, "resourceclaims"),
    rule("get list patch update watch", _DEVICES, "resourceclaims/status"),
    rule("update", "core", "pods/finalizers"),
    rule(_READ, _DEVICES, "resourceslices"),
    rule("create delete", _DEVICES, "resourceclaims"),
    rule("patch update", _DEVICES, "resourceclaims/binding"),
)

_PROVISIONER = (
    rule("create delete get list watch", "core", "persistentvolumes"),
    rule("get list update watch", "core", "persistentvolumeclaims"),
    rule(_READ, _STORAGE, "storageclasses"),
    rule("watch", "core", "events"),
    EVENTS,
)


def _approver(signer: str) -> tuple[str, tuple[Object, ...]]:
    name = f"system:certificates.k8s.io:{signer}-approver"
    return name, (rule("approve", _CERTIFICATES, "signers", names=f"kubernetes.io/{signer}"),)


_RULES: dict[str, tuple[Object, ...]] = {
    "cluster-admin": (rule("*", "*", "*"), paths("*", "*")),
    "system:discovery": (
        paths(
            "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"
        ),
    ),
    "system:public-info-viewer": (paths(_PUBLIC),),
    "system:monitoring": (
        paths(
            "/flagz /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* /statusz"
        ),
        rule("get", "core", "nodes/metrics"),
    ),
    "system:basic-user": (
        rule("create", _AUTHORIZATION, "selfsubjectaccessreviews selfsubjectrulesreviews"),
        rule("create", _AUTHENTICATION, "selfsubjectreviews"),
    ),
    "system:heapster": (
        rule(_READ, "core", "events namespaces nodes pods"),
        rule(_READ, "extensions", "deployments"),
    ),
    "system:node": (*NODE_RULES, *_MORE_OF_NODES),
    "system:node-problem-detector": (
        rule("get", "core", "nodes"),
        rule("patch", "core", "nodes/status"),
        EVENTS,
    ),
    "system:kubelet-api-admin": (
        rule(_READ, "core", "nodes"),
        rule("proxy", "core", "nodes"),
        rule("*", "core", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
        rule("*", "core", "nodes/configz nodes/healthz nodes/pods"),
    ),
    "system:node-bootstrapper": (
        rule("create get list watch", _CERTIFICATES, "certificatesigningrequests"),
    ),
    "system:auth-delegator": _REVIEWS,
    "system:kube-aggregator": (rule(_READ, "core", "endpoints services"),),
    "system:kube-controller-manager": _CONTROLLER_MANAGER,
    "system:kube-dns": (rule("list watch", "core", "endpoints services"),),
    "system:persistent-volume-provisioner": _PROVISIONER,
    "system:cluster-trust-bundle-discovery": (rule(_READ, _CERTIFICATES, "clustertrustbundles"),),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        rule("create", _CERTIFICATES, "certificatesigningrequests/nodeclient"),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        rule("create", _CERTIFICATES, "certificatesigningrequests/selfnodeclient"),
    ),
    "system:volume-scheduler": (
        rule("get list patch update watch", "core", "persistentvolumes"),
        rule(_READ, _STORAGE, "storageclasses"),
        rule("get list patch update watch", "core", "persistentvolumeclaims"),
    ),
    "system:service-account-issuer-discovery": (
        paths(
            "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/"
        ),
    ),
    "system:node-proxier": (
        rule("list watch", "core", "endpoints services"),
        rule(_READ, "core", "nodes"),
        EVENTS,
        rule("list watch", _DISCOVERY, "endpointslices"),
        rule("list watch", _NETWORKING, "servicecidrs"),
    ),
    "system:kube-scheduler": _SCHEDULER,
    **dict(
        map(
            _approver,
            (
                "legacy-unknown",
                "kubelet-serving",
                "kube-apiserver-client",
                "kube-apiserver-client-kubelet",
            ),
        )
    ),
}
# Roles that are made up of others (by label), and the parts that they come with.
_AGGREGATED = {"admin": (), "edit": ("admin",), "view": ("edit",)}
_PARTS: dict[str, tuple[Object, ...]] = {
    "admin": (
        rule("create", _AUTHORIZATION, "localsubjectaccessreviews"),
        rule(f"{_READ} {_WRITE}", API_GROUP, "rolebindings roles"),
    ),
    "edit": _EDIT,
    "view": _VIEW,
}
_GROUP_BINDINGS = {
    "cluster-admin": "system:masters",
    "system:monitoring": "system:monitoring",
    "system:discovery": "system:authenticated",
    "system:basic-user": "system:authenticated",
    "system:public-info-viewer": "system:authenticated system:unauthenticated",
    "system:service-account-issuer-discovery": "system:serviceaccounts",
    "system:cluster-trust-bundle-discovery": "system:serviceaccounts",
}
_USER_BINDINGS = {
    "system:node-proxier": "system:kube-proxy",
    "system:kube-controller-manager": "system:kube-controller-manager",
    "system:kube-scheduler": "system:kube-scheduler",
    "system:volume-scheduler": "system:kube-scheduler",
}


def cluster_roles() -> list[Object]:
    """Return the ClusterRoles, those of controllers apart."""
    made = [cluster_role(name, rules) for name, rules in _RULES.items()]
    for name, targets in _AGGREGATED.items():
        whole = cluster_role(name, (), labels={f"{_AGGREGATE}{each}": "true" for each in targets})
        selector = {"matchLabels": {f"{_AGGREGATE}{name}": "true"}}
        whole["aggregationRule"] = {"clusterRoleSelectors": [selector]}
        part = cluster_role(
            f"system:aggregate-to-{name}", _PARTS[name], labels={f"{_AGGREGATE}{name}": "true"}
        )
        made += [whole, part]
    labels = {f"{_AGGREGATE}{each}": "true" for each in ("admin", "edit", "view")}
    read = (rule(_READ, "metrics.k8s.io", "nodes pods"),)  # metrics-server's own, and its name
    made.append(cluster_role("system:aggregated-metrics-reader", read, labels=labels))
    return made


def cluster_role_bindings() -> list[Object]:
    """Return the ClusterRoleBindings, those of controllers apart."""
    made = [
        cluster_role_binding(role, [_subject("Group", each) for each in groups.split()])
        for role, groups in _GROUP_BINDINGS.items()
    ]
    made += [
        cluster_role_binding(role, [_subject("User", user)])
        for role, user in _USER_BINDINGS.items()
    ]
    made.append(cluster_role_binding("system:kube-dns", [account("kube-dns")]))
    # Nodes have their own authorizer: the binding is there, and binds nobody.
    made.append(cluster_role_binding("system:node", []))
    return made


def cluster_role(
    name: str, rules: Iterable[Object], *, labels: dict[str, str] | None = None
) -> Object:
    """Return a default ClusterRole."""
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": metadata(name, labels),
        "rules": [dict(each) for each in rules],
    }


def cluster_role_binding(role: str, subjects: list[Object]) -> Object:
    """Return the default ClusterRoleBinding of a ClusterRole, which has its name."""
    made: Object = {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata(role),
        "roleRef": {"apiGroup": API_GROUP, "kind": "ClusterRole", "name": role},
    }
    if subjects:
        made["subjects"] = subjects
    return made


def account(name: str, namespace: str = "kube-system") -> Object:
    """Return a ServiceAccount as a subject."""
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def metadata(name: str, labels: dict[str, str] | None = None, namespace: str = "") -> Object:
    """Return the metadata that every default object has."""
    made: Object = {
        "name": name,
        "annotations": {AUTO_UPDATE: "true"},
        "labels": {**_LABELS, **(labels or {})},
    }
    if namespace:
        made["namespace"] = namespace
    return made


def user(name: str) -> Object:
    """Return a user as a subject."""
    return _subject("User", name)


def _subject(kind: str, name: str) -> Object:
    return {"apiGroup": API_GROUP, "kind": kind, "name": name}
