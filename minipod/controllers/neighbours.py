"""Pod affinity, anti-affinity and topology spread: what a Pod asks of the Pods around it. Pure.

Upstream: scheduler plugins interpodaffinity and podtopologyspread. On one node everything is one domain, and what is
only preferred decides nothing: there is nothing to choose from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from minipod.api.selectors import from_object
from minipod.client import Object

Labels = Mapping[str, str]
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True)
class Surroundings:
    """All nodes, their Pods that have not finished, and the labels of all namespaces."""

    nodes: Sequence[Object]
    placed: Mapping[str, Sequence[Object]]
    namespaces: Mapping[str, Labels] = field(default_factory=dict)

    def domain(self, node: Object, key: str) -> list[Object]:
        """Return the Pods on all nodes that have the same value of a label as `node`; none when it has none."""
        value = _labels(node).get(key)
        alike = [
            each for each in self.nodes if value is not None and _labels(each).get(key) == value
        ]
        return [pod for each in alike for pod in self.placed.get(each["metadata"]["name"], ())]


def find_spread_obstacle(pod: Object, node: Object, around: Surroundings) -> str:
    """Return why a topologySpreadConstraint with DoNotSchedule keeps the Pod from the node, "" when none does."""
    problem = "node(s) didn't match pod topology spread constraints"
    for constraint in pod["spec"].get("topologySpreadConstraints") or ():
        if constraint.get("whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule":
            continue
        key = constraint["topologyKey"]
        if key not in _labels(node):
            return f"{problem} (missing required label)"
        if _skew(pod, node, constraint, around) > int(constraint.get("maxSkew", 1)):
            return problem
    return ""


def _skew(pod: Object, node: Object, constraint: Object, around: Surroundings) -> int:
    """Return how far the node's domain would be above the emptiest one with the Pod in it."""
    key, selector = constraint["topologyKey"], _spread_selector(pod, constraint)
    matches = from_object(selector).matches
    counts = {}
    for each in around.nodes:
        value = _labels(each).get(key)
        if value is not None and value not in counts:
            counts[value] = sum(
                _namespace(other) == _namespace(pod)
                and "deletionTimestamp" not in other["metadata"]
                and matches(_labels(other))
                for other in around.domain(each, key)
            )
    enough = len(counts) >= int(constraint.get("minDomains") or 1)
    least = min(counts.values()) if counts and enough else 0
    return counts.get(_labels(node)[key], 0) + int(matches(_labels(pod))) - least


def _spread_selector(pod: Object, constraint: Object) -> Object:
    selector = constraint.get("labelSelector")
    return _with_keys(pod, selector, constraint.get("matchLabelKeys") or (), "In")


def find_affinity_obstacle(pod: Object, node: Object, around: Surroundings) -> str:
    """Return why required affinities, the Pod's own or its neighbours', keep it from the node, "" when none do."""
    if not _affinity_holds(pod, node, around):
        return "node(s) didn't match pod affinity rules"
    for term in _terms(pod, "podAntiAffinity"):
        if any(_selects(term, pod, other, around) for other in around.domain(node, _key(term))):
            return "node(s) didn't match pod anti-affinity rules"
    for neighbour_node in around.nodes:
        for other in around.placed.get(neighbour_node["metadata"]["name"], ()):
            if not other["spec"].get("affinity"):  # most have none, and there may be hundreds
                continue
            for term in _terms(other, "podAntiAffinity"):
                if _shares(node, neighbour_node, _key(term)) and _selects(term, other, pod, around):
                    return "node(s) didn't satisfy existing pods anti-affinity rules"
    return ""


def _affinity_holds(pod: Object, node: Object, around: Surroundings) -> bool:
    """Whether each term finds a Pod in its domain; the first Pod of a group may be what it asks for itself."""
    terms = list(_terms(pod, "podAffinity"))
    if any(_key(term) not in _labels(node) for term in terms):
        return False
    if all(
        any(_selects(term, pod, other, around) for other in around.domain(node, _key(term)))
        for term in terms
    ):
        return True
    everyone = [other for pods in around.placed.values() for other in pods]
    nobody = not any(_selects(term, pod, other, around) for term in terms for other in everyone)
    return nobody and all(_selects(term, pod, pod, around) for term in terms)


def _terms(pod: Object, kind: str) -> Iterator[Object]:
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    yield from affinity.get(_REQUIRED) or ()


def _selects(term: Object, owner: Object, other: Object, around: Surroundings) -> bool:
    """Whether a term of `owner` means the Pod `other`."""
    if not _in_namespaces(term, owner, _namespace(other), around):
        return False
    selector = term.get("labelSelector")
    if selector is None:
        return False
    selector = _with_keys(owner, selector, term.get("matchLabelKeys") or (), "In")
    selector = _with_keys(owner, selector, term.get("mismatchLabelKeys") or (), "NotIn")
    return from_object(selector).matches(_labels(other))


def _in_namespaces(term: Object, owner: Object, namespace: str, around: Surroundings) -> bool:
    listed, selector = term.get("namespaces") or [], term.get("namespaceSelector")
    if not listed and selector is None:
        return namespace == _namespace(owner)
    if namespace in listed:
        return True
    labels = around.namespaces.get(namespace, {"kubernetes.io/metadata.name": namespace})
    return selector is not None and from_object(selector).matches(labels)


def _with_keys(pod: Object, selector: Object | None, keys: Sequence[str], operator: str) -> Object:
    """Return a selector that also asks for the Pod's own values of some labels (KEP-3243, KEP-3633)."""
    own = _labels(pod)
    more = [{"key": key, "operator": operator, "values": [own[key]]} for key in keys if key in own]
    given = selector or {}
    return {**given, "matchExpressions": [*(given.get("matchExpressions") or ()), *more]}


def _shares(one: Object, other: Object, key: str) -> bool:
    value = _labels(one).get(key)
    return value is not None and _labels(other).get(key) == value


def _key(term: Object) -> str:
    return str(term["topologyKey"])


def _labels(obj: Object) -> Labels:
    found: Labels = obj["metadata"].get("labels") or {}
    return found


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace") or "default")
