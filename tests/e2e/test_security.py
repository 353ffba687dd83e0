"""Attacks: from inside containers, and by hostile manifests and images, each against the real kernel."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import container, inside, pod, wait_phase, wait_pod


def _delete(instance: Instance, *names: str) -> None:
    instance.run("delete", "pod", *names, "--now", "--ignore-not-found")


def _config_map(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


# -- who a process is ------------------------------------------------------------------------------


def test_an_images_passwd_cannot_make_root_of_a_number(shared: Instance) -> None:
    files = {
        "passwd": "root:x:0:0::/root:/bin/sh\n1000:x:0:0::/:/bin/sh\n",
        "group": "root:x:0:\n2000:x:0:\n",
    }
    mounts = [
        {"name": "files", "mountPath": f"/etc/{each}", "subPath": each} for each in sorted(files)
    ]
    wanted = {"runAsUser": 1000, "runAsNonRoot": True}
    shared.apply(
        _config_map("hostile-passwd", **files),
        pod(
            "hostile-passwd",
            container("c0", volumeMounts=mounts, securityContext=wanted),
            volumes=[{"name": "files", "configMap": {"name": "hostile-passwd"}}],
        ),
        options=("--until-ready",),
    )
    assert inside(shared, "hostile-passwd", "id -u") == "1000"
    assert inside(shared, "hostile-passwd", "grep ^Uid: /proc/1/status").split()[1:] == ["1000"] * 4
    shared.run("delete", "configmap", "hostile-passwd")
    _delete(shared, "hostile-passwd")


def test_no_power_is_left_to_who_is_not_root_nor_to_exec(shared: Instance) -> None:
    wanted = {"runAsUser": 1000, "allowPrivilegeEscalation": False}
    shared.apply(
        pod("powerless", container("c0", securityContext=wanted)), options=("--until-ready",)
    )
    for process in ("1", "self"):
        status = inside(shared, "powerless", f"cat /proc/{process}/status")
        fields = {line.split(":")[0]: line.split()[-1] for line in status.splitlines()}
        for sets in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(fields[sets], 16) == 0, (process, sets)
        assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    opened = inside(shared, "powerless", "ls /proc/1/fd").split()
    assert opened == ["0", "1", "2"]
    names = {line.partition("=")[0] for line in inside(shared, "powerless", "env").splitlines()}
    assert not any(name.startswith(("MINIPOD", "PYTEST", "VIRTUAL")) for name in names)
    _delete(shared, "powerless")


# -- what belongs to the host ----------------------------------------------------------------------


def test_a_pod_cannot_set_the_hosts_kernel_parameters(shared: Instance) -> None:
    host = Path("/proc/sys/fs/lease-break-time")
    before = host.read_text()
    sysctls = [{"name": "fs.lease-break-time", "value": str(int(before) + 1)}]
    try:
        shared.apply(pod("sysctl", securityContext={"sysctls": sysctls}))
        found = wait_phase(shared, "sysctl", "Failed")
        assert host.read_text() == before
    finally:
        host.write_text(before)
    assert found["status"]["reason"] == "SysctlForbidden"
    _delete(shared, "sysctl")


def test_the_kernels_switches_stay_closed_without_a_user_namespace(shared: Instance) -> None:
    unmasked = container("c0", securityContext={"procMount": "Unmasked"})
    shared.apply(pod("unmasked", unmasked, hostUsers=False))

    def refused(found: dict[str, Any]) -> bool:
        statuses = found["status"].get("containerStatuses") or [{"state": {}}]
        waiting = statuses[0]["state"].get("waiting") or {}
        return waiting.get("reason") == "CreateContainerConfigError"

    wait_pod(shared, "unmasked", refused, "refused")
    _delete(shared, "unmasked")


def test_what_cannot_be_enforced_is_refused(shared: Instance) -> None:
    wanted = container("c0", securityContext={"appArmorProfile": {"type": "RuntimeDefault"}})
    shared.apply(pod("armoured", wanted))
    found = wait_phase(shared, "armoured", "Failed")
    assert found["status"]["reason"] == "AppArmor"
    assert found["status"]["message"].startswith("Pod was rejected: Cannot enforce AppArmor: ")
    document = json.dumps(pod("classed", runtimeClassName="gvisor"))
    refused = shared.run("apply", "-f", "-", input=document, check=False)
    assert 'pod rejected: RuntimeClass "gvisor" not found' in refused.stderr
    _delete(shared, "armoured")


def test_security_contexts_as_the_programs_meet_them(shared: Instance) -> None:
    """Pod and container, one over the other; each field seen in the kernel, from inside."""
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    containers = [
        container("plain", volumeMounts=mounts),
        container(
            "other",
            volumeMounts=mounts,
            securityContext={
                "runAsUser": 1234,
                "runAsGroup": 2345,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "Unconfined"},
            },
        ),
        container(
            "adding", securityContext={"runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}}
        ),
    ]
    context = {
        "runAsUser": 1000,
        "runAsNonRoot": False,
        "fsGroup": 3000,
        "supplementalGroups": [4000],
        "supplementalGroupsPolicy": "Strict",
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "81"}],
    }
    volumes = [{"name": "scratch", "emptyDir": {}}]
    shared.apply(
        pod("contexts", *containers, securityContext=context, volumes=volumes),
        options=("--until-ready",),
    )

    def status(name: str) -> dict[str, list[str]]:
        lines = inside(shared, "contexts", "cat /proc/self/status", name).splitlines()
        return {line.split(":")[0]: line.split()[1:] for line in lines}

    plain, other, adding = status("plain"), status("other"), status("adding")
    assert (plain["Uid"], plain["Gid"]) == (["1000"] * 4, ["0"] * 4)
    assert set(plain["Groups"]) == {"0", "3000", "4000"}
    assert (plain["NoNewPrivs"], plain["Seccomp"]) == (["0"], ["2"])
    assert (other["Uid"], other["Gid"]) == (["1234"] * 4, ["2345"] * 4)
    assert set(other["Groups"]) == {"2345", "3000", "4000"}
    assert (other["NoNewPrivs"], other["Seccomp"], int(other["CapBnd"][0], 16)) == (["1"], ["0"], 0)
    assert int(adding["CapEff"][0], 16) & 1 << 12  # CAP_NET_ADMIN
    written = inside(
        shared, "contexts", "touch /no; touch /scratch/yes; stat -c %g:%a /scratch", "other"
    )
    assert written == "3000:2777"
    assert inside(
        shared, "contexts", "ls /no /scratch 2>/dev/null; stat -c %u:%g /scratch/yes"
    ) == ("/scratch:\nyes\n1234:3000")
    ports = inside(shared, "contexts", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
    assert ports == "81"
    _delete(shared, "contexts")


# -- secrets and files -----------------------------------------------------------------------------


def _tmpfs_mounts(instance: Instance) -> list[str]:
    """Return the mount points of tmpfs below the instance's root, in this mount namespace's copy of the host's."""
    mounts = Path(f"/proc/{instance.daemon_pid()}/mounts").read_text().splitlines()
    return [each.split()[1] for each in mounts if each.split()[2] == "tmpfs"]


def test_a_secret_is_where_it_was_asked_for_and_nowhere_else(shared: Instance) -> None:
    value = "hunter2-and-more"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "password"},
        "stringData": {"key": value},
    }
    reference = {"valueFrom": {"secretKeyRef": {"name": "password", "key": "key"}}}
    wanted = pod(
        "secretive",
        container(
            "c0",
            env=[{"name": "PASSWORD", **reference}],
            volumeMounts=[{"name": "files", "mountPath": "/secret"}],
        ),
        volumes=[{"name": "files", "secret": {"secretName": "password"}}],
    )
    shared.apply(secret, wanted, options=("--until-ready",))
    assert inside(shared, "secretive", "echo $PASSWORD; cat /secret/key") == f"{value}\n{value}"
    uid = shared.get("pod", "secretive")["metadata"]["uid"]
    files = f"{shared.layout.pods}/{uid}/volumes/kubernetes.io~secret/files"
    assert files in _tmpfs_mounts(shared)
    plan = shared.out("plan", "-f", "-", input=json.dumps({**wanted, "metadata": {"name": "next"}}))
    assert "/secret" in plan
    for told in (
        plan,
        shared.out("trace", "pod/secretive"),
        shared.out("inspect", "pod/secretive", "-o", "json"),
        shared.out("describe", "pod", "secretive"),
        shared.out("events"),
        shared.daemon_log(),
    ):
        assert value not in told
    _delete(shared, "secretive")
    shared.run("delete", "secret", "password")


def test_nobody_else_on_the_host_reaches_anything(shared: Instance) -> None:
    layout = shared.layout
    for directory in (layout.state, layout.run, layout.log):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700, directory
    for socket in (layout.api_socket, layout.kubelet_socket, layout.shim_socket):
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600, socket


def test_a_pod_has_no_more_processes_than_it_may(make_instance: Callable[..., Instance]) -> None:
    instance = make_instance(options=("--pod-max-pids", "20"))
    instance.up()
    many = "(for i in $(seq 100); do sleep 3600 & done); exec sleep 3600"
    instance.apply(pod("many", many, restartPolicy="Never"))
    wait_until(lambda: "fork" in instance.out("logs", "many", check=False), "a refused fork")
    uid = instance.get("pod", "many")["metadata"]["uid"]
    limited = f"{instance.layout.instance}/pod{uid}"
    groups = [each for each, _, files in os.walk("/sys/fs/cgroup") if "pids.max" in files]
    top = Path(min((each for each in groups if limited in each), key=len), "pids.max")
    assert top.read_text().strip() == "20"
    assert int(top.with_name("pids.current").read_text()) <= 20
    instance.run("delete", "pod", "many", "--now")
    instance.down()
    instance.remove()
