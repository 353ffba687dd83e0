"""A shim of its own for each test, below one short directory; `close` leaves nothing and says what was left."""

import asyncio
import functools
import itertools
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from minipod.linux import cgroup
from minipod.paths import layout
from minipod.runtime import defaults, protocol
from minipod.runtime.shim_client import ShimRuntime
from minipod.runtime.spec import (
    ContainerSpec,
    ContainerStatus,
    ExecSpec,
    Rootfs,
    SandboxSpec,
    SandboxStatus,
    Security,
)
from tests import lanes
from tests.patience import patience

APPLETS = "sh cat dd echo false head id kill ls ps seq setsid sleep stty true tty yes usleep"
TEST_SECONDS = patience(60)
SECURITY = Security(capabilities=defaults.CAPABILITIES)
_numbers = itertools.count()


def asynchronous(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test's coroutine, bounded, and take its shim down whatever happens."""

    @functools.wraps(test)
    def run(shim: "ShimWorld", **arguments: Any) -> None:
        async def whole() -> None:
            try:
                await shim.open()
                await asyncio.wait_for(test(shim, **arguments), TEST_SECONDS)
            finally:
                await shim.end()

        asyncio.run(whole())

    return run


async def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition of the host's that nothing announces."""
    deadline = time.monotonic() + patience(seconds)
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


class ShimWorld:
    """A runtime, a busybox layer, and short ways to ask for things."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mp", dir="/tmp"))
        self.layout = layout(self.directory)
        lanes.note(self.layout.instance)
        self.layer = self.directory / "layer"
        (self.layer / "bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", self.layer / "bin/busybox")
        for applet in APPLETS.split():
            (self.layer / "bin" / applet).symlink_to("busybox")
        self.cgroups = cgroup.this_host()
        self.runtime: ShimRuntime

    async def open(self) -> None:
        self.runtime = ShimRuntime(self.layout)
        await self.runtime.open()

    async def end(self) -> None:
        """Remove everything through the shim, end it, and see that the host is as before."""
        try:
            await asyncio.wait_for(self.runtime.shutdown(), TEST_SECONDS)
        finally:
            await self.runtime.close()
        assert self.cgroup_paths() == []
        assert str(self.directory) not in Path("/proc/self/mountinfo").read_text()
        await wait_until(lambda: not self.layout.shim_socket.exists())
        assert not list((self.layout.run / "shim/containers").iterdir())
        shutil.rmtree(self.directory)

    def cgroup_paths(self) -> list[str]:
        """Every cgroup of this instance, in any hierarchy."""
        names = {self.layout.instance, self.runtime.pod_cgroups}
        found = [Path(point, name) for point in self.cgroups.hierarchies for name in names]
        return [str(path) for path in found if path.exists()]

    @property
    def pods(self) -> str:
        """The cgroup below which the shim has the Pods': under systemd in a scope of its own."""
        return self.runtime.pod_cgroups

    def groups(self, *below: str) -> list[Path]:
        """Return the first hierarchy's cgroups from a place among the Pods' on.

        One may go meanwhile, at which a glob would fail.
        """
        top = Path(self.cgroups.hierarchies[0], self.pods, *below)
        return [Path(group) for group, _, _ in os.walk(top)]

    @property
    def pid(self) -> int:
        """The shim's process id, from the lock's holder."""
        return int(self.ask("version")["pid"])

    def ask(self, verb: str) -> dict[str, Any]:
        """Call the shim beside the runtime, blocking."""
        with socket.socket(socket.AF_UNIX) as peer:
            return self._ask(peer, verb)

    def _ask(self, peer: socket.socket, verb: str) -> dict[str, Any]:
        peer.connect(str(self.layout.shim_socket))
        peer.sendall(protocol.encode({"id": 1, "verb": verb}))
        decoder = protocol.Decoder()
        while data := peer.recv(65536):
            decoder.feed(data)
            for message, _ in decoder.messages():
                return dict(message.get("ok") or message)
        raise AssertionError("the shim closed the connection")

    def descriptors(self) -> int:
        """How many descriptors the shim has open, one connection of ours among them.

        Once it answers this one it has seen every earlier connection's end.
        """
        with socket.socket(socket.AF_UNIX) as peer:
            pid = self._ask(peer, "version")["pid"]
            return len(os.listdir(f"/proc/{pid}/fd"))

    async def sandbox(self, name: str = "sandbox", **fields: Any) -> SandboxStatus:
        spec = SandboxSpec(name, "pod-1", f"{self.pods}/{name}", **fields)
        return (await self.runtime.run_sandbox(spec))[0]

    def spec(self, *args: str, name: str = "", **fields: Any) -> ContainerSpec:
        identity = name or f"c{next(_numbers)}"
        place = self.layout.containers / identity
        given: dict[str, Any] = {
            "sandbox_id": "sandbox",
            "rootfs": Rootfs((str(self.layer),), str(place / "upper"), str(place / "work")),
            "security": SECURITY,
            "log_path": str(self.layout.pod_logs / identity / "0.log"),
            **fields,
        }
        return ContainerSpec(id=identity, args=args, **given)

    async def start(self, *args: str, **fields: Any) -> ContainerStatus:
        return (await self.runtime.start_container(self.spec(*args, **fields)))[0]

    async def shell(self, script: str, **fields: Any) -> ContainerStatus:
        return await self.start("sh", "-c", script, **fields)

    async def exited(self, identity: str) -> ContainerStatus:
        """Wait for a container's end."""
        while True:
            events = self.runtime.events()
            now = await self.status(identity)
            if now.state == "exited":
                await events.aclose()  # type: ignore[attr-defined]
                return now
            async for event in events:
                if event.container and event.container.id == identity:
                    break
            await events.aclose()  # type: ignore[attr-defined]

    async def status(self, identity: str) -> ContainerStatus:
        state = await self.runtime.state()
        return next(item for item in state.containers if item.id == identity)

    async def run(self, script: str, **fields: Any) -> ContainerStatus:
        """Run a script in a container to its end."""
        return await self.exited((await self.shell(script, **fields)).id)

    async def exec(self, identity: str, *args: str, **fields: Any) -> tuple[int, bytes, bytes]:
        """Run a process in a container to its end; return exit code, output, errors."""
        streams = await self.runtime.exec(identity, ExecSpec(args, **fields))
        said = {"stdout": b"", "stderr": b""}
        while chunk := await streams.read():
            said[chunk[0]] += chunk[1]
        code = await streams.wait()
        await streams.close()
        return code, said["stdout"], said["stderr"]

    def log(self, status: ContainerStatus) -> list[str]:
        """The texts of a container's live log."""
        text = Path(status.log_path).read_text()
        whole = text[: text.rfind("\n") + 1]  # the shim may be writing
        return [line.split(" ", 3)[3] for line in whole.splitlines()]
