"""minipod's runtime alone, as crun is: a shim, one sandbox, and containers started in it from here."""

import asyncio
import shutil
import tempfile
from itertools import count
from pathlib import Path

from minipod.node.profiles import SeccompProfiles
from minipod.paths import layout
from minipod.runtime import defaults
from minipod.runtime.shim_client import ShimRuntime
from minipod.runtime.spec import ContainerSpec, Mount, Rootfs, SandboxSpec, Security


class Containers:
    """A running sandbox with room for one more container."""

    def __init__(self, rootfs: Path, volume: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._root = Path(tempfile.mkdtemp(prefix="mpcont", dir="/tmp"))
        self._layout = layout(self._root)
        self._rootfs, self._volume = rootfs, volume
        self._runtime = ShimRuntime(self._layout)
        self._numbers = count()
        self._last = ""
        self._program = SeccompProfiles(self._root).compile(
            {"type": "RuntimeDefault"}, defaults.CAPABILITIES
        )
        self._loop.run_until_complete(self._open())

    async def _open(self) -> None:
        await self._runtime.open()
        await self._runtime.run_sandbox(SandboxSpec("bench", "bench", self._cgroup))

    @property
    def _cgroup(self) -> str:
        return f"{self._layout.instance}/bench"

    def start(self, args: list[str]) -> None:
        """Start one more container, with what a Pod's gets by default."""
        self._last = f"c{next(self._numbers)}"
        place = self._layout.containers / self._last
        spec = ContainerSpec(
            id=self._last,
            sandbox_id="bench",
            args=tuple(args),
            rootfs=Rootfs((str(self._rootfs),), str(place / "upper"), str(place / "work")),
            mounts=(Mount("/bench", str(self._volume)),),
            security=Security(
                capabilities=defaults.CAPABILITIES,
                seccomp=self._program,
                masked_paths=defaults.MASKED_PATHS,
                read_only_paths=defaults.READ_ONLY_PATHS,
            ),
            log_path=str(self._layout.pod_logs / self._last / "0.log"),
        )
        self._loop.run_until_complete(self._runtime.start_container(spec))

    def remove(self) -> None:
        """Remove the container again."""
        self._loop.run_until_complete(self._runtime.remove_container(self._last))

    def close(self) -> None:
        """End everything."""
        self._loop.run_until_complete(self._end())
        self._loop.close()
        shutil.rmtree(self._root, ignore_errors=True)

    async def _end(self) -> None:
        await self._runtime.shutdown()
        await self._runtime.close()
