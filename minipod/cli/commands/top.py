"""`minipod top`: what Pods and the node use, from the metrics API (metrics.k8s.io)."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from math import ceil
from typing import Any

import click

from minipod.api.quantity import parse
from minipod.cli import options as flags
from minipod.cli.errors import CliError, ServerError
from minipod.cli.invocation import Invocation
from minipod.cli.resources import NODES, Resource
from minipod.cli.tables import lay_out

Object = dict[str, Any]
Row = tuple[tuple[str, ...], Fraction, Fraction]  # what it is, cores, bytes
GROUP, VERSION = "metrics.k8s.io", "v1beta1"
POD_METRICS = Resource("pods", "pod", "PodMetrics", group=GROUP, version=VERSION)
NODE_METRICS = Resource(
    "nodes", "node", "NodeMetrics", group=GROUP, version=VERSION, namespaced=False
)
MEBI = 1 << 20


@flags.group(
    examples="""
    minipod top pods
    minipod top pod nginx --containers
    minipod top node
    """
)
def command() -> None:
    """Show what Pods, or the node, use of processors and memory."""


def _common(function: Any) -> Any:
    for decorate in (
        flags.flag("--no-headers", help="Without the first line"),
        click.option(
            "--sort-by", default="", type=flags.Words("cpu", "memory"), help="The largest first"
        ),
        click.option(
            "-l", "--selector", default="", metavar="QUERY", help="Only those with these labels"
        ),
        click.argument("name", required=False, default=""),
    ):
        function = decorate(function)
    return function


@command.command(
    "pod",
    examples="""
    minipod top pod
    minipod top pod -A --sort-by=memory
    minipod top pod nginx --containers
    """,
)
@_common
@flags.all_namespaces
@flags.flag("--containers", help="A line for each container")
@flags.pass_invocation
def pod_command(
    invocation: Invocation, name: str, all_namespaces: bool, containers: bool, **given: Any
) -> None:
    """Show what Pods use."""
    _check(name, given)
    namespace = "" if all_namespaces else invocation.namespace
    found = _metrics(invocation, POD_METRICS, namespace, name, given["selector"])
    if not found:
        where = "" if all_namespaces else f" in {namespace} namespace"
        click.echo(f"No resources found{where}.", err=True)
        return
    head = ["NAMESPACE"] if all_namespaces else []
    head += ["POD", "NAME"] if containers else ["NAME"]
    rows = compute_pod_rows(found, namespaces=all_namespaces, containers=containers)
    _print([*head, "CPU(cores)", "MEMORY(bytes)"], rows, _plain, given)


@command.command(
    "node",
    examples="""
    minipod top node
    """,
)
@_common
@flags.pass_invocation
def node_command(invocation: Invocation, name: str, **given: Any) -> None:
    """Show what the node uses, and how much of what it has for Pods that is."""
    _check(name, given)
    found = _metrics(invocation, NODE_METRICS, "", name, given["selector"])
    nodes = invocation.api.list(NODES, "")["items"]
    room = {each["metadata"]["name"]: each["status"].get("allocatable") or {} for each in nodes}
    rows: list[Row] = [((each["metadata"]["name"],), *_usage([each])) for each in found]

    def shown(row: Row) -> tuple[str, ...]:
        names, cores, size = row
        allocatable = room.get(names[0], {})
        cpu, memory = _plain(row)[-2:]
        return (
            *names,
            *(cpu, _share(cores, allocatable.get("cpu"))),
            *(memory, _share(size, allocatable.get("memory"))),
        )

    _print(["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"], rows, shown, given)


command.add_command(pod_command, "pods")
command.add_command(pod_command, "po")
command.add_command(node_command, "nodes")
command.add_command(node_command, "no")


def _check(name: str, given: dict[str, Any]) -> None:
    if given["sort_by"] not in ("", "cpu", "memory"):
        raise CliError("--sort-by accepts only cpu or memory")
    if name and given["selector"]:
        raise CliError("only one of NAME or --selector can be provided")


def _metrics(
    invocation: Invocation, resource: Resource, namespace: str, name: str, selector: str
) -> list[Object]:
    try:
        if name:
            return [invocation.api.get(resource, namespace, name)]
        query = {"labelSelector": selector} if selector else {}
        items: list[Object] = invocation.api.list(resource, namespace, query).get("items") or []
    except ServerError as failed:
        if failed.code == 404 and not name:
            raise CliError("Metrics API not available") from failed
        raise
    return items


def compute_pod_rows(found: Iterable[Object], *, namespaces: bool, containers: bool) -> list[Row]:
    """Return a row for each Pod, or for each of its containers, by name."""
    rows: list[Row] = []
    for pod in found:
        metadata = pod["metadata"]
        names = (metadata["namespace"],) if namespaces else ()
        names = (*names, metadata["name"])
        parts = pod.get("containers") or []
        if containers:
            rows += [((*names, each["name"]), *_usage([each])) for each in parts]
        else:
            rows.append((names, *_usage(parts)))
    return sorted(rows)


def _usage(parts: Iterable[Object]) -> tuple[Fraction, Fraction]:
    """Return cores and bytes that these use together."""
    cores, size = Fraction(0), Fraction(0)
    for each in parts:
        cores += parse(each["usage"]["cpu"])
        size += parse(each["usage"]["memory"])
    return cores, size


def _plain(row: Row) -> tuple[str, ...]:
    names, cores, size = row
    return *names, f"{ceil(cores * 1000)}m", f"{size // MEBI}Mi"


def _share(used: Fraction, available: Any) -> str:
    return f"{int(used * 100 / parse(available))}%" if available else "<unknown>"


def _print(
    head: list[str],
    rows: list[Row],
    shown: Callable[[Row], tuple[str, ...]],
    given: dict[str, Any],
) -> None:
    if given["sort_by"]:
        column = 1 if given["sort_by"] == "cpu" else 2
        rows = sorted(rows, key=lambda row: row[column], reverse=True)
    lines = [shown(each) for each in rows]
    if not given["no_headers"]:
        lines.insert(0, tuple(head))
    click.echo(lay_out(lines), nl=False)
