"""HTTP requests to verbs, and answers to responses. Every failure is a metav1.Status, whatever went wrong."""

import asyncio
import logging
from dataclasses import replace

from aiohttp import web

from minipod.api import kinds
from minipod.api.errors import (
    StatusError,
    internal_error,
    method_not_supported,
    page_not_found,
    timeout,
    too_large,
    unsupported_media_type,
)
from minipod.api.kind import Kind
from minipod.client import PatchType, Request
from minipod.server import wire
from minipod.server.audit_notes import collect
from minipod.server.authentication import Authenticator
from minipod.server.bodies import BODY_LIMIT, decode_body, reading_error
from minipod.server.decoding import parsed
from minipod.server.identity import Identity
from minipod.server.impersonation import impersonate
from minipod.server.malformed import Malformed, undecodable_patch, unrecognized
from minipod.server.non_resources import NonResources
from minipod.server.options import flag
from minipod.server.oversight import Call, Oversight, make_call
from minipod.server.representation import (
    JSON,
    PLAIN,
    Representation,
    negotiate,
    render_bookmark,
    render_object,
)
from minipod.server.resources import Resources, find_kind
from minipod.server.responses import answer_response, status_response, warn
from minipod.server.routes import Target, parse_target
from minipod.server.stream_requests import STREAMS, Streams
from minipod.server.watching import Change, ResourceWatch

logger = logging.getLogger(__name__)

BODY_SECONDS = 60.0  # patience with a client that sends its body
_PATCH_TYPES: dict[str, PatchType] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
# Of these there are none, which kubectl asks before it creates what nobody can patch: a review.
_CUSTOM_KINDS = Target(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions.apiextensions.k8s.io"
)
_METHODS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class HttpFrontend:
    """Answers one request at a time per connection."""

    def __init__(
        self,
        resources: Resources,
        streams: Streams,
        non_resources: NonResources,
        authenticator: Authenticator,
        oversight: Oversight,
    ) -> None:
        self._resources = resources
        self._streams = streams
        self._non_resources = non_resources
        self._authenticator = authenticator
        self._oversight = oversight
        self._watches: set[ResourceWatch] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; never raises but when the client is gone."""
        try:
            call = _call(request)
        except StatusError as error:
            return status_response(error, request)
        response: web.StreamResponse | None = None
        self._oversight.begin(call)
        collect(call.annotations)
        try:
            response = await self._answer(call)
        except StatusError as error:
            response = status_response(error, request)
        except ConnectionError:
            raise
        except Exception as error:  # a defect: one line for everybody, the rest on request
            what = f"{type(error).__name__}: {error}"
            logger.error("%s %s failed: %s", request.method, request.rel_url.path, what)
            logger.debug("where it failed", exc_info=True)
            response = status_response(internal_error(what), request)
        finally:
            self._oversight.end(call, response)
        return response

    def stop_watches(self) -> None:
        """End every watch stream, as its timeout would."""
        for watch in list(self._watches):
            watch.stop()

    async def _answer(self, call: Call) -> web.StreamResponse:
        identity = self._identify(call)
        self._authorize(call, identity)
        if call.target is None or (call.target, call.asked.verb) == (_CUSTOM_KINDS, "list"):
            async with self._oversight.places.seat(identity.user):
                return self._non_resources.answer(call.http, call.http.rel_url.raw_path)
        return await self._resource(call, call.target, identity)

    def _identify(self, call: Call) -> Identity:
        """Return as whom a request is answered. Raises Unauthorized, Forbidden."""
        headers, caller = call.http.headers, None
        try:
            caller = self._authenticator.authenticate(call.http)
            acting = impersonate(caller, headers, self._resources.authorizer)
        except StatusError:
            self._oversight.identified(call, caller, caller)
            raise
        self._oversight.identified(call, caller, acting)
        return acting

    def _authorize(self, call: Call, identity: Identity) -> None:
        try:
            reason = self._resources.authorizer.authorize(identity, call.asked)
        except StatusError:
            self._oversight.forbidden(call)
            raise
        self._oversight.allowed(call, reason)

    async def _resource(self, call: Call, target: Target, identity: Identity) -> web.StreamResponse:
        http, query = call.http, call.http.rel_url.query
        request = Request(
            call.asked.verb,  # type: ignore[arg-type]
            target.resource,
            target.namespace,
            target.name,
            target.subresource,
            None,
            None,
            query,
            identity.user,
            identity.groups,
            target.version,
            http.headers.get("User-Agent", ""),
            identity.uid,
            identity.extra,
        )
        kind = _kind(target)
        if target.subresource in STREAMS and kind.subresource(target.subresource):
            with self._oversight.streams.hold(identity.user):
                self._oversight.started(call)
                return await self._streams.answer(http, request, target, kind)
        accept = http.headers.get("Accept", "")
        if request.verb == "watch":
            representation = negotiate(accept, query, streaming=True)
            with self._oversight.watches.hold(identity.user):
                return await self._watch(call, request, representation)
        asked_only = kind.verbs == ("create",)  # a review, a binding: answered, and never listed
        representation = negotiate(accept, query, tables=not asked_only)
        if http.method not in ("GET", "HEAD"):  # before a place is taken: a slow sender holds none
            request = await _with_body(http, request, find_kind(request))
            self._oversight.keep_request(call, parsed(request.body).value)
        async with self._oversight.places.seat(identity.user):
            answer = await self._resources.perform(request)
            self._oversight.keep_response(call, lambda: answer.value)
            return await answer_response(answer, representation, http, kind.deprecation)

    async def _watch(
        self, call: Call, request: Request, representation: Representation
    ) -> web.StreamResponse:
        try:
            watch = self._resources.watch(request)
        except StatusError as error:
            if error.reason != "Expired":
                raise
            return await _stream_failure(call.http, error)
        self._oversight.started(call)
        self._watches.add(watch)
        try:
            return await _stream_watch(call.http, watch, representation)
        finally:
            watch.stop()
            self._watches.discard(watch)


async def _begin_stream(http: web.BaseRequest, deprecation: str = "") -> web.StreamResponse:
    headers = {"Content-Type": JSON, "Cache-Control": "no-cache, private"}
    response = web.StreamResponse(headers=headers)
    warn(response, [deprecation] if deprecation else [])
    await response.prepare(http)
    return response


async def _stream_failure(http: web.BaseRequest, error: StatusError) -> web.StreamResponse:
    """Tell of a failure in the stream, where clients of upstream's look for it."""
    response = await _begin_stream(http)
    await response.write(b'{"type":"ERROR","object":%b}\n' % wire.encode(error.status))
    await response.write_eof()
    return response


async def _stream_watch(
    http: web.BaseRequest, watch: ResourceWatch, representation: Representation
) -> web.StreamResponse:
    response = await _begin_stream(http, watch.kind.deprecation)
    lines = _Lines(watch.kind, representation)
    while (changes := await _next(watch)) is not None:
        await response.write(b"".join(map(lines.encode, changes)))
    await response.write_eof()
    return response


async def _next(watch: ResourceWatch) -> list[Change] | None:
    """Return the next changes; once the stream has begun, a failure is an ERROR event."""
    try:
        return await watch.next()
    except StatusError as error:
        watch.stop()
        return [Change("ERROR", wire.encode(error.status))]


class _Lines:
    """Encodes changes as lines; a Table names its columns once."""

    def __init__(self, kind: Kind, representation: Representation) -> None:
        self._kind = kind
        self._representation = representation
        self._headers = True

    def encode(self, change: Change) -> bytes:
        value = change.value
        if self._representation is not PLAIN and change.type != "ERROR":
            bookmark = change.type == "BOOKMARK"
            render = render_bookmark if bookmark else render_object
            value = render(self._kind, value, self._representation, headers=self._headers)
            self._headers = self._headers and bookmark
        return b'{"type":"%b","object":%b}\n' % (change.type.encode(), value)


def _call(http: web.BaseRequest) -> Call:
    """Return what a request asks. Raises MethodNotAllowed."""
    target = parse_target(http.rel_url.raw_path)
    if target is None:
        return make_call(http, None, "", False)
    verb = _verb(http.method, target, http.rel_url.query.get("watch", ""))
    return make_call(http, target, verb, target.subresource in STREAMS)


def _kind(target: Target) -> Kind:
    try:
        plural = target.resource.partition(".")[0]
        return kinds.by_path(target.group, target.version, plural)
    except kinds.UnknownKind:
        raise page_not_found() from None


def _verb(method: str, target: Target, watch: str) -> str:
    """Return the verb of a request on a resource. Raises MethodNotAllowed."""
    if target.watch:
        if method != "GET":
            raise method_not_supported(_kind(target), method.lower())
        return "watch"
    if target.subresource == "proxy" and method == "OPTIONS":
        return ""  # upstream has no verb for it: only who may do everything may do this
    if method in ("GET", "HEAD"):
        if watch and flag({"watch": watch}, "watch") and not target.of_one:
            return "watch"
        return "get" if target.of_one else "list"
    if method == "DELETE" and not target.of_one:
        return "deletecollection"
    if method not in _METHODS:
        raise method_not_supported(_kind(target), method.lower())
    return _METHODS[method]


async def _with_body(http: web.BaseRequest, request: Request, kind: Kind) -> Request:
    data = await _read(http)
    media_type = http.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    patch_type = None
    if request.verb == "patch":
        patch_type = _PATCH_TYPES.get(media_type)
        if patch_type is None:
            raise unsupported_media_type(_PATCH_TYPES)
        media_type = "application/yaml" if patch_type == "apply" else JSON
    body = None
    if data or request.verb not in ("delete", "deletecollection"):
        try:
            body = decode_body(data, media_type)
        except Malformed as error:
            raise _refusal(request, patch_type, kind, data, error) from error
    return replace(request, body=body, patch_type=patch_type)


def _refusal(
    request: Request, patch_type: PatchType | None, kind: Kind, data: bytes, error: Malformed
) -> StatusError:
    if request.verb == "patch":
        return undecodable_patch(patch_type, error)
    if request.verb not in ("create", "update"):
        return error
    below = kind.subresource(request.subresource)
    return unrecognized(replace(kind, kind=below.kind) if below else kind, error, data)


async def _read(http: web.BaseRequest) -> bytes:
    """Read the body within bounds of size and time. Raises RequestEntityTooLarge, Timeout, BadRequest."""
    if (http.content_length or 0) > BODY_LIMIT:
        raise too_large(f"limit is {BODY_LIMIT}")
    if not http.body_exists:
        return b""
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in http.content.iter_any():
                received += piece
                if len(received) > BODY_LIMIT:
                    raise too_large(f"limit is {BODY_LIMIT}")
    except TimeoutError:
        raise timeout(f"the body did not arrive within {BODY_SECONDS:.0f} seconds") from None
    except web.RequestPayloadError as error:
        raise reading_error(error) from error
    return bytes(received)
