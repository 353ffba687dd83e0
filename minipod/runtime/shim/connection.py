"""One connection of a daemon: requests in, responses and events out, never blocking.

What the peer does not read is kept up to a limit; beyond it the connection is dropped, and a living daemon
connects again and lists everything.
"""

import os
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence

from minipod.runtime import protocol
from minipod.runtime.protocol import Message
from minipod.runtime.shim.loop import Loop

OUTPUT_LIMIT = 16 * 1024 * 1024


class Request:
    """One call that wants exactly one answer, now or later. Its peer may be gone by then."""

    __slots__ = ("arguments", "connection", "descriptors", "id", "verb")

    def __init__(
        self, connection: "Connection", message: Message, descriptors: Sequence[int] = ()
    ) -> None:
        self.connection = connection
        self.id: int = message.get("id", 0)
        self.verb: str = str(message.get("verb"))
        arguments = message.get("arguments")
        self.arguments: Message = arguments if isinstance(arguments, dict) else {}
        self.descriptors = list(descriptors)

    def reply(self, result: Message, descriptors: Sequence[int] = ()) -> None:
        """Answer. The descriptors are handed over: closed here once they are sent."""
        self.connection.send({"id": self.id, "ok": result}, descriptors)

    def fail(self, reason: str, message: str, step: str = "") -> None:
        """Answer with a Kubernetes word and a sentence."""
        error = {"reason": reason, "message": message, "step": step}
        self.connection.send({"id": self.id, "error": error})


class Connection:
    """Frames over one socket. `number` names it in the upgrade state."""

    def __init__(
        self,
        loop: Loop,
        peer: socket.socket,
        number: int,
        on_request: Callable[[Request], None],
        on_closed: Callable[["Connection"], None],
        decoder: protocol.Decoder | None = None,
    ) -> None:
        self.number = number
        self.peer = peer
        self.subscribed = False
        self.closed = False
        self.decoder = decoder or protocol.Decoder()
        self.output: deque[tuple[memoryview, list[int]]] = deque()
        self._output_bytes = 0
        self._loop = loop
        self._on_request = on_request
        self._on_closed = on_closed
        peer.setblocking(False)
        loop.watch(peer.fileno(), select.EPOLLIN, self._on_ready)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send or queue a message; its descriptors become ours to close."""
        frame = protocol.encode(message, len(descriptors), binary=self.decoder.binary)
        self.send_frame(frame, descriptors)

    def send_frame(self, frame: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send or queue an encoded frame."""
        if self.closed:
            _close_all(descriptors)
            return
        self.output.append((memoryview(frame), list(descriptors)))
        self._output_bytes += len(frame)
        if self._output_bytes > OUTPUT_LIMIT:
            self.close()
        elif len(self.output) == 1:
            self._flush()

    def close(self) -> None:
        """Drop the connection and everything queued. Repeatable."""
        if self.closed:
            return
        self.closed = True
        self._loop.unwatch(self.peer.fileno())
        self.peer.close()
        _close_all(self.decoder.descriptors)
        for _, descriptors in self.output:
            _close_all(descriptors)
        self.output.clear()
        self._on_closed(self)

    def _on_ready(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._flush()
        if not self.closed and events & ~select.EPOLLOUT:
            self._read()

    def _read(self) -> None:
        try:
            data, descriptors = protocol.receive(self.peer)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self.decoder.feed(data, descriptors)
        if not data:
            self.close()
            return
        try:
            for message, given in self.decoder.messages():
                self._on_request(Request(self, message, given))
        except protocol.ProtocolError as error:
            self.send({"id": 0, "error": {"reason": "BadFrame", "message": str(error), "step": ""}})
            self.close()

    def _flush(self) -> None:
        try:
            while self.output:
                frame, descriptors = self.output[0]
                sent = protocol.send(self.peer, frame, descriptors)
                _close_all(descriptors)
                self._output_bytes -= sent
                if sent < len(frame):
                    self.output[0] = frame[sent:], []
                else:
                    self.output.popleft()
        except BlockingIOError:
            self._loop.watch(self.peer.fileno(), select.EPOLLIN | select.EPOLLOUT, self._on_ready)
        except OSError:
            self.close()
        else:
            self._loop.watch(self.peer.fileno(), select.EPOLLIN, self._on_ready)


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
