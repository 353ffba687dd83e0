"""SPDY's state machine: two of them talk, cut anywhere; and what it makes of nonsense."""

import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipod.spdy import events, frames
from minipod.spdy.connection import FRAME_BYTES, INITIAL_WINDOW, Connection
from minipod.spdy.frames import ProtocolError
from minipod.spdy.headers import BLOCK_LIMIT, DICTIONARY, Compressor, Decompressor

NAMES = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=20)
HEADERS = st.dictionaries(NAMES, st.text(max_size=50), max_size=5)


def pair() -> tuple[Connection, Connection]:
    return Connection(client=True), Connection(client=False)


def opened(client: Connection, server: Connection) -> int:
    """Open a stream that the server accepts."""
    stream = client.open_stream({"streamtype": "data"})
    server.receive(client.take_output())
    server.reply(stream)
    client.receive(server.take_output())
    return stream


def test_the_dictionary_is_the_drafts() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2
    assert Compressor().compress({})[:6] == bytes.fromhex("78bbe3c6a7c2")


@given(st.lists(HEADERS, max_size=8))
def test_headers_survive_one_stream_of_compression(blocks: list[dict[str, str]]) -> None:
    sender, receiver = Compressor(), Decompressor()
    assert [receiver.decompress(sender.compress(each)) for each in blocks] == blocks


# One step of either side: open a stream, send on one, end one, or let one be.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "send", "end", "reset"]),
        st.booleans(),
        st.integers(0, 5),
        st.binary(max_size=3 * FRAME_BYTES // 2),
    ),
    max_size=30,
)


@given(STEPS, st.lists(st.integers(1, 5000), min_size=1, max_size=10))
def test_what_is_sent_arrives_whole_and_in_order(steps: list[Any], cuts: list[int]) -> None:
    talk = Talk(cuts)
    for step in steps:
        talk.act(*step)
    talk.deliver()
    for stream, said in talk.sent.items():
        if stream not in talk.given_up:
            assert talk.received.get(stream, b"") == said
    assert talk.ended - talk.given_up == talk.received_ends - talk.given_up


class Talk:
    """Both ends of a connection, and what should have arrived. Streams are named by (number, from the client)."""

    def __init__(self, cuts: list[int]) -> None:
        self.ends = {True: Connection(client=True), False: Connection(client=False)}
        self.cuts = cuts
        self.streams: list[int] = []
        self.sent: dict[tuple[int, bool], bytes] = {}
        self.received: dict[tuple[int, bool], bytes] = {}
        self.ended: set[tuple[int, bool]] = set()
        self.received_ends: set[tuple[int, bool]] = set()
        self.given_up: set[tuple[int, bool]] = set()

    def act(self, what: str, client: bool, index: int, data: bytes) -> None:
        end = self.ends[client]
        if what == "open":
            self.streams.append(end.open_stream({"n": str(index)}))
            self.deliver()
            return
        if not self.streams:
            return
        stream = self.streams[index % len(self.streams)]
        if what == "send":
            view = memoryview(data)
            while view and end.can_send(stream):
                if not (sent := end.send_data(stream, view)):
                    self.deliver()
                self.sent[stream, client] = self.sent.get((stream, client), b"") + view[:sent]
                view = view[sent:]
        elif what == "end" and end.can_send(stream):
            end.end(stream)
            self.ended.add((stream, client))
        elif what == "reset" and end.is_open(stream):
            end.reset(stream)
            self.given_up |= {(stream, True), (stream, False)}

    def deliver(self) -> None:
        """Carry bytes, cut anywhere, until both have said everything."""
        while any(end.output_size for end in self.ends.values()):
            for client, end in self.ends.items():
                output, at, turn = end.take_output(), 0, 0
                while at < len(output):
                    cut = self.cuts[turn % len(self.cuts)]
                    for event in self.ends[not client].receive(output[at : at + cut]):
                        self._take(event, client)
                    at, turn = at + cut, turn + 1

    def _take(self, event: events.Event, client: bool) -> None:
        other = self.ends[not client]
        match event:
            case events.StreamOpened():
                other.reply(event.stream)
            case events.DataReceived():
                key = event.stream, client
                self.received[key] = self.received.get(key, b"") + event.data
                other.consumed(event.stream, len(event.data))
            case events.StreamEnded():
                self.received_ends.add((event.stream, client))


@given(st.lists(st.binary(max_size=200), max_size=20), st.booleans())
def test_nonsense_is_a_protocol_error_and_a_goodbye(pieces: list[bytes], client: bool) -> None:
    connection = Connection(client=client)
    try:
        for piece in pieces:
            connection.receive(piece)
    except ProtocolError:
        assert connection.take_output()[-16:-12] == b"\x80\x03\x00\x07"  # GOAWAY


KINDS = st.sampled_from([1, 2, 3, 4, 6, 7, 8, 9, 12])


@given(st.lists(st.tuples(KINDS, st.integers(0, 255), st.binary(max_size=40)), max_size=20))
def test_frames_with_any_payload_are_taken_or_refused(given_frames: list[Any]) -> None:
    connection = Connection(client=False)
    try:
        for kind, flags, payload in given_frames:
            connection.receive(frames.control(kind, flags, payload))
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x80\x02\x00\x01\x00\x00\x00\x00", "version 2"),
        (b"\x80\x03\x00\x01\x00\xff\xff\xff", "a control frame of"),
        (frames.data(0, 0, b"x"), "not opened"),
        (frames.data(1, 0, b"x"), "not opened"),
        (frames.data(2, 0, b"x"), "not opened"),
        (frames.control(frames.PING, 0, b""), "cut short"),
        (frames.control(frames.SETTINGS, 0, struct.pack("!I", 9)), "length"),
        (frames.numbers(frames.WINDOW_UPDATE, 0, 0), "window"),
        (frames.numbers(frames.WINDOW_UPDATE, 0, 0x7FFFFFFF), "window"),
        (frames.syn_stream(1, 0, b"no zlib"), "decompressed"),
        (frames.syn_stream(2, 0, Compressor().compress({})), "stream 2 opened"),
    ],
)
def test_what_breaks_the_protocol_is_named(data: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        Connection(client=False).receive(data)


def block(plain: bytes) -> bytes:
    packer = zlib.compressobj(zdict=DICTIONARY)
    return packer.compress(plain) + packer.flush(zlib.Z_SYNC_FLUSH)


def header(name: bytes, value: bytes) -> bytes:
    return struct.pack("!I", len(name)) + name + struct.pack("!I", len(value)) + value


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        (struct.pack("!I", 1) + header(b"", b"x"), "empty"),
        (struct.pack("!I", 1) + header(b"Upper", b"x"), "lower case"),
        (struct.pack("!I", 2) + header(b"a", b"1") + header(b"a", b"2"), "twice"),
        (struct.pack("!I", 0xFFFFFFFF), "cut short"),
        (struct.pack("!II", 1, 0xFFFFFFFF), "ends behind"),
        (struct.pack("!I", 0) + b"more", "behind the last"),
        (struct.pack("!I", 1) + header(b"a", b"\xff"), "no text"),
        (b"\0" * (BLOCK_LIMIT + 1), "more than"),  # a few bytes on the wire
    ],
)
def test_headers_are_held_to_their_form_and_size(plain: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        Decompressor().decompress(block(plain))


def test_a_peer_without_windows_is_sent_everything() -> None:
    client, server = pair()
    stream = opened(client, server)
    sent = sum(server.send_data(stream, bytes(FRAME_BYTES)) for _ in range(100))
    assert sent == 100 * FRAME_BYTES > INITIAL_WINDOW


def settings(window: int) -> bytes:
    return frames.control(
        frames.SETTINGS, 0, struct.pack("!III", 1, frames.SETTINGS_INITIAL_WINDOW_SIZE, window)
    )


def drain(connection: Connection, stream: int) -> int:
    total = 0
    while sent := connection.send_data(stream, bytes(FRAME_BYTES)):
        total += sent
    return total


def test_a_peers_windows_are_kept_to() -> None:
    client, server = pair()
    stream = opened(client, server)
    assert server.receive(settings(1000)) == [events.WindowOpened(0)]
    assert drain(server, stream) == 1000
    assert server.receive(frames.numbers(frames.WINDOW_UPDATE, stream, 500)) == [
        events.WindowOpened(stream)
    ]
    assert drain(server, stream) == 500
    server.receive(settings(100_000))
    assert drain(server, stream) == INITIAL_WINDOW - 1500  # the whole connection's window
    server.receive(frames.numbers(frames.WINDOW_UPDATE, 0, 1 << 20))
    assert drain(server, stream) == 100_000 - INITIAL_WINDOW + 500
    server.receive(settings(0))
    assert server.sendable(stream) == 0
    assert server.can_send(stream)


def test_what_is_consumed_opens_our_windows() -> None:
    client, server = pair()
    stream = opened(client, server)
    client.receive(settings(INITIAL_WINDOW))  # it keeps to windows
    for _ in range(10):
        sent = drain(client, stream)
        assert sent == INITIAL_WINDOW
        for event in server.receive(client.take_output()):
            assert isinstance(event, events.DataReceived)
            server.consumed(stream, len(event.data))
        client.receive(server.take_output())


def test_a_stream_of_a_dead_peer_opens_the_connections_window_all_the_same() -> None:
    client, server = pair()
    stream = opened(client, server)
    client.receive(settings(1 << 20))
    server.reset(stream)
    assert drain(client, stream) == INITIAL_WINDOW
    assert server.receive(client.take_output()) == []
    client.receive(server.take_output())
    assert client.sendable(opened(client, server)) == FRAME_BYTES


def test_too_many_streams_are_refused_one_by_one() -> None:
    client, server = Connection(client=True), Connection(client=False, stream_limit=2)
    numbers = [client.open_stream({}) for _ in range(3)]
    assert len(server.receive(client.take_output())) == 2
    refused = client.receive(server.take_output())
    assert refused == [events.StreamReset(numbers[2], frames.REFUSED_STREAM)]
    server.reset(numbers[0])
    fourth = client.open_stream({})
    assert server.receive(client.take_output()) == [events.StreamOpened(fourth)]


def test_pings_are_answered_and_answers_told() -> None:
    client, server = pair()
    identifier = client.ping()
    assert server.receive(client.take_output()) == []
    assert client.receive(server.take_output()) == [events.PingAnswered(identifier)]


def test_nothing_is_opened_after_a_goodbye() -> None:
    client, server = pair()
    stream = opened(client, server)
    server.go_away()
    assert client.receive(server.take_output()) == [events.GoneAway(stream, 0)]
    with pytest.raises(ProtocolError):
        client.open_stream({})
    late = Connection(client=True)
    late.open_stream({})
    assert Connection(client=False).receive(late.take_output()) != []
    client.send_data(stream, b"still open")
    assert server.receive(client.take_output()) == [events.DataReceived(stream, b"still open")]


def test_a_stream_is_over_when_both_directions_are() -> None:
    client, server = pair()
    stream = opened(client, server)
    client.end(stream)
    client.end(stream)
    assert server.receive(client.take_output()) == [events.StreamEnded(stream)]
    assert server.is_open(stream)
    assert server.send_data(stream, b"more") == 4
    server.end(stream)
    assert not server.is_open(stream)
    assert client.receive(server.take_output()) == [
        events.DataReceived(stream, b"more"),
        events.StreamEnded(stream),
    ]
    assert not client.is_open(stream)
    assert client.send_data(stream, b"late") == 0


def test_data_after_the_end_gives_the_stream_up() -> None:
    client, server = pair()
    stream = opened(client, server)
    client.end(stream)
    server.receive(client.take_output() + frames.data(stream, 0, b"late"))
    assert not server.is_open(stream)
    assert client.receive(server.take_output()) == [
        events.StreamReset(stream, frames.STREAM_ALREADY_CLOSED)
    ]
