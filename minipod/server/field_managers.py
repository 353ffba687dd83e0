"""Every writer leaves its name on the fields that it sets (metadata.managedFields), and may apply by that name.

The name is the request's `fieldManager`, or what the client's User-Agent begins with.
"""

from minipod.api import kinds, schema
from minipod.api.errors import bad_request, conflict, not_decodable
from minipod.api.kind import Kind
from minipod.api.managed import managers
from minipod.client import Object, Request
from minipod.server import metadata, options
from minipod.server.decoding import decode_object, parsed

UNKNOWN = "unknown"


def writer_of(request: Request, kind: Kind) -> managers.Writer:
    """Return who writes."""
    name = request.options.get("fieldManager") or _of_agent(request.user_agent) or UNKNOWN
    return managers.Writer(name, kind, request.subresource, metadata.present())


def _of_agent(agent: str) -> str:
    """Return the program that a User-Agent begins with, without what cannot be printed, cut to the limit."""
    name = "".join(char for char in agent.partition("/")[0] if char.isprintable())
    return name.encode()[: options.MANAGER_LIMIT].decode(errors="ignore")


def track(request: Request, kind: Kind, new: Object, old: Object | None) -> None:
    """Give the writer what it changes of `old` (None: all that it sets), in place; an apply has done so already.

    Before anybody but the caller has a hand in the object, as upstream does: what admission sets is nobody's.
    """
    if request.patch_type != "apply":
        writer = writer_of(request, _spoken(request, kind))
        _keep(new, managers.update(writer, old, new, kind))


def _spoken(request: Request, kind: Kind) -> Kind:
    """Return the version by which a request writes an object of a stored kind."""
    try:
        plural, _, group = request.resource.partition(".")
        asked = kinds.by_path(group, request.version, plural)
    except kinds.UnknownKind:  # callers in this process name no version
        return kind
    return asked if kinds.stored_kind(asked) == kind else kind


def _keep(obj: Object, managed: list[Object]) -> None:
    """Set an object's managedFields: the last of its metadata, and absent rather than empty."""
    obj["metadata"].pop("managedFields", None)
    if managed:
        obj["metadata"]["managedFields"] = managed


def changes_nothing(new: Object, old: Object) -> bool:
    """Whether a version says nothing that the one before does not, but for the times of its writers."""
    if any(new[name] != old.get(name) for name in new if name != "metadata") or len(new) != len(
        old
    ):
        return False
    after, before = new["metadata"], old["metadata"]
    managed = after.get("managedFields") or [], before.get("managedFields") or []
    rest = (_without_managed(after), _without_managed(before))
    return rest[0] == rest[1] and managers.same_but_times(*managed)


def _without_managed(found: Object) -> Object:
    return {name: value for name, value in found.items() if name != "managedFields"}


def decode_config(kind: Kind, request: Request, warnings: list[str]) -> Object:
    """Return an applied configuration, without nulls. Raises BadRequest for what is not one."""
    given = parsed(request.body).value
    if not isinstance(given, dict):
        raise not_decodable(kind, "an applied configuration is an object")
    for name in ("apiVersion", "kind"):
        if not given.get(name):
            raise bad_request(f"invalid object: {name} must be set in an applied configuration")
    found = given.get("metadata")
    if isinstance(found, dict) and found.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    if given["apiVersion"] != kind.api_version and given["kind"] == kind.kind:
        raise bad_request(
            "Incorrect version specified in apply patch. Specified patch version: "
            f"{given['apiVersion']}, expected: {kind.api_version}"
        )
    unknown = schema.examine(kind, given).unknown
    if unknown:
        listed = ", ".join(f".{path}: field not declared in schema" for path in unknown)
        name = f"{request.namespace}/{request.name}"
        version = kind.api_version if kind.group else f"/{kind.version}"
        raise bad_request(
            f"failed to create typed patch object ({name}; {version}, Kind={kind.kind}): {listed}"
        )
    return decode_object(kind, request.body, request, warnings)


def apply_new(request: Request, kind: Kind, config: Object) -> Object:
    """Return the new object of an applied configuration. Raises Conflict when it means one that is gone."""
    uid = config["metadata"].get("uid")
    if uid:
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise conflict(kind, request.name, why)
    return _managed(managers.apply(writer_of(request, kind), None, config, force=True))


def apply_to(request: Request, kind: Kind, old: Object, config: Object) -> Object:
    """Return what an applied configuration makes of an object. Raises Conflict, BadRequest."""
    forced = options.flag(request.options, "force")
    return _managed(managers.apply(writer_of(request, kind), old, config, force=forced))


def _managed(applied: managers.Applied) -> Object:
    obj = {**applied.obj, "metadata": {**applied.obj["metadata"]}}
    _keep(obj, applied.managed)
    return obj
