"""postStart and preStop: a command, a request or a pause at both ends of a container's life.

Semantics, Events and messages are the kubelet's (lifecycle/handlers.go, kuberuntime killContainer). What a hook printed
goes into the container's status and never into an Event, where more people can read it.
"""

import asyncio
import json
import logging
import os

from minipod.client import Object
from minipod.clock import call_off
from minipod.linux.process import pidfd_open
from minipod.node.http_action import HttpAnswer, HttpClient, HttpRequest, compute_http_request
from minipod.node.observed import LABEL_CONTAINER
from minipod.node.parts import Parts
from minipod.node.pods import find_container, full_name, host_network, uid_of
from minipod.node.ports import PortError
from minipod.node.status import Waiting
from minipod.node.workers import Work
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.spec import ContainerStatus, ExecSpec

logger = logging.getLogger(__name__)

OUTPUT_LIMIT = 10 * 1024  # bytes of a command's output that are kept
REQUEST_SECONDS = 3600.0  # a request has no limit of its own; preStop has the grace period
KILLED = 137  # the exit code of what SIGKILL has ended
ENDING_SECONDS = 1.0  # for a first process to be gone after those of its PID namespace
PLAIN = "http: server gave HTTP response to HTTPS client"


class HookFailed(Exception):
    """A hook could not be run, or has failed; `killed`: its command was ended with SIGKILL."""

    def __init__(self, message: str, *, killed: bool = False) -> None:
        super().__init__(message)
        self.killed = killed


class Hooks:
    """Runs the hooks of containers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def post_start(self, work: Work, pod: Object, name: str) -> ContainerStatus | None:
        """Run a started container's postStart; return the container if it must not live.

        A Pod that must go does not wait for it. Until then the container is not said to run, one that fails not at all.
        """
        container, running = self._find(pod, name)
        handler = (container.get("lifecycle") or {}).get("postStart")
        if not handler or running is None:
            return None
        hooked = self._parts.memory(uid_of(pod)).hooked
        hooked.add(running.id)
        hook = asyncio.create_task(self._run(pod, container, running, handler))
        killed = asyncio.create_task(work.killed.wait())
        try:
            await asyncio.wait({hook, killed}, return_when=asyncio.FIRST_COMPLETED)
            if hook.done():
                hook.result()
        except HookFailed as failure:
            self._parts.event(pod, "Warning", "FailedPostStartHook", "PostStartHook failed", name)
            waiting = Waiting("PostStartHookError", str(failure))
            self._parts.memory(uid_of(pod)).waiting[name] = waiting
            return running
        finally:
            await call_off(hook, killed)
        hooked.discard(running.id)
        return None

    async def pre_stop(self, pod: Object, status: ContainerStatus) -> None:
        """Run a container's preStop before it is stopped. The caller keeps to the grace period by cancelling."""
        name = status.labels.get(LABEL_CONTAINER, "")
        found = find_container(pod, name)
        handler = ((found[1].get("lifecycle") or {}) if found else {}).get("preStop")
        if not found or not handler:
            return
        try:
            await self._run(pod, found[1], status, handler)
        except HookFailed as failure:
            if failure.killed and await _ends(status.pid):
                return  # it has ended its container (`nginx -s quit`), and so itself
            logger.info('preStop of pod "%s": %s', full_name(pod), failure)
            self._parts.event(pod, "Warning", "FailedPreStopHook", "PreStopHook failed", name)

    def _find(self, pod: Object, name: str) -> tuple[Object, ContainerStatus | None]:
        found = find_container(pod, name)
        containers = self._parts.running.of_pod(uid_of(pod)).containers
        running = [
            each
            for each in containers
            if each.labels.get(LABEL_CONTAINER) == name and each.state == "running"
        ]
        return (found[1] if found else {}), (running[-1] if running else None)

    async def _run(
        self, pod: Object, container: Object, status: ContainerStatus, handler: Object
    ) -> None:
        killed = False
        where = f"for Container {json.dumps(container['name'])} in Pod {json.dumps(full_name(pod))}"
        if handler.get("exec") is not None:
            command = handler["exec"].get("command") or []
            problem, said, code = await self._exec(status.id, command)
            killed = code == KILLED
            hook = f"Exec lifecycle hook ([{' '.join(command)}])"
            tail = f", message: {json.dumps(said)}"
        elif handler.get("httpGet") is not None:
            problem, tail = await self._get(pod, container, handler["httpGet"]), ""
            hook = f"HTTP lifecycle hook ({handler['httpGet'].get('path') or ''})"
        elif handler.get("sleep") is not None:
            await asyncio.sleep(float(handler["sleep"].get("seconds") or 0))
            return
        else:  # tcpSocket is accepted for old manifests, and has never worked upstream
            kinds = ", ".join(handler) or "none"
            raise HookFailed(f"Cannot run handler: invalid handler: {kinds}")
        if problem:
            raise HookFailed(f"{hook} {where} failed - error: {problem}{tail}", killed=killed)

    async def _exec(self, container_id: str, command: list[str]) -> tuple[str, str, int]:
        """Run a command without a limit of time; return what is wrong ("": nothing), what it said, and its code."""
        said = {"stdout": bytearray(), "stderr": bytearray()}
        try:
            streams = await self._parts.runtime.exec(container_id, ExecSpec(tuple(command)))
        except RuntimeFailure as failure:
            return str(failure), "", 0
        try:
            while chunk := await streams.read():
                name, data = chunk
                said[name] += data[: max(0, OUTPUT_LIMIT - len(said[name]))]
            code = await streams.wait()
        except RuntimeFailure as failure:
            return str(failure), "", 0
        finally:
            await streams.close()
        texts = {name: bytes(each).decode(errors="replace") for name, each in said.items()}
        output = texts["stdout"] + texts["stderr"]
        if not code:
            return "", output, 0
        problem = f"command '{' '.join(command)}' exited with {code}: {texts['stderr']}"
        return problem, output, code

    async def _get(self, pod: Object, container: Object, action: Object) -> str:
        """Make a request; any answer will do. Return what is wrong."""
        try:
            request = compute_http_request(action, container, self._address(pod), "lifecycle")
        except PortError as error:
            return str(error)
        client = HttpClient()
        try:
            answer = await client.get(request, REQUEST_SECONDS)
            if PLAIN in answer.error:
                answer = await self._get_plainly(pod, client, request, answer)
        finally:
            await client.close()
        return answer.error

    async def _get_plainly(
        self, pod: Object, client: HttpClient, request: HttpRequest, former: HttpAnswer
    ) -> HttpAnswer:
        """A server that does not speak TLS is asked without it, and without credentials."""
        headers = tuple(each for each in request.headers if each[0].lower() != "authorization")
        plain = HttpRequest(request.url.with_scheme("http"), headers)
        answer = await client.get(plain, REQUEST_SECONDS)
        if answer.error:
            return former
        place = f"{request.url.host}:{request.url.port}"
        message = (
            f"request to HTTPS lifecycle hook {place} got HTTP response, retry with HTTP succeeded"
        )
        self._parts.event(pod, "Warning", "LifecycleHTTPFallback", message)
        return answer

    def _address(self, pod: Object) -> str:
        if host_network(pod):
            return self._parts.config.host_ip
        sandbox = self._parts.observe(pod).sandbox
        return sandbox.address if sandbox else ""


async def _ends(pid: int) -> bool:
    """Return whether a process has ended, or is about to: the rest of its PID namespace is killed before it is gone.

    A pidfd is readable when its process has ended (pidfd_open(2)).
    """
    try:
        descriptor = pidfd_open(pid)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(ENDING_SECONDS):
            await ended.wait()
        return True
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
