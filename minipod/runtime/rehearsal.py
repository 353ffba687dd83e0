"""Rehearsing a start: what has slept for a while is slow, since neither its code nor its data are in any cache.

To compile a container's program takes three times as long after a pause as right after another. So while the daemon
prepares a Pod, a shim that has had nothing to do goes through the last plans once more, for nothing: nothing of it
touches the host. Standard library only: the shim loads this.
"""

from collections.abc import Sequence
from dataclasses import replace

from minipod.runtime.child_operations import Exec
from minipod.runtime.codec import step_from_json, step_to_json
from minipod.runtime.compile import compile_steps
from minipod.runtime.compiling import Facts
from minipod.runtime.operations import Step

Plan = tuple[tuple[Step, ...], int, Facts]  # and the first step that is the new process's

_last: dict[str, Plan] = {}  # by what is made: "pause", "container"


def remember(name: str, steps: Sequence[Step], first: int, facts: Facts) -> None:
    """Keep a plan that has been compiled, without what its program is given: that may be secret."""
    _last[name] = tuple(map(_without_environment, steps)), first, facts


def rehearse() -> None:
    """Go through the last plans once more: from what a request holds to a program that nobody executes."""
    for steps, first, facts in _last.values():
        compile_steps([step_from_json(step_to_json(step)) for step in steps], first, facts)


def _without_environment(step: Step) -> Step:
    if isinstance(step.operation, Exec):
        return Step(replace(step.operation, args=("/",), env=()), step.where)
    return step
