"""The DNS server on real sockets: its own names, other servers' names, both transports, and nonsense."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from dnslib import EDNS0, QTYPE, DNSRecord

from minipod.network import dns
from minipod.network.dns import DnsServer
from minipod.network.dns_records import Zone
from minipod.network.service_view import ServiceView
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock

from .topology import outer_namespace

pytestmark = pytest.mark.kernel

OURS, THEIRS = "127.0.0.1", "127.0.0.2"
HEADLESS = "many.default.svc.cluster.local"


@pytest.fixture(autouse=True)
def outer() -> Iterator[None]:
    with outer_namespace():
        yield


def _objects(api: FakeApi) -> None:
    for name, address in (("web", "10.96.0.10"), ("many", "None")):
        metadata = {"namespace": "default", "name": name}
        spec = {"clusterIP": address, "ports": []}
        api._store("services", {"metadata": metadata, "spec": spec}, "ADDED")
    endpoints = [{"addresses": [f"10.85.0.{n}"], "conditions": {"ready": True}} for n in range(200)]
    labels = {"kubernetes.io/service-name": "many"}
    metadata = {"namespace": "default", "name": "many-1", "labels": labels}
    slice_ = {"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": []}
    api._store("endpointslices.discovery.k8s.io", slice_, "ADDED")


Ask = Callable[..., Awaitable[Any]]


def play(tmp_path: Path, scene: Callable[[Ask, FakeApi], Awaitable[None]]) -> None:
    async def body() -> None:
        api = FakeApi(FakeClock())
        _objects(api)
        view = ServiceView(api.client())
        await view.start()
        conf = tmp_path / "resolv.conf"
        conf.write_text(f"nameserver {OURS}\nnameserver {THEIRS}\n")
        zone = Zone(view, "cluster.local", IPv4Network("10.85.0.0/16"))
        server = DnsServer(zone, OURS, IPv4Network("127.0.0.0/30"), conf)
        await server.start()
        await scene(lambda *a, **k: asyncio.to_thread(ask, *a, **k), api)
        await server.stop()
        await view.stop()

    asyncio.run(body())


def ask(name: str, kind: str = "A", *, tcp: bool = False, source: str = "127.0.0.3") -> Any:
    question = DNSRecord.question(name, kind)
    return DNSRecord.parse(exchange(question.pack(), tcp=tcp, source=source))


def exchange(data: bytes, *, tcp: bool = False, source: str = "127.0.0.3") -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as client:
        client.settimeout(8)
        client.bind((source, 0))
        client.connect((OURS, 53))
        client.sendall(len(data).to_bytes(2, "big") + data if tcp else data)
        if not tcp:
            return client.recv(65535)
        received = b""
        while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
            received += client.recv(65535)
        return received[2:]


class Upstream:
    """A server that knows one name."""

    def __enter__(self) -> "Upstream":
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind((THEIRS, 53))
        asyncio.get_running_loop().add_reader(self.server, self._answer)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self.server)
        self.server.close()

    def _answer(self) -> None:
        data, peer = self.server.recvfrom(4096)
        reply = DNSRecord.parse(data).replyZone("example.com 60 A 192.0.2.7")
        self.server.sendto(b"\0\0" + reply.pack()[2:], peer)  # a guess, to be passed over
        self.server.sendto(reply.pack(), peer)


def test_own_names_over_both_transports_and_as_they_change(tmp_path: Path) -> None:
    async def scene(ask: Ask, api: FakeApi) -> None:
        for tcp in (False, True):
            reply = await ask("web.default.svc.cluster.local", tcp=tcp)
            assert [str(each.rdata) for each in reply.rr] == ["10.96.0.10"]
            assert reply.header.aa
            assert reply.header.ra
            none = await ask("new.default.svc.cluster.local", tcp=tcp)
            assert none.header.rcode == 3
            assert none.auth[0].rtype == 6
        metadata = {"namespace": "default", "name": "new"}
        spec = {"clusterIP": "10.96.0.11"}
        api._store("services", {"metadata": metadata, "spec": spec}, "ADDED")
        reply = await ask("new.default.svc.cluster.local")
        assert [str(each.rdata) for each in reply.rr] == ["10.96.0.11"]

    play(tmp_path, scene)


def test_what_does_not_fit_is_cut_and_comes_whole_over_tcp(tmp_path: Path) -> None:
    async def scene(ask: Ask, api: FakeApi) -> None:
        cut = await ask(HEADLESS)
        assert cut.header.tc
        assert cut.rr == []
        assert len((await ask(HEADLESS, tcp=True)).rr) == 200

    play(tmp_path, scene)


def test_edns_is_answered_with_edns_and_its_size_is_used(tmp_path: Path) -> None:
    def asking(name: str, version: int = 0) -> Any:
        question = DNSRecord.question(name)
        question.add_ar(EDNS0(udp_len=4096, version=version))
        return DNSRecord.parse(exchange(question.pack()))

    async def scene(_: Ask, __: FakeApi) -> None:
        answer = await asyncio.to_thread(asking, "web.default.svc.cluster.local")
        (options,) = [each for each in answer.ar if each.rtype == QTYPE.OPT]
        assert (options.rclass, options.ttl) == (4096, 0)
        assert str(answer.rr[0].rdata) == "10.96.0.10"
        many = await asyncio.to_thread(asking, HEADLESS)
        assert (many.header.tc, len(many.rr)) == (0, 200)
        refused = await asyncio.to_thread(asking, "web.default.svc.cluster.local", 1)
        (options,) = [each for each in refused.ar if each.rtype == QTYPE.OPT]
        assert (refused.header.rcode, options.ttl >> 24, refused.rr) == (0, 1, [])  # BADVERS

    play(tmp_path, scene)


def test_other_names_are_asked_of_the_hosts_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "FORWARD_SECONDS", 0.5)

    async def scene(ask: Ask, api: FakeApi) -> None:
        with Upstream():
            reply = await ask("example.com")
        assert [str(each.rdata) for each in reply.rr] == ["192.0.2.7"]
        assert (await ask("example.com")).header.rcode == 2  # nobody there any more

    play(tmp_path, scene)


def test_an_alias_comes_with_its_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "FORWARD_SECONDS", 0.5)

    async def scene(ask: Ask, api: FakeApi) -> None:
        targets = (
            "example.com.",
            "web.default.svc.cluster.local",
            "gone.default.svc.cluster.local",
        )
        for name, target in zip(("away", "near", "lost"), targets, strict=True):
            metadata = {"namespace": "default", "name": name}
            spec = {"type": "ExternalName", "externalName": target}
            api._store("services", {"metadata": metadata, "spec": spec}, "ADDED")
        metadata = {"namespace": "default", "name": "self"}
        spec = {"type": "ExternalName", "externalName": "self.default.svc.cluster.local"}
        api._store("services", {"metadata": metadata, "spec": spec}, "ADDED")
        for name, address in (("away", "192.0.2.7"), ("near", "10.96.0.10")):
            with Upstream():
                reply = await ask(f"{name}.default.svc.cluster.local")
            assert [str(each.rdata) for each in reply.rr][1:] == [address]
            assert reply.rr[0].rtype == 5  # CNAME
            alone = await ask(f"{name}.default.svc.cluster.local", "CNAME")
            assert len(alone.rr) == 1
        assert (await ask("lost.default.svc.cluster.local")).header.rcode == 3
        assert (await ask("self.default.svc.cluster.local")).header.rcode == 2
        assert (await ask("away.default.svc.cluster.local")).header.rcode == 2  # nobody there now

    play(tmp_path, scene)


def test_connections_are_bounded_and_end_when_nobody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(dns, "PER_CLIENT", 2)
    Path("/proc/sys/net/ipv4/tcp_wmem").write_text(
        "4096 16384 16384"
    )  # this namespace's: soon full

    def greedy() -> None:
        """Ask for much without reading it, until the server has had enough."""
        question = DNSRecord.question(HEADLESS).pack()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(8)
            client.bind(("127.0.0.2", 0))
            client.connect((OURS, 53))
            while True:
                client.sendall((len(question).to_bytes(2, "big") + question) * 100)

    def third() -> bytes:
        with (
            socket.create_connection((OURS, 53), 8, ("127.0.0.2", 0)),
            socket.create_connection((OURS, 53), 8, ("127.0.0.2", 0)),
            socket.create_connection((OURS, 53), 8, ("127.0.0.2", 0)) as last,
        ):
            last.settimeout(4)
            return last.recv(1)

    async def scene(ask: Ask, api: FakeApi) -> None:
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(greedy)
        assert (await ask("web.default.svc.cluster.local", tcp=True)).rr  # others are served
        monkeypatch.setattr(dns, "IDLE_SECONDS", 8)
        assert await asyncio.to_thread(third) == b""  # closed at once, not after eight seconds
        assert (await ask("web.default.svc.cluster.local", tcp=True)).rr

    play(tmp_path, scene)


def test_nonsense_and_strangers_get_no_answer_and_do_no_harm(tmp_path: Path) -> None:
    async def scene(ask: Ask, api: FakeApi) -> None:
        reply = DNSRecord.question("web.default.svc.cluster.local").reply().pack()
        for nonsense in (b"", b"\0", b"\xff" * 40, reply):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.bind(("127.0.0.3", 0))
                client.sendto(nonsense, (OURS, 53))
                await ask("web.default.svc.cluster.local")  # by then it has been looked at
                client.setblocking(False)
                with pytest.raises(BlockingIOError):
                    client.recv(512)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.9", 0))
            question = DNSRecord.question("web.default.svc.cluster.local")
            stranger.sendto(question.pack(), (OURS, 53))
            await ask("web.default.svc.cluster.local")
            stranger.setblocking(False)
            with pytest.raises(BlockingIOError):
                stranger.recv(512)

    play(tmp_path, scene)
