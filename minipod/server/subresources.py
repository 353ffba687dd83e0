"""What has a path of its own below an object and is not a stream: binding, finalize."""

from dataclasses import replace
from datetime import UTC, datetime

from minipod.api.errors import bad_request, conflict, invalid
from minipod.api.kind import Kind
from minipod.api.kinds import by_resource
from minipod.api.strategy import bind_pod
from minipod.api.validation.namespace import validate_finalize
from minipod.client import Object, Request
from minipod.server import metadata, options, wire
from minipod.server.answers import One, success
from minipod.server.decoding import decode_object, parsed
from minipod.server.writing import Writer


async def bind(writer: Writer, request: Request, kind: Kind) -> One:
    """Put a Pod on a node (POST pods/NAME/binding). Raises Conflict when it is on one, or going."""
    binding = parsed(request.body).value
    target = _check_binding(binding, request)

    def compute(pod: Object) -> Object:
        metadata.check_preconditions(kind, target.get("uid") or "", "", pod)
        refused = bind_pod(pod, binding, datetime.now(UTC))
        if refused is not None:
            raise conflict(kind, request.name, refused.message.rpartition(": ")[2])
        annotations = target.get("annotations")
        if annotations:
            pod["metadata"].setdefault("annotations", {}).update(annotations)
        return pod

    await writer.transform(request, kind, compute, announce=True)  # its node may begin
    return success(kind, "", code=201)


async def create_binding(writer: Writer, request: Request) -> One:
    """Put the Pod on a node that a Binding is named after (POST bindings). Raises as `bind` does."""
    found = _check_binding(parsed(request.body).value, request)
    if not isinstance(found.get("name"), str) or not found["name"]:
        raise bad_request("name is required")
    pods = by_resource("pods")
    there = replace(request, resource="pods", name=found["name"], subresource="binding")
    return await bind(writer, there, pods)


async def finalize(writer: Writer, request: Request, kind: Kind) -> One:
    """Change a namespace's spec.finalizers (PUT namespaces/NAME/finalize); the last one gone ends it."""
    warnings: list[str] = []
    given = decode_object(kind, wire.copy(parsed(request.body).value), request, warnings)
    causes = validate_finalize(given)
    if causes:
        raise invalid(kind, request.name, causes)

    def compute(old: Object) -> Object | None:
        metadata.check_version(kind, given["metadata"].get("resourceVersion") or "", old)
        finalizers = (given.get("spec") or {}).get("finalizers") or []
        if finalizers == (old.get("spec") or {}).get("finalizers"):
            return None
        spec = old.setdefault("spec", {})
        spec.pop("finalizers", None)
        if finalizers:
            spec["finalizers"] = finalizers
        return old

    entry = await writer.transform(request, kind, compute)
    return One(entry.value, kind, 200, tuple(warnings))


def _check_binding(binding: object, request: Request) -> Object:
    """Return the binding's metadata. Raises BadRequest."""
    options.dry_run(request.options)
    if not isinstance(binding, dict):
        raise bad_request("the body must be a Binding object")
    found, target = binding.get("metadata") or {}, binding.get("target")
    if not isinstance(found, dict) or not isinstance(target, dict):
        raise bad_request("a Binding has metadata and a target")
    if target.get("kind", "Node") not in ("", "Node") or not isinstance(target.get("name"), str):
        raise bad_request('target: a Pod is bound to a target of kind "Node" that has a name')
    if request.name and found.get("name", request.name) != request.name:
        raise bad_request(
            f"the name of the object ({found['name']}) does not match the name on the URL ({request.name})"
        )
    return found
