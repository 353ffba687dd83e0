"""Sandboxes on the daemon's side of the shim: the shim has the pause, the daemon its network.

The shim is asked for the pause before anything else is done; the steps that need nothing of it are taken meanwhile, the
others as soon as it is cloned.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from minipod.fault import point
from minipod.runtime import execute
from minipod.runtime.codec import from_plain, step_to_json, to_plain
from minipod.runtime.operations import DeleteLink, Step, TracedStep
from minipod.runtime.plan import (
    HostFacts,
    SandboxRef,
    compute_admission,
    compute_network_removal,
    compute_sandbox_plan,
)
from minipod.runtime.prepared import trace_of
from minipod.runtime.protocol import Message
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.shim_connection import Answer
from minipod.runtime.shim_link import ShimLink
from minipod.runtime.spec import SandboxNetwork, SandboxSpec, SandboxStatus

LINK_SECONDS = 0.05
Perform = Callable[[Sequence[Step], dict[str, int | str]], Awaitable[list[TracedStep]]]
A = TypeVar("A")
B = TypeVar("B")


class _Making(NamedTuple):
    """A sandbox that is being made.

    `asked` is done once the shim has the request: what is asked for in the sandbox from then on comes after it.
    `cloned` holds its pause's pid, 0 when there is nothing to wait for.
    """

    reference: SandboxRef
    network: SandboxNetwork | None
    asked: "asyncio.Future[None]"
    cloned: "asyncio.Future[int]"


class Sandboxes:
    """All sandboxes of one shim. `perform` takes the daemon's own steps, off the event loop."""

    def __init__(self, link: ShimLink, host: HostFacts, perform: Perform) -> None:
        self._link, self._host, self._perform = link, host, perform
        self._known: dict[str, Message] = {}  # the shim's word on each, by id
        self._making: dict[str, _Making] = {}  # those on their way
        self._removing: set[str] = set()

    # -- what is there -----------------------------------------------------------------------------

    async def listing(self) -> Answer:
        """Ask the shim for all sandboxes and containers there are."""
        answer = await self._link.call("list")
        for item in answer["sandboxes"]:
            known = self._known.get(item["id"], {})
            if known.get("configured") and known["pid"] == item["pid"]:  # we know more by now
                item["configured"], item["ready"] = True, bool(item["pid"])
        self._known = {item["id"]: item for item in answer["sandboxes"]}
        return answer

    async def networks(self) -> set[tuple[str, str]]:
        """Return the host interface and the address of every sandbox there is, dead ones included."""
        await self.listing()
        found = [item["network"] for item in self._known.values() if item["network"]]
        return {(each["host_interface"], each["address"].partition("/")[0]) for each in found}

    async def reference(self, sandbox_id: str) -> SandboxRef:
        """Return what a container needs to know of its sandbox. RuntimeFailure("NotFound")."""
        if sandbox_id not in self._known:
            await self.listing()
        known = self._known.get(sandbox_id)
        if known is None:
            raise RuntimeFailure("NotFound", f'sandbox "{sandbox_id}" does not exist')
        host_network = known["network"] is None
        shared = known["host_ipc"], known["pid_namespace"]
        return SandboxRef(known["cgroup"], host_network, *shared, known["privileged"])

    async def asked(self, sandbox_id: str) -> SandboxRef:
        """Return the same, once the shim has been asked for the sandbox (which may not be there yet)."""
        making = self._making.get(sandbox_id)
        if making is None:
            return await self.reference(sandbox_id)
        await asyncio.shield(making.asked)
        return making.reference

    def pid(self, sandbox_id: str) -> int:
        """Return the pid of a known sandbox's pause, 0 when it has ended."""
        return int(self._known[sandbox_id]["pid"])

    def on_cloned(self, sandbox_id: str, pid: int) -> None:
        """Take notice that a pause has been cloned."""
        making = self._making.get(sandbox_id)
        if making:
            _settle(making.cloned, pid)

    def on_exited(self, sandbox_id: str) -> None:
        """Take notice that a pause has ended."""
        if known := self._known.get(sandbox_id):
            known["pid"] = 0

    def forget(self) -> None:
        """Forget what only a live shim could vouch for."""
        self._known.clear()

    # -- making ------------------------------------------------------------------------------------

    async def run(self, spec: SandboxSpec) -> tuple[SandboxStatus, list[TracedStep]]:
        """Make the sandbox, or return it when it is there and ready. A dead or half-made one is made anew."""
        loop = asyncio.get_running_loop()
        futures = loop.create_future(), loop.create_future()
        making = _Making(SandboxRef.of(spec), spec.network, *futures)
        self._making[spec.id] = making
        try:
            known = self._known.get(spec.id)
            if known and not (known["pid"] and known["configured"]):
                await self.remove(spec.id)
            status, trace = await self._run(spec, making)
            if not status["pid"]:  # the shim knew it, dead; we did not
                await self.remove(spec.id)
                making = making._replace(cloned=loop.create_future())
                self._making[spec.id] = making
                status, trace = await self._run(spec, making)
        finally:
            _settle(making.asked, None)
            del self._making[spec.id]
        return sandbox_status(status), trace

    async def _run(self, spec: SandboxSpec, making: _Making) -> tuple[Message, list[TracedStep]]:
        steps = compute_sandbox_plan(spec, self._host)
        try:
            await self._link.wait_connected()
            answer = self._link.begin("run-sandbox", spec=to_plain(spec), steps=shim_steps(steps))
            _settle(making.asked, None)
            launched, made = await _both(
                self._await_launch(answer, making.cloned), self._make_network(steps, making.cloned)
            )
        except RuntimeFailure as failure:
            await self._give_up(spec)
            raise RuntimeFailure("SandboxFailed", str(failure), failure.step) from None
        status: Message = launched["status"]
        self._known[spec.id] = status
        if status["pid"] and not status["configured"]:
            point("runtime.sandbox.network-made")
            self._link.begin("sandbox-configured", id=spec.id)
            status["configured"] = status["ready"] = True
        return status, sorted(trace_of(steps, launched) + made, key=lambda step: step.start_us)

    async def _await_launch(
        self, asked: "asyncio.Future[Answer]", cloned: "asyncio.Future[int]"
    ) -> Message:
        try:
            answer = await asked
            status = answer["status"]
            # it was there; 0: with its network, or dead
            _settle(cloned, 0 if status["configured"] else status["pid"])
        finally:
            _settle(cloned, 0)
        return answer.result

    async def _make_network(
        self, steps: Sequence[Step], cloned: "asyncio.Future[int]"
    ) -> list[TracedStep]:
        """Perform the daemon's steps: those that need no pause at once, the others when it is cloned."""
        early, late = _split_daemon_steps(steps)
        traced = await self._perform(early, {}) if early else []
        pid = await cloned
        if late and pid:
            traced += await self._perform(late, {"pause_pid": pid})
        return traced

    async def _give_up(self, spec: SandboxSpec) -> None:
        """Undo a sandbox that could not be made; what cannot be undone now is removed with the Pod."""
        self._known.setdefault(spec.id, {"id": spec.id, "network": to_plain(spec.network)})
        with contextlib.suppress(RuntimeFailure):
            await self.remove(spec.id)

    # -- the packet rules --------------------------------------------------------------------------

    async def readmit(self) -> None:
        """Write each sandbox into the packet rules once more: they may have been made anew. RuntimeFailure."""
        await self.listing()
        networks = {
            key: from_plain(SandboxNetwork, known["network"])
            for key, known in self._known.items()
            if known["network"] and known.get("pid")
        }
        networks |= {key: each.network for key, each in self._making.items() if each.network}
        readmitting = (self._readmit(key, network) for key, network in networks.items())
        for result in await asyncio.gather(*readmitting, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _readmit(self, sandbox_id: str, network: SandboxNetwork) -> None:
        """Write one sandbox; what a removal has taken out meanwhile is not left in again."""
        try:
            await self._perform([compute_admission(network)], {})
        finally:
            is_there = sandbox_id in self._known or sandbox_id in self._making
            if sandbox_id in self._removing or not is_there:
                await self._perform(_split_removal(sandbox_id, network)[0], {})

    # -- removing ----------------------------------------------------------------------------------

    async def remove(self, sandbox_id: str) -> None:
        """Kill whatever still runs in the sandbox, take down its network, namespaces and cgroups, forget it."""
        self._removing.add(sandbox_id)
        try:
            await self._remove(sandbox_id)
        finally:
            self._removing.discard(sandbox_id)

    async def _remove(self, sandbox_id: str) -> None:
        if sandbox_id not in self._known:
            await self.listing()  # a restarted daemon has forgotten the network
        known = self._known.get(sandbox_id)
        links: list[Step] = []
        if known and known["network"]:
            network = from_plain(SandboxNetwork, known["network"])
            rules, links = _split_removal(sandbox_id, network)
            await self._perform(rules, {})
        point("runtime.sandbox.network-removed")
        await self._link.call("remove-sandbox", id=sandbox_id)
        for step in links:
            await asyncio.to_thread(_ensure_link_gone, step)
        self._known.pop(sandbox_id, None)


def sandbox_status(plain: Message) -> SandboxStatus:
    """Return the shim's word on a sandbox as a status."""
    return from_plain(SandboxStatus, plain)


def shim_steps(steps: Sequence[Step]) -> list[Any]:
    """Return the steps that are the shim's and its children's, as they travel."""
    return [step_to_json(step) for step in steps if step.where != "daemon"]


def _split_daemon_steps(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """Return the daemon's steps that need nothing of the shim's, and those that refer to what it makes."""
    early: list[Step] = []
    late: list[Step] = []
    for step in steps:
        if step.where == "daemon":
            values = vars(step.operation).values()
            refers = any(isinstance(value, str) and value.startswith("$") for value in values)
            (late if late or refers else early).append(step)
    return early, late


def _split_removal(sandbox_id: str, network: SandboxNetwork) -> tuple[list[Step], list[Step]]:
    """Return the steps that take a sandbox out of the packet rules, and those that see its link go."""
    steps = compute_network_removal(SandboxSpec(sandbox_id, "", "", network))
    links = [step for step in steps if isinstance(step.operation, DeleteLink)]
    return [step for step in steps if step not in links], links


def _settle(future: "asyncio.Future[A]", result: A) -> None:
    """Have a future done, with this result if it has none yet."""
    if not future.done():
        future.set_result(result)


async def _both(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Await both to their ends, whatever happens to one, then raise the first failure."""
    results = await asyncio.gather(first, second, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(tuple[A, B], tuple(results))


def _ensure_link_gone(step: Step) -> None:
    """See the veth go with the namespace of its other end; delete it when it does not.

    Deleting it first would cost 17 ms under a lock that every new interface waits for.
    """
    from minipod.linux import netlink

    assert isinstance(step.operation, DeleteLink)
    if not netlink.wait_link_gone(step.operation.name, LINK_SECONDS):
        execute.perform(step.operation)
