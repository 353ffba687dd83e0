"""From a Pod to what the runtime is asked for. Pure: the same inputs give the same specs, for `plan` and for real.

IDs are computed from the Pod's UID and the attempt, so that a daemon killed after asking asks for the same thing again.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipod.client import Object
from minipod.image.store import Image
from minipod.node.config import NodeConfig
from minipod.node.environment import expand
from minipod.node.errors import StepError
from minipod.node.hosts import Names
from minipod.node.node_object import compute_throttling
from minipod.node.observed import (
    LABEL_ATTEMPT,
    LABEL_CONTAINER,
    LABEL_CONTAINER_TYPE,
    LABEL_HASH,
    LABEL_IMAGE,
    LABEL_NAME,
    LABEL_NAMESPACE,
    LABEL_UID,
    compute_container_hash,
)
from minipod.node.pods import ContainerKind, containers_of, host_network, uid_of
from minipod.node.qos import compute_qos
from minipod.node.resources import (
    compute_container_resources,
    compute_oom_score,
    compute_pod_resources,
    pod_limits,
)
from minipod.node.security import (
    CompileSeccomp,
    compute_security,
    compute_user,
    is_privileged,
    pod_context,
)
from minipod.node.volumes import VolumePlace, compute_mounts, order_mounts
from minipod.runtime.operations import MakeDirectory, Operation, WriteFile
from minipod.runtime.spec import (
    ContainerSpec,
    Mount,
    PidNamespace,
    PortMapping,
    Rootfs,
    SandboxNetwork,
    SandboxSpec,
)

TERMINATION_MESSAGE_PATH = "/dev/termination-log"


@dataclass(frozen=True)
class ContainerInputs:
    """What one container's spec is made from, beyond the Pod and the node."""

    kind: ContainerKind
    attempt: int
    image: Image
    environment: Sequence[str]
    volumes: Mapping[str, VolumePlace]
    hostname: str
    pid_target: str = ""  # id of the container whose processes an ephemeral one is to see


def sandbox_id(pod: Object, attempt: int) -> str:
    """Return the ID of a Pod's sandbox."""
    return f"{uid_of(pod)}-{attempt}"


def container_id(pod: Object, name: str, attempt: int) -> str:
    """Return the ID of one of a Pod's containers: 64 hexadecimal characters."""
    return hashlib.sha256(f"{uid_of(pod)}/{name}/{attempt}".encode()).hexdigest()


def pod_labels(pod: Object) -> dict[str, str]:
    """Return the labels by which a sandbox is known again."""
    metadata = pod["metadata"]
    return {
        LABEL_UID: metadata["uid"],
        LABEL_NAME: metadata["name"],
        LABEL_NAMESPACE: metadata["namespace"],
    }


# -- sandbox ---------------------------------------------------------------------------------------


def compute_sandbox_spec(
    pod: Object,
    attempt: int,
    names: Names,
    address: str,
    config: NodeConfig,
    compile_seccomp: CompileSeccomp,
    *,
    cgroups: str,
) -> SandboxSpec:
    """Return the sandbox; `address` ("10.85.0.7/16") is "" with hostNetwork, `cgroups` has the Pods' own in it."""
    identifier = sandbox_id(pod, attempt)
    shared_pid = _pid_namespace(pod)
    network = None
    if not host_network(pod):
        place = config.network
        network = SandboxNetwork(
            bridge=place.bridge,
            address=address,
            gateway=place.gateway,
            host_interface=host_interface(identifier),
            mtu=place.mtu,
            table=place.table,
            ports=compute_ports(pod),
        )
    return SandboxSpec(
        id=identifier,
        hostname=names.hostname,
        cgroup=f"{cgroups}/pod{uid_of(pod)}",
        network=network,
        host_ipc=bool(pod["spec"].get("hostIPC")),
        pid=shared_pid,
        resources=compute_pod_resources(pod, config.pod_pids_limit),
        privileged=any(is_privileged(each) for _, each in containers_of(pod)),
        seccomp=compile_seccomp({"type": "RuntimeDefault"}, ()) if shared_pid == "pod" else None,
        sysctls={each["name"]: each["value"] for each in pod_context(pod).get("sysctls") or ()},
        labels={**pod_labels(pod), LABEL_ATTEMPT: str(attempt)},
    )


def host_interface(identifier: str) -> str:
    """Return the name of the veth's host end: "veth" and eleven characters of the sandbox ID's digest."""
    return "veth" + hashlib.sha256(identifier.encode()).hexdigest()[:11]


def compute_ports(pod: Object) -> tuple[PortMapping, ...]:
    """Return the host's ports that lead into the Pod."""
    found = []
    for _, container in containers_of(pod):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                mapping = PortMapping(
                    host_port=port["hostPort"],
                    container_port=port["containerPort"],
                    protocol=port.get("protocol", "TCP").lower(),
                    host_ip=port.get("hostIP") or "",
                )
                found.append(mapping)
    return tuple(found)


def _pid_namespace(pod: Object) -> PidNamespace:
    if pod["spec"].get("hostPID"):
        return "host"
    return "pod" if pod["spec"].get("shareProcessNamespace") else "container"


# -- the Pod's own files ---------------------------------------------------------------------------


def make_pod_directory(pod: Object, config: NodeConfig) -> Operation:
    """Return the operation that makes the Pod's directory."""
    return MakeDirectory(str(config.pod_directory(uid_of(pod))), 0o750)


def compute_pod_files(
    pod: Object, config: NodeConfig, hosts: str, resolv_conf: str, names: Names
) -> tuple[Operation, ...]:
    """Return the operations that make the Pod's directory with its hosts, resolv.conf and hostname files."""
    directory = config.pod_directory(uid_of(pod))
    return (
        make_pod_directory(pod, config),
        WriteFile(str(directory / "etc-hosts"), hosts),
        WriteFile(str(directory / "resolv.conf"), resolv_conf),
        WriteFile(str(directory / "hostname"), f"{names.hostname}\n"),
    )


def termination_log(pod: Object, name: str, attempt: int, config: NodeConfig) -> Path:
    """Return where a container's termination message is on the host."""
    return config.pod_directory(uid_of(pod)) / "containers" / name / str(attempt)


def log_path(pod: Object, name: str, attempt: int, config: NodeConfig) -> Path:
    """Return the log file of one attempt of a container, in the kubelet's layout."""
    metadata = pod["metadata"]
    directory = config.log_directory(metadata["namespace"], metadata["name"], metadata["uid"])
    return directory / name / f"{attempt}.log"


def compute_container_files(
    pod: Object, name: str, attempt: int, config: NodeConfig
) -> tuple[Operation, ...]:
    """Return the operations that make one attempt's termination message file and log directory."""
    message = termination_log(pod, name, attempt, config)
    return (
        MakeDirectory(str(message.parent), 0o750),
        WriteFile(str(message), "", 0o666),
        MakeDirectory(str(log_path(pod, name, attempt, config).parent), 0o755),
    )


# -- containers ------------------------------------------------------------------------------------


def compute_container_spec(
    pod: Object,
    container: Object,
    inputs: ContainerInputs,
    config: NodeConfig,
    sandbox: str,
    compile_seccomp: CompileSeccomp,
) -> ContainerSpec:
    """Return one attempt of a container. StepError says which field cannot be had."""
    image, attempt, name = inputs.image, inputs.attempt, container["name"]
    identifier = container_id(pod, name, attempt)
    variables = environment_map(inputs.environment)
    context = container.get("securityContext") or {}
    oom_score = compute_oom_score(pod, container, compute_qos(pod), config.memory_bytes)
    home = config.layout.containers / identifier
    return ContainerSpec(
        id=identifier,
        sandbox_id=sandbox,
        args=compute_args(container, image, variables),
        rootfs=Rootfs(
            layers=image.layers,
            upper=str(home / "upper"),
            work=str(home / "work"),
            read_only=bool(context.get("readOnlyRootFilesystem")),
        ),
        env=tuple(inputs.environment),
        cwd=container.get("workingDir") or image.config.working_dir or "/",
        mounts=_all_mounts(pod, container, inputs, config, variables),
        user=compute_user(pod, container, image.config.user),
        security=compute_security(pod, container, compile_seccomp, oom_score),
        resources=compute_container_resources(
            container, pod_limits(pod), compute_throttling(config)
        ),
        hostname=inputs.hostname,
        pid_target=inputs.pid_target,
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        log_path=str(log_path(pod, name, attempt, config)),
        log_max_bytes=config.log_max_bytes,
        log_max_files=config.log_max_files,
        stop_signal=(container.get("lifecycle") or {}).get("stopSignal")
        or image.config.stop_signal
        or "SIGTERM",
        labels={
            **pod_labels(pod),
            LABEL_CONTAINER: name,
            LABEL_ATTEMPT: str(attempt),
            LABEL_CONTAINER_TYPE: inputs.kind,
            LABEL_HASH: compute_container_hash(container),
            LABEL_IMAGE: image.id,
        },
    )


def environment_map(environment: Sequence[str]) -> dict[str, str]:
    """Return "NAME=value" strings as a dictionary, the last one winning."""
    return dict(each.partition("=")[::2] for each in environment)


def compute_args(container: Object, image: Image, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is executed: command and args over the image's entrypoint and cmd, with $(VAR) replaced."""
    command = [expand(each, variables) for each in container.get("command") or ()]
    args = [expand(each, variables) for each in container.get("args") or ()]
    if not command:
        command = list(image.config.entrypoint)
        if not args:
            args = list(image.config.cmd)
    if not command and not args:
        raise StepError(
            "CreateContainerError",
            f'container "{container["name"]}" has no command and image "{container["image"]}" gives none',
        )
    return (*command, *args)


def _all_mounts(
    pod: Object,
    container: Object,
    inputs: ContainerInputs,
    config: NodeConfig,
    variables: Mapping[str, str],
) -> tuple[Mount, ...]:
    mounts = compute_mounts(container, inputs.volumes, lambda text: expand(text, variables))
    taken = {each.destination.rstrip("/") for each in mounts}
    directory = config.pod_directory(uid_of(pod))
    message = container.get("terminationMessagePath") or TERMINATION_MESSAGE_PATH
    own = {
        "/etc/hosts": directory / "etc-hosts",
        "/etc/resolv.conf": directory / "resolv.conf",
        "/etc/hostname": directory / "hostname",
        message: termination_log(pod, container["name"], inputs.attempt, config),
    }
    read_only = bool((container.get("securityContext") or {}).get("readOnlyRootFilesystem"))
    for destination, source in own.items():
        if destination not in taken:
            locked = read_only and destination != message
            own_file = Mount(
                destination, str(source), kind="file", read_only=locked, recursive=False
            )
            mounts.append(own_file)
    return order_mounts(mounts)
