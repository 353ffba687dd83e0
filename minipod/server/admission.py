"""Admission: what stands between a valid request and the store, besides the object's own rules.

Upstream's plugins that matter on one machine: NamespaceLifecycle, ServiceAccount, Priority and
DefaultTolerationSeconds. All are decided from committed objects, and the namespace once more in the very step
of the write (`Admission.guard`), so that nothing slips into a namespace while it goes.
"""

import json

from minipod.api import kinds
from minipod.api.errors import StatusError, forbidden, not_found
from minipod.api.kind import Kind
from minipod.client import Object
from minipod.server import keys, wire
from minipod.store import Guard, Store

PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})
SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
DEFAULT_ACCOUNT = "default"
_SYSTEM_PRIORITIES = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}
_TOLERATION_SECONDS = 300
_NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class Admission:
    """Decides over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check_create(self, kind: Kind, obj: Object) -> None:
        """Refuse an object whose namespace is missing or going. Raises NotFound, Forbidden."""
        if kind.namespaced:
            self._check_namespace(kind, obj["metadata"])

    def guard(self, kind: Kind, obj: Object) -> Guard | None:
        """Return `check_create` for the step of the write itself."""
        if not kind.namespaced:
            return None
        key = keys.object_key(kinds.by_resource("namespaces"), "", obj["metadata"]["namespace"])
        return Guard(key, lambda: self.check_create(kind, obj))

    def admit_pod(self, pod: Object) -> None:
        """Complete a new Pod from its ServiceAccount and with the defaults of the cluster. Raises Forbidden."""
        spec = pod["spec"]
        spec["serviceAccountName"] = spec.get("serviceAccountName") or DEFAULT_ACCOUNT
        account = self._account(pod)
        spec["serviceAccount"] = spec["serviceAccountName"]
        if account.get("imagePullSecrets") and not spec.get("imagePullSecrets"):
            spec["imagePullSecrets"] = account["imagePullSecrets"]
        _admit_priority(pod)
        _admit_tolerations(spec)

    def account_missing(self, namespace: str) -> bool:
        """Return whether a namespace that is there to stay lacks its default ServiceAccount."""
        accounts = kinds.by_resource("serviceaccounts")
        key = keys.object_key(accounts, namespace, DEFAULT_ACCOUNT)
        return self._store.get(key) is None and not self._store.pending(key)

    def check_delete(self, kind: Kind, name: str) -> None:
        """Refuse to delete what the cluster cannot be without. Raises Forbidden."""
        if kind.resource == "namespaces" and name in PROTECTED_NAMESPACES:
            raise forbidden(kind, name, "this namespace may not be deleted")

    def _check_namespace(self, kind: Kind, metadata: Object) -> None:
        namespaces = kinds.by_resource("namespaces")
        name = metadata["namespace"]
        entry = self._store.get(keys.object_key(namespaces, "", name))
        if entry is None:
            raise not_found(namespaces, name)
        if b'"deletionTimestamp"' not in entry.value:  # the cheap answer for nearly every request
            return
        if wire.decode(entry.value)["metadata"].get("deletionTimestamp"):
            raise _terminating(kind, metadata.get("name", ""), name)

    def _account(self, pod: Object) -> Object:
        kind, metadata = kinds.by_resource("pods"), pod["metadata"]
        namespace, name = metadata["namespace"], pod["spec"]["serviceAccountName"]
        key = keys.object_key(kinds.by_resource("serviceaccounts"), namespace, name)
        entry = self._store.get(key)
        if entry is None:
            why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
            raise forbidden(kind, metadata.get("name", ""), why)
        account: Object = wire.decode(entry.value)
        return account


def _terminating(kind: Kind, name: str, namespace: str) -> StatusError:
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    refused = forbidden(kind, name, why)
    refused.status["details"]["causes"] = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    return refused


def _admit_priority(pod: Object) -> None:
    """Resolve priorityClassName: the two built-in classes, or none."""
    spec = pod["spec"]
    name = spec.get("priorityClassName") or ""
    priority = _SYSTEM_PRIORITIES.get(name) if name else 0
    kind, pod_name = kinds.by_resource("pods"), pod["metadata"].get("name", "")
    if priority is None:
        raise forbidden(kind, pod_name, f"no PriorityClass with name {name} was found")
    if spec.get("priority") not in (None, priority):
        why = (
            f"the integer value of priority ({json.dumps(spec['priority'])}) must not be provided in pod spec; "
            f"priority admission controller computed {priority} from the given PriorityClass name"
        )
        raise forbidden(kind, pod_name, why)
    spec["priority"] = priority
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _admit_tolerations(spec: Object) -> None:
    """Tolerate a lost node for five minutes, unless the Pod says otherwise."""
    given = spec.get("tolerations") or []
    missing = [
        taint for taint in _NODE_TAINTS if not any(_tolerates(each, taint) for each in given)
    ]
    added = [
        {
            "key": taint,
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": _TOLERATION_SECONDS,
        }
        for taint in missing
    ]
    if added:
        spec["tolerations"] = given + added


def _tolerates(toleration: Object, taint: str) -> bool:
    key, effect = toleration.get("key") or "", toleration.get("effect") or ""
    return key in ("", taint) and effect in ("", "NoExecute")
