"""Containers that exchange what the next one's start is about to use."""

import os
from pathlib import Path

import pytest

from minipod.runtime import launch_mounts
from minipod.runtime.launch import LaunchError, Stdio
from minipod.runtime.spec import Mount
from tests.kernel.runtime.world import World

pytestmark = pytest.mark.kernel


@pytest.fixture
def volume(world: World) -> Path:
    made = world.directory / "volume"
    made.mkdir()
    made.chmod(0o777)
    return made


def test_a_subpath_exchanged_for_a_link_as_it_is_made(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever shares the volume puts a link to a file of the host's in the new directory's place."""
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    secret.chmod(0o600)
    mkdir = os.mkdir

    def mkdir_and_lose(name: str, mode: int, *, dir_fd: int) -> None:
        mkdir(name, mode, dir_fd=dir_fd)
        os.rename(volume / name, volume / "elsewhere")
        os.symlink(secret, volume / name)

    monkeypatch.setattr(os, "mkdir", mkdir_and_lose)
    with pytest.raises(OSError, match="part"):
        os.close(launch_mounts._open_source(str(volume), "part", True))
    assert secret.stat().st_mode & 0o777 == 0o600


def test_masks_are_no_files_of_another_containers_choice(pod: World, volume: Path) -> None:
    """A mask is /dev/null: were it a link to what it shall hide, nothing would be hidden (CVE-2025-31133)."""
    (volume / "null").symlink_to("/proc/keys")
    read, write = os.pipe2(os.O_CLOEXEC)
    spec = pod.spec("cat", "/proc/keys", mounts=(Mount("/dev", str(volume)),))
    with pytest.raises(LaunchError, match="/dev/null"):
        pod.start(spec, Stdio(read, write, write))
    os.close(read)
    os.close(write)
