"""Which Pod and which container a command means."""

import sys
from typing import TYPE_CHECKING, Any

from minipod.cli.errors import CliError
from minipod.cli.resources import PODS

if TYPE_CHECKING:
    from minipod.cli.invocation import Invocation

Object = dict[str, Any]
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def pod_name(text: str | None, usage: str) -> str:
    """Return the name in `NAME`, `pod/NAME` or `pods/NAME`. Raises CliError for other types."""
    if not text:
        raise CliError(usage)
    kind, slash, name = text.partition("/")
    if not slash:
        return text
    if kind not in ("pod", "pods", "po") or not name:
        raise CliError(f'"{text}" is not a Pod: give NAME or pod/NAME')
    return name


def get_pod(invocation: "Invocation", name: str) -> Object:
    """Return a Pod. Raises ServerError (NotFound)."""
    return invocation.api.get(PODS, invocation.namespace, name)


def containers_of(pod: Object) -> list[Object]:
    """Return all containers of a Pod's spec: init containers, then the others, then ephemeral ones."""
    spec = pod["spec"]
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [each for kind in kinds for each in spec.get(kind) or []]


def choose_container(pod: Object, wanted: str, *, quiet: bool = False) -> Object:
    """Return the container meant: by name, by annotation, or the first, saying so when there are more."""
    name, everything = pod["metadata"]["name"], containers_of(pod)
    names = [each["name"] for each in everything]
    annotated = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    if wanted:
        for each in everything:
            if each["name"] == wanted:
                return each
        known = ", ".join(_told(pod))
        raise CliError(f"container {wanted} is not valid for pod {name} out of: {known}")
    if annotated in names:
        return everything[names.index(annotated)]
    first: Object = pod["spec"]["containers"][0]
    if len(everything) > 1 and not quiet:
        known = ", ".join(_told(pod))
        print(f'Defaulted container "{first["name"]}" out of: {known}', file=sys.stderr)
    return first


def _told(pod: Object) -> list[str]:
    """Return the containers' names with their kinds, in kubectl's order."""
    kinds = {"containers": "", "ephemeralContainers": " (ephem)", "initContainers": " (init)"}
    spec = pod["spec"]
    return [f"{each['name']}{kind}" for key, kind in kinds.items() for each in spec.get(key) or []]
