"""top, over figures of a fake server."""

import json

from tests.fakes.apiserver import FakeApiServer
from tests.unit.cli.conftest import Minipod

API = "/apis/metrics.k8s.io/v1beta1"


def usage(cpu: str, memory: str) -> dict[str, object]:
    return {"usage": {"cpu": cpu, "memory": memory}}


def pod_metrics(name: str, *containers: tuple[str, str]) -> dict[str, object]:
    parts = [{"name": f"c{n}", **usage(*each)} for n, each in enumerate(containers)]
    return {"metadata": {"name": name, "namespace": "default"}, "containers": parts}


def give(server: FakeApiServer, path: str, answer: object) -> None:
    server.answers[API + path] = 200, json.dumps(answer).encode()


def test_pods_and_their_containers(server: FakeApiServer, minipod: Minipod) -> None:
    idle = pod_metrics("idle", ("0", "1023Ki"))
    busy = pod_metrics("busy", ("1500001u", "3Mi"), ("250m", "2048Ki"))
    give(server, "/namespaces/default/pods", {"items": [idle, busy]})
    assert minipod("top", "pods").out == (
        "NAME   CPU(cores)   MEMORY(bytes)\nbusy   1751m        5Mi\nidle   0m           0Mi\n"
    )
    assert minipod("top", "pod", "--containers", "--no-headers", "--sort-by=memory").out == (
        "busy   c0    1501m   3Mi\nbusy   c1    250m    2Mi\nidle   c0    0m      0Mi\n"
    )


def test_the_node_and_its_share(server: FakeApiServer, minipod: Minipod) -> None:
    allocatable = {"cpu": "2", "memory": "1Gi"}
    server.put("nodes", {"metadata": {"name": "vm"}, "status": {"allocatable": allocatable}})
    give(server, "/nodes", {"items": [{"metadata": {"name": "vm"}, **usage("500m", "256Mi")}]})
    assert minipod("top", "node").out == (
        "NAME   CPU(cores)   CPU(%)   MEMORY(bytes)   MEMORY(%)\n"
        "vm     500m         25%      256Mi           25%\n"
    )


def test_nothing_to_show(server: FakeApiServer, minipod: Minipod) -> None:
    give(server, "/namespaces/default/pods", {"items": []})
    ended = minipod("top", "pod")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "No resources found in default namespace.\n"
    assert "--sort-by accepts only cpu or memory" in minipod("top", "pod", "--sort-by=x").err
