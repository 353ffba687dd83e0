"""The daemon: builds every part, starts them in order, stops them in reverse. The process map on one screen.

    store -> API server -> client -> controllers (bootstrap, namespaces, scheduler, events)
                                  -> network, runtime (the shim), images -> node agent

Every part speaks to the others through the API client alone. SIGTERM and SIGINT stop the daemon and leave the Pods
running; the next daemon takes them up again. Readiness is told three ways: one byte on $MINIPOD_READY_FD, READY=1 to
systemd (sd_notify(3)), and 200 from /readyz.
"""

import argparse
import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from minipod.clock import SystemClock
from minipod.paths import Layout, layout

if TYPE_CHECKING:
    from minipod.client import Client
    from minipod.network.bridge import NetworkFacts
    from minipod.node.kubelet import Kubelet
    from minipod.runtime.shim_client import ShimRuntime
    from minipod.server.audit import AuditOptions
    from minipod.server.serving import SecureServing
    from minipod.server.token_authentication import Credentials
    from minipod.tokens import TokenSigner

logger = logging.getLogger("minipod.daemon")


CLUSTER_DOMAIN = "cluster.local"
SWITCH_SECONDS = 0.0005  # how long a thread that is back from the kernel waits for the interpreter


class Controller(Protocol):
    """A loop of desired against actual."""

    async def start(self) -> None:
        """Return when it looks after things."""

    async def stop(self) -> None:
        """End."""


class StartError(Exception):
    """The daemon cannot start; the message is one line."""


def main() -> None:
    """Run the daemon in the foreground, or (`--shutdown-shim`) end the shim and take down the network."""
    options = _parser().parse_args()
    logging.basicConfig(
        level=logging.DEBUG if os.environ.get("MINIPOD_DEBUG") else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        place = layout(options.root)
        if options.shutdown_shim:
            asyncio.run(_take_down(place))
        else:
            with _only_daemon(place):
                asyncio.run(_run(place, options))
    except StartError as failure:
        sys.exit(f"minipod: {failure}")
    except (OSError, ValueError) as failure:
        logger.debug("start failed", exc_info=True)
        sys.exit(f"minipod: {failure}")
    except Exception as failure:  # the last resort: one line, the rest on request
        logger.debug("the daemon failed", exc_info=True)
        if _is_understood(failure):
            sys.exit(f"minipod: {failure}")
        sys.exit(
            f"minipod: {type(failure).__name__}: {failure} (this is a defect of minipod's; "
            "MINIPOD_DEBUG=1 minipod daemon shows where)"
        )


def _is_understood(failure: Exception) -> bool:
    """Whether the failure is one whose message says what is wrong with this host, and the way out."""
    from minipod.runtime.service import RuntimeFailure
    from minipod.store import StoreError

    return isinstance(failure, (StoreError, RuntimeFailure)) or isinstance(
        failure.__cause__, StoreError
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minipod daemon", description="Run minipod's daemon.")
    parser.add_argument("--root", help="keep everything below this directory")
    parser.add_argument("--pod-cidr", default="", help="the range of Pod addresses")
    parser.add_argument("--service-cidr", default="", help="the range of Service addresses")
    parser.add_argument("--node-name", default="", help="the node's name [default: the host's]")
    parser.add_argument("--backoff-base", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--backoff-max", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--max-pods", type=int, default=500)
    parser.add_argument("--pod-max-pids", type=int, default=None)
    parser.add_argument(
        "--system-reserved",
        default="",
        metavar="NAME=QUANTITY,...",
        help="cpu, memory and ephemeral-storage that Pods cannot ask for",
    )
    parser.add_argument(
        "--secure-port",
        type=int,
        default=None,
        help="the HTTPS port [default: the root's own; 0: none]",
    )
    parser.add_argument(
        "--bind-address",
        action="append",
        default=[],
        help="serve HTTPS here [default: 127.0.0.1, the bridge]",
    )
    parser.add_argument("--audit-policy-file", default="", help="a Policy of audit.k8s.io/v1")
    parser.add_argument("--audit-log-path", default="", help="[default: audit.log among the logs]")
    parser.add_argument("--audit-log-maxsize", type=int, default=100, metavar="MEGABYTES")
    parser.add_argument("--audit-log-maxbackup", type=int, default=10, metavar="N")
    parser.add_argument("--token-auth-file", default="", help="CSV of token,user,uid,groups")
    parser.add_argument(
        "--encryption-provider-config",
        default="",
        help="an EncryptionConfiguration of apiserver.config.k8s.io/v1",
    )
    parser.add_argument("--shutdown-shim", action="store_true", help="end the shim and the network")
    return parser


# ---- one daemon for each root ----


@contextlib.contextmanager
def _only_daemon(place: Layout) -> Iterator[None]:
    """Hold the root's lock (flock(2)): gone with the process, however it ends."""
    if os.geteuid() != 0:
        raise StartError(
            "the daemon needs root (namespaces, mounts, cgroups); try: sudo minipod up"
        )
    _forget_other_boot(place)
    for directory in (place.state, place.run, place.log):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
    lock = os.open(place.run / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode() or "unknown"
        raise StartError(
            f'a daemon is already running on "{place.state}" (pid {holder}); try: minipod down'
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    try:
        yield
    finally:
        os.close(lock)


def _forget_other_boot(place: Layout) -> None:
    """Empty a run directory that a reboot left behind: its sockets and processes are of another boot."""
    import shutil

    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    record = place.run / "boot_id"
    if record.exists() and record.read_text() != boot:
        shutil.rmtree(place.run, ignore_errors=True)
    place.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    record.write_text(boot)


# ---- the parts, in order ----


async def _run(place: Layout, options: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    began = time.monotonic()
    sys.setswitchinterval(SWITCH_SECONDS)
    async with contextlib.AsyncExitStack() as parts:
        await _start(place, options, parts)
        _tell_ready()
        print("minipod is ready", file=sys.stderr, flush=True)
        logger.info("ready after %.0f ms", (time.monotonic() - began) * 1000)
        _settle_memory()
        await stopping.wait()
        _notify("STOPPING=1")
    logger.info("stopped; Pods keep running")


async def _start(
    place: Layout, options: argparse.Namespace, parts: contextlib.AsyncExitStack
) -> None:
    """Start every part; `parts` stops them in reverse."""
    from minipod.client import Client
    from minipod.network import bridge
    from minipod.server.app import ApiServer
    from minipod.server.encryption import report_unreadable, seal_of
    from minipod.server.service_range import choose_service_range
    from minipod.store import Store

    runtime = await parts.enter_async_context(_runtime(place))
    store = await Store.open(place.database, seal=seal_of(options.encryption_provider_config))
    parts.push_async_callback(store.close)
    report_unreadable(store.unreadable)
    state = _Readiness()
    cidr = bridge.choose_cidr(place, options.pod_cidr or None)
    services = choose_service_range(store, place.instance, options.service_cidr, cidr)
    signer, credentials = _credentials(place, options)
    serving = _serving(place, options, cidr, services)
    server = ApiServer(
        store,
        place,
        unready=state.why_not,
        serving=serving,
        service_cidr=services,
        credentials=credentials,
    )
    server.keep_audit_log(_audit(place, options))
    await server.start()
    parts.push_async_callback(server.stop)
    client = Client(server.transport)
    port = serving.port if serving else 0
    addresses = first_address(services), first_address(cidr), port
    for controller in (
        *_controllers(place, client, signer),
        *_network_controllers(client, addresses),
    ):
        await controller.start()
        parts.push_async_callback(controller.stop)
    name = _node_name(options.node_name)
    agent = client.acting_as(f"system:node:{name}", "system:nodes", user_agent="kubelet")
    network = await _network(place, cidr, runtime)
    proxy = client.acting_as("system:kube-proxy", user_agent="kube-proxy")
    resolvers = await _serve_services(place, proxy, network, parts)
    kubelet = await _kubelet(place, options, agent, runtime, network, resolvers)
    await kubelet.start()
    parts.push_async_callback(kubelet.stop)
    state.ready = True


def _controllers(
    place: Layout, client: "Client", signer: "TokenSigner"
) -> "tuple[Controller, ...]":
    """Make the controllers, each with the rights that it has upstream."""
    from minipod.controllers.account_tokens import AccountTokens
    from minipod.controllers.bootstrap import Bootstrap
    from minipod.controllers.cluster_role_aggregation import ClusterRoleAggregation
    from minipod.controllers.events import EventExpiry
    from minipod.controllers.garbage import GarbageCollector
    from minipod.controllers.namespaces import NamespaceController
    from minipod.controllers.quota_status import QuotaStatus
    from minipod.controllers.root_ca import RootCertificates
    from minipod.controllers.scheduler import Scheduler
    from minipod.controllers.taint_eviction import TaintEviction
    from minipod.controllers.volume_protection import VolumeProtection
    from minipod.pki import Authority

    clock, authority = SystemClock(), Authority(place.pki).certificate_pem
    manager = client.acting_as(
        "system:kube-controller-manager", user_agent="kube-controller-manager"
    )
    scheduler = client.acting_as("system:kube-scheduler", user_agent="kube-scheduler")
    return (
        Bootstrap(client.for_controller("service-account-controller")),
        NamespaceController(client.for_controller("namespace-controller"), clock),
        GarbageCollector(client.for_controller("generic-garbage-collector"), clock),
        Scheduler(scheduler, clock),
        TaintEviction(client.for_controller("node-controller"), clock),
        EventExpiry(client.calling_itself("kube-apiserver"), clock),  # upstream's store does it
        ClusterRoleAggregation(client.for_controller("clusterrole-aggregation-controller"), clock),
        AccountTokens(manager, clock, signer.issue_legacy, authority),
        QuotaStatus(client.for_controller("resourcequota-controller"), clock),
        VolumeProtection(
            client.for_controller("pvc-protection-controller"),
            client.for_controller("pv-protection-controller"),
            clock,
        ),
        RootCertificates(client.for_controller("root-ca-cert-publisher"), clock, authority),
    )


def _network_controllers(
    client: "Client", addresses: tuple[str, str, int]
) -> "tuple[Controller, ...]":
    """Make what upstream's API server does beside serving, and what is behind Services.

    `addresses`: its Service's, its own, its port.
    """
    from minipod.controllers.endpoint_slices import EndpointSliceController
    from minipod.controllers.kubernetes_service import KubernetesService
    from minipod.controllers.service_ips import ServiceIps

    server, clock = client.calling_itself("kube-apiserver"), SystemClock()
    return (
        KubernetesService(server, *addresses),
        ServiceIps(server, clock),
        EndpointSliceController(
            client.for_controller("endpointslice-controller"),
            client.for_controller("endpoint-controller"),
            client.for_controller("endpointslicemirroring-controller"),
            clock,
        ),
    )


def _audit(place: Layout, options: argparse.Namespace) -> "AuditOptions":
    """Return what is kept of requests, and where."""
    from minipod.server.audit import AuditOptions
    from minipod.server.audit_policy import DEFAULT, parse_policy, read_policy

    file = options.audit_policy_file
    policy = read_policy(Path(file)) if file else parse_policy(DEFAULT)
    path = Path(options.audit_log_path) if options.audit_log_path else place.log / "audit.log"
    size = options.audit_log_maxsize << 20
    return AuditOptions(path, policy, size, options.audit_log_maxbackup)


def _credentials(place: Layout, options: argparse.Namespace) -> "tuple[TokenSigner, Credentials]":
    """Return what signs service account tokens, and how credentials are told from bad ones."""
    from minipod.pki import Authority, utc
    from minipod.server.token_authentication import Credentials, read_static_tokens
    from minipod.tokens import TokenSigner

    clock = SystemClock()
    Authority(place.pki).ensure(utc(clock.now()))
    signer = TokenSigner(place.pki / "sa.key")
    file = options.token_auth_file
    static = read_static_tokens(Path(file)) if file else {}
    return signer, Credentials(signer, static, clock)


def _serving(
    place: Layout, options: argparse.Namespace, cidr: str, services: str
) -> "SecureServing | None":
    """Return how HTTPS is served: on loopback and on the Pods' bridge, unless other addresses are asked for."""
    from minipod.server.serving import DEFAULT_ADDRESSES, SecureServing, ServingOptions

    if options.secure_port == 0:
        return None
    gateway = first_address(cidr)
    addresses = tuple(options.bind_address) or (*DEFAULT_ADDRESSES, gateway)
    for address in addresses:
        try:
            ip_address(address)
        except ValueError:
            raise StartError(f'--bind-address "{address}" is not an IP address') from None
    hosts = (gateway, first_address(services))
    return SecureServing(place, ServingOptions(addresses, options.secure_port or 0, hosts))


def first_address(cidr: str) -> str:
    """Return a range's first address: the gateway's of Pods, the Service `kubernetes`'s of Services."""
    return str(ip_network(cidr)[1])


def _settle_memory() -> None:
    """Spare what is here to stay (modules, schemas, caches) from being searched for garbage over and over.

    A search of all there is takes 40 ms, in which no Pod starts; what comes and goes is a small part of it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class _Readiness:
    """What /readyz answers."""

    ready = False

    def why_not(self) -> str:
        return "" if self.ready else "the node agent has not started"


@contextlib.asynccontextmanager
async def _runtime(place: Layout) -> "AsyncIterator[ShimRuntime]":
    from minipod.runtime.shim_client import ShimRuntime

    runtime = ShimRuntime(place)
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.close()


async def _network(place: Layout, cidr: str, runtime: "ShimRuntime") -> "NetworkFacts":
    """Make the Pods' network, and remove from it what a crash has left."""
    from minipod.network import bridge

    facts = await asyncio.to_thread(bridge.ensure_network, place, cidr)
    await asyncio.to_thread(bridge.prune, place, await runtime.networks())
    return facts


async def _serve_services(
    place: Layout, client: "Client", facts: "NetworkFacts", parts: contextlib.AsyncExitStack
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


async def _kubelet(
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
    from minipod.node.node_object import parse_reserved
    from minipod.node.pulling import ProcessPuller

    config = NodeConfig(
        node_name=_node_name(options.node_name),
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
        pod_pids_limit=options.pod_max_pids,
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


def _node_name(wanted: str) -> str:
    """Return the node's name: the host's, in the form that DNS-1123 allows, as the kubelet makes it."""
    return wanted or socket.gethostname().strip().lower()


# ---- telling, and taking down ----


def _tell_ready() -> None:
    descriptor = os.environ.pop("MINIPOD_READY_FD", "")
    if descriptor.isdigit():
        with contextlib.suppress(OSError):  # whoever waited may be gone
            os.write(int(descriptor), b"1")
            os.close(int(descriptor))
    _notify("READY=1")


def _notify(message: str) -> None:
    """Tell systemd (sd_notify(3)) when it started us."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, contextlib.suppress(OSError):
        systemd.connect("\0" + address[1:] if address.startswith("@") else address)
        systemd.send(message.encode())


async def _take_down(place: Layout) -> None:
    """End the shim, with whatever it still runs, and remove the network from the host."""
    from minipod.network import bridge
    from minipod.runtime.shim_client import ShimRuntime

    if place.shim_socket.exists():
        runtime = ShimRuntime(place)
        await runtime.open()
        await runtime.shutdown()
        await runtime.close()
    await asyncio.to_thread(_remove_pods, place)
    await asyncio.to_thread(bridge.remove_network, place)


def _remove_pods(place: Layout) -> None:
    """Take down what Pods that were forced away still had mounted: no daemon is there to finish that."""
    from minipod.node.termination import removal_of
    from minipod.runtime.execute import perform

    for directory in place.pods.iterdir() if place.pods.exists() else ():
        for operation in removal_of(str(directory)):
            perform(operation)


if __name__ == "__main__":
    main()
