"""The Pod Security Standards: what each version demands, and what a namespace's labels ask for."""

import json
from pathlib import Path
from typing import Any

import pytest

from minipod.server.audit import AuditOptions
from minipod.server.audit_policy import DEFAULT, parse_policy
from minipod.server.plugins.pod_security import (
    Policies,
    Policy,
    evaluate,
    find_wrong_labels,
    matters,
    read_policies,
)

from .harness import PODS, Api, pod, serve

Object = dict[str, Any]
PREFIX = "pod-security.kubernetes.io/"
MERGE = "application/merge-patch+json"
NAMESPACE = "/api/v1/namespaces/default"


def spec(
    context: Object | None = None, *, pod_context: Object | None = None, **more: Any
) -> Object:
    """Return a Pod's spec that restricted allows, but for what is given."""
    safe = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
    }
    whole = {"name": "a", "image": "x", "securityContext": {**safe, **(context or {})}}
    of_pod = {"seccompProfile": {"type": "RuntimeDefault"}, **(pod_context or {})}
    return {"containers": [whole], "securityContext": of_pod, **more}


def sysctl(name: str) -> Object:
    return spec(pod_context={"sysctls": [{"name": name}]})


def probing(host: str) -> Object:
    made = spec()
    made["containers"][0]["livenessProbe"] = {"httpGet": {"host": host, "port": 1}}
    return made


ROOT = spec({"runAsUser": 0})
WINDOWS = {
    "os": {"name": "windows"},
    "containers": [{"name": "a", "securityContext": {"runAsNonRoot": True}}],
}
UNMASKED = spec({"procMount": "Unmasked"}, hostUsers=False)
ENGINE = spec(pod_context={"seLinuxOptions": {"type": "container_engine_t"}})


@pytest.mark.parametrize(
    ("level", "made", "since", "until", "expected"),
    [
        ("baseline", sysctl("net.ipv4.ip_local_reserved_ports"), 0, 27, "forbidden sysctls"),
        ("baseline", sysctl("net.ipv4.tcp_keepalive_time"), 0, 29, "forbidden sysctls"),
        ("baseline", sysctl("net.ipv4.tcp_rmem"), 0, 32, "forbidden sysctls"),
        ("baseline", sysctl("kernel.msgmax"), 0, 99, "forbidden sysctls"),
        ("baseline", ENGINE, 0, 31, "seLinuxOptions"),
        ("baseline", probing("10.0.0.1"), 34, 99, "probe or lifecycle host"),
        ("baseline", UNMASKED, 0, 35, "procMount"),
        ("restricted", UNMASKED, 0, 99, "procMount"),
        ("restricted", spec({"allowPrivilegeEscalation": True}), 8, 99, "allowPrivilegeEscalation"),
        ("restricted", spec({"capabilities": {}}), 22, 99, "unrestricted capabilities"),
        ("restricted", ROOT, 23, 99, "runAsUser=0"),
        ("restricted", {**ROOT, "hostUsers": False}, 23, 35, "runAsUser=0"),
        ("restricted", spec({"runAsNonRoot": False}), 0, 99, "runAsNonRoot"),
        ("restricted", spec({"runAsNonRoot": None}, hostUsers=False), 0, 35, "runAsNonRoot"),
        ("restricted", {**spec(), "securityContext": {}}, 19, 99, "seccompProfile"),
        ("restricted", WINDOWS, 8, 25, "allowPrivilegeEscalation"),
        ("restricted", spec(), 1, 1, ""),
    ],
)
def test_a_check_holds_from_one_version_to_another(
    level: str, made: Object, since: int, until: int, expected: str
) -> None:
    """From `since` on and before `until` the Pod violates the level; before and after it does not."""
    for minor in (0, 7, 8, 18, 19, 21, 22, 23, 24, 25, 26, 27, 28, 29, 31, 32, 33, 34, 35, 36, 40):
        found = evaluate(Policy(level, f"v1.{minor}"), made, {})
        assert any(each.startswith(expected) for each in found) == (since <= minor < until), minor
    newest = evaluate(Policy(level), made, {})
    assert newest == evaluate(Policy(level, "v1.36"), made, {})


@pytest.mark.parametrize(
    ("policy", "made", "annotations", "expected"),
    [
        ("privileged:latest", {"hostPID": True}, {}, []),
        ("baseline:latest", {"hostIPC": True}, {}, ["host namespaces (hostIPC=true)"]),
        (
            "baseline:latest",
            {"volumes": [{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "hostPath": {}}]},
            {},
            ['hostPath volumes (volume "a")'],
        ),
        (
            "baseline:latest",
            {
                "containers": [
                    {
                        "name": "a",
                        "ports": [{"hostPort": 80}, {"hostPort": 443}],
                        "securityContext": {
                            "privileged": True,
                            "capabilities": {"add": ["NET_ADMIN", "CHOWN"]},
                        },
                    }
                ]
            },
            {},
            [
                'non-default capabilities (container "a" must not include "NET_ADMIN" in '
                "securityContext.capabilities.add)",
                'hostPort (container "a" uses hostPorts 443, 80)',
                'privileged (container "a" must not set securityContext.privileged=true)',
            ],
        ),
        (
            "baseline:latest",
            probing("127.0.0.1"),
            {},
            ['probe or lifecycle host (container "a" uses probe or lifecycle host "127.0.0.1")'],
        ),
        (
            "baseline:latest",
            spec(
                {"seLinuxOptions": {"type": "spc_t", "role": "r"}},
                pod_context={"seLinuxOptions": {"type": "other_t", "user": "u"}},
            ),
            {},
            [
                'seLinuxOptions (pod and container "a" set forbidden securityContext.seLinuxOptions: '
                'types "other_t", "spc_t"; user may not be set; role may not be set)'
            ],
        ),
        (
            "baseline:latest",
            spec({"appArmorProfile": {"type": "Unconfined"}}),
            {"container.apparmor.security.beta.kubernetes.io/a": "unconfined"},
            [
                'forbidden AppArmor profiles (container "a" and annotation must not set AppArmor '
                'profile type to "Unconfined", '
                '"container.apparmor.security.beta.kubernetes.io/a="unconfined"")'
            ],
        ),
        (
            "baseline:v1.18",
            spec({"seccompProfile": {"type": "Unconfined"}}),
            {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"},
            [
                "seccompProfile (forbidden annotation "
                'seccomp.security.alpha.kubernetes.io/pod="unconfined")'
            ],
        ),
        (
            "baseline:latest",
            spec({"seccompProfile": {"type": "Unconfined"}}),
            {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"},
            [
                'seccompProfile (container "a" must not set securityContext.seccompProfile.type to '
                '"Unconfined")'
            ],
        ),
    ],
)
def test_violations_are_told_in_order_and_in_upstreams_words(
    policy: str, made: Object, annotations: Object, expected: list[str]
) -> None:
    level, _, version = policy.partition(":")
    assert evaluate(Policy(level, version), made, {"annotations": annotations}) == expected


def labels(**given: str) -> Object:
    return {PREFIX + key.replace("_", "-"): value for key, value in given.items()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Policies()),
        (
            labels(enforce="baseline", enforce_version="v1.25"),
            Policies(Policy("baseline", "v1.25"), Policy(), Policy("baseline", "v1.25")),
        ),
        (
            labels(enforce="restricted", warn="privileged"),
            Policies(Policy("restricted"), Policy(), Policy()),
        ),
        (
            labels(enforce="restricted", warn_version="v1.20"),
            Policies(Policy("restricted"), Policy(), Policy("restricted", "v1.20")),
        ),
        (labels(audit="baseline"), Policies(Policy(), Policy("baseline"), Policy())),
    ],
)
def test_what_labels_ask_for(given: Object, expected: Policies) -> None:
    assert read_policies(given) == expected


def test_labels_that_cannot_be_read_are_enforced_strictly_and_told_of() -> None:
    found = read_policies(labels(enforce="x", audit="x", warn="x", enforce_version="1.2"))
    assert (found.enforce, found.audit, found.warn) == (Policy("restricted"), Policy(), Policy())
    assert found.error.startswith(f"Failed to parse policy: [metadata.labels[{PREFIX}enforce]: ")
    assert list(find_wrong_labels(labels(warn_version="v1.01"))) == [
        (f"{PREFIX}warn-version", "v1.01", 'must be "latest" or "v1.x"')
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False),
        ({"activeDeadlineSeconds": 5}, False),
        ({"containers": [{"name": "a", "image": "y"}]}, True),
        ({"initContainers": [{"name": "b", "image": "x"}]}, True),
        ({"ephemeralContainers": [{"name": "e", "image": "x"}]}, True),
    ],
)
def test_which_changes_of_a_pod_are_judged(change: Object, expected: bool) -> None:
    old = {"containers": [{"name": "a", "image": "x"}]}
    assert matters({**old, **change}, old) is expected


@pytest.mark.parametrize(
    ("old", "new", "relaxes"),
    [
        ("baseline:latest", "privileged:v1.20", True),
        ("restricted:latest", "baseline:latest", True),
        ("baseline:latest", "baseline:latest", True),
        ("baseline:latest", "restricted:latest", False),
        ("restricted:latest", "baseline:v1.30", False),
    ],
)
def test_which_policies_need_no_look_at_the_pods_there_are(
    old: str, new: str, relaxes: bool
) -> None:
    before, after = (Policy(*each.split(":")) for each in (old, new))
    assert after.relaxes(before) is relaxes


def test_a_container_that_joins_later_is_held_to_the_standard_too(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(PODS, pod())
        given = {"metadata": {"labels": labels(enforce="baseline")}}
        assert (await api("PATCH", NAMESPACE, given, Content_Type=MERGE)).status == 200
        debugger = {"name": "d", "image": "x", "securityContext": {"privileged": True}}
        joining = {"spec": {"ephemeralContainers": [debugger]}}
        path = f"{PODS}/nginx/ephemeralcontainers"
        strategic = "application/strategic-merge-patch+json"
        refused = await api("PATCH", path, joining, Content_Type=strategic)
        assert refused.status == 403
        assert (
            'violates PodSecurity "baseline:latest": privileged (container "d"'
            in (refused.body["message"])
        )
        del debugger["securityContext"]
        assert (await api("PATCH", path, joining, Content_Type=strategic)).status == 200

    serve(tmp_path, body)


def test_the_audit_log_has_what_a_pod_would_violate(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"

    async def body(api: Api) -> None:
        api.server.keep_audit_log(AuditOptions(log, parse_policy(DEFAULT)))
        given = labels(
            enforce="baseline", audit="restricted", audit_version="v1.20", warn="privileged"
        )
        await api("PATCH", NAMESPACE, {"metadata": {"labels": given}}, Content_Type=MERGE)
        await api.make(PODS, pod("fine"))
        assert (await api("POST", PODS, pod("refused", hostPID=True))).status == 403
        template = {"metadata": {"name": "t"}, "template": pod()}
        await api.make(PODS.replace("pods", "podtemplates"), template)

    serve(tmp_path, body)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    found = [
        {
            key.removeprefix(PREFIX): value
            for key, value in each["annotations"].items()
            if PREFIX in key
        }
        for each in events
    ]
    labelled, fine, refused, template = found
    assert labelled == {}
    assert fine["enforce-policy"] == "baseline:latest"
    assert fine["audit-violations"].startswith(
        'would violate PodSecurity "restricted:v1.20": allowPriv'
    )
    assert "unrestricted capabilities" not in fine["audit-violations"]  # a check of v1.22
    assert refused["audit-violations"].startswith(
        'would violate PodSecurity "restricted:v1.20": host'
    )
    assert set(template) == {"audit-violations"}
