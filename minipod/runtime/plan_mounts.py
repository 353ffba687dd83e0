"""The mounts of a container, in their order: root, /proc, /dev, /sys, volumes; after the pivot cgroups and masks."""

from collections.abc import Sequence

from minipod.runtime.child_operations import (
    AwaitTurn,
    BindMount,
    MakeDevices,
    MakeMountPoints,
    MakeReadOnly,
    MaskPaths,
    MountCgroups,
    MountFilesystem,
    MountOverlay,
    OpenMountTree,
    RemountReadOnly,
    SetPropagation,
)
from minipod.runtime.operations import Operation
from minipod.runtime.spec import ContainerSpec, Mount

Planned = list[tuple[Operation, str]]
_COVERED = ("/proc/", "/sys/", "/dev/")  # by what is mounted there in every container


def root_mount_steps(spec: ContainerSpec, root: str, *, host_ipc: bool, pid_holder: str) -> Planned:
    """Return the steps that put the new root together at `root`, while the host's paths are still in sight.

    With a PID namespace that others share all this happens outside of it, where they cannot look: only a process in
    there could mount its /proc, so it is taken from `pid_holder`: the pause, or the container that is joined.
    """
    privileged = spec.security.privileged
    steps: Planned = []
    for index, mount in enumerate(spec.mounts):
        if mount.propagation == "rshared":
            taken = OpenMountTree(f"volume{index}", mount.source, mount.source_subpath)
            steps.append((taken, "taken while it is still a peer of the host's mount"))
    steps.append((SetPropagation("/", "rslave"), "what is mounted from here on stays in here"))
    rootfs = spec.rootfs
    overlay = MountOverlay(root, rootfs.layers, rootfs.upper, rootfs.work, devices=privileged)
    steps.append((overlay, "the image's layers, and what the container writes above them"))
    own, others = _kernel_filesystems(root, privileged, bool(pid_holder))
    steps += own
    steps += _devices(root, privileged)
    steps += _mount_points(spec.mounts, root)
    steps.append(
        (AwaitTurn(), "from here on it needs what others make, or must not be ahead of them")
    )
    if pid_holder:
        covered = pid_holder == "$pause_pid"
        taken = OpenMountTree("proc", "/proc", target=pid_holder, recursive=False, covered=covered)
        steps.append((taken, "the processes of those it will live among, as they have them"))
    steps += others
    steps += _shared_memory(root, host_ipc)
    for index, mount in enumerate(spec.mounts):
        steps.append((_volume(mount, index, root, privileged), "a volume"))
    return steps


def _kernel_filesystems(root: str, privileged: bool, shared_pid: bool) -> tuple[Planned, Planned]:
    """Return the mounts that take nothing but the process's namespaces, and those that take what others have made."""
    strict = ("nosuid", "nodev", "noexec")
    sysfs = MountFilesystem(
        "sysfs", "/sys", root, options=strict if privileged else (*strict, "ro")
    )
    own: Planned = [(sysfs, "devices, as this network sees")]
    if shared_pid:
        proc = BindMount("/proc", root, tree="proc", recursive=False, options=strict)
        return own, [(proc, "processes, as the Pod sees them")]
    mount = MountFilesystem("proc", "/proc", root, options=strict)
    return [(mount, "processes, as this container"), *own], []


def _devices(root: str, privileged: bool) -> Planned:
    dev = ("nosuid", "strictatime", "mode=755", "size=65536k")
    pts = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
    return [
        (MountFilesystem("tmpfs", "/dev", root, options=dev), "a small /dev of its own"),
        (MakeDevices(root, all=privileged), "the harmless devices"),
        (MountFilesystem("devpts", "/dev/pts", root, options=pts), "its own terminals"),
        (
            MountFilesystem("mqueue", "/dev/mqueue", root, options=("nosuid", "nodev", "noexec")),
            "message queues of the IPC namespace",
        ),
    ]


def _mount_points(mounts: Sequence[Mount], root: str) -> Planned:
    """Return the making of mount points that no other mount will cover, as far as their paths tell."""
    places = [each.destination.rstrip("/") + "/" for each in mounts]
    found: dict[str, list[str]] = {"directory": [], "file": []}
    for mount, place in zip(mounts, places, strict=True):
        covered = any(place != other and place.startswith(other) for other in places)
        if mount.kind and not covered and not place.startswith(_COVERED):
            found[mount.kind].append(mount.destination)
    if not any(found.values()):
        return []
    made = MakeMountPoints(root, tuple(found["directory"]), tuple(found["file"]))
    return [(made, "a copy of each directory on the way, which takes the longest")]


def _shared_memory(root: str, host_ipc: bool) -> Planned:
    strict = ("nosuid", "nodev", "noexec")
    if host_ipc:
        return [(BindMount("/dev/shm", root, source="/dev/shm", options=strict), "shared memory")]
    shm = OpenMountTree("shm", "/dev/shm", target="$pause_pid", recursive=False)
    return [
        (shm, "the Pod's shared memory, from the pause's mount namespace"),
        (BindMount("/dev/shm", root, tree="shm", options=strict), "shared memory"),
    ]


def _volume(mount: Mount, index: int, root: str, privileged: bool) -> Operation:
    """Return the mount of one volume. Nodes on it are dead whatever the Pod's devices, unless it is for one."""
    if mount.type == "tmpfs":
        options = (*mount.options, "ro") if mount.read_only else mount.options
        return MountFilesystem(
            "tmpfs", mount.destination, root, options=("nosuid", "nodev", *options)
        )
    tree = f"volume{index}" if mount.propagation == "rshared" else ""
    alive = privileged or mount.devices
    extra = () if alive or "nodev" in mount.options else ("nodev",)
    return BindMount(
        target=mount.destination,
        root=root,
        source="" if tree else mount.source,
        subpath="" if tree else mount.source_subpath,
        tree=tree,
        recursive=mount.recursive,
        read_only=mount.read_only,
        recursive_read_only=mount.recursive_read_only,
        propagation=mount.propagation,
        options=(*mount.options, *extra),
    )


def mount_steps(spec: ContainerSpec) -> Planned:
    """Return what is mounted inside the new root: cgroups once the process is in its own, masks over all."""
    security = spec.security
    steps: Planned = [
        (MountCgroups(read_only=not security.privileged), "its own limits, to be read"),
    ]
    if spec.rootfs.read_only:
        steps.append((RemountReadOnly("/"), "readOnlyRootFilesystem"))
    if security.privileged:
        return steps
    if security.read_only_paths:
        steps.append((MakeReadOnly(security.read_only_paths), "the kernel's switches"))
    if security.masked_paths:
        steps.append((MaskPaths(security.masked_paths), "the kernel's secrets"))
    return steps
