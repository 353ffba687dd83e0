from copy import deepcopy

import pytest

from minipod.api import validation
from tests.unit.api.objects import POD, container, stored, texts


def change(edit, **spec):
    old = stored(**spec)
    new = deepcopy(old)
    edit(new["spec"])
    return texts(validation.validate_update(POD, new, old))


def set_image(spec):
    spec["containers"][0]["image"] = "other:2"


@pytest.mark.parametrize(
    "edit",
    [
        lambda spec: None,
        set_image,
        lambda spec: spec["initContainers"][0].update(image="other"),
        lambda spec: spec.update(activeDeadlineSeconds=5),
        lambda spec: spec["tolerations"].append({"key": "a", "operator": "Exists"}),
        lambda spec: spec["tolerations"][0].update(tolerationSeconds=7),
        lambda spec: spec.update(hostNetwork=False, hostAliases=[], subdomain=""),
        lambda spec: spec["containers"][0]["resources"].update(limits={"cpu": "1000m"}),
        lambda spec: spec["containers"][0].update(tty=False),
    ],
)
def test_what_may_change(edit):
    limits = {"limits": {"cpu": "1"}}
    assert (
        change(edit, initContainers=[container("i")], containers=[container(resources=limits)])
        == []
    )


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (lambda spec: spec["containers"][0].update(command=["x"]), "spec.containers[0].command"),
        (lambda spec: spec.update(restartPolicy="Never"), "spec.restartPolicy"),
        (lambda spec: spec.update(nodeName="n2"), "spec.nodeName"),
        (lambda spec: spec.update(hostNetwork=True), "spec.hostNetwork"),
        (
            lambda spec: spec.update(terminationGracePeriodSeconds=1),
            "spec.terminationGracePeriodSeconds",
        ),
        (lambda spec: spec.update(volumes=[{"name": "v", "emptyDir": {}}]), "spec.volumes"),
        (
            lambda spec: spec.update(automountServiceAccountToken=False),
            "spec.automountServiceAccountToken",
        ),
    ],
)
def test_what_may_not_change_is_named(edit, path):
    [text] = change(edit)
    assert text == (
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
        f"changed: {path}"
    )


def test_an_empty_text_says_something_in_a_selector():
    found = change(lambda spec: spec["nodeSelector"].update(disk=""), nodeSelector={"zone": "a"})
    assert len(found) == 1
    assert "spec.nodeSelector" in found[0]


def test_containers_neither_come_nor_go():
    found = change(lambda spec: spec["containers"].append(container("two")))
    assert "spec.containers: Forbidden: pod updates may not add or remove containers" in found


def test_tolerations_are_only_added():
    [text] = change(lambda spec: spec["tolerations"].pop())
    assert (
        text
        == "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    )


def test_deadlines_only_come_nearer():
    assert change(lambda spec: spec.update(activeDeadlineSeconds=3), activeDeadlineSeconds=5) == []
    [text] = change(lambda spec: spec.update(activeDeadlineSeconds=9), activeDeadlineSeconds=5)
    assert (
        text
        == "spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value"
    )
    [text] = change(lambda spec: spec.pop("activeDeadlineSeconds"), activeDeadlineSeconds=5)
    assert "must not update from a positive integer to nil value" in text


def test_gates_are_only_lifted():
    gates = [{"name": "a.b/c"}]
    assert change(lambda spec: spec.update(schedulingGates=[]), schedulingGates=gates) == []
    [text] = change(lambda spec: spec.update(schedulingGates=gates))
    assert text == (
        "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a.b/c'"
    )


GATES = [{"name": "a.b/c"}]
LINUX = {"key": "os", "operator": "In", "values": ["linux"]}
FAST = {"key": "disk", "operator": "Exists"}


def affinity(*terms, **others):
    required = {"nodeSelectorTerms": [{"matchExpressions": list(each)} for each in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required, **others}}


def gated(before, after, gates=GATES):
    def edit(spec):
        for name in before:
            spec.pop(name)
        spec.update(after)

    return change(edit, schedulingGates=gates, **before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"nodeSelector": {"disk": "ssd"}}),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"a": "1", "b": "2"}}),
        ({}, {"affinity": affinity([LINUX])}),
        ({"affinity": {"nodeAffinity": {}}}, {"affinity": affinity([LINUX], [FAST])}),
        ({"affinity": affinity([LINUX])}, {"affinity": affinity([LINUX, FAST])}),
    ],
)
def test_the_nodes_of_a_gated_pod_are_only_narrowed(before, after):
    assert gated(before, after) == []
    assert gated(before, after, gates=[]) != []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            {"nodeSelector": {"a": "1"}},
            {"nodeSelector": {"a": "2"}},
            'spec.nodeSelector: Invalid value: {"a":"2"}: '
            "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        ),
        (
            {"affinity": affinity([LINUX])},
            {},
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: "
            "Invalid value: null: no additions/deletions to non-empty NodeSelectorTerms list are allowed",
        ),
        (
            {"affinity": affinity([LINUX])},
            {"affinity": affinity([FAST])},
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]: "
            'Invalid value: {"matchExpressions":[{"key":"disk","operator":"Exists"}]}: '
            "only additions are allowed (no mutations or deletions)",
        ),
    ],
)
def test_the_nodes_of_a_gated_pod_are_not_widened(before, after, expected):
    assert gated(before, after) == [expected]


def test_the_neighbours_of_a_gated_pod_do_not_change():
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    [text] = gated({}, {"affinity": affinity([LINUX]) | apart})
    assert text.endswith("changed: spec.affinity")


def test_an_updated_pod_must_be_valid_too():
    [text] = change(lambda spec: spec["containers"][0].update(image=""))
    assert text == "spec.containers[0].image: Required value"


def status_change(before, after, **spec):
    old, new = stored(**spec), stored(**spec)
    old["status"].update(before)
    new["status"].update(after)
    return texts(validation.validate_status_update(POD, new, old))


DEAD = [{"name": "main", "state": {"terminated": {"exitCode": 0}}}]
FAILED = [{"name": "main", "state": {"terminated": {"exitCode": 1}}}]
ALIVE = [{"name": "main", "state": {"running": {}}}]
REVIVED = [
    "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
]


@pytest.mark.parametrize(
    ("policy", "before", "expected"),
    [
        ("Never", DEAD, REVIVED),
        ("Never", FAILED, REVIVED),
        ("OnFailure", DEAD, REVIVED),
        ("OnFailure", FAILED, []),
        ("Always", DEAD, []),
    ],
)
def test_the_dead_stay_dead_by_policy(policy, before, expected):
    found = status_change(
        {"containerStatuses": before}, {"containerStatuses": ALIVE}, restartPolicy=policy
    )
    assert found == expected


def test_other_rules_of_a_status():
    assert (
        status_change({}, {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]})
        == []
    )
    assert status_change({}, {"qosClass": "Guaranteed"}) == [
        'status.qosClass: Invalid value: "Guaranteed": field is immutable'
    ]
    [text] = status_change({}, {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]})
    assert "may specify no more than one IP for each IP family" in text
    [text] = status_change({}, {"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]})
    assert "must be equal to `hostIP`" in text


RULE = {"exitCodes": {"operator": "In", "values": [1]}}


@pytest.mark.parametrize(
    ("own", "before", "expected"),
    [
        ({"restartPolicy": "OnFailure"}, FAILED, []),
        ({"restartPolicy": "OnFailure"}, DEAD, REVIVED),
        ({"restartPolicyRules": [{**RULE, "action": "Restart"}]}, FAILED, []),
        ({"restartPolicyRules": [{**RULE, "action": "Restart"}]}, DEAD, REVIVED),
        ({"restartPolicyRules": [{**RULE, "action": "RestartAllContainers"}]}, DEAD, []),
    ],
)
def test_the_dead_rise_by_their_containers_own_policy_and_rules(own, before, expected):
    containers = [{"name": "main", "image": "x", "restartPolicy": "Never", **own}]
    spec = {"restartPolicy": "Never", "containers": containers}
    found = status_change({"containerStatuses": before}, {"containerStatuses": ALIVE}, **spec)
    assert found == expected
