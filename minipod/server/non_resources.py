"""What the server says at paths that are no resources: health, discovery, metrics, and who issues its tokens."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from minipod import tokens
from minipod.api.errors import method_not_allowed, page_not_found
from minipod.server import documents, wire
from minipod.server.health import HealthChecks
from minipod.server.representation import JSON
from minipod.server.responses import document_response

_PUBLIC_AN_HOUR = {"Cache-Control": "public, max-age=3600"}


@dataclass(frozen=True)
class Sources:
    """Where the documents come from. `address` is host and port by which tokens' verifiers reach the server."""

    health: HealthChecks
    signer: tokens.TokenSigner | None
    address: Callable[[], str]
    metrics: Callable[[], tuple[str, bytes]]


class NonResources:
    """Answers GET requests at such paths."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def answer(self, request: web.BaseRequest, path: str) -> web.Response:
        """Return the document at a path. Raises NotFound, MethodNotAllowed."""
        found = self._found(request, path)
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        return found

    def _found(self, request: web.BaseRequest, path: str) -> web.Response:
        query = request.rel_url.query
        health = self._sources.health.answer(
            path, "verbose" in query, set(query.getall("exclude", []))
        )
        if health is not None:
            headers = {"X-Content-Type-Options": "nosniff"}
            return web.Response(text=health.text, status=health.code, headers=headers)
        if path == "/metrics":
            content_type, text = self._sources.metrics()
            return web.Response(body=text, headers={"Content-Type": content_type})
        if path in (tokens.CONFIGURATION_PATH, tokens.JWKS_PATH) and self._sources.signer:
            return self._issuer(path, self._sources.signer)
        found = documents.find(path, request.headers.get("Accept", ""))
        if found is None:
            raise page_not_found()
        return document_response(found, request)

    def _issuer(self, path: str, signer: tokens.TokenSigner) -> web.Response:
        if path == tokens.JWKS_PATH:
            found, content_type = signer.jwks(), "application/jwk-set+json"
        else:
            found, content_type = tokens.compute_configuration(self._sources.address()), JSON
        body = wire.encode(found)
        return web.Response(body=body, content_type=content_type, headers=_PUBLIC_AN_HOUR)
