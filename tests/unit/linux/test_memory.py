import subprocess
import sys

import pytest

ARENA = 64 << 20  # what glibc reserves for each arena beside the first, and aligns it to

_PROGRAM = f"""
import sys, threading
from minipod.linux.memory import limit_arenas
if sys.argv[1] != "0":
    assert limit_arenas(int(sys.argv[1]))
hold, all_there = [], threading.Barrier(5)
def allocate():
    hold.append([bytearray(2000) for _ in range(500)])
    all_there.wait()
for thread in (threads := [threading.Thread(target=allocate) for _ in range(4)]):
    thread.start()
all_there.wait()
starts = [line.split("-")[0] for line in open("/proc/self/maps") if " rw-p 00000000 00:00 0" in line]
print(sum(int(start, 16) % {ARENA} == 0 for start in starts))
"""


@pytest.mark.parametrize(("limit", "more"), [("0", True), ("1", False)])
def test_threads_share_what_arenas_there_may_be(limit: str, more: bool) -> None:
    command = [sys.executable, "-c", _PROGRAM, limit]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 0) is more


_FREED = """
from minipod.linux.memory import give_back
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
blocks = [bytearray(2000) for _ in range(20000)]
last = blocks.pop()
blocks.clear()
before = resident()
assert give_back()
print(before - resident())
"""


def test_what_lies_before_a_used_block_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FREED], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 30_000  # kB, of the 40,000 that were taken
