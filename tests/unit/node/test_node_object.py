"""What the node has, and what of it Pods may ask for."""

import dataclasses
import os
from pathlib import Path

import pytest

from minipod.api.quantity import parse
from minipod.node import node_object
from minipod.node.config import NodeConfig
from minipod.node.node_object import (
    check_reserved,
    compute_allocatable,
    compute_capacity,
    compute_pods_limits,
    compute_throttling,
    parse_reserved,
    parse_throttling_factor,
)
from minipod.node.pressure import DEFAULT_THRESHOLDS, parse_thresholds
from minipod.node.resources import MemoryThrottling
from tests.unit.node.pods import make_config


def test_what_is_reserved_is_not_allocatable(tmp_path: Path) -> None:
    reserved = parse_reserved("cpu=100m,memory=200Mi")
    config = dataclasses.replace(make_config(tmp_path), reserved=reserved)
    capacity, allocatable = compute_capacity(config), compute_allocatable(config)
    assert parse(capacity["cpu"]) - parse(allocatable["cpu"]) == parse("100m")
    assert parse(capacity["memory"]) - parse(allocatable["memory"]) == parse("200Mi")
    assert allocatable["pods"] == capacity["pods"]


def test_all_pods_together_have_what_is_not_reserved(tmp_path: Path) -> None:
    reserved = parse_reserved("memory=1Gi,pid=100,ephemeral-storage=1Gi")
    given = {"memory_bytes": 4 << 30, "eviction": parse_thresholds(DEFAULT_THRESHOLDS)}
    config = dataclasses.replace(make_config(tmp_path), reserved=reserved, **given)
    limits = compute_pods_limits(config, 4000)
    assert limits.cpu_shares == 1024 * (os.cpu_count() or 1)
    assert (limits.memory_bytes, limits.pids) == (3 << 30, 3900)
    assert "pid" not in compute_allocatable(config)
    assert compute_pods_limits(make_config(tmp_path), 0).pids is None


def test_what_is_to_stay_free_is_not_allocatable(tmp_path: Path) -> None:
    config = dataclasses.replace(
        make_config(tmp_path),
        reserved=parse_reserved("memory=200Mi"),
        eviction=parse_thresholds(DEFAULT_THRESHOLDS),
    )
    capacity, allocatable = compute_capacity(config), compute_allocatable(config)
    assert parse(capacity["memory"]) - parse(allocatable["memory"]) == parse("300Mi")
    disk = "ephemeral-storage"
    assert parse(allocatable[disk]) / parse(capacity[disk]) == pytest.approx(0.95)
    assert allocatable["cpu"] == capacity["cpu"]


def test_huge_pages_are_told_of_and_given_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, pages in (("hugepages-2048kB", "3"), ("hugepages-1048576kB", "0")):
        (tmp_path / "pages" / name).mkdir(parents=True)
        (tmp_path / "pages" / name / "nr_hugepages").write_text(f"{pages}\n")
    monkeypatch.setattr(node_object, "HUGE_PAGES", tmp_path / "pages")
    config = make_config(tmp_path)
    capacity, allocatable = compute_capacity(config), compute_allocatable(config)
    assert (capacity["hugepages-2Mi"], capacity["hugepages-1Gi"]) == ("6Mi", "0")
    assert (allocatable["hugepages-2Mi"], allocatable["hugepages-1Gi"]) == ("0", "0")
    assert parse(capacity["memory"]) - parse(allocatable["memory"]) == parse("6Mi")


def test_without_reservation_all_is_allocatable(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    assert compute_allocatable(config) == compute_capacity(config)


@pytest.mark.parametrize("text", ["cpu", "cpu=much", "pods=3", "memory=-1Gi"])
def test_a_reservation_that_makes_no_sense_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=f'--system-reserved "{text}"'):
        parse_reserved(text)


@pytest.mark.parametrize("text", ["memory=5Gi", "cpu=9999", "pid=4001", "ephemeral-storage=1Ei"])
def test_more_than_there_is_is_not_reserved(tmp_path: Path, text: str) -> None:
    def config(reserved: str) -> NodeConfig:
        given = {"reserved": parse_reserved(reserved), "memory_bytes": 4 << 30}
        return dataclasses.replace(make_config(tmp_path), **given)

    check_reserved(config("memory=4Gi,pid=4000"), 4000)
    check_reserved(config("pid=9"), 0)  # nobody knows of how many
    with pytest.raises(ValueError, match=f'--system-reserved "{text}" is more than the [0-9]'):
        check_reserved(config(text), 4000)


def test_containers_are_slowed_down_only_where_that_is_asked_for(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    assert compute_throttling(config) is None
    factor = parse_throttling_factor("0.9")
    config = dataclasses.replace(
        config, memory_throttling_factor=factor, reserved={"memory": "1Ki"}
    )
    assert compute_throttling(config) == MemoryThrottling(
        0.9, (config.memory_bytes // 1024 - 1) * 1024
    )


@pytest.mark.parametrize("text", ["0", "1.1", "-1", "nan", "half"])
def test_a_factor_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=f'--memory-throttling-factor "{text}"'):
        parse_throttling_factor(text)
