"""exec, attach and port-forward over the kubelet's real socket, in every protocol, with a fake runtime behind it."""

import asyncio
import base64
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from minipod.node.streaming import requests as streaming_requests
from minipod.runtime.service import RuntimeFailure
from minipod.spdy import events
from minipod.spdy.connection import Connection
from tests.fakes.runtime import FakeStreams
from tests.unit.node.pods import World, make_pod
from tests.unit.node.test_server import play

V5, V4, V4_BASE64 = "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"
SPDY_V4 = V4
TUNNEL = "SPDY/3.1+portforward.k8s.io"
EXEC = "/exec/default/web/app?command=sh&output=1&error=1"


async def receive(socket: aiohttp.ClientWebSocketResponse) -> list[tuple[int, bytes]]:
    """Return every message until the end, without the empty one that says that the connection stands."""
    messages = [(message.data[0], message.data[1:]) async for message in socket]
    assert messages.pop(0) in ((1, b""), (3, b""))
    return messages


class Echo(FakeStreams):
    """Says what it reads, and ends when its input does."""

    def __init__(self, code: int = 0) -> None:
        super().__init__((), code)
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self):
        data = await self.queue.get()
        return ("stdout", data) if data else None

    async def write(self, data: bytes) -> None:
        await super().write(data)
        self.queue.put_nowait(data)

    async def close_stdin(self) -> None:
        await super().close_stdin()
        self.queue.put_nowait(b"")


# -- remote commands over WebSocket --------------------------------------------------------------


def test_exec_carries_streams_and_the_exit_code(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        streams = made.runtime.streams = FakeStreams([("stdout", b"out"), ("stderr", b"err")], 3)
        async with session.ws_connect(f"{EXEC}&input=1", protocols=[V5]) as socket:
            assert socket.protocol == V5
            got = await receive(socket)
        assert got[:2] == [(1, b"out"), (2, b"err")]
        channel, data = got[2]
        status = json.loads(data)
        assert channel == 3
        assert status["reason"] == "NonZeroExitCode"
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
        await asyncio.wait_for(streams.closed.wait(), 5)

    play(tmp_path, scene)


def test_input_resizing_and_its_end_reach_the_program(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        streams = made.runtime.streams = Echo()
        async with session.ws_connect(f"{EXEC}&input=1&tty=1", protocols=[V5]) as socket:
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


@pytest.mark.parametrize("protocol", [V4_BASE64, "base64.channel.k8s.io"])
def test_base64_channels_are_digits_and_text(tmp_path, protocol):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        made.runtime.streams = Echo()
        async with session.ws_connect(f"{EXEC}&input=1", protocols=[protocol]) as socket:
            assert (await socket.receive_str()) == "1"
            await socket.send_str("0" + base64.b64encode(b"\x00\xff").decode())
            assert (await socket.receive_str()) == "1" + base64.b64encode(b"\x00\xff").decode()
            await socket.send_str("0not base64")
            await socket.send_str("0" + base64.b64encode(b"on").decode())
            assert (await socket.receive_str()) == "1" + base64.b64encode(b"on").decode()

    play(tmp_path, scene)


@pytest.mark.parametrize("protocols", [[], ["channel.k8s.io"]])
def test_the_oldest_channels_tell_a_failure_as_text(tmp_path, protocols):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        for code, said in (
            (0, []),
            (3, [(3, b"command terminated with non-zero exit code: exit status 3")]),
        ):
            made.runtime.streams = FakeStreams((), code)
            async with session.ws_connect(EXEC, protocols=protocols) as socket:
                assert socket.protocol == (protocols[0] if protocols else None)
                assert await receive(socket) == said

    play(tmp_path, scene)


def test_the_newest_protocol_is_preferred_wherever_it_is_offered(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        for offered, chosen in (([V4, V5], V5), ([V4_BASE64, V4], V4_BASE64)):
            made.runtime.streams = FakeStreams((), 0)
            async with session.ws_connect(EXEC, protocols=offered) as socket:
                assert socket.protocol == chosen

    play(tmp_path, scene)


def test_protocols_that_nobody_knows_are_refused(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(EXEC, protocols=["v9.channel.k8s.io"])
        assert refused.value.status == 403
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "SPDY/3.1",
            "X-Stream-Protocol-Version": "v9",
        }
        async with session.post(EXEC, headers=headers) as answer:
            assert answer.status == 403
            assert "client supports ['v9']" in (await answer.json())["message"]
        async with session.post(EXEC) as answer:
            assert answer.status == 400
        async with session.post("/exec/default/web/app?command=sh") as answer:
            assert "at least 1 of stdin, stdout, stderr" in (await answer.json())["message"]

    play(tmp_path, scene)


def test_a_client_that_leaves_lets_its_program_go(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        streams = made.runtime.streams = Echo()
        async with session.ws_connect(f"{EXEC}&input=1", protocols=[V4]):
            pass
        await asyncio.wait_for(streams.closed.wait(), 5)

    play(tmp_path, scene)


def test_a_command_that_cannot_be_executed_is_told_on_the_error_channel(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        made.runtime.fail_next["exec"] = RuntimeFailure("StartError", 'exec "nope": not found')
        async with session.ws_connect(EXEC, protocols=[V5]) as socket:
            ((channel, data),) = await receive(socket)
        assert channel == 3
        assert json.loads(data)["message"] == (
            'Internal error occurred: error executing command in container: exec "nope": not found'
        )

    play(tmp_path, scene)


def test_a_connection_on_which_nothing_happens_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming_requests.StreamRequests.__init__, "__defaults__", (0.05,))

    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        streams = made.runtime.streams = Echo()
        async with session.ws_connect(f"{EXEC}&input=1", protocols=[V5]) as socket:
            assert await receive(socket) == []
        await asyncio.wait_for(streams.closed.wait(), 5)
        streams = made.runtime.streams = Echo()
        async with spdy(made, f"{EXEC}&input=1", V4) as peer:
            await peer.open_all("error", "stdin", "stdout", "stderr")
            await peer.wait_closed()
        await asyncio.wait_for(streams.closed.wait(), 5)

    play(tmp_path, scene)


# -- SPDY ------------------------------------------------------------------------------------------


class Peer:
    """A client's end of a SPDY connection."""

    def __init__(
        self,
        read: Callable[[], "asyncio.Future[bytes]"],
        write: Callable[[bytes], "asyncio.Future[None]"],
        head: bytes = b"",
    ) -> None:
        self.head = head
        self.spdy = Connection(client=True)
        self.data: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.closed = False
        self._read, self._write = read, write
        self._changed = asyncio.Condition()

    async def flush(self) -> None:
        if output := self.spdy.take_output():
            await self._write(output)

    async def open(self, kind: str, **headers: str) -> int:
        stream = self.spdy.open_stream({"streamtype": kind, **headers})
        self.data[stream] = bytearray()
        await self.flush()
        return stream

    async def open_all(self, *kinds: str) -> list[int]:
        return [await self.open(kind) for kind in kinds]

    async def send(self, stream: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            await self.wait(lambda: self.spdy.sendable(stream))
            view = view[self.spdy.send_data(stream, view) :]
            await self.flush()

    async def end(self, stream: int) -> None:
        self.spdy.end(stream)
        await self.flush()

    async def wait(self, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds of what has come."""
        async with self._changed:
            async with asyncio.timeout(5):
                await self._changed.wait_for(lambda: condition() or self.closed)
        assert condition(), f"closed; had {self.data}, ended {self.ended}, reset {self.reset}"

    async def wait_closed(self) -> None:
        await self.wait(lambda: self.closed)

    async def read_all(self) -> None:
        """Take what comes, until the end."""
        try:
            while data := await self._read():
                for event in self.spdy.receive(data):
                    self._take(event)
                await self.flush()
                await self._tell()
        finally:
            self.closed = True
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _take(self, event: events.Event) -> None:
        match event:
            case events.DataReceived():
                self.data[event.stream] += event.data
                self.spdy.consumed(event.stream, len(event.data))
            case events.StreamEnded():
                self.ended.add(event.stream)
            case events.StreamReset():
                self.reset.add(event.stream)


@asynccontextmanager
async def reading(peer: Peer) -> AsyncIterator[Peer]:
    task = asyncio.create_task(peer.read_all())
    try:
        yield peer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def spdy(made: World, path: str, *protocols: str) -> AsyncIterator[Peer]:
    """Upgrade a connection to SPDY/3.1, as client-go does."""
    reader, writer = await asyncio.open_unix_connection(str(made.config.layout.kubelet_socket))
    lines = [f"POST {path} HTTP/1.1", "Host: k", "Connection: Upgrade", "Upgrade: SPDY/3.1"]
    lines += [f"X-Stream-Protocol-Version: {name}" for name in protocols]
    writer.write("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head

    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    try:
        async with reading(Peer(lambda: reader.read(65536), write, head)) as peer:  # type: ignore[arg-type]
            yield peer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def tunnel(session: aiohttp.ClientSession, path: str) -> AsyncIterator[Peer]:
    """SPDY in a WebSocket, as kubectl from 1.31 on forwards ports."""
    async with session.ws_connect(path, protocols=[TUNNEL]) as socket:
        assert socket.protocol == TUNNEL

        async def read() -> bytes:
            message = await socket.receive()
            return message.data if message.type is aiohttp.WSMsgType.BINARY else b""

        async with reading(Peer(read, socket.send_bytes)) as peer:  # type: ignore[arg-type]
            yield peer


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["v5.channel.k8s.io", V4, "channel.k8s.io"], V4),
        (["v3.channel.k8s.io"], "v3.channel.k8s.io"),
        (["v2.channel.k8s.io"], "v2.channel.k8s.io"),
        ([], "channel.k8s.io"),
    ],
)
def test_exec_over_spdy(tmp_path, offered, chosen):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        streams = made.runtime.streams = Echo(code=3)
        async with spdy(made, f"{EXEC}&input=1", *offered) as peer:
            assert f"X-Stream-Protocol-Version: {chosen}".encode() in peer.head
            error, stdin, stdout, stderr = await peer.open_all("error", "stdin", "stdout", "stderr")
            data = bytes(range(256)) * 2000
            sending = asyncio.ensure_future(peer.send(stdin, data))
            await peer.wait(lambda: len(peer.data[stdout]) == len(data))
            await sending
            assert peer.data[stdout] == data
            await peer.end(stdin)
            await peer.wait(lambda: {error, stdout, stderr} <= peer.ended)
        if chosen == V4:
            status = json.loads(peer.data[error])
            assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
        else:
            assert b"exit status 3" in peer.data[error]
        await asyncio.wait_for(streams.closed.wait(), 5)

    play(tmp_path, scene)


def test_a_terminal_over_spdy_has_a_stream_for_its_sizes(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        streams = made.runtime.streams = Echo()
        async with spdy(made, f"{EXEC}&input=1&tty=1", V4) as peer:
            error, stdin, _, resize = await peer.open_all("error", "stdin", "stdout", "resize")
            await peer.send(resize, b'{"Width":80,"Height":24}\n')
            await peer.send(stdin, b"x")
            await peer.wait(lambda: peer.data[5] == b"x")
            await peer.send(resize, b'{"Width":100,')
            await peer.send(resize, b'"Height":30}\n')
            await peer.end(stdin)
            await peer.wait(lambda: error in peer.ended)
        assert streams.sizes == [(80, 24), (100, 30)]  # the first one before it began
        assert json.loads(peer.data[error])["status"] == "Success"

    play(tmp_path, scene)


def test_streams_that_make_no_sense_are_refused_and_the_rest_goes_on(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        made.runtime.streams = FakeStreams([("stdout", b"out")], 0)
        async with spdy(made, EXEC, V4) as peer:
            wrong = await peer.open("nonsense")
            error, twice, stdout, _ = await peer.open_all("error", "error", "stdout", "stderr")
            await peer.wait(lambda: error in peer.ended)
        assert peer.reset == {wrong, twice}
        assert peer.data[stdout] == b"out"

    play(tmp_path, scene)


def test_a_client_that_breaks_the_protocol_is_left_and_its_program_let_go(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        streams = made.runtime.streams = Echo()
        async with spdy(made, f"{EXEC}&input=1", V4) as peer:
            await peer.open_all("error", "stdin", "stdout", "stderr")
            await peer.wait(lambda: made.runtime.calls[-1][0] == "exec")
            await peer._write(b"\x80\x02\x00\x01\x00\x00\x00\x00")
            await peer.wait_closed()
        await asyncio.wait_for(streams.closed.wait(), 5)

    play(tmp_path, scene)


# -- port-forward ------------------------------------------------------------------------------------


@asynccontextmanager
async def served(made: World, port: int) -> AsyncIterator[None]:
    """A program behind a port of the Pod: answers its input in capitals, once the input has ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    path = str(made.config.layout.run / f"port-{port}")
    server = await asyncio.start_unix_server(answer, path)
    made.runtime.listening[port] = path
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("tunnelled", [False, True])
def test_ports_are_forwarded_with_their_half_close(tmp_path, tunnelled):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        path = "/portForward/default/web"
        opening = tunnel(session, path) if tunnelled else spdy(made, path, "portforward.k8s.io")
        async with served(made, 80), opening as peer:
            pairs = {}
            for request in range(50):
                names = {"port": "80", "requestid": str(request)}
                error = await peer.open("error", **names)
                await peer.end(error)
                pairs[request] = error, await peer.open("data", **names)
            for request, (_, data) in pairs.items():
                await peer.send(data, f"request {request} ".encode() * 1000)
                await peer.end(data)
            everything = {stream for pair in pairs.values() for stream in pair}
            await peer.wait(lambda: everything <= peer.ended)
            for request, (error, data) in pairs.items():
                assert peer.data[data] == f"REQUEST {request} ".encode() * 1000
                assert peer.data[error] == b""

    play(tmp_path, scene)


def test_a_port_on_which_nobody_listens_is_told_and_the_session_goes_on(tmp_path):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        async with (
            served(made, 80),
            spdy(made, "/portForward/default/web", "portforward.k8s.io") as peer,
        ):
            bad = [await peer.open(kind, port="81", requestid="0") for kind in ("error", "data")]
            await peer.send(bad[1], b"x" * 300_000)  # nobody reads it, and nobody waits for it
            await peer.wait(lambda: set(bad) <= peer.ended)
            assert peer.data[bad[0]].startswith(b"error forwarding port 81 to pod web, uid ")
            # an old client, which names no request
            error, data = [await peer.open(kind, port="80") for kind in ("error", "data")]
            await peer.send(data, b"hello")
            await peer.end(data)
            await peer.wait(lambda: {error, data} <= peer.ended)
            assert peer.data[data] == b"HELLO"
            for wrong in ({"port": "0"}, {"port": "70000"}, {}):
                stream = await peer.open("data", requestid="9", **wrong)
                await peer.wait(lambda stream=stream: stream in peer.reset)

    play(tmp_path, scene)


@pytest.mark.parametrize("protocol", [V4, V4_BASE64, None])
def test_ports_are_forwarded_over_websocket_channels(tmp_path, protocol):
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        async with served_at_once(made, 80):
            protocols = [protocol] if protocol else []
            path = "/portForward/default/web?port=80,81"
            async with session.ws_connect(path, protocols=protocols) as socket:
                got: dict[int, bytes] = {}
                sent = False
                async for message in socket:
                    channel, data = decode(message.data)
                    got[channel] = got.get(channel, b"") + data
                    if not sent and got.get(0, b"")[:2] == struct.pack("<H", 80):
                        sent = True
                        encoded = "0" + base64.b64encode(b"hello").decode()
                        if protocol == V4_BASE64:
                            await socket.send_str(encoded)
                        else:
                            await socket.send_bytes(b"\x00hello")
        assert got[0] == struct.pack("<H", 80) + b"HELLO"
        assert got[1] == struct.pack("<H", 80)
        assert got[2] == struct.pack("<H", 81)
        assert got[3].startswith(struct.pack("<H", 81) + b"error forwarding port 81 to pod web")

    play(tmp_path, scene)


def decode(message: bytes | str) -> tuple[int, bytes]:
    if isinstance(message, str):
        return int(message[0]), base64.b64decode(message[1:])
    return message[0], message[1:]


@asynccontextmanager
async def served_at_once(made: World, port: int) -> AsyncIterator[None]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(100)).upper())
        writer.close()

    path = str(made.config.layout.run / f"port-{port}")
    server = await asyncio.start_unix_server(answer, path)
    made.runtime.listening[port] = path
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


def test_ports_that_are_none_are_refused(tmp_path: Path) -> None:
    async def scene(made: World, session: aiohttp.ClientSession) -> None:
        await made.create(make_pod())
        for query in ("", "?port=", "?port=x", "?port=0", "?port=70000"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"/portForward/default/web{query}", protocols=[V4])
            assert refused.value.status == 400, query
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect("/portForward/default/none", protocols=[TUNNEL])
        assert refused.value.status == 404

    play(tmp_path, scene)
