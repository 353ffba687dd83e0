"""pods/log, exec, attach, portforward: which container is meant, and where on the kubelet it is found."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from minipod.api import field, scalars
from minipod.api.errors import bad_request, invalid
from minipod.api.field import Cause
from minipod.api.kind import Kind
from minipod.client import Object
from minipod.server.options import flag, number

_LOG_FLAGS = ("follow", "previous", "timestamps")
_LOG_NUMBERS = ("tailLines", "limitBytes", "sinceSeconds")
_LOG_OPTIONS = Kind("", "v1", "PodLogOptions", "podlogoptions")
Query = list[tuple[str, str]]
# The API's name of a stream, the kubelet's, and what holds when the client does not say.
_STREAM_FLAGS = (
    ("stdin", "input", False),
    ("stdout", "output", True),
    ("stderr", "error", True),
    ("tty", "tty", False),
)


def log_target(pod: Object, query: Query) -> str | None:
    """Return the kubelet's path for a Pod's log; None when the Pod has no node yet. Raises BadRequest."""
    options, name = dict(query), pod["metadata"]["name"]
    container = choose_container(pod, options.get("container", ""))
    _check_log_options(name, options)
    if not pod["spec"].get("nodeName"):
        return None
    kept = [(name, value) for name, value in query if name != "container"]
    return _target(("containerLogs", *_path(pod), container), kept)


def exec_target(pod: Object, subresource: str, query: Query) -> str:
    """Return the kubelet's path for exec or attach. Raises BadRequest."""
    name = pod["metadata"]["name"]
    if not pod["spec"].get("nodeName"):
        raise bad_request(f"pod {name} does not have a host assigned")
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        verb = "exec into" if subresource == "exec" else "attach to"
        raise bad_request(f"cannot {verb} a container in a completed pod; current phase is {phase}")
    options = dict(query)
    container = choose_container(pod, options.get("container", ""))
    asked = [
        (theirs, "1")
        for ours, theirs, default in _STREAM_FLAGS
        if (flag(options, ours) if ours in options else default)
    ]
    if subresource == "exec":
        command = [(key, value) for key, value in query if key == "command"]
        if not any(value for _, value in command):
            raise bad_request("you must specify at least one command for the container")
        asked += command
    return _target((subresource, *_path(pod), container), asked)


def forward_target(pod: Object, query: Query) -> str:
    """Return the kubelet's path for port-forward. Raises BadRequest."""
    if not pod["spec"].get("nodeName"):
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    ports = [("port", value) for key, value in query if key == "ports"]
    return _target(("portForward", *_path(pod)), ports)


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


def _check_log_options(pod: str, options: Mapping[str, str]) -> None:
    """Refuse options that make no sense, as upstream's ValidatePodLogOptions does. Raises BadRequest, Invalid."""
    for name in _LOG_FLAGS:
        flag(options, name)
    since = options.get("sinceTime")
    if since and (problem := scalars.problem("time", since)):
        raise bad_request(problem)
    causes: list[Cause] = []
    for name in _LOG_NUMBERS:
        value = number(options, name)
        if value is None:
            continue
        if name == "tailLines" and value < 0:
            causes.append(field.invalid(name, value, "must be greater than or equal to 0"))
        elif name != "tailLines" and value < 1:
            causes.append(field.invalid(name, value, "must be greater than 0"))
    if options.get("sinceSeconds") and options.get("sinceTime"):
        why = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(field.forbidden("[]", why))
    if causes:
        raise invalid(_LOG_OPTIONS, pod, causes)


def _names(containers: list[Object] | None) -> list[str]:
    return [container["name"] for container in containers or ()]


def _path(pod: Object) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _target(parts: Sequence[str], query: Query) -> str:
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    return f"{path}?{urlencode(query)}" if query else path
