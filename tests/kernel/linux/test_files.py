"""Paths that others have tampered with: with openat2, and with a kernel that has none."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipod.linux import files, kernel

pytestmark = pytest.mark.kernel


@pytest.fixture(params=["openat2", "no openat2"])
def lookup(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the kernel's openat2, and again as if there were none."""
    if request.param == "no openat2":
        monkeypatch.delitem(
            kernel.NUMBERS, "openat2"
        )  # answered with ENOSYS, as an old kernel does
    return request.param


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A root with a secret outside, and links that want to get there."""
    (tmp_path / "secret").write_text("secret")
    inside = tmp_path / "inside"
    (inside / "dir").mkdir(parents=True)
    (inside / "file").write_text("inside")
    (inside / "absolute").symlink_to(tmp_path / "secret")
    (inside / "up").symlink_to("../secret")
    (inside / "dir/round").symlink_to("../file")
    (inside / "magic").symlink_to("/proc/self/root")
    descriptor = os.open(inside, os.O_PATH | os.O_CLOEXEC)
    yield descriptor
    os.close(descriptor)


def read(descriptor: int) -> str:
    with os.fdopen(descriptor) as opened:
        return opened.read()


@pytest.mark.usefixtures("lookup")
def test_plain_paths_are_found(root: int) -> None:
    assert read(files.open_beneath(root, "file", os.O_RDONLY)) == "inside"


@pytest.mark.usefixtures("lookup")
@pytest.mark.parametrize("path", ["absolute", "up", "../secret", "dir/../../secret", "magic/etc"])
def test_nothing_leads_out(root: int, path: str) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        os.close(files.open_beneath(root, path, os.O_RDONLY))
    assert caught.value.errno in (errno.ENOENT, errno.ELOOP, errno.EXDEV, errno.ENOTDIR)


def test_links_are_followed_inside(root: int) -> None:
    assert read(files.open_beneath(root, "dir/round", os.O_RDONLY)) == "inside"


def test_without_openat2_links_are_refused(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(kernel.NUMBERS, "openat2")

    with pytest.raises(OSError, match=r"symbolic link|Not a directory|Too many"):
        files.open_beneath(root, "dir/round", os.O_RDONLY)
