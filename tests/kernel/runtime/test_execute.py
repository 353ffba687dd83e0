"""Host-side operations: repeatable, and never where they should not be."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipod.runtime.execute import StepFailed, perform, perform_steps
from minipod.runtime.operations import (
    CheckHostPath,
    KeepOnly,
    MakeDirectory,
    MakeSymlink,
    MountLayers,
    MountTmpfs,
    RemoveTree,
    Step,
    Unmount,
    WriteFile,
)

pytestmark = pytest.mark.kernel


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_directories_get_their_mode_and_owner_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a/b"
    for _ in range(2):
        perform(MakeDirectory(str(path), 0o1777, 5, 6))
        assert (mode(path), path.stat().st_uid, path.stat().st_gid) == (0o1777, 5, 6)
        path.chmod(0o700)


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    perform(WriteFile(str(path), "one", 0o600))
    with path.open() as before:
        perform(WriteFile(str(path), "two", 0o640, 5, 6))
        assert before.read() == "one"

    assert path.read_text() == "two"
    assert (mode(path), path.stat().st_uid, path.stat().st_gid) == (0o640, 5, 6)
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("untouched")
    (tmp_path / "file").symlink_to(other)

    perform(WriteFile(str(tmp_path / "file"), "new"))

    assert other.read_text() == "untouched"


def test_links_are_replaced(tmp_path: Path) -> None:
    for target in ("one", "two"):
        perform(MakeSymlink(str(tmp_path / "link"), target))
        assert os.readlink(tmp_path / "link") == target


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "memory"
    perform(MountTmpfs(str(path), 1 << 20, 0o1777, 5, 6))
    yield path
    perform(Unmount(str(path)))


def test_tmpfs_is_mounted_once_and_unmounted_with_what_is_below(tmpfs: Path) -> None:
    perform(MountTmpfs(str(tmpfs), 1 << 20))
    below = tmpfs / "below"
    perform(MountTmpfs(str(below)))

    assert Path("/proc/self/mountinfo").read_text().count(f" {tmpfs} ") == 1
    assert os.statvfs(tmpfs).f_blocks * os.statvfs(tmpfs).f_frsize == 1 << 20
    assert (mode(tmpfs), tmpfs.stat().st_uid) == (0o1777, 5)
    for _ in range(2):
        perform(Unmount(str(tmpfs)))
        assert str(tmpfs) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def layers(tmp_path: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Two layers with awkward names, and a place to mount them at."""
    upper, lower, place = tmp_path / "up:per,1", tmp_path / "lower", tmp_path / "volume"
    for directory, text in ((upper, "new"), (lower, "old")):
        directory.mkdir()
        (directory / "both").write_text(text)
        (directory / f"of-{text}").write_text(text)
    yield place, (str(upper), str(lower))
    perform(Unmount(str(place)))


def test_layers_are_merged_and_read_only(layers: tuple[Path, tuple[str, ...]]) -> None:
    place, directories = layers
    for _ in range(2):
        perform(MountLayers(str(place), directories))
    assert sorted(os.listdir(place)) == ["both", "of-new", "of-old"]
    assert (place / "both").read_text() == "new"
    with pytest.raises(OSError, match="Read-only file system"):
        (place / "both").write_text("x")
    assert Path("/proc/self/mountinfo").read_text().count(f" {place} ") == 1
    perform(Unmount(str(place)))
    assert os.listdir(place) == []


def test_one_layer_is_enough_and_too_many_are_refused(
    layers: tuple[Path, tuple[str, ...]],
) -> None:
    place, directories = layers
    perform(MountLayers(str(place), directories[1:]))
    assert sorted(os.listdir(place)) == ["both", "of-old"]
    perform(Unmount(str(place)))
    with pytest.raises(OSError, match="200 layers are more than one mount can name"):
        perform(MountLayers(str(place), directories * 100))


def test_trees_are_removed_without_following_links(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    (keep / "file").touch()
    tree = tmp_path / "tree"
    (tree / "a/b/c").mkdir(parents=True)
    (tree / "a/link").symlink_to(keep)
    (tree / "a/b/file").touch()
    (tree / "a/b/c").chmod(0)

    for _ in range(2):
        perform(RemoveTree(str(tree)))

    assert os.listdir(tmp_path) == ["keep"]
    assert os.listdir(keep) == ["file"]


def test_a_tree_may_be_deeper_than_any_recursion(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    current = os.open(tree, os.O_PATH)
    for _ in range(3000):
        os.mkdir("d", dir_fd=current)
        below = os.open("d", os.O_PATH, dir_fd=current)
        os.close(current)
        current = below
    os.close(current)

    perform(RemoveTree(str(tree)))

    assert not tree.exists()


def test_keeping_some_removes_the_rest_and_nothing_behind_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    place = tmp_path / "place"
    (place / "old/deep").mkdir(parents=True)
    for name in ("one", "two"):
        (place / name).touch()
    (place / "link").symlink_to(outside)

    for _ in range(2):
        perform(KeepOnly(str(place), ("one", "absent")))

    assert os.listdir(place) == ["one"]
    assert os.listdir(outside) == ["kept"]


def test_removing_never_crosses_a_mount(tmpfs: Path) -> None:
    (tmpfs / "precious").touch()

    with pytest.raises(OSError, match="a filesystem is mounted here"):
        perform(RemoveTree(str(tmpfs.parent)))

    assert (tmpfs / "precious").exists()


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [
        ("Directory", "dir"),
        ("File", "file"),
        ("Socket", "socket"),
        ("CharDevice", "/dev/null"),
    ],
)
def test_host_paths_are_held_to_their_type(tmp_path: Path, kind: str, accepted: str) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "socket"))
    for name in ("dir", "file", "socket", "/dev/null", "missing"):
        check = CheckHostPath(str(tmp_path / name), kind)
        if name == accepted:
            perform(check)
        else:
            with pytest.raises(
                ValueError, match=f"^hostPath type check failed: {check.path} is not a "
            ):
                perform(check)


def test_host_paths_are_made_where_asked(tmp_path: Path) -> None:
    for _ in range(2):
        perform(CheckHostPath(str(tmp_path / "a/dir"), "DirectoryOrCreate"))
        perform(CheckHostPath(str(tmp_path / "file"), "FileOrCreate"))
        perform(CheckHostPath(str(tmp_path / "plain"), ""))

    assert (mode(tmp_path / "a/dir"), mode(tmp_path / "file")) == (0o755, 0o644)
    assert (tmp_path / "plain").is_dir()
    with pytest.raises(ValueError, match="is not a directory"):
        perform(CheckHostPath(str(tmp_path / "file"), "DirectoryOrCreate"))


def test_steps_are_traced_up_to_the_one_that_fails(tmp_path: Path) -> None:
    steps = [Step(MakeDirectory(str(tmp_path / "a"))), Step(MakeDirectory("/proc/no"))]

    (traced,) = perform_steps(steps[:1])
    assert traced.step == steps[0]
    with pytest.raises(StepFailed, match='"/proc/no"') as caught:
        perform_steps(steps)
    assert (caught.value.step, caught.value.operation) == (1, steps[1].operation)


def test_network_modules_stay_out_until_they_are_needed() -> None:
    script = "import sys, minipod.runtime.launch; print([m for m in sys.modules if 'net' in m])"
    command = [os.sys.executable, "-c", script]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "netlink" not in loaded
