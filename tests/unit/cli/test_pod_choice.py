"""Which Pod a Service or a workload stands for, and which of its ports."""

from typing import Any

import pytest

from minipod.cli.commands.port_forward import _translated
from minipod.cli.errors import CliError
from minipod.cli.pod_choice import Chosen, best, selector_of
from minipod.cli.resources import Resource
from tests.fakes.apiserver import FakeApiServer
from tests.unit.cli.conftest import Minipod

Object = dict[str, Any]
DEPLOYMENTS = Resource("deployments", "deployment", "Deployment", group="apps")
SERVICES = Resource("services", "service", "Service")


def pod(name: str, phase: str = "Running", ready: str = "", **more: Any) -> Object:
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": ready}] if ready else []
    return {
        "metadata": {"name": name, "creationTimestamp": more.get("created", "")},
        "spec": {"nodeName": more.get("node", "one"), "containers": []},
        "status": {
            "phase": phase,
            "conditions": conditions,
            "containerStatuses": [{"restartCount": more.get("restarts", 0)}],
        },
    }


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (pod("a", node=""), pod("b", "Pending")),
        (pod("a", "Pending"), pod("b")),
        (pod("a", "Succeeded"), pod("b", "Pending")),
        (pod("a"), pod("b", ready="2024-01-01T00:00:00Z")),
        (pod("a", ready="2024-01-01T00:00:02Z"), pod("b", ready="2024-01-01T00:00:01Z")),
        (pod("a", restarts=2), pod("b", restarts=1)),
        (pod("a", created="2024-01-02T00:00:00Z"), pod("b", created="2024-01-01T00:00:00Z")),
    ],
    ids=["assigned", "running", "not over", "ready", "ready for longer", "steadier", "older"],
)
def test_the_pod_likeliest_to_answer_is_chosen(worse: Object, better: Object) -> None:
    assert best([worse, better]) is better
    assert best([better, worse]) is better


def test_selectors_are_written_as_text() -> None:
    requirements = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "env", "operator": "NotIn", "values": ["test"]},
        {"key": "kept", "operator": "Exists"},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": requirements}
    text = selector_of(DEPLOYMENTS, {"spec": {"selector": selector}})
    assert text == "app=web,tier in (a,b),env notin (test),kept,!old"
    assert selector_of(SERVICES, {"spec": {"selector": {"app": "web"}}}) == "app=web"
    with pytest.raises(CliError, match="invalid service 'x': Service is defined without"):
        selector_of(SERVICES, {"metadata": {"name": "x"}, "spec": {}})


def service(**spec: Any) -> Object:
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "by-name", "port": 81, "targetPort": "web"},
        {"port": 82},
    ]
    return {"kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports, **spec}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", "80:8080"),
        ("http", "80:8080"),
        ("9000:http", "9000:8080"),
        (":80", ":8080"),
        (":by-name", ":8888"),
        ("82", "82:82"),
    ],
)
def test_a_services_port_stands_for_its_target(text: str, expected: str) -> None:
    made = pod("web")
    made["spec"]["containers"] = [{"ports": [{"name": "web", "containerPort": 8888}]}]
    assert _translated(Chosen(made, service()), text) == expected
    assert _translated(Chosen(made), "web") == "8888"


def test_a_headless_services_port_is_the_pods() -> None:
    assert _translated(Chosen(pod("web"), service(clusterIP="None")), ":80") == ":80"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (":99", "Service 's' does not have a service port 99"),
        ("x:none", "Service 's' does not have a named port none"),
    ],
)
def test_a_port_that_a_service_does_not_have(text: str, message: str) -> None:
    with pytest.raises(CliError) as refused:
        _translated(Chosen(pod("web"), service()), text)
    assert refused.value.text() == f"error: {message}"


def test_what_has_no_pods_is_refused(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("configmaps", {"metadata": {"name": "x", "namespace": "default"}})
    ended = minipod("exec", "cm/x", "--", "true")
    assert ended.code == 1
    assert '"configmap/x" has no Pods' in ended.err
