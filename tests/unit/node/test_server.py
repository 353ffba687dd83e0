"""The kubelet's HTTP API over its real socket, with a fake runtime behind it."""

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from minipod.runtime.service import RuntimeFailure
from tests.fakes.runtime import FakeStreams
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
        async with session.post("/exec/default/web/app?command=ls") as answer:
            assert answer.status == 404

    play(tmp_path, scene)


async def receive(socket: aiohttp.ClientWebSocketResponse) -> list[tuple[int, bytes]]:
    return [(message.data[0], message.data[1:]) async for message in socket]


def test_exec_carries_streams_sizes_and_the_exit_code(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        streams = made.runtime.streams = FakeStreams([("stdout", b"out"), ("stderr", b"err")], 3)
        path = "/exec/default/web/app?command=sh&stdout=1&stderr=1&stdin=1"
        async with session.ws_connect(path, protocols=["v5.channel.k8s.io"]) as socket:
            assert socket.protocol == "v5.channel.k8s.io"
            got = await receive(socket)
        assert got[:2] == [(1, b"out"), (2, b"err")]
        channel, data = got[2]
        status = json.loads(data)
        assert channel == 3
        assert status["reason"] == "NonZeroExitCode"
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
        await asyncio.wait_for(streams.closed.wait(), 5)

    play(tmp_path, scene)


class Echo(FakeStreams):
    """Ends when its input does."""

    def __init__(self) -> None:
        super().__init__((), 0)
        self.ended = asyncio.Event()

    async def read(self):
        await self.ended.wait()

    async def close_stdin(self) -> None:
        await super().close_stdin()
        self.ended.set()


def test_input_resizing_and_its_end_reach_the_program(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        streams = made.runtime.streams = Echo()
        path = "/exec/default/web/app?command=sh&stdin=true&stdout=true&tty=true"
        async with session.ws_connect(path, protocols=["v5.channel.k8s.io"]) as socket:
            for width, height in (80, 24), (100, 30):
                size = {"Width": width, "Height": height}
                await socket.send_bytes(b"\x04" + json.dumps(size).encode())
            await socket.send_bytes(b"\x00hello")
            await socket.send_bytes(b"\xff\x00")
            got = await receive(socket)
        assert streams.written == [b"hello"]
        assert streams.sizes == [(80, 24), (100, 30)]  # the first one before it began
        assert json.loads(got[-1][1])["status"] == "Success"

    play(tmp_path, scene)


def test_a_client_that_leaves_ends_its_program(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        streams = made.runtime.streams = Echo()
        path = "/exec/default/web/app?command=sh&stdin=true&stdout=true"
        async with session.ws_connect(path, protocols=["v4.channel.k8s.io"]):
            pass
        await asyncio.wait_for(streams.closed.wait(), 5)

    play(tmp_path, scene)


def test_a_command_that_cannot_be_executed_is_told_on_the_error_channel(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        made.runtime.fail_next["exec"] = RuntimeFailure("StartError", 'exec "nope": not found')
        path = "/exec/default/web/app?command=nope&stdout=true"
        async with session.ws_connect(path, protocols=["v5.channel.k8s.io"]) as socket:
            ((channel, data),) = await receive(socket)
        assert channel == 3
        assert 'exec "nope": not found' in json.loads(data)["message"]

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
