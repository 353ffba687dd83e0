"""get, list and the beginning of a watch."""

import asyncio
import random
from collections.abc import Callable, Mapping

from minipod.api import field
from minipod.api.errors import (
    StatusError,
    bad_request,
    expired,
    invalid,
    not_found,
    resource_version_too_old,
)
from minipod.api.field import Cause
from minipod.api.kind import Kind
from minipod.client import Object, Request
from minipod.server import keys, options, wire
from minipod.server.answers import Many, One
from minipod.server.conversion import presented
from minipod.server.selection import Selection, SharedDecoder, select
from minipod.server.watching import Initial, ResourceWatch, WatchPlan
from minipod.store import Compacted, Entry, Page, Store

_VERSION_EXPIRED = "The resourceVersion for the provided list is too old."
_LIST_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list "
    "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
    "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
    "modified, or deleted between the time the first chunk was returned and now may show up in the list."
)
_LIST_OPTIONS = Kind("meta.k8s.io", "v1", "ListOptions", "listoptions", namespaced=False)
WATCH_SECONDS = (
    1800.0  # a watch without timeoutSeconds lasts this long to twice as long, as upstream's
)


class Reader:
    """The reading verbs over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decoder = SharedDecoder()

    def get(self, request: Request, kind: Kind) -> One:
        """Return one object. Raises NotFound."""
        if kind.computed:
            return self.get_computed(request, kind, _all_of(kind))
        entry = self._store.get(keys.object_key(kind, request.namespace, request.name))
        if entry is None:
            raise not_found(kind, request.name)
        self._check_not_ahead(options.version(request.options))
        return One(presented(kind, entry.value), kind)

    def list_objects(self, request: Request, kind: Kind) -> Many:
        """Return the selected objects, paged by `limit` and `continue`. Raises BadRequest, Expired."""
        selection = select(kind, request)
        if kind.computed:
            return self._computed(kind, selection, _all_of(kind))
        at, start = self._list_position(request)
        limit = max(options.number(request.options, "limit") or 0, 0)  # less than one is none
        try:
            if selection.single:
                page = self._single(selection, at)
                return Many(kind, _values(kind, page.entries), page.revision)
            if selection.selected is None:
                page = self._store.list(selection.prefix, start=start, limit=limit, at=at)
                return self._page(kind, page, _values(kind, page.entries))
            return self._selected(selection, start, limit, at)
        except Compacted as error:
            raise _list_expired(request) from error

    def watch(self, request: Request, kind: Kind) -> ResourceWatch:
        """Return a watch. Raises BadRequest, and Expired when its version is no longer kept."""
        selection = select(kind, request)
        since = options.version(request.options)
        self._check_not_ahead(since)
        initial = _initial(request, since)
        if initial is Initial.NOTHING and not since:
            since = self._store.revision
        bookmarks = options.flag(request.options, "allowWatchBookmarks")
        seconds = options.number(request.options, "timeoutSeconds")
        patience = float(seconds) if seconds else WATCH_SECONDS * (1 + random.random())
        plan = WatchPlan(
            selection, initial, bookmarks, asyncio.get_running_loop().time() + patience
        )
        if initial is not Initial.NOTHING:
            page = self._matching(selection)
            watch = self._store.watch(selection.prefix, page.revision, early=request.early)
            return ResourceWatch(plan, watch, self._decoder, page.entries)
        try:
            watch = self._store.watch(selection.prefix, since, early=request.early)
        except Compacted as error:
            raise resource_version_too_old(since, error.oldest) from error
        return ResourceWatch(plan, watch, self._decoder, [])

    def matching(self, request: Request, kind: Kind) -> list[Entry]:
        """Return the entries that a request selects, all of them, as they are now."""
        return self._matching(select(kind, request)).entries

    def _matching(self, selection: Selection) -> Page:
        if selection.single:
            entry = self._store.get(selection.prefix)
            page = Page([entry] if entry else [], self._store.revision)
        else:
            page = self._store.list(selection.prefix)
        if selection.selected is None:
            return page
        return Page(_filter(selection.selected, page.entries), page.revision)

    def get_computed(self, request: Request, kind: Kind, objects: list[Object]) -> One:
        """Return one of objects that nobody stores. Raises NotFound."""
        for each in objects:
            found = each["metadata"]
            if (found.get("namespace", ""), found["name"]) == (request.namespace, request.name):
                return One(wire.encode(each), kind)
        raise not_found(kind, request.name)

    def list_computed(self, request: Request, kind: Kind, objects: list[Object]) -> Many:
        """Return the selected ones of objects that nobody stores. Raises BadRequest."""
        namespace = request.namespace
        there = [o for o in objects if namespace in ("", o["metadata"].get("namespace", ""))]
        return self._computed(kind, select(kind, request), there)

    def _computed(self, kind: Kind, selection: Selection, objects: list[Object]) -> Many:
        chosen = selection.selected
        found = [wire.encode(each) for each in objects if chosen is None or chosen(each)]
        return Many(kind, found, self._store.revision)

    def _single(self, selection: Selection, at: int) -> Page:
        """Return the one object that is selected, as it was at a version (0: as it is)."""
        if not at:
            return self._matching(selection)
        page = self._store.list(selection.prefix, at=at)
        entries = [entry for entry in page.entries if entry.key == selection.prefix]
        if selection.selected is not None:
            entries = _filter(selection.selected, entries)
        return Page(entries, page.revision)

    def _selected(self, selection: Selection, start: str, limit: int, at: int) -> Many:
        """Filter all of one moment, then cut the page: `limit` counts selected objects."""
        page = self._store.list(selection.prefix, start=start, at=at)
        assert selection.selected is not None
        found = _filter(selection.selected, page.entries)
        if not limit or len(found) <= limit:
            return Many(selection.kind, _values(selection.kind, found), page.revision)
        token = options.encode_token(page.revision, found[limit].key)
        items = _values(selection.kind, found[:limit])
        return Many(
            selection.kind, items, page.revision, token
        )  # upstream does not count on either

    def _page(self, kind: Kind, page: Page, items: list[bytes]) -> Many:
        token = options.encode_token(page.revision, page.next_key) if page.next_key else ""
        return Many(kind, items, page.revision, token, page.remaining)

    def _list_position(self, request: Request) -> tuple[int, str]:
        """Return the version to read at (0: the newest) and the key to start from."""
        token = request.options.get("continue", "")
        version = options.version(request.options)
        check_list_options(request.options)
        if token:
            at, start = options.decode_token(token)
            self._check_not_ahead(at)
            return at, start
        self._check_not_ahead(version)
        exact = request.options.get("resourceVersionMatch") == "Exact"
        return (version if exact else 0), ""

    def _check_not_ahead(self, version: int) -> None:
        if version > self._store.revision:
            raise options.too_large_version(version, self._store.revision)


def _all_of(kind: Kind) -> list[Object]:
    return kind.hooks.computed() if kind.hooks.computed else []


def _values(kind: Kind, entries: list[Entry]) -> list[bytes]:
    return [presented(kind, entry.value) for entry in entries]


def _filter(selected: Callable[[Object], bool], entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if selected(wire.decode(entry.value))]


def _list_expired(request: Request) -> StatusError:
    """A page that is too old is told where to go on, if inconsistently; an exact version is not."""
    token = request.options.get("continue", "")
    if not token:
        return expired(_VERSION_EXPIRED)
    refused = expired(_LIST_EXPIRED)
    refused.status["metadata"] = {"continue": options.inconsistent_token(token)}
    return refused


def check_list_options(given: Mapping[str, str]) -> None:
    """Refuse versions and matches that do not go together (ValidateListOptions). Raises Invalid, BadRequest."""
    version, match = given.get("resourceVersion", ""), given.get("resourceVersionMatch", "")
    causes: list[Cause] = []
    if match and not version:
        why = "is forbidden unless resourceVersion is provided"
        causes.append(_forbidden("resourceVersionMatch", why))
    if match and given.get("continue"):
        causes.append(_forbidden("resourceVersionMatch", "is forbidden when continue is provided"))
    if match and match not in _MATCHES:
        causes.append(field.not_supported("resourceVersionMatch", match, _MATCHES))
    if match == "Exact" and version == "0":
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        causes.append(field.forbidden("resourceVersionMatch", why))
    if given.get("sendInitialEvents"):
        causes.append(_forbidden("sendInitialEvents", "is forbidden for list"))
    if causes:
        raise invalid(_LIST_OPTIONS, "", causes)
    if given.get("continue") and version not in ("", "0"):
        raise bad_request("specifying resource version is not allowed when using continue")


_MATCHES = ("Exact", "NotOlderThan", "")


def _forbidden(name: str, why: str) -> Cause:
    return field.forbidden(name, f"{name} {why}")


def check_watch_options(given: Mapping[str, str]) -> None:
    """Refuse what makes no sense for a watch (KEP-3157). Raises Invalid."""
    match, initial = given.get("resourceVersionMatch", ""), given.get("sendInitialEvents", "")
    causes: list[Cause] = []
    if initial and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(field.forbidden("resourceVersionMatch", why))
    if match and not initial:
        why = "is forbidden for watch unless sendInitialEvents is provided"
        causes.append(_forbidden("resourceVersionMatch", why))
    if match and match != "NotOlderThan":
        causes.append(field.not_supported("resourceVersionMatch", match, ("NotOlderThan",)))
    if match and given.get("continue"):
        causes.append(_forbidden("resourceVersionMatch", "is forbidden when continue is provided"))
    if causes:
        raise invalid(_LIST_OPTIONS, "", causes)


def _initial(request: Request, since: int) -> Initial:
    """Return what a watch begins with (KEP-3157 for `sendInitialEvents`)."""
    check_watch_options(request.options)
    if options.flag(request.options, "sendInitialEvents"):
        return Initial.OBJECTS_AND_BOOKMARK
    return Initial.NOTHING if since or request.options.get("sendInitialEvents") else Initial.OBJECTS
