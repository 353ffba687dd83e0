"""serviceaccounts/token: new tokens on request (KEP-1205; upstream's pkg/registry/core/serviceaccount/storage)."""

from typing import Any

from minipod.api.access import TOKEN_REQUEST
from minipod.api.errors import bad_request, invalid, not_found, service_unavailable, status_error
from minipod.api.field import Cause
from minipod.api.field import invalid as invalid_field
from minipod.api.kind import Kind
from minipod.api.kinds import by_resource
from minipod.client import Object, Request
from minipod.clock import format_time
from minipod.server import node_restriction, options, wire
from minipod.server.answers import One
from minipod.server.decoding import decode_object
from minipod.server.token_authentication import Credentials, Find
from minipod.tokens import AUDIENCES, Bound, Lifetime

DEFAULT_SECONDS = 3600
LEAST_SECONDS, MOST_SECONDS = 600, 1 << 32
# A kubelet asks for this when a manifest does not: such tokens go on for a year for clients that never read again.
PROJECTED_SECONDS, EXTENDED_SECONDS = 3607, 365 * 86400


class TokenRequests:
    """Makes tokens."""

    def __init__(self, credentials: Credentials, find: Find) -> None:
        self._signer = credentials.signer
        self._clock = credentials.clock
        self._find = find

    def create(self, request: Request, kind: Kind) -> One:
        """Answer a TokenRequest with its token. Raises BadRequest, Invalid, NotFound, Conflict."""
        if self._signer is None:
            raise service_unavailable("this server signs no tokens")
        warnings: list[str] = []
        asked = decode_object(TOKEN_REQUEST, request.body, request, warnings)
        account = self._find("serviceaccounts", request.namespace, request.name)
        if account is None:
            raise not_found(kind, request.name)
        spec: Object = asked.setdefault("spec", {})
        bound_to = self._bound_pod(request, spec.get("boundObjectRef") or {})
        node_restriction.check_token(request, kind, spec, bound_to)
        spec["audiences"] = spec.get("audiences") or list(AUDIENCES)
        seconds = spec.setdefault("expirationSeconds", DEFAULT_SECONDS)
        causes = _checks(seconds)
        if causes:
            raise invalid(TOKEN_REQUEST, request.name, causes)
        bound = self._bound(request, spec.get("boundObjectRef"))
        now = int(self._clock.now())
        lifetime = _lifetime(now, seconds, bound, spec["audiences"])
        if not options.dry_run(request.options):
            token = self._signer.issue(account, spec["audiences"], lifetime, bound)
            asked["status"] = {"token": token, "expirationTimestamp": format_time(now + seconds)}
        asked["metadata"].setdefault("creationTimestamp", format_time(now))
        return One(wire.encode(asked), TOKEN_REQUEST, 201, tuple(warnings))

    def _bound_pod(self, request: Request, reference: Object) -> Object | None:
        if reference.get("kind") != "Pod":
            return None
        return self._find("pods", request.namespace, reference.get("name") or "")

    def _bound(self, request: Request, reference: Any) -> Bound:
        """Return what a token is to be bound to. Raises BadRequest, NotFound, Conflict."""
        if not reference:
            return Bound()
        version, kind, name = (reference.get(each) or "" for each in ("apiVersion", "kind", "name"))
        if version != "v1" or kind not in ("Pod", "Secret", "Node"):
            group, _, short = version.rpartition("/")
            raise bad_request(f"cannot bind token to object of type {group}/{short}, Kind={kind}")
        resource = f"{kind.lower()}s"
        where = "" if kind == "Node" else request.namespace
        found = self._find(resource, where, name)
        if found is None:
            raise not_found(by_resource(resource), name)
        uid = found["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            raise _other_uid(kind, name, reference["uid"], uid)
        if kind == "Secret":
            return Bound(secret=(name, uid))
        if kind == "Node":
            return Bound(node=(name, uid))
        return self._bound_to_pod(request.name, found)

    def _bound_to_pod(self, account: str, pod: Object) -> Bound:
        spec, metadata = pod["spec"], pod["metadata"]
        if spec.get("serviceAccountName") != account:
            raise bad_request(
                f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
            )
        name = spec.get("nodeName") or ""
        node = self._find("nodes", "", name) if name else None
        known = (name, node["metadata"]["uid"] if node else "") if name else None
        return Bound(pod=(metadata["name"], metadata["uid"]), node=known)


def _lifetime(now: int, seconds: int, bound: Bound, audiences: list[str]) -> Lifetime:
    extended = seconds == PROJECTED_SECONDS and bound.pod and set(audiences) <= set(AUDIENCES)
    return Lifetime(now, EXTENDED_SECONDS, seconds) if extended else Lifetime(now, seconds)


def _checks(seconds: int) -> list[Cause]:
    path = "spec.expirationSeconds"
    if seconds < LEAST_SECONDS:
        return [invalid_field(path, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > MOST_SECONDS:
        return [invalid_field(path, seconds, "may not specify a duration larger than 2^32 seconds")]
    return []


def _other_uid(kind: str, name: str, wanted: str, found: str) -> Exception:
    message = (
        f'Operation cannot be fulfilled on {kind} "{name}": the UID in the bound object reference ({wanted}) does not '
        f"match the UID in record ({found}). The object might have been deleted and then recreated"
    )
    return status_error(409, "Conflict", message, {"name": name, "kind": kind})
