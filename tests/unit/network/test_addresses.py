import contextlib
import resource
import signal
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from minipod.network import addresses
from minipod.network.addresses import JOURNAL, AddressPool, PoolExhausted


def test_hands_out_addresses_in_order_after_the_gateway(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, "10.85.0.0/16")
    assert pool.gateway == IPv4Interface("10.85.0.1/16")
    assert [str(pool.allocate(owner)) for owner in "abc"] == [
        "10.85.0.2/16",
        "10.85.0.3/16",
        "10.85.0.4/16",
    ]


def test_the_same_owner_keeps_its_address(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, "10.85.0.0/16")
    assert pool.allocate("a") == pool.allocate("a")
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == 1


def test_the_address_free_longest_comes_back_first(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, "10.0.0.0/29")
    held = {owner: pool.allocate(owner) for owner in "abcde"}
    for owner in "dbe":
        pool.release(owner)
    again = AddressPool(tmp_path, "10.0.0.0/29")
    assert [again.allocate(owner) for owner in "xyz"] == [held["d"], held["b"], held["e"]]


def test_exhaustion_names_the_range_and_the_way_out(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, "10.0.0.0/30")
    pool.allocate("a")
    with pytest.raises(PoolExhausted, match=r"10\.0\.0\.0/30: all 1 are in use; delete Pods"):
        pool.allocate("b")
    pool.release("a")
    assert str(pool.allocate("b")) == "10.0.0.2/30"


@pytest.mark.parametrize("cidr", ["10.0.0.0/31", "10.0.0.0/32", "10.0.0.1/16", "nonsense"])
def test_a_range_without_room_is_refused(tmp_path: Path, cidr: str) -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.|nonsense"):
        AddressPool(tmp_path, cidr)


@pytest.mark.parametrize("owner", ["", "two words", "a\nb", " a"])
def test_an_owner_that_would_tear_the_journal_is_refused(tmp_path: Path, owner: str) -> None:
    with pytest.raises(ValueError, match="one word"):
        AddressPool(tmp_path, "10.0.0.0/24").allocate(owner)


def test_a_torn_last_line_did_not_happen(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, "10.0.0.0/24")
    pool.allocate("a")
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write("+ 10.0.0.3 b")
    again = AddressPool(tmp_path, "10.0.0.0/24")
    assert set(again.owners()) == {"a"}
    assert str(again.allocate("c")) == "10.0.0.3/24"


def test_damaged_lines_count_for_nothing(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(
        b"+ 10.0.0.2 a\n\xff\xfe\n+ nowhere b\n+\n+ 10.0.0.2 c\n- 10.0.0.9\n"
    )
    pool = AddressPool(tmp_path, "10.0.0.0/24")
    assert pool.owners() == {"a": IPv4Interface("10.0.0.2/24")}


def test_reconcile_frees_what_nobody_owns(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, "10.0.0.0/24")
    for owner in "abc":
        pool.allocate(owner)
    assert pool.reconcile(["b", "z"]) == ["a", "c"]
    assert set(pool.owners()) == {"b"}


def test_a_changed_range_is_refused_while_addresses_of_the_old_one_are_owned(
    tmp_path: Path,
) -> None:
    pool = AddressPool(tmp_path, "10.0.0.0/24")
    pool.allocate("a")
    with pytest.raises(
        ValueError, match=r"1 addresses outside of Pod range 10\.9\.0\.0/24.*10\.0\.0\.2 by a"
    ):
        AddressPool(tmp_path, "10.9.0.0/24")
    pool.release("a")
    assert str(AddressPool(tmp_path, "10.9.0.0/24").allocate("b")) == "10.9.0.2/24"


def test_the_journal_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "COMPACT_AFTER", 20)
    pool = AddressPool(tmp_path, "10.0.0.0/28")
    pool.allocate("kept")
    for number in range(100):
        pool.allocate(f"o{number}")
        pool.release(f"o{number}")
    assert len((tmp_path / JOURNAL).read_text().splitlines()) < 40
    assert AddressPool(tmp_path, "10.0.0.0/28").owners() == pool.owners()


@contextlib.contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, former)


def test_the_old_journal_goes_on_where_no_fresh_one_can_be_written(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, "10.0.0.0/24")
    for owner in "ab":
        pool.allocate(owner)
    pool.release("a")
    pool.close()
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write("+ 10.0.0.9 tor")  # by a daemon that was killed
    with no_file_beyond(3):
        pool = AddressPool(tmp_path, "10.0.0.0/24")
        assert set(pool.owners()) == {"b"}
        with pytest.raises(OSError, match=r"space|large"):
            pool.allocate("c")
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]
    held = pool.allocate("c")
    pool.close()
    again = AddressPool(tmp_path, "10.0.0.0/24")
    assert again.owners().keys() == {"b", "c"}
    assert again.allocate("c") == held


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, "10.0.0.0/24")
    pool.allocate("a")
    before = (tmp_path / JOURNAL).read_bytes()
    with no_file_beyond(len(before) + 5), pytest.raises(OSError, match=r"space|large"):
        pool.allocate("b")
    assert (tmp_path / JOURNAL).read_bytes() == before
    assert set(pool.owners()) == {"a"}
    assert str(pool.allocate("b")) == "10.0.0.3/24"


class PoolMachine(RuleBasedStateMachine):
    """Any sequence of calls, restarts and torn writes: no address twice, none lost, none that is reserved."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="mp")
        self.path = Path(self.directory.name)
        self.pool = AddressPool(self.path, "10.0.0.0/29")
        self.expected: dict[str, IPv4Interface] = {}

    def teardown(self) -> None:
        self.pool.close()
        self.directory.cleanup()

    @rule(owner=st.sampled_from("abcdefgh"))
    def allocate(self, owner: str) -> None:
        if len(self.expected) == self.pool.capacity and owner not in self.expected:
            with pytest.raises(PoolExhausted):
                self.pool.allocate(owner)
            return
        given = self.pool.allocate(owner)
        assert self.expected.get(owner, given) == given
        self.expected[owner] = given

    @rule(owner=st.sampled_from("abcdefgh"))
    def release(self, owner: str) -> None:
        self.pool.release(owner)
        self.expected.pop(owner, None)

    @rule(torn=st.sampled_from([b"", b"+", b"+ 10.0.0.3", b"- 10.0.0.2", b"+ 10.0.0.4 q"]))
    def restart(self, torn: bytes) -> None:
        self.pool.close()
        with (self.path / JOURNAL).open("ab") as journal:
            journal.write(torn)
        self.pool = AddressPool(self.path, "10.0.0.0/29")

    @rule(live=st.sets(st.sampled_from("abcdefgh")))
    def reconcile(self, live: set[str]) -> None:
        self.pool.reconcile(live)
        self.expected = {owner: a for owner, a in self.expected.items() if owner in live}

    @invariant()
    def owners_are_as_expected(self) -> None:
        assert self.pool.owners() == self.expected
        held = [each.ip for each in self.expected.values()]
        reserved = {IPv4Address("10.0.0.0"), IPv4Address("10.0.0.1"), IPv4Address("10.0.0.7")}
        assert len(set(held)) == len(held)
        assert not reserved & set(held)
        assert all(each in IPv4Network("10.0.0.0/29") for each in held)


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
