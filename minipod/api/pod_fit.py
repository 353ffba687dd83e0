"""What of a node suits a Pod: its taints, its labels, its ports. The scheduler asks it, and the node itself. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

Object = dict[str, Any]
HostPort = tuple[str, str, int]  # address, protocol, number
_ANY_ADDRESS = ("", "0.0.0.0", "::")


def tolerates(pod: Object, taint: Object) -> bool:
    """Whether one of the Pod's tolerations accepts a taint."""
    return any(accepts(each, taint) for each in pod["spec"].get("tolerations") or ())


def accepts(toleration: Object, taint: Object) -> bool:
    """Whether a toleration accepts a taint."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    exists = toleration.get("operator", "Equal") == "Exists"
    return exists or bool(toleration.get("value", "") == taint.get("value", ""))


# -- selectors -------------------------------------------------------------------------------------


def matches_selector(pod: Object, node: Object) -> bool:
    """Whether nodeSelector and the required node affinity accept the node."""
    labels = node["metadata"].get("labels") or {}
    wanted = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    terms = required.get("nodeSelectorTerms") or ()
    return any(_matches_term(term, node, labels) for term in terms)


def _matches_term(term: Object, node: Object, labels: Mapping[str, str]) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    own = {"metadata.name": node["metadata"]["name"]}
    return all(_matches_expression(each, labels) for each in expressions) and all(
        _matches_expression(each, own) for each in fields
    )


def _matches_expression(expression: Object, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    values: list[str] = list(expression.get("values") or ())
    operator: str = expression["operator"]
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (operator == "Exists")
    try:
        left, right = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return left > right if operator == "Gt" else left < right


# -- ports -----------------------------------------------------------------------------------------


def host_ports(pod: Object) -> set[HostPort]:
    """Return the host's addresses and ports that a Pod claims, as (address, protocol, port)."""
    claimed = set()
    spec = pod["spec"]
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        for port in container.get("ports") or ():
            number = port.get("hostPort")
            if not number and spec.get("hostNetwork"):
                number = port["containerPort"]
            if number:
                address = port.get("hostIP") or ""
                address = "" if address in _ANY_ADDRESS else address
                claimed.add((address, port.get("protocol", "TCP"), int(number)))
    return claimed


def ports_taken(wanted: set[HostPort], taken: Iterable[HostPort]) -> bool:
    """Whether one of the ports that are claimed already stands in the way of one that is wanted."""
    return bool(wanted) and any(
        (protocol, port) == (other_protocol, other_port)
        and (address == other_address or not address or not other_address)
        for other_address, other_protocol, other_port in taken
        for address, protocol, port in wanted
    )
