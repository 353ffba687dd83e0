"""API errors: a metav1.Status as an exception, with upstream's reasons, codes and wording (apimachinery api/errors)."""

from collections.abc import Iterable, Sequence
from typing import Any

from minipod.api.field import Cause
from minipod.api.kind import Kind

Object = dict[str, Any]


class StatusError(Exception):
    """A refused or failed request. `status` is what goes over the wire."""

    def __init__(self, status: Object) -> None:
        super().__init__(status.get("message", ""))
        self.status = status

    @property
    def code(self) -> int:
        """The HTTP status code."""
        return int(self.status.get("code") or 500)

    @property
    def reason(self) -> str:
        """The machine-readable reason: `NotFound`, `Conflict`..."""
        return str(self.status.get("reason") or "")

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self.status.get("message") or "")


def status_error(
    code: int, reason: str, message: str, details: Object | None = None
) -> StatusError:
    """Return a StatusError of any reason; an empty one, and empty `details`, are left out of the Status."""
    status: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
    }
    if not reason:
        del status["reason"]
    if details:
        status["details"] = details
    status["code"] = code
    return StatusError(status)


def not_found(kind: Kind, name: str) -> StatusError:
    """404: there is no object of that name."""
    message = f'{kind.resource} "{name}" not found'
    return status_error(404, "NotFound", message, _of_resource(kind, name))


def page_not_found() -> StatusError:
    """404: there is no such path."""
    return status_error(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(kind: Kind, name: str) -> StatusError:
    """409: an object of that name exists."""
    message = f'{kind.resource} "{name}" already exists'
    return status_error(409, "AlreadyExists", message, _of_resource(kind, name))


def generate_name_conflict(kind: Kind, name: str) -> StatusError:
    """409: every name generated from `generateName` was taken."""
    message = (
        f'{kind.resource} "{name}" already exists, the server was not able to generate a unique name '
        "for the object"
    )
    details = {**_of_resource(kind, name), "retryAfterSeconds": 1}
    return status_error(409, "AlreadyExists", message, details)


OBJECT_MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def conflict(kind: Kind, name: str, why: str = OBJECT_MODIFIED) -> StatusError:
    """409: the object is not what the caller thinks it is."""
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return status_error(409, "Conflict", message, _of_resource(kind, name))


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> StatusError:
    """422: fields of the object are wrong. Many causes are listed in brackets, each once."""
    details: Object = {"name": name} if name else {}
    if kind.group:
        details["group"] = kind.group
    details["kind"] = kind.kind
    details["causes"] = [
        {"reason": each.reason, "message": each.message, "field": each.field} for each in causes
    ]
    message = f'{kind.kind}{_group_suffix(kind)} "{name}" is invalid: {_aggregate(causes)}'
    return status_error(422, "Invalid", message, details)


def forbidden(kind: Kind, name: str, why: str) -> StatusError:
    """403: the caller may not do that."""
    subject = f'{kind.resource} "{name}"' if name else kind.resource
    message = f"{subject} is forbidden: {why}"
    return status_error(403, "Forbidden", message, _of_resource(kind, name))


def unauthorized(why: str = "Unauthorized") -> StatusError:
    """401: the caller is not known."""
    return status_error(401, "Unauthorized", why)


def bad_request(message: str) -> StatusError:
    """400: the request cannot be understood."""
    return status_error(400, "BadRequest", message)


def not_decodable(kind: Kind, why: str) -> StatusError:
    """400: the body is not an object of this kind; `why` is from `schema` or a strict decoding error."""
    message = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}'
    return bad_request(message)


def method_not_supported(kind: Kind, verb: str) -> StatusError:
    """405: this resource does not know the verb."""
    message = f'{verb} is not supported on resources of kind "{kind.resource}"'
    return status_error(405, "MethodNotAllowed", message, _of_resource(kind, ""))


def method_not_allowed() -> StatusError:
    """405: this path, which is no resource's, does not know the method."""
    message = "the server does not allow this method on the requested resource"
    return status_error(405, "MethodNotAllowed", message)


def uri_too_long(limit: int) -> StatusError:
    """414: the request's URL is longer than is read."""
    return status_error(414, "", f"the request's URL is longer than {limit} bytes")


def header_too_large(limit: int) -> StatusError:
    """431: a field of the request's header is longer than is read."""
    return status_error(431, "", f"a field of the request's header is longer than {limit} bytes")


def not_acceptable(accepted: Iterable[str]) -> StatusError:
    """406: none of the media types asked for can be produced."""
    return unacceptable(f"only the following media types are accepted: {', '.join(accepted)}")


def unacceptable(why: str) -> StatusError:
    """406: what was asked for cannot be made of this answer."""
    return status_error(406, "NotAcceptable", why)


def unsupported_media_type(accepted: Iterable[str]) -> StatusError:
    """415: the body's media type is not understood."""
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(accepted)}"
    )
    return status_error(415, "UnsupportedMediaType", message)


def too_large(message: str) -> StatusError:
    """413: the body is too big."""
    text = f"Request entity is too large: {message}"
    return status_error(413, "RequestEntityTooLarge", text)


def expired(message: str) -> StatusError:
    """410: the version or continue token asked for has been compacted away; list again."""
    return status_error(410, "Expired", message)


def resource_version_too_old(wanted: int, oldest: int) -> StatusError:
    """410: a watch asked for a version older than the log holds."""
    return expired(f"too old resource version: {wanted} ({oldest})")


def too_many_requests(message: str, retry_after_seconds: int = 1) -> StatusError:
    """429: try again later, and when, unless that is 0."""
    details = {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else {}
    return status_error(429, "TooManyRequests", message, details)


def internal_error(why: str) -> StatusError:
    """500: a fault of the server's own."""
    details: Object = {"causes": [{"message": why}]}
    return status_error(500, "InternalError", f"Internal error occurred: {why}", details)


def service_unavailable(why: str) -> StatusError:
    """503: a part that the request needs does not answer."""
    return status_error(503, "ServiceUnavailable", why)


def timeout(message: str, retry_after_seconds: int = 0) -> StatusError:
    """504: the request could not be completed in time."""
    details = {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else None
    return status_error(504, "Timeout", f"Timeout: {message}", details)


def _of_resource(kind: Kind, name: str) -> Object:
    details: Object = {}
    if name:
        details["name"] = name
    if kind.group:
        details["group"] = kind.group
    details["kind"] = kind.plural
    return details


def _group_suffix(kind: Kind) -> str:
    return f".{kind.group}" if kind.group else ""


def _aggregate(causes: Sequence[Cause]) -> str:
    texts = list(dict.fromkeys(str(each) for each in causes))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
