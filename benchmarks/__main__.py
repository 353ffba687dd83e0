"""`python -m benchmarks`: minipod beside podman and crun, in one run, as a table of medians and ratios.

Needs root. Runs in a network and mount namespace of its own, so that nothing of the host's is touched; peers that
are missing are installed with apt (`--no-install` leaves them out). It never fails on a number.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.clock import Row, beside, now_ms, repeat, table
from benchmarks.containers import Containers
from benchmarks.minipod_side import Minipod, cpu_seconds, pod, pss_kb
from benchmarks.namespaces import enter_own_namespaces
from benchmarks.peers import Peers, available
from minipod.linux import cgroup

READY = "trap 'exit 0' TERM; echo > /bench/fifo; while :; do sleep 1000 & wait; done"
PODMAN_IMAGE = "localhost/bench:1"


class Bench:
    """All measurements, over one minipod and the peers that are installed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.work = Path(tempfile.mkdtemp(prefix="bench", dir="/tmp"))
        self.fifo = self.work / "fifo"
        os.mkfifo(self.fifo)
        self.minipod = Minipod()
        self.peers = Peers(self.work / "peers")
        self.rootfs = self._busybox()
        if "podman" in available():
            self.peers.import_image(PODMAN_IMAGE, self.rootfs)
        self.rows: list[Row] = []

    def close(self) -> None:
        """Take down what was made."""
        self.minipod.close()
        self.peers.podman("system", "reset", "--force")
        self.peers.close()
        shutil.rmtree(self.work, ignore_errors=True)

    def _busybox(self) -> Path:
        rootfs = self.work / "rootfs"
        for directory in ("bin", "proc", "sys", "dev", "bench", "etc"):
            (rootfs / directory).mkdir(parents=True)
        shutil.copy("/bin/busybox", rootfs / "bin" / "busybox")
        for applet in ("sh", "sleep", "true", "cp"):
            (rootfs / "bin" / applet).symlink_to("busybox")
        return rootfs

    def until_first_instruction(self, start: Callable[[], object], writers: int = 1) -> float:
        """Return the milliseconds from `start()`'s begin until `writers` programs have run."""
        arrivals: list[float] = []

        def read() -> None:
            for _ in range(writers):
                with self.fifo.open() as reader:
                    reader.readline()
                arrivals.append(now_ms())

        reader = threading.Thread(target=read)
        reader.start()
        begun = now_ms()
        start()
        reader.join(timeout=60)
        return arrivals[-1] - begun

    def podman_pod(self, manifest: dict[str, object]) -> Path:
        """Write a Pod for podman: the same, with its own image's name."""
        import json

        path = self.work / "pod.json"
        path.write_text(json.dumps(manifest).replace('"busybox"', f'"{PODMAN_IMAGE}"'))
        return path

    def pod_start(self, name: str, target: float, *commands: str, init: str = "") -> None:
        """Measure a Pod from request to its last program's first instruction, here and in podman."""
        manifest = pod("bench", *commands, init=init, volume=self.work)

        def ours(_: int) -> float:
            took = self.until_first_instruction(lambda: self.minipod.create(manifest))
            since = self.minipod.version()
            self.minipod.delete("bench", 1)
            if self._exists("bench"):
                self.minipod.wait_gone({"bench"}, since)
            return took

        path = str(self.podman_pod(manifest))

        def theirs(_: int) -> float:
            took = self.until_first_instruction(
                lambda: self.peers.podman("kube", "play", "--network=podman", path)
            )
            self.peers.podman("pod", "rm", "-f", "-t", "0", "bench")
            return took

        peer = theirs if "podman" in available() else None
        mine, others = beside(self.count, ours, peer, name)
        self.rows.append(Row(name, "ms", mine, others, "podman", target))

    def pods(self) -> None:
        """Measure the start of Pods of one, two, and one after another container."""
        self.pod_start("Pod, one container", 0.1, READY)
        self.pod_start("Pod, two containers", 0.1, "exec sleep 10000", READY)
        self.pod_start("Pod, init then main", 0.067, READY, init="true")

    def _exists(self, name: str) -> bool:
        listed = self.minipod.api.call("GET", "/api/v1/namespaces/default/pods")
        return any(item["metadata"]["name"] == name for item in listed["items"])

    def apply_command(self) -> None:
        """Measure what a person types, both with their interpreters' or binaries' start."""
        import json

        manifest = pod("typed", READY, volume=self.work)
        path = self.work / "typed.json"
        path.write_text(json.dumps(manifest))

        def timed(run: Callable[[], object], clean: Callable[[], object]) -> float:
            reader = threading.Thread(target=lambda: self.fifo.open().readline())
            reader.start()
            begun = now_ms()
            run()
            took = now_ms() - begun
            reader.join()
            clean()
            return took

        def ours(_: int) -> float:
            return timed(
                lambda: self.minipod.run("apply", "-f", str(path), "--until-ready"),
                lambda: self.minipod.run("delete", "pod", "typed", "--now"),
            )

        other = str(self.podman_pod(manifest))

        def theirs(_: int) -> float:
            return timed(
                lambda: self.peers.podman("kube", "play", "--network=podman", other),
                lambda: self.peers.podman("pod", "rm", "-f", "-t", "0", "typed"),
            )

        peer = theirs if "podman" in available() else None
        mine, others = beside(self.count, ours, peer, "apply --until-ready")
        self.rows.append(Row("apply --until-ready", "ms", mine, others, "podman", 0.67))

    def deletion(self) -> None:
        """Measure the deletion of a Pod whose program heeds SIGTERM."""

        def ours(_: int) -> float:
            self.until_first_instruction(
                lambda: self.minipod.create(pod("gone", READY, volume=self.work))
            )
            since = self.minipod.version()
            begun = now_ms()
            self.minipod.delete("gone")
            self.minipod.wait_gone({"gone"}, since)
            return now_ms() - begun

        row = Row(
            "delete, program heeds SIGTERM", "ms", repeat(self.count, ours, "delete"), target=0.03
        )
        if "podman" in available():
            path = str(self.podman_pod(pod("gone", READY, volume=self.work)))

            def theirs(_: int) -> float:
                self.until_first_instruction(
                    lambda: self.peers.podman("kube", "play", "--network=podman", path)
                )
                begun = now_ms()
                self.peers.podman("kube", "down", path)
                return now_ms() - begun

            row.peer, row.peer_name = repeat(3, theirs, "kube down"), "podman"
        self.rows.append(row)

    def exec_true(self) -> None:
        """Measure `exec true` in a running container."""
        self.until_first_instruction(
            lambda: self.minipod.create(pod("exec", READY, volume=self.work))
        )
        self.minipod.wait_running({"exec"}, "0")
        command = ["exec", "exec", "--", "/bin/true"]

        def ours(_: int) -> float:
            begun = now_ms()
            self.minipod.run(*command)
            return now_ms() - begun

        def connected(_: int) -> float:
            begun = now_ms()
            self.minipod.exec("exec", "/bin/true")
            return now_ms() - begun

        def theirs(_: int) -> float:
            begun = now_ms()
            self.peers.podman("exec", "exec-c0", "/bin/true")
            return now_ms() - begun

        peer = theirs if "podman" in available() else None
        if peer:
            path = str(self.podman_pod(pod("exec", READY, volume=self.work)))
            self.until_first_instruction(
                lambda: self.peers.podman("kube", "play", "--network=podman", path)
            )
        typed, others = beside(self.count, ours, peer, "exec true, as typed")
        mine, more = beside(self.count, connected, peer, "exec true")
        if peer:
            self.peers.podman("pod", "rm", "-f", "-t", "0", "exec")
        self.rows.append(Row("exec true, as typed", "ms", typed, others, "podman"))
        self.rows.append(Row("exec true", "ms", mine, more, "podman", 0.1))
        if "crun" in available():
            mine, others = self._beside_crun_exec(connected)
            self.rows.append(Row("exec true", "ms", mine, others, "crun exec", crun_exec_target()))
        self.minipod.run("delete", "pod", "exec", "--now")

    def many(self) -> None:
        """Measure 50 Pods at once, memory and idle cost with 100, a start beside 300 others."""
        daemon, shim = self.minipod.pids()
        self._one_start("warm")  # what every daemon has once it has made a Pod is not this Pod's
        empty = pss_kb(daemon) + pss_kb(shim)
        third = [self._one_start(f"early-{n}") for n in range(self.count)]
        since = self.minipod.version()
        begun = now_ms()
        self._ask_for(0, 50)
        self.minipod.wait_running({f"many-{n}" for n in range(50)}, since)
        self.rows.append(Row("50 Pods at once, all Running", "ms", [now_ms() - begun], target=1500))
        self._fill(50, 100)
        self._measure_hundred(daemon, shim, empty)
        self._fill(100, 300)
        last = [self._one_start(f"late-{n}") for n in range(self.count)]
        self.rows.append(Row("start beside 300 Pods", "ms", last, third, "beside none", 1.3))
        since, names = self.minipod.version(), {f"many-{n}" for n in range(300)}
        for name in sorted(names):
            self.minipod.delete(name, 0)
        self.minipod.wait_gone(names, since)

    def _ask_for(self, first: int, last: int) -> None:
        for number in range(first, last):
            self.minipod.create(pod(f"many-{number}", "exec sleep 100000"))

    def _fill(self, first: int, last: int) -> None:
        since = self.minipod.version()
        self._ask_for(first, last)
        self.minipod.wait_running({f"many-{n}" for n in range(first, last)}, since)

    def _one_start(self, name: str) -> float:
        """Return how long a Pod takes to its first instruction; it is removed again."""
        took = self.until_first_instruction(
            lambda: self.minipod.create(pod(name, READY, volume=self.work))
        )
        since = self.minipod.version()
        self.minipod.delete(name, 0)
        if self._exists(name):
            self.minipod.wait_gone({name}, since)
        return took

    def _measure_hundred(self, daemon: int, shim: int, empty: int) -> None:
        time.sleep(2)  # let the last writes settle: what is measured is quiet
        both = pss_kb(daemon) + pss_kb(shim)
        self.rows.append(
            Row("memory of daemon and shim, 100 Pods", "kB PSS", [both], target=100_000)
        )
        pauses = [pid for pid in _children(shim) if _command(pid) == "/pause"]
        own = [pss_kb(pid) + (both - empty) / 100 for pid in pauses]
        self.rows.append(Row("memory of a Pod beyond its programs", "kB PSS", own, target=200))
        before = cpu_seconds(daemon) + cpu_seconds(shim)
        time.sleep(10)
        used = (cpu_seconds(daemon) + cpu_seconds(shim) - before) / 10 * 100
        self.rows.append(Row("100 idle Pods", "% of a core", [used], target=0.5))

    def containers(self) -> None:
        """Measure one more container in a sandbox that runs, beside crun, which makes no network either."""
        runtime = Containers(self.rootfs, self.work)

        def ours(_: int) -> float:
            took = self.until_first_instruction(lambda: runtime.start(["/bin/sh", "-c", READY]))
            runtime.remove()
            return took

        try:
            mine, others = beside(self.count, ours, self._crun_run(), "one more container", every=1)
        finally:
            runtime.close()
        self.rows.append(
            Row("one more container in a sandbox", "ms", mine, others, "crun run -d", 1.0)
        )

    def _bundle(self) -> str:
        mounts: list[dict[str, object]] = [
            {
                "destination": "/bench",
                "type": "bind",
                "source": str(self.work),
                "options": ["rbind"],
            }
        ]
        return str(self.peers.crun_bundle(self.rootfs, ["/bin/sh", "-c", READY], mounts))

    def _crun_run(self) -> Callable[[int], float] | None:
        if "crun" not in available():
            return None
        command = ("crun", "run", "-d", "--bundle", self._bundle(), "bench")

        def run(_: int) -> float:
            took = self.until_first_instruction(lambda: self.peers.run(*command, quiet=False))
            self.peers.run("crun", "delete", "-f", "bench")
            return took

        return run

    def _beside_crun_exec(self, ours: Callable[[int], float]) -> tuple[list[float], list[float]]:
        command = ("crun", "run", "-d", "--bundle", self._bundle(), "bench")
        self.until_first_instruction(lambda: self.peers.run(*command, quiet=False))

        def theirs(_: int) -> float:
            begun = now_ms()
            self.peers.run("crun", "exec", "bench", "/bin/true").check_returncode()
            return now_ms() - begun

        try:
            return beside(self.count, ours, theirs, "exec true, crun", every=1)
        finally:
            self.peers.run("crun", "delete", "-f", "bench")


def crun_exec_target() -> float:
    """Return the ratio to reach: where v1 hierarchies are used, each exec has to be moved into them."""
    return 1.0 if cgroup.this_host().v1 else 0.5


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):  # who makes a process ends behind it
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    return ""


def main() -> None:
    """Measure everything, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="repetitions of each measurement")
    parser.add_argument(
        "--only", action="append", help="pods, containers, apply, delete, exec, many"
    )
    parser.add_argument("--no-install", action="store_true", help="do not install missing peers")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("benchmarks: must run as root")
    if set(available()) != {"podman", "crun"} and not options.no_install:
        subprocess.run(["apt-get", "install", "-qq", "-y", "podman", "crun"], check=True)
    enter_own_namespaces("benchmarks")
    bench = Bench(options.count)
    parts: dict[str, Callable[[], None]] = {
        "pods": bench.pods,
        "containers": bench.containers,
        "apply": bench.apply_command,
        "exec": bench.exec_true,
        "delete": bench.deletion,
        "many": bench.many,
    }
    try:
        for name, run in parts.items():
            if not options.only or name in options.only:
                run()
    finally:
        print(table(bench.rows))
        bench.close()


if __name__ == "__main__":
    main()
