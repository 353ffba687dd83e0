from dataclasses import replace

from minipod.linux import cgroup
from minipod.runtime import rehearsal
from minipod.runtime.child_operations import Clone
from minipod.runtime.compile import compile_steps
from minipod.runtime.compiling import Facts
from minipod.runtime.plan import compute_container_plan, compute_sandbox_plan
from tests.unit.runtime.plans import CONTAINER, POD, SANDBOX, V1


def test_a_plan_that_was_gone_through_for_nothing_is_compiled_as_before(monkeypatch) -> None:
    monkeypatch.setattr(rehearsal, "_last", {})
    facts = Facts(cgroup.this_host())
    for plan in (compute_sandbox_plan(SANDBOX, V1), compute_container_plan(CONTAINER, POD, V1)):
        steps = [step for step in plan if step.where != "daemon"]
        first = 1 + next(i for i, each in enumerate(steps) if isinstance(each.operation, Clone))
        before = compile_steps(steps, first, facts)
        rehearsal.remember("a plan", steps, first, facts)
        rehearsal.rehearse()
        assert compile_steps(steps, first, facts) == before


def test_nothing_that_a_program_is_given_is_kept(monkeypatch) -> None:
    monkeypatch.setattr(rehearsal, "_last", {})
    container = replace(CONTAINER, args=("serve", "--key=swordfish"), env=("PASSWORD=hunter2",))
    steps = compute_container_plan(container, POD, V1)
    assert "swordfish" in repr(steps)
    assert "hunter2" in repr(steps)
    rehearsal.remember("container", steps, 6, Facts(cgroup.this_host()))
    rehearsal.rehearse()
    assert "swordfish" not in repr(rehearsal._last)
    assert "hunter2" not in repr(rehearsal._last)
