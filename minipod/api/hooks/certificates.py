"""ClusterTrustBundle (pkg/apis/certificates/validation): trust anchors alone, named after their signer."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from minipod.api import names, pem
from minipod.api.field import Cause, invalid, too_long
from minipod.api.kind import Column, Hooks
from minipod.api.printers.simple import NAME, NONE
from minipod.api.validation.values import signer_name

Object = dict[str, Any]

_SIZE_LIMIT = 1 << 20  # bytes
_OMITTED = "<value omitted>"
COLUMNS = (NAME, Column("SignerName", description="Whose certificates these are."))


def _create(bundle: Object) -> list[Cause]:
    spec = bundle.get("spec") or {}
    return [*_named(bundle), *_anchors(spec.get("trustBundle") or "", "spec.trustBundle")]


def _update(new: Object, old: Object) -> list[Cause]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    causes = [*_named(new)]
    if spec.get("trustBundle") != before.get("trustBundle"):
        causes += _anchors(spec.get("trustBundle") or "", "spec.trustBundle")
    if spec.get("signerName") != before.get("signerName"):
        causes.append(
            invalid("spec.signerName", spec.get("signerName") or "", "field is immutable")
        )
    return causes


def _named(bundle: Object) -> Iterator[Cause]:
    name = bundle["metadata"].get("name") or ""
    signer = (bundle.get("spec") or {}).get("signerName") or ""
    for problem in _name_problems(name, signer):
        yield invalid("metadata.name", name, problem)
    if signer:
        yield from signer_name(signer, "spec.signerName")


def _name_problems(name: str, signer: str) -> list[str]:
    if not signer and ":" in name:
        return ['ClusterTrustBundle without signer name must not have ":" in its name']
    prefix = signer.replace("/", ":") + ":" if signer else ""
    if not name.startswith(prefix):
        return [f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"]
    return names.dns1123_subdomain(name.removeprefix(prefix))


def _anchors(text: str, path: str) -> Iterator[Cause]:
    """Check that there are certificates of authorities, each once, and no other blocks."""
    if len(text.encode()) > _SIZE_LIMIT:
        yield too_long(path, _SIZE_LIMIT)
        return
    seen: dict[bytes, list[int]] = {}
    problems = []
    for index, block in enumerate(pem.blocks(text)):
        problem = _problem(block)
        if problem:
            problems.append(f"entry {index} {problem}")
        seen.setdefault(block.data, []).append(index)
    if not problems and not seen:
        problems = ["at least one trust anchor must be provided"]
    elif not problems:
        problems = [
            f"duplicate trust anchor (indices [{' '.join(map(str, found))}])"
            for found in seen.values()
            if len(found) > 1
        ]
    for problem in problems:
        yield invalid(path, _OMITTED, problem)


def _problem(block: pem.Block) -> str:
    from cryptography import x509

    if block.label != "CERTIFICATE":
        return f"has bad block type: {block.label}"
    if block.headers:
        return "has PEM block headers"
    try:
        certificate = x509.load_der_x509_certificate(block.data)
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except ValueError:
        return "does not parse as X.509"
    except x509.ExtensionNotFound:
        return "does not have the CA bit set"
    return "" if found.value.ca else "does not have the CA bit set"


def _fields(bundle: Object) -> dict[str, str]:
    return {"spec.signerName": (bundle.get("spec") or {}).get("signerName") or ""}


def _cells(bundle: Object, _now: datetime) -> list[Any]:
    name, spec = bundle["metadata"].get("name", ""), bundle.get("spec") or {}
    return [name, spec.get("signerName") or NONE]


HOOKS = Hooks(
    validate_create=_create,
    validate_update=_update,
    fields=_fields,
    columns=COLUMNS,
    cells=_cells,
)
