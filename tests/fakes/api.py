"""An API server in a dictionary: enough of verbs, versions, watches and graceful deletion for node and controllers.

Requests are recorded in `requests`. A Pod with a node is only marked by a graceful delete, as upstream does.
"""

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

from minipod.api import kinds
from minipod.api.errors import StatusError, status_error
from minipod.api.patch.strategic import apply_strategic
from minipod.client import Client, Object, Request, WatchEvent
from minipod.clock import format_time
from tests.fakes.clock import FakeClock


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def _missing(request: Request) -> StatusError:
    return status_error(404, "NotFound", f'{request.resource} "{request.name}" not found')


class FakeApi:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.requests: list[Request] = []
        self.failures: list[StatusError] = []
        self._version = 0
        self._history: list[tuple[int, str, WatchEvent]] = []
        self._changed = asyncio.Event()

    def client(self) -> Client:
        return Client(self)

    def all(self, resource: str) -> list[Object]:
        return [obj for key, obj in self.objects.items() if key[0] == resource]

    def events(self) -> list[tuple[str, str]]:
        return [(each["reason"], each["message"]) for each in self.all("events")]

    # -- transport -------------------------------------------------------------------------------

    async def call(self, request: Request) -> Object:
        self.requests.append(request)
        if self.failures:
            raise self.failures.pop(0)
        await asyncio.sleep(0)
        return copy.deepcopy(getattr(self, f"_{request.verb}")(request))

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        version = int(request.options.get("resourceVersion") or 0)
        while True:
            for at, resource, event in list(self._history):
                if (
                    at > version
                    and resource == request.resource
                    and _selected(request, event.object)
                ):
                    version = at
                    yield copy.deepcopy(event)
            self._changed = self._changed if not self._changed.is_set() else asyncio.Event()
            await self._changed.wait()

    # -- verbs -----------------------------------------------------------------------------------

    def _key(self, request: Request) -> tuple[str, str, str]:
        return request.resource, request.namespace, request.name

    def _get(self, request: Request) -> Object:
        found = self.objects.get(self._key(request))
        if found is None:
            raise _missing(request)
        return found

    def _list(self, request: Request) -> Object:
        items = [
            obj
            for (resource, namespace, _), obj in self.objects.items()
            if resource == request.resource
            and request.namespace in ("", namespace)
            and _selected(request, obj)
        ]
        return {"items": items, "metadata": {"resourceVersion": str(self._version)}}

    def _create(self, request: Request) -> Object:
        if request.subresource == "binding":
            pod = copy.deepcopy(self._get(request))
            pod["spec"]["nodeName"] = request.body["target"]["name"]
            return self._store(request.resource, pod, "MODIFIED")
        obj = copy.deepcopy(request.body)
        metadata = obj["metadata"]
        if metadata.get("generateName"):
            metadata.setdefault("name", f"{metadata['generateName']}{self._version:05d}")
        if request.namespace:
            metadata["namespace"] = request.namespace
        key = (request.resource, request.namespace, metadata["name"])
        if key in self.objects:
            raise status_error(409, "AlreadyExists", f'"{metadata["name"]}" already exists')
        metadata.setdefault("uid", f"uid-{metadata['name']}-{self._version}")
        metadata["creationTimestamp"] = format_time(self.clock.now())
        return self._store(request.resource, obj, "ADDED")

    def _update(self, request: Request) -> Object:
        name = request.body["metadata"]["name"]
        old = self.objects.get((request.resource, request.namespace, name))
        if old is None:
            raise _missing(request)
        new = copy.deepcopy(request.body)
        if request.subresource == "finalize" and not new["spec"]["finalizers"]:
            return self._remove(request.resource, old)
        if request.subresource == "status":
            new = {**old, "status": new.get("status")}
        return self._store(request.resource, new, "MODIFIED")

    def _patch(self, request: Request) -> Object:
        old = self._get(request)
        uid = (request.body.get("metadata") or {}).get("uid")
        if uid and uid != old["metadata"]["uid"]:
            raise status_error(409, "Conflict", "uid does not match")
        if request.patch_type == "strategic":
            definition = kinds.by_resource(request.resource).schema_name
            new = apply_strategic(definition, old, request.body)
        else:
            new = merge(old, request.body)
        return self._store(request.resource, new, "MODIFIED")

    def _delete(self, request: Request) -> Object:
        old = self._get(request)
        uid = (request.body.get("preconditions") or {}).get("uid")
        if uid and uid != old["metadata"]["uid"]:
            raise status_error(409, "Conflict", "uid does not match")
        grace = request.body.get("gracePeriodSeconds")
        if request.resource == "pods" and old["spec"].get("nodeName") and grace != 0:
            new = copy.deepcopy(old)
            period = (
                grace if grace is not None else old["spec"].get("terminationGracePeriodSeconds", 30)
            )
            new["metadata"]["deletionTimestamp"] = format_time(self.clock.now() + period)
            new["metadata"]["deletionGracePeriodSeconds"] = period
            return self._store(request.resource, new, "MODIFIED")
        return self._remove(request.resource, old)

    # -- storage ---------------------------------------------------------------------------------

    def _store(self, resource: str, obj: Object, kind: Any) -> Object:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        key = (resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        self.objects[key] = obj
        self._announce(resource, WatchEvent(kind, copy.deepcopy(obj)))
        return obj

    def _remove(self, resource: str, obj: Object) -> Object:
        self._version += 1
        metadata = obj["metadata"]
        self.objects.pop((resource, metadata.get("namespace", ""), metadata["name"]))
        last = copy.deepcopy(obj)
        last["metadata"]["resourceVersion"] = str(self._version)
        self._announce(resource, WatchEvent("DELETED", last))
        return obj

    def _announce(self, resource: str, event: WatchEvent) -> None:
        self._history.append((self._version, resource, event))
        self._changed.set()


def _selected(request: Request, obj: Object) -> bool:
    selector = request.options.get("fieldSelector", "")
    return all(_holds(term, obj) for term in selector.split(",") if term)


def _holds(term: str, obj: Object) -> bool:
    path, _, value = term.replace("!=", "=").partition("=")
    found: Any = obj
    for part in path.split("."):
        found = found.get(part, {}) if isinstance(found, dict) else {}
    return ((found or "") == value) != ("!=" in term)
