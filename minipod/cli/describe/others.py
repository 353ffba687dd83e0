"""Nodes, namespaces, secrets, configmaps, serviceaccounts, events, and any kind without a layout of its own."""

import base64
from typing import Any

from minipod.cli.describe.common import annotation_lines, event_lines, name_lines
from minipod.cli.describe.layout import Writer
from minipod.cli.times import age, rfc1123

Object = dict[str, Any]
SYSTEM_INFO = (
    ("Machine ID", "machineID"),
    ("System UUID", "systemUUID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
    ("Kube-Proxy Version", "kubeProxyVersion"),
)
ROLE = "node-role.kubernetes.io/"


def describe_namespace(namespace: Object, events: list[Object]) -> str:
    """Return a namespace's description."""
    w = Writer()
    name_lines(w, namespace, namespaced=False)
    w.field(0, "Status", (namespace.get("status") or {}).get("phase", ""))
    return w.text()


def describe_node(node: Object, events: list[Object], pods: list[Object]) -> str:
    """Return a node's description."""
    w = Writer()
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    labels = metadata.get("labels") or {}
    w.field(0, "Name", metadata["name"])
    roles = sorted(key.removeprefix(ROLE) for key in labels if key.startswith(ROLE))
    w.field(0, "Roles", ",".join(roles) or "<none>")
    w.mapping(0, "Labels", labels)
    annotation_lines(w, metadata.get("annotations") or {})
    w.field(0, "CreationTimestamp", rfc1123(metadata.get("creationTimestamp")))
    w.field(0, "Taints", _taints(spec) or "<none>")
    w.field(0, "Unschedulable", "true" if spec.get("unschedulable") else "false")
    _node_conditions(w, status.get("conditions") or [])
    w.line(0, "Addresses:")
    for each in status.get("addresses") or []:
        w.field(1, each["type"], each["address"])
    for title in ("capacity", "allocatable"):
        if status.get(title):
            w.line(0, f"{title.capitalize()}:")
            for name in sorted(status[title]):
                w.field(1, name, status[title][name])
    info = status.get("nodeInfo") or {}
    w.line(0, "System Info:")
    for name, key in SYSTEM_INFO:
        w.field(1, name, info.get(key, ""))
    if spec.get("podCIDR"):
        w.field(0, "PodCIDR", spec["podCIDR"])
        w.field(0, "PodCIDRs", ",".join(spec.get("podCIDRs") or []))
    _node_pods(w, pods)
    event_lines(w, events)
    return w.text()


def _taints(spec: Object) -> str:
    taints = spec.get("taints") or []
    texts = (f"{each['key']}={each.get('value', '')}:{each['effect']}" for each in taints)
    return ", ".join(text.replace("=:", ":") for text in texts)


def _node_conditions(w: Writer, conditions: list[Object]) -> None:
    if not conditions:
        return
    w.line(0, "Conditions:")
    w.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage")
    w.line(1, "----\t------\t-----------------\t------------------\t------\t-------")
    for each in conditions:
        beat, change = (
            rfc1123(each.get("lastHeartbeatTime")),
            rfc1123(each.get("lastTransitionTime")),
        )
        words = f"{each.get('reason', '')} \t{each.get('message', '')}"
        w.line(1, f"{each['type']} \t{each['status']} \t{beat} \t{change} \t{words}")


def _node_pods(w: Writer, pods: list[Object]) -> None:
    running = [
        each
        for each in pods
        if (each.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    ]
    w.line(0, f"Non-terminated Pods:\t({len(running)} in total)")
    w.line(1, "Namespace\tName\tAge")
    w.line(1, "---------\t----\t---")
    for pod in running:
        metadata = pod["metadata"]
        w.line(
            1,
            f"{metadata['namespace']}\t{metadata['name']}\t{age(metadata.get('creationTimestamp'))}",
        )


def describe_secret(secret: Object, events: list[Object]) -> str:
    """Return a Secret's description: sizes, never values."""
    w = Writer()
    name_lines(w, secret)
    w.line(0, "")
    w.field(0, "Type", secret.get("type", ""))
    w.line(0, "")
    w.line(0, "Data")
    w.line(0, "====")
    for key in sorted(secret.get("data") or {}):
        w.field(0, key, f"{len(base64.b64decode(secret['data'][key]))} bytes")
    return w.text()


def describe_configmap(configmap: Object, events: list[Object]) -> str:
    """Return a ConfigMap's description with its data."""
    w = Writer()
    name_lines(w, configmap)
    text = [w.text(), "\nData\n====\n"]
    for key in sorted(configmap.get("data") or {}):
        text.append(f"{key}:\n----\n{configmap['data'][key]}\n\n")
    text.append("\nBinaryData\n====\n")
    for key in sorted(configmap.get("binaryData") or {}):
        text.append(f"{key}: {len(base64.b64decode(configmap['binaryData'][key]))} bytes\n")
    text.append("\n")
    end = Writer()
    event_lines(end, events)
    return "".join(text) + end.text()


def describe_serviceaccount(account: Object, events: list[Object]) -> str:
    """Return a service account's description."""
    w = Writer()
    name_lines(w, account)
    for title, key in (
        ("Image pull secrets", "imagePullSecrets"),
        ("Mountable secrets", "secrets"),
        ("Tokens", ""),
    ):
        names = [each["name"] for each in account.get(key) or []] or ["<none>"]
        w.field(0, title, names[0])
        for name in names[1:]:
            w.line(0, f"\t{name}")
    event_lines(w, events)
    return w.text()


def describe_generic(obj: Object, events: list[Object]) -> str:
    """Return the description of a kind without a layout of its own: its fields, indented."""
    w = Writer()
    name_lines(w, obj)
    w.field(0, "API Version", obj.get("apiVersion", ""))
    w.field(0, "Kind", obj.get("kind", ""))
    hidden = ("managedFields", "name", "namespace", "labels", "annotations")
    metadata = {key: value for key, value in obj["metadata"].items() if key not in hidden}
    rest = {
        key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")
    }
    _fields(w, 0, {"metadata": metadata, **rest})
    event_lines(w, events)
    return w.text()


def _fields(w: Writer, level: int, value: Object) -> None:
    for key in sorted(value):
        title, below = words_of(key), value[key]
        if isinstance(below, dict) and below:
            w.line(level, f"{title}:")
            _fields(w, level + 1, below)
        elif isinstance(below, list) and below and isinstance(below[0], dict):
            w.line(level, f"{title}:")
            for each in below:
                _fields(w, level + 1, each)
        elif isinstance(below, list):
            w.field(level, title, ", ".join(str(each) for each in below) or "<none>")
        elif below not in ({}, None):
            w.field(level, title, str(below).lower() if isinstance(below, bool) else below)


def words_of(key: str) -> str:
    """Return `lastTransitionTime` as `Last Transition Time`, `podCIDR` as `Pod CIDR`."""
    spaced = "".join(
        f" {letter}" if letter.isupper() and i and not key[i - 1].isupper() else letter
        for i, letter in enumerate(key)
    )
    return spaced[:1].upper() + spaced[1:]
