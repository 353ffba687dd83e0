from copy import deepcopy

import pytest

from minipod.api import kinds
from minipod.api.defaults import apply_defaults
from minipod.api.pod_defaults import default_pull_policy
from tests.unit.api.objects import POD, container, pod


def defaulted_spec(**spec):
    made = pod(**spec)
    apply_defaults(POD, made)
    return made["spec"]


def test_a_pod_that_says_little_means_a_lot():
    spec = defaulted_spec()
    main = spec.pop("containers")[0]
    tolerations = spec.pop("tolerations")
    assert spec == {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
        "securityContext": {},
        "serviceAccountName": "default",
        "serviceAccount": "default",
    }
    assert main == {
        "name": "main",
        "image": "busybox:1",
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
    }
    assert [each["key"] for each in tolerations] == [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ]
    assert {each["tolerationSeconds"] for each in tolerations} == {300}


def test_defaulting_twice_changes_nothing_and_what_is_said_stays():
    typed = pod(
        restartPolicy="Never",
        terminationGracePeriodSeconds=5,
        enableServiceLinks=False,
        hostNetwork=True,
        tolerations=[{"operator": "Exists"}],
        volumes=[{"name": "v"}, {"name": "c", "configMap": {"name": "c", "defaultMode": 0}}],
        initContainers=[container("init", image="x")],
        containers=[
            container(ports=[{"containerPort": 80}], livenessProbe={"exec": {"command": ["a"]}})
        ],
    )
    once = deepcopy(typed)
    apply_defaults(POD, once)
    twice = deepcopy(once)
    apply_defaults(POD, twice)
    assert twice == once
    assert once["spec"]["restartPolicy"] == "Never"
    assert once["spec"]["enableServiceLinks"] is False
    assert once["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert once["spec"]["volumes"][1]["configMap"]["defaultMode"] == 0


DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.9", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/a/nginx:2", "IfNotPresent"),
        ("[fd00::1]:5000/nginx", "Always"),
        (f"nginx@{DIGEST}", "IfNotPresent"),
        (f"nginx:1.9@{DIGEST}", "IfNotPresent"),
        (f"nginx:latest@{DIGEST}", "Always"),
        ("nginx:latest@sha256:ab", "IfNotPresent"),  # of what is no reference nothing is meant
        ("a/Nginx", "IfNotPresent"),
        ("nginx\n", "IfNotPresent"),
    ],
)
def test_pull_policy_goes_by_the_tag(image, policy):
    assert default_pull_policy(image) == policy


def test_ports_of_host_network_pods_are_host_ports():
    ports = [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]
    spec = defaulted_spec(hostNetwork=True, containers=[container(ports=ports)])
    assert spec["containers"][0]["ports"] == [
        {"containerPort": 80, "protocol": "TCP", "hostPort": 80},
        {"containerPort": 53, "protocol": "UDP", "hostPort": 53},
    ]
    spec = defaulted_spec(containers=[container(ports=ports)])
    assert "hostPort" not in spec["containers"][0]["ports"][0]


def test_probes_hooks_and_references():
    spec = defaulted_spec(
        containers=[
            container(
                livenessProbe={"httpGet": {"port": 80}, "periodSeconds": 3},
                readinessProbe={"grpc": {"port": 9}},
                lifecycle={"preStop": {"httpGet": {"port": 1}}},
                env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            )
        ]
    )["containers"][0]
    assert spec["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "periodSeconds": 3,
        "timeoutSeconds": 1,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert spec["readinessProbe"]["grpc"] == {"port": 9, "service": ""}
    assert spec["lifecycle"]["preStop"]["httpGet"]["scheme"] == "HTTP"
    assert spec["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"


def test_volumes():
    spec = defaulted_spec(
        volumes=[
            {"name": "none"},
            {"name": "host", "hostPath": {"path": "/x"}},
            {"name": "secret", "secret": {"secretName": "s"}},
            {
                "name": "all",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "t"}},
                        {
                            "downwardAPI": {
                                "items": [
                                    {"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}
                                ]
                            }
                        },
                    ]
                },
            },
        ]
    )
    none, host, secret, projected = spec["volumes"]
    assert none["emptyDir"] == {}
    assert host["hostPath"]["type"] == ""
    assert secret["secret"]["defaultMode"] == 420
    assert projected["projected"]["defaultMode"] == 420
    token, downward = projected["projected"]["sources"]
    assert token["serviceAccountToken"]["expirationSeconds"] == 3600
    assert downward["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] == "v1"


def test_limits_are_requested_where_nothing_is():
    resources = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}}
    spec = defaulted_spec(containers=[container(resources=resources)])
    assert spec["containers"][0]["resources"]["requests"] == {"cpu": "100m", "memory": "1Gi"}


def test_the_deprecated_service_account_says_the_same():
    spec = defaulted_spec(serviceAccount="robot")
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "robot"


def test_string_data_of_a_secret_becomes_data():
    secret = {
        "metadata": {"name": "s"},
        "data": {"a": "b2xk", "b": "Yg=="},
        "stringData": {"a": "new"},
    }
    apply_defaults(kinds.by_resource("secrets"), secret)
    assert secret["type"] == "Opaque"
    assert secret["data"] == {"a": "bmV3", "b": "Yg=="}
    assert "stringData" not in secret


def test_namespaces_are_labelled_with_their_name():
    namespace = {"metadata": {"name": "team", "labels": {"a": "b"}}}
    apply_defaults(kinds.by_resource("namespaces"), namespace)
    assert namespace["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": "team"}


@pytest.mark.parametrize("said", [{}, {"allocatable": {"cpu": "1"}}])
def test_all_of_a_nodes_capacity_is_allocatable_unless_it_says_what_is(said):
    capacity = {"cpu": "2", "memory": "1Gi"}
    node = {"metadata": {"name": "n"}, "status": {"capacity": capacity, **said}}
    apply_defaults(kinds.by_resource("nodes"), node)
    assert node["status"]["allocatable"] == said.get("allocatable", capacity)


def test_a_negative_grace_period_is_one_second():
    assert defaulted_spec(terminationGracePeriodSeconds=-5)["terminationGracePeriodSeconds"] == 1
    assert defaulted_spec(terminationGracePeriodSeconds=0)["terminationGracePeriodSeconds"] == 0


@pytest.mark.parametrize(
    ("resource", "status"),
    [
        ("deployments.apps", {}),
        ("replicasets.apps", {"replicas": 0}),
        ("statefulsets.apps", {"replicas": 0, "availableReplicas": 0}),
        ("services", {"loadBalancer": {}}),
        ("ingresses.networking.k8s.io", {"loadBalancer": {}}),
        ("volumeattachments.storage.k8s.io", {"attached": False}),
        ("cronjobs.batch", {}),
    ],
)
def test_clients_find_a_status_before_anybody_has_told_one(resource: str, status: dict) -> None:
    kind, obj = kinds.by_resource(resource), {"metadata": {"name": "x"}, "spec": {}}
    apply_defaults(kind, obj)
    assert obj["status"] == status
    obj["status"]["loadBalancer"] = {"ingress": []}
    other = {"metadata": {"name": "y"}, "spec": {}}
    apply_defaults(kind, other)
    assert other["status"] == status


def test_what_is_told_of_a_status_is_completed() -> None:
    kind = kinds.by_resource("poddisruptionbudgets.policy")
    obj = {"metadata": {"name": "x"}, "spec": {}, "status": {"currentHealthy": 3}}
    apply_defaults(kind, obj)
    assert obj["status"] == {
        "disruptionsAllowed": 0,
        "currentHealthy": 3,
        "desiredHealthy": 0,
        "expectedPods": 0,
    }


@pytest.mark.parametrize(
    ("resource", "fields"),
    [
        ("leases.coordination.k8s.io", {"spec": {}}),
        ("resourcequotas", {"spec": {}, "status": {}}),
        ("csinodes.storage.k8s.io", {"spec": {"drivers": None}}),
        ("configmaps", {}),
    ],
)
def test_a_spec_of_nothing_is_there(resource: str, fields: dict[str, object]) -> None:
    obj = {"metadata": {"name": "x"}}
    apply_defaults(kinds.by_resource(resource), obj)
    assert obj.keys() - {"apiVersion", "kind", "metadata"} == fields.keys()
    assert {name: obj[name] for name in fields} == fields
