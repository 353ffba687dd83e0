"""Calls of the runtime, none of which is waited for without end."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from minipod.runtime.service import RuntimeFailure

REQUEST_TIMEOUT = 120.0  # seconds (kubelet runtimeRequestTimeout)

A = TypeVar("A")


async def bounded(call: Coroutine[Any, Any, A]) -> A:
    """Await a call of the runtime; one that is never answered is a failure, and is made again."""
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            return await call
    except TimeoutError:
        message = f"the runtime has not answered for {REQUEST_TIMEOUT:.0f} seconds"
        raise RuntimeFailure("ShimUnavailable", message) from None
