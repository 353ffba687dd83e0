"""CertificateSigningRequest (pkg/apis/certificates): who wants a certificate signed by whom, and what came of it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from minipod.api import pem
from minipod.api.field import Cause, duplicate, forbidden, invalid, not_supported, required
from minipod.api.kind import Column, Hooks
from minipod.api.printers.durations import human_duration
from minipod.api.printers.simple import AGE, NAME, NONE, age_cell
from minipod.api.validation.values import repeats, signer_name

Object = dict[str, Any]

LEGACY = "kubernetes.io/legacy-unknown"
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
_LEAST_SECONDS = 600
_USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
_PATH = "status.conditions"
COLUMNS = (
    NAME,
    AGE,
    Column("SignerName", description="Who is to sign."),
    Column("Requestor", description="Who asked."),
    Column("RequestedDuration", description="For how long it was asked."),
    Column("Condition", description="Pending, Approved, Denied, Failed, Issued."),
)


def condition_of(request: Object, kind: str) -> Object | None:
    """Return one of a request's conditions, None when it has not been set."""
    conditions = (request.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), None)


def _validate(request: Object) -> list[Cause]:
    return _all(request, {})


def _all(request: Object, old: Object) -> list[Cause]:
    spec, before = request.get("spec") or {}, old.get("spec") or {}
    return [*_spec(spec, before), *_conditions(request, old)]


def _spec(spec: Object, before: Object) -> Iterator[Cause]:
    """Check what is asked for; odd usages and the signer of old may stay."""
    problem = _request_problem(spec.get("request") or "")
    if problem:
        yield invalid("spec.request", spec.get("request"), problem)
    usages, old = spec.get("usages") or [], before.get("usages") or []
    known = not old or set(old) <= set(_USAGES)
    single = len(old) == len(set(old))
    if not usages:
        yield required("spec.usages")
    again = repeats(usages) if single else set()
    for index, usage in enumerate(usages):
        if usage not in _USAGES and known:
            yield not_supported(f"spec.usages[{index}]", usage, _USAGES)
        if index in again:
            yield duplicate(f"spec.usages[{index}]", usage)
    signer = spec.get("signerName") or ""
    if signer == LEGACY and before.get("signerName") != LEGACY:
        why = "the legacy signerName is not allowed via this API version"
        yield invalid("spec.signerName", signer, why)
    else:
        yield from signer_name(signer, "spec.signerName")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _LEAST_SECONDS:
        why = "may not specify a duration less than 600 seconds (10 minutes)"
        yield invalid("spec.expirationSeconds", seconds, why)


def _request_problem(request: str) -> str:
    """Return what is wrong with a PKCS#10 request (RFC 2986) in PEM, Base64 around it."""
    import base64
    import binascii

    from cryptography import x509

    try:
        text = base64.b64decode(request, validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    block = next(pem.blocks(text), None)
    if block is None or block.label != "CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        parsed = x509.load_der_x509_csr(block.data)
        sound = parsed.is_signature_valid
    except Exception:  # noqa: BLE001 - whatever cryptography finds wrong about somebody else's bytes
        return "the PEM block is no certificate request (PKCS #10)"
    return "" if sound else "the request is not signed by its own key"


def _conditions(request: Object, before: Object) -> Iterator[Cause]:
    """Check what was decided; types that were repeated or missing once may stay so."""
    old = [each.get("type") or "" for each in _listed(before)]
    seen: list[str] = []
    for index, each in enumerate(_listed(request)):
        at, kind, status = f"{_PATH}[{index}]", each.get("type") or "", each.get("status") or ""
        if not kind and "" not in old:
            yield required(f"{at}.type")
        allowed = ("True",) if kind in (APPROVED, DENIED, FAILED) else ("False", "True", "Unknown")
        if not status:
            yield required(f"{at}.status")
        elif status not in allowed:
            yield not_supported(f"{at}.status", status, allowed)
        other = {APPROVED: DENIED, DENIED: APPROVED}.get(kind)
        if other in seen and not {APPROVED, DENIED} <= set(old):
            yield invalid(_PATH, kind, "Approved and Denied conditions are mutually exclusive")
        if kind in seen and len(old) == len(set(old)):
            yield duplicate(f"{at}.type", kind)
        seen.append(kind)


def _listed(request: Object) -> list[Object]:
    found: list[Object] = (request.get("status") or {}).get("conditions") or []
    return found


def _update(new: Object, old: Object) -> list[Cause]:
    return [*_all(new, old), *_kept(new, old)]


def _kept(new: Object, old: Object) -> Iterator[Cause]:
    """What was decided stays decided, and a certificate that was issued stays the same."""
    for kind in (APPROVED, DENIED, FAILED):
        had, has = condition_of(old, kind), condition_of(new, kind)
        if had is not None and has is None:
            why = f'updates may not remove a condition of type "{kind}"'
            yield forbidden("status.conditions", why)
    before = (old.get("status") or {}).get("certificate")
    after = (new.get("status") or {}).get("certificate")
    if before and after != before:
        yield forbidden("status.certificate", "updates may not modify existing certificate content")
    if after and not before:
        yield from _certificate(after)


def _certificate(encoded: str) -> Iterator[Cause]:
    import base64

    found = list(pem.blocks(base64.b64decode(encoded).decode("latin-1")))
    why = ""
    if not found:
        why = "must contain at least one CERTIFICATE PEM block"
    elif any(each.label != "CERTIFICATE" for each in found):
        why = "only CERTIFICATE PEM blocks are allowed"
    if why:
        yield invalid("status.certificate", "<certificate data>", why)


def _prepare_update(new: Object, old: Object) -> None:
    """What was asked for stays; answers have subresources of their own."""
    new["spec"] = old.get("spec") or {}


def date_conditions(new: Object, old: Object, now: str) -> None:
    """Say since when conditions are as they are, where their sender does not. Changes `new`."""
    for each in (new.get("status") or {}).get("conditions") or ():
        before = condition_of(old, each.get("type") or "")
        if before is None or before.get("status") != each.get("status"):
            each["lastTransitionTime"] = each.get("lastTransitionTime") or now
        else:
            each["lastTransitionTime"] = before.get("lastTransitionTime") or now
        if before != each:
            each["lastUpdateTime"] = each.get("lastUpdateTime") or now


def _fields(request: Object) -> dict[str, str]:
    return {"spec.signerName": (request.get("spec") or {}).get("signerName") or ""}


def _cells(request: Object, now: datetime) -> list[Any]:
    spec = request.get("spec") or {}
    seconds = spec.get("expirationSeconds")
    wanted = NONE if seconds is None else human_duration(timedelta(seconds=seconds))
    return [
        request["metadata"].get("name", ""),
        age_cell(request, now),
        spec.get("signerName") or NONE,
        spec.get("username") or "",
        wanted,
        _state(request),
    ]


def _state(request: Object) -> str:
    state = "Pending"
    if condition_of(request, DENIED):
        state = "Denied"
    elif condition_of(request, APPROVED):
        state = "Approved"
    if condition_of(request, FAILED):
        state += ",Failed"
    if (request.get("status") or {}).get("certificate"):
        state += ",Issued"
    return state


HOOKS = Hooks(
    prepare_update=_prepare_update,
    validate_create=_validate,
    validate_update=_update,
    validate_status_update=_update,
    fields=_fields,
    columns=COLUMNS,
    cells=_cells,
)
