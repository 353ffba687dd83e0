"""pods/log, pods/exec, pods/attach: which container is meant, and where on the kubelet it is found."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from minipod.api.errors import bad_request
from minipod.client import Object
from minipod.server.options import flag, number

_LOG_FLAGS = ("follow", "previous", "timestamps")
_LOG_NUMBERS = ("limitBytes", "sinceSeconds", "tailLines")
Query = list[tuple[str, str]]


def log_target(pod: Object, query: Query) -> str | None:
    """Return the kubelet's path for a Pod's log; None when the Pod has no node yet. Raises BadRequest."""
    options = dict(query)
    container = choose_container(pod, options.get("container", ""))
    _check_log_options(options)
    if not pod["spec"].get("nodeName"):
        return None
    kept = [(name, value) for name, value in query if name != "container"]
    return _target("containerLogs", pod, container, kept)


def exec_target(pod: Object, subresource: str, query: Query) -> str:
    """Return the kubelet's path for exec or attach. Raises BadRequest."""
    name = pod["metadata"]["name"]
    if not pod["spec"].get("nodeName"):
        raise bad_request(f"pod {name} does not have a host assigned")
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        verb = "exec into" if subresource == "exec" else "attach to"
        raise bad_request(f"cannot {verb} a container in a completed pod; current phase is {phase}")
    container = choose_container(pod, dict(query).get("container", ""))
    kept = [(key, value) for key, value in query if key != "container"]
    if subresource == "exec" and not any(key == "command" and value for key, value in kept):
        raise bad_request("you must specify at least one command for the container")
    return _target(subresource, pod, container, kept)


def choose_container(pod: Object, wanted: str) -> str:
    """Return the container meant: the one asked for, or the only one. Raises BadRequest."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    main = _names(spec.get("containers"))
    init, ephemeral = _names(spec.get("initContainers")), _names(spec.get("ephemeralContainers"))
    if wanted:
        if wanted not in (*main, *init, *ephemeral):
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(main) == 1:
        return main[0]
    message = (
        f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    )
    if init:
        message += f" or one of the init containers: [{' '.join(init)}]"
    if ephemeral:
        message += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise bad_request(message)


def _check_log_options(options: Mapping[str, str]) -> None:
    for name in _LOG_FLAGS:
        flag(options, name)
    for name in _LOG_NUMBERS:
        value = number(options, name)
        least = 0 if name == "tailLines" else 1
        if value is not None and value < least:
            raise bad_request(f"{name}: Invalid value: {value}: must be at least {least}")
    if options.get("sinceSeconds") and options.get("sinceTime"):
        raise bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified")


def _names(containers: list[Object] | None) -> list[str]:
    return [container["name"] for container in containers or ()]


def _target(what: str, pod: Object, container: str, query: Query) -> str:
    found = pod["metadata"]
    parts = (what, found["namespace"], found["name"], container)
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    return f"{path}?{urlencode(query)}" if query else path
