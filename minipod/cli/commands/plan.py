"""`minipod plan`."""

import sys
from typing import Any

from minipod.cli import options as flags
from minipod.cli.errors import CliError, ServerError
from minipod.cli.invocation import Invocation
from minipod.cli.node_proxy import node_path
from minipod.cli.pods import get_pod, pod_name
from minipod.cli.selection import Selection, Target, manifest_targets

Object = dict[str, Any]


@flags.command(
    examples="""
    minipod plan -f pod.yaml
    minipod plan pod/nginx
    minipod plan -f pod.yaml > pod.sh
    """
)
@flags.pod_argument
@flags.files
@flags.pass_invocation
def command(
    invocation: Invocation, pod: str | None, filenames: tuple[str, ...], recursive: bool
) -> None:
    """Print, as a commented shell script, the Linux operations that will make a Pod. The host is not touched.

    It is rendered from the very operations that minipod performs; run as root, it makes the same namespaces, mounts
    and processes.
    """
    if bool(pod) == bool(filenames):
        raise CliError("give either -f FILE or the name of a Pod")
    if pod:
        _print_plan(invocation, get_pod(invocation, pod_name(pod, "")))
        return
    targets = manifest_targets(invocation, Selection(filenames=filenames, recursive=recursive))
    pods = [each for each in targets if each.resource.kind == "Pod"]
    if not pods:
        raise CliError(f"no Pod in {', '.join(filenames)}: only Pods have a plan")
    for target in pods:
        _print_plan(invocation, _completed(invocation, target))


def _completed(invocation: Invocation, target: Target) -> Object:
    """Return the Pod as the server would store it: checked, and with all defaults filled in."""
    assert target.object is not None
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    try:
        return invocation.api.create(target.resource, target.namespace, target.object, query)
    except ServerError as failed:
        if failed.reason == "AlreadyExists":
            return get_pod(invocation, target.name)
        raise failed.when("planning", target.source) from failed


def _print_plan(invocation: Invocation, pod: Object) -> None:
    path = node_path(invocation, "", "minipod/plan")
    sys.stdout.write(invocation.api.post_text(path, {"apiVersion": "v1", "kind": "Pod", **pod}))
