import base64
from typing import Any

import pytest

from minipod.client import Object
from minipod.node.environment import (
    References,
    compute_environment,
    expand,
    expand_strictly,
)
from minipod.node.errors import StepError

from .pod_builders import container, make_pod

KNOWN = {"A": "1", "B": "two words", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1ytwo wordsz"),
        ("$(EMPTY)", ""),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("cost: 5$", "cost: 5$"),
        ("$()", "$()"),
        ("$((A))", "$((A))"),
        ("", ""),
        ("$(A)$(A)", "11"),
    ],
)
def test_references_are_expanded(text: str, expected: str) -> None:
    assert expand(text, KNOWN) == expected


def test_a_path_must_not_refer_to_what_is_missing() -> None:
    assert expand_strictly("$(A)/$$(C)", KNOWN) == "1/$(C)"
    with pytest.raises(StepError, match="C"):
        expand_strictly("$(C)", KNOWN)


CONFIG_MAP: Object = {"data": {"colour": "blue", "size": "7", "bad=key": "x"}}
SECRET: Object = {"data": {"password": base64.b64encode(b"hush").decode()}}
GIVEN = References(
    config_maps={"cm": CONFIG_MAP},
    secrets={"s": SECRET},
    services={"DB_SERVICE_HOST": "10.0.0.9"},
    allocatable={"cpu": "3500m", "memory": "1Gi", "ephemeral-storage": "10Gi"},
)


def environment(image: tuple[str, ...] = (), **fields: Any) -> dict[str, str]:
    made = container("app", **fields)
    pod = make_pod(made, nodeName="n1")
    pod["metadata"]["labels"] = {"tier": "web"}
    pod["status"] = {"podIP": "10.85.0.7", "podIPs": [{"ip": "10.85.0.7"}], "hostIP": "192.0.2.1"}
    return dict(each.split("=", 1) for each in compute_environment(pod, made, image, GIVEN))


def value(**source: Any) -> Object:
    return {"name": "V", "valueFrom": source}


def test_the_image_comes_first_and_is_overridden() -> None:
    found = environment(("PATH=/bin", "MODE=image"), env=[{"name": "MODE", "value": "pod"}])
    assert found == {"PATH": "/bin", "MODE": "pod", "DB_SERVICE_HOST": "10.0.0.9"}


def test_a_variable_sees_those_before_it_and_services_but_not_the_images() -> None:
    found = environment(
        ("HOME=/root",),
        env=[
            {"name": "LATE", "value": "$(FIRST)"},
            {"name": "FIRST", "value": "1"},
            {"name": "SECOND", "value": "$(FIRST)$(colour)"},
            {"name": "URL", "value": "http://$(DB_SERVICE_HOST)"},
            {"name": "IMAGE", "value": "$(HOME)"},
        ],
        envFrom=[{"configMapRef": {"name": "cm"}}],
    )
    assert found["LATE"] == "$(FIRST)"
    assert found["SECOND"] == "1blue"
    assert found["URL"] == "http://10.0.0.9"
    assert found["IMAGE"] == "$(HOME)"


def test_whole_objects_with_prefixes_the_last_one_winning() -> None:
    found = environment(
        envFrom=[
            {"configMapRef": {"name": "cm"}, "prefix": "CM_"},
            {"secretRef": {"name": "s"}},
            {"secretRef": {"name": "none", "optional": True}},
        ],
        env=[{"name": "password", "value": "own"}],
    )
    assert (found["CM_colour"], found["CM_size"], found["password"]) == ("blue", "7", "own")
    assert not any("bad" in name for name in found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "web"),
        ({"fieldRef": {"fieldPath": "metadata.labels['tier']"}}, "web"),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "10.85.0.7"),
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "n1"),
        ({"configMapKeyRef": {"name": "cm", "key": "colour"}}, "blue"),
        ({"secretKeyRef": {"name": "s", "key": "password"}}, "hush"),
        ({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}, "64"),
        ({"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}, "250"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "1"),
        ({"configMapKeyRef": {"name": "cm", "key": "none", "optional": True}}, None),
        ({"secretKeyRef": {"name": "none", "key": "x", "optional": True}}, None),
    ],
)
def test_values_from_elsewhere(source: Object, expected: str | None) -> None:
    resources = {"limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"cpu": "250m"}}
    assert environment(env=[value(**source)], resources=resources).get("V") == expected


@pytest.mark.parametrize(
    ("resource", "divisor", "own", "expected"),
    [
        ("limits.cpu", "1m", {}, "3500"),
        ("limits.cpu", "0", {}, "4"),
        ("limits.memory", "1Mi", {}, "1024"),
        ("limits.memory", "1Ki", {"limits": {"memory": "64Mi"}}, "65536"),
        ("limits.ephemeral-storage", "1Gi", {}, "10"),
        ("limits.hugepages-2Mi", "1Mi", {}, "0"),
        ("requests.cpu", "1m", {}, "0"),
        ("requests.memory", "1", {"limits": {"memory": "64Mi"}}, "0"),
    ],
)
def test_a_limit_that_is_not_set_is_the_pods_or_the_nodes(
    resource: str, divisor: str, own: Object, expected: str
) -> None:
    made = container(
        "app", env=[value(resourceFieldRef={"resource": resource, "divisor": divisor})]
    )
    found = compute_environment(make_pod(made, resources=own), made, (), GIVEN)
    assert found[-1] == f"V={expected}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"env": [value(configMapKeyRef={"name": "cm", "key": "x"})]},
            "couldn't find key x in ConfigMap default/cm",
        ),
        (
            {"env": [value(secretKeyRef={"name": "s", "key": "x"})]},
            "couldn't find key x in Secret default/s",
        ),
        ({"env": [value(configMapKeyRef={"name": "no", "key": "x"})]}, 'configmap "no" not found'),
        ({"env": [value(secretKeyRef={"name": "no", "key": "x"})]}, 'secret "no" not found'),
        ({"envFrom": [{"configMapRef": {"name": "no"}}]}, 'configmap "no" not found'),
        ({"envFrom": [{"secretRef": {"name": "no"}}]}, 'secret "no" not found'),
        ({"env": [value(newKeyRef={"key": "x"})]}, "valueFrom.newKeyRef is not supported"),
    ],
)
def test_what_is_missing_is_named_in_the_kubelets_words(fields: Object, message: str) -> None:
    with pytest.raises(StepError) as caught:
        environment(**fields)
    assert caught.value.reason == "CreateContainerConfigError"
    assert message in caught.value.message


def test_an_empty_value_is_a_value() -> None:
    assert environment(env=[{"name": "E", "value": ""}, {"name": "N"}]) == {
        "DB_SERVICE_HOST": "10.0.0.9",
        "E": "",
        "N": "",
    }
