"""What a node agent may read and write: what its own Pods need, and its own Node."""

from pathlib import Path
from typing import Any

import pytest

from minipod.api.errors import StatusError
from minipod.api.pod_references import audiences_of, claims_of, config_maps_of, secrets_of
from minipod.client import Client
from minipod.server.node_restriction import _is_others
from minipod.server.token_authentication import Credentials
from minipod.tokens import TokenSigner

from .harness import CONFIG_MAPS, PODS, Api, config_map, pod, serve

Object = dict[str, Any]
SECRETS = PODS.replace("pods", "secrets")
UNRELATED = "no relationship found between node 'one' and this object"


def everything() -> Object:
    """Return a Pod that refers to something in every way."""
    made = pod("all", nodeName="one", imagePullSecrets=[{"name": "pull"}])
    made["spec"]["volumes"] = [
        {"name": "a", "secret": {"secretName": "volume"}},
        {"name": "b", "configMap": {"name": "volume"}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "d", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "e", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "csi"}}},
        {
            "name": "f",
            "projected": {
                "sources": [
                    {"secret": {"name": "projected"}},
                    {"configMap": {"name": "projected"}},
                    {"serviceAccountToken": {"path": "token"}},
                    {"serviceAccountToken": {"path": "vault", "audience": "vault"}},
                ]
            },
        },
    ]
    made["spec"]["containers"][0] |= {
        "envFrom": [{"secretRef": {"name": "whole"}}, {"configMapRef": {"name": "whole"}}],
        "env": [
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "key", "key": "k"}}},
            {"name": "C", "value": "plain"},
        ],
    }
    return made


def test_what_a_pod_refers_to() -> None:
    assert secrets_of(everything()) == {"pull", "volume", "csi", "projected", "whole", "key"}
    assert config_maps_of(everything()) == {"volume", "projected", "whole", "key"}
    assert claims_of(everything()) == {"claim", "all-d"}
    assert audiences_of(everything()) == {"", "vault"}
    for find in (secrets_of, config_maps_of, claims_of, audiences_of):
        assert find(pod()) == set()


async def refusal(attempt: Any) -> str:
    """Return why an attempt is refused, which it must be."""
    with pytest.raises(StatusError) as refused:
        await attempt
    assert refused.value.code == 403, refused.value.message
    return refused.value.message


def of_node(api: Api, name: str = "one") -> Client:
    return api.client.acting_as(f"system:node:{name}", "system:nodes")


async def make_objects(api: Api) -> None:
    for name in ("mine", "other"):
        await api.make(SECRETS, {"metadata": {"name": name}})
        await api.make(CONFIG_MAPS, config_map(name))
    for number, node in enumerate(("one", "two")):
        name = ("mine", "other")[number]
        volumes = [
            {"name": "s", "secret": {"secretName": name}},
            {"name": "c", "configMap": {"name": name}},
        ]
        await api.make(PODS, pod(node, nodeName=node, volumes=volumes))


def test_a_node_reads_what_its_pods_refer_to_while_they_are_there(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await make_objects(api)
        node = of_node(api)
        for resource in ("secrets", "configmaps"):
            assert (await node.get(resource, "default", "mine"))["metadata"]["name"] == "mine"
            selected = "metadata.name=mine"
            assert (await node.list(resource, "default", field_selector=selected)).items
            message = await refusal(node.get(resource, "default", "other"))
            assert message.endswith(f'in API group "" in the namespace "default": {UNRELATED}')
            message = await refusal(node.list(resource, "default"))
            assert message.endswith("No Object name found")
            message = await refusal(node.list(resource))
            assert message.endswith("can only read namespaced object of this type")
            await refusal(node.delete(resource, "default", "mine"))
        await api.client.delete("pods", "default", "one", grace_period_seconds=0)
        assert (await refusal(node.get("secrets", "default", "mine"))).endswith(UNRELATED)
        assert await of_node(api, "two").get("secrets", "default", "other")

    serve(tmp_path, body)


def test_a_node_reads_its_pods_claims_and_their_volumes(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        for name in ("mine", "other"):
            claim = {
                "metadata": {"name": name},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                    "volumeName": name,
                },
            }
            await api.make(PODS.replace("pods", "persistentvolumeclaims"), claim)
            volume = {
                "metadata": {"name": name},
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "hostPath": {"path": "/data"},
                    "claimRef": {"namespace": "default", "name": name},
                },
            }
            await api.make("/api/v1/persistentvolumes", volume)
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "mine"}}]
        await api.make(PODS, pod(nodeName="one", volumes=volumes))
        node = of_node(api)
        assert await node.get("persistentvolumeclaims", "default", "mine")
        assert await node.get("persistentvolumes", "", "mine")
        for resource, where in (("persistentvolumeclaims", "default"), ("persistentvolumes", "")):
            assert (await refusal(node.get(resource, where, "other"))).endswith(UNRELATED)
        assert (await refusal(node.get("persistentvolumes", "", "none"))).endswith(UNRELATED)

    serve(tmp_path, body)


def test_a_node_has_its_own_pods_node_and_lease(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await make_objects(api)
        one, two = of_node(api), of_node(api, "two")
        for client, name in ((one, "one"), (two, "two")):
            await client.create("nodes", "", {"metadata": {"name": name}})
            lease = {"metadata": {"name": name}}
            await client.create("leases.coordination.k8s.io", "kube-node-lease", lease)
        assert (await one.list("pods", field_selector="spec.nodeName=one")).items
        for selected in ("", "spec.nodeName=two"):
            message = await refusal(one.list("pods", field_selector=selected))
            assert message.endswith("can only list/watch pods with spec.nodeName field selector")
        assert await one.get("pods", "default", "one")
        for other in ("two", "never-made"):
            assert (await refusal(one.get("pods", "default", other))).endswith(UNRELATED)
        acting = {"Impersonate_User": "system:node:one", "Impersonate_Group": "system:nodes"}
        for name, status in (("one", 200), ("two", 403)):
            path = f"{PODS}/{name}?fieldSelector=spec.nodeName%3Done"
            assert (await api("GET", path, **acting)).status == status
        assert await one.get("nodes", "", "one")
        assert "cannot read 'two', only its own" in await refusal(one.get("nodes", "", "two"))
        assert "cannot read all nodes, only its own" in await refusal(one.list("nodes"))
        lease = ("leases.coordination.k8s.io", "kube-node-lease")
        assert await one.get(*lease, "one")
        message = await refusal(one.get(*lease, "two"))
        assert "same name as the requesting node" in message
        message = await refusal(one.get("leases.coordination.k8s.io", "default", "one"))
        assert 'only access leases in the "kube-node-lease" system namespace' in message

    serve(tmp_path, body)


def test_a_node_writes_statuses_of_its_own_and_not_what_steers_others(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await make_objects(api)
        one = of_node(api)
        await one.create("nodes", "", {"metadata": {"name": "one", "labels": {"mine": "x"}}})
        await of_node(api, "two").create("nodes", "", {"metadata": {"name": "two"}})
        phase = {"status": {"phase": "Running"}}
        await one.patch("pods", "default", "one", phase, subresource="status")
        message = await refusal(one.patch("pods", "default", "two", phase, subresource="status"))
        assert "can only update pod status for pods with spec.nodeName set to itself" in message
        labelled = {"metadata": {"labels": {"a": "b"}}, **phase}
        message = await refusal(one.patch("pods", "default", "one", labelled, subresource="status"))
        assert "cannot update labels through pod status" in message
        message = await refusal(one.delete("pods", "default", "two"))
        assert "can only delete pods with spec.nodeName set to itself" in message
        assert 'not have "kubernetes.io/config.mirror"' in await refusal(
            one.create("pods", "default", pod("new", nodeName="one"))
        )
        for change, words in (
            (
                {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
                "not allowed to modify taints",
            ),
            (
                {"metadata": {"labels": {"node-role.kubernetes.io/x": ""}}},
                "not allowed to modify labels: node-role.kubernetes.io/x",
            ),
        ):
            assert words in await refusal(one.patch("nodes", "", "one", change))
        assert 'allowed to modify node "two"' in await refusal(
            one.patch("nodes", "", "two", {"metadata": {"labels": {"mine": "y"}}})
        )
        taken = {"metadata": {"labels": {"kubernetes.io/os": "linux", "mine": "y"}}}
        assert await one.patch("nodes", "", "one", taken)
        assert await one.delete("pods", "default", "one")

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("label", "others"),
    [
        ("app", False),
        ("example.com/role", False),
        ("kubernetes.io/hostname", False),
        ("topology.kubernetes.io/zone", False),
        ("gpu.node.kubernetes.io/present", False),
        ("kubernetes.io/mine", True),
        ("node-role.kubernetes.io/worker", True),
        ("node-restriction.kubernetes.io/tier", True),
        ("pods.k8s.io/x", True),
        ("notkubernetes.io/x", False),
    ],
)
def test_which_labels_are_not_a_nodes_own(label: str, others: bool) -> None:
    assert _is_others(label) is others


def test_a_node_makes_tokens_for_its_own_pods_alone(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = {name: await api.make(PODS, pod(name, nodeName=name)) for name in ("one", "two")}
        await api.make(PODS.replace("pods", "serviceaccounts"), {"metadata": {"name": "robot"}})
        node = of_node(api)

        def token(**spec: Any) -> Any:
            account = spec.pop("account", "default")
            asked = {"spec": {"audiences": [], **spec}}
            return node.create(
                "serviceaccounts", "default", asked, name=account, subresource="token"
            )

        def bound(name: str, **more: str) -> Object:
            found = made[name]["metadata"]
            return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": found["uid"], **more}

        assert (await token(boundObjectRef=bound("one")))["status"]["token"]
        for reference, words in (
            (None, "node requested token not bound to a pod"),
            ({"apiVersion": "v1", "kind": "Node", "name": "one"}, "token not bound to a pod"),
            (bound("one", uid=""), "with a pod binding without a uid"),
            (bound("one", uid="x"), "does not match the UID in record"),
            (bound("two"), "bound to a pod scheduled on a different node"),
        ):
            assert words in await refusal(token(boundObjectRef=reference))
        message = await refusal(token(boundObjectRef=bound("one"), audiences=["vault"]))
        assert 'audience "vault" not found in pod spec volume' in message
        message = await refusal(token(boundObjectRef=bound("one"), account="robot"))
        assert message.endswith(UNRELATED)

    credentials = Credentials(signer=TokenSigner(tmp_path / "sa.key"))
    serve(tmp_path, body, credentials=credentials)
