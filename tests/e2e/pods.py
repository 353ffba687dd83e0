"""Manifests and waits that the end-to-end tests share."""

import json
from contextlib import suppress
from typing import Any

from tests.e2e.instance import Instance, wait_until

IDLE = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait; done"


def container(name: str, command: str = IDLE, **fields: Any) -> dict[str, Any]:
    """Return a busybox container that runs a shell command."""
    return {"name": name, "image": "busybox", "command": ["sh", "-c", command], **fields}


def pod(name: str, *containers: dict[str, Any] | str, **spec: Any) -> dict[str, Any]:
    """Return a Pod. Containers given as text run it in a shell; none gives one idle container."""
    made = [
        container(f"c{number}", each) if isinstance(each, str) else each
        for number, each in enumerate(containers or (IDLE,))
    ]
    spec = {"containers": made, "terminationGracePeriodSeconds": 5, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def wait_phase(instance: Instance, name: str, phase: str, seconds: float = 20) -> dict[str, Any]:
    """Wait for a Pod's phase and return the Pod."""
    return wait_pod(instance, name, lambda p: p["status"].get("phase") == phase, phase, seconds)


def wait_pod(
    instance: Instance, name: str, condition: Any, what: str, seconds: float = 20
) -> dict[str, Any]:
    """Wait until a Pod meets a condition and return the Pod; a failure shows its last state."""
    seen: dict[str, Any] = {}

    def met() -> bool:
        found = instance.find_pod(name)
        assert found, f"there is no pod/{name}"
        seen.update(found)
        with suppress(LookupError, StopIteration):
            return bool(condition(seen))
        return False  # a Pod that has just been made has no statuses yet

    try:
        wait_until(met, what, seconds)
    except AssertionError as late:
        events = instance.out("events", "--for", f"pod/{name}", check=False)
        raise AssertionError(
            f"{late}\n{seen.get('status')}\n{events}\n{instance.daemon_log()}"
        ) from late
    return seen


def wait_gone(instance: Instance, name: str, seconds: float = 20) -> None:
    """Wait until a Pod no longer exists."""
    wait_until(lambda: instance.find_pod(name) is None, f"pod/{name} gone", seconds)


def status_of(found: dict[str, Any], container_name: str) -> dict[str, Any]:
    """Return the status of one of a Pod's containers, init containers included."""
    statuses = found["status"].get("containerStatuses", [])
    statuses = statuses + found["status"].get("initContainerStatuses", [])
    return {status["name"]: status for status in statuses}[container_name]


def inside(instance: Instance, name: str, command: str, container_name: str = "") -> str:
    """Run a shell command in a container and return what it prints, stripped."""
    chosen = ("-c", container_name) if container_name else ()
    return instance.out("exec", name, *chosen, "--", "sh", "-c", command).strip()


def inspect(instance: Instance, name: str) -> dict[str, Any]:
    """Return what `minipod inspect -o json` reads of a Pod from the kernel."""
    found: dict[str, Any] = json.loads(instance.out("inspect", f"pod/{name}", "-o", "json"))
    return found


def container_pid(instance: Instance, name: str, container_name: str = "c0") -> int:
    """Return the host's process id of a container's first process."""
    containers = inspect(instance, name)["containers"]
    return next(
        int(each["pid"])
        for each in containers
        if each["name"] == container_name and each["state"] == "running"
    )


def settle(instance: Instance) -> None:
    """Run a first Pod: from then on the host has what minipod makes once, such as its cgroup."""
    instance.apply(pod("first"), options=("--until-ready",))
    instance.run("delete", "pod", "first", "--now")
