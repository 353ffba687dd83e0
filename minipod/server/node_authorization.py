"""What a node agent may do: what its own Pods need, and nothing else (upstream's Node authorizer).

A node reads a Secret, a ConfigMap, a claim or a volume while a Pod that is on it refers to that; it makes tokens of the
accounts that its Pods run as; of Pods, nodes, leases and CSINodes it has its own. Everything else is by `system:node`'s
rules. What a node may write into an object is `node_restriction`'s to say.
"""

from collections.abc import Callable, Iterator

from minipod.api import kinds
from minipod.api.pod_references import claims_of, config_maps_of, secrets_of
from minipod.api.rbac.attributes import Attributes
from minipod.api.rbac.default_roles import NODE_RULES
from minipod.api.rbac.rules import CompiledRules
from minipod.client import Object
from minipod.server import keys, wire
from minipod.server.identity import Identity
from minipod.store import Entry, Store

NODES_GROUP, NODE_PREFIX = "system:nodes", "system:node:"
LEASES_NAMESPACE = "kube-node-lease"
_READING = ("get", "list", "watch")
_HINTS_KEPT = 4096
_About = tuple[str, str, str]  # resource, namespace, name
_rules = CompiledRules()
_rules.add(NODE_RULES, NODES_GROUP)


def node_name(identity: Identity) -> str:
    """Return the name of the node that this is the agent of, "" for anybody else (upstream's NodeIdentifier)."""
    if NODES_GROUP not in identity.groups or not identity.user.startswith(NODE_PREFIX):
        return ""
    return identity.user.removeprefix(NODE_PREFIX)


class NodeAuthorizer:
    """Decides for the nodes of one store by the Pods as they are now; only where to look first is remembered."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hints: dict[_About, str] = {}  # the key of a Pod
        self._narrowed: dict[tuple[str, str], Callable[[str, Attributes], str]] = {
            ("", "secrets"): self._read_secret,
            ("", "configmaps"): self._read_config_map,
            ("", "persistentvolumeclaims"): self._use_claim,
            ("", "persistentvolumes"): self._read_volume,
            ("", "serviceaccounts"): self._make_token,
            ("", "pods"): self._use_pod,
            ("", "nodes"): _use_node,
            ("coordination.k8s.io", "leases"): _use_lease,
            ("storage.k8s.io", "csinodes"): _use_own,
        }

    def decide(self, name: str, asked: Attributes) -> tuple[bool, str]:
        """Return whether a node may do something; and why not, where there is more to say than that."""
        if _rules.allows(asked) is None:
            return False, ""
        narrowed = self._narrowed.get((asked.group, asked.resource))
        why = narrowed(name, asked) if narrowed is not None else ""
        return not why, why

    def _read_secret(self, name: str, asked: Attributes) -> str:
        return self._read(name, asked, secrets_of)

    def _read_config_map(self, name: str, asked: Attributes) -> str:
        return self._read(name, asked, config_maps_of)

    def _read(self, name: str, asked: Attributes, wanted: Callable[[Object], set[str]]) -> str:
        if asked.verb not in _READING:
            return "can only read resources of this type"
        if asked.subresource:
            return "cannot read subresource"
        if not asked.namespace:
            return "can only read namespaced object of this type"
        if not asked.name:
            return "No Object name found"
        return self._unrelated(name, asked, lambda pod: asked.name in wanted(pod))

    def _use_claim(self, name: str, asked: Attributes) -> str:
        if asked.subresource not in ("", "status"):
            return "can only access the status of resources of this type"
        return self._unrelated(name, asked, lambda pod: asked.name in claims_of(pod))

    def _read_volume(self, name: str, asked: Attributes) -> str:
        """A volume is a Pod's by the claim that is bound to it."""
        volume = self._get("persistentvolumes", "", asked.name)
        claim = ((volume or {}).get("spec") or {}).get("claimRef") or {}
        of_claim = Attributes(
            "get", namespace=claim.get("namespace", ""), name=claim.get("name", "")
        )
        if not of_claim.namespace:
            return _no_relationship(name)
        return self._unrelated(name, of_claim, lambda pod: of_claim.name in claims_of(pod))

    def _make_token(self, name: str, asked: Attributes) -> str:
        if asked.verb != "create" or asked.subresource != "token" or not asked.name:
            return "can only create tokens for individual service accounts"
        return self._unrelated(
            name, asked, lambda pod: pod["spec"].get("serviceAccountName") == asked.name
        )

    def _use_pod(self, name: str, asked: Attributes) -> str:
        """It reads its own; which one it writes is for admission to say, in its own words."""
        if asked.verb not in _READING:
            return ""
        if asked.verb != "get" and asked.selects("spec.nodeName") == name:
            return ""
        if asked.name:
            pod = self._get("pods", asked.namespace, asked.name) or {}
            own = (pod.get("spec") or {}).get("nodeName") == name
            return "" if own else _no_relationship(name)
        return "can only list/watch pods with spec.nodeName field selector"

    def _unrelated(self, name: str, asked: Attributes, needs: Callable[[Object], bool]) -> str:
        """Return why not, unless one of the node's Pods needs the object."""
        about = (asked.combined_resource, asked.namespace, asked.name)
        for entry in self._candidates(about, asked):
            pod: Object = wire.stored(entry)
            if pod["spec"].get("nodeName") == name and needs(pod):
                self._remember(about, entry.key)
                return ""
        self._hints.pop(about, None)
        return _no_relationship(name)

    def _candidates(self, about: _About, asked: Attributes) -> Iterator[Entry]:
        """Yield the Pod that needed it when this was asked before, then all that have its name somewhere: few."""
        hint = self._hints.get(about)
        known = self._store.get(hint) if hint else None
        if known is not None:
            yield known
        prefix = keys.prefix(kinds.by_resource("pods"), asked.namespace)
        # A claim that is made for a Pod is not named in it, but the claim's last part is.
        part = asked.name.rpartition("-")[2].encode()
        for entry in self._store.list(prefix).entries:
            if part in entry.value:
                yield entry

    def _remember(self, about: _About, key: str) -> None:
        if len(self._hints) >= _HINTS_KEPT:
            self._hints.clear()
        self._hints[about] = key

    def _get(self, resource: str, namespace: str, name: str) -> Object | None:
        entry = self._store.get(keys.object_key(kinds.by_resource(resource), namespace, name))
        return None if entry is None else wire.stored(entry)


def _no_relationship(name: str) -> str:
    return f"no relationship found between node '{name}' and this object"


def _use_node(name: str, asked: Attributes) -> str:
    if asked.verb in _READING and asked.name != name:
        return f"node '{name}' cannot read {_quoted(asked.name) or 'all nodes'}, only its own Node object"
    return ""  # which one it writes is for admission to say, in its own words


def _use_lease(name: str, asked: Attributes) -> str:
    if asked.namespace != LEASES_NAMESPACE:
        return f'can only access leases in the "{LEASES_NAMESPACE}" system namespace'
    if asked.verb != "create" and asked.name != name:
        return "can only access node lease with the same name as the requesting node"
    return ""


def _use_own(name: str, asked: Attributes) -> str:
    if asked.verb != "create" and asked.name != name:
        return "can only access CSINode with the same name as the requesting node"
    return ""


def _quoted(text: str) -> str:
    return f"'{text}'" if text else ""
