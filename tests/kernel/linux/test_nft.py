import contextlib
import os
import struct
import threading
from collections.abc import Iterator

import pytest

from minipod.linux import nft
from minipod.linux.nfnetlink import NLM_F_CREATE, attribute
from minipod.linux.nft import Element
from minipod.linux.nft_messages import perform

from ..network.topology import outer_namespace

pytestmark = pytest.mark.kernel

TABLE = """
table inet mpt {
  map ports {
    type inet_proto . inet_service : ipv4_addr . inet_service
  }
  set names {
    type ifname
  }
}
"""


def leads(port: int, address: str) -> Element:
    return Element("inet", "mpt", "ports", ("tcp", port), (address, 80))


@pytest.fixture(autouse=True)
def outer() -> Iterator[None]:
    with outer_namespace():
        nft.run("inet", "mpt", TABLE)
        yield


def elements(name: str = "ports") -> set[Element]:
    return set(nft.list_elements("inet", "mpt", name))


def test_elements_come_and_go_repeatably() -> None:
    wanted = [
        leads(80, "10.0.0.1"),
        leads(81, "10.0.0.1"),
        Element("inet", "mpt", "names", ("lo",)),
    ]
    for _twice in range(2):
        nft.add_elements(wanted)
        assert elements() == set(wanted[:2])
        assert elements("names") == {wanted[2]}
    for _twice in range(2):
        nft.delete_elements(wanted)
        assert elements() == elements("names") == set()


def test_a_taken_key_is_named_and_nothing_is_added() -> None:
    nft.add_elements([leads(80, "10.0.0.1")])
    with pytest.raises(FileExistsError, match=r"tcp \. 80 : 10\.0\.0\.2 \. 80"):
        nft.add_elements([leads(79, "10.0.0.2"), leads(80, "10.0.0.2")])
    assert elements() == {leads(80, "10.0.0.1")}


def test_what_leads_elsewhere_is_not_deleted() -> None:
    nft.add_elements([leads(80, "10.0.0.1"), leads(81, "10.0.0.2")])
    nft.delete_elements([leads(80, "10.0.0.2"), leads(81, "10.0.0.2")])
    assert elements() == {leads(80, "10.0.0.1")}


def test_deleting_from_a_missing_table_is_no_error() -> None:
    nft.delete_table("inet", "mpt")
    nft.delete_table("inet", "mpt")
    nft.delete_elements([leads(80, "10.0.0.1")])
    assert nft.list_elements("inet", "mpt", "ports") == []
    assert nft.tables() == []


def test_errors_carry_errno_reason_and_culprit() -> None:
    with pytest.raises(FileNotFoundError, match=r"nftables: No such file.*inet none ports"):
        nft.add_elements([Element("inet", "none", "ports", ("tcp", 80), ("10.0.0.1", 80))])
    with pytest.raises(OSError, match=r"syntax error.*'table inet mpt'"):
        nft.run("inet", "mpt", "table inet {")


def test_a_transaction_happens_whole_or_not_at_all() -> None:
    with pytest.raises(OSError, match="nftables"):
        nft.run("inet", "other", "add table inet other\nadd rule inet other missing accept\n")
    assert nft.tables() == [("inet", "mpt")]


def write_as_a_newer_nft() -> None:
    """Make table inet newer with a set whose key is `typeof` an expression that no libnftables knows yet."""
    unknown = struct.pack("=BBI", 0, 4, 31) + struct.pack("=BB", 1, 0)
    userdata = struct.pack("=BBI", 0, 4, 1) + struct.pack("=BB", 3, len(unknown)) + unknown
    table = attribute(1, b"newer\0")
    numbers = ((3, 0), (4, 19), (5, 4), (10, 1))  # flags, key type (mark) and length, id
    body = table + attribute(2, b"s\0") + attribute(13, userdata)
    body += b"".join(attribute(kind, struct.pack("!I", number)) for kind, number in numbers)
    create = NLM_F_CREATE
    perform([(10 << 8, create, 1, table), (10 << 8 | 9, create, 1, body)], "newer")


def test_what_a_newer_nft_has_written_is_not_read() -> None:
    write_as_a_newer_nft()
    pid = os.fork()  # libnftables up to 1.1.3 dies of it
    if not pid:
        with contextlib.suppress(BaseException):
            element = leads(80, "10.0.0.1")
            nft.run("inet", "mpt", TABLE + "add chain inet mpt c\nadd rule inet mpt c accept\n")
            nft.add_elements([element])
            assert elements() == {element}
            assert nft.chains("inet", "mpt") == ["c"]
            assert nft.sets("inet", "mpt") == ["ports", "names"]
            assert nft.tables() == [("inet", "mpt"), ("inet", "newer")]
            nft.delete_elements([element])
            nft.delete_table("inet", "mpt")
            assert nft.tables() == [("inet", "newer")]
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    nft.delete_table("inet", "newer")


def test_many_elements_are_one_transaction() -> None:
    wanted = [leads(port, "10.0.0.1") for port in range(1, 5001)]
    nft.add_elements(wanted)
    assert elements() == set(wanted)
    with pytest.raises(FileExistsError, match=r"tcp \. 4000 : "):
        nft.add_elements([leads(port, "10.0.0.2") for port in (9000, 4000)])
    nft.delete_elements(wanted)
    assert elements() == set()


def test_threads_share_the_library() -> None:
    failures: list[BaseException] = []

    def churn(number: int) -> None:
        try:
            for port in range(20):
                nft.add_elements([leads(1000 * number + port, "10.0.0.1")])
                if port % 2:
                    nft.delete_elements([leads(1000 * number + port, "10.0.0.1")])
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(1, 7)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failures
    assert len(elements()) == 60
