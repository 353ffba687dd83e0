import json
from dataclasses import replace

import pytest

from minipod.runtime import codec
from minipod.runtime.operations import (
    CheckHostPath,
    Exec,
    LoadSeccomp,
    MakeDirectory,
    MountTmpfs,
    WriteFile,
    kinds,
)
from minipod.runtime.plan import compute_container_plan, compute_exec_plan, compute_sandbox_plan
from minipod.runtime.spec import ExecSpec
from tests.unit.runtime.plans import CONTAINER, POD, SANDBOX, V1

STEPS = (
    *compute_sandbox_plan(SANDBOX, V1),
    *compute_container_plan(CONTAINER, POD, V1),
    *compute_exec_plan(CONTAINER, ExecSpec(("a",), tty=True), POD, V1),
)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step.operation).__name__)
def test_steps_survive_json(step) -> None:
    sent = json.loads(json.dumps(codec.step_to_json(step)))
    assert codec.step_from_json(sent) == replace(step, comment="")


@pytest.mark.parametrize(
    "operation",
    [
        MountTmpfs("/a", None),
        MountTmpfs("/a", 5),
        CheckHostPath("/a", "File"),
        WriteFile("/a", "é"),
    ],
)
def test_operations_survive_json(operation) -> None:
    assert codec.from_json(json.loads(json.dumps(codec.to_json(operation)))) == operation


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({}, "unknown operation"),
        ({"operation": "Fly"}, '"Fly"'),
        ({"operation": "MakeDirectory"}, "path"),
        ({"operation": "MakeDirectory", "path": "/", "color": 1}, "color"),
    ],
)
def test_what_does_not_fit_is_refused(value: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        codec.from_json(value)


def test_traces_hold_no_secrets_and_no_bulk() -> None:
    shown = json.dumps(
        [
            codec.brief(WriteFile("/secret", "hunter2")),
            codec.brief(LoadSeccomp(b"12345678")),
            codec.brief(Exec(("a",), ("PASSWORD=hunter2",))),
        ]
    )

    assert "hunter2" not in shown
    assert '"PASSWORD"' in shown


def test_every_operation_has_a_summary_of_its_own() -> None:
    assert MakeDirectory("/a/b").summary() == "make directory /a/b"
    for name, kind in kinds().items():
        assert kind.summary_format, name
