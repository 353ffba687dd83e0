"""Frames, descriptors and specs survive the way through a socket."""

import os
import socket

import pytest

from minipod.runtime import codec, protocol
from minipod.runtime.spec import (
    ContainerSpec,
    Mount,
    Resources,
    Rootfs,
    SandboxNetwork,
    SandboxSpec,
    Security,
    User,
)


def test_a_message_cut_into_single_bytes_arrives_whole() -> None:
    decoder = protocol.Decoder()
    seen = []
    for byte in protocol.encode({"id": 1, "text": "Grüße"}) + protocol.encode({"id": 2}):
        decoder.feed(bytes([byte]))
        seen += list(decoder.messages())
    assert seen == [({"id": 1, "text": "Grüße"}, []), ({"id": 2}, [])]
    assert not decoder.pending


def test_json_and_binary_messages_follow_each_other() -> None:
    decoder = protocol.Decoder()
    plain, binary = {"id": 1, "text": "Grüße"}, {"id": 2, "program": b"\0\xff", "args": ("a",)}
    decoder.feed(protocol.encode(plain) + protocol.encode(binary, binary=True))
    messages = decoder.messages()
    assert (next(messages)[0], decoder.binary) == (plain, False)
    assert (next(messages)[0], decoder.binary) == (binary, True)
    assert not decoder.pending


def test_what_is_too_long_is_no_frame_in_either_form() -> None:
    for length in (protocol.FRAME_LIMIT + 1, protocol.FRAME_LIMIT + 1 | 1 << 31):
        decoder = protocol.Decoder()
        decoder.feed(length.to_bytes(4, "big") + bytes(4))
        with pytest.raises(protocol.ProtocolError, match="too large"):
            next(decoder.messages())


@pytest.mark.parametrize("body", [b"", b"{", b"i\1", b"N", b"\xff\xff"])
def test_a_binary_frame_that_holds_no_message_ends_the_connection(body) -> None:
    decoder = protocol.Decoder()
    decoder.feed((len(body) | 1 << 31).to_bytes(4, "big") + bytes(4) + body)
    with pytest.raises(protocol.ProtocolError):
        next(decoder.messages())


def test_descriptors_go_to_the_message_they_came_with() -> None:
    near, far = socket.socketpair()
    with near, far:
        one, two = os.memfd_create("one"), os.memfd_create("two")
        os.write(one, b"1")
        os.write(two, b"2")
        protocol.send(near, protocol.encode({"id": 1}), [])
        protocol.send(near, protocol.encode({"id": 2}, 1), [one])
        protocol.send(near, protocol.encode({"id": 3}, 1), [two])
        os.close(one)
        os.close(two)
        near.shutdown(socket.SHUT_WR)
        decoder = protocol.Decoder()
        while True:
            data, descriptors = protocol.receive(far)
            decoder.feed(data, descriptors)
            if not data:
                break
        messages = list(decoder.messages())
    assert [len(given) for _, given in messages] == [0, 1, 1]
    contents = []
    for _, given in messages[1:]:
        assert not os.get_inheritable(given[0])
        contents.append(os.pread(given[0], 9, 0))
        os.close(given[0])
    assert contents == [b"1", b"2"]


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xff\xff\xff\0\0\0\0",
        b"\0\0\0\2\0\0\xff\xff{}",
        b"\0\0\0\2\0\0\0\1{}",
        b"\0\0\0\2\0\0\0\0{x",
        b"\0\0\0\2\0\0\0\0[]",
        b"\0\1\0\0\0\0\0\0" + b"[" * 65536,
    ],
)
def test_what_is_no_frame_is_an_error(frame: bytes) -> None:
    decoder = protocol.Decoder(frame)
    with pytest.raises(protocol.ProtocolError):
        list(decoder.messages())


def test_specs_come_back_equal() -> None:
    container = ContainerSpec(
        id="ab" * 32,
        sandbox_id="pod1",
        args=("sh", "-c", "echo"),
        rootfs=Rootfs(("/a", "/b"), "/upper", "/work"),
        mounts=(Mount("/data", "/src", options=("nosuid",)), Mount("/tmp", type="tmpfs")),
        user=User("app", gid=7, supplementary=(1, 2)),
        security=Security(("CHOWN",), seccomp=b"\x00\xff\x10"),
        resources=Resources(memory_bytes=1 << 33),
        labels={"io.kubernetes.pod.uid": "1"},
    )
    assert codec.from_plain(ContainerSpec, codec.to_plain(container)) == container
    sandbox = SandboxSpec(
        "a", "host", "minipod/a", SandboxNetwork("br", "10.0.0.2/16", "10.0.0.1", "v")
    )
    assert codec.from_plain(SandboxSpec, codec.to_plain(sandbox)) == sandbox


def test_unknown_members_of_a_newer_peer_are_left_out() -> None:
    assert codec.from_plain(Resources, {"pids": 5, "swap": 1}) == Resources(pids=5)
