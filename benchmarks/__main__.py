"""`python -m benchmarks`: minipod beside podman and crun, in one run, as a table of medians and ratios.

Needs root. Runs in a network and mount namespace of its own, so that nothing of the host's is touched; peers that
are missing are installed with apt (`--no-install` leaves them out). It never fails on a number.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.clock import Row, now_ms, repeat, table
from benchmarks.minipod_side import Minipod, cpu_seconds, pod, pss_kb
from benchmarks.peers import Peers, available

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

        row = Row(name, "ms", repeat(self.count, ours, f"{name}, minipod"), target=target)
        if "podman" in available():
            path = str(self.podman_pod(manifest))

            def theirs(_: int) -> float:
                took = self.until_first_instruction(
                    lambda: self.peers.podman("kube", "play", "--network=podman", path)
                )
                self.peers.podman("pod", "rm", "-f", "-t", "0", "bench")
                return took

            row.peer, row.peer_name = (
                repeat(max(self.count // 3, 3), theirs, f"{name}, podman"),
                "podman",
            )
        self.rows.append(row)

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

        row = Row("apply --until-ready", "ms", repeat(self.count, ours, "apply"), target=0.67)
        if "podman" in available():
            other = str(self.podman_pod(manifest))

            def theirs(_: int) -> float:
                return timed(
                    lambda: self.peers.podman("kube", "play", "--network=podman", other),
                    lambda: self.peers.podman("pod", "rm", "-f", "-t", "0", "typed"),
                )

            row.peer, row.peer_name = repeat(max(self.count // 3, 3), theirs, "kube play"), "podman"
        self.rows.append(row)

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

        row = Row("exec true, as typed", "ms", repeat(self.count, ours, "exec"), target=1.0)
        if "podman" in available():
            path = str(self.podman_pod(pod("exec", READY, volume=self.work)))
            self.until_first_instruction(
                lambda: self.peers.podman("kube", "play", "--network=podman", path)
            )

            def theirs(_: int) -> float:
                begun = now_ms()
                self.peers.podman("exec", "exec-c0", "/bin/true")
                return now_ms() - begun

            row.peer, row.peer_name = repeat(self.count, theirs, "podman exec"), "podman"
            self.peers.podman("pod", "rm", "-f", "-t", "0", "exec")
        self.minipod.run("delete", "pod", "exec", "--now")
        self.rows.append(row)

    def many(self) -> None:
        """Measure 50 Pods at once, memory and idle cost with 100."""
        names = {f"many-{n}" for n in range(50)}
        since = self.minipod.version()
        begun = now_ms()
        for name in sorted(names):
            self.minipod.create(pod(name, "exec sleep 100000"))
        self.minipod.wait_running(names, since)
        self.rows.append(Row("50 Pods at once, all Running", "ms", [now_ms() - begun], target=1500))
        more = {f"many-{n}" for n in range(50, 100)}
        for name in sorted(more):
            self.minipod.create(pod(name, "exec sleep 100000"))
        self.minipod.wait_running(more, since)
        daemon, shim = self.minipod.pids()
        both = pss_kb(daemon) + pss_kb(shim)
        self.rows.append(
            Row("memory of daemon and shim, 100 Pods", "kB PSS", [both], target=100_000)
        )
        pauses = [pid for pid in _children(shim) if _command(pid) == "/pause"]
        if pauses:
            own = [float(pss_kb(pid)) for pid in pauses]
            self.rows.append(Row("memory of a Pod beyond its programs", "kB PSS", own, target=200))
        time.sleep(2)  # let the last writes settle: what is measured is quiet
        before = cpu_seconds(daemon) + cpu_seconds(shim)
        time.sleep(10)
        used = (cpu_seconds(daemon) + cpu_seconds(shim) - before) / 10 * 100
        self.rows.append(Row("100 idle Pods", "% of a core", [used], target=0.5))
        since = self.minipod.version()
        for name in sorted(names | more):
            self.minipod.delete(name, 0)
        self.minipod.wait_gone(names | more, since)

    def crun(self) -> None:
        """Measure the floor: crun alone, a container from a prepared bundle."""
        if "crun" not in available():
            return
        mounts: list[dict[str, object]] = [
            {
                "destination": "/bench",
                "type": "bind",
                "source": str(self.work),
                "options": ["rbind"],
            }
        ]
        bundle = str(self.peers.crun_bundle(self.rootfs, ["/bin/sh", "-c", READY], mounts))

        def run(_: int) -> float:
            took = self.until_first_instruction(
                lambda: self.peers.run(
                    "crun", "run", "-d", "--bundle", bundle, "bench", quiet=False
                )
            )
            self.peers.run("crun", "delete", "-f", "bench")
            return took

        self.rows.append(
            Row("(peer) crun run -d, to first instruction", "ms", repeat(self.count, run, "crun"))
        )
        self._crun_exec(bundle)

    def _crun_exec(self, bundle: str) -> None:
        """Measure `exec true` in a container of crun's that runs."""
        self.until_first_instruction(
            lambda: self.peers.run("crun", "run", "-d", "--bundle", bundle, "bench", quiet=False)
        )

        def run(_: int) -> float:
            begun = now_ms()
            self.peers.run("crun", "exec", "bench", "/bin/true").check_returncode()
            return now_ms() - begun

        row = Row("(peer) crun exec true", "ms", repeat(self.count, run, "crun exec"))
        self.peers.run("crun", "delete", "-f", "bench")
        self.rows.append(row)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()


def _enter_own_namespaces() -> None:
    """Run again inside network and mount namespaces made for this run."""
    if os.environ.get("MINIPOD_BENCHMARK_NAMESPACES"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ["MINIPOD_BENCHMARK_NAMESPACES"] = "1"
    again = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "slave", *again])


def main() -> None:
    """Measure everything, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="repetitions of each measurement")
    parser.add_argument("--only", action="append", help="pods, apply, delete, exec, many, crun")
    parser.add_argument("--no-install", action="store_true", help="do not install missing peers")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("benchmarks: must run as root")
    if set(available()) != {"podman", "crun"} and not options.no_install:
        subprocess.run(["apt-get", "install", "-qq", "-y", "podman", "crun"], check=True)
    _enter_own_namespaces()
    bench = Bench(options.count)
    parts: dict[str, Callable[[], None]] = {
        "pods": bench.pods,
        "crun": bench.crun,
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
