"""Completion of names: what a shell asks while somebody types. Never fails, never waits long."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click

    from minipod.cli.api import Api

LIMIT_SECONDS = 1.0


@contextmanager
def _api(ctx: "click.Context") -> "Iterator[tuple[Api, str]]":
    from minipod.cli.api import Api
    from minipod.cli.invocation import Invocation
    from minipod.paths import layout

    invocation = ctx.find_object(Invocation)
    params = {**ctx.params}
    root = params.get("root") or (invocation.root if invocation else None)
    namespace = invocation.namespace if invocation else "default"
    api = Api(layout(root))
    api.set_timeout(LIMIT_SECONDS)
    try:
        yield api, namespace
    finally:
        api.close()


def _names(ctx: "click.Context", resource_name: str) -> list[str]:
    from minipod.cli.resources import find

    try:
        with _api(ctx) as (api, namespace):
            resource = find(api, resource_name)[0]
            listed = api.list(resource, namespace if resource.namespaced else "")
        return [each["metadata"]["name"] for each in listed.get("items") or []]
    except Exception:  # noqa: BLE001  a shell's line must never be disturbed by an error
        return []


def complete_namespaces(ctx: "click.Context", _parameter: Any, incomplete: str) -> list[str]:
    """Complete the names of namespaces."""
    return _starting(_names(ctx, "namespaces"), incomplete)


def complete_pods(ctx: "click.Context", _parameter: Any, incomplete: str) -> list[str]:
    """Complete the names of Pods, also as pod/NAME."""
    prefix = "pod/" if incomplete.startswith("pod/") else ""
    return _starting([prefix + each for each in _names(ctx, "pods")], incomplete)


def complete_containers(ctx: "click.Context", _parameter: Any, incomplete: str) -> list[str]:
    """Complete the names of the containers of the Pod already typed."""
    from minipod.cli.resources import PODS

    typed = ctx.params.get("pod") or next(iter(ctx.args), "")  # an unfinished -c leaves it unparsed
    pod = str(typed).removeprefix("pod/")
    try:
        with _api(ctx) as (api, namespace):
            spec = api.get(PODS, namespace, pod)["spec"]
    except Exception:  # noqa: BLE001  as above
        return []
    containers = [*(spec.get("initContainers") or []), *spec["containers"]]
    return _starting([each["name"] for each in containers], incomplete)


def complete_resources(ctx: "click.Context", _parameter: Any, incomplete: str) -> list[str]:
    """Complete TYPE, then the NAMEs of that type; or TYPE/NAME."""
    from minipod.cli.resources import BUILT_IN

    typed = [str(each) for each in ctx.params.get("args") or ()]
    if "/" in incomplete:
        kind = incomplete.partition("/")[0]
        return _starting([f"{kind}/{each}" for each in _names(ctx, kind)], incomplete)
    if typed and "/" not in typed[0]:
        return _starting([each for each in _names(ctx, typed[0]) if each not in typed], incomplete)
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{each.plural}" for each in BUILT_IN if each.plural.startswith(last)]


def _starting(words: list[str], incomplete: str) -> list[str]:
    return [each for each in words if each.startswith(incomplete)]
