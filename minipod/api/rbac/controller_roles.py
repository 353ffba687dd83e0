"""What each of upstream's controllers may do (bootstrappolicy's controller and namespace policies, v1.36).

A controller NAME is the ServiceAccount NAME of kube-system, bound to ClusterRole `system:controller:NAME`.
"""

from typing import Any

from minipod.api.rbac.default_roles import (
    API_GROUP,
    EVENTS,
    account,
    cluster_role,
    cluster_role_binding,
    metadata,
    rule,
    user,
)

Object = dict[str, Any]

PREFIX = "system:controller:"
_READ = "get list watch"
_BOTH = "apps extensions"
_STORAGE, _LEASES = "storage.k8s.io", "coordination.k8s.io"
_DEVICES = "resource.k8s.io"
_CERTIFICATES, _NETWORKING = "certificates.k8s.io", "networking.k8s.io"
_SIGNERS = (
    "kubernetes.io/legacy-unknown kubernetes.io/kube-apiserver-client "
    "kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving"
)

CONTROLLERS: dict[str, tuple[Object, ...]] = {
    "attachdetach-controller": (
        rule("list watch", "core", "persistentvolumeclaims persistentvolumes"),
        rule(_READ, "core", "nodes"),
        rule("patch update", "core", "nodes/status"),
        rule("list watch", "core", "pods"),
        EVENTS,
        rule("create delete get list watch", _STORAGE, "volumeattachments"),
        rule(_READ, _STORAGE, "csidrivers"),
        rule(_READ, _STORAGE, "csinodes"),
    ),
    "clusterrole-aggregation-controller": (
        rule("escalate get list patch update watch", API_GROUP, "clusterroles"),
    ),
    "cronjob-controller": (
        rule("get list update watch", "batch", "cronjobs"),
        rule("create delete get list patch update watch", "batch", "jobs"),
        rule("update", "batch", "cronjobs/status"),
        rule("update", "batch", "cronjobs/finalizers"),
        rule("delete list watch", "core", "pods"),
        EVENTS,
    ),
    "daemon-set-controller": (
        rule(_READ, _BOTH, "daemonsets"),
        rule("update", _BOTH, "daemonsets/status"),
        rule("update", _BOTH, "daemonsets/finalizers"),
        rule("list watch", "core", "nodes"),
        rule("create delete list patch watch", "core", "pods"),
        rule("create", "core", "pods/binding"),
        rule("create delete get list patch update watch", "apps", "controllerrevisions"),
        EVENTS,
    ),
    "deployment-controller": (
        rule("get list update watch", _BOTH, "deployments"),
        rule("update", _BOTH, "deployments/status"),
        rule("update", _BOTH, "deployments/finalizers"),
        rule("create delete get list patch update watch", _BOTH, "replicasets"),
        rule("get list update watch", "core", "pods"),
        EVENTS,
    ),
    "disruption-controller": (
        rule(_READ, _BOTH, "deployments"),
        rule(_READ, _BOTH, "replicasets"),
        rule(_READ, "core", "replicationcontrollers"),
        rule(_READ, "policy", "poddisruptionbudgets"),
        rule(_READ, "apps", "statefulsets"),
        rule("update", "policy", "poddisruptionbudgets/status"),
        rule("patch update", "core", "pods/status"),
        rule("get", "*", "*/scale"),
        EVENTS,
    ),
    "endpoint-controller": (
        rule(_READ, "core", "pods services"),
        rule("create delete get list update watch", "core", "endpoints"),
        rule("create", "core", "endpoints/restricted"),
        EVENTS,
    ),
    "endpointslice-controller": (
        rule(_READ, "core", "nodes pods services"),
        rule("update", "core", "services/finalizers"),
        rule("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
        rule("create", "discovery.k8s.io", "endpointslices/restricted"),
        EVENTS,
    ),
    "endpointslicemirroring-controller": (
        rule(_READ, "core", "endpoints services"),
        rule("update", "core", "services/finalizers"),
        rule("update", "core", "endpoints/finalizers"),
        rule("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
        rule("create", "discovery.k8s.io", "endpointslices/restricted"),
        EVENTS,
    ),
    "expand-controller": (
        rule("get list patch update watch", "core", "persistentvolumes"),
        rule("patch update", "core", "persistentvolumeclaims/status"),
        rule(_READ, "core", "persistentvolumeclaims"),
        EVENTS,
    ),
    "ephemeral-volume-controller": (
        rule(_READ, "core", "pods"),
        rule("update", "core", "pods/finalizers"),
        rule("create get list watch", "core", "persistentvolumeclaims"),
        EVENTS,
    ),
    "generic-garbage-collector": (
        rule("delete get list patch update watch", "*", "*"),
        EVENTS,
    ),
    "horizontal-pod-autoscaler": (
        rule(_READ, "autoscaling", "horizontalpodautoscalers"),
        rule("update", "autoscaling", "horizontalpodautoscalers/status"),
        rule("get update", "*", "*/scale"),
        rule("list watch", "core", "pods"),
        rule("list watch", "metrics.k8s.io", "pods"),
        rule(_READ, "custom.metrics.k8s.io", "*"),
        rule(_READ, "external.metrics.k8s.io", "*"),
        EVENTS,
    ),
    "job-controller": (
        rule("get list patch update watch", "batch", "jobs"),
        rule("update", "batch", "jobs/status"),
        rule("update", "batch", "jobs/finalizers"),
        rule("create delete list patch watch", "core", "pods"),
        EVENTS,
    ),
    "namespace-controller": (
        rule("delete get list watch", "core", "namespaces"),
        rule("update", "core", "namespaces/finalize namespaces/status"),
        rule("delete deletecollection get list watch", "*", "*"),
    ),
    "node-controller": (
        rule("delete get list patch update watch", "core", "nodes"),
        rule("patch update", "core", "nodes/status"),
        rule("patch update", "core", "pods/status"),
        rule("delete get list watch", "core", "pods"),
        EVENTS,
    ),
    "persistent-volume-binder": (
        rule("create delete get list update watch", "core", "persistentvolumes"),
        rule("update", "core", "persistentvolumes/status"),
        rule("get list update watch", "core", "persistentvolumeclaims"),
        rule("update", "core", "persistentvolumeclaims/status"),
        rule("create delete get list watch", "core", "pods"),
        rule(_READ, _STORAGE, "storageclasses"),
        rule("list watch", "core", "nodes"),
        EVENTS,
        rule("watch", "core", "events"),
    ),
    "pod-garbage-collector": (
        rule("delete list watch", "core", "pods"),
        rule(_READ, "core", "nodes"),
        rule("patch", "core", "pods/status"),
    ),
    "replicaset-controller": (
        rule("get list update watch", _BOTH, "replicasets"),
        rule("update", _BOTH, "replicasets/status"),
        rule("update", _BOTH, "replicasets/finalizers"),
        rule("create delete list patch watch", "core", "pods"),
        EVENTS,
    ),
    "replication-controller": (
        rule("get list update watch", "core", "replicationcontrollers"),
        rule("update", "core", "replicationcontrollers/status"),
        rule("update", "core", "replicationcontrollers/finalizers"),
        rule("create delete list patch watch", "core", "pods"),
        EVENTS,
    ),
    "resourcequota-controller": (
        rule("list watch", "*", "*"),
        rule("update", "core", "resourcequotas/status"),
        EVENTS,
    ),
    "route-controller": (
        rule("list watch", "core", "nodes"),
        rule("patch", "core", "nodes/status"),
        EVENTS,
    ),
    "service-account-controller": (rule("create", "core", "serviceaccounts"), EVENTS),
    "service-controller": (
        rule(_READ, "core", "services"),
        rule("patch update", "core", "services/status"),
        rule("list watch", "core", "nodes"),
        EVENTS,
    ),
    "service-cidrs-controller": (
        rule("get list patch update watch", _NETWORKING, "servicecidrs"),
        rule("patch update", _NETWORKING, "servicecidrs/finalizers"),
        rule("patch update", _NETWORKING, "servicecidrs/status"),
        rule(_READ, _NETWORKING, "ipaddresses"),
        EVENTS,
    ),
    "statefulset-controller": (
        rule("list watch", "core", "pods"),
        rule(_READ, "apps", "statefulsets"),
        rule("update", "apps", "statefulsets/status"),
        rule("update", "apps", "statefulsets/finalizers"),
        rule("create delete get patch update", "core", "pods"),
        rule("create delete get list patch update watch", "apps", "controllerrevisions"),
        rule("create get list watch", "core", "persistentvolumeclaims"),
        rule("delete update", "core", "persistentvolumeclaims"),
        rule("update", "core", "pods/finalizers"),
        EVENTS,
    ),
    "ttl-controller": (rule("list patch update watch", "core", "nodes"), EVENTS),
    "certificate-controller": (
        rule("delete get list watch", _CERTIFICATES, "certificatesigningrequests"),
        rule(
            "update",
            _CERTIFICATES,
            "certificatesigningrequests/approval certificatesigningrequests/status",
        ),
        rule(
            "approve",
            _CERTIFICATES,
            "signers",
            names="kubernetes.io/kube-apiserver-client-kubelet",
        ),
        rule("sign", _CERTIFICATES, "signers", names=_SIGNERS),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        EVENTS,
    ),
    "pvc-protection-controller": (
        rule("get list update watch", "core", "persistentvolumeclaims"),
        rule("update", "core", "persistentvolumeclaims/status"),
        rule(_READ, "core", "pods"),
        EVENTS,
    ),
    "pv-protection-controller": (
        rule("get list update watch", "core", "persistentvolumes"),
        EVENTS,
    ),
    "volumeattributesclass-protection-controller": (
        rule(_READ, "core", "persistentvolumeclaims"),
        rule(_READ, "core", "persistentvolumes"),
        rule("get list update watch", _STORAGE, "volumeattributesclasses"),
        EVENTS,
    ),
    "ttl-after-finished-controller": (rule("delete get list watch", "batch", "jobs"), EVENTS),
    "root-ca-cert-publisher": (rule("create update", "core", "configmaps"), EVENTS),
    "validatingadmissionpolicy-status-controller": (
        rule(_READ, "admissionregistration.k8s.io", "validatingadmissionpolicies"),
        rule(
            "get patch update",
            "admissionregistration.k8s.io",
            "validatingadmissionpolicies/status",
        ),
        EVENTS,
    ),
    "legacy-service-account-token-cleaner": (
        rule(
            "get",
            "core",
            "configmaps",
            names="kube-apiserver-legacy-service-account-token-tracking",
        ),
        rule("delete patch", "core", "secrets"),
    ),
    "resource-claim-controller": (
        rule(_READ, "core", "pods"),
        rule("update", "core", "pods/finalizers"),
        rule("create delete get list watch", _DEVICES, "resourceclaims"),
        rule("patch update", _DEVICES, "resourceclaims resourceclaims/status"),
        rule("patch update", "core", "pods/status"),
        EVENTS,
        rule("patch update", _DEVICES, "resourceclaims/binding"),
    ),
    "device-taint-eviction-controller": (
        rule("delete get list watch", "core", "pods"),
        rule("patch update", "core", "pods/status"),
        rule(_READ, _DEVICES, "resourceclaims"),
        rule(_READ, _DEVICES, "resourceslices"),
        rule(_READ, _DEVICES, "deviceclasses"),
        EVENTS,
    ),
    "selinux-warning-controller": (
        EVENTS,
        rule(_READ, "core", "persistentvolumes"),
        rule(_READ, "core", "persistentvolumeclaims"),
        rule(_READ, "core", "pods"),
        rule(_READ, _STORAGE, "csidrivers"),
    ),
}
_LEADER_LOCKING = tuple(
    rule("create get list update watch", _LEASES, resource)
    for resource in ("leases", "leasecandidates")
)

_ROLES: tuple[tuple[str, str, tuple[Object, ...]], ...] = (
    (
        "kube-system",
        "extension-apiserver-authentication-reader",
        (rule(_READ, "core", "configmaps", names="extension-apiserver-authentication"),),
    ),
    ("kube-system", f"{PREFIX}bootstrap-signer", (rule(_READ, "core", "secrets"),)),
    (
        "kube-system",
        f"{PREFIX}cloud-provider",
        (rule("create get list watch", "core", "configmaps"),),
    ),
    (
        "kube-system",
        f"{PREFIX}token-cleaner",
        (rule("delete get list watch", "core", "secrets"), EVENTS),
    ),
    ("kube-system", "system::leader-locking-kube-controller-manager", _LEADER_LOCKING),
    ("kube-system", "system::leader-locking-kube-scheduler", _LEADER_LOCKING),
    (
        "kube-public",
        f"{PREFIX}bootstrap-signer",
        (
            rule(_READ, "core", "configmaps"),
            rule("update", "core", "configmaps", names="cluster-info"),
            EVENTS,
        ),
    ),
)
_MANAGER, _SCHEDULER = user("system:kube-controller-manager"), user("system:kube-scheduler")
_BINDINGS: tuple[tuple[str, str, str, list[Object]], ...] = (
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        [_MANAGER, _SCHEDULER],
    ),
    *(
        ("kube-system", f"{PREFIX}{name}", f"{PREFIX}{name}", [account(name)])
        for name in ("bootstrap-signer", "cloud-provider", "token-cleaner")
    ),
    *(
        (
            "kube-system",
            f"system::leader-locking-{name}",
            f"system::leader-locking-{name}",
            subjects,
        )
        for name, subjects in (
            (
                "kube-controller-manager",
                [
                    _MANAGER,
                    account("kube-controller-manager"),
                    account("leader-election-controller"),
                ],
            ),
            ("kube-scheduler", [_SCHEDULER, account("kube-scheduler")]),
        )
    ),
    (
        "kube-public",
        f"{PREFIX}bootstrap-signer",
        f"{PREFIX}bootstrap-signer",
        [account("bootstrap-signer")],
    ),
)


def controller_roles() -> list[Object]:
    """Return the ClusterRoles of the controllers."""
    return [cluster_role(PREFIX + name, rules) for name, rules in CONTROLLERS.items()]


def controller_role_bindings() -> list[Object]:
    """Return the ClusterRoleBindings of the controllers."""
    return [cluster_role_binding(PREFIX + name, [account(name)]) for name in CONTROLLERS]


def namespace_roles() -> list[Object]:
    """Return the Roles of kube-system and kube-public."""
    return [
        {
            "apiVersion": f"{API_GROUP}/v1",
            "kind": "Role",
            "metadata": metadata(name, namespace=namespace),
            "rules": [dict(each) for each in rules],
        }
        for namespace, name, rules in _ROLES
    ]


def namespace_role_bindings() -> list[Object]:
    """Return the RoleBindings of kube-system and kube-public."""
    return [
        {
            "apiVersion": f"{API_GROUP}/v1",
            "kind": "RoleBinding",
            "metadata": metadata(name, namespace=namespace),
            "roleRef": {"apiGroup": API_GROUP, "kind": "Role", "name": role},
            "subjects": subjects,
        }
        for namespace, name, role, subjects in _BINDINGS
    ]
