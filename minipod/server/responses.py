"""Answers as HTTP responses: headers, warnings, indented for people, compressed when large."""

import asyncio
import gzip
import json
from collections.abc import Mapping, Sequence

from aiohttp import web

from minipod.api.errors import StatusError
from minipod.server import wire
from minipod.server.answers import Answer
from minipod.server.documents import Document
from minipod.server.options import flag
from minipod.server.representation import JSON, Representation, render

_WARNINGS_LIMIT = 4096  # characters in all, as upstream's
_WARNING_LIMIT = 256  # characters of each, when there are too many
_COMPRESSED_FROM = 128 << 10  # bytes, as upstream's
_PEOPLE = ("curl", "Wget", "Mozilla/5.0")  # what people look through: they get JSON indented
_PRIVATE = "no-cache, private"


async def answer_response(
    answer: Answer, wanted: Representation, request: web.BaseRequest, deprecation: str = ""
) -> web.Response:
    """Return the response that carries an answer, and a warning of what was used to get it."""
    body = render(answer, wanted)
    if wanted.media_type == JSON and _for_people(request):
        body = _indented(body)
    headers = {"Content-Type": wanted.media_type, "Cache-Control": _PRIVATE}
    if len(body) >= _COMPRESSED_FROM and takes_gzip(request.headers):
        body = await asyncio.to_thread(gzip.compress, body, 1)
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    response = web.Response(body=body, status=answer.code, headers=headers)
    warn(response, [*([deprecation] if deprecation else []), *answer.warnings])
    return response


def warn(response: web.StreamResponse, warnings: Sequence[str]) -> None:
    """Add warnings to a response's headers."""
    for warning in _fitting(warnings):
        response.headers.add("Warning", f'299 - "{warning}"')


def _indented(body: bytes) -> bytes:
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False).encode()


def _for_people(request: web.BaseRequest) -> bool:
    query = request.rel_url.query
    if query.get("pretty"):
        return flag(query, "pretty")
    return request.headers.get("User-Agent", "").startswith(_PEOPLE)


def takes_gzip(headers: Mapping[str, str]) -> bool:
    """Whether a client takes compressed content (RFC 9110, Accept-Encoding)."""
    for clause in headers.get("Accept-Encoding", "").split(","):
        coding, _, weight = clause.partition(";")
        if coding.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def document_response(found: Document, request: web.BaseRequest) -> web.Response:
    """Return the response that carries a document, or says that the client has it already.

    What people look at is indented, but for OpenAPI: that is not made for them.
    """
    headers = request.headers
    sent = {"ETag": found.etag, "Vary": "Accept, Accept-Encoding", "Cache-Control": "public"}
    known = [each.strip() for each in headers.get("If-None-Match", "").split(",")]
    if found.etag in known or "*" in known:
        return web.Response(status=304, headers=sent)
    sent["Content-Type"] = found.media_type
    if found.media_type.startswith(JSON) and found.for_people and _for_people(request):
        return web.Response(body=_indented(found.plain), headers=sent)
    if not takes_gzip(headers):
        return web.Response(body=found.plain, headers=sent)
    return web.Response(body=found.compressed, headers=sent | {"Content-Encoding": "gzip"})


def status_response(error: StatusError, request: web.BaseRequest | None = None) -> web.Response:
    """Return the response that carries a Status; `request`: what it answers, where there is one."""
    body = wire.encode(error.status)
    if request is not None and _for_people(request):
        body = _indented(body)
    response = web.Response(body=body, status=error.code, content_type=JSON)
    seconds = (error.status.get("details") or {}).get("retryAfterSeconds")
    if seconds:
        response.headers["Retry-After"] = str(seconds)
    return response


def _fitting(warnings: Sequence[str]) -> list[str]:
    """Return the warnings as headers may hold them: each once, on one line, no more than clients accept in all."""
    texts = list(dict.fromkeys(_quoted(warning) for warning in warnings))
    if sum(map(len, texts)) <= _WARNINGS_LIMIT:
        return texts
    room, found = _WARNINGS_LIMIT, []
    for text in (_quoted(warning[:_WARNING_LIMIT]) for warning in warnings):
        room -= len(text)
        if room < 0:
            break
        found.append(text)
    return found


def _quoted(text: str) -> str:
    """Return the text as a quoted-string of RFC 9110 may hold it."""
    line = " ".join(text.splitlines())
    plain = "".join(char if char.isprintable() else "?" for char in line.expandtabs(1))
    return plain.replace("\\", "\\\\").replace('"', '\\"')
