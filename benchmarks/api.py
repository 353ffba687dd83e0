"""`python -m benchmarks.api`: what the API server alone does, over its Unix socket, with durability on.

A server in a process of its own on a fresh root; the load comes from plain sockets in this one. No root needed, and
nothing but the root's directory is touched. It never fails on a number.
"""

import argparse
import asyncio
import contextlib
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.clock import Row, table

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


# ---- the server ----


async def serve(root: Path) -> None:
    """Serve until the standard input ends."""
    from minipod.paths import layout
    from minipod.server.app import ApiServer, ServerOptions
    from minipod.store import Store

    where = layout(root)
    store = await Store.open(where.database)
    server = ApiServer(store, where, ServerOptions(administrators=frozenset({os.getuid()})))
    await server.start()
    print(where.api_socket, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop()
    await store.close()


class Server:
    """The server's process."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="bench-api", dir="/tmp"))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.api", "--serve", str(self.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()

    def close(self) -> None:
        """Stop it and remove its root."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=20)
        shutil.rmtree(self.root, ignore_errors=True)

    def connect(self) -> socket.socket:
        """Open a connection."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.address)
        return connection

    def call(self, method: str, path: str, body: object = None) -> bytes:
        """Make one request on a connection of its own and return the whole answer."""
        with self.connect() as connection:
            connection.sendall(request(method, path, body, close=True))
            with connection.makefile("rb") as answer:
                return answer.read()

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Return its proportional set size."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        (found,) = (line for line in lines if line.startswith("Pss:"))
        return int(found.split()[1]) / 1024


def request(method: str, path: str, body: object = None, *, close: bool = False) -> bytes:
    """Return the bytes of a request."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: api\r\nUser-Agent: bench/1\r\n"
    if close:
        head += "Connection: close\r\n"
    if content:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


def config_map(name: str) -> dict[str, object]:
    """Return a small object."""
    metadata = {"name": name, "labels": {"app": "bench"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": "value"}}


# ---- what is measured ----


def creates(server: Server, count: int, connections: int) -> float:
    """Return how many ConfigMaps were made a second, each answered when it is on disk."""
    bodies = iter([request("POST", CONFIG_MAPS, config_map(f"c{n:06}")) for n in range(count)])
    poll = selectors.DefaultSelector()
    for _ in range(connections):
        poll.register(server.connect(), selectors.EVENT_READ, bytearray())
    begun, open_requests = time.perf_counter(), 0
    for key in list(poll.get_map().values()):
        key.fileobj.sendall(next(bodies))  # type: ignore[union-attr]
        open_requests += 1
    while open_requests:
        for key, _ in poll.select():
            connection: socket.socket = key.fileobj  # type: ignore[assignment]
            key.data.extend(connection.recv(1 << 16))
            if not answered(key.data):
                continue
            key.data.clear()
            following = next(bodies, None)
            if following is None:
                open_requests -= 1
            else:
                connection.sendall(following)
    elapsed = time.perf_counter() - begun
    for key in list(poll.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    return count / elapsed


def answered(data: bytearray) -> bool:
    """Whether a whole answer is there; it must be 201."""
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return False
    assert head.startswith(b"HTTP/1.1 201"), bytes(data)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return len(rest) >= length


def list_all(server: Server) -> float:
    """Return the milliseconds to the last byte of a list of everything."""
    begun = time.perf_counter()
    answer = server.call("GET", CONFIG_MAPS)
    elapsed = (time.perf_counter() - begun) * 1000
    assert answer.count(b'"uid"') >= 10_000
    return elapsed


@contextlib.contextmanager
def watchers(server: Server, count: int) -> Iterator[list[socket.socket]]:
    """Open watches that have nothing to say yet."""
    version = json.loads(server.call("GET", f"{CONFIG_MAPS}?limit=1").partition(b"\r\n\r\n")[2])
    since = version["metadata"]["resourceVersion"]
    asked = request("GET", f"{CONFIG_MAPS}?watch=1&resourceVersion={since}")
    opened = [server.connect() for _ in range(count)]
    try:
        for connection in opened:
            connection.sendall(asked)
        for connection in opened:
            while b"\r\n\r\n" not in connection.recv(4096):
                pass
        yield opened
    finally:
        for connection in opened:
            connection.close()


def idle_watchers(server: Server, count: int, seconds: float) -> tuple[float, float]:
    """Return what watches cost: megabytes in all, and the processor's share of `seconds` in percent."""
    before = server.memory_mb()
    with watchers(server, count):
        memory = server.memory_mb() - before
        used, begun = server.cpu_seconds(), time.perf_counter()
        time.sleep(seconds)
        share = (server.cpu_seconds() - used) / (time.perf_counter() - begun) * 100
    return memory, share


def fan_out(server: Server, count: int, name: str) -> float:
    """Return the milliseconds from a write's request until the last of `count` watchers has it."""
    with watchers(server, count) as opened, server.connect() as writer:
        poll = selectors.DefaultSelector()
        for connection in opened:
            poll.register(connection, selectors.EVENT_READ)
        begun, left = time.perf_counter(), count
        writer.sendall(request("POST", CONFIG_MAPS, config_map(name)))
        while left:
            for key, _ in poll.select():
                assert b'"ADDED"' in key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                poll.unregister(key.fileobj)
                left -= 1
        return (time.perf_counter() - begun) * 1000


def several(count: int, measure: Callable[[int], float]) -> list[float]:
    """Return so many measurements."""
    return [measure(number) for number in range(count)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=__doc__)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    server = Server()
    try:
        used = server.cpu_seconds()
        rate = creates(server, 10_000, options.connections)
        each = (server.cpu_seconds() - used) * 1000 / 10_000
        listed = several(5, lambda _: list_all(server))
        memory, share = idle_watchers(server, 1000, 5)
        reached = several(5, lambda number: fan_out(server, 500, f"fan-{number}"))
    finally:
        server.close()
    print(
        table(
            [
                Row("ConfigMaps created in a second, durably (at least 1000)", "/s", [rate]),
                Row("processor time of one create", "ms", [each], target=1),
                Row("list of 10,000 objects", "ms", listed, target=250),
                Row("1,000 idle watchers, memory", "MB", [memory], target=100),
                Row("1,000 idle watchers, processor", "%", [share], target=0.5),
                Row("one write to 500 watchers", "ms", reached, target=50),
            ]
        )
    )


if __name__ == "__main__":
    main()
