"""Questions put as objects: may I, may he, what may I, who am I, whose is this token. Nothing is stored.

SubjectAccessReview and its kin (authorization.k8s.io), SelfSubjectReview and TokenReview (authentication.k8s.io);
semantics and wording of upstream's pkg/registry/authorization and pkg/registry/authentication.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from minipod.api.errors import bad_request, invalid
from minipod.api.field import Cause, required
from minipod.api.field import invalid as invalid_field
from minipod.api.kind import Kind
from minipod.api.rbac.attributes import Attributes
from minipod.client import Object, Request
from minipod.server import metadata, wire
from minipod.server.answers import One
from minipod.server.authorization import Authorizer
from minipod.server.decoding import decode_object
from minipod.server.identity import Identity
from minipod.server.token_authentication import TokenAuthenticator
from minipod.tokens import AUDIENCES, BadToken

_EVERY_EXACT = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


class Reviews:
    """Answers reviews."""

    def __init__(self, authorizer: Authorizer, tokens: TokenAuthenticator) -> None:
        self._authorizer = authorizer
        self._tokens = tokens
        self._answers: dict[str, Callable[[Request, Identity, Object], Object]] = {
            "TokenReview": self._whose_is_it,
            "SelfSubjectReview": self._who_am_i,
            "SelfSubjectAccessReview": self._may_i,
            "SelfSubjectRulesReview": self._what_may_i,
            "SubjectAccessReview": self._may_he,
            "LocalSubjectAccessReview": self._may_he_here,
        }

    def answers(self, kind: Kind) -> bool:
        """Whether a kind is a review."""
        return kind.kind in self._answers and kind.verbs == ("create",)

    def create(self, request: Request, kind: Kind) -> One:
        """Answer a review. Raises BadRequest, Invalid."""
        warnings: list[str] = []
        review = decode_object(kind, request.body, request, warnings)
        review.pop("status", None)
        identity = Identity(request.user, request.groups, request.uid, request.extra)
        causes = _checks(kind, review)
        if causes:
            raise invalid(kind, review["metadata"].get("name", ""), causes)
        review["status"] = self._answers[kind.kind](request, identity, review)
        review["metadata"].setdefault("creationTimestamp", None)
        return One(wire.encode(review), kind, 201, tuple(warnings))

    def _who_am_i(self, _request: Request, identity: Identity, review: Object) -> Object:
        review["metadata"]["creationTimestamp"] = metadata.timestamp(datetime.now(UTC))
        return {"userInfo": user_info(identity)}

    def _whose_is_it(self, _request: Request, _identity: Identity, review: Object) -> Object:
        spec = review.get("spec") or {}
        if not spec.get("token"):
            raise bad_request("token is required for TokenReview in authentication")
        try:
            found = self._tokens.authenticate(spec["token"], spec.get("audiences") or AUDIENCES)
        except BadToken as error:
            return {"user": {}, "error": str(error)}
        return {
            "authenticated": True,
            "user": user_info(found.identity),
            "audiences": list(found.audiences),
        }

    def _may_i(self, _request: Request, identity: Identity, review: Object) -> Object:
        return self._decision(identity, review["spec"])

    def _may_he(self, _request: Request, _identity: Identity, review: Object) -> Object:
        return self._decision(_subject(review["spec"]), review["spec"])

    def _may_he_here(self, request: Request, _identity: Identity, review: Object) -> Object:
        attributes = review["spec"].get("resourceAttributes") or {}
        if attributes.get("namespace") != request.namespace:
            raise bad_request(
                f"spec.resourceAttributes.namespace must match metadata.namespace: {request.namespace}"
            )
        return self._decision(_subject(review["spec"]), review["spec"])

    def _decision(self, identity: Identity, spec: Object) -> Object:
        decision = self._authorizer.decide(identity, _attributes(spec))
        status: Object = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return status

    def _what_may_i(self, _request: Request, identity: Identity, review: Object) -> Object:
        namespace = (review.get("spec") or {}).get("namespace") or ""
        if not namespace:
            raise bad_request("no namespace on request")
        grants = self._authorizer.grants(identity, namespace)
        status: Object = {"resourceRules": [], "nonResourceRules": [], "incomplete": False}
        for rule in (rule for grant in grants for rule in grant.rules):
            if rule.get("resources"):
                status["resourceRules"].append(
                    _given(rule, "verbs", "apiGroups", "resources", "resourceNames")
                )
            if rule.get("nonResourceURLs"):
                status["nonResourceRules"].append(_given(rule, "verbs", "nonResourceURLs"))
        errors = [grant.error for grant in grants if grant.error]
        if errors:
            status["evaluationError"] = ", ".join(errors)
        return status


def user_info(identity: Identity) -> Object:
    """Return authentication.k8s.io's UserInfo."""
    made: Object = {"username": identity.user, "groups": list(identity.groups)}
    if identity.uid:
        made["uid"] = identity.uid
    if identity.extra:
        made["extra"] = {name: list(values) for name, values in identity.extra.items()}
    return made


def _given(rule: Object, *names: str) -> Object:
    return {name: list(rule[name]) for name in names if rule.get(name)}


def _subject(spec: Object) -> Identity:
    extra = {name: tuple(values) for name, values in (spec.get("extra") or {}).items()}
    return Identity(
        spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "", extra
    )


def _attributes(spec: Object) -> Attributes:
    resource: dict[str, Any] | None = spec.get("resourceAttributes")
    if resource is not None:
        names = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
        return Attributes(*(str(resource.get(each) or "") for each in names))
    path = spec["nonResourceAttributes"]
    return Attributes(str(path.get("verb") or ""), path=str(path.get("path") or "/"))


def _checks(kind: Kind, review: Object) -> list[Cause]:
    """Check a review of access (pkg/apis/authorization/validation)."""
    if "AccessReview" not in kind.kind:
        return []
    spec = review.get("spec") or {}
    causes: list[Cause] = []
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        causes.append(
            invalid_field(
                "spec.nonResourceAttributes",
                path,
                "cannot be specified in combination with resourceAttributes",
            )
        )
    if resource is None and path is None:
        causes.append(invalid_field("spec.resourceAttributes", None, _EVERY_EXACT))
    if not kind.kind.startswith("Self") and not spec.get("user") and not spec.get("groups"):
        causes.append(
            invalid_field("spec.user", "", "at least one of user or group must be specified")
        )
    if kind.namespaced and path is not None:
        causes.append(
            invalid_field("spec.nonResourceAttributes", path, "disallowed on this kind of request")
        )
    if kind.namespaced and resource is not None and not resource.get("namespace"):
        causes.append(required("spec.resourceAttributes.namespace"))
    return causes
