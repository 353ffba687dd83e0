"""One SPDY/3.1 connection: what came in, what is to go out, and which streams there are.

    connection = Connection(client=False)
    for event in connection.receive(data): ...
    transport.write(connection.take_output())

Bounds: control frames and headers of 64 KiB, a number of streams at one time, data frames handed on piece by piece as
they arrive. Windows: ours are opened again as data is consumed. Those of a peer are kept to once it has shown that it
has any, by a SETTINGS or WINDOW_UPDATE frame; Go's spdystream, which kubectl and client-go use, never opens a window
and relies on TCP alone, so that a sender which kept to its windows would stand still after 64 KiB.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from minipod.spdy import frames
from minipod.spdy.events import (
    DataReceived,
    Event,
    GoneAway,
    HeadersReceived,
    PingAnswered,
    StreamAccepted,
    StreamEnded,
    StreamOpened,
    StreamReset,
    WindowOpened,
)
from minipod.spdy.frames import FLAG_FIN, FLAG_UNIDIRECTIONAL, ControlHead, DataHead, ProtocolError
from minipod.spdy.headers import Compressor, Decompressor

INITIAL_WINDOW = 64 << 10
FRAME_BYTES = (
    16 << 10
)  # payload of the data frames that we send: no stream holds the others up for long
STREAM_LIMIT = 2048


@dataclass(slots=True)
class _Stream:
    """One stream's two directions."""

    receiving: bool = True
    sending: bool = True
    window: int = INITIAL_WINDOW  # bytes that the peer lets us send
    consumed: int = 0  # bytes dealt with and not yet given back to the peer's window


class Connection:
    """The state machine. Methods that send only queue bytes: `take_output` hands them out."""

    def __init__(self, *, client: bool, stream_limit: int = STREAM_LIMIT) -> None:
        self._client = client
        self._limit = stream_limit
        self._next = 1 if client else 2
        self._next_ping = 1 if client else 2
        self._last = 0  # the newest stream of the peer's
        self._streams: dict[int, _Stream] = {}
        self._compressor, self._decompressor = Compressor(), Decompressor()
        self._input, self._output = bytearray(), bytearray()
        self._data: DataHead | None = None  # the data frame whose payload is arriving
        self._left = 0  # bytes of it still to come
        self._peer_has_windows = False
        self._initial_window = INITIAL_WINDOW  # the peer's, for new streams
        self._window = INITIAL_WINDOW  # the peer's, for the whole connection
        self._consumed = 0
        self._went_away = self._gone_away = False

    # -- what to send ----------------------------------------------------------------------------

    def take_output(self) -> bytes:
        """Return what is to be sent now, and forget it."""
        output, self._output = bytes(self._output), bytearray()
        return output

    def open_stream(self, headers: Mapping[str, str], *, fin: bool = False) -> int:
        """Open a stream and return its identifier; with `fin`, nothing will be sent on it. ProtocolError when gone."""
        if self._gone_away or self._went_away or self._next > frames.MASK:
            raise ProtocolError("no more streams can be opened on this connection")
        stream, self._next = self._next, self._next + 2
        self._streams[stream] = _Stream(sending=not fin, window=self._initial_window)
        block = self._compressor.compress(headers)
        self._output += frames.syn_stream(stream, FLAG_FIN if fin else 0, block)
        return stream

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> None:
        """Accept a stream of the peer's."""
        if stream in self._streams:
            self._output += frames.syn_reply(stream, 0, self._compressor.compress(headers or {}))

    @property
    def output_size(self) -> int:
        """How many bytes wait to be taken."""
        return len(self._output)

    def is_open(self, stream: int) -> bool:
        """Whether a stream is open in either direction."""
        return stream in self._streams

    def sendable(self, stream: int) -> int:
        """Return how many bytes may be sent on a stream now: 0 when it must wait for WindowOpened, or is closed."""
        found = self._streams.get(stream)
        if found is None or not found.sending:
            return 0
        if not self._peer_has_windows:
            return FRAME_BYTES
        return max(0, min(found.window, self._window, FRAME_BYTES))

    def can_send(self, stream: int) -> bool:
        """Whether a stream is still open in our direction, windows aside."""
        found = self._streams.get(stream)
        return found is not None and found.sending

    def send_data(self, stream: int, data: bytes | memoryview) -> int:
        """Send as much of `data` as goes now and return how much that was."""
        size = min(len(data), self.sendable(stream))
        if size:
            self._output += frames.data(stream, 0, data[:size])
            self._streams[stream].window -= size
            self._window -= size
        return size

    def end(self, stream: int) -> None:
        """Send no more on a stream. Repeatable."""
        if self.can_send(stream):
            self._output += frames.data(stream, FLAG_FIN, b"")
            self._streams[stream].sending = False
            self._tidy(stream)

    def reset(self, stream: int, status: int = frames.CANCEL) -> None:
        """Give a stream up, both ways. Repeatable."""
        if self._streams.pop(stream, None) is not None:
            self._output += frames.numbers(frames.RST_STREAM, stream, status)

    def consumed(self, stream: int, size: int) -> None:
        """Open the peer's windows again by what has been dealt with."""
        self._consumed += size
        if self._consumed >= INITIAL_WINDOW // 2:
            self._output += frames.numbers(frames.WINDOW_UPDATE, 0, self._consumed)
            self._consumed = 0
        found = self._streams.get(stream)
        if found is None or not found.receiving:
            return
        found.consumed += size
        if found.consumed >= INITIAL_WINDOW // 2:
            self._output += frames.numbers(frames.WINDOW_UPDATE, stream, found.consumed)
            found.consumed = 0

    def ping(self) -> int:
        """Ask the peer for an answer; return what identifies it."""
        identifier, self._next_ping = self._next_ping, (self._next_ping + 2) & frames.MASK
        self._output += frames.numbers(frames.PING, identifier)
        return identifier

    def go_away(self, status: int = frames.GOAWAY_OK) -> None:
        """Accept no more streams. Repeatable."""
        if not self._went_away:
            self._went_away = True
            self._output += frames.numbers(frames.GOAWAY, self._last, status)

    # -- what came -------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes and return what they mean. Raises ProtocolError, with a GOAWAY queued that says so."""
        self._input += data
        events: list[Event] = []
        try:
            while self._take_frame(events):
                pass
        except ProtocolError:
            self.go_away(frames.GOAWAY_PROTOCOL_ERROR)
            raise
        return events

    def _take_frame(self, events: list[Event]) -> bool:
        """Take one frame, or a piece of a data frame. False when more bytes are needed."""
        if self._data is not None:
            return self._take_data(self._data, events)
        if len(self._input) < frames.HEAD:
            return False
        head = frames.parse_head(self._input)
        if isinstance(head, DataHead):
            del self._input[: frames.HEAD]
            self._check_data(head)
            self._data, self._left = head, head.length
            return self._take_data(head, events)
        end = frames.HEAD + head.length
        if len(self._input) < end:
            return False
        payload = bytes(self._input[frames.HEAD : end])
        del self._input[:end]
        try:
            self._take_control(head, payload, events)
        except struct.error:
            raise ProtocolError(f"a control frame of type {head.type} is cut short") from None
        return True

    def _check_data(self, head: DataHead) -> None:
        """Refuse data of a stream that never was; what comes late for one that was is dropped by `_take_data`."""
        ours = head.stream % 2 == (1 if self._client else 0)
        if head.stream == 0 or head.stream > (self._next - 2 if ours else self._last):
            raise ProtocolError(f"data of stream {head.stream}, which was not opened")

    def _take_data(self, head: DataHead, events: list[Event]) -> bool:
        piece = bytes(self._input[: self._left])
        del self._input[: len(piece)]
        self._left -= len(piece)
        found = self._streams.get(head.stream)
        if found is None:
            self.consumed(head.stream, len(piece))  # nobody else will
        elif not found.receiving:
            self.reset(head.stream, frames.STREAM_ALREADY_CLOSED)
            events.append(StreamReset(head.stream, frames.STREAM_ALREADY_CLOSED))
        elif piece:
            events.append(DataReceived(head.stream, piece))
        if self._left:
            return False
        self._data = None
        if head.flags & FLAG_FIN:
            self._end_received(head.stream, events)
        return True

    def _take_control(self, head: ControlHead, payload: bytes, events: list[Event]) -> None:
        match head.type:
            case frames.SYN_STREAM:
                self._take_syn_stream(head.flags, payload, events)
            case frames.SYN_REPLY | frames.HEADERS:
                self._take_headers(head, payload, events)
            case frames.RST_STREAM:
                stream, status = struct.unpack("!II", payload)
                if self._streams.pop(stream & frames.MASK, None) is not None:
                    events.append(StreamReset(stream & frames.MASK, status))
            case frames.SETTINGS:
                self._take_settings(payload, events)
            case frames.PING:
                (identifier,) = struct.unpack("!I", payload)
                self._take_ping(identifier, events)
            case frames.GOAWAY:
                last, status = struct.unpack("!II", payload)
                self._gone_away = True
                events.append(GoneAway(last & frames.MASK, status))
            case frames.WINDOW_UPDATE:
                stream, size = struct.unpack("!II", payload)
                self._take_window(stream & frames.MASK, size & frames.MASK, events)
            case _:
                pass  # the draft: frames of unknown types are ignored

    def _take_syn_stream(self, flags: int, payload: bytes, events: list[Event]) -> None:
        stream = struct.unpack_from("!IIBB", payload)[0] & frames.MASK
        headers = self._decompressor.decompress(payload[10:])  # in any case: it is one zlib stream
        if stream % 2 == (1 if self._client else 0) or stream <= self._last:
            raise ProtocolError(f"stream {stream} opened behind stream {self._last}")
        self._last = stream
        if self._went_away:
            return  # told already that it will not be served
        if len(self._streams) >= self._limit:
            self._output += frames.numbers(frames.RST_STREAM, stream, frames.REFUSED_STREAM)
            return
        sending = not flags & FLAG_UNIDIRECTIONAL
        self._streams[stream] = _Stream(sending=sending, window=self._initial_window)
        events.append(StreamOpened(stream, headers))
        if flags & FLAG_FIN:
            self._end_received(stream, events)

    def _take_headers(self, head: ControlHead, payload: bytes, events: list[Event]) -> None:
        stream = struct.unpack_from("!I", payload)[0] & frames.MASK
        headers = self._decompressor.decompress(payload[4:])
        if stream not in self._streams:
            return  # given up meanwhile
        made = StreamAccepted if head.type == frames.SYN_REPLY else HeadersReceived
        events.append(made(stream, headers))
        if head.flags & FLAG_FIN:
            self._end_received(stream, events)

    def _take_settings(self, payload: bytes, events: list[Event]) -> None:
        (count,) = struct.unpack_from("!I", payload)
        if len(payload) != 4 + 8 * count:
            raise ProtocolError("a SETTINGS frame of a length that does not fit")
        self._peer_has_windows = True
        for index in range(count):
            identifier, value = struct.unpack_from("!II", payload, 4 + 8 * index)
            if identifier & 0xFFFFFF == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                if value > frames.MASK:
                    raise ProtocolError(f"an initial window of {value} bytes")
                change, self._initial_window = value - self._initial_window, value
                for found in self._streams.values():
                    found.window += change
                events.append(WindowOpened(0))

    def _take_ping(self, identifier: int, events: list[Event]) -> None:
        if identifier % 2 == (1 if self._client else 0):
            events.append(PingAnswered(identifier))
        else:
            self._output += frames.numbers(frames.PING, identifier)

    def _take_window(self, stream: int, size: int, events: list[Event]) -> None:
        self._peer_has_windows = True
        if stream == 0:
            self._window = _opened(self._window, size)
            events.append(WindowOpened(0))
        elif found := self._streams.get(stream):
            found.window = _opened(found.window, size)
            events.append(WindowOpened(stream))

    def _end_received(self, stream: int, events: list[Event]) -> None:
        found = self._streams.get(stream)
        if found is not None and found.receiving:
            found.receiving = False
            events.append(StreamEnded(stream))
            self._tidy(stream)

    def _tidy(self, stream: int) -> None:
        found = self._streams[stream]
        if not found.receiving and not found.sending:
            del self._streams[stream]


def _opened(window: int, size: int) -> int:
    if size == 0 or window + size > frames.MASK:
        raise ProtocolError(f"a window opened by {size} bytes to {window + size}")
    return window + size
