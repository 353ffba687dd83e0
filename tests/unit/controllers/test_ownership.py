"""The graph of owners, and what it decides: pure."""

from typing import Any

import pytest

from minipod.controllers.ownership import (
    Delete,
    DeleteDependents,
    DropOwners,
    Finish,
    Graph,
    Node,
    Orphan,
    Owner,
    Unblock,
    compute_action,
)

SOLID, ABSENT, WAITING = Owner.SOLID, Owner.ABSENT, Owner.WAITING


def node(uid: str, *owners: str, block: bool = True, **metadata: Any) -> Node:
    references = [{"uid": each, "blockOwnerDeletion": block} for each in owners]
    found = {"uid": uid, "name": uid, "ownerReferences": references, **metadata}
    return Node("configmaps", {"metadata": found})


def ending(uid: str, *owners: str, finalizer: str = "foregroundDeletion") -> Node:
    return node(uid, *owners, deletionTimestamp="t", finalizers=[finalizer])


@pytest.mark.parametrize(
    ("subject", "owners", "dependents", "action"),
    [
        (node("a"), {}, [], None),
        (node("a", "o"), {"o": SOLID}, [], None),
        (node("a", "o"), {"o": ABSENT}, [], Delete("Background")),
        (node("a", "o", finalizers=["orphan"]), {"o": ABSENT}, [], Delete("Orphan")),
        (
            node("a", "o", finalizers=["foregroundDeletion"]),
            {"o": ABSENT},
            [],
            Delete("Foreground"),
        ),
        (node("a", "o", "p"), {"o": ABSENT, "p": SOLID}, [], DropOwners(("o",))),
        (node("a", "o", "p"), {"o": WAITING, "p": SOLID}, [], DropOwners(("o",))),
        (node("a", "o", "p"), {"o": ABSENT, "p": ABSENT}, [], Delete("Background")),
        (node("a", "o"), {"o": WAITING}, [], Delete("Background")),
        (node("a", "o"), {"o": WAITING}, [node("d", "a")], Delete("Foreground")),
        (node("a", "o"), {"o": WAITING}, [ending("o", "a")], Unblock()),
        (node("a", "o", deletionTimestamp="t"), {}, [], None),
        (ending("a", finalizer="orphan"), {}, [node("d", "a")], Orphan()),
        (ending("a"), {}, [], Finish()),
        (ending("a"), {}, [node("d", "a", block=False)], Finish()),
        (ending("a"), {}, [node("d", "a")], DeleteDependents(("d",))),
        (ending("a"), {}, [ending("d", "a")], None),
    ],
)
def test_what_is_done_about_an_object(
    subject: Node, owners: dict[str, Owner], dependents: list[Node], action: Any
) -> None:
    assert compute_action(subject, owners, dependents) == action


def test_the_graph_names_whom_a_change_concerns() -> None:
    graph = Graph()
    assert graph.observe(node("d", "o")) == ["d"], "an owner not seen yet may be absent"
    assert graph.observe(node("o")) == ["o"]
    assert graph.observe(node("o", resourceVersion="2")) == []
    assert [each.uid for each in graph.dependents("o")] == ["d"]
    assert graph.observe(ending("o")) == ["o", "d"]
    assert graph.forget("d") == ["o"], "its owner waits for it"
    assert graph.forget("o") == []


def test_the_graph_forgets_references_that_are_taken_out() -> None:
    graph = Graph()
    graph.observe(node("o"))
    graph.observe(node("d", "o"))
    graph.observe(node("d"))
    assert graph.dependents("o") == []
    graph.observe(node("d", "o"))
    assert graph.forget("o") == ["d"]
    assert graph.forget("never seen") == []
