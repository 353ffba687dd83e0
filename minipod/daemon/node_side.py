"""What the daemon runs Pods with: the runtime, their network and Services, the node agent."""

import argparse
import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from minipod.clock import SystemClock
from minipod.linux import capabilities
from minipod.paths import Layout

if TYPE_CHECKING:
    from minipod.client import Client
    from minipod.network.bridge import NetworkFacts
    from minipod.network.services import ServiceProxy
    from minipod.node.kubelet import Kubelet
    from minipod.runtime.shim_client import ShimRuntime

logger = logging.getLogger("minipod.daemon")

CLUSTER_DOMAIN = "cluster.local"


@contextlib.asynccontextmanager
async def open_runtime(place: Layout) -> "AsyncIterator[ShimRuntime]":
    """Hold the runtime, with a shim behind it."""
    from minipod.runtime.shim_client import ShimRuntime

    runtime = ShimRuntime(place)
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.close()


async def make_network(place: Layout, cidr: str, runtime: "ShimRuntime") -> "NetworkFacts":
    """Make the Pods' network, remove from it what a crash has left, and add what the rules lost meanwhile."""
    from minipod.network import bridge
    from minipod.runtime.service import RuntimeFailure

    facts = await asyncio.to_thread(bridge.ensure_network, place, cidr)
    await asyncio.to_thread(bridge.prune, place, await runtime.networks())
    try:
        await runtime.readmit()
    except RuntimeFailure as failure:  # one Pod's trouble must not keep a daemon down
        logger.warning("packet rules of running Pods: %s", failure)
    return facts


async def keep_rules(
    place: Layout,
    runtime: "ShimRuntime",
    proxy: "ServiceProxy",
    facts: "NetworkFacts",
    parts: contextlib.AsyncExitStack,
) -> None:
    """Have the packet rules made anew whenever somebody removes them, with what Pods and Services have in them."""
    from minipod.network.rule_watch import RuleWatch
    from minipod.runtime.service import RuntimeFailure

    async def refill() -> None:
        proxy.renew()
        try:
            await runtime.readmit()
        except RuntimeFailure as failure:
            raise OSError(str(failure)) from failure

    watch = RuleWatch(place, facts, refill)
    await watch.start()
    parts.push_async_callback(watch.stop)


async def serve_services(
    place: Layout,
    client: "Client",
    runtime: "ShimRuntime",
    facts: "NetworkFacts",
    parts: contextlib.AsyncExitStack,
) -> tuple[str, ...]:
    """Start what leads to Services, by address and by name; return the servers that Pods ask for names."""
    from minipod.network.dns import DnsServer
    from minipod.network.dns_records import Zone
    from minipod.network.service_view import ServiceView
    from minipod.network.services import ServiceProxy

    view = ServiceView(client)
    await view.start()
    parts.push_async_callback(view.stop)
    proxy = ServiceProxy(view, SystemClock(), place, facts)
    await proxy.start()
    parts.push_async_callback(proxy.stop)
    await keep_rules(place, runtime, proxy, facts, parts)
    pods = IPv4Network(facts.prefix)
    zone = Zone(view, CLUSTER_DOMAIN, pods)
    names = DnsServer(zone, facts.gateway, pods, Path("/etc/resolv.conf"))
    try:
        await names.start()
    except OSError as failure:
        why = failure.strerror or failure
        logger.warning("no DNS at %s:53 (%s): Pods ask the host's servers", facts.gateway, why)
        return ()
    parts.push_async_callback(names.stop)
    return (facts.gateway,)


async def make_kubelet(
    place: Layout,
    options: argparse.Namespace,
    client: "Client",
    runtime: "ShimRuntime",
    facts: "NetworkFacts",
    resolvers: tuple[str, ...],
) -> "Kubelet":
    """Make the node agent with its addresses and images."""
    from minipod.image.store import ImageStore
    from minipod.network import bridge
    from minipod.node.config import NetworkPlace, NodeConfig
    from minipod.node.kubelet import Kubelet
    from minipod.node.node_object import check_reserved, parse_reserved, parse_throttling_factor
    from minipod.node.pressure import DEFAULT_THRESHOLDS, most_processes, parse_thresholds
    from minipod.node.pulling import ProcessPuller

    config = NodeConfig(
        node_name=node_name(options.node_name),
        layout=place,
        network=NetworkPlace(
            facts.bridge, facts.gateway, _length(facts.prefix), facts.table, facts.mtu
        ),
        host_ip=_host_address(),
        backoff_base=options.backoff_base,
        backoff_max=options.backoff_max,
        cluster_domain=CLUSTER_DOMAIN,
        cluster_dns=resolvers,
        max_pods=options.max_pods,
        reserved=parse_reserved(options.system_reserved),
        eviction=parse_thresholds(
            DEFAULT_THRESHOLDS if options.eviction_hard is None else options.eviction_hard
        ),
        evicts=options.eviction_hard is not None,
        pod_pids_limit=options.pod_max_pids,
        memory_throttling_factor=parse_throttling_factor(options.memory_throttling_factor),
    )
    check_reserved(config, most_processes())
    if not capabilities.bounding() & capabilities.mask(["SYS_RESOURCE"]):
        logger.warning(
            "CAP_SYS_RESOURCE is missing, without which no oom_score_adj can be lowered: "
            "Guaranteed and critical Pods keep the shim's own, where others have -997"
        )
    images, pool = ImageStore(place.images), bridge.open_pool(place, facts.prefix)
    puller = ProcessPuller(place.root)
    return Kubelet(client, runtime, images, puller, pool, config, SystemClock())


def _length(prefix: str) -> int:
    return int(prefix.rpartition("/")[2])


def _host_address() -> str:
    """Return the address that the host's default route would use, or loopback on a host without one.

    Connecting a datagram socket sends nothing (udp(7)): the kernel only looks up the route.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: for documentation, never assigned
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def node_name(wanted: str) -> str:
    """Return the node's name: the host's, in the form that DNS-1123 allows, as the kubelet makes it."""
    return wanted or socket.gethostname().strip().lower()
