"""Aggregated roles: made up of what their selectors select, also in steps."""

from typing import Any

from minipod.api.rbac.default_roles import cluster_role, cluster_roles, rule
from minipod.controllers.cluster_role_aggregation import compute_rules


def aggregated(name: str, **labels: str) -> dict[str, Any]:
    made = cluster_role(name, ())
    made["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": labels}]}
    return made


def test_rules_are_those_of_the_selected_roles_by_name_each_once() -> None:
    get, put = rule("get", "core", "pods"), rule("update", "core", "pods")
    roles = [
        cluster_role("z", [put, get], labels={"a": "1"}),
        cluster_role("b", [get], labels={"a": "1"}),
        cluster_role("c", [rule("delete", "core", "pods")], labels={"a": "2"}),
        aggregated("whole", a="1"),
    ]
    assert compute_rules(roles[3], roles) == [get, put]


def test_a_role_is_no_part_of_itself() -> None:
    whole = aggregated("whole", a="1")
    whole["metadata"]["labels"]["a"] = "1"
    whole["rules"] = [rule("get", "core", "pods")]
    assert compute_rules(whole, [whole]) == []


def test_the_default_roles_fill_up_in_steps() -> None:
    roles = {role["metadata"]["name"]: role for role in cluster_roles()}
    for name in ("view", "edit", "admin"):
        roles[name]["rules"] = compute_rules(roles[name], roles.values())
    sizes = [len(roles[name]["rules"]) for name in ("view", "edit", "admin")]
    assert sizes == sorted(set(sizes))
    assert sizes[0] > 5
