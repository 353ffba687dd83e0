"""pods/eviction: a deletion that asks first whether the Pod's disruption budget has room for it.

Semantics and wording of upstream's EvictionREST (pkg/registry/core/pod/storage/eviction.go). Where PodDisruptionBudgets
are not served nothing can be in the way.
"""

from collections.abc import Callable
from dataclasses import replace

from minipod.api import disruption, kinds, schema
from minipod.api.disruption import BUDGETS, is_ready
from minipod.api.errors import (
    StatusError,
    bad_request,
    forbidden,
    not_decodable,
    status_error,
    too_many_requests,
)
from minipod.api.kind import Kind
from minipod.client import Object, Request
from minipod.server import metadata, options, wire
from minipod.server.answers import One, success
from minipod.server.decoding import parsed
from minipod.server.deletion import Deleter
from minipod.server.reading import Reader
from minipod.server.writing import Writer

_EVICTION = Kind(
    "policy", "v1", "Eviction", "evictions", schema_name="io.k8s.api.policy.v1.Eviction"
)
_VERSIONS = ("policy/v1", "policy/v1beta1")  # one and the same; kubectl up to 1.21 sends the older
_DISRUPTED_LIMIT = 2000
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


async def evict(
    writer: Writer, deleter: Deleter, reader: Reader, request: Request, kind: Kind
) -> One:
    """Evict one Pod. Raises NotFound, TooManyRequests when the budget is used up, BadRequest."""
    eviction = _decoded(request)
    dry = options.dry_run(request.options) or "All" in (
        (eviction.get("deleteOptions") or {}).get("dryRun") or ()
    )
    one = replace(request, verb="get", subresource="", body=None)
    pod = wire.decode(reader.get(one, kind).value)
    deletion = {**(eviction.get("deleteOptions") or {}), "kind": "DeleteOptions"}
    asked = options.delete_options({}, deletion)
    metadata.check_preconditions(kind, asked.uid, asked.resource_version, pod)
    if not _is_beyond_budgets(pod):
        await _take_from_budget(writer, reader, request, pod, dry)
        await _mark(writer, request, kind, dry)
    deletion.pop("dryRun", None)
    wanted = {**request.options, **({"dryRun": "All"} if dry else {})}
    await deleter.delete(replace(one, verb="delete", body=deletion, options=wanted), kind)
    return success(kind, "", code=201)


def _decoded(request: Request) -> Object:
    body = parsed(request.body).value
    if not isinstance(body, dict):
        raise not_decodable(_EVICTION, "an Eviction is an object")
    version, name = body.get("apiVersion", _EVICTION.api_version), body.get("kind", "Eviction")
    if version not in _VERSIONS or name != _EVICTION.kind:
        raise bad_request('the body must be an Eviction of "policy/v1"')
    body = {**body, "apiVersion": _EVICTION.api_version}
    errors = schema.examine(_EVICTION, body).errors
    if errors:
        raise not_decodable(_EVICTION, ", ".join(errors))
    found = body.get("metadata") or {}
    if (found.get("name") or request.name) != request.name:
        raise bad_request("name in URL does not match name in Eviction object")
    return body


def _is_beyond_budgets(pod: Object) -> bool:
    """Whether a Pod counts for no budget: it is going, is over, or has not begun."""
    phase = (pod.get("status") or {}).get("phase")
    return bool(pod["metadata"].get("deletionTimestamp")) or phase in (
        "Succeeded",
        "Failed",
        "Pending",
    )


async def _take_from_budget(
    writer: Writer, reader: Reader, request: Request, pod: Object, dry: bool
) -> None:
    budgets = _budgets_of(reader, request, pod)
    if not budgets:
        return
    if len(budgets) > 1:
        raise status_error(
            500,
            "",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )
    (budget,) = budgets
    if not is_ready(pod) and _may_go_unready(budget):
        return
    kind = kinds.by_resource(BUDGETS)
    name = budget["metadata"]["name"]
    wanted = {"dryRun": "All"} if dry else {}
    await writer.transform(
        Request("update", BUDGETS, request.namespace, name, "status", options=wanted),
        kind,
        _decrement(kind, pod["metadata"]["name"]),
    )


def _budgets_of(reader: Reader, request: Request, pod: Object) -> list[Object]:
    try:
        kind = kinds.by_resource(BUDGETS)
    except kinds.UnknownKind:
        return []
    entries = reader.matching(Request("list", BUDGETS, request.namespace), kind)
    budgets = [wire.decode(entry.value) for entry in entries]
    return [each for each in budgets if disruption.selects(each, pod)]


def _may_go_unready(budget: Object) -> bool:
    """Whether a Pod that is not ready may go without asking (unhealthyPodEvictionPolicy)."""
    spec, status = budget.get("spec") or {}, budget.get("status") or {}
    if spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    desired = status.get("desiredHealthy", 0)
    return bool(desired > 0 and status.get("currentHealthy", 0) >= desired)


def _decrement(kind: Kind, pod: str) -> Callable[[Object], Object]:
    """Return what takes one disruption from a budget's status, or refuses."""

    def compute(budget: Object) -> Object:
        status, found = budget.setdefault("status", {}), budget["metadata"]
        name = found["name"]
        if status.get("observedGeneration", 0) < found.get("generation", 0):
            raise _not_now(f"The disruption budget {name} is still being processed by the server.")
        allowed, disrupted = status.get("disruptionsAllowed", 0), status.get("disruptedPods") or {}
        if allowed < 0:
            raise forbidden(kind, name, "pdb disruptions allowed is negative")
        if len(disrupted) > _DISRUPTED_LIMIT:
            raise forbidden(
                kind,
                name,
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            )
        if allowed == 0:
            raise _not_now(disruption.refusal(name, status), retry_after=0)
        status["disruptionsAllowed"] = allowed - 1
        status["disruptedPods"] = {**disrupted, pod: metadata.present()}
        if allowed == 1:
            budget["status"] = disruption.with_allowed(status, metadata.present())
        return budget

    return compute


def _not_now(why: str, retry_after: int = 10) -> StatusError:
    """Refuse for now. Without a time to come back at clients hear of it at once: with one they wait by themselves."""
    refused = too_many_requests(_VIOLATES, retry_after)
    details = refused.status.setdefault("details", {})
    details["causes"] = [{"reason": "DisruptionBudget", "message": why}]
    return refused


async def _mark(writer: Writer, request: Request, kind: Kind, dry: bool) -> None:
    """Say in the Pod's conditions why it goes (KEP-3329)."""

    def compute(pod: Object) -> Object:
        status = pod.setdefault("status", {})
        before = [each for each in status.get("conditions") or () if each["type"] != _TARGET]
        condition = {
            "type": _TARGET,
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastProbeTime": None,
            "lastTransitionTime": metadata.present(),
            "observedGeneration": pod["metadata"].get("generation", 1),
        }
        status["conditions"] = [*before, condition]
        return pod

    wanted = {"dryRun": "All"} if dry else {}
    await writer.transform(replace(request, options=wanted), kind, compute)


_TARGET = "DisruptionTarget"
