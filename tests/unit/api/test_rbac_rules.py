"""Rules: what they allow, what covers what, how they are written, and that the default roles are sound."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipod.api import kinds, validation
from minipod.api.rbac import controller_roles, default_roles
from minipod.api.rbac.attributes import Attributes, forbidden_reason, resource_attributes
from minipod.api.rbac.reconcile import compute_binding, compute_role
from minipod.api.rbac.rules import FULL_AUTHORITY, CompiledRules, describe_rules, missing_rules

rule, paths = default_roles.rule, default_roles.paths


def allows(held: dict[str, Any], asked: Attributes) -> bool:
    compiled = CompiledRules()
    compiled.add([held], "here")
    return compiled.allows(asked) is not None


@pytest.mark.parametrize(
    ("held", "asked", "allowed"),
    [
        (rule("get", "core", "pods"), ("get", "", "v1", "pods"), True),
        (rule("get", "core", "pods"), ("list", "", "v1", "pods"), False),
        (rule("get", "apps", "pods"), ("get", "", "v1", "pods"), False),
        (rule("*", "*", "*"), ("delete", "apps", "v1", "deployments", "scale"), True),
        (rule("get", "core", "pods"), ("get", "", "v1", "pods", "log"), False),
        (rule("get", "core", "pods/log"), ("get", "", "v1", "pods", "log"), True),
        (rule("get", "core", "*/log"), ("get", "", "v1", "pods", "log"), True),
        (rule("get", "core", "*/log"), ("get", "", "v1", "pods"), False),
        (rule("get", "core", "pods/*"), ("get", "", "v1", "pods", "log"), False),
        (rule("get", "core", "pods", names="a b"), ("get", "", "v1", "pods", "", "d", "b"), True),
        (rule("get", "core", "pods", names="a b"), ("get", "", "v1", "pods", "", "d", "c"), False),
        (rule("list", "core", "pods", names="a"), ("list", "", "v1", "pods", "", "d", ""), False),
    ],
)
def test_what_a_rule_on_resources_allows(
    held: dict[str, Any], asked: tuple[str, ...], allowed: bool
) -> None:
    assert allows(held, Attributes(*asked)) is allowed


@pytest.mark.parametrize(
    ("urls", "path", "allowed"),
    [
        ("/healthz", "/healthz", True),
        ("/healthz", "/healthz/x", False),
        ("/healthz/*", "/healthz/x", True),
        ("/healthz/*", "/healthz", False),
        ("/api*", "/apis", True),
        ("*", "/anything", True),
    ],
)
def test_what_a_rule_on_paths_allows(urls: str, path: str, allowed: bool) -> None:
    assert allows(paths(urls), Attributes("get", path=path)) is allowed
    assert not allows(paths(urls), Attributes("post", path=path))


def test_a_namespace_is_in_itself_and_a_list_by_name_is_of_that_name() -> None:
    asked = resource_attributes("get", "namespaces", "", "lab")
    assert (asked.namespace, asked.name) == ("lab", "lab")
    asked = resource_attributes("watch", "pods", "lab", "", field_selector="a=b,metadata.name=web")
    assert asked.name == "web"
    asked = resource_attributes(
        "deletecollection", "pods", "lab", "", field_selector="metadata.name=web"
    )
    assert asked.name == ""


def test_refusals_have_upstreams_words() -> None:
    asked = resource_attributes("get", "deployments.apps", "lab", "web", "scale")
    assert forbidden_reason("jane", asked) == (
        'User "jane" cannot get resource "deployments/scale" in API group "apps" in the namespace "lab"'
    )
    asked = resource_attributes("list", "nodes", "", "")
    assert forbidden_reason("jane", asked) == (
        'User "jane" cannot list resource "nodes" in API group "" at the cluster scope'
    )
    assert (
        forbidden_reason("jane", Attributes("get", path="/x")) == 'User "jane" cannot get path "/x"'
    )


@pytest.mark.parametrize(
    ("held", "wanted", "missing"),
    [
        ([rule("*", "*", "*")], [rule("get list", "apps", "deployments/scale")], []),
        (
            [rule("get", "core", "pods"), rule("list", "core", "pods")],
            [rule("get list", "core", "pods")],
            [],
        ),
        (
            [rule("get", "core", "pods")],
            [rule("get list watch", "core", "pods secrets")],
            [
                '{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}',
                '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list" "watch"]}',
            ],
        ),
        ([rule("get", "core", "*/log")], [rule("get", "core", "pods/log")], []),
        (
            [rule("get", "core", "pods", names="a")],
            [rule("get", "core", "pods")],
            ['{APIGroups:[""], Resources:["pods"], Verbs:["get"]}'],
        ),
        ([rule("get", "core", "pods", names="a b")], [rule("get", "core", "pods", names="a")], []),
        (
            [rule("get", "core", "pods", names="a")],
            [rule("get", "core", "pods", names="a b")],
            ['{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}'],
        ),
        ([paths("/api/*")], [paths("/api/v1")], []),
        ([paths("/api/v1")], [paths("/api/*")], ['{NonResourceURLs:["/api/*"], Verbs:["get"]}']),
        ([rule("*", "*", "*")], [paths("/x")], ['{NonResourceURLs:["/x"], Verbs:["get"]}']),
    ],
)
def test_what_rules_lack_of_others(held: Any, wanted: Any, missing: list[str]) -> None:
    assert describe_rules(missing_rules(held, wanted)) == missing


WORDS = st.lists(
    st.sampled_from(["get", "list", "pods", "secrets", "*", "a"]), min_size=1, max_size=3
)
RULES = st.builds(
    lambda verbs, groups, resources, names: {
        "verbs": verbs,
        "apiGroups": groups,
        "resources": resources,
        **({"resourceNames": names} if names else {}),
    },
    WORDS,
    WORDS,
    WORDS,
    st.lists(st.sampled_from("ab"), max_size=2),
)


@given(RULES)
def test_every_rule_covers_itself_and_full_authority_covers_every_rule(
    held: dict[str, Any],
) -> None:
    assert missing_rules([held], [held]) == []
    assert missing_rules(FULL_AUTHORITY, [held]) == []


@given(RULES, RULES, st.sampled_from(["get", "list"]), st.sampled_from(["pods", "secrets"]))
def test_what_covers_a_rule_allows_whatever_the_rule_allows(
    owner: dict[str, Any], part: dict[str, Any], verb: str, resource: str
) -> None:
    for name in ("", "a", "b"):
        asked = Attributes(verb, "a", "v1", resource, "", "", name)
        if allows(part, asked) and not missing_rules([owner], [part]):
            assert allows(owner, asked)


def everything() -> list[dict[str, Any]]:
    return [
        *default_roles.cluster_roles(),
        *controller_roles.controller_roles(),
        *controller_roles.namespace_roles(),
        *default_roles.cluster_role_bindings(),
        *controller_roles.controller_role_bindings(),
        *controller_roles.namespace_role_bindings(),
    ]


def test_the_default_roles_and_bindings_are_valid_and_each_is_there_once() -> None:
    seen = set()
    for obj in everything():
        kind = kinds.by_kind(obj["apiVersion"], obj["kind"])
        assert validation.validate_create(kind, obj) == [], obj["metadata"]["name"]
        seen.add((obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]))
    assert len(seen) == len(everything())


def test_every_default_binding_refers_to_a_default_role() -> None:
    roles = {
        (obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        for obj in everything()
    }
    for obj in everything():
        if "roleRef" in obj:
            reference = obj["roleRef"]
            where = obj["metadata"].get("namespace", "") if reference["kind"] == "Role" else ""
            assert (reference["kind"], where, reference["name"]) in roles


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("system:monitoring", Attributes("get", "", "v1", "nodes", "metrics", "", "n")),
        ("system:aggregate-to-view", Attributes("list", "events.k8s.io", "v1", "events", "", "d")),
        ("system:aggregate-to-edit", Attributes("patch", "events.k8s.io", "v1", "events", "", "d")),
        ("system:node", Attributes("create", "events.k8s.io", "v1", "events", "", "d")),
        (
            "system::leader-locking-kube-scheduler",
            Attributes("update", "coordination.k8s.io", "v1", "leases", "", "kube-system", "any"),
        ),
        (
            "system:controller:endpointslice-controller",
            Attributes("create", "discovery.k8s.io", "v1", "endpointslices", "restricted", "d"),
        ),
        (
            "system:controller:pvc-protection-controller",
            Attributes("update", "", "v1", "persistentvolumeclaims", "status", "d", "c"),
        ),
    ],
)
def test_default_roles_allow_what_upstreams_do(name: str, asked: Attributes) -> None:
    [role] = [obj for obj in everything() if obj["metadata"]["name"] == name and "rules" in obj]
    assert any(allows(each, asked) for each in role["rules"])


def test_reconciling_adds_what_is_missing_and_takes_nothing_away() -> None:
    wanted = default_roles.cluster_role("r", [rule("get list", "core", "pods")])
    found = default_roles.cluster_role("r", [rule("delete", "core", "nodes")], labels={"mine": "1"})
    made = compute_role(found, wanted)
    assert made is not None
    assert made["rules"] == [*found["rules"], *wanted["rules"]]
    assert made["metadata"]["labels"]["mine"] == "1"
    assert compute_role(made, wanted) is None
    found["metadata"]["annotations"][default_roles.AUTO_UPDATE] = "false"
    assert compute_role(found, wanted) is None


def test_reconciling_a_binding_adds_its_subjects() -> None:
    wanted = default_roles.cluster_role_binding("r", [default_roles.user("a")])
    found = default_roles.cluster_role_binding("r", [default_roles.user("b")])
    made = compute_binding(found, wanted)
    assert made is not None
    assert [each["name"] for each in made["subjects"]] == ["b", "a"]
    assert compute_binding(made, wanted) is None
