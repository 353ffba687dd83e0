"""Images as volumes: what a Pod sees of one, what holds it, and what is said when it cannot be had."""

from collections.abc import Callable
from typing import Any

from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import IDLE, container, inside, pod, status_of, wait_gone, wait_phase, wait_pod


def _mounting(
    name: str, reference: str, policy: str = "IfNotPresent", **mount: Any
) -> dict[str, Any]:
    mounts = [{"name": "data", "mountPath": "/data", **mount}]
    volumes = [{"name": "data", "image": {"reference": reference, "pullPolicy": policy}}]
    return pod(name, container("c0", IDLE, volumeMounts=mounts), volumes=volumes)


def _mounted(instance: Instance) -> list[str]:
    """Return the image volumes that are mounted on the host."""
    with open("/proc/self/mountinfo") as lines:
        places = [line.split()[4] for line in lines]
    return [each for each in places if "kubernetes.io~image" in each and str(instance.root) in each]


def test_an_image_is_mounted_read_only_and_held(fresh: Instance) -> None:
    fresh.run("image", "tag", "busybox", "content:v1")
    made = _mounting("reader", "content:v1")
    made["spec"]["containers"].append(
        container(
            "c1", IDLE, volumeMounts=[{"name": "data", "mountPath": "/part", "subPath": "etc"}]
        )
    )
    plan = fresh.out("plan", "-f", "-", input=__import__("json").dumps(made))
    assert "ro,nosuid,nodev,lowerdir=" in plan
    fresh.apply(made)
    wait_phase(fresh, "reader", "Running")
    assert inside(fresh, "reader", "ls /data/bin/busybox", "c0").strip() == "/data/bin/busybox"
    assert inside(fresh, "reader", "ls /part", "c1") == inside(
        fresh, "reader", "ls /data/etc", "c0"
    )
    refused = inside(fresh, "reader", "touch /data/x 2>&1 || true", "c0")
    assert "Read-only file system" in refused
    assert len(_mounted(fresh)) == 1
    removed = fresh.run("image", "remove", "content:v1", check=False)
    assert removed.returncode == 0 or "reader" in removed.stderr  # only its name may go
    assert inside(fresh, "reader", "cat /data/bin/busybox | wc -c", "c0").strip() != "0"
    described = fresh.out("describe", "pod", "reader")
    assert "Image (a container image or OCI artifact)" in described

    fresh.kill_daemon()
    fresh.up()
    fresh.run("exec", "reader", "-c", "c0", "--", "kill", "1", check=False)  # it may go with it
    wait_pod(
        fresh,
        "reader",
        lambda p: status_of(p, "c0").get("restartCount") == 1 and status_of(p, "c0").get("ready"),
        "the restart",
    )
    assert inside(fresh, "reader", "ls /data/bin/busybox", "c0").strip() == "/data/bin/busybox"
    fresh.run("delete", "pod", "reader")
    wait_gone(fresh, "reader")
    wait_until(lambda: not _mounted(fresh), "the volume to be taken down")


def test_an_image_that_is_used_as_a_volume_is_not_collected(
    make_instance: Callable[..., Instance],
) -> None:
    instance = make_instance()
    instance.up()
    instance.apply(_mounting("holder", "busybox"))
    wait_phase(instance, "holder", "Running")
    leases = list((instance.layout.images / "leases").iterdir())
    assert [each.name for each in leases if each.name.endswith("volume.data")]
    instance.run("delete", "pod", "holder", "--now")
    wait_gone(instance, "holder")
    wait_until(
        lambda: not list((instance.layout.images / "leases").iterdir()), "the leases given up"
    )
    instance.down()


def test_an_image_that_cannot_be_had_is_told_of_by_its_reason(shared: Instance) -> None:
    shared.apply(_mounting("never", "nowhere:v1", "Never"), _mounting("wrong", "UPPER CASE"))
    for name, reason, words in (
        ("never", "ErrImageNeverPull", "is not present with pull policy of Never"),
        ("wrong", "InvalidImageName", "Failed to apply default image tag"),
    ):
        found = wait_pod(
            shared,
            name,
            lambda p, r=reason: (
                status_of(p, "c0").get("state", {}).get("waiting", {}).get("reason")
                in (r, "ImagePullBackOff")
            ),
            reason,
        )
        waiting = status_of(found, "c0")["state"]["waiting"]
        assert words in waiting["message"] or reason in waiting["message"]
        assert words in shared.out("events", "--for", f"pod/{name}")
    shared.run("image", "tag", "busybox", "nowhere:v1")
    wait_phase(shared, "never", "Running", 30)
    shared.run("delete", "pod", "never", "wrong", "--now")
    shared.run("image", "remove", "nowhere:v1", check=False)
