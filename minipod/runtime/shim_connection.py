"""The daemon's end of one connection to the shim: calls, their answers, and events, on the asyncio loop."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from minipod.runtime import protocol
from minipod.runtime.protocol import Message
from minipod.runtime.service import RuntimeFailure


class Answer:
    """What a call returned: members of the result, and descriptors that now belong to the caller."""

    def __init__(self, result: Message, descriptors: Sequence[int]) -> None:
        self.result = result
        self.descriptors = list(descriptors)

    def __getitem__(self, name: str) -> Any:
        return self.result[name]


class ShimConnection:
    """Many calls at once over one socket. `on_lost` is called once, when the shim is gone; never after close()."""

    def __init__(
        self,
        peer: socket.socket,
        on_event: Callable[[Message], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._peer = peer
        self._on_event, self._on_lost = on_event, on_lost
        self._decoder = protocol.Decoder()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._output: deque[memoryview] = deque()
        self._last_id = 0
        self._asked = self._loop.time()  # when anything was asked for
        self.binary = False  # whether the shim takes binary frames
        self.closed = False
        peer.setblocking(False)
        self._loop.add_reader(peer.fileno(), self._on_readable)

    async def call(self, verb: str, **arguments: object) -> Answer:
        """Ask and wait for the answer. Raises RuntimeFailure, with "ShimUnavailable" when the connection is lost."""
        return await self.begin(verb, **arguments)

    def begin(self, verb: str, **arguments: object) -> "asyncio.Future[Answer]":
        """Ask; the future holds the answer. Calls are sent in the order in which they are begun."""
        if self.closed:
            raise _unavailable()
        self._last_id += 1
        self._asked = self._loop.time()
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[self._last_id] = answer
        message = {"id": self._last_id, "verb": verb, "arguments": arguments}
        frame = protocol.encode(message, binary=self.binary)
        self._output.append(memoryview(frame))
        self._flush()
        return answer

    @property
    def idle_seconds(self) -> float:
        """How long nothing has been asked for."""
        return self._loop.time() - self._asked

    def close(self) -> None:
        """Close without telling; calls in progress fail. Repeatable."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._peer.fileno())
        self._loop.remove_writer(self._peer.fileno())
        self._peer.close()
        for descriptor in self._decoder.descriptors:
            os.close(descriptor)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(_unavailable())
                answer.exception()  # whoever still waits gets it; nobody has to
        self._waiting.clear()

    def _lose(self) -> None:
        if not self.closed:
            self.close()
            self._on_lost()

    def _flush(self) -> None:
        try:
            while self._output:
                sent = self._peer.send(self._output[0])
                rest = self._output[0][sent:]
                self._output.popleft()
                if rest:
                    self._output.appendleft(rest)
        except BlockingIOError:
            self._loop.add_writer(self._peer.fileno(), self._flush)
        except OSError:
            self._loop.call_soon(self._lose)
        else:
            self._loop.remove_writer(self._peer.fileno())

    def _on_readable(self) -> None:
        try:
            data, descriptors = protocol.receive(self._peer)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._lose()
            return
        self._decoder.feed(data, descriptors)
        try:
            for message, given in self._decoder.messages():
                self._take(message, given)
        except protocol.ProtocolError:
            self._lose()

    def _take(self, message: Message, descriptors: Sequence[int]) -> None:
        if "event" in message:
            self._on_event(message)
            return
        answer = self._waiting.pop(message.get("id", 0), None)
        if answer is None or answer.done():  # nobody waits any more
            _close_all(descriptors)
        elif "error" in message:
            error = message["error"]
            answer.set_exception(RuntimeFailure(error["reason"], error["message"], error["step"]))
        else:
            answer.set_result(Answer(message["ok"], descriptors))


def _unavailable() -> RuntimeFailure:
    return RuntimeFailure("ShimUnavailable", "the shim is not reachable")


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
