"""What a write may ask for beside its object, and which kinds take what: over HTTP."""

import json
from pathlib import Path

import pytest

from .harness import CONFIG_MAPS, Api, config_map, serve

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
NAMESPACED = "/api/v1/namespaces/default"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
ENDPOINTS = f"{NAMESPACED}/endpoints"


@pytest.mark.parametrize(
    ("method", "options"),
    [("POST", "CreateOptions"), ("PUT", "UpdateOptions"), ("PATCH", "PatchOptions")],
)
@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("dryRun=Some", 'dryRun: Unsupported value: ["Some"]: supported values: "All"'),
        (
            "fieldValidation=Loose",
            'fieldValidation: Unsupported value: "Loose": '
            'supported values: "", "Ignore", "Strict", "Warn"',
        ),
        (f"fieldManager={'x' * 129}", "fieldManager: Too long: may not be more than 128 bytes"),
    ],
)
def test_options_of_a_write_are_judged_by_their_own_kind(
    tmp_path: Path, method: str, options: str, query: str, why: str
) -> None:
    async def body(api: Api) -> None:
        path = CONFIG_MAPS if method == "POST" else f"{CONFIG_MAPS}/c"
        media = MERGE if method == "PATCH" else "application/json"
        answer = await api(method, f"{path}?{query}", config_map("c"), Content_Type=media)
        assert (answer.status, answer.body["reason"]) == (422, "Invalid")
        assert answer.body["message"] == f'{options}.meta.k8s.io "" is invalid: {why}'

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"dryRun": ["Some"]}, 'dryRun: Unsupported value: ["Some"]: supported values: "All"'),
        (
            {"propagationPolicy": "Some"},
            'propagationPolicy: Unsupported value: "Some": '
            'supported values: "Foreground", "Background", "Orphan", "nil"',
        ),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            'propagationPolicy: Invalid value: "Orphan": '
            "orphanDependents and deletionPropagation cannot be both set",
        ),
    ],
)
def test_options_of_a_delete(tmp_path: Path, given: dict[str, object], why: str) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("c"))
        answer = await api("DELETE", f"{CONFIG_MAPS}/c", given)
        assert (answer.status, answer.body["reason"]) == (422, "Invalid")
        assert answer.body["message"] == f'DeleteOptions.meta.k8s.io "" is invalid: {why}'
        assert (await api("GET", f"{CONFIG_MAPS}/c")).status == 200

    serve(tmp_path, body)


def test_an_update_makes_what_is_not_there_of_kinds_that_allow_it(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        slim = {"metadata": {"name": "e"}, "subsets": []}
        dry = await api("PUT", f"{ENDPOINTS}/e?dryRun=All", slim)
        assert dry.status == 201
        assert (await api("GET", f"{ENDPOINTS}/e")).status == 404
        made = await api("PUT", f"{ENDPOINTS}/e", slim, User_Agent="elector/v1")
        assert (made.status, made.body["metadata"]["name"]) == (201, "e")
        again = await api("PUT", f"{ENDPOINTS}/e", slim)
        assert again.status == 200
        # Whoever has seen an object means that one.
        await api("DELETE", f"{ENDPOINTS}/e")
        gone = await api("PUT", f"{ENDPOINTS}/e", made.body)
        assert (gone.status, gone.body["reason"]) == (409, "Conflict")
        assert "Precondition failed: UID in precondition" in gone.body["message"]
        refused = await api("PUT", f"{CONFIG_MAPS}/none", config_map("none"))
        assert refused.status == 404
        below = await api("PUT", f"{NAMESPACED}/services/none/status", {"metadata": {}})
        assert below.status == 404

    serve(tmp_path, body)


def test_to_make_by_an_update_takes_the_right_to_create(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        group = "rbac.authorization.k8s.io"
        rules = [{"apiGroups": [""], "resources": ["endpoints"], "verbs": ["update"]}]
        roles = f"/apis/{group}/v1/namespaces/default"
        await api.make(f"{roles}/roles", {"metadata": {"name": "r"}, "rules": rules})
        binding = {
            "metadata": {"name": "r"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "r"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": "jane"}],
        }
        await api.make(f"{roles}/rolebindings", binding)
        slim = {"metadata": {"name": "e"}}
        refused = await api("PUT", f"{ENDPOINTS}/e", slim, Impersonate_User="jane")
        assert refused.status == 403
        assert 'User "jane" cannot create resource "endpoints"' in refused.body["message"]
        await api.make(ENDPOINTS, slim)
        assert (await api("PUT", f"{ENDPOINTS}/e", slim, Impersonate_User="jane")).status == 200

    serve(tmp_path, body)


def test_some_kinds_are_updated_by_who_names_a_version_alone(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(LEASES, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
        blind = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "b"}}
        refused = await api("PUT", f"{LEASES}/l", blind)
        assert (refused.status, refused.body["reason"]) == (422, "Invalid")
        assert refused.body["message"] == (
            'Lease.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: '
            "must be specified for an update"
        )
        seen = await api("PUT", f"{LEASES}/l", {**made, "spec": {"holderIdentity": "b"}})
        assert seen.status == 200
        patched = await api("PATCH", f"{LEASES}/l", {"spec": None}, Content_Type=MERGE)
        assert patched.status == 200
        # Of what is not there, there is no version to name.
        new = await api("PUT", f"{LEASES}/n", {**blind, "metadata": {"name": "n"}})
        assert new.status == 201
        budget = await api("PUT", f"{BUDGETS}/none", {"metadata": {"name": "none"}})
        assert budget.status == 404

    serve(tmp_path, body)


@pytest.mark.parametrize(("method", "verb"), [("POST", "create"), ("DELETE", "deletecollection")])
def test_namespaced_objects_are_made_and_cleared_in_a_namespace_alone(
    tmp_path: Path, method: str, verb: str
) -> None:
    async def body(api: Api) -> None:
        answer = await api(method, "/api/v1/configmaps", config_map("c"))
        assert (answer.status, answer.body["reason"]) == (405, "MethodNotAllowed")
        assert answer.body["message"] == (
            f"{verb} is not supported on configmaps of all namespaces at once: name one"
        )

    serve(tmp_path, body)


@pytest.mark.parametrize("path", ["pods", "persistentvolumeclaims", "nodes"])
def test_fields_of_metadata_alone_are_no_fields_of_other_kinds(tmp_path: Path, path: str) -> None:
    async def body(api: Api) -> None:
        answer = await api("GET", f"/api/v1/{path}?fieldSelector=name%3Dx")
        assert answer.status == 400
        own = path != "persistentvolumeclaims"
        assert answer.body["message"] == (
            "field label not supported: name"
            if own
            else '"name" is not a known field selector: only "metadata.name", "metadata.namespace"'
        )

    serve(tmp_path, body)


def test_objects_of_the_cluster_have_no_namespace_to_select_by(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
        every = (await api("GET", roles)).body["items"]
        none = await api("GET", f"{roles}?fieldSelector=metadata.namespace%3Dx")
        assert (none.status, none.body["items"]) == (200, [])
        bare = await api("GET", f"{roles}?fieldSelector=metadata.namespace%3D")
        assert len(bare.body["items"]) == len(every)
        named = await api(
            "GET", f"{roles}?fieldSelector=metadata.namespace%3D,metadata.name%3Dview"
        )
        assert [each["metadata"]["name"] for each in named.body["items"]] == ["view"]

    serve(tmp_path, body)


def test_an_exact_list_of_one_object_is_of_its_version_too(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        first = await api.make(CONFIG_MAPS, config_map("a", k="1"))
        await api("PUT", f"{CONFIG_MAPS}/a", config_map("a", k="2"))
        await api.make(CONFIG_MAPS, config_map("ab"))
        at = first["metadata"]["resourceVersion"]
        exact = f"resourceVersion={at}&resourceVersionMatch=Exact"
        answer = await api("GET", f"{CONFIG_MAPS}?{exact}&fieldSelector=metadata.name%3Da")
        assert [each["data"] for each in answer.body["items"]] == [{"k": "1"}]
        assert answer.body["metadata"]["resourceVersion"] == at

    serve(tmp_path, body)


def test_a_watch_may_do_without_what_is_there(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("a"))
        query = "watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
        for name, version in (("b", ""), ("c", "&resourceVersion=0")):
            async with api.watch(f"{CONFIG_MAPS}?{query}{version}") as events:
                await api.make(CONFIG_MAPS, config_map(name))
                assert await events.take(1) == [("ADDED", name)]

    serve(tmp_path, body)


def test_a_scale_that_is_applied_has_owners(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        deployments = "/apis/apps/v1/namespaces/default/deployments"
        spec = {
            "replicas": 2,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "m", "image": "i"}]},
            },
        }
        await api.make(
            f"{deployments}?fieldManager=maker", {"metadata": {"name": "d"}, "spec": spec}
        )

        async def scale(replicas: int, query: str) -> tuple[int, object]:
            data = {
                "apiVersion": "autoscaling/v1",
                "kind": "Scale",
                "metadata": {"name": "d"},
                "spec": {"replicas": replicas},
            }
            path = f"{deployments}/d/scale?{query}"
            answer = await api("PATCH", path, data=json.dumps(data).encode(), Content_Type=APPLY)
            return answer.status, answer.body

        status, refused = await scale(3, "fieldManager=scaler")
        assert status == 409
        assert 'conflict with "maker"' in refused["message"]
        assert refused["details"]["causes"][0]["field"] == ".spec.replicas"
        status, taken = await scale(3, "fieldManager=scaler&force=true")
        assert (status, taken["spec"]) == (200, {"replicas": 3})
        found = (await api("GET", f"{deployments}/d")).body
        owners = {
            (each["manager"], each["operation"], each.get("subresource"))
            for each in found["metadata"]["managedFields"]
            if "f:replicas" in each["fieldsV1"]["f:spec"]
        }
        assert owners == {("scaler", "Apply", "scale")}
        assert found["spec"]["template"]["spec"]["containers"][0]["name"] == "m"

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (ENDPOINTS, "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        ("/api/v1/componentstatuses", "v1 ComponentStatus is deprecated in v1.19+"),
        (CONFIG_MAPS, ""),
    ],
)
def test_whoever_uses_what_is_deprecated_is_warned(tmp_path: Path, path: str, text: str) -> None:
    async def body(api: Api) -> None:
        expected = [f'299 - "{text}"'] if text else []
        assert (await api("GET", path)).warnings == expected
        if path == ENDPOINTS:
            assert (await api("POST", path, {"metadata": {"name": "e"}})).warnings == expected
            assert (await api("DELETE", f"{path}/e")).warnings == expected
            async with api.watch(f"{path}?watch=1") as events:
                assert events.response.headers.getall("Warning") == expected

    serve(tmp_path, body)


def test_what_the_server_makes_is_its_own(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        for path in ("/api/v1/namespaces/default", f"{rbac}/clusterroles/view"):
            managed = (await api("GET", path)).body["metadata"]["managedFields"]
            assert [each["manager"] for each in managed] == ["kube-apiserver"]

    serve(tmp_path, body)
