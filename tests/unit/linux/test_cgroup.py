import pytest

from minipod.linux import cgroup
from minipod.linux.cgroup import CgroupLayout

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 /docker/1 /elsewhere/pids rw,relatime - cgroup cgroup rw,pids
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
"""
V2 = CgroupLayout("/cg", ("cpu", "memory", "pids"))
V1 = CgroupLayout(v1=(("cpu", "/cg/cpu"), ("memory", "/cg/memory"), ("pids", "/cg/pids")))


def test_discovers_v1_hierarchies_mounted_whole() -> None:
    found = cgroup.discover(HYBRID)

    assert found.unified == ""
    assert found.v1 == (
        *(("cpu", "/sys/fs/cgroup/cpu,cpuacct"), ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct")),
        ("memory", "/sys/fs/cgroup/memory"),
    )
    assert found.v1_hierarchies == ("/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory")
    assert found.directory("memory", "a/b") == "/sys/fs/cgroup/memory/a/b"
    assert found.directory("pids", "a/b") == ""


def test_discovers_v2_and_its_controllers(tmp_path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    found = cgroup.discover(f"30 23 0:26 / {tmp_path} rw,nosuid - cgroup2 cgroup2 rw\n")

    assert found == CgroupLayout(str(tmp_path), ("cpu", "memory", "pids"))
    assert found.directory("memory", "a") == f"{tmp_path}/a"


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(2, 1), (0, 1), (1024, 39), (2048, 79), (262144, 10000), (1 << 30, 10000)],
)
def test_converts_shares_to_weight(shares: int, weight: int) -> None:
    assert cgroup.shares_to_weight(shares) == weight


LIMITS = {"cpu_shares": 1024, "cpu_quota_us": 50000, "memory_bytes": 1 << 20, "pids": 10}


def test_limits_in_the_words_of_v2() -> None:
    assert cgroup.settings(V2, **LIMITS) == [
        ("cpu", "cpu.weight", "39"),
        ("cpu", "cpu.max", "50000 100000"),
        ("memory", "memory.max", "1048576"),
        ("memory", "memory.oom.group", "1"),
        ("pids", "pids.max", "10"),
    ]


def test_what_many_share_does_not_die_whole() -> None:
    found = cgroup.settings(V2, memory_bytes=1 << 20, dies_whole=False)
    assert found == [("memory", "memory.max", "1048576")]


def test_limits_in_the_words_of_v1() -> None:
    assert cgroup.settings(V1, **LIMITS) == [
        ("cpu", "cpu.shares", "1024"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("memory", "memory.limit_in_bytes", "1048576"),
        ("pids", "pids.max", "10"),
    ]


def test_limits_without_a_controller_are_left_out() -> None:
    only_memory = CgroupLayout("/cg", v1=(("memory", "/cg1/memory"),))

    found = cgroup.settings(only_memory, **LIMITS)

    assert [name for name, _, _ in found] == ["memory"]


@pytest.mark.parametrize(("high", "content"), [(4096, "4096"), (-1, "max")])
def test_only_v2_slows_down_before_it_kills(high: int, content: str) -> None:
    assert cgroup.settings(V2, memory_high_bytes=high) == [("memory", "memory.high", content)]
    assert cgroup.settings(V1, memory_high_bytes=high) == []


@pytest.mark.parametrize(("layout", "content"), [(V2, "max 100000"), (V1, "-1")])
def test_unlimited_cpu(layout: CgroupLayout, content: str) -> None:
    assert cgroup.settings(layout, cpu_quota_us=-1)[-1][2] == content


def test_makes_v2_cgroups_from_the_top_and_hands_controllers_down(tmp_path) -> None:
    """On plain directories: what would be written, and where."""
    layout = CgroupLayout(str(tmp_path), ("cpu", "memory"))
    for directory in (tmp_path, tmp_path / "a"):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.subtree_control").touch()

    cgroup.ensure(layout, "a/b")

    assert (tmp_path / "a/b").is_dir()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert (tmp_path / "a/cgroup.subtree_control").read_text() == "+cpu +memory"
    assert not (tmp_path / "a/b/cgroup.subtree_control").exists()


def test_reads_statistics_of_v2(tmp_path) -> None:
    layout = CgroupLayout(str(tmp_path), ("cpu", "memory", "pids"))
    files = {
        "cpu.stat": "usage_usec 1500\nuser_usec 1000\n",
        "memory.current": "1000\n",
        "memory.stat": "anon 1\ninactive_file 300\n",
        "memory.events": "low 0\noom 2\noom_kill 1\n",
        "pids.current": "4\n",
    }
    (tmp_path / "c").mkdir()
    for name, content in files.items():
        (tmp_path / "c" / name).write_text(content)

    assert cgroup.stats(layout, "c") == cgroup.CgroupStats(1_500_000, 1000, 700, 4)
    assert cgroup.oom_kills(layout, "c") == 1
    assert cgroup.oom_kills(layout, "gone") == 0
    assert cgroup.stats(layout, "gone") == cgroup.CgroupStats(None, None, None, None)
