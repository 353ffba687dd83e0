"""One operation as lines of shell."""

import re
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from minipod.linux import cgroup, devices
from minipod.linux.cgroup import CgroupLayout
from minipod.linux.netlink import hardware_address
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
    SetHostname,
    SetOomScoreAdj,
    SetPropagation,
    WriteSysctl,
)
from minipod.runtime.operations import (
    AddNftElements,
    AddVeth,
    CheckHostPath,
    ConfigureNetwork,
    DeleteLink,
    EnterCgroup,
    KeepOnly,
    MakeCgroup,
    MakeDirectory,
    MakeSymlink,
    MountLayers,
    MountTmpfs,
    Operation,
    RemoveCgroup,
    RemoveNftElements,
    RemoveTree,
    Unmount,
    WriteFile,
)
from minipod.runtime.spec import PortMapping

_REFERENCE = re.compile(r"\$[a-z_]+")


@dataclass
class Context:
    """What the lines depend on: the host's hierarchies, and where the new root of the current process is."""

    cgroups: CgroupLayout
    new_root: str = ""  # "" while paths are the host's
    labels: dict[str, int] = field(default_factory=dict)
    current: str = ""
    trees: dict[str, str] = field(default_factory=dict)  # where on the host a taken mount is

    def label(self, name: str) -> str:
        """Return a name for the files of the next process called `name`."""
        self.labels[name] = self.labels.get(name, 0) + 1
        return f"{name}{self.labels[name]}"

    def begin_child(self, name: str) -> None:
        """A new process begins on the host's root."""
        self.current, self.new_root, self.trees = name, "", {}

    def inside(self, path: str, root: str = "/") -> str:
        """Return where `path` of a root is found by the script: minipod has changed the root by then, a shell not."""
        base = self.new_root if root == "/" else root
        return base.rstrip("/") + path if path != "/" else base or "/"


quote = shlex.quote


def reference(text: str) -> str:
    """Quote a process: a reference stays a shell variable."""
    return f'"{text}"' if _REFERENCE.fullmatch(text) else shlex.quote(text)


def commands(operation: Operation, context: Context) -> list[str]:
    """Return the lines for one operation. KeyError for one that no table has: there is none."""
    return COMMANDS[type(operation)](operation, context)


# --- the host -----------------------------------------------------------------------------------------------------


def _make_directory(operation: MakeDirectory, _: Context) -> list[str]:
    path = quote(operation.path)
    lines = [f"mkdir -p {path} && chmod {operation.mode:o} {path}"]
    if operation.uid or operation.gid:
        lines.append(f"chown {operation.uid}:{operation.gid} {path}")
    return lines


def _write_file(operation: WriteFile, _: Context) -> list[str]:
    path, new = quote(operation.path), quote(operation.path + ".new")
    return [
        f"printf %s {shlex.quote(operation.content)} >{new}",
        f"chmod {operation.mode:o} {new} && chown {operation.uid}:{operation.gid} {new}",
        f"mv {new} {path}",
    ]


def _make_symlink(operation: MakeSymlink, _: Context) -> list[str]:
    return [f"ln -sfn {quote(operation.target)} {quote(operation.path)}"]


def _keep_only(operation: KeepOnly, _: Context) -> list[str]:
    others = " ".join(f"! -name {quote(name)}" for name in operation.names)
    return [
        f"find {quote(operation.path)} -xdev -mindepth 1 -maxdepth 1 {others} -exec rm -rf {{}} +"
    ]


def _mount_tmpfs(operation: MountTmpfs, _: Context) -> list[str]:
    options = f"nosuid,nodev,mode={operation.mode:o},uid={operation.uid},gid={operation.gid}"
    if operation.size_bytes is not None:
        options += f",size={operation.size_bytes}"
    path = quote(operation.path)
    mounted = f"mountpoint -q {path} || mount -t tmpfs -o {options} tmpfs {path}"
    return [f"mkdir -p {path}", mounted]


def _mount_layers(operation: MountLayers, _: Context) -> list[str]:
    path = quote(operation.path)
    lower = ":".join(layer.replace(":", "\\:") for layer in (*operation.layers, operation.path))
    options = shlex.quote(f"ro,nosuid,nodev,lowerdir={lower}")
    mounted = f"mountpoint -q {path} || mount -t overlay -o {options} overlay {path}"
    return [f"mkdir -p {path}", mounted]


def _unmount(operation: Unmount, _: Context) -> list[str]:
    path = quote(operation.path)
    return [f"! mountpoint -q {path} || umount -R {path}"]


def _remove_tree(operation: RemoveTree, _: Context) -> list[str]:
    return [f"rm -rf --one-file-system {quote(operation.path)}"]


_TESTS = {
    "Directory": "-d",
    "File": "-f",
    "Socket": "-S",
    "CharDevice": "-c",
    "BlockDevice": "-b",
}


def _check_host_path(operation: CheckHostPath, _: Context) -> list[str]:
    path, kind = quote(operation.path), operation.type
    if not kind or kind == "DirectoryOrCreate":
        return [f"mkdir -p {path}"]
    if kind == "FileOrCreate":
        return [f"[ -e {path} ] || : >{path}", f"[ -f {path} ]"]
    return [f"[ {_TESTS[kind]} {path} ]"]


# --- control groups -----------------------------------------------------------------------------------------------


def _make_cgroup(operation: MakeCgroup, context: Context) -> list[str]:
    layout = context.cgroups
    lines = []
    if layout.unified_controllers:
        lines += _hand_down(layout, operation.path)
    paths = [quote(f"{point}/{operation.path}") for point in layout.hierarchies]
    if paths:
        lines.append(f"mkdir -p {' '.join(paths)}")
    for controller, file, content in cgroup.settings(layout, **asdict(operation.resources)):
        target = f"{layout.directory(controller, operation.path)}/{file}"
        lines.append(f"echo {shlex.quote(content)} >{quote(target)}")
    if operation.limit_devices:
        lines += _limit_devices(layout, operation.path)
    return lines or ["# this host has no control groups"]


def _limit_devices(layout: CgroupLayout, path: str) -> list[str]:
    rules = " ".join(shlex.quote(rule.text()) for rule in devices.DEFAULT_RULES)
    if layout.unified:
        return [
            "# a shell cannot attach a BPF program (bpf(2)); minipod's allows these devices and no other:",
            f"# {rules}",
        ]
    directory = layout.directory("devices", path)
    if not directory:
        return []
    return [
        f"echo a >{quote(directory + '/devices.deny')}",
        f'for rule in {rules}; do echo "$rule" >{quote(directory + "/devices.allow")}; done',
    ]


def _hand_down(layout: CgroupLayout, path: str) -> list[str]:
    wanted = " ".join(f"+{name}" for name in layout.unified_controllers)
    lines, directory = [], layout.unified
    for part in path.split("/"):
        lines.append(f"echo '{wanted}' >{quote(directory + '/cgroup.subtree_control')}")
        directory += f"/{part}"
        lines.append(f"mkdir -p {quote(directory)}")
    return lines


def _remove_cgroup(operation: RemoveCgroup, context: Context) -> list[str]:
    lines = []
    if context.cgroups.unified:
        lines.append(f"echo 1 >{quote(f'{context.cgroups.unified}/{operation.path}/cgroup.kill')}")
    for point in context.cgroups.hierarchies:
        lines.append(f"find {quote(f'{point}/{operation.path}')} -depth -type d -exec rmdir {{}} +")
    return lines


def _enter_cgroup(operation: EnterCgroup, context: Context) -> list[str]:
    return [
        f"echo {reference(operation.pid)} >{quote(f'{point}/{operation.path}/cgroup.procs')}"
        for point in context.cgroups.v1_hierarchies
    ]


# --- the network --------------------------------------------------------------------------------------------------


def _add_veth(operation: AddVeth, _: Context) -> list[str]:
    host, target = quote(operation.host_interface), reference(operation.target)
    mtu = f"mtu {operation.mtu}"
    peer = f"peer name {quote(operation.interface)} {mtu} netns {target}"
    return [
        f"ip link add {host} {mtu} type veth {peer}",
        f"ip link set {host} master {quote(operation.bridge)} up",
    ]


def _configure_network(operation: ConfigureNetwork, _: Context) -> list[str]:
    ip = f"nsenter --target {reference(operation.target)} --net ip"
    interface = quote(operation.interface)
    lines = [
        f"{ip} link set lo up",
        f"{ip} link set {interface} address {hardware_address(operation.address)}",
        f"{ip} address add {quote(operation.address)} dev {interface}",
        f"{ip} link set {interface} up",
    ]
    if operation.gateway:
        lines.append(f"{ip} route add default via {quote(operation.gateway)}")
    return lines


def _nft(verb: str, operation: AddNftElements | RemoveNftElements) -> list[str]:
    table, interface, address = operation.table, operation.host_interface, operation.address
    guarded = [
        f"{verb} element bridge {table} guarded {{ {interface} }}",
        f"{verb} element bridge {table} sources {{ {interface} . {hardware_address(address)} . {address} }}",
    ]
    ports = [_port_element(verb, table, address, port) for port in operation.ports]
    return [f"nft {shlex.quote('; '.join([*guarded, *ports]))}"]


def _port_element(verb: str, table: str, address: str, port: PortMapping) -> str:
    key, name = f"{port.protocol} . {port.host_port}", "ports"
    if port.host_ip not in ("", "0.0.0.0"):
        key, name = f"{port.host_ip} . {key}", "address_ports"
    return f"{verb} element inet {table} {name} {{ {key} : {address} . {port.container_port} }}"


def _delete_link(operation: DeleteLink, _: Context) -> list[str]:
    return [f"ip link delete {quote(operation.name)}"]


# --- inside the new process ---------------------------------------------------------------------------------------


def _set_hostname(operation: SetHostname, _: Context) -> list[str]:
    return [f"echo {quote(operation.name)} >/proc/sys/kernel/hostname"]


def _write_sysctl(operation: WriteSysctl, _: Context) -> list[str]:
    path = "/proc/sys/" + operation.name.replace(".", "/")
    return [f"echo {quote(operation.value)} >{quote(path)}"]


def _set_oom_score_adj(operation: SetOomScoreAdj, _: Context) -> list[str]:
    # /proc is the host's here: a shell that is PID 1 of its namespace would find the host's first process at /proc/$$.
    return [
        f"{{ echo {operation.value} >/proc/self/oom_score_adj; }} 2>/dev/null || :  # lowering needs CAP_SYS_RESOURCE"
    ]


def _set_propagation(operation: SetPropagation, _: Context) -> list[str]:
    return [f"mount --make-{operation.propagation} {quote(operation.path)}"]


def _await_turn(_operation: AwaitTurn, _: Context) -> list[str]:
    return ["# nothing to wait for: a shell makes one after the other"]


def _open_mount_tree(operation: OpenMountTree, context: Context) -> list[str]:
    if operation.target:
        instead = {
            "shm": f"here {operation.source} becomes a tmpfs of the container's own",
            "proc": "here a process in there mounts another one",
        }
        return [
            "# a shell cannot carry a mount from one mount namespace to another (open_tree, move_mount):",
            f"# {instead[operation.name]}",
        ]
    context.trees[operation.name] = _joined(operation.source, operation.subpath)
    return [
        "# a shell cannot hold a detached mount (open_tree): here what the container mounts there",
        "# does not reach the host",
    ]


def _mount_overlay(operation: MountOverlay, _: Context) -> list[str]:
    lower = ":".join(layer.replace(":", "\\:") for layer in operation.layers)
    options = f"lowerdir={lower},upperdir={operation.upper},workdir={operation.work},volatile"
    if not operation.devices:
        options = f"nodev,{options}"
    return [f"mount -t overlay -o {shlex.quote(options)} overlay {quote(operation.target)}"]


def _joined(source: str, subpath: str) -> str:
    return "/".join(part.rstrip("/") for part in (source, subpath) if part)


def place(path: str, root: str) -> str:
    """Return the line that finds `path` in a new root, whose links must not lead to the host: it becomes $target."""
    return f'target=$(sh "$here/inside" {quote(root)} {quote(path)})'


def _mount_filesystem(operation: MountFilesystem, context: Context) -> list[str]:
    target = quote(context.inside(operation.target, operation.root))
    options = f"-o {shlex.quote(','.join(operation.options))} " if operation.options else ""
    source = quote(operation.source or operation.type)
    return [f"mkdir -p {target}", f"mount -t {operation.type} {options}{source} {target}"]


def _bind_mount(operation: BindMount, context: Context) -> list[str]:
    target = quote(context.inside(operation.target, operation.root))
    if operation.tree == "shm":
        return [
            f"mkdir -p {target}",
            f"mount -t tmpfs -o nosuid,nodev,noexec,mode=1777 tmpfs {target}",
        ]
    if operation.tree == "proc":
        mount = f"mount -t proc -o {','.join(operation.options)} proc {target}"
        return [f"mkdir -p {target}", f'nsenter --target "$pause_pid" --pid {mount}']
    source = context.trees.get(operation.tree) or _joined(operation.source, operation.subpath)
    made = [f"mkdir -p {quote(source)}"] if operation.subpath else []
    lines = [
        *made,
        place(operation.target, context.inside("/", operation.root)),
        'mkdir -p "$(dirname "$target")"',
        f'if [ -d {quote(source)} ]; then mkdir -p "$target"; else touch "$target"; fi',
        f'mount --{"r" if operation.recursive else ""}bind {quote(source)} "$target"',
        f'mount --make-r{operation.propagation.removeprefix("r")} "$target"',  # and what is below
    ]
    return lines + _bind_options(operation)


def _bind_options(operation: BindMount) -> list[str]:
    """Return what sets the options of a bind, and of what is mounted below it; `ro` is for itself if not for all."""
    everywhere = [*operation.options, *(["ro"] if operation.recursive_read_only else [])]
    here = [*operation.options, *(["ro"] if operation.read_only else [])]
    lines = []
    if operation.recursive and everywhere:
        found = 'findmnt --noheadings --raw --submounts --output TARGET "$target"'
        remount = f"mount -o remount,bind,{','.join(everywhere)}"
        lines.append(f'{found} | while read -r each; do {remount} "$each"; done')
    if here and (here != everywhere or not operation.recursive):
        lines.append(f'mount -o remount,bind,{",".join(here)} "$target"')
    return lines


def _make_mount_points(operation: MakeMountPoints, context: Context) -> list[str]:
    lines = []
    for path in operation.directories:
        lines += [place(path, operation.root), 'mkdir -p "$target" || :']
    for path in operation.files:
        made = 'mkdir -p "$(dirname "$target")" && touch "$target" || :'
        lines += [place(path, operation.root), made]
    return lines


def _make_devices(operation: MakeDevices, _: Context) -> list[str]:
    dev = quote(operation.root + "/dev")
    lines = [
        f"cd {dev}",
        "ln -s /proc/self/fd fd; ln -s pts/ptmx ptmx; ln -s /proc/kcore core",
        "ln -s /proc/self/fd/0 stdin; ln -s /proc/self/fd/1 stdout; ln -s /proc/self/fd/2 stderr",
        "for device in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do",
        '  set -- $device; mknod -m 666 "$1" c "$2" "$3"',
    ]
    if operation.all:
        everything = "(cd /dev && find . -xdev \\( -type b -o -type c \\) | cpio -pdm --quiet"
        return [*lines, "done", f"{everything} {dev}) || :", "cd /"]
    return [
        *lines,
        '  mount --bind "$1" "$1"  # a mount of its own, on which the device works',
        "done; cd /",
        f"mount -o remount,bind,nosuid,nodev {dev}  # and nowhere else",
    ]


def _mount_cgroups(operation: MountCgroups, context: Context) -> list[str]:
    target, layout = context.inside(operation.target), context.cgroups
    options = "nosuid,nodev,noexec" + (",ro" if operation.read_only else "")
    if layout.unified and not layout.v1:
        return [f"mount -t cgroup2 -o {options} cgroup {quote(target)}"]
    lines = [f"mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs {quote(target)}"]
    for point in layout.hierarchies:
        directory = f"{target}/{point.rpartition('/')[2]}"
        names = ",".join(name for name, place in layout.v1 if place == point)
        kind = "cgroup2" if point == layout.unified else "cgroup"
        more = f",{names}" if names else ""
        lines.append(
            f"mkdir {quote(directory)} && mount -t {kind} -o {options}{more} cgroup {quote(directory)}"
        )
    if operation.read_only:
        lines.append(f"mount -o remount,bind,ro,nosuid,nodev,noexec {quote(target)}")
    return lines


def _mask_paths(operation: MaskPaths, context: Context) -> list[str]:
    null = quote(context.inside("/dev/null"))
    return [
        f"for path in {_words(operation.paths, context)}; do",
        '  if [ -d "$path" ]; then mount -t tmpfs -o ro,size=0k,nr_inodes=2 tmpfs "$path"',
        f'  elif [ -e "$path" ]; then mount --bind {null} "$path"; fi',
        "done",
    ]


def _make_read_only(operation: MakeReadOnly, context: Context) -> list[str]:
    flags = "remount,bind,ro,nosuid,nodev,noexec"
    return [
        f"for path in {_words(operation.paths, context)}; do",
        f'  [ ! -e "$path" ] || {{ mount --rbind "$path" "$path" && mount -o {flags} "$path"; }}',
        "done",
    ]


def _words(paths: tuple[str, ...], context: Context) -> str:
    return " ".join(quote(context.inside(path)) for path in paths)


def _remount_read_only(operation: RemountReadOnly, context: Context) -> list[str]:
    return [f"mount -o remount,bind,ro {quote(context.inside(operation.path))}"]


COMMANDS: dict[type[Operation], Callable[[Any, Context], list[str]]] = {
    MakeDirectory: _make_directory,
    WriteFile: _write_file,
    MountTmpfs: _mount_tmpfs,
    MountLayers: _mount_layers,
    Unmount: _unmount,
    MakeSymlink: _make_symlink,
    KeepOnly: _keep_only,
    RemoveTree: _remove_tree,
    CheckHostPath: _check_host_path,
    MakeCgroup: _make_cgroup,
    EnterCgroup: _enter_cgroup,
    RemoveCgroup: _remove_cgroup,
    AddVeth: _add_veth,
    ConfigureNetwork: _configure_network,
    AddNftElements: lambda operation, _: _nft("add", operation),
    RemoveNftElements: lambda operation, _: _nft("delete", operation),
    DeleteLink: _delete_link,
    SetHostname: _set_hostname,
    WriteSysctl: _write_sysctl,
    SetOomScoreAdj: _set_oom_score_adj,
    SetPropagation: _set_propagation,
    AwaitTurn: _await_turn,
    OpenMountTree: _open_mount_tree,
    MountOverlay: _mount_overlay,
    MountFilesystem: _mount_filesystem,
    BindMount: _bind_mount,
    MakeMountPoints: _make_mount_points,
    MakeDevices: _make_devices,
    MountCgroups: _mount_cgroups,
    MaskPaths: _mask_paths,
    MakeReadOnly: _make_read_only,
    RemountReadOnly: _remount_read_only,
}
