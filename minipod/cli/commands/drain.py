"""`minipod drain`."""

import sys
import time
from dataclasses import dataclass
from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.cordoning import mark, nodes
from minipod.cli.draining import Permissions, by_reason, compute_fate
from minipod.cli.errors import CliError, ServerError, SilentExit
from minipod.cli.invocation import Invocation
from minipod.cli.printing import report
from minipod.cli.resources import PODS
from minipod.cli.selection import Target, listed
from minipod.cli.waiting import Deadline, wait_for

Object = dict[str, Any]
AGAIN_SECONDS = 5.0  # kubectl's, between evictions that a disruption budget refuses


@dataclass(frozen=True)
class Drain:
    """How to empty a node."""

    permitted: Permissions
    pod_selector: str
    grace_period: int
    disable_eviction: bool
    dry_run: str
    timeout: float

    def options(self) -> Object:
        """Return the options of every deletion."""
        grace = {"gracePeriodSeconds": self.grace_period} if self.grace_period >= 0 else {}
        return {"apiVersion": "v1", "kind": "DeleteOptions", **grace}


@flags.command(
    examples="""
    minipod drain vm --force
    minipod drain vm --ignore-daemonsets --delete-emptydir-data --grace-period=5
    """
)
@flags.nodes
@click.option("--pod-selector", default="", metavar="QUERY", help="Only Pods with these labels")
@flags.flag("--force", help="Also Pods that no controller will make again")
@flags.flag("--ignore-daemonsets", help="Leave the Pods of DaemonSets alone")
@flags.flag("--delete-emptydir-data", help="Also Pods whose emptyDir volumes are lost with them")
@flags.flag("--disable-eviction", help="Delete: do not ask disruption budgets")
@click.option(
    "--grace-period",
    type=int,
    default=-1,
    help="Seconds between SIGTERM and SIGKILL (-1: the Pod's own)",
)
@click.option(
    "--timeout", type=flags.Duration(), default="0s", help="How long to try (0: for ever)"
)
@flags.dry_run
@flags.pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], selector: str, **given: Any) -> None:
    """Empty a node: let no new Pods start there, and evict those that run, as disruption budgets allow.

    Nothing is evicted when something would be lost that no flag gives up.
    """
    lost = ("force", "ignore_daemonsets", "delete_emptydir_data")
    permitted = Permissions(**{each: given.pop(each) for each in lost})
    drain = Drain(permitted, **given)
    found = nodes(invocation, names, selector)
    for node in found:
        mark(invocation, node, drain.dry_run, unschedulable=True)
    problems: dict[str, str] = {}
    for node in found:
        try:
            _empty(invocation, node, drain)
        except CliError as failed:
            problems[node.name] = failed.message
            why = f"due to error: {failed.message}, continuing command..."
            print(f'error: unable to drain node "{node.name}" {why}', file=sys.stderr)
        else:
            report(node, "drained", drain.dry_run)
    if problems:
        pending = "".join(f"\n {name}" for name in problems)
        print(f"There are pending nodes to be drained:{pending}", file=sys.stderr)
        print(*problems.values(), sep="\n", file=sys.stderr)
        raise SilentExit(1)


def _empty(invocation: Invocation, node: Target, drain: Drain) -> None:
    query = {"fieldSelector": f"spec.nodeName={node.name}"}
    if drain.pod_selector:
        query["labelSelector"] = drain.pod_selector
    pods = list(listed(invocation.api, PODS, "", query))
    fates = [(each, compute_fate(each.object or {}, drain.permitted)) for each in pods]
    refused = by_reason((fate.refusal, each.object or {}) for each, fate in fates)
    if refused:
        raise CliError(", ".join(f"cannot delete {each}" for each in refused))
    warnings = by_reason((fate.warning, each.object or {}) for each, fate in fates)
    if warnings:
        print(f"Warning: {'; '.join(warnings)}", file=sys.stderr)
    going = [each for each, fate in fates if fate.goes]
    deadline = Deadline(drain.timeout)
    for pod in going:
        _end(invocation, pod, drain, deadline)
    if drain.dry_run == "none":
        for pod in going:
            _await_end(invocation, pod, drain, deadline)


def _end(invocation: Invocation, pod: Target, drain: Drain, deadline: Deadline) -> None:
    """Evict or delete one Pod; an eviction that a budget refuses is tried again until the deadline."""
    doing = "deleting" if drain.disable_eviction else "evicting"
    suffix = {"none": "", "client": " (dry run)", "server": " (server dry run)"}[drain.dry_run]
    print(f"{doing} pod {pod.namespace}/{pod.name}{suffix}", flush=True)
    while drain.dry_run == "none" and not _asked(invocation, pod, drain):
        _pause(pod, deadline)


def _asked(invocation: Invocation, pod: Target, drain: Drain) -> bool:
    """Ask for the end of one Pod; whether it was granted. Raises CliError for anything but a budget's refusal."""
    try:
        _ask(invocation, pod, drain)
    except ServerError as failed:
        if failed.reason == "NotFound":
            return True
        where = f'pods/"{pod.name}" -n "{pod.namespace}"'
        if failed.code != 429:
            raise CliError(f"error when ending {where}: {failed.message}") from None
        print(
            f"error when evicting {where} (will retry after 5s): {failed.message}", file=sys.stderr
        )
        return False
    return True


def _pause(pod: Target, deadline: Deadline) -> None:
    try:
        time.sleep(min(AGAIN_SECONDS, deadline.left()))
        deadline.left()
    except TimeoutError:
        problem = f'error when evicting pods/"{pod.name}" -n "{pod.namespace}"'
        raise CliError(f"{problem}: global timeout reached") from None


def _ask(invocation: Invocation, pod: Target, drain: Drain) -> None:
    if drain.disable_eviction:
        invocation.api.delete(PODS, pod.namespace, pod.name, drain.options())
        return
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": drain.options(),
    }
    invocation.api.call("POST", PODS.path(pod.namespace, pod.name, "eviction"), None, eviction)


def _await_end(invocation: Invocation, pod: Target, drain: Drain, deadline: Deadline) -> None:
    uid = (pod.object or {})["metadata"].get("uid")

    def gone(state: Object | None) -> bool | None:
        return None if state is not None and state["metadata"].get("uid") == uid else True

    wait_for(invocation.api, pod, gone, deadline)
    report(pod, "deleted" if drain.disable_eviction else "evicted")
