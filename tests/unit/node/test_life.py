"""Whole lives of Pods: decisions carried out on a model of the host, with accidents, until nothing is left to do."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipod.client import Object
from minipod.node.actions import PodActions, compute_pod_actions
from minipod.node.backoff import Backoffs
from minipod.node.observed import ObservedContainer, ObservedPod, ObservedSandbox
from minipod.node.pods import find_container, is_sidecar
from minipod.node.status import NodeFacts, compute_pod_status

from .pod_builders import NOW, attempt, container, make_pod, sidecar

exit_codes = st.sampled_from([0, 0, 1, 42])
policies = st.sampled_from(["Always", "OnFailure", "Never"])


class Host:
    """Does what it is told, and remembers what ran in which order."""

    def __init__(self, pod: Object) -> None:
        self.pod = pod
        self.now = NOW
        self.sandboxes: list[ObservedSandbox] = []
        self.containers: list[ObservedContainer] = []
        self.history: list[tuple[str, int]] = []
        self.backoffs = Backoffs()

    def observe(self) -> ObservedPod:
        ordered = sorted(self.containers, key=lambda each: each.attempt, reverse=True)
        return ObservedPod(tuple(reversed(self.sandboxes)), tuple(ordered))

    def look(self) -> PodActions:
        self.now += 1
        self.report()
        return compute_pod_actions(self.pod, self.observe(), self.now, self.backoffs)

    def report(self, **facts: Any) -> None:
        before = self.pod["status"]
        self.pod["status"] = compute_pod_status(
            self.pod, self.observe(), self.now, before, NodeFacts(**facts)
        )
        check_progress(before, self.pod["status"])

    def act(self, actions: PodActions) -> None:
        if actions.kill_pod:
            for each in [each for each in self.containers if each.running]:
                self.end(each, 137)
            self.sandboxes = [replace(each, ready=False) for each in self.sandboxes]
        for kill in actions.kills:
            self.end(next(each for each in self.containers if each.id == kill.container_id), 137)
        if actions.create_sandbox:
            number = actions.sandbox_attempt
            assert all(each.attempt != number for each in self.sandboxes)
            self.sandboxes.append(ObservedSandbox(f"s{number}", number, True, self.now, "10.0.0.2"))
        for start in actions.starts:
            self.start(start.name, start.attempt)
            if start.previous_end is not None:
                self.backoffs.restarted("u1", start.name, start.hash, start.previous_end, self.now)

    def start(self, name: str, number: int) -> None:
        running = [each for each in self.containers if each.running]
        assert all(each.name != name for each in running), "two attempts at once"
        assert (name, number) not in self.history, "an attempt twice"
        self.check_order(name, {each.name for each in running})
        self.history.append((name, number))
        made = attempt(name, None, number, sandbox_id=self.sandboxes[-1].id, started_at=self.now)
        self.containers.append(made)

    def check_order(self, name: str, running: set[str]) -> None:
        """A regular init container runs alone among the regular ones; apps wait for all of them."""
        found = find_container(self.pod, name)
        assert found is not None
        if found[0] == "sidecar":
            return
        inits = self.pod["spec"]["initContainers"]
        regular = {each["name"] for each in inits if not is_sidecar(each)}
        assert not running & regular
        if found[0] == "init":
            assert not running & {each["name"] for each in self.pod["spec"]["containers"]}

    def end(self, ended: ObservedContainer, exit_code: int) -> None:
        self.containers.remove(ended)
        self.containers.append(
            replace(ended, running=False, exit_code=exit_code, finished_at=self.now)
        )

    def lose_everything(self) -> None:
        self.sandboxes, self.containers = [], []

    def kill_pause(self) -> None:
        self.sandboxes = [replace(each, ready=False) for each in self.sandboxes]


def check_progress(before: Object, after: Object) -> None:
    assert before.get("phase") not in ("Succeeded", "Failed") or after["phase"] == before["phase"]
    for group in ("containerStatuses", "initContainerStatuses"):
        known = {each["name"]: each["restartCount"] for each in before.get(group) or ()}
        for each in after.get(group) or ():
            assert each["restartCount"] >= known.get(each["name"], 0), "restarts went back"


accidents = st.lists(
    st.tuples(
        st.sampled_from(["exit", "exit", "exit", "lose", "pause", "wait"]),
        st.integers(0, 9),
        exit_codes,
    ),
    max_size=25,
)
init_lists = st.lists(st.sampled_from(["i", "j", "side"]), max_size=3, unique=True)


@given(policy=policies, apps=st.integers(1, 2), inits=init_lists, story=accidents)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_accident_breaks_the_rules(
    policy: str, apps: int, inits: list[str], story: list[tuple[str, int, int]]
) -> None:
    made = tuple(sidecar(each) if each == "side" else container(each) for each in inits)
    pod = make_pod(*(container(name) for name in "ab"[:apps]), inits=made, policy=policy)
    host = Host(pod)
    for accident, which, code in [*story, ("wait", 0, 0)]:
        for _ in range(20):
            actions = host.look()
            host.act(actions)
            if actions.finished or not (
                actions.starts or actions.kill_pod or actions.create_sandbox
            ):
                break
        else:
            raise AssertionError("it never comes to rest")
        if actions.finished:
            host.report(terminal=True)
            assert pod["status"]["phase"] in ("Succeeded", "Failed")
            assert compute_pod_actions(pod, host.observe(), host.now, host.backoffs).starts == ()
            break
        if actions.holds:
            assert actions.retry_at is not None
        running = [each for each in host.containers if each.running]
        if accident == "exit" and running:
            host.end(running[which % len(running)], code)
        elif accident == "lose":
            host.lose_everything()
        elif accident == "pause":
            host.kill_pause()
        else:
            host.now += 1000
    if policy == "Never":
        apps_run = [name for name, _ in host.history if name in ("a", "b")]
        assert len(apps_run) == len(set(apps_run)), "restarted under Never"
