"""Admission: what stands between a valid request and the store, besides the object's own rules.

Upstream's default plugins that mean something on one machine, in upstream's order (each in `plugins`, or here when
it is a few lines). All are decided from committed objects, and the namespace once more in the very step of the write
(`Admission.guard`), so that nothing slips into a namespace while it goes.

    complete     before an object's strategy: LimitRanger, ServiceAccount, Priority, DefaultTolerationSeconds,
                 DefaultStorageClass, StorageObjectInUseProtection, RuntimeClass, DefaultIngressClass
    check_*      after its validation: NamespaceLifecycle, LimitRanger, PodSecurity, Priority,
                 PersistentVolumeClaimResize, ResourceQuota
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from minipod.api import kinds
from minipod.api.account_mount import NAME_PREFIX, mount_token, wants_token
from minipod.api.errors import StatusError, forbidden, invalid, not_found
from minipod.api.field import invalid as invalid_value
from minipod.api.kind import Kind
from minipod.api.warnings import TEMPLATES, part_at
from minipod.client import Object
from minipod.server import keys, wire
from minipod.server.audit_notes import note
from minipod.server.metadata import generate_name
from minipod.server.plugins import classes, limit_ranger, pod_security, priority, storage
from minipod.server.plugins.quota import QuotaKeeper
from minipod.server.view import View
from minipod.store import Guard, Store

PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})
SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
DEFAULT_ACCOUNT = "default"
_TOLERATION_SECONDS = 300
_NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_PRIORITIES = "priorityclasses.scheduling.k8s.io"
_STORAGE_CLASSES = "storageclasses.storage.k8s.io"
_INGRESS_CLASSES = "ingressclasses.networking.k8s.io"
_RUNTIME_CLASSES = "runtimeclasses.node.k8s.io"


class Admission:
    """Decides over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.view = View(store)
        self._quotas = QuotaKeeper(self.view)

    # -- a new object ------------------------------------------------------------------------------

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

    def complete(self, kind: Kind, obj: Object) -> None:
        """Complete a new, defaulted object with what the cluster and its namespace have for it. Raises Forbidden."""
        match kind.resource:
            case "pods":
                self._complete_pod(kind, obj)
            case "persistentvolumeclaims":
                storage.admit_claim(obj, self.view.list(_STORAGE_CLASSES))
            case "persistentvolumes":
                storage.admit_volume(obj)
            case "ingresses.networking.k8s.io":
                classes.admit_ingress(obj, self.view.list(_INGRESS_CLASSES))

    def _complete_pod(self, kind: Kind, pod: Object) -> None:
        """Complete a new Pod from its ServiceAccount and with the defaults of the cluster. Raises Forbidden."""
        spec, namespace = pod["spec"], pod["metadata"]["namespace"]
        limit_ranger.admit_pod(pod, self.view.list("limitranges", namespace))
        spec["serviceAccountName"] = spec.get("serviceAccountName") or DEFAULT_ACCOUNT
        account = self._account(pod)
        spec["serviceAccount"] = spec["serviceAccountName"]
        if account.get("imagePullSecrets") and not spec.get("imagePullSecrets"):
            spec["imagePullSecrets"] = account["imagePullSecrets"]
        if wants_token(pod, account):
            mount_token(pod, generate_name(NAME_PREFIX))

        def find_class(name: str) -> Object | None:
            return self.view.get(_PRIORITIES, "", name)

        _refuse(kind, pod, priority.admit_pod(pod, find_class, self.view.list(_PRIORITIES)))
        _admit_tolerations(spec)
        name = spec.get("runtimeClassName")
        runtime = self.view.get(_RUNTIME_CLASSES, "", name) if name and "/" not in name else None
        _refuse(kind, pod, classes.admit_runtime(pod, runtime))

    def check_new(self, kind: Kind, obj: Object, warnings: list[str]) -> None:
        """Refuse a valid new object that its namespace or the cluster does not allow. Raises Forbidden, Invalid."""
        namespace = obj["metadata"].get("namespace", "")
        if kind.resource == "pods":
            ranges = self.view.list("limitranges", namespace)
            problems = [p for each in ranges for p in limit_ranger.find_pod_problems(obj, each)]
            _refuse(kind, obj, limit_ranger.refusal(problems) if problems else "")
        self._check_claim_limits(kind, obj)
        self._check_security(kind, obj, warnings)
        self._check_namespace_labels(kind, obj, None, warnings)
        self._check_priority_class(kind, obj)

    @contextmanager
    def within_quota(self, kind: Kind, obj: Object) -> Iterator[None]:
        """Hold a new object to its namespace's quotas while it is written. Raises Forbidden."""
        with self._quotas.holding(kind, obj):
            yield

    # -- a changed object --------------------------------------------------------------------------

    def check_change(
        self, kind: Kind, new: Object, old: Object, subresource: str, warnings: list[str]
    ) -> None:
        """Refuse a valid change that its namespace or the cluster does not allow. Raises Forbidden, Invalid."""
        if subresource == "status":
            return
        if kind.resource == "persistentvolumeclaims":

            def find_class(name: str) -> Object | None:
                return self.view.get(_STORAGE_CLASSES, "", name)

            _refuse(kind, new, storage.find_resize_problem(new, old, find_class))
            self._check_claim_limits(kind, new)
        if kind.resource != "pods":
            judged = new.get("spec") != old.get("spec")
        else:
            judged = pod_security.matters(new["spec"], old["spec"])
        if judged:
            self._check_security(kind, new, warnings)
        self._check_namespace_labels(kind, new, old, warnings)
        self._check_priority_class(kind, new)
        if kind.resource in ("pods", "services", "persistentvolumeclaims"):
            self._quotas.check(kind, new, old)

    # -- deletion, and accounts --------------------------------------------------------------------

    def account_missing(self, namespace: str) -> bool:
        """Return whether a namespace that is there to stay lacks its default ServiceAccount."""
        accounts = kinds.by_resource("serviceaccounts")
        key = keys.object_key(accounts, namespace, DEFAULT_ACCOUNT)
        return self._store.get(key) is None and not self._store.pending(key)

    def check_delete(self, kind: Kind, name: str) -> None:
        """Refuse to delete what the cluster cannot be without. Raises Forbidden."""
        if kind.resource == "namespaces" and name in PROTECTED_NAMESPACES:
            raise forbidden(kind, name, "this namespace may not be deleted")

    # -- parts -------------------------------------------------------------------------------------

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

    def _check_claim_limits(self, kind: Kind, claim: Object) -> None:
        if kind.resource != "persistentvolumeclaims":
            return
        ranges = self.view.list("limitranges", claim["metadata"]["namespace"])
        problems = [p for each in ranges for p in limit_ranger.find_claim_problems(claim, each)]
        _refuse(kind, claim, limit_ranger.refusal(problems) if problems else "")

    def _check_security(self, kind: Kind, obj: Object, warnings: list[str]) -> None:
        """Hold Pods to the standard that their namespace enforces; of templates, only warn. Raises Forbidden."""
        path = TEMPLATES.get((kind.group, kind.kind))
        if kind.resource != "pods" and path is None:
            return
        namespace = self.view.get("namespaces", "", obj["metadata"]["namespace"]) or {}
        policies = pod_security.read_policies((namespace.get("metadata") or {}).get("labels"))
        pod = obj if path is None else part_at(obj, path)
        judged = pod_security.judge(policies, pod, enforce=path is None)
        for key, value in judged.notes.items():
            note(pod_security.PREFIX + key, value)
        _refuse(kind, obj, judged.refusal)
        warnings += judged.warnings

    def _check_namespace_labels(
        self, kind: Kind, new: Object, old: Object | None, warnings: list[str]
    ) -> None:
        """Check a namespace's Pod security labels; tell of its Pods that a new level would refuse."""
        if kind.resource != "namespaces":
            return
        labels, name = new["metadata"].get("labels"), new["metadata"].get("name") or ""
        before = (old or {"metadata": {}})["metadata"].get("labels") or {}
        causes = [
            invalid_value(f"metadata.labels[{label}]", value, why)
            for label, value, why in pod_security.find_wrong_labels(labels)
            if before.get(label) != value
        ]
        if causes:
            raise invalid(kind, name, causes)
        policy = pod_security.read_policies(labels).enforce
        if old is None or policy.relaxes(pod_security.read_policies(before).enforce):
            return
        found = self._violations(name, policy)
        if found:
            what = f'existing pods in namespace "{name}" violate the new PodSecurity enforce level'
            warnings += [f'{what} "{policy}"', *found]

    def _violations(self, namespace: str, policy: pod_security.Policy) -> list[str]:
        """Return a line for each way in which Pods of a namespace violate a policy."""
        first: dict[str, str] = {}
        counted: Counter[str] = Counter()
        for pod in self.view.list("pods", namespace):
            wrong = pod_security.evaluate(policy, pod.get("spec") or {}, pod["metadata"])
            if wrong:
                text = ", ".join(each.partition(" (")[0] for each in wrong)
                first.setdefault(text, pod["metadata"]["name"])
                counted[text] += 1
        return sorted(_counted(first[text], count - 1, text) for text, count in counted.items())

    def _check_priority_class(self, kind: Kind, obj: Object) -> None:
        if kind.resource == _PRIORITIES:
            why = priority.find_other_default(obj, self.view.list(_PRIORITIES))
            _refuse(kind, obj, why)


def _counted(pod: str, others: int, text: str) -> str:
    if not others:
        return f"{pod}: {text}"
    return f"{pod} (and {others} other pod{'s' if others > 1 else ''}): {text}"


def _refuse(kind: Kind, obj: Object, why: str) -> None:
    """Raise Forbidden when there is a reason."""
    if why:
        raise forbidden(kind, obj["metadata"].get("name") or "", why)


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
