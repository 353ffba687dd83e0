from datetime import UTC, datetime

import pytest

from minipod.api import kinds, strategy
from minipod.api.pod_resources import compute_pod_requests, compute_qos_class
from tests.unit.api.objects import POD, container, pod, stored

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_new_pod_is_pending_and_knows_its_class():
    made = pod()
    made["status"] = {"phase": "Running", "podIP": "6.6.6.6"}
    POD.hooks.prepare_create(made)
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


def test_a_gated_pod_says_so():
    made = pod(schedulingGates=[{"name": "example.com/wait"}])
    POD.hooks.prepare_create(made)
    [condition] = made["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "PodScheduled",
        "False",
        "SchedulingGated",
    )


def test_the_class_survives_status_updates():
    new, old = stored(), stored()
    new["status"] = {"phase": "Running"}
    POD.hooks.prepare_status_update(new, old)
    assert new["status"]["qosClass"] == "BestEffort"


def test_namespaces_have_their_finalizer_which_updates_keep():
    kind = kinds.by_resource("namespaces")
    made = {"metadata": {"name": "n"}}
    kind.hooks.prepare_create(made)
    kind.hooks.prepare_create(made)
    assert made["spec"]["finalizers"] == ["kubernetes"]
    assert made["status"] == {"phase": "Active"}
    changed = {"metadata": {"name": "n"}, "spec": {"finalizers": []}}
    kind.hooks.prepare_update(changed, made)
    assert changed["spec"]["finalizers"] == ["kubernetes"]


def test_binding_puts_a_pod_on_a_node_once():
    made = stored()
    assert strategy.bind_pod(made, {"target": {"name": "n1"}}, NOW) is None
    assert made["spec"]["nodeName"] == "n1"
    [condition] = made["status"]["conditions"]
    assert condition["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    cause = strategy.bind_pod(made, {"target": {"name": "n2"}}, NOW)
    assert cause is not None
    assert 'pod web is already assigned to node "n1"' in cause.message
    assert made["spec"]["nodeName"] == "n1"


def test_a_pod_that_is_going_is_not_bound():
    made = stored()
    made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert strategy.bind_pod(made, {"target": {"name": "n1"}}, NOW) is not None
    assert "nodeName" not in made["spec"]


FULL = {"limits": {"cpu": "1", "memory": "1Gi"}}


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"limits": {"ephemeral-storage": "1Gi"}}], "BestEffort"),
        ([FULL], "Guaranteed"),
        ([FULL, FULL], "Guaranteed"),
        ([{**FULL, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
        ([{**FULL, "requests": {"cpu": "500m"}}], "Burstable"),
        ([FULL, {}], "Burstable"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
        ([{"requests": {"memory": "1"}}], "Burstable"),
    ],
)
def test_classes(resources, qos):
    containers = [container(f"c{at}", resources=each) for at, each in enumerate(resources)]
    assert compute_qos_class(pod(containers=containers)) == qos


def test_the_pods_own_resources_decide_before_its_containers():
    assert compute_qos_class(pod(resources=FULL)) == "Guaranteed"


def test_requests_are_the_sum_or_the_peak_of_initialization():
    def asks(name, cpu, **more):
        return container(name, resources={"requests": {"cpu": cpu}}, **more)

    made = pod(
        initContainers=[asks("side", "100m", restartPolicy="Always"), asks("init", "2")],
        containers=[asks("a", "500m"), asks("b", "1")],
        overhead={"cpu": "10m"},
    )
    assert float(compute_pod_requests(made)["cpu"]) == pytest.approx(2.11)
    made["spec"]["initContainers"].pop()
    assert float(compute_pod_requests(made)["cpu"]) == pytest.approx(1.61)
