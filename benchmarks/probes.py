"""`python -m benchmarks.probes`: many Pods, each with an exec probe every second. How late, and at what cost?

Each probe notes the time of its own first instruction (/proc/uptime: hundredths of a second). A Pod's earliest phase
is taken for its timetable; how far behind it each run began is its lateness. Beside it stands what one `podman exec`
takes. Needs root; runs in a network and mount namespace of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.clock import Row, now_ms, repeat, table
from benchmarks.minipod_side import Minipod, cpu_seconds, pod
from benchmarks.namespaces import enter_own_namespaces
from benchmarks.peers import Peers, available

NOTE = "read now rest < /proc/uptime; echo $now >> /bench/$HOSTNAME"
PODMAN_IMAGE = "localhost/bench:1"


def probed(name: str, volume: Path) -> dict[str, object]:
    """Return a Pod whose one probe notes when it runs, every second."""
    made = pod(name, "exec sleep 100000", volume=volume)
    probe = {"exec": {"command": ["/bin/sh", "-c", NOTE]}, "periodSeconds": 1, "timeoutSeconds": 5}
    made["spec"]["containers"][0]["readinessProbe"] = probe
    return made


def lateness(times: list[float], begin: float) -> list[float]:
    """Return by how many milliseconds each run after `begin` began behind the Pod's own timetable."""
    phase = min(moment - number for number, moment in enumerate(_numbered(times)) if moment)
    return [
        (moment - number - phase) * 1000
        for number, moment in enumerate(_numbered(times))
        if moment and moment >= begin
    ]


def _numbered(times: list[float]) -> list[float]:
    """Return the runs by the second they belong to; 0 where one is missing."""
    first = times[0]
    slots = [0.0] * (round(times[-1] - first) + 1)
    for moment in times:
        slots[round(moment - first)] = moment
    return slots


def measure(minipod: Minipod, directory: Path, pods: int, seconds: float) -> list[Row]:
    """Run the Pods, let them settle, and look for `seconds`."""
    names = {f"probed-{number}" for number in range(pods)}
    since = minipod.version()
    for name in sorted(names):
        minipod.create(probed(name, directory))
    minipod.wait_running(names, since)
    time.sleep(5)  # the start's own load is over
    daemon, shim = minipod.pids()
    before, begin = (cpu_seconds(daemon), cpu_seconds(shim)), _uptime()
    time.sleep(seconds)
    used = cpu_seconds(daemon) - before[0], cpu_seconds(shim) - before[1]
    behind: list[float] = []
    for name in sorted(names):
        times = [float(line) for line in (directory / name).read_text().split()]
        behind += lateness(times, begin)
    expected, each = pods * seconds, 1000 / (pods * seconds)
    behind.sort()
    return [
        Row("probes begun, of those due", "%", [100 * len(behind) / expected]),
        Row("lateness, median", "ms", [statistics.median(behind)]),
        Row("lateness, 99th percentile", "ms", [behind[int(len(behind) * 0.99)]], target=250),
        Row("daemon and shim, per probe", "ms", [sum(used) * each], target=5),
        Row("of that the shim", "ms", [used[1] * each]),
        Row("daemon and shim", "% of a core", [sum(used) / seconds * 100], target=100),
    ]


def podman_exec(directory: Path, count: int) -> Row:
    """Measure the latency of `podman exec` of the same command."""
    peers = Peers(directory / "peers")
    rootfs = directory / "rootfs"
    for each in ("bin", "proc", "sys", "dev", "bench", "etc"):
        (rootfs / each).mkdir(parents=True)
    subprocess.run(["cp", "/bin/busybox", rootfs / "bin/busybox"], check=True)
    for applet in ("sh", "sleep"):
        (rootfs / "bin" / applet).symlink_to("busybox")
    peers.import_image(PODMAN_IMAGE, rootfs)
    volume = f"{directory}:/bench"
    peers.podman("run", "-d", "--name", "peer", "-v", volume, PODMAN_IMAGE, "/bin/sleep", "100000")

    def run(_: int) -> float:
        begun = now_ms()
        peers.podman("exec", "peer", "/bin/sh", "-c", NOTE).check_returncode()
        return now_ms() - begun

    row = Row("(peer) podman exec of the same", "ms", repeat(count, run, "podman exec"))
    peers.podman("rm", "-f", "-t", "0", "peer")
    peers.podman("system", "reset", "--force")
    peers.close()
    return row


def _uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probes", description=__doc__)
    parser.add_argument("--pods", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--count", type=int, default=20, help="repetitions of podman exec")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("benchmarks: must run as root")
    enter_own_namespaces("benchmarks.probes")
    directory = Path(tempfile.mkdtemp(prefix="probes", dir="/tmp"))
    minipod = Minipod()
    try:
        rows = measure(minipod, directory, options.pods, options.seconds)
    finally:
        minipod.close()
    if "podman" in available():
        rows.append(podman_exec(directory, options.count))
    subprocess.run(["rm", "-rf", str(directory)], check=True)
    print(table(rows))


if __name__ == "__main__":
    main()
