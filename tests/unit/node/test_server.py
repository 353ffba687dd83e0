"""The kubelet's HTTP API over its real socket, with a fake runtime behind it."""

import asyncio
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.unit.node.pods import World, container, make_pod, world

Scene = Callable[[World, aiohttp.ClientSession], Awaitable[None]]
LINE = "2026-01-01T00:00:0{}.000000000Z stdout F line{}\n"


def play(root: Path, scene: Scene) -> None:
    async def whole() -> None:
        async with world(root) as made:
            path = str(made.config.layout.kubelet_socket)
            connector = aiohttp.UnixConnector(path)
            async with aiohttp.ClientSession("http://kubelet", connector=connector) as session:
                await scene(made, session)

    asyncio.run(asyncio.wait_for(whole(), 30))


def write_log(made: World, *numbers: int) -> None:
    path, _ = made.kubelet.find_log(made.pod(), "app", 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as log:
        log.writelines(LINE.format(number, number) for number in numbers)


def test_the_socket_is_root_only(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        mode = made.config.layout.kubelet_socket.stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
        async with session.get("/healthz") as answer:
            assert await answer.text() == "ok"

    play(tmp_path, scene)


def test_logs_are_served_as_asked(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        write_log(made, 1, 2, 3)
        async with session.get("/containerLogs/default/web/app?tailLines=2") as answer:
            assert await answer.text() == "line2\nline3\n"
            assert answer.content_type == "text/plain"

    play(tmp_path, scene)


def test_a_followed_log_ends_with_its_container(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        write_log(made, 1)
        async with session.get("/containerLogs/default/web/app?follow=true") as answer:
            assert await answer.content.readline() == b"line1\n"
            write_log(made, 2)
            assert await answer.content.readline() == b"line2\n"
            made.runtime.exit("app")
            assert await answer.content.read() == b""

    play(tmp_path, scene)


def test_a_followed_log_ends_with_the_server(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        write_log(made, 1)
        async with session.get("/containerLogs/default/web/app?follow=true") as answer:
            assert await answer.content.readline() == b"line1\n"
            await asyncio.wait_for(made.kubelet.stop(), 1)
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.read()

    play(tmp_path, scene)


def test_refusals_are_statuses(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod("web", container(image="nowhere")))
        async with session.get("/containerLogs/default/none/app") as answer:
            assert (answer.status, (await answer.json())["reason"]) == (404, "NotFound")
        async with session.get("/containerLogs/default/web/app") as answer:
            body = await answer.json()
            assert answer.status == 400
            assert body["message"] == (
                'container "app" in pod "web" is waiting to start: ErrImagePull'
            )
        async with session.post("/exec/default/web/app?command=ls&output=1") as answer:
            assert answer.status == 404

    play(tmp_path, scene)


def test_a_plan_shows_the_pod_and_touches_nothing(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        pod = make_pod("planned", container(command=["echo", "planned"]))
        async with session.post("/minipod/plan", json=pod) as answer:
            script = await answer.text()
            assert answer.content_type == "text/x-shellscript"
        assert script.startswith("#!/bin/sh")
        assert "echo planned" in script
        assert not made.addresses.held
        assert not made.runtime.performed
        async with session.post("/minipod/plan", data=b"{") as answer:
            assert answer.status == 400

    play(tmp_path, scene)


def test_a_trace_tells_the_steps_in_order(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        async with session.get("/minipod/trace/default/web") as answer:
            sections = (await answer.json())["sections"]
        titles = [each["title"] for each in sections]
        assert sorted(titles) == ["container app", "sandbox", "volumes and files"]
        assert all(step["duration_us"] > 0 for each in sections for step in each["steps"])

    play(tmp_path, scene)
