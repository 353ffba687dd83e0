"""Statuses that cannot be written: tried again, and told of once for each reason."""

import asyncio

import pytest

from minipod.api.errors import status_error
from minipod.node.status_writer import StatusWriter
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock

from .pods import make_pod


def test_what_cannot_be_written_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async def whole() -> None:
        clock = FakeClock()
        api = FakeApi(clock)
        writer = StatusWriter(api.client(), clock)
        pod = await api.client().create("pods", "default", make_pod())
        full, other = (status_error(500, "InternalError", why) for why in ("full", "broken"))
        api.failures = [full, full, full, other]
        writer.set(pod, {"phase": "Running"}, urgent=True)
        for _ in range(5):
            for _ in range(20):
                await asyncio.sleep(0)
            clock.advance(1)
        await writer.flush("uid-web")
        assert api.objects["pods", "default", "web"]["status"] == {"phase": "Running"}
        await writer.stop()

    asyncio.run(whole())
    assert caplog.messages == [
        'pod "default/web": writing status: full',
        'pod "default/web": writing status: broken',
    ]
