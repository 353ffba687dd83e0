"""A Pod's way to the API: the volume with its account's token that every container is given. Pure.

Upstream's ServiceAccount admission (plugin/pkg/admission/serviceaccount; KEP-1205): the account or the Pod may refuse,
the Pod's word goes first; a container that mounts something at the place keeps what it has.
"""

from typing import Any

Object = dict[str, Any]

PLACE = "/var/run/secrets/kubernetes.io/serviceaccount"
NAME_PREFIX = "kube-api-access-"
TOKEN_SECONDS = 3607  # an hour, and a little that tells this apart from what users ask for
FILE_MODE = 0o644


def wants_token(pod: Object, account: Object) -> bool:
    """Whether a Pod is to be given its account's token."""
    for each in (pod["spec"], account):
        if each.get("automountServiceAccountToken") is not None:
            return bool(each["automountServiceAccountToken"])
    return True


def mount_token(pod: Object, name: str) -> None:
    """Give every container that has nothing there the volume, of a new name. Changes `pod`."""
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    lacking = [each for each in containers if not _has_mount(each)]
    if not lacking:
        return
    for container in lacking:
        mount = {"name": name, "readOnly": True, "mountPath": PLACE}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
    spec["volumes"] = [*(spec.get("volumes") or ()), {"name": name, "projected": _sources()}]


def _has_mount(container: Object) -> bool:
    return any(each.get("mountPath") == PLACE for each in container.get("volumeMounts") or ())


def _sources() -> Object:
    namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    certificate = {"key": "ca.crt", "path": "ca.crt"}
    return {
        "defaultMode": FILE_MODE,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [certificate]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
        ],
    }
