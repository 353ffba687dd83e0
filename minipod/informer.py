"""A resource kept in memory: list, watch, list again when the watch can no longer follow.

`on_change(new, old)` is called on the event loop for every change, in order: `old` None for what is new, `new` None for
what is gone. A relist reports the differences, so that a handler sees every object appear and disappear exactly once,
though not every state between. Objects in `objects` are shared: read only.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator

from minipod.api.errors import StatusError
from minipod.client import Client, Object, ObjectList, WatchEvent
from minipod.clock import call_off

logger = logging.getLogger(__name__)

Key = tuple[str, str]  # namespace, name
OnChange = Callable[[Object | None, Object | None], None]

_FIRST_DELAY = 0.1  # seconds before the first retry of a failed list or watch
_LAST_DELAY = 5.0


def key_of(obj: Object) -> Key:
    """Return the namespace ("" for cluster-scoped) and name of an object."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _whole(obj: Object) -> Object:
    metadata = obj["metadata"]
    if "managedFields" not in metadata:
        return obj
    kept = {name: value for name, value in metadata.items() if name != "managedFields"}
    return {**obj, "metadata": kept}  # they are large, and nobody's concern here


class Informer:
    """One list and watch. `await start()` returns once the first list is in; `await stop()` ends it.

    `keep` says what of each object is kept and reported; its name and versions must be among it. `early`: see `Client`.
    """

    def __init__(
        self,
        client: Client,
        resource: str,
        on_change: OnChange,
        *,
        namespace: str = "",
        field_selector: str = "",
        keep: Callable[[Object], Object] = _whole,
        early: bool = False,
    ) -> None:
        self.objects: dict[Key, Object] = {}
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._on_change = on_change
        self._field_selector = field_selector
        self._kept = keep
        self._early = early
        self._version = ""
        self._task: asyncio.Task[None] | None = None
        self._synced = asyncio.Event()

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self.objects.values()))

    def get(self, namespace: str, name: str) -> Object | None:
        """Return an object, or None."""
        return self.objects.get((namespace, name))

    async def start(self) -> None:
        """List, report everything as new, then follow in the background."""
        self.begin()
        await self._synced.wait()

    def begin(self) -> None:
        """Do as `start`, without waiting for the first list."""
        self._task = asyncio.create_task(self._run(), name=f"informer {self._resource}")

    async def stop(self) -> None:
        """End the watch."""
        await call_off(self._task)
        self._task = None

    async def _run(self) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                if not self._version:
                    self._replace(await self._list())
                delay = _FIRST_DELAY
                await self._follow()
                continue
            except StatusError as error:
                if error.code == 410:
                    self._version = ""
                    continue
                logger.warning("watching %s: %s; trying again", self._resource, error)
            except (ConnectionError, OSError) as error:
                logger.warning("watching %s: %s; trying again", self._resource, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_DELAY)

    async def _list(self) -> ObjectList:
        return await self._client.list(
            self._resource, self._namespace, field_selector=self._field_selector
        )

    def _replace(self, found: ObjectList) -> None:
        fresh = {key_of(item): self._kept(item) for item in found.items}
        for key in self.objects.keys() - fresh.keys():
            self._forget(key)
        for key, item in fresh.items():
            self._keep(key, item)
        self._version = found.resource_version
        self._synced.set()

    async def _follow(self) -> None:
        watch = self._client.watch(
            self._resource,
            self._namespace,
            resource_version=self._version,
            field_selector=self._field_selector,
            early=self._early,
        )
        async for event in watch:
            self._apply(event)

    def _apply(self, event: WatchEvent) -> None:
        if event.type == "ERROR":
            raise StatusError(event.object)
        if event.type == "DELETED":
            self._forget(key_of(event.object), event.object)
        elif event.type != "BOOKMARK":
            self._keep(key_of(event.object), self._kept(event.object))
        if not event.early:
            self._version = event.object["metadata"].get("resourceVersion", self._version)

    def _keep(self, key: Key, item: Object) -> None:
        old = self.objects.get(key)
        if old and _version_of(old) == _version_of(item):
            return
        if old and old["metadata"].get("uid") != item["metadata"].get("uid"):
            self._forget(key)  # deleted and made again between two lists
            old = None
        self.objects[key] = item
        self._report(item, old)

    def _forget(self, key: Key, last: Object | None = None) -> None:
        old = self.objects.pop(key, None)
        if old is not None:
            self._report(None, last or old)

    def _report(self, new: Object | None, old: Object | None) -> None:
        try:
            self._on_change(new, old)
        except Exception:
            logger.exception("handling a change of %s", key_of(new or old or {"metadata": {}}))


def _version_of(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))
