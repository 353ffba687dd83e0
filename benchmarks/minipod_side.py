"""minipod as the benchmark drives it: its own root, requests on one open connection, PSS from the kernel."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minipod.paths import layout

_UPGRADE = (
    "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"
)
REPOSITORY = Path(__file__).parents[1]


class Connection(http.client.HTTPConnection):
    """HTTP over the API's Unix socket, kept open."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = str(path)

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request, return the decoded object; an error status raises."""
        text = None if body is None else json.dumps(body)
        self.request(method, path, text, {"Content-Type": "application/json"})
        answer = self.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content.decode()[:300]}")
        return json.loads(content)


class Minipod:
    """A daemon over a root of its own, with busybox built into its images."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="mpbench", dir="/tmp"))
        self.layout = layout(self.root)
        self.environment = {**os.environ, "MINIPOD_ROOT": str(self.root)}
        self.command = str(Path(sys.executable).parent / "minipod")
        self.run("image", "build", str(REPOSITORY / "images" / "busybox"))
        self.run("up")
        self.api = Connection(self.layout.api_socket)

    def run(self, *arguments: str) -> str:
        """Run the command line; a failure shows its message."""
        done = subprocess.run(
            [self.command, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"minipod {arguments}: {done.stderr}")
        return done.stdout

    def close(self) -> None:
        """Take everything down."""
        self.run("down", "--pods")
        subprocess.run(["rm", "-rf", str(self.root)], check=True)

    def create(self, pod: dict[str, Any]) -> None:
        """Ask for a Pod, on the open connection."""
        self.api.call("POST", "/api/v1/namespaces/default/pods", pod)

    def exec(self, pod: str, program: str) -> None:
        """Run a program in a Pod's first container to its end, as a client that holds a connection does."""
        query = f"command={program}&stdout=true&stderr=true"
        path = f"/api/v1/namespaces/default/pods/{pod}/exec?{query}"
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(self.layout.api_socket))
            peer.sendall(f"GET {path} HTTP/1.1\r\n{_UPGRADE}\r\n".encode())
            received = b""
            while b'"status"' not in received:
                if not (data := peer.recv(65536)):
                    raise RuntimeError(f"exec ended early: {received!r}")
                received += data
        if b'"Success"' not in received:
            raise RuntimeError(f"exec failed: {received!r}")

    def delete(self, name: str, grace: int | None = None) -> None:
        """Ask for a Pod's deletion."""
        query = "" if grace is None else f"?gracePeriodSeconds={grace}"
        self.api.call("DELETE", f"/api/v1/namespaces/default/pods/{name}{query}")

    def version(self) -> str:
        """Return the resourceVersion of now."""
        listed = self.api.call("GET", "/api/v1/namespaces/default/pods")
        return str(listed["metadata"]["resourceVersion"])

    def watch(self, since: str) -> Iterator[dict[str, Any]]:
        """Yield watch events of Pods, over a connection of their own."""
        connection = Connection(self.layout.api_socket)
        with contextlib.closing(connection):
            connection.request(
                "GET", f"/api/v1/namespaces/default/pods?watch=1&resourceVersion={since}"
            )
            answer = connection.getresponse()
            while line := answer.readline():
                yield json.loads(line)

    def wait_gone(self, names: set[str], since: str) -> None:
        """Wait until all these Pods are deleted."""
        left = set(names)
        for event in self.watch(since):
            if event["type"] == "DELETED":
                left.discard(event["object"]["metadata"]["name"])
            if not left:
                return

    def wait_running(self, names: set[str], since: str) -> None:
        """Wait until all these Pods are Running."""
        left = set(names)
        for event in self.watch(since):
            if event["object"].get("status", {}).get("phase") == "Running":
                left.discard(event["object"]["metadata"]["name"])
            if not left:
                return

    def pids(self) -> tuple[int, int]:
        """Return the process ids of daemon and shim, as the kernel has them behind their sockets."""
        return _peer(self.layout.api_socket), _peer(self.layout.shim_socket)


def _peer(path: Path) -> int:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        return int.from_bytes(
            peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little"
        )


def pss_kb(pid: int) -> int:
    """Return a process's proportional set size (proc_pid_smaps_rollup(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process has used (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pod(name: str, *commands: str, init: str = "", volume: Path | None = None) -> dict[str, Any]:
    """Return a Pod of busybox containers running shell commands, with a host directory at /bench."""
    mounts = [{"name": "bench", "mountPath": "/bench"}] if volume else []

    def container(container_name: str, command: str) -> dict[str, Any]:
        return {
            "name": container_name,
            "image": "busybox",
            "command": ["/bin/sh", "-c", command],
            "volumeMounts": mounts,
        }

    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [container(f"c{n}", command) for n, command in enumerate(commands)],
    }
    if init:
        spec["initContainers"] = [container("init", init)]
    if volume:
        spec["volumes"] = [{"name": "bench", "hostPath": {"path": str(volume)}}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
