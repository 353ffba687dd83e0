"""Bad days: kills of daemon, shim and host, bad input, exhausted ranges, and nothing lost or leaked."""

import contextlib
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minipod.node.faults import FAULTS
from minipod.runtime import faults as runtime_faults
from tests.e2e.beside import in_pairs, side_by_side
from tests.e2e.instance import Instance, wait_readable, wait_until
from tests.e2e.leftovers import look, wait_nothing_left
from tests.e2e.pods import (
    IDLE,
    container,
    container_pid,
    inside,
    inspect,
    pod,
    status_of,
    wait_gone,
    wait_phase,
    wait_pod,
)

COUNTING = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"


def test_a_killed_daemon_loses_no_pod_no_exit_code_and_no_log_line(fresh: Instance) -> None:
    fresh.apply(
        pod(
            "counts",
            container("c0", COUNTING),
            container("c1", "sleep 1; exit 5"),
            restartPolicy="Never",
        ),
        options=("--until-ready",),
    )
    pid = container_pid(fresh, "counts")
    fresh.kill_daemon()
    os.kill(pid, 0)
    fresh.up()
    found = wait_pod(
        fresh, "counts", lambda p: "terminated" in status_of(p, "c1")["state"], "the exit code"
    )
    assert status_of(found, "c1")["state"]["terminated"]["exitCode"] == 5
    assert status_of(found, "c0")["restartCount"] == 0
    assert container_pid(fresh, "counts") == pid
    lines = [int(line) for line in fresh.out("logs", "counts", "-c", "c0").split()]
    assert lines == list(range(1, len(lines) + 1))


def test_a_stopped_daemon_leaves_pods_running_and_starts_once(fresh: Instance) -> None:
    fresh.apply(pod("stays"), options=("--until-ready",))
    pid = container_pid(fresh, "stays")
    again = fresh.run("daemon", *fresh.options, check=False, timeout=20)
    assert again.returncode != 0
    assert "already running" in again.stderr
    assert len(again.stderr.strip().splitlines()) == 1
    fresh.down(pods=False)
    os.kill(pid, 0)
    refused = fresh.run("get", "pods", check=False)
    assert refused.returncode == 1
    assert "minipod up" in refused.stderr
    fresh.up()
    assert inside(fresh, "stays", "echo still here") == "still here"
    assert container_pid(fresh, "stays") == pid


def test_a_daemon_that_crashes_says_where(fresh: Instance) -> None:
    fresh.kill_daemon(signal.SIGSEGV)
    said = (fresh.layout.log / "daemon.log").read_text()
    assert "Fatal Python error: Segmentation fault" in said
    assert 'minipod/daemon/process.py", line ' in said
    fresh.up()


def test_a_start_that_waits_for_what_never_comes_can_be_ended(fresh: Instance) -> None:
    fresh.kill_daemon()
    shim = fresh.shim_pid()
    os.kill(shim, signal.SIGSTOP)
    command, environment = ["minipod", "daemon"], fresh.environment
    starting = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        status = Path(f"/proc/{starting.pid}/status")
        wait_until(lambda: _caught(status) >> (signal.SIGTERM - 1) & 1, "a handler of SIGTERM")
        starting.terminate()
        said = starting.communicate(timeout=10)[1]
        assert (starting.returncode, said.count("stopped while it was starting")) == (0, 1), said
    finally:
        os.kill(shim, signal.SIGCONT)
        starting.kill()
        starting.wait()
    fresh.up()


def _caught(status: Path) -> int:
    """Return the signals that a process has handlers for, a bit each (proc_pid_status(5))."""
    return int(status.read_text().partition("SigCgt:")[2].split()[0], 16)


def test_a_killed_shim_has_its_containers_restarted_by_policy(fresh: Instance) -> None:
    fresh.apply(pod("always"), pod("never", restartPolicy="Never"), options=("--until-ready",))
    old = container_pid(fresh, "always")
    shim = os.pidfd_open(fresh.shim_pid())
    signal.pidfd_send_signal(shim, signal.SIGKILL)
    wait_readable(shim)
    os.close(shim)
    wait_pod(
        fresh,
        "always",
        lambda p: (
            status_of(p, "c0")["restartCount"] >= 1 and "running" in status_of(p, "c0")["state"]
        ),
        "the restart",
    )
    wait_phase(fresh, "never", "Failed")
    assert container_pid(fresh, "always") != old
    wait_until(lambda: not os.path.exists(f"/proc/{old}"), "the end of the old container")


def test_a_rebooted_host_starts_its_pods_again(fresh: Instance) -> None:
    fresh.apply(pod("boots"), pod("done", "exit 0", restartPolicy="Never"))
    wait_phase(fresh, "boots", "Running")
    wait_phase(fresh, "done", "Succeeded")
    shim = os.pidfd_open(fresh.shim_pid())
    fresh.kill_daemon()
    signal.pidfd_send_signal(shim, signal.SIGKILL)
    wait_readable(shim)
    os.close(shim)
    shutil.rmtree(fresh.layout.run)
    fresh.up()
    found = wait_pod(
        fresh,
        "boots",
        lambda p: (
            status_of(p, "c0")["restartCount"] >= 1 and "running" in status_of(p, "c0")["state"]
        ),
        "the Pod after the reboot",
    )
    assert found["status"]["phase"] == "Running"
    assert fresh.get("pod", "done")["status"]["phase"] == "Succeeded"


def test_the_shim_upgrades_itself_in_place(fresh: Instance) -> None:
    fresh.apply(pod("counts", COUNTING), options=("--until-ready",))
    pid, shim = container_pid(fresh, "counts"), fresh.shim_pid()
    os.kill(shim, signal.SIGHUP)
    before = len(fresh.out("logs", "counts").split())
    wait_until(
        lambda: len(fresh.out("logs", "counts").split()) > before + 10, "lines after the upgrade"
    )
    assert fresh.shim_pid() == shim
    assert container_pid(fresh, "counts") == pid
    lines = [int(line) for line in fresh.out("logs", "counts").split()]
    assert lines == list(range(1, len(lines) + 1))
    assert status_of(fresh.get("pod", "counts"), "c0")["restartCount"] == 0


def _victim(host_port: int = 18099) -> dict[str, Any]:
    """A Pod with something of every kind: a volume in memory, an init container, ports on the host."""
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    ports = [
        {"containerPort": 80, "hostPort": host_port, "protocol": each} for each in ("TCP", "UDP")
    ]
    return pod(
        "victim",
        container("c0", ports=ports, **mounts),
        initContainers=[container("init", "echo x > /v/x", **mounts)],
        volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}],
    )


@pytest.mark.parametrize("points", in_pairs(*FAULTS, *runtime_faults.DAEMON))
def test_killed_at_a_fault_point_the_pod_is_finished_or_undone(
    make_instance: Callable[..., Instance], points: tuple[str, ...]
) -> None:
    _try_each(make_instance, points, _finished_or_undone, backoff="0.5")


def _try_each(
    make_instance: Callable[..., Instance],
    points: tuple[str, ...],
    kill_at: Callable[[Instance, str, dict[str, Any]], None],
    *,
    backoff: str = "0.1",
) -> None:
    """Try the points side by side, each on a root of its own, with a Pod whose hostPort the others have not."""

    def kill(point: str) -> None:
        instance = make_instance(options=("--backoff-base", backoff))
        kill_at(instance, point, _victim(18099 + points.index(point)))

    side_by_side(kill, points)


def _finished_or_undone(instance: Instance, point: str, victim: dict[str, Any]) -> None:
    instance.up(MINIPOD_FAULT=point)
    daemon = os.pidfd_open(instance.daemon_pid())
    try:
        instance.apply(victim)
        wait_phase(instance, "victim", "Running", 5)
        instance.run("delete", "pod", "victim", "--wait=false")
    except AssertionError:
        pass  # the daemon died under us: that is what the point is for
    wait_readable(daemon, 15)
    os.close(daemon)
    instance.up()
    found = instance.run("get", "pod", "victim", "-o", "json", check=False)
    if found.returncode == 0 and "deletionTimestamp" not in json.loads(found.stdout)["metadata"]:
        wait_phase(instance, "victim", "Running")
        assert inside(instance, "victim", "cat /v/x") == "x"
        instance.run("delete", "pod", "victim", "--now")
    wait_gone(instance, "victim")
    wait_nothing_left(instance)
    instance.down()
    instance.remove()


def test_a_pod_that_began_before_its_binding_was_on_disk_runs_once(fresh: Instance) -> None:
    """A daemon may be killed between the two: the store then has the Pod, but not on this node."""
    fresh.apply(_victim(), options=("--until-ready",))
    fresh.kill_daemon()
    with contextlib.closing(sqlite3.connect(fresh.layout.database, isolation_level=None)) as store:
        key = ("/pods/default/victim",)
        (first,) = store.execute("SELECT min(revision) FROM log WHERE key = ?", key).fetchone()
        store.execute("DELETE FROM log WHERE key = ? AND revision > ?", (*key, first))
    fresh.up()
    wait_phase(fresh, "victim", "Running")
    assert inside(fresh, "victim", "cat /v/x") == "x"
    assert len(_pauses(fresh)) == 1
    fresh.run("delete", "pod", "victim", "--now")
    wait_nothing_left(fresh)


def test_a_damaged_object_is_named_in_one_line_and_hurts_no_other(fresh: Instance) -> None:
    fresh.run("create", "configmap", "good")
    fresh.run("create", "configmap", "bad")
    fresh.kill_daemon()
    key = "/configmaps/default/bad"
    with contextlib.closing(sqlite3.connect(fresh.layout.database, isolation_level=None)) as store:
        store.execute("UPDATE log SET value = substr(value, 1, 40) WHERE key = ?", (key,))
    fresh.up()
    assert "good" in fresh.out("get", "configmaps")
    refused = fresh.run("get", "configmap", "bad", check=False)
    assert refused.returncode == 1
    assert len(refused.stderr.strip().splitlines()) == 1
    way_out = f"DELETE FROM log WHERE key = '{key}'"
    assert f'the stored value of "{key}" is damaged' in refused.stderr
    assert way_out in refused.stderr
    assert way_out in (fresh.layout.log / "daemon.log").read_text()
    fresh.kill_daemon()
    with contextlib.closing(sqlite3.connect(fresh.layout.database, isolation_level=None)) as store:
        store.execute(way_out)
    fresh.up()
    fresh.run("create", "configmap", "bad")


def _pauses(instance: Instance) -> list[int]:
    """Return the pauses that the shim has."""
    shim = instance.shim_pid()
    children = Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
    return [int(pid) for pid in children if b"/pause" in _command(pid)]


def _command(pid: str) -> bytes:
    with contextlib.suppress(OSError):  # who makes a process ends behind it
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_what_a_crash_left_in_the_network_is_removed_at_the_next_start(fresh: Instance) -> None:
    fresh.apply(_victim(), options=("--until-ready",))
    fresh.kill_daemon()
    before = look(fresh)
    table, bridge = fresh.layout.instance, fresh.layout.bridge
    stale = "10.99.240.77"  # of a Pod that nobody knows any more
    port = f"{{ udp . 18077 : {stale} . 77 }}"
    for command in (
        f"nft add element inet {table} ports {port}",
        f"nft add element bridge {table} guarded {{ mpstale }}",
        f"ip link add mpstale master {bridge} type veth peer name mpstale2",
    ):
        subprocess.run(command.split(), check=True)
    assert look(fresh) != before
    fresh.up()
    assert look(fresh) == before
    assert inside(fresh, "victim", "echo untouched") == "untouched"


@pytest.mark.parametrize("points", in_pairs(*runtime_faults.SHIM))
def test_a_shim_killed_at_a_fault_point_leaves_nothing_half_made(
    make_instance: Callable[..., Instance], points: tuple[str, ...]
) -> None:
    _try_each(make_instance, points, _nothing_half_made)


def _nothing_half_made(instance: Instance, point: str, victim: dict[str, Any]) -> None:
    instance.up(MINIPOD_SHIM_FAULT=point)
    shim = os.pidfd_open(instance.shim_pid())
    instance.apply(victim)
    wait_phase(instance, "victim", "Running")
    assert inside(instance, "victim", "cat /v/x") == "x"
    instance.run("delete", "pod", "victim")
    wait_readable(shim)
    os.close(shim)
    wait_nothing_left(instance)
    instance.down()
    instance.remove()


@pytest.mark.parametrize(
    "points",
    in_pairs("node.container.planned@2", "node.container.started@2", "node.status.written@2"),
)
def test_killed_while_it_restarts_a_container_it_restarts_it_once(
    make_instance: Callable[..., Instance], points: tuple[str, ...]
) -> None:
    side_by_side(
        lambda point: _restarted_once(make_instance(options=("--backoff-base", "0.1")), point),
        points,
    )


def _restarted_once(instance: Instance, point: str) -> None:
    instance.up(MINIPOD_FAULT=point)
    daemon = os.pidfd_open(instance.daemon_pid())
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    # Long enough to be told of as running: what ends at once is told of together with its successor, in one write.
    first = "[ $(wc -l < /v/starts) = 1 ] && sleep 0.5 && exit 3"
    once = f"echo x >> /v/starts; {first}; {IDLE}"
    volumes = [{"name": "v", "emptyDir": {}}]
    instance.apply(pod("fails-once", container("c0", once, **mounts), volumes=volumes))
    wait_readable(daemon, 15)
    os.close(daemon)
    instance.up()
    found = wait_pod(
        instance,
        "fails-once",
        lambda p: status_of(p, "c0")["ready"] and status_of(p, "c0")["restartCount"],
        "the restart",
    )
    assert status_of(found, "c0")["restartCount"] == 1
    assert status_of(found, "c0")["lastState"]["terminated"]["exitCode"] == 3
    assert inside(instance, "fails-once", "wc -l < /v/starts") == "2"
    instance.run("delete", "pod", "fails-once", "--now")
    wait_nothing_left(instance)
    instance.down()
    instance.remove()


@pytest.mark.parametrize(
    "points",
    in_pairs(
        "runtime.sandbox.network-removed",
        "node.address.allocated@3",
        "node.volumes.prepared@3",
        "node.sandbox.created@2",
        "node.container.started@3",
    ),
)
def test_killed_while_it_makes_a_sandbox_anew_it_finishes_it(
    make_instance: Callable[..., Instance], points: tuple[str, ...]
) -> None:
    _try_each(make_instance, points, _finishes_its_sandbox)


def _finishes_its_sandbox(instance: Instance, point: str, victim: dict[str, Any]) -> None:
    instance.up(MINIPOD_FAULT=point)
    daemon = os.pidfd_open(instance.daemon_pid())
    instance.apply(victim, options=("--until-ready",))
    (sandbox,) = inspect(instance, "victim")["sandboxes"]
    os.kill(int(sandbox["pid"]), signal.SIGKILL)
    wait_readable(daemon, 15)
    os.close(daemon)
    instance.up()
    found = wait_pod(
        instance,
        "victim",
        lambda p: status_of(p, "c0")["ready"] and status_of(p, "c0")["restartCount"],
        "the Pod in its new sandbox",
    )
    assert found["status"]["podIP"]
    assert inside(instance, "victim", "cat /v/x") == "x"
    instance.run("delete", "pod", "victim", "--now")
    wait_nothing_left(instance)
    instance.down()
    instance.remove()


def _manifest(spec: str, name: str = "a") -> str:
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {spec}\n"


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (
            _manifest("{containers: [{name: a, image: b}]}", "Not_Valid"),
            "metadata.name: Invalid value",
        ),
        (_manifest("{containers: [{name: a}]}"), "spec.containers[0].image: Required value"),
        (
            _manifest("{containers: [{name: a, image: b, imagePullPolice: Always}]}"),
            'unknown field "spec.containers[0].imagePullPolice"',
        ),
        (_manifest("{containers: 5}"), "spec.containers"),
        ("apiVersion: v1\nkind: Nothing\nmetadata: {name: a}", "Nothing"),
        ("a: [unclosed", "line"),
        (BOMB, "alias"),
    ],
)
def test_bad_manifests_get_one_clear_error(shared: Instance, manifest: str, said: str) -> None:
    done = shared.run("apply", "-f", "-", check=False, input=manifest)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_two_pods_cannot_have_one_host_port(shared: Instance) -> None:
    ports = {"ports": [{"containerPort": 80, "hostPort": 18080}]}
    for name in ("holder", "waiter"):
        shared.apply(pod(name, container("c0", **ports)))
    wait_phase(shared, "holder", "Running")
    wait_until(
        lambda: "FailedScheduling" in shared.out("events", "--for", "pod/waiter"),
        "FailedScheduling",
    )
    assert "free ports" in shared.out("events", "--for", "pod/waiter")
    shared.run("delete", "pod", "holder", "--now")
    wait_phase(shared, "waiter", "Running")
    shared.run("delete", "pod", "waiter", "--now")


def test_an_exhausted_address_range_is_said_and_heals(
    make_instance: Callable[..., Instance],
) -> None:
    instance = make_instance(pod_cidr="10.84.240.0/30")
    instance.up()
    instance.apply(pod("one"), options=("--until-ready",))
    instance.apply(pod("two"))
    wait_until(
        lambda: "FailedCreatePodSandBox" in instance.out("events", "--for", "pod/two"), "the event"
    )
    assert "10.84.240.0/30" in instance.out("events", "--for", "pod/two")
    instance.run("delete", "pod", "one", "--now")
    wait_phase(instance, "two", "Running", 30)
    instance.down()
    instance.remove()


def fill(path: Path) -> None:
    """Leave no room at all."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_is_reported_and_loses_nothing(make_instance: Callable[..., Instance]) -> None:
    instance = make_instance()
    state = instance.layout.state
    kept = state.with_name("kept")
    state.rename(kept)
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(state)], check=True)
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", str(state)], check=True)
        instance.up()
        instance.apply(pod("before"), options=("--until-ready",))
        filler = state / "filler"
        fill(filler)
        failures = [
            done
            for number in range(40)
            if (
                done := instance.run(
                    "create",
                    "configmap",
                    f"filler-{number}",
                    f"--from-literal=a={'x' * 20000}",
                    check=False,
                )
            ).returncode
        ]
        assert failures, "the full disk was never noticed"
        assert "Traceback" not in failures[0].stderr
        fill(state / "last")
        instance.kill_daemon()
        instance.up()  # to look, and to make room
        assert inside(instance, "before", "echo alive") == "alive"
        (state / "last").unlink()
        filler.unlink()
        wait_until(
            lambda: (
                instance.run(
                    "create", "configmap", "after", "--from-literal=a=b", check=False
                ).returncode
                == 0
            ),
            "writes after space came back",
        )
        assert inside(instance, "before", "echo alive") == "alive"
        instance.down()
    finally:
        subprocess.run(["umount", "-l", str(state)], check=False)
        instance.remove()


def test_a_log_on_a_full_disk_ends_no_daemon(make_instance: Callable[..., Instance]) -> None:
    instance = make_instance()
    log = instance.layout.log
    log.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(log)], check=True)
    try:
        fill(log / "filler")
        instance.up()
        pidfd = os.pidfd_open(instance.daemon_pid())
        instance.apply(pod("runs"), options=("--until-ready",))
        assert inside(instance, "runs", "echo alive") == "alive"
        assert not select.select([pidfd], [], [], 0)[0], "the daemon has ended"
        os.close(pidfd)
        instance.down()
    finally:
        subprocess.run(["umount", "-l", str(log)], check=False)
        instance.remove()


@pytest.mark.usefixtures("outer_namespace")
def test_a_root_on_a_full_disk_says_which_disk_that_is(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], check=True)
    try:
        instance = Instance(tmp_path / "r")
        fill(tmp_path / "filler")
        said = instance.run("up", check=False).stderr
        assert (
            f'error: minipod did not start: no room is left on the disk of "{instance.root}/log'
            in said
        )
        said = instance.run("daemon", check=False).stderr
        assert (
            said
            == f'minipod: No space left on device: no room is left on the disk of "{instance.root}/run"\n'
        )
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=False)


def test_two_roots_live_side_by_side(shared: Instance, fresh: Instance) -> None:
    for instance in (shared, fresh):
        instance.apply(pod("same-name"), options=("--until-ready",))
    addresses = {i.get("pod", "same-name")["status"]["podIP"] for i in (shared, fresh)}
    assert len(addresses) == 2
    fresh.run("delete", "pod", "same-name", "--now")
    assert inside(shared, "same-name", "echo untouched") == "untouched"
    shared.run("delete", "pod", "same-name", "--now")
