"""The disk that has the shim's records and its own log is full: nobody running is hurt, and it heals."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipod.linux.mount import MNT_DETACH, MS_NODEV, mount, umount2
from minipod.runtime.service import RuntimeFailure
from tests.kernel.shim.world import ShimWorld, asynchronous, wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture
def disk(shim: ShimWorld, tmp_path: Path) -> Iterator[Path]:
    """A small disk with the shim's run directory and its logs."""
    mount("tmpfs", str(tmp_path), "tmpfs", MS_NODEV, "size=1m")
    for directory in (shim.layout.run, shim.layout.log):
        (tmp_path / directory.name).mkdir()
        directory.symlink_to(tmp_path / directory.name)
    yield tmp_path
    umount2(str(tmp_path), MNT_DETACH)


def fill(disk: Path) -> Path:
    """Leave no room at all."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


@asynchronous
async def test_on_a_full_disk_containers_end_and_are_told_of(shim: ShimWorld, disk: Path) -> None:
    await shim.sandbox()
    stays = await shim.start("sleep", "1000")
    ends = await shim.shell("trap 'exit 7' TERM; echo ready; while :; do usleep 10000; done")
    await wait_until(lambda: shim.log(ends) == ["ready"])
    before = shim.pid
    filler = fill(disk)
    ended = await shim.runtime.stop_container(ends.id, 10)
    assert (ended.exit_code, ended.reason) == (7, "Error")
    with pytest.raises(RuntimeFailure, match="No space left on device"):
        await shim.start("true", name="refused")
    assert (shim.pid, (await shim.status(stays.id)).pid) == (before, stays.pid)
    filler.unlink()
    assert (await shim.run("exit 3")).exit_code == 3
    found = {path.name for path in (shim.layout.run / "shim/containers").iterdir()}
    assert "refused.json.new" not in found
