"""metadata.managedFields: which manager set which fields, kept up to date by every write.

Semantics and wording of apimachinery's managedfields and structured-merge-diff's Updater. An update takes the fields
that it changes from everybody; an apply asks before it changes what others set, and removes what it set before, sets
no more, and nobody else holds.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from minipod.api.errors import StatusError, bad_request, status_error
from minipod.api.kind import Kind
from minipod.api.managed import fieldset
from minipod.api.managed.fieldset import Fields
from minipod.api.managed.shape import Shape, empty_object, shape_of
from minipod.api.managed.typed import (
    MergeError,
    compare,
    field_set,
    merge,
    remove,
    with_named,
)
from minipod.api.managed.versions import Change

Object = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
BEFORE_FIRST_APPLY = "before-first-apply"
ANCIENT_CHANGES = "ancient-changes"
MIGRATING_MANAGER = "kubectl"  # the one manager whose apply takes client-side apply's fields over
UPDATE_MANAGERS = 10  # entries of updates that are kept apart

# What no manager owns: identity, and what the server alone writes.
_STRIPPED: Fields = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        ".": {},
        "f:name": {},
        "f:namespace": {},
        "f:creationTimestamp": {},
        "f:selfLink": {},
        "f:uid": {},
        "f:clusterName": {},
        "f:generation": {},
        "f:managedFields": {},
        "f:resourceVersion": {},
    },
}
_STATUS: Fields = {"f:status": {}}


@dataclass(frozen=True)
class Writer:
    """Who writes: a manager's name, by which version and subresource of a kind, and when (metav1.Time)."""

    name: str
    kind: Kind
    subresource: str
    time: str

    def key(self, operation: str) -> "Key":
        """Return what this writer's entry is known by; an apply is the same by any version."""
        version = "" if operation == "Apply" else self.kind.api_version
        return Key(self.name, operation, version, self.subresource)


@dataclass(frozen=True)
class Key:
    """What tells two entries apart."""

    manager: str
    operation: str
    api_version: str
    subresource: str

    def __str__(self) -> str:
        text = json.dumps(self.manager, ensure_ascii=False)
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass
class Entry:
    """One manager's fields."""

    fields: Fields
    api_version: str
    time: str = ""


Managers = dict[Key, Entry]


class Conflicts(Exception):
    """An apply would change what others set."""

    def __init__(self, found: Mapping[Key, Fields]) -> None:
        super().__init__(f"{len(found)} managers")
        self.found = found


@dataclass
class Applied:
    """What an apply makes of an object; `managed` is the new metadata.managedFields."""

    obj: Object
    managed: list[Object] = field(default_factory=list)


# ---- entries as they are stored ----


def decode(entries: Any) -> Managers:
    """Return the managers of metadata.managedFields; none when any entry is malformed."""
    found: Managers = {}
    for each in entries or ():
        if not _is_entry(each):
            return {}
        operation, version = each["operation"], each.get("apiVersion") or ""
        key = Key(
            each.get("manager") or "",
            operation,
            "" if operation == "Apply" else version,
            each.get("subresource") or "",
        )
        entry = Entry(each.get("fieldsV1") or {}, version, each.get("time") or "")
        known = found.get(key)
        if known is not None:
            entry.fields = fieldset.union(known.fields, entry.fields)
        found[key] = entry
    return found


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.get("operation") not in ("Apply", "Update"):
        return False
    if entry.get("fieldsType", "FieldsV1") != "FieldsV1":
        return False
    return fieldset.is_well_formed(entry.get("fieldsV1") or {})


def encode(managers: Managers) -> list[Object]:
    """Return metadata.managedFields, in upstream's order."""
    ordered = sorted(managers.items(), key=_order)
    return [_encoded(key, entry) for key, entry in ordered if entry.fields]


def _order(item: tuple[Key, Entry]) -> tuple[str, str, str, str, str]:
    key, entry = item
    return key.operation, entry.time, key.manager, entry.api_version, key.subresource


def _encoded(key: Key, entry: Entry) -> Object:
    found: Object = {"manager": key.manager, "operation": key.operation}
    found["apiVersion"] = entry.api_version
    if entry.time:
        found["time"] = entry.time
    found["fieldsType"] = "FieldsV1"
    found["fieldsV1"] = entry.fields
    if key.subresource:
        found["subresource"] = key.subresource
    return found


def is_reset(entries: Any) -> bool:
    """Whether a client asks to forget all managers: an empty list, or one of a single empty entry."""
    return entries in ([], [{}])


def same_but_times(one: list[Object], other: list[Object]) -> bool:
    """Whether two lists of entries differ in nothing but when."""
    return _timeless(one) == _timeless(other)


def _timeless(entries: list[Object]) -> list[Object]:
    plain = ({name: value for name, value in each.items() if name != "time"} for each in entries)
    return sorted(plain, key=lambda each: (each["manager"], each["operation"], str(each)))


# ---- update ----


def update(
    writer: Writer, old: Object | None, new: Object, form: Kind | None = None
) -> list[Object]:
    """Return the managedFields of `new`, which replaces `old` (None: a new object).

    `form` is the kind that both are written as, where that is not the version that the writer speaks.
    """
    managers = _live_or_new(old, new, writer.subresource)
    change = Change(form or writer.kind, old, new, _ignored_by(writer), whole=True)
    with suppress(
        MergeError
    ):  # a list's elements may lack their keys: validation has more to say of it
        take_over(managers, writer, change)
    return encode(managers)


def _live_or_new(old: Object | None, new: Object, subresource: str) -> Managers:
    """Clients may write managedFields outright; those that know nothing of it leave it out, and change nothing."""
    live = old["metadata"].get("managedFields") if old is not None else None
    given = new["metadata"].get("managedFields")
    if subresource or given is None:
        return decode(live)
    if is_reset(given):
        return {}
    return decode(given) or decode(live)


def take_over(managers: Managers, writer: Writer, change: Change) -> None:
    """Give a writer the fields that it changed, in place; everybody else loses them. Raises MergeError."""
    mine = change.by(writer.kind.api_version)
    taken = fieldset.union(mine.added, mine.modified)
    for key, entry in list(managers.items()):
        _lose(entry, change)
        if not entry.fields:
            del managers[key]
    if not taken:
        return
    key = writer.key("Update")
    before = managers.get(key)
    fields = fieldset.union(before.fields, taken) if before else taken
    managers[key] = Entry(fields, writer.kind.api_version, writer.time)
    if len(managers) > UPDATE_MANAGERS:
        _cap(managers)


def _lose(entry: Entry, change: Change) -> None:
    """Take what changed from an entry, as its own version has it."""
    changes = change.by(entry.api_version)
    for fields in (changes.added, changes.modified, changes.removed):
        entry.fields = fieldset.difference(entry.fields, fields)


def _ignored_by(writer: Writer) -> Fields:
    return _ignored(writer.kind.has_status, writer.subresource)


@cache
def _ignored(has_status: bool, subresource: str) -> Fields:
    """Return what a writer's set never holds: upstream's stripped metadata, and the status or all but it."""
    metadata: Fields = {key: {} for key in _STRIPPED["f:metadata"] if key != fieldset.SELF}
    stripped = {"f:apiVersion": {}, "f:kind": {}, "f:metadata": metadata}
    if subresource == "status":
        return {**stripped, "f:spec": {}}
    return {**stripped, **_STATUS} if has_status else stripped


def _cap(managers: Managers) -> None:
    """Merge the oldest updates into one entry when there are too many."""
    updates = sorted(
        (key for key in managers if key.operation == "Update"),
        key=lambda key: (managers[key].time, key.manager),
    )
    if len(updates) <= UPDATE_MANAGERS:
        return
    for key in updates[: len(updates) - UPDATE_MANAGERS + 1]:
        entry = managers.pop(key)
        bucket = Key(ANCIENT_CHANGES, "Update", entry.api_version, "")
        known = managers.get(bucket)
        fields = fieldset.union(known.fields, entry.fields) if known else entry.fields
        managers[bucket] = Entry(fields, entry.api_version, entry.time)


# ---- apply ----


def apply(writer: Writer, live: Object | None, config: Object, *, force: bool) -> Applied:
    """Merge an applied configuration into the live object (None: it makes a new one).

    Raises StatusError: BadRequest for what cannot be merged, Conflict naming every field that others set.
    """
    shape = shape_of(writer.kind.schema_name)
    present = live if live is not None else empty_object(writer.kind.schema_name)
    try:
        try:
            made = _apply(writer, shape, present, config, force=force)
        except Conflicts as conflicts:
            if writer.name != MIGRATING_MANAGER or not _all_allowed(shape, present, conflicts):
                raise _conflict(conflicts) from None
            made = _apply(writer, shape, present, config, force=True)
    except MergeError as error:
        raise _not_typed(writer.kind, config, error) from error
    if writer.name == MIGRATING_MANAGER:
        _renew_last_applied(made.obj, config)
    return made


def _apply(writer: Writer, shape: Shape, live: Object, config: Object, *, force: bool) -> Applied:
    managers, key = decode(live.get("metadata", {}).get("managedFields")), writer.key("Apply")
    if not managers:
        managers = _before_first_apply(writer, live)
    last = managers.get(key)
    bare = {**live, "metadata": _unmanaged(live.get("metadata") or {})}
    merged = merge(shape, bare, config)
    ignored = _ignored_by(writer)
    mine = fieldset.without_all(field_set(shape, config), ignored)
    time = last.time if last else writer.time
    managers[key] = Entry(mine, writer.kind.api_version, time)
    if last is not None:
        merged = _prune(shape, merged, last.fields, managers)
    change = Change(writer.kind, bare, merged, _ignored_by(writer), whole=False)
    _take_applied(managers, key, change, force=force)
    changes = change.by(writer.kind.api_version)
    if key in managers and (changes.added or changes.modified or changes.removed):
        managers[key].time = writer.time
    return Applied(merged, encode(managers))


def _unmanaged(metadata: Object) -> Object:
    return {name: value for name, value in metadata.items() if name != "managedFields"}


def _before_first_apply(writer: Writer, live: Object) -> Managers:
    """What was there before anybody was tracked belongs to a manager of its own."""
    managers: Managers = {}
    empty = empty_object(writer.kind.schema_name)
    if live is not empty:
        before = Writer(BEFORE_FIRST_APPLY, writer.kind, writer.subresource, writer.time)
        change = Change(before.kind, None, live, _ignored_by(before), whole=True)
        take_over(managers, before, change)
    return managers


def _prune(shape: Shape, merged: Object, last: Fields, managers: Managers) -> Object:
    """Remove what this manager applied before, does not apply now, and nobody holds."""
    held: Fields = {}
    for entry in managers.values():
        held = fieldset.union(held, entry.fields)
    last, held = with_named(shape, last), with_named(shape, held)
    pruned: Object = remove(shape, merged, last, hollow=True) or {}
    there = with_named(shape, field_set(shape, merged))
    left = with_named(shape, field_set(shape, pruned))
    unowned = fieldset.difference(there, fieldset.union(left, held))
    pruned = remove(shape, merged, unowned, hollow=True) or {}
    left = with_named(shape, field_set(shape, pruned))
    gone = fieldset.intersection(fieldset.difference(there, left), last)
    kept: Object = remove(shape, merged, gone) or {}
    return kept


def _take_applied(managers: Managers, mine: Key, change: Change, *, force: bool) -> None:
    conflicts = {
        key: common
        for key, entry in managers.items()
        if key != mine and (common := fieldset.intersection(entry.fields, _set_by(change, entry)))
    }
    if conflicts and not force:
        raise Conflicts(conflicts)
    for key, entry in list(managers.items()):
        if key != mine:
            _lose(entry, change)
        if not entry.fields:
            del managers[key]


def _set_by(change: Change, entry: Entry) -> Fields:
    changes = change.by(entry.api_version)
    return fieldset.union(changes.added, changes.modified)


def _all_allowed(shape: Shape, live: Object, conflicts: Conflicts) -> bool:
    """Whether every conflict is about a field that client-side apply set and nobody changed since."""
    try:
        last = json.loads(live["metadata"]["annotations"][LAST_APPLIED])
        fields, changes = field_set(shape, last), compare(shape, last, live)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    for changed in (changes.modified, changes.added, changes.removed):
        fields = fieldset.difference(fields, changed)
    return not any(fieldset.difference(each, fields) for each in conflicts.found.values())


def _renew_last_applied(obj: Object, config: Object) -> None:
    """Keep client-side apply's annotation true where there is one, so that clients may go back to it."""
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    if LAST_APPLIED not in annotations:
        return
    metadata = dict(config.get("metadata") or {})
    metadata.pop("managedFields", None)
    kept = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != LAST_APPLIED}
    metadata["annotations"] = kept
    text = json.dumps(
        {**config, "metadata": metadata},
        separators=(",", ":"),
        sort_keys=True,
        ensure_ascii=False,
    )
    changed = {**annotations, LAST_APPLIED: text + "\n"}
    obj["metadata"] = {**obj["metadata"], "annotations": changed}


# ---- what callers are told ----


def _conflict(conflicts: Conflicts) -> StatusError:
    found = [
        (str(key), fieldset.path_text(path))
        for key, fields in sorted(conflicts.found.items(), key=lambda item: str(item[0]))
        for path in fieldset.paths(fields)
    ]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path}
        for who, path in found
    ]
    return status_error(409, "Conflict", _conflict_message(found), {"causes": causes})


def _conflict_message(found: list[tuple[str, str]]) -> str:
    if len(found) == 1:
        who, path = found[0]
        return f"Apply failed with 1 conflict: conflict with {who}: {path}"
    lines = []
    for who in dict.fromkeys(who for who, _ in found):
        lines.append(f"conflicts with {who}:")
        lines += [f"- {path}" for other, path in found if other == who]
    return f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)


def _not_typed(kind: Kind, config: Object, error: MergeError) -> StatusError:
    metadata = config.get("metadata") or {}
    where = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    version = kind.api_version if kind.group else f"/{kind.version}"
    return bad_request(
        f"failed to create typed patch object ({where}; {version}, Kind={kind.kind}): {error}"
    )
