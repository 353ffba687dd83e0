"""Watches of what Pods refer to: one for each object, only while needed, and no word without news."""

import asyncio
from collections.abc import Awaitable, Callable

from minipod.client import Object
from minipod.node.environment import References
from minipod.node.reference_watches import ReferenceWatches, find_keys
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock
from tests.unit.node.pods import container, make_pod

KEY = ("configmaps", "default", "c")


def _pod(name: str) -> Object:
    return make_pod(name, container(envFrom=[{"configMapRef": {"name": "c"}}]))


def _run(check: Callable[[FakeApi, ReferenceWatches, list[str]], Awaitable[None]]) -> None:
    async def body() -> None:
        api = FakeApi(FakeClock())
        watches, told = ReferenceWatches(api.client()), list[str]()
        watches.on_change = told.append
        await check(api, watches, told)
        await watches.stop()

    asyncio.run(body())


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def _create(api: FakeApi) -> Object:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {}}
    return await api.client().create("configmaps", "default", body)


def test_keys_are_those_of_volumes_and_environment() -> None:
    made = _pod("a")
    made["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "s"}}]
    assert find_keys(made) == {KEY, ("secrets", "default", "s")}


def test_one_watch_serves_all_pods_and_ends_with_the_last() -> None:
    async def check(api: FakeApi, watches: ReferenceWatches, told: list[str]) -> None:
        for name in ("a", "b", "a"):
            watches.follow(_pod(name))
        await _settle()
        assert watches.watched() == {KEY}
        assert [each.verb for each in api.requests if each.resource == "configmaps"] == ["list"]
        watches.forget("uid-a")
        assert watches.watched() == {KEY}
        watches.follow({**_pod("b"), "spec": make_pod("b")["spec"]})
        assert watches.watched() == set()

    _run(check)


def test_nothing_is_kept_of_a_pod_that_ended_before_it_was_followed() -> None:
    async def check(api: FakeApi, watches: ReferenceWatches, told: list[str]) -> None:
        watches.note(_pod("short"), References(config_maps={"c": None}))
        watches.forget("uid-short")
        assert not watches._used
        watches.follow(_pod("long"))
        watches.forget("uid-long")
        assert not watches._uids
        assert not watches._used

    _run(check)


def test_a_pod_is_told_of_news_only() -> None:
    async def check(api: FakeApi, watches: ReferenceWatches, told: list[str]) -> None:
        made = await _create(api)
        watches.note(_pod("a"), References(config_maps={"c": made}))
        watches.note(_pod("b"), References(config_maps={"c": None}))
        for name in ("a", "b"):
            watches.follow(_pod(name))
        await _settle()
        assert told == ["uid-b"]  # made before there was one
        await api.client().patch("configmaps", "default", "c", {"data": {"k": "v"}})
        await _settle()
        assert sorted(told[1:]) == ["uid-a", "uid-b"]
        await api.client().delete("configmaps", "default", "c")
        await _settle()
        assert told[3:] == ["uid-a"]  # b was made without it

    _run(check)
