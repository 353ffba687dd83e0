"""`minipod describe`."""

import sys
from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError, ServerError, raise_all
from minipod.cli.invocation import Invocation
from minipod.cli.resources import EVENTS, LEASES, PODS, Resource
from minipod.cli.selection import Selection, Target, listed, manifest_targets, words

Object = dict[str, Any]


@flags.command(
    examples="""
    minipod describe pod nginx
    minipod describe pods -l app=web
    minipod describe node
    minipod describe -f pod.yaml
    """
)
@flags.resource_arguments
@flags.files
@click.option(
    "-l", "--selector", default="", metavar="QUERY", help="Only objects with these labels"
)
@flags.all_namespaces
@flags.switch("--show-events", default=True, help="Show the events of each object")
@flags.pass_invocation
def command(invocation: Invocation, show_events: bool, **given: Any) -> None:
    """Show objects in detail, for people: state, containers, volumes, and the events about them.

    A name that no object has is taken as the beginning of one.
    """
    selection = Selection(**given)
    if not selection.args and not selection.filenames:
        raise CliError("Required resource not specified.")
    failures: list[CliError] = []
    texts: list[str] = []
    for target in _targets(invocation, selection, failures):
        try:
            obj = target.object if target.object and not target.source else None
            obj = obj or invocation.api.get(target.resource, target.namespace, target.name)
            texts.append(_describe(invocation, target.resource, obj, show_events))
        except CliError as failed:
            failures.append(failed)
    sys.stdout.write("\n\n".join(texts))
    if not texts and not failures:
        where = "" if selection.all_namespaces else f" in {invocation.namespace} namespace."
        print(f"No resources found{where}", file=sys.stderr)
    raise_all(failures)


def _targets(
    invocation: Invocation, selection: Selection, failures: list[CliError]
) -> list[Target]:
    if selection.filenames:
        return manifest_targets(invocation, selection)
    found: list[Target] = []
    for resource, names in words(invocation.api, selection.args):
        namespace = (
            invocation.namespace if resource.namespaced and not selection.all_namespaces else ""
        )
        if not names:
            found += listed(invocation.api, resource, namespace, selection.query())
        for name in names:
            try:
                found += _named(invocation, resource, namespace, name)
            except CliError as failed:
                failures.append(failed)
    return found


def _named(invocation: Invocation, resource: Resource, namespace: str, name: str) -> list[Target]:
    """Return the object of that name, or else all whose names begin with it. Raises ServerError (NotFound)."""
    try:
        obj = invocation.api.get(resource, namespace, name)
    except ServerError as failed:
        if failed.reason != "NotFound":
            raise
        near = [
            each
            for each in listed(invocation.api, resource, namespace, {})
            if each.name.startswith(name)
        ]
        if not near:
            raise
        return near
    return [Target(resource, namespace, name, object=obj)]


def _describe(invocation: Invocation, resource: Resource, obj: Object, show_events: bool) -> str:
    from minipod.cli.describe import others
    from minipod.cli.describe.pod import describe_pod

    events = _events(invocation, resource, obj) if show_events else []
    kind = resource.kind if not resource.group else ""
    if kind == "Node":
        query = {"fieldSelector": f"spec.nodeName={obj['metadata']['name']}"}
        pods = [each.object or {} for each in listed(invocation.api, PODS, "", query)]
        from minipod.cli.describe.node import describe_node

        return describe_node(obj, events, pods, _lease(invocation, obj["metadata"]["name"]))
    known = {
        "Pod": describe_pod,
        "Namespace": others.describe_namespace,
        "Secret": others.describe_secret,
        "ConfigMap": others.describe_configmap,
        "ServiceAccount": others.describe_serviceaccount,
    }
    return known.get(kind, others.describe_generic)(obj, events)


def _lease(invocation: Invocation, node: str) -> Object | None:
    """Return a node's Lease; it is no fault to have none, or not to be let see it."""
    try:
        return invocation.api.get(LEASES, "kube-node-lease", node)
    except ServerError:
        return None


def _events(invocation: Invocation, resource: Resource, obj: Object) -> list[Object]:
    if resource in (EVENTS,):
        return []
    metadata = obj["metadata"]
    selector = f"involvedObject.kind={resource.kind},involvedObject.name={metadata['name']}"
    if resource.kind != "Node":  # a node's events name it by its name where others have a UID
        selector += f",involvedObject.uid={metadata.get('uid', '')}"
    namespace = metadata.get("namespace", "")
    return [
        each.object or {}
        for each in listed(invocation.api, EVENTS, namespace, {"fieldSelector": selector})
    ]
