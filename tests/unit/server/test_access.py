"""Who may do what, through the front door: as whom one acts, roles, bindings, escalation, and reviews."""

from pathlib import Path
from typing import Any

import pytest

from .harness import CONFIG_MAPS, PODS, Answer, Api, config_map, serve

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES = f"{RBAC}/namespaces/default/roles"
BINDINGS = f"{RBAC}/namespaces/default/rolebindings"
SELF_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
Object = dict[str, Any]


def role(name: str, *rules: Object) -> Object:
    return {"kind": "Role", "metadata": {"name": name}, "rules": list(rules)}


def rule(verbs: str, resources: str, group: str = "", **more: Any) -> Object:
    return {
        "verbs": verbs.split(),
        "apiGroups": [group],
        "resources": resources.split(),
        **more,
    }


def binding(name: str, role_kind: str, role_name: str, *subjects: Object) -> Object:
    return {
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"kind": role_kind, "name": role_name, "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": list(subjects),
    }


JANE = {"kind": "User", "name": "jane"}


async def as_user(
    api: Api, user: str, method: str, path: str, body: Any = None, **headers: str
) -> Answer:
    return await api(method, path, body, Impersonate_User=user, **headers)


async def allow(api: Api, *rules: Object, subject: Object = JANE) -> None:
    await api.make(ROLES, role("granted", *rules))
    await api.make(BINDINGS, binding("granted", "Role", "granted", subject))


def test_a_user_may_do_what_his_bindings_grant_and_no_more(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        refused = await as_user(api, "jane", "GET", CONFIG_MAPS)
        assert refused.status == 403
        assert refused.body["message"] == (
            'configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" '
            'in the namespace "default"'
        )
        assert refused.body["details"] == {"kind": "configmaps"}
        await allow(api, rule("get list create", "configmaps"))
        assert (await as_user(api, "jane", "GET", CONFIG_MAPS)).status == 200
        assert (await as_user(api, "jane", "POST", CONFIG_MAPS, config_map("x"))).status == 201
        assert (await as_user(api, "jane", "DELETE", f"{CONFIG_MAPS}/x")).status == 403
        assert (await as_user(api, "joe", "GET", CONFIG_MAPS)).status == 403
        elsewhere = "/api/v1/namespaces/kube-system/configmaps"
        assert (await as_user(api, "jane", "GET", elsewhere)).status == 403
        assert (await as_user(api, "jane", "GET", "/api/v1/configmaps")).status == 403
        await api("DELETE", f"{BINDINGS}/granted")
        assert (await as_user(api, "jane", "GET", CONFIG_MAPS)).status == 403

    serve(tmp_path, body)


def test_rights_can_be_on_one_name(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await allow(api, rule("get list watch", "configmaps", resourceNames=["mine"]))
        for name in ("mine", "other"):
            await api.make(CONFIG_MAPS, config_map(name))
        assert (await as_user(api, "jane", "GET", f"{CONFIG_MAPS}/mine")).status == 200
        assert (await as_user(api, "jane", "GET", f"{CONFIG_MAPS}/other")).status == 403
        assert (await as_user(api, "jane", "GET", CONFIG_MAPS)).status == 403
        one = f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Dmine"
        assert (await as_user(api, "jane", "GET", one)).status == 200

    serve(tmp_path, body)


def test_a_binding_to_nothing_says_so(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(BINDINGS, binding("b", "ClusterRole", "missing", JANE))
        refused = await as_user(api, "jane", "GET", CONFIG_MAPS)
        assert refused.body["message"].endswith(
            'in the namespace "default": RBAC: clusterrole.rbac.authorization.k8s.io "missing" not found'
        )

    serve(tmp_path, body)


def test_what_does_not_exist_is_forbidden_before_it_is_missing(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        nowhere = "/apis/example.com/v1/widgets"
        refused = await as_user(api, "jane", "GET", nowhere)
        assert refused.body["message"] == (
            'widgets.example.com is forbidden: User "jane" cannot list resource "widgets" '
            'in API group "example.com" at the cluster scope'
        )
        assert (await api("GET", nowhere)).status == 404
        refused = await as_user(api, "jane", "GET", "/metrics")
        assert refused.body["message"] == 'forbidden: User "jane" cannot get path "/metrics"'
        assert (await as_user(api, "jane", "GET", "/api")).status == 200

    serve(tmp_path, body)


def test_groups_and_accounts_are_subjects_too(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        account = {"kind": "ServiceAccount", "name": "robot"}
        await allow(api, rule("list", "configmaps"), subject=account)
        robot = "system:serviceaccount:default:robot"
        assert (await as_user(api, robot, "GET", CONFIG_MAPS)).status == 200
        other = "system:serviceaccount:kube-system:robot"
        assert (await as_user(api, other, "GET", CONFIG_MAPS)).status == 403
        group = {"kind": "Group", "name": "dev"}
        await api.make(BINDINGS, binding("dev", "Role", "granted", group))
        inside = await as_user(api, "x", "GET", CONFIG_MAPS, Impersonate_Group="dev")
        assert inside.status == 200

    serve(tmp_path, body)


def test_impersonation_takes_leave_for_each_thing(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        who = await as_user(
            api,
            "jane",
            "POST",
            path,
            {},
            Impersonate_Group="dev",
            Impersonate_Uid="7",
            Impersonate_Extra_Where="lab",
        )
        assert who.status == 201, who.body
        assert who.body["status"]["userInfo"] == {
            "username": "jane",
            "groups": ["dev", "system:authenticated"],
            "uid": "7",
            "extra": {"where": ["lab"]},
        }
        account = await as_user(api, "system:serviceaccount:default:robot", "POST", path, {})
        assert account.body["status"]["userInfo"]["groups"] == [
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated",
        ]
        nobody = await api("POST", path, {}, Impersonate_Group="dev")
        assert nobody.status == 500

    serve(tmp_path, body)


def test_nobody_grants_what_he_does_not_have(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await allow(
            api,
            rule("create update patch", "roles rolebindings", "rbac.authorization.k8s.io"),
            rule("get", "pods"),
        )
        fine = await as_user(api, "jane", "POST", ROLES, role("fine", rule("get", "pods")))
        assert fine.status == 201, fine.body
        more = await as_user(
            api, "jane", "POST", ROLES, role("more", rule("get delete", "pods secrets"))
        )
        assert more.status == 403
        assert more.body["message"] == (
            'roles.rbac.authorization.k8s.io "more" is forbidden: user "jane" (groups=["system:authenticated"]) '
            "is attempting to grant RBAC permissions not currently held:\n"
            '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}\n'
            '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}'
        )
        wide = {"rules": [rule("*", "*")]}
        patched = await as_user(
            api, "jane", "PATCH", f"{ROLES}/fine", wide, Content_Type="application/merge-patch+json"
        )
        assert patched.status == 403
        relabeled = await as_user(
            api,
            "jane",
            "PATCH",
            f"{ROLES}/fine",
            {"metadata": {"labels": {"a": "b"}}},
            Content_Type="application/merge-patch+json",
        )
        assert relabeled.status == 200
        admin = await as_user(
            api, "jane", "POST", BINDINGS, binding("a", "ClusterRole", "cluster-admin", JANE)
        )
        assert admin.status == 403
        assert 'Verbs:["*"]' in admin.body["message"]
        missing = await as_user(
            api, "jane", "POST", BINDINGS, binding("m", "Role", "missing", JANE)
        )
        assert (missing.status, missing.body["message"]) == (
            404,
            'role.rbac.authorization.k8s.io "missing" not found',
        )
        own = await as_user(api, "jane", "POST", BINDINGS, binding("own", "Role", "fine", JANE))
        assert own.status == 201, own.body

    serve(tmp_path, body)


def test_who_may_escalate_or_bind_may_grant_anything(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        group = "rbac.authorization.k8s.io"
        await allow(
            api,
            rule("create escalate", "roles", group),
            rule("create", "rolebindings", group),
            rule("bind", "clusterroles", group, resourceNames=["view"]),
        )
        made = await as_user(api, "jane", "POST", ROLES, role("all", rule("*", "*", "*")))
        assert made.status == 201, made.body
        view = await as_user(
            api, "jane", "POST", BINDINGS, binding("v", "ClusterRole", "view", JANE)
        )
        assert view.status == 201, view.body
        edit = binding("e", "ClusterRole", "system:aggregate-to-edit", JANE)
        assert (await as_user(api, "jane", "POST", BINDINGS, edit)).status == 403

    serve(tmp_path, body)


def test_applying_what_is_not_there_takes_leave_to_create_it(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await allow(api, rule("patch", "configmaps"))
        path, sent = f"{CONFIG_MAPS}/x?fieldManager=me", config_map("x", a="b")
        typed = {"Content_Type": "application/apply-patch+yaml"}
        refused = await as_user(api, "jane", "PATCH", path, sent, **typed)
        assert refused.status == 403
        assert 'cannot create resource "configmaps"' in refused.body["message"]
        await api.make(CONFIG_MAPS, config_map("x"))
        assert (await as_user(api, "jane", "PATCH", path, sent, **typed)).status == 200

    serve(tmp_path, body)


def test_an_aggregated_role_takes_full_authority(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = {
            "kind": "ClusterRole",
            "metadata": {"name": "c"},
            "rules": [rule("create", "clusterroles", "rbac.authorization.k8s.io")],
        }
        await api.make(f"{RBAC}/clusterroles", made)
        bound = {**binding("c", "ClusterRole", "c", JANE), "kind": "ClusterRoleBinding"}
        await api.make(f"{RBAC}/clusterrolebindings", bound)
        wide = {
            "kind": "ClusterRole",
            "metadata": {"name": "w"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
        }
        refused = await as_user(api, "jane", "POST", f"{RBAC}/clusterroles", wide)
        assert '{NonResourceURLs:["*"], Verbs:["*"]}' in refused.body["message"]
        assert (await api("POST", f"{RBAC}/clusterroles", wide)).status == 201

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("path", "obj", "message"),
    [
        (
            ROLES,
            role("r", {"verbs": ["get"], "apiGroups": [""]}),
            "rules[0].resources: Required value",
        ),
        (
            ROLES,
            role("r", {"apiGroups": [""], "resources": ["pods"], "verbs": []}),
            "rules[0].verbs: Required",
        ),
        (
            ROLES,
            role("r", {"verbs": ["get"], "nonResourceURLs": ["/x"]}),
            "namespaced rules cannot apply to non-resource URLs",
        ),
        (BINDINGS, binding("b", "Pod", "x", JANE), 'roleRef.kind: Unsupported value: "Pod"'),
        (BINDINGS, binding("b", "Role", "", JANE), "roleRef.name: Required value"),
        (BINDINGS, binding("b", "Role", "x", {"kind": "Robot", "name": "x"}), "subjects[0].kind"),
    ],
)
def test_what_is_wrong_with_a_role_or_binding_is_told(
    tmp_path: Path, path: str, obj: Object, message: str
) -> None:
    async def body(api: Api) -> None:
        refused = await api("POST", path, obj)
        assert refused.status == 422
        assert message in refused.body["message"]

    serve(tmp_path, body)


def test_a_bindings_role_does_not_change(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(BINDINGS, binding("b", "Role", "x", JANE))
        made["roleRef"]["name"] = "y"
        refused = await api("PUT", f"{BINDINGS}/b", made)
        assert "cannot change roleRef" in refused.body["message"]

    serve(tmp_path, body)


def test_reviews_answer_who_may_do_what(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await allow(api, rule("get", "pods"))
        resource = {"namespace": "default", "verb": "get", "resource": "pods"}
        asked = {"spec": {"resourceAttributes": resource}}
        mine = await as_user(api, "jane", "POST", SELF_REVIEWS, asked)
        assert mine.status == 201
        assert mine.body["status"] == {
            "allowed": True,
            "reason": 'RBAC: allowed by RoleBinding "granted/default" of Role "granted" to User "jane"',
        }
        other = await as_user(api, "joe", "POST", SELF_REVIEWS, asked)
        assert other.body["status"] == {"allowed": False}
        his = {"spec": {"user": "jane", "resourceAttributes": resource}}
        assert (await api("POST", REVIEWS, his)).body["status"]["allowed"]
        assert (await as_user(api, "jane", "POST", REVIEWS, his)).status == 403
        path = {"spec": {"user": "joe", "nonResourceAttributes": {"path": "/logs", "verb": "get"}}}
        assert (await api("POST", REVIEWS, path)).body["status"] == {"allowed": False}
        local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
        assert (await api("POST", local, his)).body["status"]["allowed"]
        wrong = {"spec": {"user": "jane", "resourceAttributes": {**resource, "namespace": "x"}}}
        assert (await api("POST", local, wrong)).status == 400
        for bad in ({"spec": {"user": "jane"}}, {"spec": {"resourceAttributes": resource}}):
            assert (await api("POST", REVIEWS, bad)).status == 422

    serve(tmp_path, body)


def test_one_can_ask_for_all_ones_rights(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await allow(api, rule("get", "pods"))
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        found = await as_user(
            api,
            "jane",
            "POST",
            path,
            {"spec": {"namespace": "default"}},
            Impersonate_Group="system:authenticated",
        )
        status = found.body["status"]
        assert {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]} in status[
            "resourceRules"
        ]
        assert any("/healthz" in each["nonResourceURLs"] for each in status["nonResourceRules"])
        assert status["incomplete"] is False

    serve(tmp_path, body)


def test_entering_a_container_by_get_takes_leave_to_create(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await allow(api, rule("get", "pods/exec pods/log"))
        refused = await as_user(api, "jane", "GET", f"{PODS}/p/exec?command=sh")
        assert 'cannot create resource "pods/exec"' in refused.body["message"]
        assert (await as_user(api, "jane", "GET", f"{PODS}/p/log")).status == 404

    serve(tmp_path, body)


def test_the_default_roles_come_back_complete_at_the_next_start(tmp_path: Path) -> None:
    view = f"{RBAC}/clusterroles/system:aggregate-to-view"

    async def damage(api: Api) -> None:
        found = (await api("GET", view)).body
        found["rules"] = found["rules"][:1]
        await api("PUT", view, found)
        await api("DELETE", f"{RBAC}/clusterroles/cluster-admin")
        kept = (await api("GET", f"{RBAC}/clusterroles/edit")).body
        kept["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false"
        kept["metadata"]["labels"] = {}
        assert (await api("PUT", f"{RBAC}/clusterroles/edit", kept)).status == 200

    async def look(api: Api) -> None:
        assert len((await api("GET", view)).body["rules"]) > 5
        assert (await api("GET", f"{RBAC}/clusterroles/cluster-admin")).status == 200
        assert not (await api("GET", f"{RBAC}/clusterroles/edit")).body["metadata"].get("labels")

    serve(tmp_path, damage)
    serve(tmp_path, look)
