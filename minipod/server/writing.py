"""create, update and patch: read the newest version, compute the next, swap it in if nobody was faster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from minipod.api import defaults, pod_parts, validation
from minipod.api import warnings as api_warnings
from minipod.api.errors import (
    StatusError,
    already_exists,
    bad_request,
    conflict,
    generate_name_conflict,
    invalid,
    not_found,
)
from minipod.api.kind import Kind
from minipod.api.kinds import stored_kind
from minipod.client import Object, Request
from minipod.server import field_managers, keys, metadata, node_restriction, options, wire
from minipod.server.admission import Admission
from minipod.server.answers import One
from minipod.server.conversion import from_stored, presented, to_stored
from minipod.server.decoding import decode_object, parsed
from minipod.server.escalation import EscalationGuard
from minipod.server.patching import apply_patch
from minipod.server.pod_presets import admit_presets
from minipod.server.service_addresses import Allocation, ServiceAddresses
from minipod.server.signing_requests import SigningGuard
from minipod.store import Conflict, Entry, Store

_NAME_ATTEMPTS = 8  # as upstream's for generateName
_SWAP_ATTEMPTS = 50  # a patch meets at most as many faster writers before it gives up
Change = Callable[[Object, list[str]], Object]


class Writer:
    """The writing verbs over a store, apart from deletion (which `finish` hands finalized objects to)."""

    def __init__(
        self,
        store: Store,
        admission: Admission,
        escalation: EscalationGuard,
        signing: SigningGuard,
    ) -> None:
        self._store = store
        self._admission = admission
        self._addresses = ServiceAddresses(admission.view)
        self._escalation = escalation
        self._signing = signing
        self.on_preset_conflict: Callable[[Object, str], None] = lambda pod, message: None

    async def create(self, request: Request, kind: Kind) -> One:
        """Store a new object. Raises AlreadyExists, Invalid, Forbidden, NotFound, BadRequest."""
        warnings: list[str] = []
        options.check_write(request)
        given = self._decode_new(request, kind, warnings)
        return await self._create(request, kind, given, warnings)

    async def update(self, request: Request, kind: Kind) -> One:
        """Replace an object, or with subresource "status" its status. Raises Conflict, NotFound, Invalid."""
        told: list[str] = []
        options.check_write(request)
        given = decode_object(kind, request.body, request, told)

        def replace(old: Object, warnings: list[str]) -> Object:
            if not kind.unconditional_update:
                metadata.require_version(kind, given)
            warnings += told
            made: Object = wire.copy(given)
            return made

        if not kind.create_on_update:
            return await self._change(request, kind, replace)
        return await self._change_or_create(
            request, kind, replace, lambda: metadata.anew(kind, wire.copy(given)), told
        )

    async def patch(self, request: Request, kind: Kind) -> One:
        """Change parts of an object or of its status. Raises as `update` does, and BadRequest."""
        options.check_write(request)
        patch_type = request.patch_type
        if patch_type == "apply":
            return await self._apply(request, kind)
        if patch_type is None:
            raise bad_request("a patch has a type")

        def patched(old: Object, warnings: list[str]) -> Object:
            made = apply_patch(kind, patch_type, old, wire.copy(parsed(request.body).value))
            return decode_object(kind, made, request, warnings)

        return await self._change(request, kind, patched)

    async def _apply(self, request: Request, kind: Kind) -> One:
        """Apply a configuration by its field manager's name; it makes what is not there."""
        told: list[str] = []
        config = field_managers.decode_config(kind, request, told)

        def applied(old: Object, warnings: list[str]) -> Object:
            warnings += told
            made: Object = wire.copy(field_managers.apply_to(request, kind, old, config))
            return made

        return await self._change_or_create(
            request,
            kind,
            applied,
            lambda: wire.copy(field_managers.apply_new(request, kind, config)),
            told,
        )

    async def _change_or_create(
        self,
        request: Request,
        kind: Kind,
        change: Change,
        make: Callable[[], Object],
        told: list[str],
    ) -> One:
        """Change an object, or make it where it is not there and the caller may create it."""
        for _ in range(_SWAP_ATTEMPTS):
            try:
                return await self._change(request, kind, change)
            except StatusError as error:
                if error.reason != "NotFound" or request.subresource:
                    raise
            self._escalation.check_creation(request)
            made = make()
            try:
                return await self._create(request, kind, _as_stored(kind, made), list(told))
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
        raise conflict(kind, request.name)

    async def _create(
        self, request: Request, asked: Kind, given: Object, warnings: list[str]
    ) -> One:
        """Store a new object, in its stored form already; a generated name that is taken is generated again."""
        kind, told = stored_kind(asked), len(warnings)
        generated = not given["metadata"].get("name") and given["metadata"].get("generateName")
        for _ in range(_NAME_ATTEMPTS if generated else 1):
            obj = wire.copy(given) if generated else given  # much may follow from the name
            del warnings[told:]
            metadata.prepare_new(kind, obj, datetime.now(UTC))
            try:
                with self._allocating(kind) as allocation:
                    conflict = self._admit_new(request, kind, obj, warnings, allocation)
                    self._escalation.check(request, kind, obj, None)
                    node_restriction.check_create(request, kind, obj)
                    self._signing.check_create(kind, obj)
                    with self._admission.within_quota(kind, obj):
                        value = await self._store_new(request, kind, obj)
                if conflict and not options.dry_run(request.options):
                    self.on_preset_conflict(obj, conflict)
                return One(presented(asked, value), asked, 201, tuple(warnings))
            except Conflict:
                continue
        if generated:
            raise generate_name_conflict(kind, obj["metadata"]["name"])
        raise already_exists(kind, obj["metadata"]["name"])

    async def transform(
        self,
        request: Request,
        kind: Kind,
        compute: Callable[[Object], Object | None],
        *,
        announce: bool = False,
    ) -> Entry:
        """Swap in `compute(newest)`, computed again when somebody was faster.

        None leaves it as it is, unless its value on the disk is that of a key that was replaced. `announce` has it told
        to early watches before it is durable.
        """
        key = keys.object_key(kind, request.namespace, request.name)
        for _ in range(_SWAP_ATTEMPTS):
            entry = self._entry(kind, key, request.name)
            made = compute(wire.stored(entry))
            if made is None and self._store.stale(key):  # written again, with the key of today
                made = wire.stored(entry)
            if made is None or options.dry_run(request.options):
                return entry if made is None else Entry(key, entry.revision, wire.encode(made))
            try:
                return await self.swap(entry, made, announce=announce)
            except Conflict:
                continue
        raise conflict(kind, request.name)

    async def swap(self, entry: Entry, made: Object, *, announce: bool = False) -> Entry:
        """Write the next version of `entry`, or remove it when its deletion waited for this. Raises Conflict."""

        def encode(revision: int) -> bytes:
            return wire.with_version(made, revision)

        if _is_finished(made):
            return await self._store.delete(entry.key, encode, expected=entry.revision)
        return await self._store.put(entry.key, encode, expected=entry.revision, announce=announce)

    async def _change(self, request: Request, kind: Kind, change: Change) -> One:
        warnings: list[str] = []
        entry = await self.rewrite(request, kind, change, warnings)
        return One(presented(kind, entry.value), kind, 200, tuple(warnings))

    async def rewrite(
        self, request: Request, kind: Kind, change: Change, warnings: list[str]
    ) -> Entry:
        """Swap in what `change` makes of the newest version, judged as any update. Raises as `update` does."""

        def compute(old: Object) -> Object | None:
            warnings.clear()
            if kind.stored_as is None:
                new = change(old, warnings)
                return self._next(request, kind, new, old, warnings, allocation)
            before = from_stored(kind, wire.copy(old))
            new = change(wire.copy(before), warnings)
            defaults.apply_defaults(kind, new)
            causes = validation.validate_form_update(kind, new, before)
            if causes:
                raise invalid(stored_kind(kind), request.name, causes)
            return self._next(
                request, stored_kind(kind), to_stored(kind, new), old, warnings, allocation
            )

        with self._allocating(kind) as allocation:
            return await self.transform(request, kind, compute)

    @contextmanager
    def _allocating(self, kind: Kind) -> Iterator[Allocation | None]:
        """Hold what is allocated for a Service while it is written; other kinds need nothing."""
        if kind.resource != "services":
            yield None
            return
        allocation = self._addresses.open()
        try:
            yield allocation
        finally:
            allocation.close()

    def _next(
        self,
        request: Request,
        kind: Kind,
        new: Object,
        old: Object,
        warnings: list[str],
        allocation: Allocation | None,
    ) -> Object | None:
        """Return the version that follows `old`, None when nothing changes. Raises Conflict, Invalid."""
        metadata.check_version(kind, new["metadata"].get("resourceVersion") or "", old)
        metadata.carry_over(kind, new, old)
        if request.subresource in ("status", "approval"):
            new = _with_status(kind, new, old)
            defaults.complete(kind, new)
            self._signing.prepare(request, kind, new, old)
            field_managers.track(request, kind, new, old)
            kind.hooks.prepare_status_update(new, old)
            causes = validation.validate_status_update(kind, new, old)
            causes += self._signing.judge(request, kind, new, old)
        elif request.subresource in pod_parts.PARTS:
            part = pod_parts.PARTS[request.subresource]
            new = pod_parts.with_part(part, new, old)
            defaults.apply_defaults(kind, new)
            field_managers.track(request, kind, new, old)
            metadata.bump_generation(kind, new, old)
            causes = list(part.validate(new, old))
        else:
            _keep_status(kind, new, old)
            defaults.apply_defaults(kind, new)
            field_managers.track(request, kind, new, old)
            kind.hooks.prepare_update(new, old)
            if allocation is not None:
                allocation.allocate(kind, new, old)
            metadata.bump_generation(kind, new, old)
            causes = validation.validate_update(kind, new, old)
        if causes:
            raise invalid(kind, old["metadata"]["name"], causes)
        if field_managers.changes_nothing(new, old):
            return None
        self._escalation.check(request, kind, new, old)
        node_restriction.check_change(request, kind, new, old)
        self._signing.check_change(request, kind, new, old)
        self._admission.check_change(kind, new, old, request.subresource, warnings)
        if request.subresource == "status":
            warnings += kind.hooks.status_warnings(new)
        elif request.subresource != "approval":
            warnings += api_warnings.of_change(kind, new, old)
        return new

    def _decode_new(self, request: Request, kind: Kind, warnings: list[str]) -> Object:
        """Return the body as it is stored."""
        return _as_stored(kind, decode_object(kind, request.body, request, warnings))

    def _admit_new(
        self,
        request: Request,
        kind: Kind,
        obj: Object,
        warnings: list[str],
        allocation: Allocation | None,
    ) -> str:
        """Default, admit and validate in upstream's order; changes `obj` in place. Return a conflict of PodPresets."""
        conflict = ""
        self._admission.check_create(kind, obj)
        defaults.apply_defaults(kind, obj)
        field_managers.track(request, kind, obj, None)
        if kind.resource == "pods":
            conflict = admit_presets(self._store, obj)
            warnings += [conflict] if conflict else []
        self._admission.complete(kind, obj)
        kind.hooks.prepare_create(obj)
        self._signing.complete(request, kind, obj)
        if allocation is not None:
            allocation.allocate(kind, obj, None)
        warnings += api_warnings.of_new(kind, obj)
        causes = validation.validate_create(kind, obj)
        if causes:
            raise invalid(kind, obj["metadata"]["name"], causes)
        self._admission.check_new(kind, obj, warnings)
        return conflict

    async def _store_new(self, request: Request, kind: Kind, obj: Object) -> bytes:
        name = obj["metadata"]["name"]
        key = keys.object_key(kind, request.namespace, name)
        if options.dry_run(request.options):
            if self._store.get(key) is not None:
                raise Conflict(key, 0, 1)
            return wire.encode(obj)
        entry = await self._store.put(
            key,
            lambda revision: wire.with_version(obj, revision),
            expected=0,
            guard=self._admission.guard(kind, obj),
        )
        return entry.value

    def _entry(self, kind: Kind, key: str, name: str) -> Entry:
        entry = self._store.get(key)
        if entry is None:
            raise not_found(kind, name)
        return entry


def _as_stored(kind: Kind, obj: Object) -> Object:
    """Return a new object as it is stored; a version that is not stored defaults and judges its own form first."""
    if kind.stored_as is None:
        return obj
    defaults.apply_defaults(kind, obj)
    causes = kind.hooks.validate_create(obj)
    if causes:
        raise invalid(stored_kind(kind), obj["metadata"].get("name") or "", causes)
    return to_stored(kind, obj)


def _with_status(kind: Kind, given: Object, old: Object) -> Object:
    """Return `old` with a new status, and with what else of it a status update may change: annotations and labels."""
    new = {**old, "metadata": {**old["metadata"]}}
    if "managedFields" in given["metadata"]:
        new["metadata"]["managedFields"] = given["metadata"]["managedFields"]
    for name in ("annotations",) if kind.group else ("annotations", "labels"):
        new["metadata"].pop(name, None)
        if given["metadata"].get(name):
            new["metadata"][name] = given["metadata"][name]
    new.pop("status", None)
    if "status" in given:
        new["status"] = given["status"]
    return new


def _keep_status(kind: Kind, new: Object, old: Object) -> None:
    """An update of the object leaves its status alone."""
    if not kind.has_status:
        return
    new.pop("status", None)
    if "status" in old:
        new["status"] = old["status"]


def _is_finished(obj: Object) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    found = obj["metadata"]
    if not found.get("deletionTimestamp") or found.get("finalizers"):
        return False
    if obj["kind"] == "Namespace" and (obj.get("spec") or {}).get("finalizers"):
        return False
    return not found.get("deletionGracePeriodSeconds")
