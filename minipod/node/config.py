"""What a node is told when it starts."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minipod.node.pressure import Threshold
from minipod.paths import Layout


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class NetworkPlace:
    """The Pods' network on this host: the bridge, its address, and the nft table with the port mappings."""

    bridge: str
    gateway: str  # "10.85.0.1"
    prefix: int  # length, 16 for a /16
    table: str
    mtu: int = 1500


@dataclass(frozen=True)
class NodeConfig:
    """One node's settings. Times in seconds."""

    node_name: str
    layout: Layout
    network: NetworkPlace
    host_ip: str
    backoff_base: float = 10.0
    backoff_max: float = 300.0
    cluster_domain: str = "cluster.local"
    cluster_dns: tuple[str, ...] = ()
    pod_pids_limit: int | None = None  # kubelet --pod-max-pids
    memory_throttling_factor: float | None = None  # kubelet memoryThrottlingFactor
    max_pods: int = 250
    reserved: Mapping[str, str] = field(default_factory=dict)  # kept from Pods (--system-reserved)
    eviction: Sequence[
        Threshold
    ] = ()  # below which the node is short of something (--eviction-hard)
    evicts: bool = False  # whether Pods are ended for it
    log_max_bytes: int = 10 * 1024 * 1024  # kubelet containerLogMaxSize
    log_max_files: int = 5
    memory_bytes: int = field(default_factory=_memory_bytes)
    resolv_conf: Path = Path("/etc/resolv.conf")
    hosts_file: Path = Path("/etc/hosts")

    @property
    def seccomp_profiles(self) -> Path:
        """Where `localhostProfile` files are looked up (the kubelet's /var/lib/kubelet/seccomp)."""
        return self.layout.state / "seccomp"

    def pod_directory(self, uid: str) -> Path:
        """Return the directory of one Pod."""
        return self.layout.pods / uid

    def log_directory(self, namespace: str, name: str, uid: str) -> Path:
        """Return the directory of one Pod's logs, named as the kubelet names it."""
        return self.layout.pod_logs / f"{namespace}_{name}_{uid}"
