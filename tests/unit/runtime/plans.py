"""Specs and hosts that the tests of plans share."""

from minipod.linux.cgroup import CgroupLayout
from minipod.runtime.plan import HostFacts, SandboxRef
from minipod.runtime.spec import (
    ContainerSpec,
    Mount,
    PortMapping,
    Resources,
    Rootfs,
    SandboxNetwork,
    SandboxSpec,
    Security,
    User,
)

V1 = HostFacts(
    CgroupLayout("/cg2", (), (("cpu", "/cg/cpu"), ("memory", "/cg/memory"))), "/run/root"
)
V2 = HostFacts(CgroupLayout("/cg", ("cpu", "memory", "pids")), "/run/root")

NETWORK = SandboxNetwork(
    "minipod0", "10.85.0.7/16", "10.85.0.1", "veth123", ports=(PortMapping(8001, 8080),)
)
SANDBOX = SandboxSpec(
    id="s1",
    hostname="web-0",
    cgroup="minipod/pod1",
    network=NETWORK,
    sysctls={"net.core.somaxconn": "1024"},
)
POD = SandboxRef.of(SANDBOX)
SECURITY = Security(
    capabilities=("CHOWN", "KILL"),
    seccomp=bytes(16),
    masked_paths=("/proc/kcore",),
    read_only_paths=("/proc/sys",),
    oom_score_adj=1000,
)
CONTAINER = ContainerSpec(
    id="c1",
    sandbox_id="s1",
    args=("nginx", "-g", "daemon off;"),
    rootfs=Rootfs(("/images/b", "/images/a"), "/lib/c1/upper", "/lib/c1/work"),
    env=("PATH=/bin", "A=1", "A=2"),
    cwd="/srv",
    mounts=(
        Mount("/data", "/pods/1/data", source_subpath="x", read_only=True),
        Mount("/cache", type="tmpfs", options=("size=64k",)),
    ),
    user=User("nginx"),
    security=SECURITY,
    resources=Resources(memory_bytes=1 << 20),
)
