"""Namespaces, secrets, configmaps, serviceaccounts, events, and any kind without a layout of its own."""

import base64
from typing import Any

from minipod.cli.describe.common import event_lines, name_lines
from minipod.cli.describe.layout import Writer

Object = dict[str, Any]


def describe_namespace(namespace: Object, events: list[Object]) -> str:
    """Return a namespace's description."""
    w = Writer()
    name_lines(w, namespace, namespaced=False)
    w.field(0, "Status", (namespace.get("status") or {}).get("phase", ""))
    return w.text()


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
