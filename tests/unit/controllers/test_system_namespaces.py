"""Namespaces that a cluster cannot be without: they come back, and nobody else's does."""

import asyncio

from minipod.controllers.system_namespaces import SystemNamespaces
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock


def test_a_system_namespace_that_was_deleted_is_made_again() -> None:
    async def whole() -> None:
        clock = FakeClock()
        api = FakeApi(clock)
        client = api.client()
        for name in ("kube-node-lease", "mine"):
            await client.create("namespaces", "", {"metadata": {"name": name}})
        before = api.objects["namespaces", "", "kube-node-lease"]["metadata"]["uid"]
        keeper = SystemNamespaces(client, clock, ("kube-node-lease",))
        await keeper.start()
        for name in ("kube-node-lease", "mine"):
            await client.delete("namespaces", "", name)
        for _ in range(60):
            await asyncio.sleep(0)
        await keeper.wait_idle()
        [left] = api.all("namespaces")
        assert left["metadata"]["name"] == "kube-node-lease"
        assert left["metadata"]["uid"] != before
        await keeper.stop()

    asyncio.run(whole())
