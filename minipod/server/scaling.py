"""The scale subresource: of any kind that says where its numbers are (`Kind.scale`), as autoscaling/v1 Scale.

To change it is to change the object: the same validation, generation and optimistic locking.
"""

from typing import Any

from minipod.api.errors import invalid
from minipod.api.field import invalid as invalid_value
from minipod.api.kind import Column, Hooks, Kind, Scale
from minipod.api.printers.simple import scale_cells
from minipod.api.selectors import SelectorError, selector_text
from minipod.client import Object, Request
from minipod.server import field_managers, options, wire
from minipod.server.answers import One
from minipod.server.decoding import decode_object, parsed
from minipod.server.patching import apply_patch
from minipod.server.reading import Reader
from minipod.server.writing import Writer

SCALE = Kind(
    group="autoscaling",
    version="v1",
    kind="Scale",
    plural="scales",
    schema_name="io.k8s.api.autoscaling.v1.Scale",
    hooks=Hooks(
        columns=(
            Column("Name", description="Name of what is scaled."),
            Column("Desired", type="integer", description="How many there should be."),
            Column("Available", type="integer", description="How many there are."),
            Column("Age", description="Time since creation."),
        ),
        cells=scale_cells,
    ),
)
_SAID = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
)  # what an applied Scale may say of its object
_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def get(reader: Reader, request: Request, kind: Kind) -> One:
    """Return the scale of one object. Raises NotFound."""
    found = reader.get(request, kind)
    return One(wire.encode(compute_scale(_scale(kind), wire.decode(found.value))), SCALE)


async def change(writer: Writer, request: Request, kind: Kind) -> One:
    """Replace or patch the scale of one object, by changing its replicas. Raises Conflict, Invalid, NotFound."""
    scale = _scale(kind)
    options.check_write(request)
    if request.patch_type == "apply":
        return await _apply(writer, request, kind, scale)

    def scaled(old: Object, warnings: list[str]) -> Object:
        given = _given(request, compute_scale(scale, old), warnings)
        new = with_replicas(scale, wire.copy(old), _replicas(given))
        new["metadata"]["resourceVersion"] = given["metadata"].get("resourceVersion") or ""
        if given["metadata"].get("uid"):
            new["metadata"]["uid"] = given["metadata"]["uid"]
        return new

    entry = await writer.rewrite(request, kind, scaled, [])
    return One(wire.encode(compute_scale(scale, wire.decode(entry.value))), SCALE)


async def _apply(writer: Writer, request: Request, kind: Kind, scale: Scale) -> One:
    """Apply a Scale by a field manager's name: what it sets is the object's own replicas. Raises Conflict."""
    given = field_managers.decode_config(SCALE, request, [])
    found = {name: given["metadata"][name] for name in _SAID if name in given["metadata"]}
    config: Object = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": found}
    if "replicas" in (given.get("spec") or {}):
        with_replicas(scale, config, _replicas(given))

    def applied(old: Object, warnings: list[str]) -> Object:
        made: Object = wire.copy(field_managers.apply_to(request, kind, old, config))
        if _at(made, scale.replicas) is None:
            with_replicas(scale, made, 0)
        return made

    entry = await writer.rewrite(request, kind, applied, [])
    return One(wire.encode(compute_scale(scale, wire.decode(entry.value))), SCALE)


def compute_scale(scale: Scale, obj: Object) -> Object:
    """Return the Scale of an object."""
    metadata = {name: obj["metadata"][name] for name in _IDENTITY if name in obj["metadata"]}
    status: Object = {"replicas": _at(obj, scale.status) or 0}
    try:
        selector = selector_text(_at(obj, scale.selector))
    except SelectorError:  # an object of a time when it was not refused
        selector = ""
    if selector:
        status["selector"] = selector
    wanted = _at(obj, scale.replicas)
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": metadata,
        "spec": {"replicas": wanted} if wanted else {},
        "status": status,
    }


def with_replicas(scale: Scale, obj: Object, replicas: int) -> Object:
    """Set the number of replicas that an object asks for, in place."""
    *above, last = scale.replicas.split(".")
    part = obj
    for name in above:
        part = part.setdefault(name, {})
    part[last] = replicas
    return obj


def _given(request: Request, current: Object, warnings: list[str]) -> Object:
    """Return the Scale that a request asks for."""
    if request.verb == "patch" and request.patch_type is not None:
        body = wire.copy(parsed(request.body).value)
        made = apply_patch(SCALE, request.patch_type, current, body)
        return decode_object(SCALE, made, request, warnings)
    return decode_object(SCALE, wire.copy(parsed(request.body).value), request, warnings)


def _replicas(given: Object) -> int:
    replicas: int = (given.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        why = "must be greater than or equal to 0"
        name = given["metadata"].get("name") or ""
        raise invalid(SCALE, name, [invalid_value("spec.replicas", replicas, why)])
    return replicas


def _scale(kind: Kind) -> Scale:
    assert kind.scale is not None, f"{kind.resource} declares a scale subresource and no Scale"
    return kind.scale


def _at(obj: Object, path: str) -> Any:
    found: Any = obj
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
