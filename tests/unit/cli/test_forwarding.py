"""port-forward's session: a server over a socket pair, real local connections, and windows that are kept to."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from minipod.cli.errors import CliError
from minipod.cli.forwarding import Forwarder, Port, close_all, listen, parse_port, resolve_addresses
from minipod.cli.websocket import Closed
from minipod.spdy import events, frames
from minipod.spdy.connection import Connection


@pytest.mark.parametrize(
    ("text", "port"),
    [("80", Port(80, 80)), ("8080:80", Port(8080, 80)), (":80", Port(0, 80))],
)
def test_ports_are_written_as_kubectls(text: str, port: Port) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize("text", ["", ":", "x", "0:80", "80:", "1:2:3", "70000", "-1", "0", ":0"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(CliError, match="invalid port format"):
        parse_port(text)


def test_localhost_is_both_loopbacks() -> None:
    assert resolve_addresses("localhost") == ["127.0.0.1", "::1"]
    assert resolve_addresses("127.0.0.1,localhost") == ["127.0.0.1", "::1"]
    with pytest.raises(CliError, match="nowhere is not a valid IP"):
        resolve_addresses("nowhere")


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CliError, match="unable to listen on any of the requested ports"):
            listen([Port(port, 80)], ["127.0.0.1"])
    said = capsys.readouterr().err
    assert f"Error listen tcp4 127.0.0.1:{port}: bind: address already in use" in said


class Wire:
    """What a Forwarder needs of a WebSocket, over a plain socket."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer, self._unsent, self._came = peer, bytearray(), bytearray()
        peer.setblocking(False)

    def fileno(self) -> int:
        return self.peer.fileno()

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def send(self, payload: bytes) -> None:
        self._unsent += payload
        self.flush()

    def flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self.peer.send(self._unsent)]
        except BlockingIOError:
            return

    def receive(self) -> None:
        try:
            data = self.peer.recv(65536)
        except BlockingIOError:
            return
        if not data:
            raise Closed
        self._came += data

    def messages(self) -> Iterator[bytes]:
        data, self._came = bytes(self._came), bytearray()
        if data:
            yield data


def serve(peer: socket.socket) -> None:
    """Serve until the other side is gone."""
    with contextlib.suppress(OSError):
        _serve(peer)


def _serve(peer: socket.socket) -> None:
    """Answer each connection in capitals once its input has ended; a port 9 is refused. Windows are kept to."""
    spdy, said, ports = Connection(client=False), dict[int, bytes](), dict[int, str]()
    waiting: dict[int, memoryview] = {}
    settings = frames.control(frames.SETTINGS, 0, b"\0\0\0\1\0\0\0\7\0\1\0\0")
    peer.sendall(settings)
    while data := peer.recv(65536):
        for event in spdy.receive(data):
            match event:
                case events.StreamOpened():
                    spdy.reply(event.stream)
                    ports[event.stream] = event.headers["port"]
                    if event.headers["streamtype"] == "data":
                        said[event.stream] = b""
                    elif event.headers["port"] == "9":
                        spdy.send_data(event.stream, b"nobody is there")
                        spdy.end(event.stream)
                case events.DataReceived():
                    said[event.stream] += event.data
                    spdy.consumed(event.stream, len(event.data))
                case events.StreamEnded() if event.stream in said:
                    waiting[event.stream] = memoryview(said[event.stream].upper())
        for stream in list(waiting):
            while sent := spdy.send_data(stream, waiting[stream]):
                waiting[stream] = waiting[stream][sent:]
            if not waiting[stream]:
                spdy.end(stream)
                del waiting[stream]
        peer.sendall(spdy.take_output())


def ask(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
        sending = threading.Thread(
            target=lambda: (peer.sendall(data), peer.shutdown(socket.SHUT_WR))
        )
        sending.start()
        said = b"".join(iter(lambda: peer.recv(65536), b""))
        sending.join()
        return said


def test_many_connections_share_a_session(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = socket.socketpair()
    listeners = listen([Port(0, 80), Port(0, 9)], ["127.0.0.1"])
    ended: list[str] = []

    def forward() -> None:
        try:
            Forwarder(Wire(ours), listeners).run()  # type: ignore[arg-type]
        except CliError as error:
            ended.append(error.message)

    threads = [threading.Thread(target=forward), threading.Thread(target=serve, args=(theirs,))]
    for thread in threads:
        thread.start()
    try:
        good, bad = (port.local for _, port in listeners)
        data = {number: bytes([97 + number]) * 300_000 for number in range(20)}
        answers: dict[int, bytes] = {}
        asking = [
            threading.Thread(target=lambda n=n: answers.__setitem__(n, ask(good, data[n])))
            for n in data
        ]
        for each in asking:
            each.start()
        for each in asking:
            each.join()
        assert answers == {number: text.upper() for number, text in data.items()}
        assert ask(bad, b"") == b""
    finally:
        threads[0].join(20)
        ours.close()
        threads[1].join(20)
        theirs.close()
        close_all(listeners)
    assert ended == ["lost connection to pod"]
    said = capsys.readouterr()
    assert f"an error occurred forwarding {bad} -> 9: nobody is there" in said.err
    assert said.out.count(f"Handling connection for {good}\n") == 20
