"""The controllers: the first clients of the API that the daemon serves. Loaded when that is."""

from typing import Protocol

from minipod.client import Client
from minipod.clock import SystemClock
from minipod.controllers.account_tokens import AccountTokens
from minipod.controllers.bootstrap import Bootstrap
from minipod.controllers.certificate_signer import CertificateSigner
from minipod.controllers.cluster_role_aggregation import ClusterRoleAggregation
from minipod.controllers.disruption import DisruptionController
from minipod.controllers.endpoint_slices import EndpointSliceController
from minipod.controllers.events import EventExpiry
from minipod.controllers.garbage import GarbageCollector
from minipod.controllers.kubernetes_service import KubernetesService
from minipod.controllers.namespaces import NamespaceController
from minipod.controllers.node_lifecycle import NodeLifecycle
from minipod.controllers.pod_garbage import PodGarbage
from minipod.controllers.quota_status import QuotaStatus
from minipod.controllers.root_ca import RootCertificates
from minipod.controllers.scheduler import Scheduler
from minipod.controllers.service_ips import ServiceIps
from minipod.controllers.system_namespaces import SystemNamespaces
from minipod.controllers.taint_eviction import TaintEviction
from minipod.controllers.volume_protection import VolumeProtection
from minipod.paths import Layout
from minipod.pki import Authority
from minipod.server.admission import SYSTEM_NAMESPACES
from minipod.tokens import TokenSigner


class Controller(Protocol):
    """A loop of desired against actual."""

    async def start(self) -> None:
        """Return when it looks after things."""

    async def stop(self) -> None:
        """End."""


def make_controllers(place: Layout, client: Client, signer: TokenSigner) -> tuple[Controller, ...]:
    """Make the controllers, each with the rights that it has upstream."""
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
    client: Client, addresses: tuple[str, str, int]
) -> tuple[Controller, ...]:
    """Make what upstream's API server does beside serving, and what is behind Services.

    `addresses`: its Service's, its own, its port.
    """
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
