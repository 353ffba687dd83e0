"""Links, addresses and routes, made over rtnetlink(7).

The host's socket is opened once and guarded by a lock, so that worker threads share it. A namespace is reached over a
socket opened inside it: the calling thread enters (setns(2)), opens the socket, and is back before anything is sent,
since a netlink socket stays in the namespace it was opened in. A veth pair with its address and route takes 1.5 ms.

All functions block; call them from a worker thread. All are idempotent. Errors are OSErrors with the kernel's errno,
its extended message, and the culprit's name.
"""

import contextlib
import ctypes
import errno
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv4Network

from minipod.linux.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTMGRP_LINK,
    Attributes,
    Link,
    NetlinkSocket,
    Route,
    address_message,
    link_message,
    route_message,
)

LOOPBACK_INDEX = 1  # in every namespace
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_host: NetlinkSocket | None = None
_host_lock = threading.Lock()


def _host_socket() -> NetlinkSocket:
    global _host
    with _host_lock:
        if _host is None:
            _host = NetlinkSocket()
        return _host


# ---- namespaces ----


@contextlib.contextmanager
def _namespace(pid: int | None, netns_fd: int | None) -> Iterator[int]:
    """Yield a descriptor of the namespace of process `pid`, or `netns_fd` itself."""
    if netns_fd is not None:
        yield netns_fd
        return
    if pid is None:
        raise ValueError("a namespace is named by pid or by netns_fd")
    opened = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield opened
    finally:
        os.close(opened)


@contextlib.contextmanager
def _inside(namespace: int) -> Iterator[None]:
    """Move this thread, and only it, into the namespace, and back."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(namespace)
        try:
            yield
        finally:
            _setns(own)
    finally:
        os.close(own)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter the network namespace: {os.strerror(number)}")


def _index_in(namespace: int, name: str) -> int:
    """Return the index of an interface of the namespace, 0 when it has none of that name."""
    with _inside(namespace):
        return _index(name)


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


# ---- links ----


def links() -> list[Link]:
    """Return the interfaces of the host's namespace."""
    return _host_socket().links()


def link(name: str) -> Link | None:
    """Return one interface of the host's namespace, or None."""
    return _host_socket().link(name)


def delete_link(name: str) -> None:
    """Remove an interface of the host (a veth takes its peer along). Nothing when there is none."""
    request = link_message(RTM_DELLINK, 0, [("IFLA_IFNAME", name)])
    _host_socket().request([request], name, ignore=(errno.ENODEV,))


def wait_link_gone(name: str, seconds: float) -> bool:
    """Wait until the host has no such interface, for at most `seconds`; return whether it is gone.

    The kernel takes a veth away by itself, within 2 ms, once its peer's namespace has no process left; deleting it by
    request costs 17 ms, in which nobody else can change an interface.
    """
    with contextlib.closing(NetlinkSocket(groups=RTMGRP_LINK)) as watcher:
        if _host_socket().link(name) is None:
            return True
        return watcher.wait_removal(name, seconds)


def ensure_bridge(
    name: str, address: str, *, mtu: int = 1500, hardware_address: str | None = None
) -> int:
    """Ensure a bridge with this address ("10.85.0.1/16"), up, STP off, forwarding at once; return its index.

    A fixed hardware address keeps the Pods' neighbour entries true: without one it is the lowest of its ports'.
    """
    attributes: Attributes = [("IFLA_IFNAME", name), ("IFLA_MTU", mtu)]
    if hardware_address:
        attributes.append(("IFLA_ADDRESS", hardware_address))
    settings = [
        ("IFLA_BR_STP_STATE", 0),
        ("IFLA_BR_FORWARD_DELAY", 0),
        ("IFLA_BR_MCAST_SNOOPING", 0),
    ]
    info = [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", settings)]
    made = link_message(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        [*attributes, ("IFLA_LINKINFO", info)],
    )
    host = _host_socket()
    host.request([made], name, ignore=(errno.EEXIST,))
    found = host.link(name)
    if found is None or found.kind != "bridge":
        kind = found.kind or "physical" if found else "missing"
        raise FileExistsError(
            errno.EEXIST,
            f"the interface exists and is no bridge ({kind}); remove it: ip link delete {name}",
            name,
        )
    wanted = IPv4Interface(address)
    former = [each for each in host.addresses(found.index) if each != wanted]
    # By index alone: a name beside it asks for a renaming, which kernels before 6.2 refuse (EBUSY) when the link is up.
    unnamed = [each for each in attributes if each[0] != "IFLA_IFNAME"]
    up = link_message(RTM_NEWLINK, 0, unnamed, index=found.index, up=True)
    drop = [address_message(found.index, each, RTM_DELADDR) for each in former]
    host.request([*drop, address_message(found.index, wanted), up], name)
    return found.index


def add_veth(
    host_name: str,
    bridge: str,
    *,
    pid: int | None = None,
    netns_fd: int | None = None,
    peer_name: str = "eth0",
    mtu: int = 1500,
) -> None:
    """Ensure a veth pair: `host_name`, a port of the bridge and up, and `peer_name`, made straight into the namespace.

    The peer stays down until its address comes (the kernel refuses to make it up: its own end is not there yet).
    A pair of that name that leads elsewhere is what a crash left behind: it is removed. FileExistsError when the
    namespace has an interface `peer_name` of another origin.
    """
    with _namespace(pid, netns_fd) as namespace:
        for _attempt in range(2):
            try:
                return _make_veth(host_name, bridge, namespace, peer_name, mtu)
            except FileExistsError:
                if _is_pair(host_name, namespace, peer_name):
                    return _set_bridge_port(host_name, bridge)
                delete_link(host_name)
        raise FileExistsError(
            errno.EEXIST, f"the namespace already has an interface {peer_name}", host_name
        )


def _make_veth(host_name: str, bridge: str, namespace: int, peer_name: str, mtu: int) -> None:
    peer = [("IFLA_IFNAME", peer_name), ("IFLA_MTU", mtu), ("IFLA_NET_NS_FD", namespace)]
    info = [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", [("VETH_INFO_PEER", peer)])]
    attributes: Attributes = [
        ("IFLA_IFNAME", host_name),
        ("IFLA_MTU", mtu),
        ("IFLA_LINKINFO", info),
    ]
    made = link_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, attributes)
    _host_socket().request([made, *_bridge_port_messages(host_name, bridge)], host_name)


def _set_bridge_port(host_name: str, bridge: str) -> None:
    _host_socket().request(_bridge_port_messages(host_name, bridge), host_name)


def _bridge_port_messages(host_name: str, bridge: str) -> list[bytes]:
    """Make the interface a port of the bridge, up, in hairpin mode: a Pod reaches itself through its own hostPort."""
    index = _index(bridge)
    if not index:
        raise OSError(errno.ENODEV, f'bridge "{bridge}" does not exist', host_name)
    slave = [
        ("IFLA_INFO_SLAVE_KIND", "bridge"),
        ("IFLA_INFO_SLAVE_DATA", [("IFLA_BRPORT_MODE", 1)]),
    ]
    name = ("IFLA_IFNAME", host_name)
    return [
        link_message(RTM_NEWLINK, 0, [name, ("IFLA_MASTER", index)], up=True),
        link_message(RTM_NEWLINK, 0, [name, ("IFLA_LINKINFO", slave)]),
    ]


def _is_pair(host_name: str, namespace: int, peer_name: str) -> bool:
    """Say whether the two interfaces are the two ends of one veth pair."""
    near = _host_socket().link(host_name)
    if near is None or near.kind != "veth":
        return False
    with _inside(namespace):
        inner = NetlinkSocket()
    try:
        far = inner.link(peer_name)
    finally:
        inner.close()
    return far is not None and (far.index, far.peer_index) == (near.peer_index, near.index)


# ---- addresses and routes ----


def hardware_address(address: str) -> str:
    """Return the locally administered MAC address that belongs to an IPv4 address ("10.85.0.7/16")."""
    return "0a:58:" + IPv4Interface(address).ip.packed.hex(":")


def configure_namespace(
    address: str,
    gateway: str,
    *,
    pid: int | None = None,
    netns_fd: int | None = None,
    interface: str = "eth0",
) -> None:
    """Ensure in the namespace: loopback up, the interface up with its address ("10.85.0.7/16"), the default route."""
    with _namespace(pid, netns_fd) as namespace, _inside(namespace):
        inner, index = NetlinkSocket(), _index(interface)
    try:
        if not index:
            raise OSError(errno.ENODEV, "the namespace has no such interface", interface)
        messages = [_link_up(LOOPBACK_INDEX), *_address_messages(index, address)]
        if gateway:
            messages.append(_default_route(gateway))
        inner.request(messages, f"{interface} {address}")
    finally:
        inner.close()


def set_loopback_up(*, pid: int | None = None, netns_fd: int | None = None) -> None:
    """Bring the namespace's loopback up (127.0.0.1 and ::1 come with it)."""
    _request_inside(pid, netns_fd, [_link_up(LOOPBACK_INDEX)], "lo")


def add_address(
    address: str, *, pid: int | None = None, netns_fd: int | None = None, interface: str = "eth0"
) -> None:
    """Ensure an interface of the namespace up, with the address ("10.85.0.7/16")."""
    with _namespace(pid, netns_fd) as namespace:
        index = _index_in(namespace, interface)
        if not index:
            raise OSError(errno.ENODEV, "the namespace has no such interface", interface)
        messages = _address_messages(index, address)
        _request_inside(None, namespace, messages, f"{interface} {address}")


def add_default_route(gateway: str, *, pid: int | None = None, netns_fd: int | None = None) -> None:
    """Ensure the namespace's default route."""
    _request_inside(pid, netns_fd, [_default_route(gateway)], f"default via {gateway}")


def _link_up(index: int) -> bytes:
    return link_message(RTM_NEWLINK, 0, [], index=index, up=True)


def _address_messages(index: int, address: str) -> list[bytes]:
    """Give the interface its addresses before it comes up, so that it is never up without them.

    The hardware address follows from the IPv4 address: neighbours that still remember the address's former owner
    reach the new one at once.
    """
    hardware = ("IFLA_ADDRESS", hardware_address(address))
    return [
        link_message(RTM_NEWLINK, 0, [hardware], index=index),
        address_message(index, IPv4Interface(address)),
        _link_up(index),
    ]


def _default_route(gateway: str) -> bytes:
    anywhere = IPv4Network("0.0.0.0/0")
    return route_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, anywhere, gateway=gateway)


def _request_inside(
    pid: int | None, netns_fd: int | None, messages: Sequence[bytes], culprit: str
) -> None:
    with _namespace(pid, netns_fd) as namespace, _inside(namespace):
        inner = NetlinkSocket()
    try:
        inner.request(messages, culprit)
    finally:
        inner.close()


def ensure_unreachable_route(destination: str, metric: int) -> None:
    """Ensure that the range leads nowhere unless a better route (a lower metric) says otherwise."""
    flags = NLM_F_CREATE | NLM_F_REPLACE
    message = route_message(RTM_NEWROUTE, flags, IPv4Network(destination), metric=metric)
    _host_socket().request([message], f"unreachable {destination}")


def delete_unreachable_route(destination: str, metric: int) -> None:
    """Remove the route of `ensure_unreachable_route`; nothing when it is not there."""
    message = route_message(RTM_DELROUTE, 0, IPv4Network(destination), metric=metric)
    _host_socket().request([message], f"unreachable {destination}", ignore=(errno.ESRCH,))


def ensure_link_route(destination: str, interface: str, source: str, metric: int) -> None:
    """Ensure that the range lies behind an interface; what the host sends there comes from `source`.

    A route of the same metric to the same range is replaced, whoever made it.
    """
    message = route_message(
        RTM_NEWROUTE,
        NLM_F_CREATE | NLM_F_REPLACE,
        IPv4Network(destination),
        interface=_index(interface),
        source=source,
        metric=metric,
    )
    _host_socket().request([message], f"{destination} dev {interface}")


def delete_link_route(destination: str, interface: str) -> None:
    """Remove the route of `ensure_link_route`; nothing when it is not there."""
    message = route_message(RTM_DELROUTE, 0, IPv4Network(destination), interface=_index(interface))
    _host_socket().request(
        [message], f"{destination} dev {interface}", ignore=(errno.ESRCH, errno.ENODEV)
    )


def routes() -> list[Route]:
    """Return the IPv4 routes of the host's main table."""
    return _host_socket().routes()
