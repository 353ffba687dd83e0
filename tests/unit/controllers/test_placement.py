"""Where a Pod may run, and upstream's words for why not."""

from typing import Any

import pytest

from minipod.client import Object
from minipod.controllers.placement import compute_placement, requests_of


def node(name: str = "n1", *, ready: bool = True, labels: Any = None, **spec: Any) -> Object:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"},
            "conditions": [condition],
        },
    }


def pod(*containers: Object, **spec: Any) -> Object:
    return {"metadata": {"name": "p"}, "spec": {"containers": list(containers) or [{}], **spec}}


def asks(cpu: str = "0", memory: str = "0", **fields: Any) -> Object:
    return {"resources": {"requests": {"cpu": cpu, "memory": memory}}, **fields}


def port(number: int, **fields: Any) -> Object:
    return {"ports": [{"containerPort": 80, "hostPort": number, **fields}]}


def message(wanted: Object, *nodes: Object, others: tuple[Object, ...] = ()) -> str:
    placement = compute_placement(wanted, nodes, {"n1": others})
    assert not placement.node
    return placement.message


def test_the_first_node_that_fits_is_chosen():
    found = compute_placement(pod(), [node("n1", ready=False), node("n2")], {})
    assert found.node == "n2"


def test_no_node_at_all():
    assert message(pod()) == "no nodes available to schedule pods"


def test_reasons_are_counted():
    nodes = [node("n1"), node("n2"), node("n3", ready=False)]
    text = message(pod(nodeSelector={"disk": "ssd"}), *nodes)
    assert text == (
        "0/3 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, "
        "2 node(s) didn't match Pod's node affinity/selector."
    )


def test_resources_that_are_used_up():
    used = (pod(asks("1500m", "512Mi")),)
    assert message(pod(asks("1", "1Gi")), node(), others=used) == (
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory."
    )
    assert compute_placement(pod(asks("500m")), [node()], {"n1": used}).node == "n1"


def test_limits_count_as_requests_where_none_are_given():
    limited = {"resources": {"limits": {"cpu": "3"}}}
    assert message(pod(limited), node()) == "0/1 nodes are available: 1 Insufficient cpu."


def test_init_containers_count_at_their_peak_and_sidecars_always():
    wanted = pod(
        asks("1"),
        initContainers=[asks("500m", restartPolicy="Always"), asks("3")],
        overhead={"cpu": "100m"},
    )
    assert requests_of(wanted)["cpu"] == parse("3600m")


def parse(text: str) -> Any:
    from minipod.api.quantity import parse as parse_quantity

    return parse_quantity(text)


def test_too_many_pods():
    others = (pod(), pod(), pod())
    assert message(pod(), node(), others=others) == "0/1 nodes are available: 1 Too many pods."


@pytest.mark.parametrize(
    ("wanted", "taken", "free"),
    [
        (port(80), port(80), False),
        (port(80), port(81), True),
        (port(80), port(80, protocol="UDP"), True),
        (port(80, hostIP="127.0.0.1"), port(80, hostIP="192.0.2.1"), True),
        (port(80, hostIP="127.0.0.1"), port(80, hostIP="0.0.0.0"), False),
    ],
)
def test_host_ports(wanted, taken, free):
    found = compute_placement(pod(wanted), [node()], {"n1": [pod(taken)]})
    assert bool(found.node) is free
    if not free:
        assert "didn't have free ports for the requested pod ports" in found.message


def test_ports_of_the_hosts_network_are_host_ports():
    listening = pod({"ports": [{"containerPort": 80}]}, hostNetwork=True)
    assert not compute_placement(pod(port(80)), [node()], {"n1": [listening]}).node


def test_taints_and_tolerations():
    tainted = node(taints=[{"key": "a", "value": "b", "effect": "NoSchedule"}])
    assert message(pod(), tainted) == (
        "0/1 nodes are available: 1 node(s) had untolerated taint {a: b}."
    )
    for toleration in (
        {"key": "a", "value": "b"},
        {"key": "a", "operator": "Exists"},
        {"operator": "Exists"},
    ):
        assert compute_placement(pod(tolerations=[toleration]), [tainted], {}).node
    assert message(pod(), node(unschedulable=True)).endswith("1 node(s) were unschedulable.")


@pytest.mark.parametrize(
    ("operator", "values", "matches"),
    [
        ("In", ["ssd"], True),
        ("NotIn", ["ssd"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
        ("Gt", ["1"], False),
    ],
)
def test_node_affinity(operator, values, matches):
    term = {"matchExpressions": [{"key": "disk", "operator": operator, "values": values}]}
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    wanted = pod(affinity={"nodeAffinity": rule})
    assert bool(compute_placement(wanted, [node(labels={"disk": "ssd"})], {}).node) is matches
