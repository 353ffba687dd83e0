"""A minipod of the tests' own: a root, its daemon, and the command line a person would use."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from minipod.cli.errors import Unreachable
from minipod.cli.http import Connection
from minipod.paths import layout
from tests import lanes

REPOSITORY = Path(__file__).parents[2]


class Instance:
    """One root. Everything is asked through the command line or the API, as a user would."""

    def __init__(self, root: Path, *, pod_cidr: str = "", options: tuple[str, ...] = ()) -> None:
        self.root = root
        self.layout = layout(root)
        lanes.note(self.layout.instance)
        self.options = (*options, *(("--pod-cidr", pod_cidr) if pod_cidr else ()))
        if "--eviction-hard" not in options:  # how full the host's disk is decides no test
            self.options += ("--eviction-hard", "memory.available<0%")
        self.environment = {**os.environ, "MINIPOD_ROOT": str(root), "NO_COLOR": "1"}
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(
        self, *arguments: str, check: bool = True, timeout: float = 60, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run `minipod ARGUMENTS`; with `check`, a failure shows what it said."""
        more.setdefault("stdin", subprocess.DEVNULL)
        if "input" in more:
            del more["stdin"]
        done = subprocess.run(
            ["minipod", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **more,
        )
        if check and done.returncode != 0:
            said = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"minipod {' '.join(arguments)}: exit {done.returncode}: {said}")
        return done

    def out(self, *arguments: str, **more: Any) -> str:
        """Return what `minipod ARGUMENTS` prints."""
        return self.run(*arguments, **more).stdout

    def get(self, *arguments: str) -> Any:
        """Return an object (or list) as the API has it."""
        return json.loads(self.out("get", *arguments, "-o", "json"))

    def find_pod(self, name: str) -> dict[str, Any] | None:
        """Return a Pod as the API has it, or None: for waits, which ask too often to start a command each time."""
        with closing(Connection(str(self.layout.api_socket))) as api:
            try:
                answer = api.request("GET", f"/api/v1/namespaces/default/pods/{name}", {})
                found: dict[str, Any] = json.loads(answer.read())
            except (Unreachable, ConnectionError, EOFError) as gone:
                raise AssertionError(f"pod/{name}: {gone}{self.daemon_log()}") from gone
        assert answer.status in (200, 404), found
        return found if answer.status == 200 else None

    def apply(
        self, *manifests: dict[str, Any], options: tuple[str, ...] = (), timeout: float = 90
    ) -> None:
        """Apply manifests given as objects."""
        text = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        self.run("apply", "-f", "-", *options, input=text, timeout=timeout)

    def up(self, **environment: str) -> None:
        """Start the daemon in the background and wait until it is ready."""
        done = subprocess.run(
            ["minipod", "up", *self.options],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"minipod up: {done.stderr}{self.daemon_log()}"

    def down(self, *, pods: bool = True) -> None:
        """Stop the daemon; with `pods`, the Pods, the shim and the network too."""
        self.run("down", *(["--pods"] if pods else []), timeout=90)

    def may_run(self) -> bool:
        """Whether a daemon or a shim has left its socket, and may be behind it."""
        return self.layout.api_socket.exists() or self.layout.shim_socket.exists()

    def daemon_pid(self) -> int:
        """Return the daemon's process id, as the kernel has it behind the API socket."""
        return _peer_pid(self.layout.api_socket)

    def shim_pid(self) -> int:
        """Return the shim's process id, as the kernel has it behind its socket."""
        return _peer_pid(self.layout.shim_socket)

    def kill_daemon(self, by: signal.Signals = signal.SIGKILL) -> None:
        """Kill the daemon and wait until it is gone."""
        pid = self.daemon_pid()
        pidfd = os.pidfd_open(pid)
        os.kill(pid, by)
        wait_readable(pidfd)
        os.close(pidfd)

    def daemon_log(self) -> str:
        """Return the end of the daemon's log, for failures."""
        logs = sorted(self.layout.log.glob("*.log"))
        return "\n".join(f"{log}: {log.read_text()[-3000:]}" for log in logs)

    def remove(self) -> None:
        """Remove the root from the disk."""
        shutil.rmtree(self.root, ignore_errors=True)


def _peer_pid(path: Path) -> int:
    """Return who listens at a Unix socket (SO_PEERCRED, unix(7))."""
    import socket
    import struct

    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def wait_readable(descriptor: int, seconds: float = 10) -> None:
    """Wait until a descriptor is readable (a pidfd: until its process has ended)."""
    import select

    ready, _, _ = select.select([descriptor], [], [], seconds)
    assert ready, f"nothing happened within {seconds} s"


def wait_until(condition: Any, what: str, seconds: float = 15) -> Any:
    """Call `condition` until it returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(
            0.02
        )  # the condition is the product's outside: there is nothing to be notified by
    return value
