"""One run of one probe: exec, httpGet, tcpSocket or grpc, within its time. Words are the kubelet's (pkg/probe)."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from minipod.client import Object
from minipod.node.backoff import format_duration
from minipod.node.environment import expand
from minipod.node.http_action import HttpClient, compute_http_request
from minipod.node.ports import PortError, resolve_port
from minipod.runtime.service import Runtime, RuntimeFailure
from minipod.runtime.spec import CommandSpec

OUTPUT_LIMIT = 10 * 1024  # bytes
TRIES = 3  # of a probe that could not be run at all


@dataclass(frozen=True)
class Outcome:
    """What a probe came to. "unknown" is no result at all: it could not be run, and `output` says why."""

    result: Literal["success", "warning", "failure", "unknown"]
    output: str = ""


@dataclass(frozen=True)
class Target:
    """What is probed: a container of a Pod, and where the Pod is."""

    container: Object
    container_id: str
    address: str  # of the Pod, without prefix length


class ProbeActions:
    """Runs probes."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._http = HttpClient()

    async def run(self, probe: Object, target: Target) -> Outcome:
        """Run a probe; what cannot be run is tried again at once, a few times."""
        outcome = Outcome("unknown")
        for _ in range(TRIES):
            outcome = await self._run(probe, target)
            if outcome.result != "unknown":
                break
        return outcome

    async def close(self) -> None:
        """End."""
        await self._http.close()

    async def _run(self, probe: Object, target: Target) -> Outcome:
        timeout = float(probe.get("timeoutSeconds") or 1)
        try:
            if probe.get("exec") is not None:
                return await self._exec(probe["exec"], target, timeout)
            if probe.get("httpGet") is not None:
                return await self._get(probe["httpGet"], target, timeout)
            if probe.get("tcpSocket") is not None:
                return await connect_tcp(probe["tcpSocket"], target, timeout)
            if probe.get("grpc") is not None:
                return await _ask_health(probe["grpc"], target, timeout)
        except (PortError, RuntimeFailure) as error:
            return Outcome("unknown", str(error))
        return Outcome("unknown", f"missing probe handler for {target.container['name']}")

    async def _exec(self, action: Object, target: Target, timeout: float) -> Outcome:
        """Run the command; $(NAME) stands for what the container's spec gives as a plain value."""
        env = target.container.get("env") or ()
        variables = {each["name"]: each["value"] for each in env if each.get("value")}
        args = tuple(expand(each, variables) for each in action.get("command") or ())
        done = await self._runtime.exec_sync(
            target.container_id, CommandSpec(args, timeout, OUTPUT_LIMIT)
        )
        if done.timed_out:
            given = f'"{" ".join(args)}" timed out after {format_duration(timeout)}'
            return Outcome("failure", f"command timed out: {given}")
        return Outcome("failure" if done.exit_code else "success", done.output)

    async def _get(self, action: Object, target: Target, timeout: float) -> Outcome:
        request = compute_http_request(action, target.container, target.address, "probe")
        answer = await self._http.get(request, timeout)
        if answer.error:
            return Outcome("failure", answer.error)
        if 300 <= answer.code < 400:
            return Outcome("warning", f"Probe terminated redirects, Response body: {answer.body}")
        if 200 <= answer.code < 300:
            return Outcome("success", answer.body)
        return Outcome("failure", f"HTTP probe failed with statuscode: {answer.code}")


async def connect_tcp(action: Object, target: Target, timeout: float) -> Outcome:
    """Connect and hang up. PortError."""
    host = action.get("host") or target.address
    port = resolve_port(action["port"], target.container)
    try:
        async with _connection(host, port, timeout):
            return Outcome("success")
    except TimeoutError:
        return Outcome("failure", f"dial tcp {_join(host, port)}: i/o timeout")
    except OSError as error:
        return Outcome("failure", f"dial tcp {_join(host, port)}: connect: {_reason(error)}")


async def _ask_health(action: Object, target: Target, timeout: float) -> Outcome:
    from minipod.node.grpc_health import SERVING_NAME, GrpcError, check

    place = _join(target.address, action["port"])
    late = (
        f'timeout: failed to connect service "{place}" within {format_duration(timeout)}: '
        "context deadline exceeded"
    )
    try:
        async with asyncio.timeout(timeout):
            async with _connection(target.address, action["port"], timeout) as streams:
                late = f"timeout: health rpc did not complete within {format_duration(timeout)}"
                state = await check(*streams, place, action.get("service") or "")
    except TimeoutError:
        return Outcome("failure", late)
    except OSError as error:
        text = f'error: failed to connect service at "{place}": {_reason(error)}'
        return Outcome("failure", text)
    except GrpcError as error:
        if error.code == "Unimplemented":
            text = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
            return Outcome("failure", f"error: {text}: {error.message}")
        return Outcome("failure", f"error: health rpc probe failed: {error}")
    if state != SERVING_NAME:
        return Outcome("failure", f'service unhealthy (responded with "{state}")')
    return Outcome("success", "service healthy")


@asynccontextmanager
async def _connection(
    host: str, port: int, timeout: float
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
