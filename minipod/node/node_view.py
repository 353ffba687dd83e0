"""What the kubelet's HTTP API asks of the node."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from aiohttp import web

from minipod.client import Object
from minipod.node.log_requests import pod_not_found
from minipod.runtime.service import Runtime
from minipod.runtime.spec import ContainerStatus


class NodeView(Protocol):
    """What the HTTP API asks of the node."""

    runtime: Runtime

    @property
    def node_name(self) -> str:
        """The node's name."""

    def now(self) -> float:
        """Return the present."""

    def find_pod(self, namespace: str, name: str) -> Object | None:
        """Return a Pod of this node."""

    def pods(self) -> list[Object]:
        """Return all Pods of this node, with their newest statuses."""

    def status_of(self, pod: Object) -> Object:
        """Return a Pod's newest status."""

    def running_container(self, pod: Object, name: str) -> ContainerStatus | None:
        """Return a container that runs now."""

    def sandbox_id(self, pod: Object) -> str | None:
        """Return the ID of a Pod's sandbox that runs now."""

    def find_log(self, pod: Object, name: str, attempt: int) -> tuple[Path, str]:
        """Return the log file of an attempt, and its container's ID."""

    def has_ended(self, container_id: str) -> bool:
        """Whether a container does not run any more."""

    def watch_exit(self, container_id: str, wake: asyncio.Event) -> Callable[[], None]:
        """Set `wake` when the container ends; return what takes this back."""

    async def plan(self, pod: Object) -> str:
        """Return the script that would make the Pod."""

    def probe_metrics(self) -> str:
        """Return how often probes have run, in Prometheus' text format."""

    def trace(self, pod: Object) -> Object:
        """Return the steps that made the Pod."""

    async def inspect(self, pod: Object) -> Object:
        """Return the Pod as the kernel has it."""


def find_pod(node: NodeView, request: web.Request) -> Object:
    """Return the Pod that a request's path names. Raises NotFound."""
    name = request.match_info["pod"]
    pod = node.find_pod(request.match_info["namespace"], name)
    if pod is None:
        raise pod_not_found(name)
    return pod
