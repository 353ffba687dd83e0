"""Plans of processes beside a container's own, computed once: the same commands come again, a probe's every second."""

import secrets
from dataclasses import replace
from typing import Any, NamedTuple

from minipod.runtime.child_operations import Clone
from minipod.runtime.codec import step_to_json
from minipod.runtime.operations import Step
from minipod.runtime.plan import HostFacts, SandboxRef, compute_exec_plan
from minipod.runtime.shim_sandboxes import shim_steps
from minipod.runtime.spec import ContainerSpec, ExecSpec

MOST_KEPT = 128  # of some kilobytes each


class _Plan(NamedTuple):
    container: ContainerSpec
    sandbox: SandboxRef
    clone: Clone
    rest: list[Any]  # the steps behind it, as they travel


class ExecPlans:
    """The plans that were computed last, by container and command."""

    def __init__(self, host: HostFacts) -> None:
        self._host = host
        self._kept: dict[tuple[str, ExecSpec], _Plan] = {}

    def plan(
        self, container: ContainerSpec, spec: ExecSpec, sandbox: SandboxRef
    ) -> tuple[str, list[Any]]:
        """Return the cgroup of one more process, its own where there is v2, and the plan's steps as they travel."""
        kept = self._kept.get((container.id, spec))
        if kept is None or kept.container is not container or kept.sandbox != sandbox:
            kept = self._compute(container, spec, sandbox)
        path = kept.clone.cgroup
        if self._host.cgroups.unified:
            path = f"{path}/exec-{secrets.token_hex(4)}"
        clone = Step(replace(kept.clone, cgroup=path), "shim")
        return path, [step_to_json(clone), *kept.rest]

    def _compute(self, container: ContainerSpec, spec: ExecSpec, sandbox: SandboxRef) -> _Plan:
        first, *rest = compute_exec_plan(container, spec, sandbox, self._host)
        assert isinstance(first.operation, Clone)
        plan = _Plan(container, sandbox, first.operation, shim_steps(rest))
        self._kept.pop((container.id, spec), None)
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[container.id, spec] = plan
        return plan
