"""Query parameters and delete options, by their wire names. Everything malformed is a BadRequest that names it."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minipod.api import field
from minipod.api.errors import StatusError, bad_request, invalid, status_error
from minipod.api.field import Cause
from minipod.api.kind import Kind
from minipod.client import Object, Request


def flag(options: Mapping[str, str], name: str) -> bool:
    """Return a boolean parameter, as Go reads one: absent or "" is false, any other nonsense is refused."""
    value = options.get(name, "")
    if value in ("1", "t", "T", "true", "True", "TRUE"):
        return True
    if value in ("", "0", "f", "F", "false", "False", "FALSE"):
        return False
    raise bad_request(f'{name}: Invalid value: "{value}": must be true or false')


def number(options: Mapping[str, str], name: str) -> int | None:
    """Return a whole number, None when absent."""
    value = options.get(name, "")
    if not value:
        return None
    try:
        return int(value)
    except ValueError:
        raise bad_request(f'{name}: Invalid value: "{value}": must be a whole number') from None


def version(options: Mapping[str, str]) -> int:
    """Return `resourceVersion`; 0 when it is absent or "0", which both mean "any"."""
    value = options.get("resourceVersion", "")
    if not value:
        return 0
    if not value.isascii() or not value.isdigit() or len(value) > 19:
        raise bad_request(f'resourceVersion: Invalid value: "{value}": must be a resource version')
    return int(value)


MANAGER_LIMIT = 128  # bytes of a field manager's name, as upstream's
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")


def check_write(request: Request) -> None:
    """Refuse options of a create, update or patch that make no sense. Raises Invalid."""
    given, causes = request.options, _dry_run_causes(request.options)
    validation, manager = given.get("fieldValidation", ""), given.get("fieldManager", "")
    forced = flag(given, "force")
    if request.patch_type == "apply":
        if not manager:
            causes.append(field.required("fieldManager", "is required for apply patch"))
    elif forced:
        causes.append(field.forbidden("force", "may not be specified for non-apply patch"))
    if len(manager.encode()) > MANAGER_LIMIT:
        causes.append(field.too_long("fieldManager", MANAGER_LIMIT))
    if not manager.isprintable():
        why = "should only contain printable characters"
        causes.append(field.invalid("fieldManager", manager, why))
    if validation not in _VALIDATIONS:
        causes.append(field.not_supported("fieldValidation", validation, _VALIDATIONS))
    if causes:
        raise _invalid(f"{request.verb.capitalize()}Options", causes)


def _dry_run_causes(given: Mapping[str, str]) -> list[Cause]:
    value = given.get("dryRun", "")
    return [] if value in ("", "All") else [field.not_supported("dryRun", [value], ("All",))]


def _invalid(kind: str, causes: list[Cause]) -> StatusError:
    asked = Kind("meta.k8s.io", "v1", kind, kind.lower(), namespaced=False)
    return invalid(asked, "", causes)


def dry_run(options: Mapping[str, str]) -> bool:
    """Return whether nothing may be stored. Raises Invalid."""
    if causes := _dry_run_causes(options):
        raise _invalid("CreateOptions", causes)
    return options.get("dryRun") == "All"


def field_validation(options: Mapping[str, str]) -> str:
    """Return what to do about unknown and repeated fields: Ignore, Warn (the default) or Strict."""
    return options.get("fieldValidation", "") or "Warn"


@dataclass(frozen=True)
class DeleteOptions:
    """What a delete asks for. `grace` is in seconds, None for the object's own; `policy` is "" for the kind's."""

    grace: int | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False
    policy: str = ""


POLICIES = ("Foreground", "Background", "Orphan")


def delete_options(options: Mapping[str, str], body: Any) -> DeleteOptions:
    """Read delete options from the body, or from the query when there is none. Raises BadRequest, Invalid."""
    given = _delete_body(body)
    grace = given.get("gracePeriodSeconds", number(options, "gracePeriodSeconds"))
    policy = _policy(options, given)
    conditions = given.get("preconditions") or {}
    dry = given.get("dryRun") or ([options["dryRun"]] if options.get("dryRun") else [])
    if grace is not None and type(grace) is not int:
        raise bad_request(
            f"gracePeriodSeconds: Invalid value: {json.dumps(grace)}: must be a whole number"
        )
    if dry not in ([], ["All"]):
        raise _invalid("DeleteOptions", [field.not_supported("dryRun", dry, ("All",))])
    if not isinstance(conditions, dict):
        raise bad_request("preconditions: must be an object")
    return DeleteOptions(
        grace,
        str(conditions.get("uid") or ""),
        str(conditions.get("resourceVersion") or ""),
        bool(dry),
        policy,
    )


def _policy(options: Mapping[str, str], given: Object) -> str:
    """Return what becomes of dependents; `orphanDependents` is the old way to say it. Raises BadRequest, Invalid."""
    policy = given.get("propagationPolicy") or options.get("propagationPolicy") or ""
    orphan = given.get("orphanDependents")
    if orphan is None and "orphanDependents" in options:
        orphan = flag(options, "orphanDependents")
    causes: list[Cause] = []
    if policy and orphan is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(field.invalid("propagationPolicy", policy, why))
    if policy not in ("", *POLICIES):
        causes.append(field.not_supported("propagationPolicy", policy, (*POLICIES, "nil")))
    if causes:
        raise _invalid("DeleteOptions", causes)
    if orphan is not None and type(orphan) is not bool:
        raise bad_request(
            f"orphanDependents: Invalid value: {json.dumps(orphan)}: must be true or false"
        )
    return {None: policy, True: "Orphan", False: "Background"}[orphan]


def _delete_body(body: Any) -> Object:
    if not body:
        return {}
    if not isinstance(body, dict):
        raise bad_request("the body must be a DeleteOptions object")
    if body.get("kind", "DeleteOptions") != "DeleteOptions":
        raise bad_request(f"the body is a {json.dumps(body['kind'])}, a delete takes DeleteOptions")
    return body


def encode_token(revision: int, start: str) -> str:
    """Return an opaque continue token: the list's version and the key that the next page starts at."""
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_token(token: str) -> tuple[int, str]:
    """Return the version and start key of a continue token; version 0 where any will do. Raises BadRequest."""
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        revision, start = found["rv"], found["start"]
        if (
            type(revision) is not int
            or not isinstance(start, str)
            or revision == 0
            or revision < -1
        ):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise bad_request("continue key is not valid") from None
    return max(revision, 0), start


def inconsistent_token(token: str) -> str:
    """Return the token that goes on from the same place, in whatever is there by then."""
    _, start = decode_token(token)
    return encode_token(-1, start)


def too_large_version(wanted: int, current: int) -> StatusError:
    """Return the answer to a version that does not exist yet (its client talked to another store)."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return status_error(504, "Timeout", message, details)
