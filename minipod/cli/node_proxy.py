"""What minipod shows beyond the API's objects, asked of the node through the API (nodes/NAME/proxy/...)."""

from typing import Any

from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.resources import NODES, quote

Object = dict[str, Any]


def node_path(invocation: Invocation, node: str, rest: str) -> str:
    """Return the path of something that a node serves; "" is the only node there is."""
    return f"{NODES.path('', node or only_node(invocation), 'proxy')}/{rest}"


def only_node(invocation: Invocation) -> str:
    """Return the node's name. Raises CliError while it has not registered."""
    nodes = invocation.api.list(NODES, "").get("items") or []
    if not nodes:
        raise CliError("the node has not registered itself yet; try again")
    name: str = nodes[0]["metadata"]["name"]
    return name


def of_pod(invocation: Invocation, verb: str, pod: str) -> Object:
    """Return what the Pod's node answers to `minipod/VERB/NAMESPACE/POD`. Raises ServerError."""
    from minipod.cli.pods import get_pod

    node = get_pod(invocation, pod)["spec"].get("nodeName", "")
    where = f"minipod/{verb}/{quote(invocation.namespace)}/{quote(pod)}"
    return invocation.api.get_path(node_path(invocation, node, where))
