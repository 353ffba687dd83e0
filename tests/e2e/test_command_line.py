"""The command line against a real daemon: streams, terminals, one-off Pods, and minipod's own views."""

import json
import os
import pty
import select
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import IDLE, container, pod


@pytest.fixture(scope="module")
def idle(shared: Instance) -> Iterator[Instance]:
    """The shared daemon with a Pod `idle` of two containers; `shell` has a terminal."""
    terminal = {"name": "shell", "image": "busybox", "stdin": True, "tty": True, "command": ["sh"]}
    shared.apply(
        pod("idle", container("main", f"echo one; echo two; {IDLE}"), terminal),
        options=("--until-ready",),
    )
    yield shared
    shared.run("delete", "pod", "idle", "--now", "--ignore-not-found")


def test_exec_passes_streams_and_exit_code(idle: Instance) -> None:
    done = idle.run(
        "exec", "-i", "idle", "--", "sh", "-c", "cat; echo err >&2; exit 7", input="in", check=False
    )
    assert (done.returncode, done.stdout) == (7, "in")
    assert done.stderr.splitlines()[-2:] == ["err", "command terminated with exit code 7"]


def test_exec_carries_much_in_both_directions(idle: Instance) -> None:
    text = "0123456789abcdef" * 131072  # 2 MiB
    assert idle.out("exec", "-i", "idle", "-c", "main", "--", "cat", input=text) == text


def test_exec_of_what_is_not_there(idle: Instance) -> None:
    done = idle.run("exec", "idle", "-c", "main", "--", "no-such-program", check=False)
    assert done.returncode != 0
    assert "no-such-program" in done.stderr


class Terminal:
    """`minipod ARGUMENTS` on a pseudo-terminal."""

    def __init__(self, instance: Instance, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        environment = {**instance.environment, "TERM": "xterm"}
        self.process = subprocess.Popen(
            ["minipod", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, text: str) -> None:
        def arrived() -> bool:
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)
            return text.encode() in self.seen

        wait_until(arrived, f"{text!r} on the terminal; seen: {self.seen!r}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def test_a_terminal_in_a_container(idle: Instance) -> None:
    terminal = Terminal(idle, "exec", "-it", "idle", "-c", "main", "--", "sh")
    try:
        terminal.type("tty; stty size; echo a$((1+1))b\r")
        terminal.wait_for("/dev/pts/")
        terminal.wait_for("a2b")
        terminal.type("exit 9\r")
        assert terminal.process.wait(timeout=10) == 9
    finally:
        terminal.close()


def test_attach_to_the_shell_of_a_container(idle: Instance) -> None:
    terminal = Terminal(idle, "attach", "-it", "idle", "-c", "shell")
    try:
        terminal.type("echo c$((2+2))d\r")
        terminal.wait_for("c4d")
    finally:
        terminal.close()


def test_a_followed_log_ends_with_its_container(shared: Instance) -> None:
    shared.apply(
        pod("counts", "for i in 1 2 3; do echo $i; sleep 0.1; done", restartPolicy="Never")
    )
    shared.run("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/counts", "--timeout=20s")
    assert shared.out("logs", "-f", "counts", timeout=20) == "1\n2\n3\n"
    assert shared.out("logs", "counts", "--tail=1") == "3\n"
    assert shared.out("logs", "counts", "--timestamps", "--tail=1").endswith("Z 3\n")
    shared.run("delete", "pod", "counts")


def test_run_like_a_local_command(shared: Instance) -> None:
    arguments = ("--image=busybox", "--restart=Never", "--rm", "-q")
    done = shared.run(
        "run", "once", *arguments, "--attach", "--", "sh", "-c", "echo out; exit 3", check=False
    )
    assert (done.returncode, done.stdout) == (3, "out\n")
    script = ("sh", "-c", "echo early; cat")
    done = shared.run(
        *("run", "piped", *arguments, "-i", "--", *script), input="through\n", check=False
    )
    assert (done.returncode, done.stdout) == (0, "early\nthrough\n")
    assert shared.get("pods", "-l", "run in (once, piped)")["items"] == []


def test_a_watch_shows_a_pod_come_and_go(shared: Instance) -> None:
    watch = subprocess.Popen(
        [
            "minipod",
            "get",
            "pods",
            "-w",
            "--field-selector=metadata.name=seen",
            "--output-watch-events",
        ],
        env=shared.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(watch.stdout.readline, "")))  # type: ignore[union-attr]
    reader.start()
    try:
        shared.apply(pod("seen"), options=("--until-ready",))
        shared.run("delete", "pod", "seen", "--now")
        wait_until(
            lambda: any(line.startswith("DELETED") for line in lines), f"the deletion in {lines}"
        )
    finally:
        watch.terminate()
        watch.wait()
        reader.join()
        watch.stdout.close()
    assert any(line.startswith("ADDED") for line in lines)
    assert any("Running" in line for line in lines)


def test_apply_changes_only_what_differs(shared: Instance) -> None:
    made = pod("changed")
    shared.apply(made, options=("--until-ready",))
    text = shared.out("apply", "-f", "-", input=json.dumps(made))
    assert text == "pod/changed unchanged\n"
    made["metadata"]["labels"] = {"a": "b"}
    text = shared.out("apply", "-f", "-", input=json.dumps(made))
    assert text == "pod/changed configured\n"
    del made["metadata"]["labels"]
    shared.apply(made)
    assert "labels" not in shared.get("pod", "changed")["metadata"]
    shared.run("delete", "pod", "changed", "--now")


def test_what_minipod_shows_of_its_own(idle: Instance) -> None:
    trace = idle.out("trace", "pod/idle")
    assert trace.splitlines()[0].split() == ["MICROSECONDS", "WHERE", "OPERATION"]
    assert "pivot root" in trace
    assert "total of" in trace.splitlines()[-1]
    inspected = idle.out("inspect", "pod/idle")
    assert "Container main:" in inspected
    assert "the Pod's" in inspected
    assert idle.out("plan", "pod/idle").startswith("#!/bin/sh\n")
    status = idle.out("status")
    assert "daemon    up, process" in status
    assert "(Ready)" in status


def test_up_and_down_say_what_they_find(fresh: Instance) -> None:
    assert fresh.out("up").startswith("minipod is up already (process ")
    fresh.apply(pod("stays"), options=("--until-ready",))
    assert "Pods keep running" in fresh.out("down")
    assert fresh.out("down") == "minipod is not up\n"
    refused = fresh.run("get", "pods", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "was refused - is minipod up? try: sudo minipod" in refused.stderr
    text = fresh.out("down", "--pods")  # brings the daemon up to end its Pods properly
    assert 'pod "stays" deleted from default namespace' in text
    assert "the parent of all containers has ended" in text
    assert fresh.run("status", check=False).returncode == 1
