"""Rules that somebody removes come back, with what was in them: nothing of it is polled for."""

import asyncio
import contextlib
import errno
import resource
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from minipod.linux import nft, nft_changes
from minipod.network import bridge, rule_watch
from minipod.network.rule_watch import FIRST_PAUSE, RuleWatch

from .topology import HOST, OUTSIDE, Instance, Pod, make_outside, outer_namespace, run

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def outer() -> Iterator[None]:
    with outer_namespace():
        yield


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path / "a")
    yield made
    made.close()


class Watched:
    """A watch that fills the tables with the Pods' elements, and counts how often."""

    def __init__(self, network: Instance, failures: int = 0) -> None:
        self.network, self.filled, self.failures = network, 0, failures
        self.looks = 0

    async def refill(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("no runtime")
        for pod in self.network.pods:
            nft.add_elements(pod.elements)
        self.filled += 1

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[RuleWatch]:
        watch = RuleWatch(self.network.layout, self.network.facts, self.refill)
        await watch.start()
        look = watch._look

        async def counted() -> None:
            await look()
            self.looks += 1

        watch._look = counted  # type: ignore[method-assign]
        yield watch
        await watch.stop()

    async def have_filled(self, times: int) -> None:
        await until(lambda: self.filled >= times)

    async def quiet(self) -> None:
        """Return when one more look, at a change of somebody else's, has come after all others."""
        for name in ("one", "two"):  # the first may fall into a look that is under way
            seen = self.looks
            await asyncio.to_thread(run, f"nft add table inet {name}")
            await until(lambda seen=seen: self.looks > seen)  # type: ignore[misc]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)  # the watch runs in this very loop


def overflows(reader: socket.socket) -> bool:
    try:
        while reader.recv(1):
            pass
    except OSError as failure:
        return failure.errno == errno.ENOBUFS
    return False


def within_a_watch(
    network: Instance, test: Callable[[Watched, RuleWatch], Awaitable[None]], **more: int
) -> Watched:
    watched = Watched(network, **more)

    async def whole() -> None:
        async with watched.watching() as watch:
            await test(watched, watch)

    asyncio.run(whole())
    return watched


def test_a_flushed_ruleset_is_made_anew_with_host_ports_and_the_way_out(
    network: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    outside = make_outside()
    outside.serve(80)
    pod = network.pod("one", ("", "tcp", 8080, 80))
    pod.serve(80)

    async def flush(watched: Watched, _: RuleWatch) -> None:
        await asyncio.to_thread(run, "nft flush ruleset")
        await watched.have_filled(1)
        await watched.quiet()

    watched = within_a_watch(network, flush)
    assert watched.filled == 1  # our own changes are told of as well, and lead to nothing
    assert outside.ask(HOST, 8080) == OUTSIDE
    assert pod.ask(OUTSIDE, 80) == HOST
    assert {
        each.key[0] for each in nft.list_elements("bridge", network.facts.table, "guarded")
    } == {pod.host_interface}
    [said] = caplog.messages
    assert said.startswith(f'the packet rules of table "{network.facts.table}" were removed')
    outside.close()


@pytest.mark.parametrize("family", ["inet", "bridge"])
def test_one_table_that_is_deleted_comes_back(network: Instance, family: str) -> None:
    network.pod("one", ("", "tcp", 8080, 80))
    rules = run("nft list ruleset")

    async def delete(watched: Watched, _: RuleWatch) -> None:
        await asyncio.to_thread(run, f"nft delete table {family} {network.facts.table}")
        await watched.have_filled(1)

    within_a_watch(network, delete)
    assert run("nft list ruleset") == rules


def test_a_saved_copy_in_the_place_of_ours_does_not_stay(network: Instance, tmp_path: Path) -> None:
    gone = network.pod("gone", ("", "tcp", 8080, 80))
    saved = tmp_path / "nftables.conf"
    saved.write_text("flush ruleset\n" + run("nft list ruleset"))
    network.pods.remove(gone)
    gone.remove()
    gone.close()
    pod = network.pod("one", ("", "tcp", 8080, 80))

    async def load(watched: Watched, _: RuleWatch) -> None:
        await asyncio.to_thread(run, f"nft -f {saved}")
        await watched.have_filled(1)

    within_a_watch(network, load)
    [element] = nft.list_elements("inet", network.facts.table, "ports")
    assert element.value == (pod.address, 80)


def test_what_was_removed_before_the_watch_began_comes_back(network: Instance) -> None:
    run("nft flush ruleset")

    async def nothing(watched: Watched, _: RuleWatch) -> None:
        await watched.have_filled(1)

    within_a_watch(network, nothing)
    assert nft.table_handles(network.facts.table).keys() == {"inet", "bridge"}


def test_others_changes_and_our_own_lead_to_nothing(network: Instance) -> None:
    async def change(watched: Watched, _: RuleWatch) -> None:
        await asyncio.to_thread(run, "nft add table inet other")
        await asyncio.to_thread(run, "nft delete table inet other")
        await asyncio.to_thread(bridge.ensure_network, network.layout, network.cidr)
        network.pod("one", ("", "tcp", 8080, 80))
        await watched.quiet()

    assert within_a_watch(network, change).filled == 0


def test_a_socket_that_overflows_loses_nothing(
    network: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = network.pod("one", ("", "tcp", 8080, 80))
    opened = nft_changes.open_socket

    def small(groups: int) -> socket.socket:
        made = opened(groups)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        return made

    monkeypatch.setattr(nft_changes, "open_socket", small)
    overflowed: list[bool] = []

    async def burst(watched: Watched, watch: RuleWatch) -> None:
        assert watch._changes
        probe = nft_changes.RuleChanges()  # what the kernel tells it is what it tells the watch
        for number in range(50):  # the loop does not run meanwhile, and reads nothing
            run(f"nft add table inet other{number}")
        run("nft flush ruleset")
        overflowed.append(overflows(probe._socket))
        probe.close()
        await watched.have_filled(1)
        await watched.quiet()

    assert within_a_watch(network, burst).filled == 1
    assert overflowed == [True]
    assert [each.value for each in nft.list_elements("inet", network.facts.table, "ports")] == [
        (pod.address, 80)
    ]


def test_somebody_who_flushes_again_and_again_is_answered_ever_more_slowly(
    network: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_watch, "LONGEST_PAUSE", 0.2)
    pauses: list[float] = []

    async def fight(watched: Watched, watch: RuleWatch) -> None:
        for times in range(1, 6):
            await asyncio.to_thread(run, "nft flush ruleset")
            await watched.have_filled(times)
            pauses.append(watch._pause)

    within_a_watch(network, fight)
    assert pauses == [0.05, 0.1, 0.2, 0.2, 0.2]


def test_a_look_that_fails_is_repeated_ever_more_slowly(
    network: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    async def starve(watched: Watched, watch: RuleWatch) -> None:
        await watched.quiet()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))  # the looks need a socket
        try:
            watch._told.set()
            await until(lambda: len(caplog.messages) == 4)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert watch._pause == FIRST_PAUSE * 8
        await asyncio.to_thread(run, "nft flush ruleset")
        await watched.have_filled(1)

    within_a_watch(network, starve)
    assert "Too many open files; trying again" in caplog.messages[0]


def test_what_cannot_be_filled_is_tried_again_and_the_table_left_as_it_is(
    network: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    pod: Pod = network.pod("one", ("", "tcp", 8080, 80))
    handles: list[dict[str, int]] = []

    async def flush(watched: Watched, watch: RuleWatch) -> None:
        await asyncio.to_thread(run, "nft flush ruleset")
        await until(lambda: not watch._filled and watched.failures < 2)
        handles.append(nft.table_handles(network.facts.table))
        await watched.have_filled(1)

    within_a_watch(network, flush, failures=2)
    assert handles == [nft.table_handles(network.facts.table)]
    assert [each for each in caplog.messages if "trying again" in each] == [
        "packet rules: no runtime; trying again"
    ] * 2
    assert [each.value for each in nft.list_elements("inet", network.facts.table, "ports")] == [
        (pod.address, 80)
    ]
