"""What a SPDY connection tells whoever drives it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream. Accept it with `reply`, or refuse it with `reset`."""

    stream: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamAccepted:
    """The peer accepted a stream that we opened."""

    stream: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeadersReceived:
    """More headers came on an open stream."""

    stream: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Bytes came. Say `consumed` once they are dealt with, so that the peer may send more."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The peer sends no more on a stream; it may still listen."""

    stream: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave a stream up, both ways."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class WindowOpened:
    """A stream (0: every stream) may send again."""

    stream: int


@dataclass(frozen=True, slots=True)
class PingAnswered:
    """The peer answered a ping."""

    identifier: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer opens no more streams and accepts none behind `last`."""

    last: int
    status: int


Event = (
    StreamOpened
    | StreamAccepted
    | HeadersReceived
    | DataReceived
    | StreamEnded
    | StreamReset
    | WindowOpened
    | PingAnswered
    | GoneAway
)
