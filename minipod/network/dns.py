"""The cluster's DNS server: answers for the cluster's zone, asks the host's own servers for everything else.

It listens on the bridge's address alone, over UDP and TCP (RFC 1035, 7766), and answers nobody but Pods and this host.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import random
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from minipod.clock import call_off
from minipod.network.dns_records import TTL, Record, Reply, Zone

logger = logging.getLogger(__name__)

PORT = 53
BADVERS = 16  # an EDNS version that is not spoken; its lower four bits are the header's
PLAIN_SIZE, LARGEST_SIZE = 512, 4096  # bytes over UDP, without and with EDNS (RFC 6891)
LARGEST_TCP = 65535
FORWARD_SECONDS, FORWARD_TRIES = 2.0, 2  # of each of the host's servers
IDLE_SECONDS = 10.0  # of a TCP connection, in either direction
MOST_CONNECTIONS, PER_CLIENT = 500, 32  # over TCP: each takes a descriptor of the daemon's
MOST_ALIASES = 8  # one after another
MOST_FORWARDED = 500  # questions at a time


class DnsServer:
    """One instance's DNS. `await start()` raises OSError when the address cannot be had."""

    def __init__(self, zone: Zone, address: str, allowed: IPv4Network, resolv_conf: Path) -> None:
        self._zone = zone
        self._address = address
        self._allowed = allowed
        self._forwarder = Forwarder(resolv_conf, address)
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connections: Counter[str] = Counter()  # by client

    async def start(self, port: int = PORT) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        protocol = _Datagrams(self._on_datagram)
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: protocol, local_addr=(self._address, port)
        )
        try:
            self._tcp = await asyncio.start_server(self._serve, self._address, port)
        except OSError:
            self._udp.close()
            raise
        # beside whatever else begins now, and not with the first question
        self._spawn(asyncio.to_thread(importlib.import_module, "dnslib"))

    async def stop(self) -> None:
        """Listen no longer; what is being asked is let go."""
        if self._udp:
            self._udp.close()
        if self._tcp:
            self._tcp.close()
        await call_off(*self._tasks)

    # -- questions -------------------------------------------------------------------------------

    def _on_datagram(self, data: bytes, peer: tuple[str, int]) -> None:
        if self._is_allowed(peer[0]):
            self._spawn(self._answer_datagram(data, peer))

    async def _answer_datagram(self, data: bytes, peer: tuple[str, int]) -> None:
        answer = await self._answer(data, tcp=False)
        if answer and self._udp:
            self._udp.sendto(answer, peer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        client = str((writer.get_extra_info("peername") or [""])[0])  # it may be gone already
        try:
            if self._admits(client):
                await self._serve_client(client, reader, writer)
        finally:
            writer.close()
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await writer.wait_closed()
            except (TimeoutError, OSError):
                writer.transport.abort()  # who does not read shall not hold the descriptor

    def _admits(self, client: str) -> bool:
        if not client or not self._is_allowed(client):
            return False
        return self._connections.total() < MOST_CONNECTIONS and (
            self._connections[client] < PER_CLIENT
        )

    async def _serve_client(
        self, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._connections[client] += 1
        try:
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(size)
                answer = await self._answer(data, tcp=True)
                if not answer:
                    break
                writer.write(len(answer).to_bytes(2, "big") + answer)
                async with asyncio.timeout(IDLE_SECONDS):
                    await writer.drain()
        except TimeoutError:
            writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections[client] -= 1
            if not self._connections[client]:
                del self._connections[client]

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_allowed(self, address: str) -> bool:
        return IPv4Address(address) in self._allowed

    async def _answer(self, data: bytes, *, tcp: bool) -> bytes:
        """Return the answer to a message; b"" to what is none."""
        from dnslib import OPCODE, QR, QTYPE, RCODE, DNSError, DNSRecord

        try:
            question = DNSRecord.parse(data)
        except (DNSError, ValueError, IndexError):
            return b""
        if question.header.qr != QR.QUERY or len(question.questions) != 1:
            return b""
        if question.header.opcode != OPCODE.QUERY:
            return _packed(question, question.reply(ra=1, aa=0), RCODE.NOTIMP, tcp=tcp)
        options = _options(question)
        if options is not None and _version(options) != 0:
            return _packed(question, question.reply(ra=1, aa=0), BADVERS & 0xF, tcp=tcp)
        asked = question.questions[0]
        name = str(asked.qname).rstrip(".")
        kind = str(QTYPE.get(asked.qtype))
        reply = self._zone.answer(name, kind)
        if not reply.mine:
            found = await self._forwarder.ask(data, tcp=tcp)
            return found or _packed(question, question.reply(ra=1, aa=0), RCODE.SERVFAIL, tcp=tcp)
        message = question.reply(ra=1, aa=1)
        for record in reply.records:
            message.add_answer(_resource(record))
        if alias := _alias(reply, kind):
            code, found_records = await self._resolve(alias, asked.qtype, tcp=tcp)
            message.add_answer(*found_records)
            return _packed(question, message, code, tcp=tcp)
        for record in reply.additional:
            message.add_ar(_resource(record))
        if not reply.records:
            message.add_auth(_authority(self._zone.zone))
        return _packed(question, message, 0 if reply.exists else RCODE.NXDOMAIN, tcp=tcp)

    async def _resolve(self, name: str, kind: int, *, tcp: bool) -> tuple[int, list[Any]]:
        """Return the code and the records of what an alias stands for.

        Resolvers in Pods take what they are given: they do not follow an alias themselves (RFC 1034, 3.6.2 and 5.3.1),
        so CoreDNS does it for them, and so do we.
        """
        from dnslib import QTYPE, RCODE

        records: list[Any] = []
        for _ in range(MOST_ALIASES):
            reply = self._zone.answer(name, str(QTYPE.get(kind)))
            if not reply.mine:
                code, found = await self._ask_others(name, kind, tcp=tcp)
                return code, [*records, *found]
            records += map(_resource, reply.records)
            name = _alias(reply, str(QTYPE.get(kind)))
            if not name:
                return RCODE.NOERROR if reply.exists else RCODE.NXDOMAIN, records
        return RCODE.SERVFAIL, records

    async def _ask_others(self, name: str, kind: int, *, tcp: bool) -> tuple[int, list[Any]]:
        from dnslib import RCODE, DNSError, DNSQuestion, DNSRecord

        asking = DNSRecord(q=DNSQuestion(name, kind)).pack()
        for over_tcp in (tcp, True):
            data = await self._forwarder.ask(asking, tcp=over_tcp)
            try:
                answer = DNSRecord.parse(data)
            except (DNSError, ValueError, IndexError):
                break
            if not answer.header.tc:
                return answer.header.rcode, answer.rr
        return RCODE.SERVFAIL, []


def _alias(reply: Reply, kind: str) -> str:
    """Return what is to be looked up next for an address, "" for nothing."""
    if kind not in ("A", "AAAA") or len(reply.records) != 1 or reply.records[0].type != "CNAME":
        return ""
    return reply.records[0].value.rstrip(".")


def _packed(question: Any, message: Any, code: int, *, tcp: bool) -> bytes:
    """Return the message as bytes, cut to what its asker takes over UDP; EDNS is answered with EDNS (RFC 6891)."""
    message.header.rcode = code
    options = _options(question)
    limit = LARGEST_TCP if tcp else PLAIN_SIZE
    if options is not None and not tcp:
        limit = min(max(options.rclass, PLAIN_SIZE), LARGEST_SIZE)
    packed: bytes = _with_options(message, options).pack()
    if len(packed) <= limit:
        return packed
    short = question.reply(ra=1, aa=message.header.aa)
    short.header.tc, short.header.rcode = 1, code
    cut: bytes = _with_options(short, options).pack()
    return cut


def _options(question: Any) -> Any:
    """Return a query's OPT record, None when it has none."""
    from dnslib import QTYPE

    return next((each for each in question.ar if each.rtype == QTYPE.OPT), None)


def _with_options(message: Any, asked: Any) -> Any:
    """Add our OPT record: what we take over UDP, and version 0 (another asked for is refused: `_answer`)."""
    from dnslib import EDNS0

    if asked is not None:
        unknown = _version(asked) != 0
        message.add_ar(EDNS0(udp_len=LARGEST_SIZE, ext_rcode=BADVERS >> 4 if unknown else 0))
    return message


def _version(options: Any) -> int:
    """Return the EDNS version of an OPT record: the second byte of what elsewhere is a time to live."""
    return int(options.ttl) >> 16 & 0xFF


def _resource(record: Record) -> Any:
    from dnslib import CNAME, NS, PTR, QTYPE, RR, SRV, TXT, A

    if record.type == "SRV":
        priority, weight, port, target = record.value.split()
        data = SRV(int(priority), int(weight), int(port), target)
    else:
        made = {"A": A, "CNAME": CNAME, "PTR": PTR, "TXT": TXT, "NS": NS}
        data = made[record.type](record.value)
    return RR(record.name, getattr(QTYPE, record.type), ttl=TTL, rdata=data)


def _authority(zone: str) -> Any:
    from dnslib import QTYPE, RR, SOA

    times = (1, 7200, 1800, 86400, TTL)  # serial, refresh, retry, expire, minimum
    return RR(zone, QTYPE.SOA, ttl=TTL, rdata=SOA(f"ns.dns.{zone}", f"hostmaster.{zone}", times))


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Pass on what came."""
        self._take(data, addr)


class Forwarder:
    """Asks the servers of the host's resolv.conf, one after another."""

    def __init__(self, resolv_conf: Path, own_address: str) -> None:
        self._path = resolv_conf
        self._own = own_address
        self._read: tuple[float, list[str]] = (-1.0, [])
        self._turns = asyncio.Semaphore(MOST_FORWARDED)

    async def ask(self, data: bytes, *, tcp: bool) -> bytes:
        """Return an answer as it came, b"" when nobody gave one."""
        if self._turns.locked():
            return b""
        exchange = _exchange_tcp if tcp else _exchange_udp
        async with self._turns:
            for _ in range(FORWARD_TRIES):
                for server in self._servers():
                    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                        async with asyncio.timeout(FORWARD_SECONDS):
                            return await exchange(server, data)
        return b""

    def _servers(self) -> list[str]:
        """Return the host's servers; this one itself, should it be among them, is left out."""
        try:
            changed = os.stat(self._path).st_mtime
            if changed != self._read[0]:
                words = [
                    line.split() for line in self._path.read_text(errors="replace").splitlines()
                ]
                found = [each[1] for each in words if len(each) > 1 and each[0] == "nameserver"]
                self._read = (changed, [each for each in found if each != self._own])
        except OSError:
            return []
        return self._read[1]


async def _exchange_udp(server: str, data: bytes) -> bytes:
    """Ask with a port and an identifier of its own, so that nobody can guess an answer (RFC 5452)."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    identifier = random.SystemRandom().randbytes(2)

    def take(found: bytes, _peer: tuple[str, int]) -> None:
        if found[:2] == identifier and not answer.done():
            answer.set_result(data[:2] + found[2:])

    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(take), remote_addr=(server, PORT)
    )
    try:
        transport.sendto(identifier + data[2:])
        return await answer
    finally:
        transport.close()


async def _exchange_tcp(server: str, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, PORT)
    try:
        writer.write(len(data).to_bytes(2, "big") + data)
        await writer.drain()
        size = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(size)
    finally:
        writer.close()
