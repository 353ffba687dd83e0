"""A sandbox's network, made while its pause settles in, and taken away with it."""

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from minipod.linux import netlink, nft
from minipod.network.bridge import ensure_network, remove_network
from minipod.runtime import dialling
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.spec import PortMapping, SandboxNetwork
from tests.kernel.shim.world import ShimWorld, asynchronous, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("outer_namespace")]


@asynchronous
async def test_a_sandbox_has_its_address_before_its_first_container(shim: ShimWorld) -> None:
    facts = ensure_network(shim.layout, "10.98.0.0/20")
    try:
        ports = (PortMapping(8080, 80),)
        wire = f"v0{shim.layout.instance[-8:]}"
        network = SandboxNetwork(
            facts.bridge, "10.98.0.2/20", "10.98.0.1", wire, table=facts.table, ports=ports
        )
        made = await shim.sandbox(network=network)
        assert (made.ready, made.address) == (True, "10.98.0.2")
        inside = ["nsenter", "-t", str(made.pid), "-n", "ip", "-4", "-o", "address", "show", "eth0"]
        shown = subprocess.run(inside, capture_output=True, text=True, check=True)  # noqa: ASYNC221
        assert "10.98.0.2/20" in shown.stdout
        ended = await shim.run("cat /proc/net/route /proc/sys/kernel/hostname")
        assert any(line.startswith("eth0\t00000000\t0100620A") for line in shim.log(ended))
        assert shim.log(ended)[-1] == "pod-1"
        assert nft.list_elements("inet", facts.table, "ports")
        other = SandboxNetwork(
            facts.bridge, "10.98.0.3/20", "10.98.0.1", "v1", table=facts.table, ports=ports
        )
        with pytest.raises(RuntimeFailure, match="8080") as failure:  # the port is taken
            await shim.sandbox("second", network=other)
        assert failure.value.reason == "SandboxFailed"
        assert [item.id for item in (await shim.runtime.state()).sandboxes] == ["sandbox"]
        await shim.runtime.close()  # a new daemon takes it down as well
        await shim.open()
        await shim.runtime.remove_sandbox("sandbox")
        assert netlink.link(wire) is None
        assert not nft.list_elements("inet", facts.table, "ports")
        await wait_until(lambda: not Path(f"/proc/{made.pid}/exe").exists())
    finally:
        remove_network(shim.layout)


@asynchronous
async def test_sandboxes_are_written_into_rules_that_were_made_anew(shim: ShimWorld) -> None:
    facts = ensure_network(shim.layout, "10.98.0.0/20")
    try:
        for number in (2, 3, 4):
            network = SandboxNetwork(
                *(facts.bridge, f"10.98.0.{number}/20", "10.98.0.1", f"v{number}"),
                table=facts.table,
                ports=(PortMapping(8080 + number, 80),),
            )
            await shim.sandbox(f"s{number}", network=network)
        remove_network(shim.layout)
        ensure_network(shim.layout, "10.98.0.0/20")
        removing = (shim.runtime.remove_sandbox(f"s{number}") for number in (2, 3))
        await asyncio.gather(next(removing), shim.runtime.readmit(), next(removing))
        [port] = nft.list_elements("inet", facts.table, "ports")
        assert (port.key, port.value) == (("tcp", 8084), ("10.98.0.4", 80))
        [guarded] = nft.list_elements("bridge", facts.table, "guarded")
        assert guarded.key == ("v4",)
        await shim.runtime.remove_sandbox("s4")
    finally:
        remove_network(shim.layout)


async def echoed(peer: socket.socket, data: bytes) -> bytes:
    """Send, and read as much back."""
    loop, said = asyncio.get_running_loop(), b""
    await loop.sock_sendall(peer, data)
    while len(said) < len(data) and (piece := await loop.sock_recv(peer, 65536)):
        said += piece
    return said


def threads_namespaces() -> set[str]:
    """Return where this process's threads are. One that has been joined may take a moment to end in the kernel."""
    found = set()
    for each in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/task/{each}/ns/net"))
    return found


@asynchronous
async def test_a_sandboxs_loopback_can_be_dialled_from_the_daemon(shim: ShimWorld) -> None:
    facts = ensure_network(shim.layout, "10.98.0.0/20")
    try:
        wire = f"v2{shim.layout.instance[-8:]}"
        network = SandboxNetwork(facts.bridge, "10.98.0.2/20", "10.98.0.1", wire, table=facts.table)
        await shim.sandbox(network=network)
        await shim.start("busybox", "nc", "-ll", "-p", "8080", "-e", "cat")
        await shim.start("busybox", "httpd", "-f", "-p", "[::1]:8082")
        before = threads_namespaces()
        peers = [await dialled(shim, "sandbox", port) for port in (8080, 8082, *[8080] * 20)]
        await wait_until(lambda: threads_namespaces() == before)
        assert len(before) == 1
        assert [peer.family for peer in peers[:2]] == [socket.AF_INET, socket.AF_INET6]
        for peer in [peers[0], *peers[2:]]:
            assert await echoed(peer, b"hello") == b"hello"
        for peer in peers:
            peer.close()
        with pytest.raises(ConnectionError) as refused:
            await shim.runtime.dial("sandbox", 9)
        assert str(refused.value) == (
            "failed to connect to localhost:9 inside the pod's network namespace, "
            "IPv4: dial tcp4 127.0.0.1:9: connect: connection refused "
            "IPv6: dial tcp6 [::1]:9: connect: connection refused"
        )
    finally:
        await shim.runtime.remove_sandbox("sandbox")
        remove_network(shim.layout)


async def dialled(shim: ShimWorld, sandbox: str, port: int) -> socket.socket:
    """Connect as soon as somebody listens."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return await shim.runtime.dial(sandbox, port)
        except ConnectionError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)  # nothing tells when a program listens


@asynchronous
async def test_a_sandbox_on_the_hosts_network_is_dialled_there(shim: ShimWorld) -> None:
    await shim.sandbox()
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    peer = await shim.runtime.dial("sandbox", port)
    assert peer.getpeername() == ("127.0.0.1", port)
    peer.close()
    server.close()
    await server.wait_closed()


@asynchronous
async def test_another_process_of_the_same_number_is_not_dialled(shim: ShimWorld) -> None:
    await shim.sandbox()
    with pytest.raises(ConnectionError, match="does not run any more"):
        await dialling.dial(80, os.getpid(), f"{shim.pods}/sandbox")
