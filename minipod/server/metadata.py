"""ObjectMeta's server side: what a client may not choose, and what it may not change."""

import os
import secrets
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from minipod.api import equality, field
from minipod.api.errors import bad_request, conflict, invalid
from minipod.api.kind import Kind
from minipod.api.names import GENERATED_SUFFIX_ALPHABET, GENERATED_SUFFIX_LENGTH, generated
from minipod.client import Object

# what the server alone decides, carried over from version to version
_KEPT = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_DROPPED = ("selfLink", *_KEPT)


def timestamp(moment: datetime) -> str:
    """Return metav1.Time's form: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=4)
def _timestamp_of(second: int) -> str:
    return timestamp(datetime.fromtimestamp(second, UTC))


def present() -> str:
    """Return the present as metav1.Time; most writes share their second with the one before."""
    return _timestamp_of(int(time.time()))


class _Uids:
    """Random UUIDs (RFC 9562, version 4), from the kernel's randomness taken a page at a time.

    A system call for each would let the writer thread in between, in the middle of every create.
    """

    def __init__(self) -> None:
        self._left = b""

    def new(self) -> str:
        if len(self._left) < 16:
            self._left = os.urandom(4096)
        taken, self._left = self._left[:16], self._left[16:]
        return str(uuid.UUID(bytes=taken, version=4))


_uids = _Uids()


def parse_timestamp(text: str) -> datetime:
    """Return the moment of a metav1.Time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def shifted(text: str, seconds: int) -> str:
    """Return a metav1.Time `seconds` later."""
    return timestamp(parse_timestamp(text) + timedelta(seconds=seconds))


def generate_name(prefix: str) -> str:
    """Return a name that starts with (as much as fits of) `prefix`."""
    suffix = "".join(
        secrets.choice(GENERATED_SUFFIX_ALPHABET) for _ in range(GENERATED_SUFFIX_LENGTH)
    )
    return generated(prefix, suffix)


def prepare_new(kind: Kind, obj: Object, now: datetime) -> None:
    """Give a new object its identity. Raises BadRequest when it claims a version."""
    given = obj["metadata"]
    if given.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    if not given.get("name") and given.get("generateName"):
        given["name"] = generate_name(given["generateName"])
    for name in (*_DROPPED, "resourceVersion"):
        given.pop(name, None)
    metadata: Object = {"name": given.pop("name", "")}
    metadata.update(given)
    metadata["uid"] = _uids.new()
    metadata["creationTimestamp"] = timestamp(now)
    if kind.generation:
        metadata["generation"] = 1
    obj["metadata"] = metadata
    if kind.has_status and kind.resource != "nodes":  # a node reports what it is as it registers
        obj.pop("status", None)


def carry_over(kind: Kind, new: Object, old: Object) -> None:
    """Keep what only the server changes. Raises Conflict when the body speaks of another object."""
    given, kept = new["metadata"], old["metadata"]
    if given.get("uid") and given["uid"] != kept["uid"]:
        raise uid_conflict(kind, kept["name"], given["uid"], kept["uid"])
    for name in _DROPPED:
        given.pop(name, None)
    given.update({name: kept[name] for name in _KEPT if name in kept})
    given["resourceVersion"] = kept["resourceVersion"]


def bump_generation(kind: Kind, new: Object, old: Object) -> None:
    """Count a spec that changed in its meaning."""
    if kind.generation and not equality.equal(new.get("spec"), old.get("spec")):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def check_version(kind: Kind, given: str, old: Object) -> None:
    """Refuse a change of any version but the newest, when the caller names one. Raises Conflict."""
    if given and given != old["metadata"]["resourceVersion"]:
        raise conflict(kind, old["metadata"]["name"])


def require_version(kind: Kind, given: Object) -> None:
    """Refuse an update that does not say of which version it is the next. Raises Invalid."""
    if not given["metadata"].get("resourceVersion"):
        why = "must be specified for an update"
        causes = [field.invalid("metadata.resourceVersion", 0, why)]
        raise invalid(kind, given["metadata"]["name"], causes)


def anew(kind: Kind, given: Object) -> Object:
    """Return an update's object as a new one, in place. Raises Conflict when it means one that is gone."""
    found = given["metadata"]
    if found.get("uid"):
        raise uid_conflict(kind, found["name"], found["uid"], "")
    found.pop("resourceVersion", None)
    return given


def check_preconditions(kind: Kind, uid: str, resource_version: str, old: Object) -> None:
    """Refuse to delete another object, or another version, than the caller means. Raises Conflict."""
    found = old["metadata"]
    why = ""
    if uid and uid != found["uid"]:
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({found['uid']}). "
            "The object might have been deleted and then recreated"
        )
    elif resource_version and resource_version != found["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({resource_version}) does not match the ResourceVersion "
            f"in record ({found['resourceVersion']}). The object might have been modified"
        )
    if why:
        raise conflict(
            replace(kind, plural=kind.kind), found["name"], why
        )  # upstream names the kind


def uid_conflict(kind: Kind, name: str, wanted: str, found: str) -> Exception:
    """Return the answer to a caller who means an object of the same name that is gone."""
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    return conflict(kind, name, why)
