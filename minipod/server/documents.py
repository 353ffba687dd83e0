"""Discovery and OpenAPI as they travel: which form a client accepts, made once, kept compressed, with an ETag.

A document changes only when the registry of kinds does. Compressed because OpenAPI is megabytes of prose that few
clients ask for, and all of those take gzip.
"""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from minipod.api import kinds
from minipod.api.errors import not_acceptable
from minipod.server import discovery, wire

JSON = "application/json"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
_OPENAPI_V2 = "/openapi/v2"


@dataclass(frozen=True)
class Document:
    """One document in one form."""

    media_type: str
    compressed: bytes
    etag: str
    for_people: bool  # whether it is small enough to be looked at

    @property
    def plain(self) -> bytes:
        """The document as it is read."""
        return gzip.decompress(self.compressed)


def find(path: str, accept: str) -> Document | None:
    """Return the document at a path in the form that a client accepts, None when there is none.

    Raises NotAcceptable.
    """
    form = _form(path.rstrip("/"), accept)
    return _made(path, form, kinds.revision())


def _form(path: str, accept: str) -> str:
    """Return the first form that the client accepts and the path has; plain JSON where it says nothing."""
    forms = _forms(path)
    for clause in accept.split(",") if accept else (JSON,):
        media_type, *parameters = (part.strip() for part in clause.split(";"))
        given = dict(each.partition("=")[::2] for each in parameters)
        if given.get("as"):
            named = (given.get("g"), given["as"]) == (
                "apidiscovery.k8s.io",
                "APIGroupDiscoveryList",
            )
            wanted = _AGGREGATED.format(given.get("v")) if named else ""
        else:
            wanted = JSON if media_type in (JSON, "*/*", "application/*") else media_type
        if wanted in forms:
            return wanted
    raise not_acceptable(forms)


def _forms(path: str) -> tuple[str, ...]:
    if path in ("/api", "/apis"):
        return (JSON, _AGGREGATED.format("v2"), _AGGREGATED.format("v2beta1"))
    if path == _OPENAPI_V2:
        from minipod.server.openapi_v2 import PROTOBUF, PROTOBUF_OF_OLD

        return (JSON, PROTOBUF, PROTOBUF_OF_OLD)
    return (JSON,)


@lru_cache(maxsize=64)
def _made(path: str, form: str, _revision: int) -> Document | None:
    made = _encoder(path, form)()
    if made is None:
        return None
    etag = hashlib.sha256(made).hexdigest()[:32].upper()
    media_type = form.replace("@", ".")  # a media type may hold no "@" (RFC 6838)
    return Document(
        media_type, gzip.compress(made, 6, mtime=0), f'"{etag}"', not path.startswith("/openapi")
    )


def _encoder(path: str, form: str) -> Callable[[], bytes | None]:
    if form.startswith("application/json;g="):
        version = form.partition(";v=")[2].partition(";")[0]
        core = path.startswith("/api") and not path.startswith("/apis")
        return lambda: wire.encode(discovery.aggregated(version, core=core))
    if path.rstrip("/") == _OPENAPI_V2:
        from minipod.server import openapi_v2  # large, and asked for by few

        found = openapi_v2.document()
        if form == JSON:
            return lambda: wire.encode(found)
        return lambda: openapi_v2.encode_protobuf(found)
    return lambda: discovery.discover_encoded(path)
