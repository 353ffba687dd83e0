"""kr8s: objects, a wait, exec, a log and a forwarded port. Run as `python kr8s_client.py KUBECONFIG POD`.

Its exec offers v4.channel.k8s.io alone, on which it passes no input on.
"""

import socket
import sys

import kr8s
from kr8s.objects import ConfigMap, Pod

api = kr8s.api(kubeconfig=sys.argv[1])


def objects() -> None:
    made = ConfigMap(
        {"metadata": {"name": "kr8s", "namespace": "default"}, "data": {"a": "1"}}, api=api
    )
    made.create()
    assert made.exists()
    made.patch({"data": {"a": "2"}})
    made.label({"seen": "yes"})
    (found,) = api.get("configmaps", namespace="default", label_selector="seen=yes")
    assert found.raw["data"] == {"a": "2"}
    made.delete()
    made.wait("delete", timeout=20)
    assert not made.exists()
    assert api.version()["minor"] == "36"


def streams() -> None:
    pod = Pod.get(sys.argv[2], namespace="default", api=api)
    assert pod.ready()
    done = pod.exec(["sh", "-c", "echo out; exit 3"], container="main", check=False)
    assert (done.stdout, done.returncode) == (b"out\n", 3), done
    assert isinstance(list(pod.logs(container="reader")), list)


def ports() -> None:
    pod = Pod.get(sys.argv[2], namespace="default", api=api)
    with pod.portforward(remote_port=8080, local_port="auto") as port:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
            peer.sendall(b"hello\n")
            assert peer.recv(100) == b"HELLO\n"


for step in (objects, streams, ports):
    step()
    print("ok", step.__name__, flush=True)
