import asyncio
from collections.abc import AsyncIterator

from minipod.api.errors import status_error
from minipod.client import Client, Object, Request, WatchEvent
from minipod.informer import Informer

Change = tuple[str | None, str | None]


def thing(name: str, version: int, uid: str = "u") -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version), "uid": uid}}


class Script:
    """A transport that answers lists and watches from a script, then is silent."""

    def __init__(self, *steps: object) -> None:
        self.steps = list(steps)
        self.done = asyncio.Event()
        self.watched_from: list[str] = []

    async def call(self, request: Request) -> Object:
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, list)
        return {"items": step, "metadata": {"resourceVersion": "10"}}

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        self.watched_from.append(request.options.get("resourceVersion", ""))
        while self.steps and not isinstance(self.steps[0], list):
            step = self.steps.pop(0)
            if isinstance(step, Exception):
                raise step
            if step == "end":
                return
            assert isinstance(step, WatchEvent)
            yield step
        if not self.steps:
            self.done.set()
            await asyncio.Event().wait()


def follow(*steps: object) -> tuple[list[Change], Informer, Script]:
    changes: list[Change] = []

    def version(obj: Object | None) -> str | None:
        return f"{obj['metadata']['name']}{obj['metadata']['resourceVersion']}" if obj else None

    async def scene() -> tuple[Informer, Script]:
        script = Script(*steps)
        informer = Informer(
            Client(script), "things", lambda new, old: changes.append((version(new), version(old)))
        )
        await informer.start()
        await asyncio.wait_for(script.done.wait(), 5)
        await informer.stop()
        return informer, script

    informer, script = asyncio.run(scene())
    return changes, informer, script


def test_list_then_watch():
    changes, informer, _ = follow(
        [thing("a", 1)],
        WatchEvent("ADDED", thing("b", 11)),
        WatchEvent("MODIFIED", thing("a", 12)),
        WatchEvent("DELETED", thing("b", 13)),
    )
    assert changes == [("a1", None), ("b11", None), ("a12", "a1"), (None, "b13")]
    assert list(informer.objects) == [("", "a")]


def test_a_broken_watch_goes_on_where_it_was():
    _, _, script = follow([thing("a", 1)], WatchEvent("BOOKMARK", thing("", 15)), "end")
    assert script.watched_from == ["10", "15"]


def test_an_expired_watch_lists_again_and_tells_the_difference():
    gone = status_error(410, "Expired", "too old resource version")
    changes, _, _ = follow([thing("a", 1), thing("b", 2)], gone, [thing("b", 2), thing("c", 3)])
    assert changes == [("a1", None), ("b2", None), (None, "a1"), ("c3", None)]


def test_an_error_event_is_an_error():
    expired = status_error(410, "Expired", "too old").status
    changes, _, _ = follow([], WatchEvent("ERROR", expired), [thing("a", 1)])
    assert changes == [("a1", None)]


def test_another_object_of_the_same_name_is_a_deletion_and_a_creation():
    gone = status_error(410, "Expired", "too old resource version")
    changes, _, _ = follow([thing("a", 1, "one")], gone, [thing("a", 2, "two")])
    assert changes == [("a1", None), (None, "a1"), ("a2", None)]
