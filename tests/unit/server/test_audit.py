"""The audit log: who did what, as much of it as the policy says, and no more."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from minipod.api.rbac.attributes import Attributes
from minipod.server.audit import AuditOptions, RotatedLog
from minipod.server.audit_policy import DEFAULT, PolicyError, parse_policy, read_policy
from minipod.server.identity import Identity

from .harness import CONFIG_MAPS, Api, config_map, serve

SECRETS = "/api/v1/namespaces/default/secrets"
JANE = Identity("jane", ("dev", "system:authenticated"))
Object = dict[str, Any]


def play(root: Path, policy: Object, body: Callable[[Api], Awaitable[None]]) -> list[Object]:
    """Return what the log has after `body`."""
    log = root / "audit" / "audit.log"

    async def audited(api: Api) -> None:
        api.server.keep_audit_log(AuditOptions(log, parse_policy(policy)))
        await body(api)

    serve(root, audited)
    assert log.stat().st_mode & 0o777 == 0o600
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_change_is_kept_as_metadata_by_default(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        answer = await api("POST", CONFIG_MAPS, config_map("x", key="value"), User_Agent="me")
        assert answer.headers["Audit-ID"]
        await api("GET", f"{CONFIG_MAPS}/x")

    (event,) = play(tmp_path, DEFAULT, body)
    assert (event["kind"], event["apiVersion"]) == ("Event", "audit.k8s.io/v1")
    assert (event["level"], event["stage"], event["verb"]) == (
        "Metadata",
        "ResponseComplete",
        "create",
    )
    assert event["user"]["username"] == "system:admin"
    assert event["objectRef"] == {
        "resource": "configmaps",
        "namespace": "default",
        "apiVersion": "v1",
    }
    assert event["responseStatus"]["code"] == 201
    assert event["userAgent"] == "me"
    assert event["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert "requestObject" not in event


def test_secrets_are_never_kept_above_metadata_by_default(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api("POST", SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "hunter2"}})
        await api("GET", f"{SECRETS}/s")
        await api("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {}})

    events = play(tmp_path, DEFAULT, body)
    assert [each["verb"] for each in events] == ["create", "get", "create"]
    text = json.dumps(events)
    assert "hunter2" not in text
    assert "aHVudGVyMg" not in text


def test_levels_and_stages_are_as_the_policy_says(tmp_path: Path) -> None:
    policy = {
        "rules": [
            {"level": "None", "verbs": ["list"]},
            {"level": "RequestResponse", "verbs": ["create"], "omitStages": ["RequestReceived"]},
            {"level": "Request", "verbs": ["update"]},
            {"level": "Metadata"},
        ]
    }

    async def body(api: Api) -> None:
        made = await api.make(CONFIG_MAPS, config_map("x", key="value"))
        await api("PUT", f"{CONFIG_MAPS}/x", made)
        await api("GET", CONFIG_MAPS)
        await api("GET", f"{CONFIG_MAPS}/x")

    events = play(tmp_path, policy, body)
    assert [(each["verb"], each["stage"], each["level"]) for each in events] == [
        ("create", "ResponseComplete", "RequestResponse"),
        ("update", "RequestReceived", "Request"),
        ("update", "ResponseComplete", "Request"),
        ("get", "RequestReceived", "Metadata"),
        ("get", "ResponseComplete", "Metadata"),
    ]
    assert events[0]["requestObject"]["data"] == {"key": "value"}
    assert events[0]["responseObject"]["metadata"]["uid"]
    assert "responseObject" not in events[2]
    assert events[1]["auditID"] == events[2]["auditID"]


def test_refusals_and_impersonation_are_kept(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api("DELETE", f"{CONFIG_MAPS}/x", Impersonate_User="jane", Audit_ID="mine")

    (event,) = play(tmp_path, DEFAULT, body)
    assert event["auditID"] == "mine"
    assert event["user"]["username"] == "system:admin"
    assert event["impersonatedUser"]["username"] == "jane"
    assert event["responseStatus"]["code"] == 403
    assert event["annotations"] == {
        "authorization.k8s.io/decision": "forbid",
        "authorization.k8s.io/reason": "",
    }


def test_a_watch_is_kept_as_it_begins_and_ends(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        async with api.watch(f"{CONFIG_MAPS}?watch=1&timeoutSeconds=1"):
            pass

    events = play(tmp_path, {"rules": [{"level": "Metadata"}]}, body)
    stages = [each["stage"] for each in events]
    assert stages[:2] == ["RequestReceived", "ResponseStarted"]


@pytest.mark.parametrize(
    ("rule", "asked", "matches"),
    [
        ({"users": ["jane"]}, Attributes("get", resource="pods"), True),
        ({"users": ["joe"]}, Attributes("get", resource="pods"), False),
        ({"userGroups": ["dev"]}, Attributes("get", resource="pods"), True),
        ({"namespaces": ["a"]}, Attributes("get", resource="pods", namespace="a"), True),
        ({"namespaces": ["a"]}, Attributes("get", resource="pods", namespace="b"), False),
        ({"namespaces": [""]}, Attributes("get", resource="nodes"), True),
        ({"nonResourceURLs": ["/api*"]}, Attributes("get", path="/apis"), True),
        ({"nonResourceURLs": ["/api*"]}, Attributes("get", resource="pods"), False),
        ({"resources": [{"group": "apps"}]}, Attributes("get", "apps", "v1", "deployments"), True),
        ({"resources": [{"group": ""}]}, Attributes("get", "apps", "v1", "deployments"), False),
        (
            {"resources": [{"resources": ["pods"]}]},
            Attributes("get", "", "v1", "pods", "log"),
            False,
        ),
        (
            {"resources": [{"resources": ["pods/*"]}]},
            Attributes("get", "", "v1", "pods", "log"),
            True,
        ),
        (
            {"resources": [{"resources": ["*/log"]}]},
            Attributes("get", "", "v1", "pods", "log"),
            True,
        ),
        (
            {"resources": [{"resources": ["pods"], "resourceNames": ["a"]}]},
            Attributes("get", "", "v1", "pods", "", "d", "b"),
            False,
        ),
    ],
)
def test_what_a_rule_matches(rule: Object, asked: Attributes, matches: bool) -> None:
    verdict = parse_policy({"rules": [{"level": "Metadata", **rule}]}).judge(JANE, asked)
    assert (verdict.level == "Metadata") is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod", "no Policy of audit.k8s.io/v1"),
        ("{kind: Policy, apiVersion: audit.k8s.io/v2}", "apiVersion must be audit.k8s.io/v1"),
        (
            "{kind: Policy, apiVersion: audit.k8s.io/v1, rules: [{level: All}]}",
            'rules\\[0\\].level: "All"',
        ),
        ("{kind: Policy, apiVersion: audit.k8s.io/v1, omitStages: [End]}", 'omitStages: "End"'),
        (
            "{kind: Policy, apiVersion: audit.k8s.io/v1, rules: [{level: None, verb: get}]}",
            'unknown field "verb"',
        ),
        ("{", "audit policy"),
    ],
)
def test_what_is_wrong_with_a_policy_is_told(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError, match=message):
        read_policy(file)


def test_full_logs_are_kept_by_number_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = RotatedLog(AuditOptions(path, max_bytes=10, max_backups=2))
    for number in range(4):
        log.write(f"line {number}")
    log.close()
    kept = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert kept == {"audit.log": "line 3\n", "audit.log.1": "line 2\n", "audit.log.2": "line 1\n"}


def test_a_log_that_cannot_be_written_is_told_of_once_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "audit").write_text("in the way")
    log = RotatedLog(AuditOptions(tmp_path / "audit" / "audit.log"))
    log.write("one")
    log.write("two")
    assert len(caplog.records) == 1
