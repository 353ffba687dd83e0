"""create role, rolebinding, token and service; auth can-i --list's rows."""

import pytest

from minipod.cli.commands.auth import compute_rows
from minipod.cli.commands.create_service import ports
from minipod.cli.errors import CliError
from tests.fakes.apiserver import FakeApiServer
from tests.unit.cli.conftest import Minipod


def test_a_role_has_a_rule_for_each_group(server: FakeApiServer, minipod: Minipod) -> None:
    ended = minipod(
        *("create", "role", "reader", "--verb=get,list", "--verb=watch"),
        *("--resource=pods,pods/log", "--dry-run=client", "-o", "json"),
    )
    assert ended.code == 0
    assert '"resources": [\n                "pods",\n                "pods/log"' in ended.out
    assert (
        '"verbs": [\n                "get",\n                "list",\n                "watch"'
        in ended.out
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("role", "r", "--resource=pods"), "at least one verb must be specified"),
        (("role", "r", "--verb=get"), "at least one resource must be specified"),
        (
            ("role", "r", "--verb=get", "--resource=nothing"),
            'doesn\'t have a resource type "nothing"',
        ),
        (
            ("role", "r", "--verb=get", "--resource=pods,secrets", "--resource-name=a"),
            "exactly one resource must be specified",
        ),
        (("rolebinding", "b", "--user=u"), "exactly one of clusterrole or role must be specified"),
        (
            ("rolebinding", "b", "--role=r", "--serviceaccount=default"),
            "serviceaccount must be <namespace>:<name>",
        ),
        (("token", "a", "--bound-object-kind=Pod"), "--bound-object-name is required"),
        (("service", "clusterip", "web"), "at least one tcp port specifier must be provided"),
    ],
)
def test_what_may_not_be_created(
    server: FakeApiServer, minipod: Minipod, arguments: tuple[str, ...], problem: str
) -> None:
    ended = minipod("create", *arguments)
    assert ended.code != 0
    assert problem in ended.err
    assert not server.writes()


def test_a_bound_token_names_what_it_is_bound_to(server: FakeApiServer, minipod: Minipod) -> None:
    minipod(
        *("create", "token", "builder", "--duration=10m", "--audience=vault"),
        *("--bound-object-kind=Pod", "--bound-object-name=web"),
    )
    [sent] = server.writes()
    assert sent.path == "/api/v1/namespaces/default/serviceaccounts/builder/token"
    assert sent.body["spec"] == {
        "audiences": ["vault"],
        "expirationSeconds": 600,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web"},
    }


def test_ports_of_a_service() -> None:
    assert ports(("80:8080,443", "81:http")) == [
        {"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080},
        {"name": "443", "port": 443, "protocol": "TCP", "targetPort": 443},
        {"name": "81-http", "port": 81, "protocol": "TCP", "targetPort": "http"},
    ]
    with pytest.raises(CliError, match='invalid port "http:80"'):
        ports(("http:80",))


def test_rules_of_the_same_resource_are_one_row() -> None:
    status = {
        "resourceRules": [
            {"apiGroups": ["", "apps"], "resources": ["x"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["x"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["x"], "resourceNames": ["a"], "verbs": ["delete"]},
        ],
        "nonResourceRules": [{"nonResourceURLs": ["/livez"], "verbs": ["get"]}],
    }
    assert compute_rows(status) == [
        ("x", "[]", "[]", "[get list]"),
        ("x.apps", "[]", "[]", "[get]"),
        ("x", "[]", "[a]", "[delete]"),
        ("", "[/livez]", "[]", "[get]"),
    ]
