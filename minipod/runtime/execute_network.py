"""Performs the operations on the network: veth pairs, addresses, nftables elements. Only the daemon loads this."""

from collections.abc import Callable
from typing import Any

from minipod.linux import conntrack, netlink, nft
from minipod.linux.nft import Element
from minipod.runtime.execute import References, resolve
from minipod.runtime.operations import (
    AddNftElements,
    AddVeth,
    ConfigureNetwork,
    DeleteLink,
    Operation,
    RemoveNftElements,
)


def _add_veth(operation: AddVeth, references: References) -> None:
    netlink.add_veth(
        operation.host_interface,
        operation.bridge,
        pid=int(resolve(operation.target, references)),
        peer_name=operation.interface,
        mtu=operation.mtu,
    )


def _configure_network(operation: ConfigureNetwork, references: References) -> None:
    netlink.configure_namespace(
        operation.address,
        operation.gateway,
        pid=int(resolve(operation.target, references)),
        interface=operation.interface,
    )


def _delete_link(operation: DeleteLink, _: References) -> None:
    netlink.delete_link(operation.name)


def _add_nft_elements(operation: AddNftElements, _: References) -> None:
    nft.add_elements(_elements(operation))


def _remove_nft_elements(operation: RemoveNftElements, _: References) -> None:
    nft.delete_elements(_elements(operation))
    if any(port.protocol == "udp" for port in operation.ports):
        conntrack.forget_flows(operation.address)  # or a busy client would go on to the old address


def _elements(operation: AddNftElements | RemoveNftElements) -> list[Element]:
    table, address = operation.table, operation.address
    ports = [
        (port.host_ip, port.protocol, port.host_port, port.container_port)
        for port in operation.ports
    ]
    return [
        *nft.guard_elements(table, operation.host_interface, address),
        *nft.port_elements(table, address, ports),
    ]


ACTIONS: dict[type[Operation], Callable[[Any, References], None]] = {
    AddVeth: _add_veth,
    ConfigureNetwork: _configure_network,
    DeleteLink: _delete_link,
    AddNftElements: _add_nft_elements,
    RemoveNftElements: _remove_nft_elements,
}
