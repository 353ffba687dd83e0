"""kubectl's streams, with every kubectl of this host: SPDY up to 1.30, WebSocket and tunnelled SPDY from 1.31 on."""

import contextlib
import hashlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.instance import Instance
from tests.e2e.kubectl import find_kubectls, kubeconfig
from tests.e2e.streaming import streams_pod

KUBECTLS = find_kubectls()
pytestmark = pytest.mark.skipif(
    not KUBECTLS, reason="needs kubectl on PATH; none is there to be run"
)


class Kubectl:
    """One kubectl, against one server."""

    def __init__(self, program: str, config: Path) -> None:
        self.command = [program, f"--kubeconfig={config}", f"--cache-dir={config.parent / 'cache'}"]

    def run(self, *arguments: str, **more: object) -> subprocess.CompletedProcess[bytes]:
        more.setdefault("stdin", subprocess.DEVNULL)
        if "input" in more:
            del more["stdin"]
        return subprocess.run(
            [*self.command, *arguments],
            capture_output=True,
            timeout=60,
            check=False,
            **more,  # type: ignore[call-overload]
        )

    def out(self, *arguments: str, **more: object) -> bytes:
        done = self.run(*arguments, **more)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def popen(self, *arguments: str, **more: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self.command, *arguments], **more)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def served(shared: Instance) -> Iterator[Instance]:
    """A minipod with a Pod to stream with."""
    for _ in streams_pod(shared):
        yield shared


@pytest.fixture(scope="module")
def config(served: Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kubeconfig(served, tmp_path_factory.mktemp("streams"))


@pytest.fixture(params=KUBECTLS, ids=lambda path: Path(path).name)
def kubectl(request: pytest.FixtureRequest, config: Path) -> Kubectl:
    return Kubectl(request.param, config)


def test_exec(kubectl: Kubectl) -> None:
    done = kubectl.run(
        "exec", "streams", "-c", "main", "--", "sh", "-c", "echo out; echo err >&2; exit 7"
    )
    assert (done.returncode, done.stdout) == (7, b"out\n")
    assert done.stderr == b"err\ncommand terminated with exit code 7\n"
    data = os.urandom(3 << 20)
    said = kubectl.out("exec", "-i", "streams", "-c", "main", "--", "sha256sum", input=data)
    assert said.split()[0].decode() == hashlib.sha256(data).hexdigest()
    back = kubectl.out("exec", "-i", "streams", "-c", "main", "--", "cat", input=data)
    assert back == data
    missing = kubectl.run("exec", "streams", "-c", "main", "--", "no-such-program")
    assert missing.returncode != 0
    assert b"no-such-program" in missing.stderr
    assert kubectl.run("exec", "streams", "-c", "none", "--", "true").returncode == 1


class Terminal:
    """A program on a terminal of ours."""

    def __init__(self, command: list[str]) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execv(command[0], command)
        self.said = b""

    def resize(self, columns: int, rows: int) -> None:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def wait_for(self, wanted: bytes, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while wanted not in self.said:
            ready, _, _ = select.select([self.descriptor], [], [], deadline - time.monotonic())
            assert ready, self.said
            try:
                self.said += os.read(self.descriptor, 65536)
            except OSError:
                raise AssertionError(self.said) from None

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.descriptor)


def test_exec_on_a_terminal(kubectl: Kubectl) -> None:
    terminal = Terminal([*kubectl.command, "exec", "-it", "streams", "-c", "main", "--", "sh"])
    try:
        terminal.type("tty; echo ready$((1 + 1))\n")
        terminal.wait_for(b"ready2")
        assert b"/dev/pts/" in terminal.said
        terminal.resize(111, 37)
        terminal.type(
            "until stty size | grep -q '37 111'; do sleep 0.05; done; echo sized$((1 + 1))\n"
        )
        terminal.wait_for(b"sized2")
        terminal.type("exit 3\n")
        terminal.wait_for(b"terminated with exit code 3")
    finally:
        terminal.close()


def test_run_loses_nothing_of_a_program_that_ends_at_once(kubectl: Kubectl) -> None:
    flags = ("--image=busybox", "--restart=Never", "--rm", "-i", "-q")
    for script in ("echo hi", "echo hi; sleep 0.3"):  # over before the attach, or silent since
        out = kubectl.out("run", "hasty", *flags, "--", "sh", "-c", script)
        assert out.splitlines()[:1] == [b"hi"]


def test_attach_and_logs(kubectl: Kubectl) -> None:
    word = f"word{os.getpid()}{time.monotonic_ns()}"
    logs = kubectl.popen(
        "logs", "-f", "streams", "-c", "reader", "--tail=1", stdout=subprocess.PIPE
    )
    attached = kubectl.popen(
        "attach",
        "-i",
        "streams",
        "-c",
        "reader",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert attached.stdin
        assert attached.stdout
        assert logs.stdout
        attached.stdin.write(f"{word}\n".encode())
        attached.stdin.flush()
        for stream in (attached.stdout, logs.stdout):
            assert (
                next(line for line in stream if word.encode() in line) == f"got {word}\n".encode()
            )
    finally:
        for process in (logs, attached):
            process.kill()
            process.communicate()


@contextmanager
def forwarding(
    kubectl: Kubectl, *ports: str, **more: object
) -> Iterator[tuple[list[int], subprocess.Popen[bytes]]]:
    """Forward ports of the Pod; gives the local ones."""
    command = kubectl.popen(
        "port-forward",
        "pod/streams",
        *ports,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **more,
    )
    assert command.stdout
    local = []
    try:
        for line in command.stdout:
            found = re.match(rb"Forwarding from 127.0.0.1:(\d+) -> ", line)
            local += [int(found[1])] if found else []
            if len(local) == len(ports):
                break
        assert len(local) == len(ports), command.stderr and command.stderr.read()
        yield local, command
    finally:
        command.kill()
        command.communicate()


def ask(port: int, data: bytes, *, end: bool = True) -> bytes:
    """Send, end our direction or not, and read to the end of the other."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
        peer.sendall(data)
        if end:
            peer.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: peer.recv(65536), b""))


def test_port_forward(kubectl: Kubectl) -> None:
    with forwarding(kubectl, ":8080", ":8081", ":8082") as (ports, _):
        data = b"abc" * 200_000
        for _ in range(5):
            assert ask(ports[0], data) == data.upper()
        request = b"GET / HTTP/1.0\r\n\r\n"
        assert ask(ports[1], request).endswith(b"from loopback\n")  # on 127.0.0.1 alone
        assert ask(ports[1], request, end=False).endswith(b"from loopback\n")  # the server ends it
        assert ask(ports[2], request).endswith(b"from loopback\n")  # on ::1 alone


def test_port_forward_to_a_closed_port(kubectl: Kubectl) -> None:
    with forwarding(kubectl, ":9") as (ports, command):
        with contextlib.suppress(ConnectionError):
            assert ask(ports[0], b"hello") == b""
        assert command.stderr
        wanted = b"failed to connect to localhost:9 inside"
        said = next(line for line in command.stderr if wanted in line)
        assert b"error forwarding port 9 to pod" in said
        assert b"connection refused" in said


def test_cp(kubectl: Kubectl, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_bytes(os.urandom(100_000))
    (tree / "script").write_text("#!/bin/sh\n")
    (tree / "script").chmod(0o755)
    name = f"/tmp/{tmp_path.name}"
    kubectl.out("cp", str(tree), f"streams:{name}", "-c", "main")
    kubectl.out("cp", f"default/streams:{name}", str(tmp_path / "back"), "-c", "main")
    assert (tmp_path / "back" / "deep" / "file").read_bytes() == (
        tree / "deep" / "file"
    ).read_bytes()
    look = ("exec", "streams", "-c", "main", "--")
    assert kubectl.out(*look, "stat", "-c", "%a", f"{name}/script") == b"755\n"
    kubectl.out(*look, "rm", "-r", name)


# -- minipod's own command line, which speaks the same protocols ---------------------------------------


def test_minipod_cp(served: Instance, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_bytes(os.urandom(100_000))
    (tree / "link").symlink_to("/etc/passwd")
    name = f"/tmp/{tmp_path.name}"
    served.run("cp", str(tree), f"streams:{name}", "-c", "main")
    served.run(
        "cp", str(tree / "deep" / "file"), f"streams:{name}", "-c", "main"
    )  # into the directory
    back = served.run("cp", f"default/streams:{name}", str(tmp_path / "back"), "-c", "main")
    assert f'skipping symlink: "{tmp_path}/back/link" -> "/etc/passwd"' in back.stderr
    for copied in ("deep/file", "file"):
        assert (tmp_path / "back" / copied).read_bytes() == (tree / "deep" / "file").read_bytes()
    assert not (tmp_path / "back" / "link").exists()
    missing = served.run("cp", "streams:/none", str(tmp_path / "none"), "-c", "main", check=False)
    assert missing.returncode == 1
    assert "No such file" in missing.stderr
    assert not (tmp_path / "none").exists()
    served.run("exec", "streams", "-c", "main", "--", "rm", "-r", name)


def test_minipod_port_forward(served: Instance) -> None:
    command = Kubectl("minipod", Path("unused"))
    command.command, environment = ["minipod"], served.environment
    with forwarding(command, ":8080", ":8081", ":9", env=environment) as (ports, process):
        data = b"abc" * 200_000
        assert ask(ports[0], data) == data.upper()
        assert ask(ports[1], b"GET / HTTP/1.0\r\n\r\n").endswith(b"from loopback\n")
        assert ask(ports[2], b"") == b""
        assert process.wait(20) == 1
        assert process.stderr
        said = process.stderr.read()
        assert b"error forwarding port 9 to pod streams" in said
        assert said.endswith(b"error: lost connection to pod\n")
    gone = served.run("port-forward", "none", ":80", check=False)
    assert 'pods "none" not found' in gone.stderr
