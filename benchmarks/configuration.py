"""`python -m benchmarks.configuration`: a ConfigMap that many Pods mount is changed. When has the last one the change?

The files of every Pod are looked at on the host, over and over: the time from the PUT until each `..data` leads to the
new version. Meanwhile readers in a few Pods spin on two files of one version and count what does not fit together.
Needs root; runs in a network and mount namespace of its own.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

from benchmarks.clock import Row, now_ms, table
from benchmarks.minipod_side import Minipod, cpu_seconds, pod
from benchmarks.namespaces import enter_own_namespaces

MAPS = "/api/v1/namespaces/default/configmaps"
# Both files are read through one directory: what `..data` led to when it was entered.
SPIN = """
n=0; torn=0
while [ ! -e /config/stop ]; do
  cd -P /config/..data && read a < a && read b < b || continue  # the version went meanwhile: look again
  n=$((n+1)); [ "$a" = "$b" ] || torn=$((torn+1))
done 2>/dev/null
cd /
echo "$n $torn"
exec sleep 100000
"""


def mounting(name: str, command: str) -> dict[str, object]:
    """Return a Pod that mounts the ConfigMap `shared`."""
    made = pod(name, command)
    made["spec"]["automountServiceAccountToken"] = False
    made["spec"]["volumes"] = [{"name": "config", "configMap": {"name": "shared"}}]
    mount = {"name": "config", "mountPath": "/config"}
    made["spec"]["containers"][0]["volumeMounts"] = [mount]
    return made


def change(minipod: Minipod, version: str, stop: bool = False) -> None:
    """Give both files of the ConfigMap a new content."""
    data = {"a": f"{version}\n", "b": f"{version}\n", **({"stop": "1"} if stop else {})}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": data}
    minipod.api.call("PUT", f"{MAPS}/shared", body)


def places(minipod: Minipod) -> list[Path]:
    """Return the volume's directory of each Pod, on the host."""
    return sorted(minipod.layout.pods.glob("*/volumes/kubernetes.io~configmap/config"))


def swapped(found: list[Path], version: str) -> list[float]:
    """Return when (milliseconds) each Pod's file was seen in its new version."""
    waiting, times = dict.fromkeys(found), []
    while waiting:
        for each in list(waiting):
            if _read(each / "a") == version:
                del waiting[each]
                times.append(now_ms())
        time.sleep(0.001)
    return times


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:  # between two versions of the directory that the path led through
        return ""


def measure(minipod: Minipod, pods: int, readers: int, changes: int) -> list[Row]:
    """Run the Pods and change what they mount."""
    body = {"metadata": {"name": "shared"}, "data": {"a": "v\n", "b": "v\n"}}
    minipod.api.call("POST", MAPS, body)
    names = [f"mounts-{number}" for number in range(pods)]
    since = minipod.version()
    for number, name in enumerate(names):
        minipod.create(mounting(name, SPIN if number < readers else "exec sleep 100000"))
    minipod.wait_running(set(names), since)
    found = places(minipod)
    first, last = list[float](), list[float]()
    daemon, _ = minipod.pids()
    before = cpu_seconds(daemon)
    for number in range(changes):
        begun, version = now_ms(), f"version-{number}"
        change(minipod, version)
        times = swapped(found, version)
        first.append(min(times) - begun)
        last.append(max(times) - begun)
        time.sleep(0.2)
    used = cpu_seconds(daemon) - before
    looked, torn = counted(minipod, names[:readers])
    return [
        Row(f"first of {len(found)} Pods has the change", "ms", first),
        Row(f"last of {len(found)} Pods has the change", "ms", last, target=2000),
        Row(
            "daemon's processor time, per change and Pod",
            "ms",
            [1000 * used / changes / len(found)],
        ),
        Row("looks of spinning readers", "", [looked]),
        Row("of those torn", "", [torn]),
    ]


def counted(minipod: Minipod, names: list[str]) -> tuple[float, float]:
    """Have the readers stop, and return how often they looked, and how often what they saw was torn."""
    change(minipod, "the end", stop=True)
    looked, torn, waiting = 0, 0, set(names)
    while waiting:
        for name in list(waiting):
            said = minipod.run("logs", name).split()
            if len(said) == 2:
                waiting.remove(name)
                looked, torn = looked + int(said[0]), torn + int(said[1])
        time.sleep(0.1)
    return float(looked), float(torn)


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.configuration", description=__doc__)
    parser.add_argument("--pods", type=int, default=100)
    parser.add_argument("--readers", type=int, default=4, help="Pods among them that spin")
    parser.add_argument("--changes", type=int, default=10)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("benchmarks: must run as root")
    enter_own_namespaces("benchmarks.configuration")
    minipod = Minipod()
    try:
        rows = measure(minipod, options.pods, options.readers, options.changes)
    finally:
        minipod.close()
    print(table(rows))
    print(f"median of the last: {statistics.median(rows[1].minipod):.0f} ms", file=sys.stderr)


if __name__ == "__main__":
    main()
