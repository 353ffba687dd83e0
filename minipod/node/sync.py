"""Sync: one look at one Pod, as a script of steps. Re-entrant; each call brings the Pod closer to its spec.

    look at what runs -> decide (`compute_pod_actions`) -> end what must not run -> sandbox, volumes, images
    -> init containers in order -> containers -> look again, until there is nothing left to do now -> status

A step that fails leaves a reason and a sentence (an Event, a waiting container) and is tried again, ever less often.
"""

import asyncio
from typing import Any

from minipod import fault
from minipod.api.errors import StatusError
from minipod.api.restart_rules import RESTART_ALL
from minipod.client import Object
from minipod.clock import call_off
from minipod.linux import apparmor
from minipod.node.actions import Hold, Kill, PodActions, compute_pod_actions
from minipod.node.admission import Refusal, compute_refusal
from minipod.node.deadline import MESSAGE as DEADLINE_MESSAGE
from minipod.node.errors import StepError
from minipod.node.messages import attach_messages
from minipod.node.parts import Memory, Parts
from minipod.node.pods import containers_of, find_container, full_name, spec_grace, uid_of
from minipod.node.refreshing import Refresher
from minipod.node.resizing import RETRY as RESIZE_RETRY
from minipod.node.resizing import Resizer
from minipod.node.starting import Starter
from minipod.node.status import Waiting
from minipod.node.stopping import GRACE_MIN, Stopper
from minipod.node.workers import Outcome, Work
from minipod.runtime.service import RuntimeFailure

PROGRESS_AFTER = 0.3  # seconds: a start that is quicker is told of when it is done
ERROR_SHOWN = 1.0  # seconds, the kubelet's next look comes after ten
_ROUNDS = 50  # looks in one sync: each one starts or ends something


class Syncer:
    """The sync step."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._starter, self._refresher = Starter(parts), Refresher(parts)
        self._stopper = Stopper(parts)
        self._resizer = Resizer(parts)

    async def sync(self, work: Work) -> Outcome:
        """Bring the Pod closer to its spec."""
        fault.point("node.pod.seen")
        memory = self._parts.memory(work.uid)
        outcome = Outcome()
        for _ in range(_ROUNDS):
            actions = self._decide(work, memory)
            if actions.finished:
                return self._finish(work, actions)
            if work.stopping or not _has_work(actions):
                if not work.stopping and await self._resize(work):
                    continue  # a container was ended, to be started with other resources
                return await self._rest(work, actions, memory, outcome)
            if actions.create_sandbox and (refusal := await self._find_refusal(work.pod)):
                return self._refuse(work, memory, refusal)
            if work.uid not in self._parts.room:
                self._parts.room.take(work.pod)
            outcome = await self._act(work, actions, memory)
            if outcome.failed or outcome.retry_at:
                return await self._rest(work, actions, memory, outcome)
        return Outcome(failed=True)

    async def _resize(self, work: Work) -> bool:
        """Bring running containers to resources that have changed; return whether one was ended for it."""
        pod = self._parts.current(work.pod)
        restarts = await self._resizer.resize(pod)
        kills = [
            Kill(each.observed.id, name, f"Container {name} resize requires restart")
            for each in restarts
            for name in [each.container["name"]]
        ]
        try:
            await self._kill(work, tuple(kills))
        except RuntimeFailure as failure:
            self._parts.event(pod, "Warning", "FailedKillPod", f"error killing pod: {failure}")
            return False
        return bool(kills)

    def _decide(self, work: Work, memory: Memory) -> PodActions:
        parts = self._parts
        attach_messages(parts, work.pod)
        pod, now = parts.current(work.pod), parts.clock.now()
        actions = compute_pod_actions(
            pod, parts.observe(pod), now, parts.backoffs, parts.probes(pod)
        )
        self._tell_holds(pod, actions.holds, memory)
        return actions

    def _tell_holds(self, pod: Object, holds: tuple[Hold, ...], memory: Memory) -> None:
        """Show containers in back-off as such, with one Event for each wait."""
        for name in [n for n, each in memory.waiting.items() if each.reason == "CrashLoopBackOff"]:
            del memory.waiting[name]
        for hold in holds:
            memory.waiting[hold.name] = Waiting(hold.reason, hold.message)
            if memory.holds.get(hold.name) != hold.until:
                memory.holds[hold.name] = hold.until
                message = (
                    f"Back-off restarting failed container {hold.name} in pod {full_name(pod)}"
                )
                self._parts.event(pod, "Warning", "BackOff", message, hold.name)

    def _finish(self, work: Work, actions: PodActions) -> Outcome:
        """Everything has ended for good, or must."""
        if actions.kill_reason == "DeadlineExceeded":
            self._parts.memory(work.uid).failure = ("DeadlineExceeded", DEADLINE_MESSAGE)
            self._parts.event(work.pod, "Normal", "DeadlineExceeded", DEADLINE_MESSAGE)
        else:
            self._parts.report(work.pod)
        return Outcome(finished=True)

    def _refuse(self, work: Work, memory: Memory, refusal: Refusal) -> Outcome:
        """Fail a Pod that must not run on this node."""
        reason, message = refusal
        memory.failure = (reason, f"Pod was rejected: {message}")
        self._parts.event(work.pod, "Warning", reason, message)
        return Outcome(finished=True)

    async def _find_refusal(self, pod: Object) -> Refusal | None:
        """Return why a Pod must not run on this node; whether it fits is asked only before it is begun."""
        parts = self._parts
        refusal = compute_refusal(pod, apparmor=apparmor.is_enabled())
        begun = uid_of(pod) in parts.room or (pod.get("status") or {}).get("startTime")
        node = parts.node.get("", parts.config.node_name)
        if refusal or begun or node is None or not parts.room.find_misfit(pod, node):
            return refusal
        newest = await parts.client.get("nodes", "", parts.config.node_name)
        return parts.room.find_misfit(pod, newest)

    async def _rest(
        self, work: Work, actions: PodActions, memory: Memory, outcome: Outcome
    ) -> Outcome:
        """Refresh what follows the API, report how things stand, and say when to look again."""
        self._parts.watches.follow(work.pod)
        failed = outcome.failed or not await self._refresh(work, memory)
        self._parts.report(work.pod, urgent=failed or self._is_up(work.pod))
        self._parts.traces.save(work.uid)
        times = [each for each in (outcome.retry_at, actions.retry_at) if each is not None]
        if memory.resize:
            times.append(self._parts.clock.now() + RESIZE_RETRY)
        return Outcome(failed=failed, retry_at=min(times, default=None))

    def _is_up(self, pod: Object) -> bool:
        """Whether more than init containers runs. One of those may be over in a moment: its successor comes first."""
        first = {container["name"] for kind, container in containers_of(pod) if kind == "init"}
        return any(each.name not in first for each in self._parts.observe(pod).running())

    async def _refresh(self, work: Work, memory: Memory) -> bool:
        """Bring the volumes of a running Pod up to date; False when that is to be tried again."""
        if not memory.stale or work.stopping or not self._parts.observe(work.pod).sandbox:
            return True
        try:
            await self._refresher.refresh(work.pod)
        except StepError as error:  # what is missing will be told of when it comes
            self._parts.event(work.pod, "Warning", error.reason, error.message)
            return not memory.stale
        except (StatusError, RuntimeFailure) as failure:
            memory.stale = True
            message = f"error updating volumes: {failure}"
            self._parts.event(work.pod, "Warning", "FailedMount", message)
            return False
        return True

    # -- acting ----------------------------------------------------------------------------------

    async def _act(self, work: Work, actions: PodActions, memory: Memory) -> Outcome:
        slow = None
        if actions.create_sandbox and not actions.kill_pod:
            loop = asyncio.get_running_loop()
            slow = loop.call_later(PROGRESS_AFTER, self._tell_progress, work.pod)
        try:
            if actions.kill_pod:
                await self._clear(work, actions.kill_reason)
            await self._kill(work, actions.kills)
            if work.stopping or not (actions.create_sandbox or actions.starts):
                return Outcome()
            pod = self._parts.current(work.pod)
            complete = await self._starter.start(work, pod, actions)
        except StepError as error:
            return self._fail(work.pod, error)
        except RuntimeFailure as failure:
            return self._fail(
                work.pod, StepError("FailedSync", f"error determining status: {failure}")
            )
        finally:
            if slow:
                slow.cancel()
                self._tell_progress(work.pod)  # when it began is what a deadline counts from
        self._stopper.drop_old_attempts(work.pod)
        return Outcome() if complete else self._retry(memory)

    def _tell_progress(self, pod: Object) -> None:
        self._parts.report(pod, urgent=False)

    def _fail(self, pod: Object, error: StepError) -> Outcome:
        self._parts.event(pod, "Warning", error.reason, error.message)
        return Outcome(failed=True)

    def _retry(self, memory: Memory) -> Outcome:
        """Something could not be started: missing images have their own, longer pauses.

        The error itself is shown for a moment only, the back-off for the rest of the pause.
        """
        names = set(memory.waiting)
        if names and names <= set(memory.image_retry):
            due = min(memory.image_retry[name] for name in names)
            if any(memory.waiting[name].reason == "ErrImagePull" for name in names):
                due = min(due, self._parts.clock.now() + ERROR_SHOWN)
            return Outcome(retry_at=due)
        return Outcome(failed=True)

    async def _clear(self, work: Work, reason: str) -> None:
        """Take down the sandboxes that are no good any more, with whatever runs in them."""
        parts, pod = self._parts, work.pod
        if reason == "SandboxChanged":
            message = "Pod sandbox changed, it will be killed and re-created."
            parts.event(pod, "Normal", "SandboxChanged", message)
        await self._stopper.stop_all(work, pod, GRACE_MIN, announce=False)
        await self._stopper.remove_sandboxes(pod)
        parts.memory(uid_of(pod)).prepared = False

    async def _kill(self, work: Work, kills: tuple[Kill, ...]) -> None:
        for kill in kills:
            self._parts.event(work.pod, "Normal", "Killing", kill.message, kill.name)
        stops = [
            self._stopper.stop_politely(work.pod, each.container_id, kill_grace(work.pod, each))
            for each in kills
        ]
        if not stops:
            return
        if any(each.reason == RESTART_ALL for each in kills):
            self._parts.report(work.pod)  # that it has begun: it takes a while
        stopping: asyncio.Future[list[None]] = asyncio.gather(*stops)
        killed = asyncio.create_task(work.killed.wait())
        either: list[asyncio.Future[Any]] = [stopping, killed]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        killed.cancel()
        if stopping.done():
            stopping.result()
        else:
            await call_off(stopping)  # the termination goes on with it, with its own grace


def kill_grace(pod: Object, kill: Kill) -> float:
    """Return the seconds that a container is given: a failed probe's own, or the Pod's (KEP-2238).

    What is restarted with all others has no time to lose, and runs no hook.
    """
    if kill.reason == RESTART_ALL:
        return 0.0
    probe = {"LivenessProbe": "livenessProbe", "StartupProbe": "startupProbe"}.get(kill.reason)
    found = find_container(pod, kill.name)
    if probe and found:
        own = (found[1].get(probe) or {}).get("terminationGracePeriodSeconds")
        if own is not None:
            return float(own)
    return spec_grace(pod)


def _has_work(actions: PodActions) -> bool:
    return bool(actions.kill_pod or actions.create_sandbox or actions.kills or actions.starts)
