"""taint and drain: what they decide before they do anything."""

from typing import Any

import pytest

from minipod.cli.draining import Fate, Permissions, by_reason, compute_fate
from minipod.cli.errors import CliError
from minipod.cli.taints import compute_taints, parse, split

Object = dict[str, Any]


def node(*taints: tuple[str, str, str]) -> Object:
    made = [{"key": key, "value": value, "effect": effect} for key, value, effect in taints]
    return {"metadata": {"name": "vm"}, "spec": {"taints": made}}


def taints_after(present: Object, *words: str, overwrite: bool = False) -> tuple[set[str], str]:
    taints, word = compute_taints(present, parse(words), overwrite=overwrite)
    return {f"{each['key']}={each.get('value', '')}:{each['effect']}" for each in taints}, word


def test_taints_are_added_removed_and_replaced() -> None:
    empty, one = node(), node(("a", "1", "NoSchedule"))
    assert taints_after(empty, "a=1:NoSchedule") == ({"a=1:NoSchedule"}, "tainted")
    assert taints_after(empty, "a:NoExecute") == ({"a=:NoExecute"}, "tainted")
    assert taints_after(one, "a=2:NoExecute") == ({"a=1:NoSchedule", "a=2:NoExecute"}, "tainted")
    assert taints_after(one, "a=2:NoSchedule", overwrite=True) == ({"a=2:NoSchedule"}, "modified")
    assert taints_after(one, "a:NoSchedule-") == (set(), "untainted")
    assert taints_after(one, "a-", "b=1:NoSchedule") == ({"b=1:NoSchedule"}, "modified")


def test_all_effects_of_a_key_go_at_once() -> None:
    several = node(("a", "", "NoSchedule"), ("a", "", "NoExecute"), ("b", "", "NoSchedule"))
    assert taints_after(several, "a-") == ({"b=:NoSchedule"}, "untainted")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("a=1:NoSchedule",), "node vm already has a taint"),
        (("c-",), 'taint "c" not found'),
        (("a:NoExecute-",), 'taint "a:NoExecute" not found'),
        (("a=1",), "invalid taint spec: a=1"),
        (("a=1:Sometimes",), "invalid taint effect: Sometimes, unsupported taint effect"),
        (("a=1:NoSchedule:x",), "invalid taint spec"),
        (("a b:NoSchedule",), "invalid taint spec: a b:NoSchedule, name part must consist of"),
        (("a=1:NoSchedule", "a=2:NoSchedule"), "duplicated taints with the same key and effect"),
        (("b:NoSchedule", "b-"), 'can not both modify and remove .* {"b":""}'),
    ],
)
def test_what_a_taint_may_not_be(words: tuple[str, ...], problem: str) -> None:
    with pytest.raises(CliError, match=problem):
        taints_after(node(("a", "1", "NoSchedule")), *words)


def test_names_come_before_taints() -> None:
    assert split(("nodes", "vm", "a=b:NoSchedule", "c-")) == (
        ("nodes", "vm"),
        ("a=b:NoSchedule", "c-"),
    )
    with pytest.raises(CliError, match="all resources must be specified before taint changes: vm"):
        split(("nodes", "a-", "vm"))


def pod(
    owner: str = "", phase: str = "Running", stored: bool = False, **annotations: str
) -> Object:
    owners = [{"kind": owner, "controller": True}] if owner else []
    volumes = [{"name": "v", "emptyDir": {}}] if stored else []
    return {
        "metadata": {
            "name": "p",
            "namespace": "lab",
            "ownerReferences": owners,
            "annotations": annotations,
        },
        "spec": {"volumes": volumes},
        "status": {"phase": phase},
    }


EVERYTHING = Permissions(force=True, ignore_daemonsets=True, delete_emptydir_data=True)


@pytest.mark.parametrize(
    ("found", "strictly", "permitted"),
    [
        (pod("ReplicaSet"), Fate(True), Fate(True)),
        (
            pod(),
            Fate(False, refusal="Pods that declare no controller (use --force to override)"),
            Fate(True, warning="deleting Pods that declare no controller"),
        ),
        (
            pod("ReplicaSet", stored=True),
            Fate(
                False,
                refusal="Pods with local storage (use --delete-emptydir-data to override)",
            ),
            Fate(True, warning="deleting Pods with local storage"),
        ),
        (
            pod("DaemonSet", stored=True),
            Fate(False, refusal="DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"),
            Fate(False, warning="ignoring DaemonSet-managed Pods"),
        ),
        (pod(phase="Succeeded", stored=True), Fate(True), Fate(True)),
        (pod("DaemonSet", phase="Failed"), Fate(True), Fate(True)),
        (pod(**{"kubernetes.io/config.mirror": "x"}), Fate(False), Fate(False)),
    ],
)
def test_what_becomes_of_a_pod(found: Object, strictly: Fate, permitted: Fate) -> None:
    assert compute_fate(found, Permissions()) == strictly
    assert compute_fate(found, EVERYTHING) == permitted


def test_each_reason_is_given_once() -> None:
    assert by_reason([("gone", pod()), ("", pod()), ("gone", pod())]) == ["gone: lab/p, lab/p"]
