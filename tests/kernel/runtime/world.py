"""A small world for tests: a busybox image, a sandbox, and containers in it, launched from this very process."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from minipod.linux import cgroup
from minipod.runtime import defaults
from minipod.runtime.launch import Stdio, launch
from minipod.runtime.launched import Launched
from minipod.runtime.operations import Step, TracedStep
from minipod.runtime.plan import (
    HostFacts,
    SandboxRef,
    compute_container_plan,
    compute_exec_plan,
    compute_sandbox_plan,
)
from minipod.runtime.spec import (
    ContainerSpec,
    ExecSpec,
    Rootfs,
    SandboxNetwork,
    SandboxSpec,
    Security,
)
from tests.patience import patience

BUSYBOX = "/bin/busybox"
NETWORK = SandboxNetwork("mp-none", "10.99.0.2/24", "10.99.0.1", "mp-none1")
SECURITY = Security(
    capabilities=defaults.CAPABILITIES,
    masked_paths=defaults.MASKED_PATHS,
    read_only_paths=defaults.READ_ONLY_PATHS,
)


@dataclass
class Finished:
    """What a container's program said, and how it ended."""

    code: int
    output: str
    steps: tuple[TracedStep, ...]

    def lines(self) -> list[str]:
        return self.output.splitlines()


@dataclass
class World:
    """Everything lives below one directory and one cgroup; `close` leaves nothing."""

    directory: Path
    name: str
    sandbox: SandboxSpec = field(init=False)
    pause: Launched | None = None
    running: list[Launched] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.host = HostFacts(cgroup.this_host(), str(self.directory / "root"))
        self.layer = self.directory / "layer"
        for name in ("bin", "etc", "tmp", "home/app"):
            (self.layer / name).mkdir(parents=True)
        shutil.copy(BUSYBOX, self.layer / "bin/busybox")
        for applet in APPLETS.split():
            (self.layer / "bin" / applet).symlink_to("busybox")
        (self.layer / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:7:8::/home/app:\n")
        (self.layer / "etc/group").write_text("root:x:0:\napp:x:8:\nextra:x:9:root,app\n")
        self.sandbox = SandboxSpec(
            id="sandbox", hostname="pod-1", cgroup=f"{self.name}/pod", network=NETWORK
        )

    def start_sandbox(self, **changes: object) -> Launched:
        """Launch the pause (without the daemon's part, the network)."""
        fields = {**vars(self.sandbox), **changes}
        self.sandbox = SandboxSpec(**fields)
        self.pause = launch(compute_sandbox_plan(self.sandbox, self.host), Stdio(), {})
        self.running.append(self.pause)
        return self.pause

    def spec(self, *args: str, name: str = "c1", **fields: object) -> ContainerSpec:
        """Return a container of the busybox image."""
        writable = self.directory / name
        rootfs = Rootfs((str(self.layer),), str(writable / "upper"), str(writable / "work"))
        given = {"rootfs": rootfs, "security": SECURITY, **fields}
        return ContainerSpec(id=name, sandbox_id="sandbox", args=args, **given)

    def plan(self, spec: ContainerSpec) -> tuple[Step, ...]:
        return compute_container_plan(spec, SandboxRef.of(self.sandbox), self.host)

    def start(self, spec: ContainerSpec, stdio: Stdio | None = None) -> Launched:
        """Launch a container and let it run."""
        assert self.pause is not None
        references = {"pause_pid": self.pause.pid, "pause_pidfd": self.pause.pidfd}
        launched = launch(self.plan(spec), stdio or Stdio(), references)
        self.running.append(launched)
        return launched

    def run(self, *args: str, **fields: object) -> Finished:
        """Run a container to its end. With `tty`, its output is what the terminal said."""
        return self.run_spec(self.spec(*args, **fields))

    def run_spec(self, spec: ContainerSpec) -> Finished:
        read, write = os.pipe2(os.O_CLOEXEC)
        with contextlib.closing(os.fdopen(read, "rb")) as output:
            try:
                launched = self.start(spec, Stdio(stdout=write, stderr=write))
            finally:
                os.close(write)
            return self._finish(launched, output, self.plan(spec))

    def exec(self, container: ContainerSpec, launched: Launched, spec: ExecSpec) -> Finished:
        """Run one more process in a container to its end."""
        plan = compute_exec_plan(container, spec, SandboxRef.of(self.sandbox), self.host)
        references = {"container_pid": launched.pid, "container_pidfd": launched.pidfd}
        read, write = os.pipe2(os.O_CLOEXEC)
        with contextlib.closing(os.fdopen(read, "rb")) as output:
            try:
                process = launch(plan, Stdio(stdout=write, stderr=write), references)
            finally:
                os.close(write)
            self.running.append(process)
            return self._finish(process, output, plan)

    def _finish(self, launched: Launched, output: BinaryIO, plan: Sequence[Step]) -> Finished:
        terminal = launched.terminal
        said = read_terminal(terminal) if terminal >= 0 else output.read()
        _, status = os.waitpid(launched.pid, 0)
        steps = tuple(TracedStep(plan[index], begin, took) for index, begin, took in launched.times)
        return Finished(os.waitstatus_to_exitcode(status), said.decode(), steps)

    def close(self) -> None:
        """End everything and remove it."""
        layout = self.host.cgroups
        cgroup.kill(layout, self.name)
        # A PID namespace's first process ends only when all others of it have been reaped.
        for launched in reversed(self.running):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(launched.pid, 0)
            os.close(launched.pidfd)
            if launched.terminal >= 0:
                os.close(launched.terminal)
        cgroup.remove(layout, self.name)
        shutil.rmtree(self.directory)


APPLETS = (
    "sh ls cat ps mount id sleep echo true false mknod hostname tty dd env readlink umount "
    "unshare touch kill test stat mkdir head chmod wc stty grep"
)


def read_terminal(master: int) -> bytes:
    """Read what was said until the last process closed the terminal (EIO)."""
    said = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(master, 65536):
            said += chunk
    return said


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what a process does that nothing announces."""
    deadline = time.monotonic() + patience(seconds)
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        os.sched_yield()


def end(launched: Launched) -> int:
    """Kill a process and return its exit status."""
    signal.pidfd_send_signal(launched.pidfd, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(launched.pid, 0)[1])
