"""Watch streams over HTTP and in process."""

import asyncio
from pathlib import Path

import pytest

from minipod.api.errors import StatusError
from minipod.store import Limits

from .harness import CONFIG_MAPS, PODS, Api, config_map, pod, serve, until

WATCH = f"{CONFIG_MAPS}?watch=1"


def test_a_watch_without_a_version_begins_with_what_is_there(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("a"))
        async with api.watch(WATCH) as events:
            assert await events.take(1) == [("ADDED", "a")]
            made = await api.make(CONFIG_MAPS, config_map("b"))
            event = await events.next()
            assert event == {"type": "ADDED", "object": made}

    serve(tmp_path, body)


def test_a_watch_replays_from_its_version(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        first = await api.make(CONFIG_MAPS, config_map("a"))
        await api.make(PODS, pod())
        await api("PUT", f"{CONFIG_MAPS}/a", config_map("a", x="1"))
        await api("DELETE", f"{CONFIG_MAPS}/a")
        version = first["metadata"]["resourceVersion"]
        async with api.watch(f"{WATCH}&resourceVersion={version}") as events:
            assert await events.take(2) == [("MODIFIED", "a"), ("DELETED", "a")]

    serve(tmp_path, body)


def test_objects_come_and_go_as_a_selector_sees_them(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        async with api.watch(
            f"{WATCH}&labelSelector=tier%3Dx&resourceVersion={api.store.revision}"
        ) as events:
            await api.make(CONFIG_MAPS, config_map("a", {"tier": "y"}))
            for tier, data in (("x", "1"), ("x", "2"), ("y", "3")):
                changed = await api(
                    "PUT", f"{CONFIG_MAPS}/a", config_map("a", {"tier": tier}, d=data)
                )
            await api("DELETE", f"{CONFIG_MAPS}/a")
            await api.make(CONFIG_MAPS, config_map("b", {"tier": "x"}))
            assert await events.take(2) == [("ADDED", "a"), ("MODIFIED", "a")]
            gone = await events.next()
            assert gone is not None
            assert gone["type"] == "DELETED"
            found = gone["object"]
            assert (found["data"], found["metadata"]["labels"]) == ({"d": "2"}, {"tier": "x"})
            assert (
                found["metadata"]["resourceVersion"] == changed.body["metadata"]["resourceVersion"]
            )
            assert await events.take(1) == [("ADDED", "b")]

    serve(tmp_path, body)


def test_one_object_is_watched_by_its_name(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("b"))
        async with api.watch(f"{WATCH}&fieldSelector=metadata.name%3Db") as events:
            assert await events.take(1) == [("ADDED", "b")]
            await api.make(CONFIG_MAPS, config_map("bb"))
            await api("DELETE", f"{CONFIG_MAPS}/b")
            assert await events.take(1) == [("DELETED", "b")]

    serve(tmp_path, body)


def test_a_watch_ends_with_a_bookmark_when_its_time_is_up(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        query = f"allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={api.store.revision}"
        async with api.watch(f"{WATCH}&{query}") as events:
            await api.make(PODS, pod())  # of no concern, but newer
            last = await events.next()
            assert last is not None
            assert last["type"] == "BOOKMARK"
            assert last["object"]["kind"] == "ConfigMap"
            assert last["object"]["metadata"]["resourceVersion"] == str(api.store.revision)
            assert await events.next() is None

    serve(tmp_path, body)


def test_a_streamed_list_ends_with_its_bookmark(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("a"))
        query = "sendInitialEvents=true&allowWatchBookmarks=true"
        async with api.watch(f"{WATCH}&{query}&resourceVersionMatch=NotOlderThan") as events:
            assert await events.take(1) == [("ADDED", "a")]
            end = await events.next()
            assert end is not None
            annotations = end["object"]["metadata"]["annotations"]
            assert annotations == {"k8s.io/initial-events-end": "true"}
        assert (await api("GET", f"{WATCH}&{query}")).status == 422

    serve(tmp_path, body)


def test_a_version_that_is_no_longer_kept_is_gone(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        for _ in range(3):
            await api("PUT", f"{CONFIG_MAPS}/a", config_map("a"))
            await api.make(CONFIG_MAPS, config_map("a"))
            await api("DELETE", f"{CONFIG_MAPS}/a")
        api.store.compact(api.store.revision)
        # As upstream answers: who may watch is told in the stream.
        async with api.watch(f"{WATCH}&resourceVersion=2") as events:
            told = await events.next()
            assert told is not None
            assert told["type"] == "ERROR"
            assert (told["object"]["code"], told["object"]["reason"]) == (410, "Expired")
            assert await events.next() is None
        with pytest.raises(StatusError) as expired:
            await anext(api.client.watch("configmaps", "default", resource_version="2"))
        assert expired.value.code == 410
        ahead = await api("GET", f"{WATCH}&resourceVersion=99999")
        assert ahead.status == 504
        assert "Too large resource version" in ahead.body["message"]

    serve(tmp_path, body)


@pytest.mark.parametrize("name", ["", "/b"])
def test_a_watch_may_be_part_of_the_path(tmp_path: Path, name: str) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("a"))
        path = CONFIG_MAPS.replace("/v1/", "/v1/watch/")
        async with api.watch(f"{path}{name}") as events:
            await api.make(CONFIG_MAPS, config_map("b"))
            found = await events.take(1 if name else 2)
            assert found == [("ADDED", "b")] if name else [("ADDED", "a"), ("ADDED", "b")]
        refused = await api("DELETE", f"{path}/a")
        assert refused.status == 405
        assert (await api("GET", f"{CONFIG_MAPS}/a")).status == 200

    serve(tmp_path, body)


def test_the_server_ends_watches_at_once_when_it_stops(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        async with api.watch(WATCH) as events:
            waiting = asyncio.ensure_future(events.next())
            await asyncio.wait_for(api.server.stop(), 1)
            assert await waiting is None

    serve(tmp_path, body)


def test_watches_are_bounded(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        async with api.watch(WATCH), api.watch(WATCH):
            refused = await api("GET", WATCH)
            assert refused.status == 429
            assert refused.headers["Retry-After"] == "1"
        await until(lambda: not api.server._frontend._watches)  # both departures are noticed
        async with api.watch(WATCH):
            pass

    serve(tmp_path, body, max_watches=2)


def test_a_client_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        async with api.watch(WATCH) as events:
            waiting = api.store._feed._waiting
            assert waiting
            events.response.close()
        await until(lambda: not waiting)

    serve(tmp_path, body)


def test_many_watchers_see_every_version_in_order(tmp_path: Path) -> None:
    async def follow(api: Api, since: int) -> list[str]:
        seen = []
        async for event in api.client.watch("configmaps", resource_version=str(since)):
            seen.append(event.object["metadata"]["resourceVersion"])
            if event.type == "DELETED":
                break
        return seen

    async def body(api: Api) -> None:
        watchers = [asyncio.ensure_future(follow(api, api.store.revision)) for _ in range(20)]
        versions = [(await api.make(CONFIG_MAPS, config_map("x")))["metadata"]["resourceVersion"]]
        for number in range(50):
            answer = await api("PUT", f"{CONFIG_MAPS}/x", config_map("x", n=str(number)))
            versions.append(answer.body["metadata"]["resourceVersion"])
        await api("DELETE", f"{CONFIG_MAPS}/x")
        versions.append(str(api.store.revision))
        for seen in await asyncio.gather(*watchers):
            assert seen == versions

    serve(tmp_path, body, limits=Limits(ring_events=10))


@pytest.mark.parametrize(
    ("query", "causes"),
    [
        (
            "watch=1&sendInitialEvents=true",
            ["sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"],
        ),
        (
            "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact",
            [
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                'Unsupported value: "Exact": supported values: "NotOlderThan"',
            ],
        ),
        (
            "watch=1&resourceVersionMatch=NotOlderThan&continue=x",
            [
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                "resourceVersionMatch is forbidden when continue is provided",
            ],
        ),
        (
            "resourceVersion=5&resourceVersionMatch=Exact&continue=x",
            ["resourceVersionMatch is forbidden when continue is provided"],
        ),
    ],
)
def test_options_that_do_not_go_together_are_all_told(
    tmp_path: Path, query: str, causes: list[str]
) -> None:
    async def body(api: Api) -> None:
        answer = await api("GET", f"{CONFIG_MAPS}?{query}")
        assert answer.status == 422
        told = [each["message"] for each in answer.body["details"]["causes"]]
        assert [each.removeprefix("Forbidden: ") for each in told] == causes

    serve(tmp_path, body)
