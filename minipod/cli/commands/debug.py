"""`minipod debug`: a container more in a running Pod, to look at the others from (kubectl debug, KEP-277)."""

import secrets
from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.completion import complete_containers
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.pods import get_pod, pod_name
from minipod.cli.resources import PODS
from minipod.cli.selection import Target
from minipod.cli.terminal import progress
from minipod.cli.waiting import Deadline, wait_for

Object = dict[str, Any]
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # of generated names, as the API server's


@flags.command(
    after_dashes=True,
    examples="""
    minipod debug -it nginx --image=busybox
    minipod debug -it nginx --image=busybox --target=nginx -- ps
    """,
)
@flags.pod_argument
@click.argument("arguments", nargs=-1, metavar="[-- COMMAND...]")
@click.option("--image", default="", help="The image to debug with")
@click.option("-c", "--container", default="", metavar="NAME", help="The new container's name")
@click.option(
    "--target",
    default="",
    metavar="CONTAINER",
    shell_complete=complete_containers,
    help="See the processes of this container",
)
@click.option("--env", multiple=True, metavar="KEY=VALUE", help="A variable; several times")
@click.option("--image-pull-policy", default="", help="Always, IfNotPresent or Never")
@flags.flag("-i", "--stdin", help="Keep the container's standard input open, and attach to it")
@flags.flag("-t", "--tty", help="Give the container a terminal")
@flags.flag("--attach", help="Wait until the container runs, then attach to it")
@flags.flag("-q", "--quiet", help="Print only what the container prints")
@flags.pass_invocation
def command(invocation: Invocation, pod: str | None, **given: Any) -> None:
    """Add an ephemeral container to a running Pod; it stays in the Pod until the Pod is deleted."""
    name = pod_name(pod, "one POD name must be specified for debugging")
    if not given["image"]:
        raise CliError("you must specify --image for the debug container")
    if given["tty"] and not given["stdin"]:
        raise CliError("-i/--stdin is required for containers with -t/--tty=true")
    arguments = (*given["arguments"], *(flags.command_after_dashes() or []))
    found = get_pod(invocation, name)
    container = compute_container(given, arguments, given["container"] or _free_name(found))
    _tell(given, container["name"])
    patch = {"spec": {"ephemeralContainers": [container]}}
    path = PODS.path(invocation.namespace, name, "ephemeralcontainers")
    kind = "application/strategic-merge-patch+json"
    query = {"fieldManager": "kubectl-debug"}
    changed = invocation.api.call("PATCH", path, query, patch, content_type=kind)
    if given["stdin"] or given["attach"]:
        _attach(invocation, changed, container, given)


def compute_container(given: dict[str, Any], arguments: tuple[str, ...], name: str) -> Object:
    """Return the ephemeral container that the command line describes (kubectl's profile "general")."""
    container: Object = {
        "name": name,
        "image": given["image"],
        "terminationMessagePolicy": "File",
        "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}},
    }
    if arguments:
        container["command"] = list(arguments)
    if given["target"]:
        container["targetContainerName"] = given["target"]
    if given["env"]:
        pairs = [each.partition("=") for each in given["env"]]
        container["env"] = [{"name": key, "value": value} for key, _, value in pairs]
    if given["image_pull_policy"]:
        container["imagePullPolicy"] = given["image_pull_policy"]
    for flag in ("stdin", "tty"):
        if given[flag]:
            container[flag] = True
    return container


def _free_name(pod: Object) -> str:
    taken = {each["name"] for each in pod["spec"].get("ephemeralContainers") or ()}
    while True:
        name = "debugger-" + "".join(secrets.choice(_LETTERS) for _ in range(5))
        if name not in taken:
            return name


def _tell(given: dict[str, Any], name: str) -> None:
    if given["quiet"]:
        return
    if given["target"]:
        progress(
            f'Targeting container "{given["target"]}". If you don\'t see processes from this container it may be '
            "because the container runtime doesn't support this feature."
        )
    if not given["container"]:
        progress(f"Defaulting debug container name to {name}.")


def _attach(invocation: Invocation, pod: Object, container: Object, given: dict[str, Any]) -> None:
    from minipod.cli.commands.attach import attach_or_print_log, check_started, print_log

    name = container["name"]
    target = Target(PODS, invocation.namespace, pod["metadata"]["name"], object=pod)
    told: set[str] = set()
    state = wait_for(invocation.api, target, lambda found: _state(found, name, told), Deadline(0))
    check_started(name, state.get("terminated") or {})
    if not given["stdin"] or "terminated" in state:
        print_log(invocation, target, {"container": name, "follow": "true"})  # all that it says
        return
    attach_or_print_log(
        invocation,
        target,
        container,
        stdin=given["stdin"],
        tty=given["tty"],
        quiet=given["quiet"],
    )


def _state(pod: Object | None, name: str, told: set[str]) -> Object | None:
    """Return the container's state once it runs or has ended. Raises CliError when it never will.

    What it waits for is told meanwhile, once each.
    """
    if pod is None:
        raise CliError("the Pod was deleted before the container ran")
    for status in (pod.get("status") or {}).get("ephemeralContainerStatuses") or ():
        state: Object = status.get("state") or {}
        if status["name"] == name and ("running" in state or "terminated" in state):
            return state
        waits = (state.get("waiting") or {}).get("message")
        if status["name"] == name and waits and waits not in told:
            told.add(waits)
            progress(f"Warning: container {name}: {waits}")
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        raise CliError("the Pod has ended before the container ran")
    return None
