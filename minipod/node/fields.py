"""What a Pod may be told about itself: `fieldRef` and `resourceFieldRef`, as text. Pure."""

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from math import ceil

from minipod.api.quantity import parse
from minipod.client import Object
from minipod.node.errors import StepError
from minipod.node.pods import containers_of

_SUBSCRIPT = re.compile(r"metadata\.(?P<map>labels|annotations)\['(?P<key>[^']+)'\]")


def field_value(pod: Object, path: str) -> str:
    """Return a field's value. StepError for a field that the downward API does not offer.

    Maps come as lines of key="value", sorted by key.
    """
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        return str((metadata.get(subscript["map"]) or {}).get(subscript["key"], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = sorted((metadata.get(path.partition(".")[2]) or {}).items())
        return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in pairs)
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": status.get("hostIP", ""),
        "status.hostIPs": ",".join(each["ip"] for each in status.get("hostIPs") or ()),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": ",".join(each["ip"] for each in status.get("podIPs") or ()),
    }
    if path not in known:
        raise StepError("CreateContainerConfigError", f"unsupported fieldPath: {path}")
    return str(known[path])


def resource_value(
    pod: Object, reference: Object, allocatable: Mapping[str, str], container: Object | None = None
) -> str:
    """Return a request or limit in units of the divisor, rounded up.

    A limit that a container does not have is the Pod's own, and without that all that the node has for Pods.
    """
    found = container or _find(pod, reference.get("containerName", ""))
    part, _, name = str(reference["resource"]).partition(".")
    resources = found.get("resources") or {}
    limit = (resources.get("limits") or {}).get(name)
    amount = limit if part == "limits" else (resources.get("requests") or {}).get(name, limit)
    if part == "limits" and not (amount and parse(amount)):
        own = (pod["spec"].get("resources") or {}).get("limits") or {}
        amount = own.get(name, allocatable.get(name))
    divisor = parse(reference.get("divisor") or "1") or Fraction(1)
    return str(ceil(parse(amount or "0") / divisor))


def _find(pod: Object, name: str) -> Object:
    for _, container in containers_of(pod):
        if container["name"] == name:
            return container
    raise StepError("CreateContainerConfigError", f'container "{name}" not found')
