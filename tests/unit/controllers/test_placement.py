"""Where a Pod may run, and upstream's words for why not."""

from typing import Any

import pytest

from minipod.api.pod_resources import compute_pod_requests
from minipod.client import Object
from minipod.controllers.placement import compute_placement


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
    return placement.message.partition(" no new claims")[0]


def test_the_first_node_that_fits_is_chosen():
    found = compute_placement(pod(), [node("n1", ready=False), node("n2")], {})
    assert found.node == "n2"


def test_no_node_at_all():
    assert message(pod()) == "no nodes available to schedule pods"


def test_reasons_are_counted():
    nodes = [node("n1"), node("n2"), node("n3", ready=False)]
    text = message(pod(nodeSelector={"disk": "ssd"}), *nodes)
    assert text == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), "
        "2 node(s) didn't match Pod's node affinity/selector."
    )


def test_resources_that_are_used_up():
    used = (pod(asks("1500m", "512Mi")),)
    assert message(pod(asks("1", "1Gi")), node(), others=used) == (
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory."
    )
    assert compute_placement(pod(asks("500m")), [node()], {"n1": used}).node == "n1"


def test_init_containers_count_at_their_peak_and_sidecars_always():
    wanted = pod(
        asks("1"),
        initContainers=[asks("500m", restartPolicy="Always"), asks("3")],
        overhead={"cpu": "100m"},
    )
    assert compute_pod_requests(wanted)["cpu"] == parse("3600m")


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
    assert message(pod(), tainted) == "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
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


# -- what preemption would say, and the Pods around --------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (pod(nodeSelector={"a": "b"}), "1 Preemption is not helpful for scheduling"),
        (pod(asks("3")), "1 Preemption is not helpful for scheduling"),
        (pod(asks("1500m")), "1 No preemption victims found for incoming pod"),
    ],
)
def test_the_second_sentence_is_upstreams(wanted: Object, told: str) -> None:
    placement = compute_placement(wanted, [node()], {"n1": [pod(asks("1"))]})
    after = "no new claims to deallocate, preemption: 0/1 nodes are available:"
    assert placement.message.endswith(f". {after} {told}.")


def test_a_pod_that_preempts_nobody_says_so() -> None:
    placement = compute_placement(pod(asks("3"), preemptionPolicy="Never"), [node()], {})
    assert placement.message.endswith("preemption: not eligible due to preemptionPolicy=Never.")


HOST = "kubernetes.io/hostname"


def labelled(namespace: str = "default", labels: Any = None, **spec: Any) -> Object:
    made = pod(**spec)
    made["metadata"].update(namespace=namespace, labels=labels or {})
    return made


def term(kind: str, labels: Any, **fields: Any) -> Any:
    required = [{"topologyKey": HOST, "labelSelector": {"matchLabels": labels}, **fields}]
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


WEB = {"app": "web"}
NEAR, AWAY = "podAffinity", "podAntiAffinity"


@pytest.mark.parametrize(
    ("wanted", "others", "reason"),
    [
        (labelled(**term(NEAR, WEB)), [], "node(s) didn't match pod affinity rules"),
        (labelled(**term(NEAR, WEB)), [labelled(labels=WEB)], ""),
        (labelled(labels=WEB, **term(NEAR, WEB)), [], ""),  # the first of its group
        (
            labelled(**term(NEAR, WEB)),
            [labelled("other", labels=WEB)],
            "node(s) didn't match pod affinity rules",
        ),
        (labelled(**term(NEAR, WEB, namespaces=["other"])), [labelled("other", WEB)], ""),
        (labelled(**term(NEAR, WEB, namespaceSelector={})), [labelled("other", WEB)], ""),
        (
            labelled(**term(NEAR, WEB, namespaceSelector={"matchLabels": {"team": "a"}})),
            [labelled("other", WEB)],
            "",
        ),
        (
            labelled(**term(NEAR, WEB, namespaceSelector={"matchLabels": {"team": "b"}})),
            [labelled("other", WEB)],
            "node(s) didn't match pod affinity rules",
        ),
        (labelled(**term(AWAY, WEB)), [], ""),
        (
            labelled(labels=WEB, **term(AWAY, WEB)),
            [labelled(labels=WEB)],
            "node(s) didn't match pod anti-affinity rules",
        ),
        (
            labelled(labels=WEB),
            [labelled(**term(AWAY, WEB))],
            "node(s) didn't satisfy existing pods anti-affinity rules",
        ),
    ],
)
def test_pods_that_want_or_shun_each_other(wanted: Object, others: Any, reason: str) -> None:
    place = node(labels={HOST: "n1"})
    found = compute_placement(wanted, [place], {"n1": others}, {"other": {"team": "a"}})
    assert list(found.reasons) == ([reason] if reason else [])


def spread(**fields: Any) -> Any:
    constraint = {
        "maxSkew": 1,
        "topologyKey": HOST,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": WEB},
        **fields,
    }
    return labelled(labels=WEB, topologySpreadConstraints=[constraint])


def test_spread_over_one_node_is_even_unless_more_domains_are_asked_for() -> None:
    place, others = node(labels={HOST: "n1"}), [labelled(labels=WEB)]
    assert compute_placement(spread(), [place], {"n1": others}).node == "n1"
    problem = "node(s) didn't match pod topology spread constraints"
    found = compute_placement(spread(minDomains=2), [place], {"n1": others})
    assert list(found.reasons) == [problem]
    found = compute_placement(spread(topologyKey="zone"), [place], {})
    assert list(found.reasons) == [f"{problem} (missing required label)"]
    anyway = spread(topologyKey="zone", whenUnsatisfiable="ScheduleAnyway")
    assert compute_placement(anyway, [place], {}).node == "n1"


def test_two_nodes_are_filled_evenly() -> None:
    nodes = [node("n1", labels={HOST: "n1"}), node("n2", labels={HOST: "n2"})]
    assert compute_placement(spread(), nodes, {"n1": [labelled(labels=WEB)]}).node == "n2"


def test_what_the_whole_pod_asks_for_replaces_its_containers_sum() -> None:
    wanted = pod(asks("100m"), asks("100m"), resources={"requests": {"cpu": "1500m"}})
    assert compute_pod_requests(wanted)["cpu"] == 1.5
