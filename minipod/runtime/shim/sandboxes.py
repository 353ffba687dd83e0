"""Sandboxes: the pause process that holds a Pod's namespaces, and the cgroup that holds everything."""

import time
from collections.abc import Callable
from functools import partial

from minipod.fault import point
from minipod.runtime.shim.connection import Request
from minipod.runtime.shim.containers import Containers, members_list
from minipod.runtime.shim.core import Core, Refusal, cgroup_path, identifier, members
from minipod.runtime.shim.launching import Launch, LaunchFailure, Started, open_null
from minipod.runtime.shim.processes import Exit
from minipod.runtime.shim.records import Plain, SandboxRecord
from minipod.runtime.shim.removal import CgroupRemoval

RETRY_SECONDS = 0.02


class Sandboxes:
    """All sandboxes, dead ones included until they are removed."""

    def __init__(self, core: Core, containers: Containers) -> None:
        self._core = core
        self._containers = containers
        self.all: dict[str, SandboxRecord] = {}
        self._starting: dict[str, tuple[SandboxRecord, list[Request]]] = {}
        self._removing: dict[str, list[Callable[[str], None]]] = {}

    def run(self, request: Request) -> None:
        """Launch the pause process and answer with status and times. Asked again, answer with what is."""
        spec = members(request.arguments, "spec")
        identity = identifier(spec, "id")
        if known := self.all.get(identity):
            request.reply({"status": known.status(), "times": []})
            return
        if identity in self._starting:
            self._starting[identity][1].append(request)
            return
        steps = members_list(request.arguments, "steps")
        record = SandboxRecord(
            id=identity,
            cgroup=cgroup_path(spec, "cgroup"),
            created_at=time.time(),
            labels=spec.get("labels") or {},
            network=spec.get("network"),
            host_ipc=bool(spec.get("host_ipc")),
            pid_namespace=str(spec.get("pid", "container")),
            privileged=bool(spec.get("privileged")),
        )
        self._core.files.write(record, spec)
        point("shim.sandbox.recorded")
        self._starting[identity] = record, [request]
        try:
            launch = Launch(self._core, steps, open_null(), {}, partial(self._on_launched, record))
        except LaunchFailure as failure:
            self._on_launched(record, failure)
            return
        record.pid = launch.pid
        # Its namespaces are there: while the pause settles in, the daemon makes the network, and containers begin.
        early = {"event": "sandbox-cloned", "sandbox_id": identity, "pid": launch.pid}
        request.connection.send(early)

    def _on_launched(self, record: SandboxRecord, result: Started | LaunchFailure) -> None:
        _, requests = self._starting.pop(record.id)
        if isinstance(result, LaunchFailure):
            self._core.files.remove(record)
            self._kill_containers(record)
            CgroupRemoval(self._core, record.cgroup, lambda _problem: None)
            for request in requests:
                request.fail("SandboxFailed", str(result), result.step)
            return
        point("shim.sandbox.launched")
        record.pid = result.pid
        for request in requests:
            request.reply({"status": record.status(), "times": result.times})
        self.adopt(record)

    def adopt(self, record: SandboxRecord) -> None:
        """Begin to look after a sandbox, its pause process alive or gone."""
        self.all[record.id] = record
        on_exit = partial(self._on_exit, record)
        if record.pid and (ended := self._core.processes.watch(record.pid, on_exit)):
            on_exit(ended)

    def _on_exit(self, record: SandboxRecord, _ended: Exit) -> None:
        record.pid = 0
        if record.id not in self._removing:
            self._core.publish({"event": "sandbox-exited", "sandbox_id": record.id})

    def configured(self, request: Request) -> None:
        """Take note that the daemon has configured the sandbox's network: from now on it is ready.

        The file says so a turn later, behind the release of a container that comes with it: who reads the file finds a
        shim that died, and its Pods with it.
        """
        record = self.require(request.arguments, "id")
        record.configured = True
        request.reply({})
        self._core.busy += 1
        self._core.loop.work(partial(self._keep_configured, record))

    def _keep_configured(self, record: SandboxRecord) -> None:
        self._core.busy -= 1
        if record.id in self.all:
            self._core.files.follow(record)
        point("shim.sandbox.configured")

    def remove(self, request: Request) -> None:
        """Kill what runs in the sandbox, remove its cgroups, forget it. An unknown one is removed already."""

        def removed(problem: str) -> None:
            if problem:
                request.fail("CgroupBusy", problem)
            else:
                request.reply({})

        self.take_down(identifier(request.arguments, "id"), removed)

    def take_down(self, identity: str, done: Callable[[str], None]) -> None:
        """Remove a sandbox, then call `done` with "" or a problem. Several callers wait for one removal."""
        if identity in self._starting:
            self._core.loop.call_later(RETRY_SECONDS, lambda: self.take_down(identity, done))
            return
        record = self.all.get(identity)
        if record is None:
            done("")
            return
        waiting = self._removing.setdefault(identity, [])
        waiting.append(done)
        if len(waiting) == 1:
            self._kill_containers(record)
            CgroupRemoval(
                self._core, record.cgroup, lambda problem: self._taken_down(record, problem)
            )

    def _kill_containers(self, record: SandboxRecord) -> None:
        for container in self._containers.of(record.id):
            self._containers.kill(container)

    def _taken_down(self, record: SandboxRecord, problem: str) -> None:
        if not problem:
            point("shim.sandbox.cgroups-removed")
            self._core.processes.reap()  # so that every container's end is told before the sandbox's
            for container in self._containers.of(record.id):
                if container.output:
                    container.output.drain()
            self._core.files.remove(record)
            self.all.pop(record.id, None)
        for done in self._removing.pop(record.id):
            done(problem)

    def records(self) -> list[SandboxRecord]:
        """Return every sandbox, those that are still being made too: a new daemon must know what it has to end."""
        return [*self.all.values(), *(record for record, _ in self._starting.values())]

    def require(self, arguments: Plain, name: str) -> SandboxRecord:
        """Return the sandbox that the arguments name. Refusal when there is none."""
        identity = identifier(arguments, name)
        if identity not in self.all:
            raise Refusal("NotFound", f'sandbox "{identity}" does not exist')
        return self.all[identity]

    def require_alive(self, arguments: Plain, name: str) -> SandboxRecord:
        """Return the sandbox that the arguments name, which may be being made. Refusal when its pause is gone."""
        if starting := self._starting.get(identifier(arguments, name)):
            return starting[0]
        record = self.require(arguments, name)
        if not record.pid or record.id in self._removing:
            raise Refusal("SandboxFailed", f'sandbox "{record.id}" does not run any more')
        return record
