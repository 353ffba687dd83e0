"""Plans that are computed once and asked for again."""

from dataclasses import replace

import pytest

from minipod.linux.cgroup import CgroupLayout
from minipod.runtime import exec_plans
from minipod.runtime.codec import step_to_json
from minipod.runtime.exec_plans import ExecPlans
from minipod.runtime.plan import HostFacts, compute_exec_plan
from minipod.runtime.spec import ExecSpec

from .plans import CONTAINER, POD, V2

LS = ExecSpec(("ls",))
V1 = HostFacts(CgroupLayout("", (), (("cpu", "/cg/cpu"),)), "/run/root")  # without v2


def test_steps_are_the_plan_and_again_the_same() -> None:
    plans = ExecPlans(V1)
    wanted = [step_to_json(step) for step in compute_exec_plan(CONTAINER, LS, POD, V1)]
    path, first = plans.plan(CONTAINER, LS, POD)
    assert first == wanted
    assert plans.plan(CONTAINER, LS, POD) == (path, wanted)


def test_each_process_is_born_in_a_cgroup_of_its_own_where_there_is_v2() -> None:
    plans = ExecPlans(V2)
    (one, first), (other, second) = (plans.plan(CONTAINER, LS, POD) for _ in range(2))
    assert one != other
    for path, plan in ((one, first), (other, second)):
        assert plan[0]["operation"]["cgroup"] == path
    assert first[1:] == second[1:]


def test_another_command_container_or_sandbox_has_another_plan() -> None:
    plans = ExecPlans(V1)
    _, before = plans.plan(CONTAINER, LS, POD)
    assert plans.plan(CONTAINER, ExecSpec(("id",)), POD)[1] != before
    changed = replace(CONTAINER, env=("ANOTHER=1",))
    assert plans.plan(changed, LS, POD)[1] != before
    assert plans.plan(CONTAINER, LS, replace(POD, cgroup="minipod/other"))[1] != before
    assert plans.plan(CONTAINER, LS, POD)[1] == before


def test_so_many_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []

    def compute(*arguments: object) -> object:
        computed.append(arguments[1])
        return compute_exec_plan(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(exec_plans, "compute_exec_plan", compute)
    monkeypatch.setattr(exec_plans, "MOST_KEPT", 2)
    plans = ExecPlans(V1)
    commands = [ExecSpec((name,)) for name in ("a", "b", "c")]
    for command in (*commands, commands[2], commands[1], commands[0]):
        plans.plan(CONTAINER, command, POD)
    assert computed == [*commands, commands[0]]
