"""Pods for tests, and a node in which everything around the kubelet is fake."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from minipod.client import Object
from minipod.image.credentials import Credential, Keyring, fingerprint
from minipod.image.model import Image, ImageConfig
from minipod.node.config import NetworkPlace, NodeConfig
from minipod.node.kubelet import Kubelet
from minipod.node.pulling import Brought, PullFailure
from minipod.paths import layout
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock
from tests.fakes.runtime import FakeRuntime

NODE = "node1"


def container(name: str = "app", **fields: Any) -> Object:
    return {"name": name, "image": "busybox", "imagePullPolicy": "IfNotPresent", **fields}


def make_pod(name: str = "web", *containers: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {
            "nodeName": NODE,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "containers": list(containers) or [container()],
            **spec,
        },
    }


class FakeImages:
    def __init__(self) -> None:
        self.images = {"busybox": make_image("busybox")}
        self.held: dict[str, str] = {}
        self.pulled: dict[str, str] = {}
        self.changing = False  # somebody holds the store
        self.waited: list[str] = []

    def resolve(self, reference: str) -> Image | None:
        if " " in reference:
            raise ValueError("invalid reference format")
        return self.images.get(reference)

    def pulled_digest(self, reference: str) -> str:
        return self.pulled.get(reference, "")

    def lease(self, image: Image, owner: str, user: str, *, wait: bool = True) -> None:
        if self.changing and not wait:
            raise BlockingIOError
        if self.changing:
            self.waited.append(owner)
        self.held[owner] = image.manifest_digest

    def release(self, owner: str) -> None:
        self.held.pop(owner, None)

    def leases(self) -> dict[str, str]:
        return dict(self.held)

    def clear_leftovers(self) -> None:
        pass


class FakePuller:
    """Registries that have what `remote` has."""

    def __init__(self, images: FakeImages) -> None:
        self.images = images
        self.remote: dict[str, Image] = {}
        self.asked: list[tuple[str, Keyring]] = []
        self.go_on: asyncio.Event | None = None
        self.wants: Credential | None = None  # what the registries ask for

    async def pull(self, reference: str, keyring: Keyring) -> Brought:
        self.asked.append((reference, keyring))
        if self.go_on:
            await self.go_on.wait()
        if reference not in self.remote:
            raise PullFailure(f"{reference}: not found")
        self.images.images[reference] = self.remote[reference]
        self.images.pulled[reference] = f"sha256:index-{reference}"
        if self.wants is None:
            return Brought(1234)
        if self.wants not in [credential for _, credential in keyring]:
            raise PullFailure(f"{reference}: authentication required")
        return Brought(1234, fingerprint(self.wants))

    async def stop(self) -> None:
        pass


def make_image(name: str, **config: Any) -> Image:
    settings = {"cmd": ("sh",), "env": ("PATH=/bin",), **config}
    return Image(
        reference=name,
        id=f"sha256:{name}",
        manifest_digest=f"sha256:manifest-{name}",
        config=ImageConfig(**settings),
        layers=("/layers/one",),
        size=1,
        created="",
    )


class FakeAddresses:
    def __init__(self) -> None:
        self.held: dict[str, IPv4Interface] = {}
        self.room = 200

    def allocate(self, owner: str) -> IPv4Interface:
        if owner not in self.held:
            if len(self.held) >= self.room:
                raise RuntimeError("no free address")
            self.held[owner] = IPv4Interface(f"10.85.0.{len(self.held) + 2}/16")
        return self.held[owner]

    def release(self, owner: str) -> None:
        self.held.pop(owner, None)

    def owners(self) -> dict[str, IPv4Interface]:
        return dict(self.held)


@dataclass
class World:
    clock: FakeClock
    api: FakeApi
    runtime: FakeRuntime
    images: FakeImages
    puller: "FakePuller"
    addresses: FakeAddresses
    config: NodeConfig
    kubelet: Kubelet

    async def create(self, pod: Object) -> Object:
        made = await self.api.client().create("pods", "default", pod)
        await self.settle()
        return made

    async def delete(self, name: str = "web", grace: int | None = None) -> None:
        await self.api.client().delete("pods", "default", name, grace_period_seconds=grace)
        await self.settle()

    def pod(self, name: str = "web") -> Object:
        return self.api.objects["pods", "default", name]

    def status(self, name: str = "web") -> Object:
        return self.kubelet.status_of(self.pod(name))

    def state(self, name: str = "app") -> Object:
        everyone = [
            *self.status().get("initContainerStatuses", ()),
            *self.status()["containerStatuses"],
        ]
        return next(each["state"] for each in everyone if each["name"] == name)

    def reasons(self) -> list[str]:
        """The reasons of the Events that are about Pods."""
        found = self.api.all("events")
        return [each["reason"] for each in found if each["involvedObject"]["kind"] == "Pod"]

    async def settle(self) -> None:
        """Let everything that can happen without time passing happen."""
        for _ in range(5):
            await _idle()
            for timer in [t for t in self.clock.timers if t.when <= self.clock.time + 0.1]:
                self.clock.timers.remove(timer)
                if not timer.cancelled:
                    timer.callback()
            await _idle()

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settle()

    async def events_written(self) -> None:
        await self.kubelet.wait_idle()


async def _idle() -> None:
    """Run the loop until nothing but waiting is left, worker threads included."""
    for _ in range(60):
        await asyncio.sleep(0)
    await asyncio.to_thread(lambda: None)
    for _ in range(60):
        await asyncio.sleep(0)


def make_config(root: Path) -> NodeConfig:
    place = NetworkPlace(bridge="mp0", gateway="10.85.0.1", prefix=16, table="minipod")
    return NodeConfig(node_name=NODE, layout=layout(root), network=place, host_ip="192.0.2.7")


@asynccontextmanager
async def world(
    root: Path,
    *,
    before: Callable[["World"], None] = lambda _: None,
    old: "World | None" = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """A node that runs; with `old`, a restarted daemon over the same API, runtime and host.

    `settings` are NodeConfig's.
    """
    # one thread: what is asked of it last is done when all else is
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    clock = old.clock if old else FakeClock()
    api = old.api if old else FakeApi(clock)
    runtime = old.runtime if old else FakeRuntime(clock)
    images = old.images if old else FakeImages()
    addresses = old.addresses if old else FakeAddresses()
    config = replace(make_config(root), **settings)
    puller = FakePuller(images)
    kubelet = Kubelet(api.client(), runtime, images, puller, addresses, config, clock)
    made = World(clock, api, runtime, images, puller, addresses, config, kubelet)
    before(made)
    await kubelet.start()
    await made.settle()
    try:
        yield made
    finally:
        await kubelet.stop()
