"""Pods and observations in one line each, for tables."""

from typing import Any

from minipod.client import Object
from minipod.node.observed import (
    ObservedContainer,
    ObservedPod,
    ObservedSandbox,
    compute_container_hash,
)

NOW = 1_000_000.0


def container(name: str, **fields: Any) -> Object:
    return {"name": name, "image": "busybox", **fields}


def sidecar(name: str, **fields: Any) -> Object:
    return container(name, restartPolicy="Always", **fields)


def make_pod(
    *apps: Object, inits: tuple[Object, ...] = (), policy: str = "Always", **spec: Any
) -> Object:
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "generation": 1},
        "spec": {
            "restartPolicy": policy,
            "containers": list(apps) or [container("app")],
            "initContainers": list(inits),
            **spec,
        },
        "status": {},
    }


def sandbox(attempt: int = 0, *, ready: bool = True) -> ObservedSandbox:
    return ObservedSandbox(f"s{attempt}", attempt, ready, NOW - 100, "10.85.0.7")


def attempt(
    name: str,
    exit_code: int | None = None,
    number: int = 0,
    *,
    sandbox_id: str = "s0",
    **fields: Any,
) -> ObservedContainer:
    """A container that runs, or that has ended with `exit_code` just now."""
    values = {
        "id": f"{name}-{number}",
        "name": name,
        "sandbox_id": sandbox_id,
        "attempt": number,
        "running": exit_code is None,
        "created_at": NOW - 60 + number,
        "started_at": NOW - 60 + number,
        "finished_at": 0.0 if exit_code is None else NOW,
        "exit_code": exit_code or 0,
        "hash": compute_container_hash(container(name)),
        "image_id": "sha256:abc",
        **fields,
    }
    return ObservedContainer(**values)


def seen(
    *containers: ObservedContainer, sandboxes: tuple[ObservedSandbox, ...] | None = None
) -> ObservedPod:
    ordered = sorted(containers, key=lambda each: each.attempt, reverse=True)
    return ObservedPod(sandboxes if sandboxes is not None else (sandbox(),), tuple(ordered))


NOTHING = ObservedPod()
