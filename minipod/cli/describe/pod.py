"""Pods."""

from typing import Any

from minipod.cli.describe.common import annotation_lines, event_lines, optional_text
from minipod.cli.describe.container import container_lines
from minipod.cli.describe.layout import Writer
from minipod.cli.times import age, rfc1123

Object = dict[str, Any]
CLAIM = "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)"


def describe_pod(pod: Object, events: list[Object]) -> str:
    """Return a Pod's description."""
    w = Writer()
    _identity(w, pod)
    _state(w, pod)
    _containers(w, pod)
    _conditions(w, pod)
    _volumes(w, pod["spec"].get("volumes") or [])
    status = pod.get("status") or {}
    w.field(0, "QoS Class", status.get("qosClass", "BestEffort"))
    w.mapping(0, "Node-Selectors", pod["spec"].get("nodeSelector") or {})
    _tolerations(w, pod["spec"].get("tolerations") or [])
    event_lines(w, events)
    return w.text()


def _identity(w: Writer, pod: Object) -> None:
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    w.field(0, "Name", metadata["name"])
    w.field(0, "Namespace", metadata.get("namespace", ""))
    if spec.get("priority") is not None:
        w.field(0, "Priority", spec["priority"])
    for name, key in (
        ("Priority Class Name", "priorityClassName"),
        ("Runtime Class Name", "runtimeClassName"),
        ("Service Account", "serviceAccountName"),
    ):
        if spec.get(key):
            w.field(0, name, spec[key])
    node = spec.get("nodeName")
    w.field(0, "Node", f"{node}/{status.get('hostIP', '')}" if node else "<none>")
    if status.get("startTime"):
        w.field(0, "Start Time", rfc1123(status["startTime"]))
    w.mapping(0, "Labels", metadata.get("labels") or {})
    annotation_lines(w, metadata.get("annotations") or {})


def _state(w: Writer, pod: Object) -> None:
    metadata, status = pod["metadata"], pod.get("status") or {}
    if metadata.get("deletionTimestamp"):
        w.field(0, "Status", f"Terminating (lasts {age(metadata['deletionTimestamp'])})")
        w.field(0, "Termination Grace Period", f"{metadata.get('deletionGracePeriodSeconds', 0)}s")
    else:
        w.field(0, "Status", status.get("phase", ""))
    for name in ("reason", "message"):
        if status.get(name):
            w.field(0, name.capitalize(), status[name])
    profile = (pod["spec"].get("securityContext") or {}).get("seccompProfile")
    if profile:
        w.field(0, "SeccompProfile", profile.get("type", ""))
    w.field(0, "IP", status.get("podIP", ""))
    if status.get("podIPs"):
        w.line(0, "IPs:")
        for each in status["podIPs"]:
            w.field(1, "IP", each.get("ip", ""))
    else:
        w.field(0, "IPs", "<none>")
    owner = next(
        (each for each in metadata.get("ownerReferences") or [] if each.get("controller")), None
    )
    if owner:
        w.field(0, "Controlled By", f"{owner['kind']}/{owner['name']}")


def _containers(w: Writer, pod: Object) -> None:
    spec, status = pod["spec"], pod.get("status") or {}
    for title, key, statuses in (
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ):
        if spec.get(key):
            w.line(0, f"{title}:")
            known = {each["name"]: each for each in status.get(statuses) or []}
            for container in spec[key]:
                container_lines(w, pod, container, known.get(container["name"]))


def _conditions(w: Writer, pod: Object) -> None:
    conditions = (pod.get("status") or {}).get("conditions") or []
    if conditions:
        w.line(0, "Conditions:")
        w.line(1, "Type\tStatus")
        for each in conditions:
            w.line(1, f"{each['type']} \t{each['status']} ")


def _volumes(w: Writer, volumes: list[Object]) -> None:
    if not volumes:
        w.field(0, "Volumes", "<none>")
        return
    w.line(0, "Volumes:")
    for volume in volumes:
        w.line(1, f"{volume['name']}:")
        for name, value in volume_fields(volume):
            w.field(2, name, value)


def volume_fields(volume: Object) -> list[tuple[str, object]]:
    """Return what a description says of one volume."""
    for kind, describe in _VOLUMES.items():
        if kind in volume:
            return describe(volume[kind] or {})
    return [("Type", "<unknown>")]


def _host_path(source: Object) -> list[tuple[str, object]]:
    kind = source.get("type")
    return [
        ("Type", "HostPath (bare host directory volume)"),
        ("Path", source.get("path", "")),
        ("HostPathType", "<none>" if kind is None else kind),
    ]


def _empty_dir(source: Object) -> list[tuple[str, object]]:
    return [
        ("Type", "EmptyDir (a temporary directory that shares a pod's lifetime)"),
        ("Medium", source.get("medium", "")),
        ("SizeLimit", source.get("sizeLimit", "<unset>")),
    ]


def _secret(source: Object) -> list[tuple[str, object]]:
    return [
        ("Type", "Secret (a volume populated by a Secret)"),
        ("SecretName", source.get("secretName", "")),
        ("Optional", optional_text(source.get("optional"))),
    ]


def _config_map(source: Object) -> list[tuple[str, object]]:
    return [
        ("Type", "ConfigMap (a volume populated by a ConfigMap)"),
        ("Name", source.get("name", "")),
        ("Optional", optional_text(source.get("optional"))),
    ]


def _downward(source: Object) -> list[tuple[str, object]]:
    lines: list[tuple[str, object]] = [
        ("Type", "DownwardAPI (a volume populated by information about the pod)")
    ]
    items = source.get("items") or []
    return [
        *lines,
        ("Items", ", ".join(f"{_field_path(each)} -> {each.get('path')}" for each in items)),
    ]


def _field_path(item: Object) -> str:
    return str(
        (item.get("fieldRef") or {}).get("fieldPath")
        or (item.get("resourceFieldRef") or {}).get("resource")
    )


def _projected(source: Object) -> list[tuple[str, object]]:
    lines: list[tuple[str, object]] = [
        ("Type", "Projected (a volume that contains injected data from multiple sources)")
    ]
    for each in source.get("sources") or []:
        for kind, name in (("secret", "SecretName"), ("configMap", "ConfigMapName")):
            if kind in each:
                lines.append((name, each[kind].get("name", "")))
                lines.append(("Optional", optional_text(each[kind].get("optional"))))
        if "downwardAPI" in each:
            lines.append(("DownwardAPI", "true"))
        if "serviceAccountToken" in each:
            lines.append(
                (
                    "TokenExpirationSeconds",
                    each["serviceAccountToken"].get("expirationSeconds", 3600),
                )
            )
    return lines


def _claim(source: Object) -> list[tuple[str, object]]:
    read_only = optional_text(source.get("readOnly"))
    return [("Type", CLAIM), ("ClaimName", source.get("claimName", "")), ("ReadOnly", read_only)]


def _image(source: Object) -> list[tuple[str, object]]:
    return [
        ("Type", "Image (a container image or OCI artifact)"),
        ("Reference", source.get("reference", "")),
        ("PullPolicy", source.get("pullPolicy", "")),
    ]


_VOLUMES = {
    "image": _image,
    "hostPath": _host_path,
    "emptyDir": _empty_dir,
    "secret": _secret,
    "configMap": _config_map,
    "downwardAPI": _downward,
    "projected": _projected,
    "persistentVolumeClaim": _claim,
}


def _tolerations(w: Writer, tolerations: list[Object]) -> None:
    entries = sorted(_toleration(each) for each in tolerations) or ["<none>"]
    w.field(0, "Tolerations", entries[0])
    for entry in entries[1:]:
        w.line(0, f"\t{entry}")


def _toleration(each: Object) -> str:
    text = str(each.get("key", ""))
    if each.get("value"):
        text += f"={each['value']}"
    if each.get("effect"):
        text += f":{each['effect']}"
    if each.get("operator") == "Exists" and not each.get("value"):
        text += " op=Exists" if text else "op=Exists"
    seconds = each.get("tolerationSeconds")
    return text if seconds is None else f"{text} for {seconds}s"
