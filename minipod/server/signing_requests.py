"""What the server itself has to do with CertificateSigningRequests: who asked, and who may approve and sign.

Upstream's strategies (pkg/registry/certificates) and its admission plugins CertificateApproval, CertificateSigning and
CertificateSubjectRestriction.
"""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime

from minipod.api.errors import forbidden
from minipod.api.field import Cause
from minipod.api.field import forbidden as forbidden_field
from minipod.api.hooks.signing_requests import APPROVED, DENIED, condition_of, date_conditions
from minipod.api.kind import Kind
from minipod.api.rbac.attributes import Attributes
from minipod.client import Object, Request
from minipod.server import metadata
from minipod.server.authorization import Authorizer
from minipod.server.identity import MASTERS, Identity

RESOURCE = "certificatesigningrequests.certificates.k8s.io"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
_GROUP = "certificates.k8s.io"


class SigningGuard:
    """Looks at requests for certificates on their way into the store."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def complete(self, request: Request, kind: Kind, obj: Object) -> None:
        """Write down who asks, whatever he says himself; nothing is decided yet."""
        if kind.resource != RESOURCE:
            return
        spec = obj.setdefault("spec", {})
        for name in ("username", "uid", "groups", "extra"):
            spec.pop(name, None)
        spec["username"] = request.user
        if request.uid:
            spec["uid"] = request.uid
        if request.groups:
            spec["groups"] = list(request.groups)
        if request.extra:
            spec["extra"] = {name: list(values) for name, values in request.extra.items()}
        obj.pop("status", None)

    def check_create(self, kind: Kind, obj: Object) -> None:
        """Refuse to ask for the group that may do everything. Raises Forbidden."""
        spec = obj.get("spec") or {}
        if kind.resource != RESOURCE or spec.get("signerName") != CLIENT_SIGNER:
            return
        if MASTERS in _organizations(spec["request"]):
            why = f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"
            raise forbidden(kind, obj["metadata"].get("name", ""), why)

    def prepare(self, request: Request, kind: Kind, new: Object, old: Object) -> None:
        """Keep apart what `approval` decides and what `status` tells."""
        if kind.resource != RESOURCE:
            return
        before = old.get("status") or {}
        given = (new.get("status") or {}).get("conditions") or []
        now = metadata.timestamp(datetime.now(UTC))
        if request.subresource == "approval":
            new["status"] = {**before, "conditions": given}
            date_conditions(new, old, now)
            return
        _keep_decisions(given, before.get("conditions") or [])
        date_conditions(new, old, now)

    def judge(self, request: Request, kind: Kind, new: Object, old: Object) -> Iterator[Cause]:
        """Yield what `status` may not decide."""
        if kind.resource != RESOURCE or request.subresource != "status":
            return
        for decision in (APPROVED, DENIED):
            if len(_of_type(new, decision)) > len(_of_type(old, decision)):
                why = f'updates may not add a condition of type "{decision}"'
                yield forbidden_field("status.conditions", why)

    def check_change(self, request: Request, kind: Kind, new: Object, old: Object) -> None:
        """Refuse to decide or sign for a signer to whoever has no right to that. Raises Forbidden."""
        if kind.resource != RESOURCE:
            return
        if request.subresource == "approval":
            self._demand(request, kind, old, "approve")
        elif request.subresource == "status" and _signs(new, old):
            self._demand(request, kind, old, "sign")

    def _demand(self, request: Request, kind: Kind, obj: Object, verb: str) -> None:
        signer = obj["spec"]["signerName"]
        identity = Identity(request.user, request.groups, request.uid, request.extra)
        for name in (signer, f"{signer.partition('/')[0]}/*"):
            asked = Attributes(verb, _GROUP, "*", "signers", name=name)
            if self._authorizer.decide(identity, asked).allowed:
                return
        why = f'user not permitted to {verb} requests with signerName "{signer}"'
        raise forbidden(kind, obj["metadata"]["name"], why)


def _of_type(request: Object, kind: str) -> list[Object]:
    conditions = (request.get("status") or {}).get("conditions") or ()
    return [each for each in conditions if each.get("type") == kind]


def _keep_decisions(given: list[Object], before: list[Object]) -> None:
    """A status repeats what was decided: as it was, however it is repeated. Changes `given`."""
    for decision in (APPROVED, DENIED):
        old = [each for each in before if each.get("type") == decision]
        places = [at for at, each in enumerate(given) if each.get("type") == decision]
        if len(places) == len(old):
            for at, each in zip(places, old, strict=True):
                given[at] = each


def _signs(new: Object, old: Object) -> bool:
    """Whether a change of the status is the signer's: the certificate, or that there will be none."""
    now, before = new.get("status") or {}, old.get("status") or {}
    if now.get("certificate") != before.get("certificate"):
        return True
    return condition_of(new, "Failed") != condition_of(old, "Failed")


def _organizations(request: str) -> list[str]:
    """Return the groups that a valid request asks for."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parsed = x509.load_pem_x509_csr(base64.b64decode(request))
    found = parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return [str(each.value) for each in found]
