"""Pulling: one process for each image that is asked for, however many Pods wait for it.

A process of its own, because unpacking is heavy and what comes from a registry is a stranger's: neither slows the
daemon down nor can end it. It ends with the daemon; a Pod that stops waiting leaves it to the others.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

from minipod.clock import call_off
from minipod.image.credentials import Keyring, to_config

PARALLEL = 4  # processes at a time; others wait their turn
_ERROR = "error: "


class PullFailure(Exception):
    """The image could not be had; the message is the kubelet's `ErrImagePull` detail."""


class Brought(NamedTuple):
    """An image that was pulled: its size in bytes, and the fingerprint of the credential that did it ("": none)."""

    size: int
    credential: str = ""


class Puller(Protocol):
    """What brings images from registries."""

    async def pull(self, reference: str, keyring: Keyring) -> Brought:
        """Bring an image up to date. Raises PullFailure."""

    async def stop(self) -> None:
        """End all pulls."""


def _heed(task: asyncio.Task[Brought]) -> None:
    """Take note of a failure: whoever waited for the pull may have given up, and nobody else complains."""
    if not task.cancelled():
        task.exception()


class ProcessPuller:
    """All pulls of one image store."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._pulls: dict[tuple[str, Keyring], asyncio.Task[Brought]] = {}
        self._turns = asyncio.Semaphore(PARALLEL)

    async def pull(self, reference: str, keyring: Keyring) -> Brought:
        """Bring an image up to date. Raises PullFailure."""
        key = (reference, keyring)
        task = self._pulls.get(key)
        if task is None:
            task = asyncio.create_task(self._pull(reference, keyring), name=f"pull {reference}")
            self._pulls[key] = task
            task.add_done_callback(lambda _: self._pulls.pop(key, None))
            task.add_done_callback(_heed)
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """End all pulls; what they have not made visible is removed by the next one."""
        await call_off(*self._pulls.values())

    async def _pull(self, reference: str, keyring: Keyring) -> Brought:
        async with self._turns:
            try:
                code, said, complaint = await self._run(reference, to_config(keyring))
            except OSError as error:
                reason = f"the pulling process could not be started: {error.strerror or error}"
                raise PullFailure(reason) from None
        if code < 0:
            ended = signal.Signals(-code).name
            raise PullFailure(
                f"the pulling process was ended by {ended}; is the host short of memory?"
            )
        if code:
            lines = [line for line in complaint.splitlines() if line.startswith(_ERROR)]
            raise PullFailure(
                (lines or complaint.splitlines() or [f"exit {code}"])[-1].removeprefix(_ERROR)
            )
        told = json.loads(said)
        return Brought(int(told["size"]), str(told.get("credential") or ""))

    async def _run(self, reference: str, config: str) -> tuple[int, str, str]:
        """Run `minipod image pull`. Credentials go through its standard input: an argument is everybody's."""
        verb = ["--quiet", "pull", "--output=json", f"--parent={os.getpid()}"]
        if config != to_config(()):
            verb.append("--authfile=-")
        root = [f"--root={self._root}"] if self._root else []
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "minipod.image", *root, *verb, "--", reference),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, complaint = await process.communicate(config.encode())
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            await process.wait()
            raise
        return (
            process.returncode or 0,
            said.decode(errors="replace"),
            complaint.decode(errors="replace"),
        )
