"""What the daemon serves its API with, and the controllers that are its first clients."""

import argparse
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from minipod.clock import SystemClock
from minipod.daemon.root_lock import StartError
from minipod.paths import Layout

if TYPE_CHECKING:
    from minipod.client import Client
    from minipod.server.audit import AuditOptions
    from minipod.server.serving import SecureServing
    from minipod.server.token_authentication import Credentials
    from minipod.tokens import TokenSigner


class Controller(Protocol):
    """A loop of desired against actual."""

    async def start(self) -> None:
        """Return when it looks after things."""

    async def stop(self) -> None:
        """End."""


def make_controllers(
    place: Layout, client: "Client", signer: "TokenSigner"
) -> "tuple[Controller, ...]":
    """Make the controllers, each with the rights that it has upstream."""
    from minipod.controllers.account_tokens import AccountTokens
    from minipod.controllers.bootstrap import Bootstrap
    from minipod.controllers.certificate_signer import CertificateSigner
    from minipod.controllers.cluster_role_aggregation import ClusterRoleAggregation
    from minipod.controllers.disruption import DisruptionController
    from minipod.controllers.events import EventExpiry
    from minipod.controllers.garbage import GarbageCollector
    from minipod.controllers.namespaces import NamespaceController
    from minipod.controllers.node_lifecycle import NodeLifecycle
    from minipod.controllers.pod_garbage import PodGarbage
    from minipod.controllers.quota_status import QuotaStatus
    from minipod.controllers.root_ca import RootCertificates
    from minipod.controllers.scheduler import Scheduler
    from minipod.controllers.system_namespaces import SystemNamespaces
    from minipod.controllers.taint_eviction import TaintEviction
    from minipod.controllers.volume_protection import VolumeProtection
    from minipod.pki import Authority
    from minipod.server.admission import SYSTEM_NAMESPACES

    itself = client.calling_itself("kube-apiserver")  # what upstream's server does by itself
    clock, pki = SystemClock(), Authority(place.pki)
    authority = pki.certificate_pem
    manager = client.acting_as(
        "system:kube-controller-manager", user_agent="kube-controller-manager"
    )
    scheduler = client.acting_as("system:kube-scheduler", user_agent="kube-scheduler")
    return (
        Bootstrap(client.for_controller("service-account-controller")),
        NamespaceController(client.for_controller("namespace-controller"), clock),
        GarbageCollector(client.for_controller("generic-garbage-collector"), clock),
        Scheduler(scheduler, clock),
        NodeLifecycle(client.for_controller("node-controller"), manager, clock),
        TaintEviction(client.for_controller("node-controller"), clock),
        PodGarbage(client.for_controller("pod-garbage-collector"), clock),
        EventExpiry(itself, clock),
        SystemNamespaces(itself, clock, SYSTEM_NAMESPACES),
        ClusterRoleAggregation(client.for_controller("clusterrole-aggregation-controller"), clock),
        AccountTokens(manager, clock, signer.issue_legacy, authority),
        DisruptionController(client.for_controller("disruption-controller"), manager, clock),
        QuotaStatus(client.for_controller("resourcequota-controller"), clock),
        CertificateSigner(client.for_controller("certificate-controller"), clock, pki.sign_request),
        VolumeProtection(
            client.for_controller("pvc-protection-controller"),
            client.for_controller("pv-protection-controller"),
            clock,
        ),
        RootCertificates(client.for_controller("root-ca-cert-publisher"), clock, authority),
    )


def make_network_controllers(
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


def audit_options(place: Layout, options: argparse.Namespace) -> "AuditOptions":
    """Return what is kept of requests, and where."""
    from minipod.server.audit import AuditOptions
    from minipod.server.audit_policy import DEFAULT, parse_policy, read_policy

    file = options.audit_policy_file
    policy = read_policy(Path(file)) if file else parse_policy(DEFAULT)
    path = Path(options.audit_log_path) if options.audit_log_path else place.log / "audit.log"
    size = options.audit_log_maxsize << 20
    return AuditOptions(path, policy, size, options.audit_log_maxbackup)


def make_credentials(
    place: Layout, options: argparse.Namespace
) -> "tuple[TokenSigner, Credentials]":
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


def make_serving(
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
