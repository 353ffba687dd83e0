"""What a container sees: namespaces, files, volumes, environment, and how exec and attach reach it."""

import subprocess
from pathlib import Path

import pytest

from minipod.node.translate import container_id
from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import container, inside, pod, status_of, wait_phase, wait_pod


def _delete(instance: Instance, *names: str) -> None:
    instance.run("delete", "pod", *names, "--now", "--ignore-not-found")


def test_containers_share_network_ipc_and_uts_and_nothing_else(shared: Instance) -> None:
    idle = container("one"), container("two")
    shared.apply(pod("shares", *idle), options=("--until-ready",))
    for namespace in ("net", "ipc", "uts", "mnt", "pid"):
        one, two = (
            inside(shared, "shares", f"readlink /proc/self/ns/{namespace}", name)
            for name in ("one", "two")
        )
        assert (one == two) == (namespace in ("net", "ipc", "uts")), namespace
    assert inside(shared, "shares", "hostname", "one") == "shares"
    assert inside(shared, "shares", "cat /proc/1/comm", "one") == "sh"
    _delete(shared, "shares")


def test_a_shared_process_namespace_shows_the_pause(shared: Instance) -> None:
    spec = {"shareProcessNamespace": True}
    shell = {"name": "shell", "image": "busybox", "stdin": True, "tty": True}
    shared.apply(pod("nginx", container("nginx"), shell, **spec), options=("--until-ready",))
    listed = inside(shared, "nginx", "ps ax -o pid,args 2>/dev/null || ps", "shell")
    assert "/pause" in listed
    assert inside(shared, "nginx", "cat /proc/1/comm", "nginx") == "pause"
    denied = shared.run("exec", "nginx", "-c", "shell", "--", "ls", "/proc/1/root/", check=False)
    assert denied.stdout.strip() == ""
    _delete(shared, "nginx")


def test_a_container_is_confined(shared: Instance) -> None:
    shared.apply(pod("confined"), options=("--until-ready",))
    status = inside(shared, "confined", "cat /proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Seccomp"].strip() == "2"
    assert int(fields["CapBnd"], 16) == 0xA80425FB  # containerd's default set
    assert inside(shared, "confined", "cat /proc/timer_list | wc -c") == "0"
    for refused in (
        "mount -t tmpfs none /mnt",
        "unshare -m true",
        "echo 1 > /proc/sys/kernel/panic",
        "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk",
    ):
        done = shared.run("exec", "confined", "--", "sh", "-c", refused, check=False)
        assert done.returncode != 0, refused
    _delete(shared, "confined")


def test_environment_command_and_working_directory(shared: Instance) -> None:
    env = [
        {"name": "FIRST", "value": "one"},
        {"name": "SECOND", "value": "$(FIRST)-two $$(FIRST) $(MISSING)"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    shared.apply(
        pod(
            "environ",
            {
                "name": "c0",
                "image": "busybox",
                "command": ["sh", "-c"],
                "args": ["echo $0 $1; pwd; exec sleep 3600", "$(FIRST)", "$(SECOND)"],
                "env": env,
                "workingDir": "/made/for/this",
            },
        ),
        options=("--until-ready",),
    )
    wait_until(lambda: shared.out("logs", "environ").count("\n") == 2, "the log")
    assert shared.out("logs", "environ").splitlines() == [
        "one one-two $(FIRST) $(MISSING)",
        "/made/for/this",
    ]
    assert inside(shared, "environ", "echo $SECOND") == "one-two $(FIRST) $(MISSING)"
    found = shared.get("pod", "environ")
    assert inside(shared, "environ", "echo $IP") == found["status"]["podIP"]
    assert inside(shared, "environ", "echo $NODE") == found["spec"]["nodeName"]
    _delete(shared, "environ")


def test_hosts_resolv_conf_and_host_aliases(shared: Instance) -> None:
    aliases = [{"ip": "10.1.2.3", "hostnames": ["foo.remote", "bar.remote"]}]
    shared.apply(pod("named", hostAliases=aliases), options=("--until-ready",))
    hosts = inside(shared, "named", "cat /etc/hosts")
    assert "10.1.2.3\tfoo.remote\tbar.remote" in hosts
    address = shared.get("pod", "named")["status"]["podIP"]
    assert f"{address}\tnamed" in hosts
    assert inside(shared, "named", "cat /etc/resolv.conf") is not None
    _delete(shared, "named")


def test_volumes_are_mounted_as_asked(shared: Instance, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from the host")
    mounts = [
        {"name": "disk", "mountPath": "/disk"},
        {"name": "memory", "mountPath": "/memory"},
        {"name": "host", "mountPath": "/host", "readOnly": True},
        {"name": "disk", "mountPath": "/part", "subPath": "a/b"},
    ]
    shared.apply(
        pod(
            "volumes",
            container("c0", volumeMounts=mounts),
            volumes=[
                {"name": "disk", "emptyDir": {}},
                {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
                {"name": "host", "hostPath": {"path": str(tmp_path), "type": "Directory"}},
            ],
        ),
        options=("--until-ready",),
    )
    assert inside(shared, "volumes", "cat /host/given") == "from the host"
    assert inside(shared, "volumes", "touch /host/x 2>&1 || echo refused").endswith("refused")
    assert inside(shared, "volumes", "echo x > /part/f; cat /disk/a/b/f") == "x"
    mounted = inside(shared, "volumes", "grep ' /memory ' /proc/self/mountinfo")
    assert " - tmpfs " in mounted
    assert "size=4096k" in mounted
    _delete(shared, "volumes")


def test_what_is_mounted_below_a_volume(shared: Instance, tmp_path: Path) -> None:
    """Read-only as asked, passed on as asked; and a host that passes nothing on is named."""
    volume = {"name": "v", "hostPath": {"path": str(tmp_path)}}
    both = {"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}
    in_ = {"name": "v", "mountPath": "/v", "mountPropagation": "HostToContainer"}
    locked = {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Enabled"}
    containers = (
        container("both", volumeMounts=[both], securityContext={"privileged": True}),
        container("in", volumeMounts=[in_]),
        container("locked", volumeMounts=[locked]),
    )
    subprocess.run(["mount", "-t", "tmpfs", "mp-test", tmp_path], check=True)
    try:
        for name in ("below", "made"):
            (tmp_path / name).mkdir()
        subprocess.run(["mount", "--make-private", tmp_path], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "mp-test", tmp_path / "below"], check=True)
        shared.apply(pod("below", *containers, volumes=[volume]))
        message = f'path "{tmp_path}" is mounted on "{tmp_path}" but it is not a shared mount'
        wait_until(lambda: message in shared.out("events", "--for", "pod/below"), "the reason")
        subprocess.run(["mount", "--make-shared", tmp_path], check=True)
        shared.run("wait", "--for=condition=Ready", "pod/below", "--timeout=20s")

        assert "Read-only" in inside(shared, "below", "touch /v/below/x 2>&1 || :", "locked")
        statuses = shared.get("pod", "below")["status"]["containerStatuses"]
        shown = {each["name"]: each["volumeMounts"][0] for each in statuses}
        assert shown["locked"]["recursiveReadOnly"] == "Enabled"
        inside(shared, "below", "mount -t tmpfs mp-test /v/made && touch /v/made/x", "both")
        assert (tmp_path / "made/x").exists()
        assert inside(shared, "below", "ls /v/made", "in") == "x"
        assert inside(shared, "below", "ls /v/made", "locked") == ""
    finally:
        _delete(shared, "below")
        subprocess.run(["umount", "-R", tmp_path], check=True)


def test_a_missing_host_path_is_reported_and_heals(shared: Instance, tmp_path: Path) -> None:
    wanted = tmp_path / "later"
    shared.apply(
        pod(
            "heals",
            container("c0", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
            volumes=[{"name": "v", "hostPath": {"path": str(wanted), "type": "Directory"}}],
        )
    )
    wait_until(
        lambda: "FailedMount" in shared.out("events", "--for", "pod/heals"), "the FailedMount event"
    )
    assert "is not a directory" in shared.out("events", "--for", "pod/heals")
    uid = shared.out("get", "pod", "heals", "-o", "jsonpath={.metadata.uid}")
    home = shared.layout.containers / container_id({"metadata": {"uid": uid}}, "c0", 0)
    assert not home.exists()  # it was prepared beside its volume, and given up
    wanted.mkdir()
    wait_phase(shared, "heals", "Running", 30)
    _delete(shared, "heals")


def test_exec_passes_streams_and_exit_code(shared: Instance) -> None:
    shared.apply(pod("execs"), options=("--until-ready",))
    done = shared.run(
        "exec", "execs", "--", "sh", "-c", "echo out; echo err >&2; exit 42", check=False
    )
    assert (done.returncode, done.stdout) == (42, "out\n")
    assert done.stderr.splitlines()[0] == "err"
    assert "command terminated with exit code 42" in done.stderr
    big = "x" * 300_000
    done = shared.run("exec", "-i", "execs", "--", "wc", "-c", input=big)
    assert done.stdout.strip() == str(len(big))
    missing = shared.run("exec", "execs", "--", "no-such-program", check=False)
    assert missing.returncode != 0
    assert "no-such-program" in missing.stderr
    _delete(shared, "execs")


def test_exec_with_a_terminal(shared: Instance) -> None:
    shared.apply(pod("terminal"), options=("--until-ready",))
    minipod = "minipod exec -it terminal -- sh -c 'stty size; tty; exit 5'"  # its first look counts
    done = subprocess.run(
        ["script", "-qec", f"stty rows 31 cols 97; {minipod}", "/dev/null"],
        env=shared.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "/dev/pts/0" in done.stdout
    assert "31 97" in done.stdout
    assert done.returncode == 5
    _delete(shared, "terminal")


def test_attach_joins_a_containers_streams(shared: Instance) -> None:
    echo = {
        "name": "c0",
        "image": "busybox",
        "command": ["sh", "-c", "while read line; do echo got $line; done; echo end"],
        "stdin": True,
        "stdinOnce": True,
    }
    shared.apply(pod("joined", echo, restartPolicy="Never"), options=("--until-ready",))
    done = shared.run("attach", "-i", "joined", input="one\ntwo\n", timeout=20)
    assert "got one\ngot two\n" in done.stdout
    wait_phase(shared, "joined", "Succeeded")
    assert shared.out("logs", "joined").splitlines()[-1] == "end"
    _delete(shared, "joined")


def test_logs_follow_tail_and_timestamps(shared: Instance) -> None:
    shared.apply(pod("talks", "for i in 1 2 3 4 5; do echo line $i; done", restartPolicy="Never"))
    wait_phase(shared, "talks", "Succeeded")
    assert shared.out("logs", "talks", "--tail=2") == "line 4\nline 5\n"
    assert shared.out("logs", "-f", "talks", timeout=10).count("line") == 5
    stamped = shared.out("logs", "talks", "--timestamps", "--tail=1")
    assert stamped.endswith(" line 5\n")
    assert stamped[4] == "-"
    _delete(shared, "talks")


@pytest.mark.parametrize("field", ["hostPID", "hostIPC", "hostNetwork"])
def test_host_namespaces_are_the_hosts(shared: Instance, field: str) -> None:
    import os

    shared.apply(pod("hostly", **{field: True}), options=("--until-ready",))
    kind = {"hostPID": "pid", "hostIPC": "ipc", "hostNetwork": "net"}[field]
    assert inside(shared, "hostly", f"readlink /proc/self/ns/{kind}") == os.readlink(
        f"/proc/{shared.daemon_pid()}/ns/{kind}"
    )
    _delete(shared, "hostly")


def test_a_missing_command_is_a_start_error(shared: Instance) -> None:
    bad = {"name": "c0", "image": "busybox", "command": ["/no/such/program"]}
    shared.apply(pod("absent", bad, restartPolicy="Never"))
    found = wait_pod(
        shared,
        "absent",
        lambda p: (
            p["status"].get("containerStatuses") and "terminated" in status_of(p, "c0")["state"]
        ),
        "the failed start",
    )
    terminated = status_of(found, "c0")["state"]["terminated"]
    assert terminated["reason"] == "StartError"
    assert terminated["exitCode"] == 128
    assert "/no/such/program" in terminated["message"]
    _delete(shared, "absent")


def test_a_missing_image_names_the_way_out(shared: Instance) -> None:
    bad = {"name": "c0", "image": "nowhere.example/none:1"}
    shared.apply(pod("imageless", bad))
    found = wait_pod(
        shared,
        "imageless",
        lambda p: (
            p["status"].get("containerStatuses")
            and status_of(p, "c0")["state"]["waiting"]["reason"]
            in ("ErrImagePull", "ImagePullBackOff")
        ),
        "the waiting reason",
    )
    assert found["status"]["phase"] == "Pending"
    assert "nowhere.example/none:1" in shared.out("events", "--for", "pod/imageless")
    _delete(shared, "imageless")
