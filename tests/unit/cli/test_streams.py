"""exec and attach: the channel protocol over a WebSocket, in a process of its own where descriptors matter."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minipod.cli.commands.attach import ENDED_SECONDS
from minipod.cli.websocket import masked
from tests.fakes.apiserver import ExecStream, FakeApiServer
from tests.unit.cli.conftest import Minipod, pod


def minipod_command(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "minipod.cli", "--root", str(root), *arguments]


def echo(stream: ExecStream) -> None:
    """Copy stdin to stdout until its end, then report success."""
    while (got := stream.receive()) is not None:
        _opcode, payload = got
        if payload[:1] == b"\x00":
            stream.send(1, payload[1:])
        elif payload == b"\xff\x00":
            stream.finish()
            return


def say(*messages: tuple[int, bytes], code: int = 0) -> Callable[[ExecStream], None]:
    def handler(stream: ExecStream) -> None:
        for channel, data in messages:
            stream.send(channel, data)
        stream.finish(code)

    return handler


def test_masking_is_its_own_inverse() -> None:
    assert masked(b"hello", b"\x01\x02\x03\x04") == bytes(
        a ^ b for a, b in zip(b"hello", b"\x01\x02\x03\x04\x01", strict=True)
    )
    assert masked(masked(b"x" * 1001, b"abcd"), b"abcd") == b"x" * 1001
    assert masked(b"", b"abcd") == b""


def test_output_goes_to_its_own_stream(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    server.on_exec = say((1, b"out\n"), (2, b"err\n"))
    ended = minipod("exec", "nginx", "--", "sh", "-c", "echo out")
    assert (ended.code, ended.out, ended.err) == (0, "out\n", "err\n")
    asked = server.requests[-1]
    assert asked.path == "/api/v1/namespaces/default/pods/nginx/exec"
    assert asked.query["command"] == ["sh", "-c", "echo out"]
    assert asked.query["container"] == ["app"]
    assert "stdin" not in asked.query


def test_the_exit_code_is_passed_on(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    server.on_exec = say(code=42)
    ended = minipod("exec", "nginx", "--", "false")
    assert (ended.code, ended.err) == (42, "command terminated with exit code 42\n")


def test_a_failure_to_start_is_an_error(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    status = {"status": "Failure", "reason": "InternalError", "message": 'no such file "x"'}
    server.on_exec = lambda stream: stream.finish(**status)
    ended = minipod("exec", "nginx", "--", "x")
    assert (ended.code, ended.err) == (1, 'error: no such file "x"\n')


def test_an_abrupt_end_is_an_error(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    server.on_exec = lambda stream: stream.send(1, b"half")
    ended = minipod("exec", "nginx", "--", "x")
    assert (ended.code, ended.out) == (1, "half")
    assert "closed before the command's exit code arrived" in ended.err


def test_fragments_pings_and_long_frames(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    pongs = []

    def handler(stream: ExecStream) -> None:
        stream.frame(b"\x01ab", 2, final=False)
        stream.frame(b"ping", 9)
        stream.frame(b"cd", 0)
        stream.send(1, b"e" * 70000)
        stream.send(1, b"f" * 200)
        pongs.append(stream.receive())
        stream.finish()

    server.on_exec = handler
    assert minipod("exec", "nginx", "--", "x").out == "abcd" + "e" * 70000 + "f" * 200
    assert pongs == [(10, b"ping")]


@pytest.mark.parametrize("source", ["pipe", "file"])
def test_much_input_and_much_output_do_not_block_each_other(
    server: FakeApiServer, root: Path, tmp_path: Path, source: str
) -> None:
    server.put("pods", pod())
    server.on_exec = echo
    data = os.urandom(1 << 20) * 4
    command = minipod_command(root, "exec", "-i", "nginx", "--", "cat")
    if source == "pipe":
        ended = subprocess.run(command, input=data, capture_output=True, check=False, timeout=60)
    else:
        (tmp_path / "data").write_bytes(data)
        with open(tmp_path / "data", "rb") as file:
            ended = subprocess.run(
                command, stdin=file, capture_output=True, check=False, timeout=60
            )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout == data


def test_v4_has_no_end_of_input_but_works(server: FakeApiServer, root: Path) -> None:
    server.put("pods", pod())
    server.protocols = ("v4.channel.k8s.io",)
    received = []

    def handler(stream: ExecStream) -> None:
        received.append(stream.receive())
        stream.send(1, b"ok")
        stream.finish(3)

    server.on_exec = handler
    command = minipod_command(root, "exec", "-i", "nginx", "--", "x")
    ended = subprocess.run(command, input=b"in", capture_output=True, check=False, timeout=30)
    assert received == [(2, b"\x00in")]
    assert (ended.returncode, ended.stdout) == (3, b"ok")


def test_closed_stdin_counts_as_its_end(server: FakeApiServer, root: Path) -> None:
    server.put("pods", pod())
    server.on_exec = echo
    command = " ".join(minipod_command(root, "exec", "-i", "nginx", "--", "cat")) + " <&-"
    assert (
        subprocess.run(command, shell=True, capture_output=True, check=False, timeout=30).returncode
        == 0
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["version --client", "apply -f -", "image save nothing -o -"])
def test_closed_standard_streams_are_no_mishap(root: Path, words: str, closed: str) -> None:
    command = " ".join(minipod_command(root, *words.split()))
    ended = subprocess.run(
        f"exec {closed}; {command}", shell=True, capture_output=True, check=False, timeout=30
    )
    assert ended.returncode == (0 if "version" in words else 1)
    assert b"Traceback" not in ended.stderr
    assert b"should not happen" not in ended.stderr


@pytest.mark.parametrize("words", ["version --client", "explain pods", "completion bash"])
def test_an_output_that_is_full_is_named(server: FakeApiServer, root: Path, words: str) -> None:
    command = minipod_command(root, *words.split())
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=30
        )
    assert ended.stderr == b"error: cannot write the output: No space left on device\n"
    assert ended.returncode == 1


class Terminal:
    """A process on a pseudo-terminal."""

    def __init__(self, command: list[str]) -> None:
        self.master, slave = pty.openpty()
        self.set_size(80, 24)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )

    def set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def restored(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def wait_until(self, test: Callable[[], bool], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not test():
            assert time.monotonic() < end, "it did not happen"
            select.select([self.master], [], [], 0.01)
            if select.select([self.master], [], [], 0)[0]:
                os.read(self.master, 4096)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def terminal_session(
    received: list[bytes], released: threading.Event, code: int = 0
) -> Callable[[ExecStream], None]:
    def handler(stream: ExecStream) -> None:
        while (got := stream.receive()) is not None:
            received.append(got[1])
            if got[1] == b"\x00q":
                stream.finish(code)
                released.wait(10)
                return

    return handler


def test_a_terminal_is_raw_resized_and_restored(server: FakeApiServer, root: Path) -> None:
    server.put("pods", pod())
    received: list[bytes] = []
    released = threading.Event()
    server.on_exec = terminal_session(received, released, code=7)
    terminal = Terminal(minipod_command(root, "exec", "-it", "nginx", "--", "sh"))
    try:
        terminal.wait_until(lambda: b'\x04{"Width":80,"Height":24}' in received)
        terminal.wait_until(terminal.is_raw)
        terminal.set_size(100, 30)
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.wait_until(lambda: b'\x04{"Width":100,"Height":30}' in received)
        os.write(terminal.master, b"\x03")  # Ctrl-C is the container's
        terminal.wait_until(lambda: b"\x00\x03" in received)
        os.write(terminal.master, b"q")
        assert terminal.process.wait(timeout=10) == 7
        assert terminal.restored()
    finally:
        released.set()
        terminal.close()
    assert server.requests[-1].query["tty"] == ["true"]
    assert "stderr" not in server.requests[-1].query


def test_what_was_typed_ahead_is_not_lost(server: FakeApiServer, root: Path) -> None:
    server.put("pods", pod())
    received: list[bytes] = []
    released = threading.Event()
    server.on_exec = terminal_session(received, released)
    terminal = Terminal(minipod_command(root, "exec", "-it", "nginx", "--", "sh"))
    os.write(terminal.master, b"ls\r")
    try:
        terminal.wait_until(lambda: b"\x00ls\n" in received)
        os.write(terminal.master, b"q")
        assert terminal.process.wait(timeout=10) == 0
    finally:
        released.set()
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_is_restored_when_minipod_is_killed(
    server: FakeApiServer, root: Path, number: int
) -> None:
    server.put("pods", pod())
    received: list[bytes] = []
    server.on_exec = terminal_session(received, threading.Event())
    terminal = Terminal(minipod_command(root, "exec", "-it", "nginx", "--", "sh"))
    try:
        terminal.wait_until(terminal.is_raw)
        terminal.process.send_signal(number)
        assert terminal.process.wait(timeout=10) == -number
        assert terminal.restored()
    finally:
        terminal.close()


def test_attach_uses_the_containers_own_terminal_settings(
    server: FakeApiServer, minipod: Minipod
) -> None:
    server.put("pods", pod())
    server.on_exec = say((1, b"log\n"))
    ended = minipod("attach", "nginx")
    assert (ended.code, ended.out) == (0, "log\n")
    assert server.requests[-1].path.endswith("/pods/nginx/attach")
    refused = minipod("attach", "-i", "nginx")
    assert (
        refused.err
        == 'error: container "app" of pod "nginx" has no stdin (spec: stdin: true); leave out -i\n'
    )


def test_what_cannot_be_run_is_said(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    server.put("pods", pod("done", phase="Succeeded"))
    two = pod("two")
    two["spec"] = {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}
    server.put("pods", two)
    server.on_exec = say()
    assert (
        minipod("exec", "nginx").err
        == "error: you must specify at least one command for the container\n"
    )
    assert (
        "is not supported anymore. Use exec [POD] -- [COMMAND]"
        in minipod("exec", "nginx", "ls").err
    )
    assert "completed pod; current phase is Succeeded" in minipod("exec", "done", "--", "ls").err
    assert (
        minipod("exec", "nginx", "-c", "x", "--", "ls").err
        == "error: container x is not valid for pod nginx out of: app\n"
    )
    assert (
        minipod("exec", "two", "--", "ls").err == 'Defaulted container "a" out of: a, b, i (init)\n'
    )


def finished(server: FakeApiServer, code: int) -> None:
    """Let the Pod `once` end with an exit code."""
    statuses = [{"name": "once", "state": {"terminated": {"exitCode": code}}}]
    made = server.objects["pods", "default", "once"]
    server.put("pods", {**made, "status": {"phase": "Failed", "containerStatuses": statuses}})


def running(fake: FakeApiServer, _what: str, made: dict[str, object]) -> None:
    fake.put("pods", {**made, "status": {"phase": "Running"}})


def test_run_makes_a_pod_attaches_and_removes_it(server: FakeApiServer, minipod: Minipod) -> None:
    def attached(stream: ExecStream) -> None:
        stream.send(1, b"hi\n")
        finished(server, 5)
        stream.finish()

    server.on_write, server.on_exec = running, attached
    flags = ("--image=busybox", "-i", "--rm", "--restart=Never", "--env=A=b")
    result = minipod("run", "once", *flags, "--", "sh")
    assert (result.code, result.out) == (5, "hi\n")
    assert result.err == 'pod "once" deleted from default namespace\n'
    assert server.writes()[0].body["spec"]["containers"][0] == {
        "image": "busybox",
        "name": "once",
        "resources": {},
        "args": ["sh"],
        "env": [{"name": "A", "value": "b"}],
        "stdin": True,
        "stdinOnce": True,
    }
    assert ("pods", "default", "once") not in server.objects


def test_run_prints_the_log_of_what_ended_before_the_attach(
    server: FakeApiServer, minipod: Minipod
) -> None:
    def ended(stream: ExecStream) -> None:
        threading.Timer(0.2, finished, (server, 5)).start()  # the Pod's status says so later
        stream.finish(status="Failure", message='container "once" does not run')

    server.on_write, server.on_exec, server.logs = running, ended, {"once": b"hi\n"}
    result = minipod("run", "once", "--image=busybox", "-i", "--restart=Never", "--", "true")
    assert (result.code, result.out) == (5, "hi\n")


def test_run_says_why_a_program_could_not_be_started(
    server: FakeApiServer, minipod: Minipod
) -> None:
    def ended(fake: FakeApiServer, _what: str, made: dict[str, object]) -> None:
        why = 'exec: "/no": stat /no: no such file or directory'
        state = {"terminated": {"exitCode": 128, "reason": "StartError", "message": why}}
        status = {"phase": "Failed", "containerStatuses": [{"name": "once", "state": state}]}
        fake.put("pods", {**made, "status": status})

    server.on_write, server.logs = ended, {"": b""}
    result = minipod("run", "once", "--image=busybox", "-i", "--restart=Never", "--", "/no")
    assert (result.code, result.err) == (
        128,
        'error: container "once" was not started: exec: "/no": stat /no: no such file or directory\n',
    )


def test_run_says_what_a_pod_that_does_not_come_waits_for(
    server: FakeApiServer, minipod: Minipod
) -> None:
    def waits(fake: FakeApiServer, _what: str, made: dict[str, object]) -> None:
        state = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
        status = {"phase": "Pending", "containerStatuses": [{"name": "once", "state": state}]}
        fake.put("pods", {**made, "status": status})

    server.on_write = waits
    flags = ("--image=nosuch", "--attach", "--pod-running-timeout=100ms")
    assert minipod("run", "once", *flags).err == (
        'error: timed out waiting for pod/once: container "once": ErrImagePull: no such image\n'
    )


def test_debug_says_what_its_container_waits_for_and_why_it_was_not_started(
    server: FakeApiServer, minipod: Minipod
) -> None:
    server.put("pods", pod())

    def becomes(**state: object) -> None:
        made = server.objects["pods", "default", "nginx"]
        status = {**made["status"], "ephemeralContainerStatuses": [{"name": "d", "state": state}]}
        server.put("pods", {**made, "status": status})

    missing = {"reason": "ErrImagePull", "message": "no such image"}
    becomes(waiting=missing)
    ended = {"exitCode": 128, "reason": "StartError", "message": "no such file"}
    for seconds, state in ((0.2, {"waiting": missing}), (0.4, {"terminated": ended})):
        threading.Timer(seconds, becomes, kwargs=state).start()
    result = minipod("debug", "nginx", "--image=busybox", "--attach", "-c", "d", "--", "/no")
    assert result.err == (
        'Warning: container d: no such image\nerror: container "d" was not started: no such file\n'
    )
    assert result.code == 1


IMPOSSIBLE = (403, "Forbidden"), (400, "BadRequest"), (503, "ServiceUnavailable")


@pytest.mark.parametrize(("code", "reason"), IMPOSSIBLE)
def test_run_waits_for_nothing_when_attaching_is_not_to_be_had(
    server: FakeApiServer, minipod: Minipod, code: int, reason: str
) -> None:
    status = {
        "kind": "Status",
        "status": "Failure",
        "reason": reason,
        "message": "no",
        "code": code,
    }
    path = "/api/v1/namespaces/default/pods/once/attach"
    server.on_write, server.answers = running, {path: (code, json.dumps(status).encode())}
    result = minipod("run", "once", "--image=busybox", "-i", "--restart=Never")
    assert (result.code, result.err) == (1, f"Error from server ({reason}): no\n")
    assert server.requests[-1].path == path


def test_run_waits_no_longer_for_a_pod_that_is_gone(
    server: FakeApiServer, minipod: Minipod
) -> None:
    def gone(stream: ExecStream) -> None:
        server.remove("pods", "default", "once")
        stream.finish(status="Failure", message='container "once" does not run')

    server.on_write, server.on_exec = running, gone
    began = time.monotonic()
    result = minipod("run", "once", "--image=busybox", "-i", "--restart=Never")
    assert (result.code, result.err) == (1, 'error: container "once" does not run\n')
    assert time.monotonic() - began < ENDED_SECONDS


def test_run_attaches_to_the_container_that_follows_one_that_has_ended(
    server: FakeApiServer, minipod: Minipod
) -> None:
    answers = ["refused", "refused", "attached"]

    def attached(stream: ExecStream) -> None:
        if (answer := answers.pop(0)) == "attached":
            say((1, b"hi\n"))(stream)
            return
        if len(answers) == 1:  # what is tried is what the Pod's status has
            threading.Timer(0.2, restarted, (server, "two")).start()
        else:
            restarted(server, "one")
        stream.finish(status="Failure", message=f"{answer}: does not run")

    server.on_write, server.on_exec = running, attached
    result = minipod("run", "once", "--image=busybox", "-i")
    assert (result.code, result.out, answers) == (0, "hi\n", [])


def restarted(server: FakeApiServer, identity: str) -> None:
    status = {"name": "once", "containerID": identity, "state": {"running": {}}}
    made = server.objects["pods", "default", "once"]
    server.put("pods", {**made, "status": {"phase": "Running", "containerStatuses": [status]}})


def test_run_without_input_follows_the_log_from_its_first_line(
    server: FakeApiServer, minipod: Minipod
) -> None:
    def ran(fake: FakeApiServer, what: str, made: dict[str, object]) -> None:
        running(fake, what, made)
        finished(fake, 0)

    server.on_write, server.logs = ran, {"": b"first\nlast\n"}
    result = minipod("run", "once", "--image=busybox", "--attach", "--restart=Never")
    assert (result.code, result.out) == (0, "first\nlast\n")
    assert server.requests[-2].query["follow"] == ["true"]
    assert ("pods", "default", "once") in server.objects


def test_run_only_prints_what_it_would_make(server: FakeApiServer, minipod: Minipod) -> None:
    out = minipod("run", "nginx", "--image=nginx", "--dry-run=client", "-o", "yaml").out
    assert "  - image: nginx\n    name: nginx\n" in out
    assert not server.requests
    assert minipod("run", "x").err == 'error: required flag(s) "image" not set\n'
    assert "--rm should only be used for attached" in minipod("run", "x", "--image=y", "--rm").err
