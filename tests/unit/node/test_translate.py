"""From Pods to specs: everything pure."""

from pathlib import Path
from typing import Any

import pytest

from minipod.client import Object
from minipod.linux import capabilities
from minipod.node import refreshing
from minipod.node.admission import compute_refusal
from minipod.node.environment import References
from minipod.node.errors import StepError
from minipod.node.hosts import (
    Names,
    compute_hosts,
    compute_names,
    compute_resolver,
    parse_resolv_conf,
)
from minipod.node.pods import ContainerKind
from minipod.node.resources import (
    MemoryThrottling,
    compute_container_resources,
    compute_oom_score,
    compute_pod_resources,
)
from minipod.node.security import compute_capabilities, compute_security, compute_user
from minipod.node.translate import (
    ContainerInputs,
    compute_args,
    compute_container_spec,
    compute_sandbox_spec,
)
from minipod.node.volumes import compute_places, compute_volumes
from minipod.runtime import defaults
from minipod.runtime.operations import (
    CheckHostPath,
    MakeDirectory,
    MakeSymlink,
    MountTmpfs,
    WriteFile,
)
from minipod.runtime.spec import ContainerSpec, PortMapping
from tests.unit.node.pods import container, make_config, make_image, make_pod

NOTHING = References()


def translate(
    pod: Object, kind: ContainerKind = "app", references: References = NOTHING, **image: Any
) -> ContainerSpec:
    config = make_config(Path("/tmp/mp"))
    volumes = compute_places(pod, config.pod_directory("uid-web"))
    inputs = ContainerInputs(kind, 0, make_image("busybox", **image), ["A=1"], volumes, "web")
    chosen = pod["spec"]["containers"][0]
    return compute_container_spec(pod, chosen, inputs, config, "sandbox", lambda *_: b"filter")


# -- program ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        (None, None, ("/entry", "cmd")),
        (["x"], None, ("x",)),
        (None, ["y"], ("/entry", "y")),
        (["x"], ["y"], ("x", "y")),
        (["echo"], ["$(A)", "$$(A)", "$(B)"], ("echo", "1", "$(A)", "$(B)")),
    ],
)
def test_command_and_args_over_entrypoint_and_cmd(command, args, expected):
    image = make_image("x", entrypoint=("/entry",), cmd=("cmd",))
    fields = {"command": command, "args": args}
    wanted = container(**{key: value for key, value in fields.items() if value})
    assert compute_args(wanted, image, {"A": "1"}) == expected


def test_no_program_at_all_is_refused():
    with pytest.raises(StepError, match="has no command") as caught:
        compute_args(container(), make_image("x", cmd=()), {})
    assert caught.value.reason == "CreateContainerError"


def test_ids_depend_on_pod_container_and_attempt_alone():
    spec = translate(make_pod())
    assert len(spec.id) == 64
    assert spec.id == translate(make_pod("web", container("app", image="other"))).id
    assert spec.id != translate(make_pod("web", container("two"))).id


def test_a_container_gets_the_pods_files_and_its_message_file():
    spec = translate(make_pod())
    places = [mount.destination for mount in spec.mounts]
    assert sorted(places) == [
        "/dev/termination-log",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/resolv.conf",
    ]
    assert spec.log_path.endswith("/pods/default_web_uid-web/app/0.log")


def test_a_volume_at_etc_hosts_wins_over_ours():
    pod = make_pod(
        "web",
        container(volumeMounts=[{"name": "v", "mountPath": "/etc/hosts"}]),
        volumes=[{"name": "v", "hostPath": {"path": "/srv/hosts"}}],
    )
    sources = {mount.destination: mount.source for mount in translate(pod).mounts}
    assert sources["/etc/hosts"] == "/srv/hosts"


def test_parents_are_mounted_before_what_is_inside_them():
    mounts = [{"name": "v", "mountPath": place} for place in ("/a/b/c", "/a", "/a/b")]
    pod = make_pod("web", container(volumeMounts=mounts), volumes=[{"name": "v", "emptyDir": {}}])
    order = [m.destination for m in translate(pod).mounts if m.destination.startswith("/a")]
    assert order == ["/a", "/a/b", "/a/b/c"]


def test_fields_reach_the_spec():
    security = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}
    wanted = container(tty=True, stdin=True, workingDir="/srv", securityContext=security)
    spec = translate(make_pod("web", wanted), stop_signal="SIGQUIT")
    assert (spec.tty, spec.stdin, spec.cwd, spec.stop_signal) == (True, True, "/srv", "SIGQUIT")
    assert spec.rootfs.read_only
    assert spec.security.no_new_privileges
    assert spec.security.seccomp == b"filter"


# -- sandbox ---------------------------------------------------------------------------------------


def sandbox(pod: Object) -> Any:
    names = compute_names(pod, "cluster.local", "node1")
    config = make_config(Path("/tmp/mp"))
    place = names, "10.85.0.7/16", config, lambda *_: b"filter"
    return compute_sandbox_spec(pod, 0, *place, cgroups="minipod-1")


def test_host_ports_become_mappings():
    ports = [{"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}, {"containerPort": 9}]
    spec = sandbox(make_pod("web", container(ports=ports)))
    assert spec.network.ports == (PortMapping(8080, 80, "tcp", ""),)
    assert len(spec.network.host_interface) <= 15


def test_namespaces_of_the_host_and_of_the_pod():
    spec = sandbox(make_pod(hostNetwork=True, hostIPC=True, hostPID=True))
    assert (spec.network, spec.host_ipc, spec.pid) == (None, True, "host")
    assert spec.hostname == "node1"
    assert sandbox(make_pod(shareProcessNamespace=True)).pid == "pod"


def test_the_pause_is_filtered_where_containers_may_trace_it():
    assert sandbox(make_pod()).seccomp is None
    assert sandbox(make_pod(shareProcessNamespace=True)).seccomp == b"filter"


def test_a_pod_with_a_privileged_container_is_known_as_such():
    context = {"privileged": True}
    assert sandbox(make_pod("web", container(securityContext=context))).privileged
    assert not sandbox(make_pod()).privileged


# -- names -----------------------------------------------------------------------------------------


def test_hostnames():
    assert compute_names(make_pod("a" * 70), "cluster.local", "n").hostname == "a" * 63
    pod = make_pod("web", hostname="h", subdomain="sub", setHostnameAsFQDN=True)
    assert compute_names(pod, "cluster.local", "n").hostname == "h.sub.default.svc.cluster.local"
    pod["spec"]["subdomain"] = "s" * 50
    with pytest.raises(StepError, match="64 characters is the max"):
        compute_names(pod, "cluster.local", "n")


def test_hosts_file_has_the_pod_and_its_aliases():
    aliases = [{"ip": "10.1.2.3", "hostnames": ["foo.remote", "bar.remote"]}]
    text = compute_hosts(
        make_pod(hostAliases=aliases), Names("web", "web", "sub.default.svc.x"), "10.85.0.7", "HOST"
    )
    assert "10.85.0.7\tweb.sub.default.svc.x\tweb\n" in text
    assert text.endswith("10.1.2.3\tfoo.remote\tbar.remote\n")
    assert "HOST" in compute_hosts(make_pod(hostNetwork=True), Names("n", "n"), "", "HOST\n")


HOST = parse_resolv_conf(
    "# c\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch a b\noptions edns0\n"
)


def test_resolver_by_policy():
    default = compute_resolver(make_pod(dnsPolicy="Default"), HOST, (), "cluster.local")
    assert default.render() == "search a b\nnameserver 9.9.9.9\noptions edns0\n"
    cluster = compute_resolver(make_pod(), HOST, ("10.96.0.10",), "cluster.local")
    assert cluster.searches == [
        "default.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
        "a",
        "b",
    ]
    assert cluster.options == ["ndots:5"]
    config = {
        "nameservers": ["1.1.1.1"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "x"}],
    }
    none = compute_resolver(make_pod(dnsPolicy="None", dnsConfig=config), HOST, (), "cluster.local")
    assert none.render() == "nameserver 1.1.1.1\noptions ndots:2 x\n"


def test_more_nameservers_than_libc_reads_are_left_out_with_a_warning():
    config = {"nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"]}
    found = compute_resolver(make_pod(dnsPolicy="None", dnsConfig=config), HOST, (), "x")
    assert len(found.nameservers) == 3
    assert "Nameserver limits were exceeded" in found.warnings[0]


# -- resources -------------------------------------------------------------------------------------


def resources(**values: Any) -> Object:
    return container(resources=values)


def test_cgroup_numbers_are_the_kubelets():
    found = compute_container_resources(resources(limits={"cpu": "500m", "memory": "64Mi"}), {})
    assert (found.cpu_shares, found.cpu_quota_us, found.cpu_period_us) == (512, 50_000, 100_000)
    assert found.memory_bytes == 64 * 1024 * 1024
    nothing = compute_container_resources(container(), {})
    assert (nothing.cpu_shares, nothing.cpu_quota_us, nothing.memory_bytes) == (2, None, None)
    assert compute_container_resources(resources(limits={"cpu": "1m"}), {}).cpu_quota_us == 1000


@pytest.mark.parametrize(
    ("requests", "limits", "high"),
    [
        ({"memory": "100Mi"}, {"memory": "200Mi"}, 190 << 20),
        ({"memory": "1"}, {"memory": "9999"}, 8192),  # whole pages
        ({}, {"memory": "200Mi"}, 180 << 20),
        ({"memory": "100Mi"}, {}, 910 << 20),  # towards what the node has
        ({}, {}, 900 << 20),
        ({"memory": "64Mi"}, {"memory": "64Mi"}, -1),
        ({"memory": "1000Mi"}, {}, -1),
        ({"memory": "1"}, {"memory": "4095"}, -1),
    ],
)
def test_where_a_container_is_slowed_down_is_the_kubelets(requests, limits, high):
    wanted = resources(requests=requests, limits=limits)
    throttling = MemoryThrottling(0.9, 1000 << 20)
    assert compute_container_resources(wanted, {}, throttling).memory_high_bytes == high
    assert compute_container_resources(wanted, {}).memory_high_bytes is None


def test_a_container_without_limits_has_the_pods():
    own = {"cpu": "1", "memory": "64Mi"}
    found = compute_container_resources(resources(limits={"memory": "32Mi", "cpu": "0"}), own)
    assert (found.cpu_quota_us, found.memory_bytes) == (100_000, 32 * 1024**2)
    assert found.cpu_shares == 1024
    asking = compute_container_resources(resources(requests={"cpu": "100m"}), own)
    assert asking.cpu_shares == 102


def test_what_a_pod_says_for_all_its_containers_is_its_cgroups():
    whole = {"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "64Mi"}}
    pod = make_pod("web", resources(requests={"cpu": "100m"}), container("b"), resources=whole)
    found = compute_pod_resources(pod, None)
    assert (found.cpu_shares, found.cpu_quota_us) == (512, 100_000)
    assert found.memory_bytes == 64 * 1024**2


def test_a_pod_is_limited_only_when_all_its_containers_are():
    one = resources(limits={"memory": "10Mi", "cpu": "1"})
    found = compute_pod_resources(make_pod("web", one, {**one, "name": "b"}), 100)
    assert (found.memory_bytes, found.cpu_quota_us, found.pids) == (20 * 1024**2, 200_000, 100)
    assert compute_pod_resources(make_pod("web", one, container("b")), None).memory_bytes is None


def test_oom_scores():
    pod, total = make_pod(), 1000 * 1024**2
    assert compute_oom_score(pod, container(), "BestEffort", total) == 1000
    assert compute_oom_score(pod, container(), "Guaranteed", total) == -997
    half = resources(requests={"memory": "500Mi"})
    assert compute_oom_score(pod, half, "Burstable", total) == 500


def test_a_sidecar_goes_no_sooner_than_those_it_serves_and_a_pods_own_memory_is_shared():
    total = 1000 * 1024**2
    one, two = resources(requests={"memory": "200Mi"}), resources(requests={"memory": "300Mi"})
    sidecar = {**container("s"), "restartPolicy": "Always"}
    served = make_pod("web", one, {**two, "name": "b"}, initContainers=[sidecar])
    assert compute_oom_score(served, sidecar, "Burstable", total) == 800
    large = {**sidecar, **resources(requests={"memory": "400Mi"}), "restartPolicy": "Always"}
    assert compute_oom_score(served, large, "Burstable", total) == 600
    whole = {"requests": {"memory": "500Mi"}}
    shared = make_pod("web", one, container("b"), resources=whole)
    assert compute_oom_score(shared, one, "Burstable", total) == 650
    assert compute_oom_score(shared, container("b"), "Burstable", total) == 850


# -- security --------------------------------------------------------------------------------------


def test_capabilities_add_and_drop():
    assert set(compute_capabilities({})) == set(defaults.CAPABILITIES)
    assert compute_capabilities({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}) == (
        "NET_BIND_SERVICE",
    )
    assert set(compute_capabilities({"add": ["ALL"]})) == set(capabilities.NAMES)
    assert "CHOWN" not in compute_capabilities({"drop": ["CAP_CHOWN"]})
    with pytest.raises(StepError, match='unknown capability "NONSENSE"'):
        compute_capabilities({"add": ["NONSENSE"]})


def test_users_and_groups():
    pod = make_pod(securityContext={"runAsUser": 7, "fsGroup": 9, "supplementalGroups": [8]})
    user = compute_user(pod, container(), "nginx")
    assert (user.name, user.uid, user.supplementary) == ("7", 7, (8, 9))
    own = container(securityContext={"runAsUser": 1, "runAsGroup": 2})
    assert compute_user(pod, own, "nginx").gid == 2
    assert compute_user(make_pod(), container(), "nginx").name == "nginx"


@pytest.mark.parametrize(
    ("context", "image_user", "message"),
    [
        ({"runAsUser": 0}, "nginx", "container's runAsUser breaks non-root policy"),
        ({}, "", "container has runAsNonRoot and image will run as root"),
        ({}, "00", "container has runAsNonRoot and image will run as root"),
        ({}, "4294967295", "image has an invalid user"),
        ({}, "\u0660", "image has non-numeric user"),
        ({}, "nginx", r"image has non-numeric user \(nginx\), cannot verify user is non-root"),
    ],
)
def test_run_as_non_root_refuses(context, image_user, message):
    pod = make_pod(securityContext={"runAsNonRoot": True, **context})
    with pytest.raises(StepError, match=message) as caught:
        compute_user(pod, container(), image_user)
    assert caught.value.reason == "CreateContainerConfigError"
    assert '(pod: "web_default(uid-web)", container: app)' in str(caught.value)


def test_privileged_has_everything_and_no_filter():
    wanted = container(securityContext={"privileged": True})
    found = compute_security(make_pod(), wanted, lambda *_: b"filter", 0)
    assert found.privileged
    assert found.seccomp is None
    assert found.masked_paths == ()


def test_unconfined():
    context = {"seccompProfile": {"type": "Unconfined"}}
    found = compute_security(make_pod(), container(securityContext=context), lambda *_: b"x", 0)
    assert found.seccomp is None
    assert found.masked_paths


def test_the_kernels_switches_are_never_open_without_a_user_namespace():
    context = {"procMount": "Unmasked"}
    pod = make_pod(hostUsers=False)
    with pytest.raises(StepError, match="procMount Unmasked needs a user namespace"):
        compute_security(pod, container(securityContext=context), lambda *_: b"x", 0)


def test_only_parameters_of_the_pods_own_may_be_set():
    def refusal(*names: str) -> tuple[str, str] | None:
        sysctls = [{"name": name, "value": "1"} for name in names]
        return compute_refusal(make_pod(securityContext={"sysctls": sysctls}), apparmor=False)

    assert refusal() is None
    assert refusal("net.ipv4.tcp_syncookies", "net/ipv4/ip_unprivileged_port_start") is None
    message = 'forbidden sysctl: "kernel.core_pattern" not allowlisted'
    assert refusal("net.ipv4.tcp_syncookies", "kernel.core_pattern") == ("SysctlForbidden", message)
    assert refusal("kernel/core_pattern") is not None


@pytest.mark.parametrize(
    ("of_pod", "of_container", "refused"),
    [
        (None, None, False),
        ("Unconfined", None, False),
        ("RuntimeDefault", None, True),
        ("RuntimeDefault", "Unconfined", False),
        (None, "Localhost", True),
        ("Unconfined", "RuntimeDefault", True),
    ],
)
def test_a_profile_that_cannot_be_enforced_is_no_profile(
    of_pod: str | None, of_container: str | None, refused: bool
) -> None:
    def context(kind: str | None) -> Object:
        return {"appArmorProfile": {"type": kind}} if kind else {}

    pod = make_pod(
        "web", container(securityContext=context(of_container)), securityContext=context(of_pod)
    )
    message = "Cannot enforce AppArmor: AppArmor is not enabled on the host"
    assert compute_refusal(pod, apparmor=False) == (("AppArmor", message) if refused else None)
    assert bool(compute_refusal(pod, apparmor=True)) is refused


# -- volumes ---------------------------------------------------------------------------------------


def volumes(pod: Object, references: References = NOTHING) -> Any:
    return compute_volumes(pod, Path("/pods/u"), references)


def with_volume(kind: str, source: Object, **spec: Any) -> Object:
    return make_pod(volumes=[{"name": "v", kind: source}], **spec)


def test_empty_dirs():
    disk = volumes(with_volume("emptyDir", {}, securityContext={"fsGroup": 5}))["v"]
    assert disk.path == "/pods/u/volumes/kubernetes.io~empty-dir/v"
    assert disk.operations == (MakeDirectory(disk.path, 0o2777, gid=5),)
    memory = volumes(with_volume("emptyDir", {"medium": "Memory", "sizeLimit": "1Mi"}))["v"]
    assert memory.operations == (MountTmpfs(memory.path, 1024**2, 0o777),)


def test_host_paths_are_checked():
    found = volumes(with_volume("hostPath", {"path": "/data", "type": "Directory"}))["v"]
    assert found.operations == (CheckHostPath("/data", "Directory"),)


def test_a_volume_of_another_kind_is_named():
    with pytest.raises(StepError, match='volume "v" : volumes of kind nfs are not supported'):
        volumes(with_volume("nfs", {"server": "x"}))
    with pytest.raises(StepError, match='volume "v" : unknown storage medium "Floppy"'):
        volumes(with_volume("emptyDir", {"medium": "Floppy"}))


def test_secrets_are_written_to_memory_all_at_once():
    secret = {"data": {"user": "YWRtaW4=", "key": "/w=="}}
    pod = with_volume("secret", {"secretName": "s", "defaultMode": 0o400})
    found = volumes(pod, References(secrets={"s": secret}))["v"]
    assert isinstance(found.operations[0], MountTmpfs)
    files = {op.path.rpartition("/")[2]: op for op in found.operations if isinstance(op, WriteFile)}
    assert files["user"].content == "admin"
    assert files["key"].content.encode(errors="surrogateescape") == b"\xff"
    assert files["user"].mode == 0o400
    links = [op for op in found.operations if isinstance(op, MakeSymlink)]
    assert links[0].path.endswith("/v/..data")
    assert (links[-1].path[-7:], links[-1].target) == ("/v/user", "..data/user")
    assert found.place.read_only


def test_what_a_volume_refers_to_must_exist_unless_optional():
    with pytest.raises(StepError, match='configmap "c" not found'):
        volumes(with_volume("configMap", {"name": "c"}))
    assert volumes(with_volume("configMap", {"name": "c", "optional": True}))["v"]
    missing = with_volume("configMap", {"name": "c", "items": [{"key": "k", "path": "p"}]})
    with pytest.raises(StepError, match="references non-existent configmap key: k"):
        volumes(missing, References(config_maps={"c": {"data": {}}}))


def test_projected_volumes_join_their_sources():
    sources = [
        {"configMap": {"name": "c", "items": [{"key": "k", "path": "deep/er"}]}},
        {
            "downwardAPI": {
                "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
            }
        },
    ]
    pod = with_volume("projected", {"sources": sources})
    pod["metadata"]["labels"] = {"b": '"q"', "a": "1"}
    found = volumes(pod, References(config_maps={"c": {"data": {"k": "v"}}}))["v"]
    texts = {
        op.path.split("/..")[1].partition("/")[2]: op.content
        for op in found.operations
        if isinstance(op, WriteFile)
    }
    assert texts == {"deep/er": "v", "labels": 'a="1"\nb="\\"q\\""'}


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"subPath": "/abs"}, "must not be an absolute path"),
        ({"subPath": "a/../../b"}, "must not contain"),
        ({"name": "other"}, "cannot find volume"),
    ],
)
def test_mounts_that_are_refused(mount, message):
    wanted = container(volumeMounts=[{"name": "v", "mountPath": "/v", **mount}])
    pod = make_pod("web", wanted, volumes=[{"name": "v", "emptyDir": {}}])
    with pytest.raises(StepError, match=message) as caught:
        translate(pod)
    assert caught.value.reason == "CreateContainerConfigError"


def test_sub_paths_and_propagation():
    mounts = [
        {"name": "v", "mountPath": "/a", "subPathExpr": "$(A)/x"},
        {"name": "v", "mountPath": "/b", "mountPropagation": "HostToContainer", "readOnly": True},
    ]
    pod = make_pod("web", container(volumeMounts=mounts), volumes=[{"name": "v", "emptyDir": {}}])
    found = {mount.destination: mount for mount in translate(pod).mounts}
    assert found["/a"].source_subpath == "1/x"
    assert (found["/b"].propagation, found["/b"].read_only) == ("rslave", True)


@pytest.mark.parametrize(
    ("asked", "recursive"), [("Enabled", True), ("IfPossible", True), ("Disabled", False)]
)
def test_recursive_read_only(asked, recursive):
    mount = {"name": "v", "mountPath": "/a", "readOnly": True, "recursiveReadOnly": asked}
    pod = make_pod("web", container(volumeMounts=[mount]), volumes=[{"name": "v", "emptyDir": {}}])
    made = next(each for each in translate(pod).mounts if each.destination == "/a")
    assert (made.read_only, made.recursive_read_only) == (True, recursive)


@pytest.mark.parametrize(("kind", "device"), [("CharDevice", True), ("", False)])
def test_nodes_work_where_a_device_is_asked_for_by_its_type(kind, device):
    volume = {"name": "v", "hostPath": {"path": "/dev/null", "type": kind}}
    mounts = [{"name": "v", "mountPath": "/a"}]
    pod = make_pod("web", container(volumeMounts=mounts), volumes=[volume])
    made = next(each for each in translate(pod).mounts if each.destination == "/a")
    assert made.devices is device


def test_a_volume_with_something_of_an_earlier_version_is_not_current(tmp_path: Path) -> None:
    pod = make_pod("web", volumes=[{"name": "v", "secret": {"secretName": "s"}}])
    secret = {"data": {"k": "bmV3"}}
    [volume] = compute_volumes(pod, tmp_path, References(secrets={"s": secret})).values()
    place = Path(volume.path)
    (place / volume.version).mkdir(parents=True)
    (place / "k").symlink_to("..data/k")
    assert not refreshing._is_current(volume)
    (place / "..data").symlink_to(volume.version)
    assert refreshing._is_current(volume)
    (place / "..0123456789abcdef").mkdir()  # a kill came between the new link and the removal
    assert not refreshing._is_current(volume)
