"""The range of Services that a root gets: nobody else's."""

import asyncio
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from minipod.api import kinds
from minipod.server import keys, wire
from minipod.server.service_range import choose_service_range
from minipod.store import Store

ROUTE = "10.96.0.0/12, which this host routes through lan0"
PODS = "10.85.0.0/16"


def test_a_range_that_the_host_routes_elsewhere_is_not_taken(tmp_path: Path) -> None:
    asyncio.run(_not_taken(tmp_path))


async def _not_taken(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "store.db")
    try:
        first = choose_service_range(store, "minipod-1", "", PODS, lambda network: "")
        other = choose_service_range(
            store, "minipod-1", "", PODS, lambda network: ROUTE if str(network) == first else ""
        )
        assert not IPv4Network(other).overlaps(IPv4Network(first))
        with pytest.raises(ValueError, match=r"overlaps 10\.96\.0\.0/12, .* lan0; choose another"):
            choose_service_range(store, "minipod-1", "10.97.0.0/20", PODS, lambda network: ROUTE)
        with pytest.raises(ValueError, match="every range for Services"):
            choose_service_range(store, "minipod", "", PODS, lambda network: ROUTE)
    finally:
        await store.close()


def test_a_recorded_range_that_the_host_has_come_to_route_elsewhere_is_kept_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(_kept(tmp_path, caplog))


async def _kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = await Store.open(tmp_path / "store.db")
    try:
        recorded = {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.97.0.0/20"]}}
        kind = kinds.by_resource("servicecidrs.networking.k8s.io")
        await store.put(
            keys.object_key(kind, "", "kubernetes"), lambda _: wire.encode(recorded), expected=0
        )
        assert choose_service_range(store, "a", "", PODS, lambda network: "") == "10.97.0.0/20"
        assert caplog.messages == []
        assert choose_service_range(store, "a", "", PODS, lambda network: ROUTE) == "10.97.0.0/20"
        [warning] = caplog.messages
        assert warning.startswith(f"Service range 10.97.0.0/20 overlaps {ROUTE}, but never changes")
        assert "--root" in warning
    finally:
        await store.close()
