"""What a Pod that leaves things open means: upstream's defaulting, and what its admission adds to every Pod.

Sources: pkg/apis/core/v1/defaults.go; the admission plugins ServiceAccount and DefaultTolerationSeconds.
"""

import re
from collections.abc import Iterator
from typing import Any

from minipod.api.pod_resources import is_of_pods, sum_containers, written

Object = dict[str, Any]

FILE_MODE = 0o644
TOKEN_LIFETIME_SECONDS = 3600
TOLERATION_SECONDS = 300

_SPEC = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "schedulerName": "default-scheduler",
}
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_VOLUMES: dict[str, Object] = {
    "hostPath": {"type": ""},
    "secret": {"defaultMode": FILE_MODE},
    "configMap": {"defaultMode": FILE_MODE},
    "downwardAPI": {"defaultMode": FILE_MODE},
    "projected": {"defaultMode": FILE_MODE},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {
        "cachingMode": "ReadWrite",
        "kind": "Shared",
        "fsType": "ext4",
        "readOnly": False,
    },
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}
# an image reference, as the grammar of the distribution project has it
_PATH = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?:[\w.-]+|\[[a-fA-F0-9:]+\])(?::\d+)?/)?{_PATH}(?:/{_PATH})*"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[a-f0-9]{64}))?",
    re.ASCII,
)


def default_pod(pod: Object) -> None:
    """Fill in a Pod's defaults. Done twice, the second time changes nothing."""
    spec = _child(pod, "spec")
    default_pod_spec(spec)
    if spec["terminationGracePeriodSeconds"] < 0:  # what should never have been allowed
        spec["terminationGracePeriodSeconds"] = 1
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    for container in all_containers(spec):
        if spec.get("hostNetwork"):
            _default_host_ports(container)
        _default_requests(container["resources"])
    _default_pod_requests(spec)
    _default_service_account(spec)
    _default_tolerations(spec)


def default_pod_template(template: Object) -> None:
    """Fill in the defaults of a template: less than of a Pod, which is defaulted again when it is made."""
    spec = _child(template, "spec")
    default_pod_spec(spec)
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def default_pod_spec(spec: Object) -> None:
    """Fill in what a Pod's spec and a template's have in common."""
    _fill(spec, _SPEC)
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    for volume in spec.get("volumes") or ():
        default_volume(volume)
    for container in all_containers(spec):
        _default_container(container)


def all_containers(spec: Object) -> Iterator[Object]:
    """Yield init, ordinary and ephemeral containers."""
    for name in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(name) or ()


def default_pull_policy(image: str) -> str:
    """Return the policy of an image reference: Always for `latest`, said or meant, otherwise IfNotPresent.

    As upstream, also a digest beside it changes nothing of what a tag says, and what is no reference has no tag.
    """
    found = _REFERENCE.fullmatch(image)
    tag = found and (found["tag"] or ("" if found["digest"] else "latest"))
    return "Always" if tag == "latest" else "IfNotPresent"


def _fill(obj: Object, values: Object) -> None:
    """Set what is missing. Empty text counts as missing; 0 and false are values."""
    for name, value in values.items():
        if obj.get(name) in (None, ""):
            obj[name] = value


def _fill_zeros(obj: Object, values: Object) -> None:
    """Set what is missing or 0: upstream cannot tell the two apart in these fields."""
    for name, value in values.items():
        if not obj.get(name):
            obj[name] = value


def _child(obj: Object, name: str) -> Object:
    child: Object = obj.setdefault(name, {})
    return child


def _default_host_ports(container: Object) -> None:
    """On the host's network a container's port is the host's."""
    for port in container.get("ports") or ():
        _fill_zeros(port, {"hostPort": port.get("containerPort", 0)})


def _default_container(container: Object) -> None:
    image = container.get("image") or ""
    if not container.get("imagePullPolicy") and image:
        container["imagePullPolicy"] = default_pull_policy(image)
    _fill(
        container,
        {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"},
    )
    for port in container.get("ports") or ():
        _fill(port, {"protocol": "TCP"})
    default_environment(container)
    if container.get("resources") is None:
        container["resources"] = {}
    _default_handlers(container)


def default_environment(container: Object) -> None:
    """Fill in the `env` of a container, or of what is given to containers."""
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        _default_field_ref(source.get("fieldRef"))
        if source.get("fileKeyRef") is not None:
            source["fileKeyRef"].setdefault("optional", False)


def _default_requests(resources: Object | None) -> None:
    """A limit without a request means that much is requested."""
    if not resources or not resources.get("limits"):
        return
    requests = resources["requests"] = dict(resources.get("requests") or {})
    for name, amount in resources["limits"].items():
        requests.setdefault(name, amount)


def _default_pod_requests(spec: Object) -> None:
    """A limit of the whole Pod without a request: its containers' requests, or as much as the limit (KEP-2837)."""
    resources = spec.get("resources") or {}
    if not resources.get("limits"):
        return
    requests = resources["requests"] = dict(resources.get("requests") or {})
    for name, amount in sum_containers(spec, "requests").items():
        if is_of_pods(name):
            requests.setdefault(name, written(name, amount))
    for name, limit in resources["limits"].items():
        requests.setdefault(name, limit)


def _default_handlers(container: Object) -> None:
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe:
            _fill_zeros(probe, _PROBE)
            _default_handler(probe)
    lifecycle = container.get("lifecycle") or {}
    for name in ("postStart", "preStop"):
        _default_handler(lifecycle.get(name) or {})


def _default_handler(handler: Object) -> None:
    if handler.get("httpGet"):
        _fill(handler["httpGet"], {"path": "/", "scheme": "HTTP"})
    if handler.get("grpc"):
        handler["grpc"].setdefault("service", "")


def _default_field_ref(reference: Object | None) -> None:
    if reference:
        _fill(reference, {"apiVersion": "v1"})


def default_volume(volume: Object) -> None:
    """Fill in a volume: an emptyDir when it says nothing, file modes, field versions."""
    if not any(volume.get(name) is not None for name in volume if name != "name"):
        volume["emptyDir"] = {}
    for name, values in _VOLUMES.items():
        source = volume.get(name)
        if source is None:
            continue
        for key, value in values.items():
            # A mode of 0 is a mode: only what is absent is filled in.
            if source.get(key) is None:
                source[key] = value
    claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if claim is not None:
        _fill(_child(claim, "spec"), {"volumeMode": "Filesystem"})
    image = volume.get("image")
    if image is not None and not image.get("pullPolicy") and image.get("reference"):
        image["pullPolicy"] = default_pull_policy(image["reference"])
    _default_items(volume.get("downwardAPI"))
    for source in (volume.get("projected") or {}).get("sources") or ():
        _default_items(source.get("downwardAPI"))
        if source.get("serviceAccountToken"):
            _fill(source["serviceAccountToken"], {"expirationSeconds": TOKEN_LIFETIME_SECONDS})


def _default_items(source: Object | None) -> None:
    for item in (source or {}).get("items") or ():
        _default_field_ref(item.get("fieldRef"))


def _default_service_account(spec: Object) -> None:
    """`serviceAccount` is the deprecated name of `serviceAccountName`: both always say the same."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name


def _default_tolerations(spec: Object) -> None:
    """A Pod stays five minutes on a node that is not ready or cannot be reached, unless it says otherwise."""
    given = spec.get("tolerations") or []
    for taint in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_tolerates(each, taint) for each in given):
            given = [
                *given,
                {
                    "key": taint,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": TOLERATION_SECONDS,
                },
            ]
    spec["tolerations"] = given


def _tolerates(toleration: Object, taint: str) -> bool:
    return (toleration.get("key") or taint) == taint and (
        toleration.get("effect") or "NoExecute"
    ) == "NoExecute"
