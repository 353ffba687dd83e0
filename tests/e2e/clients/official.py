"""The official Python client: objects, a watch, and every stream. Run as `python official.py KUBECONFIG POD`."""

import sys
import threading

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

config.load_kube_config(sys.argv[1])
core, pod = client.CoreV1Api(), sys.argv[2]


def objects() -> None:
    seen: list[str] = []

    def look() -> None:
        watcher = watch.Watch()
        selector = "metadata.name=official"
        for event in watcher.stream(
            core.list_namespaced_config_map, "default", field_selector=selector, timeout_seconds=30
        ):
            seen.append(event["type"])
            if event["type"] == "DELETED":
                watcher.stop()

    made = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="official"), data={"a": "1"})
    core.create_namespaced_config_map("default", made)
    looking = threading.Thread(target=look)
    looking.start()
    while not seen:
        looking.join(0.02)
    got = core.read_namespaced_config_map("official", "default")
    got.data["b"] = "2"
    got = core.replace_namespaced_config_map("official", "default", got)
    core.patch_namespaced_config_map("official", "default", {"data": {"a": None}})
    got.data["b"] = "3"
    try:
        core.replace_namespaced_config_map("official", "default", got)
    except ApiException as refused:
        assert refused.status == 409, refused
    else:
        raise AssertionError("an old version replaced a new one")
    listed = core.list_namespaced_config_map("default", field_selector="metadata.name=official")
    assert [item.data for item in listed.items] == [{"b": "2"}]
    core.delete_namespaced_config_map("official", "default")
    looking.join(30)
    assert seen == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"], seen


def commands() -> None:
    said = stream(
        core.connect_get_namespaced_pod_exec, pod, "default", container="main",
        command=["sh", "-c", "echo out; echo err >&2"], stdout=True, stderr=True, stdin=False, tty=False,
    )  # fmt: skip
    assert sorted(said.splitlines()) == ["err", "out"], said
    running = stream(
        core.connect_get_namespaced_pod_exec, pod, "default", container="main", command=["sh"],
        stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )  # fmt: skip
    running.write_stdin("echo hello $((1 + 1))\n")
    assert running.readline_stdout(timeout=20) == "hello 2"
    running.write_stdin("exit 5\n")
    running.run_forever(timeout=20)
    assert running.returncode == 5, running.returncode
    attached = stream(
        core.connect_get_namespaced_pod_attach, pod, "default", container="reader",
        stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )  # fmt: skip
    attached.write_stdin("official\n")
    assert attached.readline_stdout(timeout=20) == "got official"
    attached.close()
    log = core.read_namespaced_pod_log(pod, "default", container="reader")
    assert "got official" in log, log


def ports() -> None:
    forward = portforward(
        core.connect_get_namespaced_pod_portforward, pod, "default", ports="8080,9"
    )
    socket = forward.socket(8080)
    socket.settimeout(20)
    socket.sendall(b"hello\n")
    assert socket.recv(100) == b"HELLO\n"
    socket.close()
    refused = forward.socket(9)
    refused.settimeout(20)
    assert refused.recv(10) == b""
    assert "connection refused" in str(forward.error(9)), forward.error(9)


for step in (objects, commands, ports):
    step()
    print("ok", step.__name__, flush=True)
