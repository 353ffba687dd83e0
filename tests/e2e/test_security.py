"""Attacks: from inside containers, and by hostile manifests and images, each against the real kernel."""

from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance
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
