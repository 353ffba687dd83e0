"""A small network inside a network namespace of the test's own: a host, Pods on bridges, and somebody outside.

Namespaces are held by descriptors alone: a socket opened inside one stays there, so no process is needed.
"""

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from minipod.linux import netlink, nft
from minipod.network import bridge
from minipod.paths import Layout, layout

CLONE_NEWNET = 0x40000000
HOST, OUTSIDE = "192.0.2.1", "192.0.2.2"
PATIENCE = (
    0.4  # seconds after which an unanswered connection counts as dropped, where that is expected
)
LONG_PATIENCE = 10.0  # where an answer is expected, however busy the machine

_libc = ctypes.CDLL(None, use_errno=True)


def _own_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def new_namespace() -> int:
    own = _own_namespace()
    try:
        assert _libc.unshare(CLONE_NEWNET) == 0
        return _own_namespace()
    finally:
        assert _libc.setns(own, CLONE_NEWNET) == 0
        os.close(own)


@contextlib.contextmanager
def inside(namespace: int) -> Iterator[None]:
    own = _own_namespace()
    assert _libc.setns(namespace, CLONE_NEWNET) == 0
    try:
        yield
    finally:
        assert _libc.setns(own, CLONE_NEWNET) == 0
        os.close(own)


@contextlib.contextmanager
def outer_namespace() -> Iterator[None]:
    """Make the calling thread's host a fresh namespace; what the modules have open is opened anew."""
    namespace = new_namespace()
    with inside(namespace):
        _forget_sockets()
        try:
            run("ip link set lo up")
            yield
        finally:
            _forget_sockets()
    os.close(namespace)


def _forget_sockets() -> None:
    if netlink._host is not None:
        netlink._host.close()
    netlink._host = None
    nft._context = nft._Context()


def run(command: str, namespace: int | None = None) -> str:
    """Run a command in the (current or given) namespace and return its output."""
    with inside(namespace) if namespace is not None else contextlib.nullcontext():
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


class Place:
    """A namespace with servers and clients in it."""

    def __init__(self, namespace: int | None, address: str) -> None:
        self.namespace, self.address = namespace, address
        self._sockets: list[socket.socket] = []

    @contextlib.contextmanager
    def _here(self) -> Iterator[None]:
        if self.namespace is None:
            yield
            return
        with inside(self.namespace):
            yield

    def open(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        with self._here():
            made = socket.socket(family, kind, protocol)
        self._sockets.append(made)
        return made

    def serve(
        self,
        port: int,
        kind: int = socket.SOCK_STREAM,
        address: str = "0.0.0.0",
        words: str = "",
    ) -> None:
        """Answer everybody with the address he is seen by, or with some words."""
        server = self.open(socket.AF_INET, kind)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        answer = _answer_datagrams
        if kind == socket.SOCK_STREAM:
            server.listen()
            answer = _answer_connections
        threading.Thread(target=answer, args=(server, words), daemon=True).start()

    def ask(
        self,
        address: str,
        port: int,
        kind: int = socket.SOCK_STREAM,
        source: str | None = None,
        patience: float = LONG_PATIENCE,
    ) -> str:
        """Return the address that the server sees. TimeoutError or another OSError when there is no way."""
        client = self.open(socket.AF_INET, kind)
        client.settimeout(patience)
        if source:
            client.bind((source, 0))
        with client:
            client.connect((address, port))
            client.send(b"?")
            return client.recv(64).decode()

    def is_refused(self, address: str, port: int, source: str | None = None) -> bool:
        """Say whether there is no way: nobody answers, or somebody says no."""
        try:
            self.ask(address, port, source=source, patience=PATIENCE)
        except OSError:
            return True
        return False

    def close(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        if self.namespace is not None:
            os.close(self.namespace)


def _answer_connections(server: socket.socket, words: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, peer = server.accept()
            with client, contextlib.suppress(OSError):
                client.sendall((words or peer[0]).encode())


def _answer_datagrams(server: socket.socket, words: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            _, peer = server.recvfrom(64)
            if peer is None:  # shut down
                return
            server.sendto((words or peer[0]).encode(), peer)


class Pod(Place):
    """What a sandbox's plan makes of the network: veth, address, elements."""

    def __init__(
        self, instance: "Instance", name: str, ports: tuple[tuple[str, str, int, int], ...] = ()
    ) -> None:
        interface = instance.pool.allocate(name)
        super().__init__(new_namespace(), str(interface.ip))
        assert self.namespace is not None
        facts = instance.facts
        self.host_interface = f"mpt{instance.layout.instance[-4:]}{name}"[:15]
        netlink.add_veth(self.host_interface, facts.bridge, netns_fd=self.namespace, mtu=facts.mtu)
        netlink.configure_namespace(str(interface), facts.gateway, netns_fd=self.namespace)
        self.guard = nft.guard_elements(facts.table, self.host_interface, self.address)
        self.elements = [*self.guard, *nft.port_elements(facts.table, self.address, ports)]
        nft.add_elements(self.elements)

    def remove(self) -> None:
        nft.delete_elements(self.elements)
        netlink.delete_link(self.host_interface)


class Instance:
    """One root's network."""

    def __init__(self, root: Path) -> None:
        self.layout: Layout = layout(root)
        self.cidr = bridge.choose_cidr(self.layout)
        self.facts = bridge.ensure_network(self.layout, self.cidr)
        self.pool = bridge.open_pool(self.layout, self.cidr)
        self.pods: list[Pod] = []

    def pod(self, name: str, *ports: tuple[str, str, int, int]) -> Pod:
        made = Pod(self, name, ports)
        self.pods.append(made)
        return made

    def close(self) -> None:
        for each in self.pods:
            each.close()
        self.pool.close()


def make_outside() -> Place:
    """Join a neighbour to the host: a router's other side, with the host as its default gateway."""
    namespace = new_namespace()
    run("ip link add out0 type veth peer name eth0")
    run(f"ip link set eth0 netns /proc/{os.getpid()}/fd/{namespace}")
    run(f"ip address add {HOST}/24 dev out0")
    run("ip link set out0 up")
    for command in (
        "ip link set lo up",
        f"ip address add {OUTSIDE}/24 dev eth0",
        "ip link set eth0 up",
        f"ip route add default via {HOST}",
    ):
        run(command, namespace)
    return Place(namespace, OUTSIDE)
