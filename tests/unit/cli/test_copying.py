"""cp: what a path means, and what an archive from a container may not do."""

import io
import tarfile
from pathlib import Path

import pytest

from minipod.cli.copying import FileSpec, parse_spec, unpack
from minipod.cli.errors import CliError


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("file", FileSpec("file")),
        ("/a:b", FileSpec("/a:b")),
        ("./a:b", FileSpec("./a:b")),
        ("pod:/x", FileSpec("/x", "pod")),
        ("ns/pod:x/y", FileSpec("x/y", "pod", "ns")),
    ],
)
def test_a_path_is_here_or_in_a_pod(text: str, spec: FileSpec) -> None:
    assert parse_spec(text) == spec


@pytest.mark.parametrize("text", ["pod:", ":x", "a/b/c:x", "/:x/y"[1:]])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(CliError):
        parse_spec(text)


def archive(*members: tuple[str, bytes, str]) -> tarfile.TarFile:
    """Return an archive of (name, type, content or link name)."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as made:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(text)
                made.addfile(info, io.BytesIO(text.encode()))
            else:
                info.linkname = text
                made.addfile(info)
    whole.seek(0)
    return tarfile.open(fileobj=whole, mode="r|")


FILE, DIRECTORY, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_a_tree_and_a_file_arrive(tmp_path: Path) -> None:
    tree = archive(("d", DIRECTORY, ""), ("d/x", FILE, "1"), ("d/e/y", FILE, "2"))
    unpack(tree, "d", tmp_path / "new")
    assert (tmp_path / "new/x").read_text() == "1"
    assert (tmp_path / "new/e/y").read_text() == "2"
    unpack(archive(("etc/f", FILE, "3")), "etc/f", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "3"
    unpack(archive(("etc/f", FILE, "3")), "etc/f", tmp_path / "new")
    assert (tmp_path / "new/f").read_text() == "3"


@pytest.mark.parametrize("name", ["d/../../out", "d/../out", "d/x/../../../out", "d/.."])
def test_nothing_is_written_outside(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    unpack(archive(("d", DIRECTORY, ""), (name, FILE, "bad")), "d", tmp_path / "in")
    assert everything(tmp_path) == {"in"}
    assert "is outside target destination, skipping" in capsys.readouterr().err


def test_names_that_were_not_asked_for_are_refused(tmp_path: Path) -> None:
    for name in ("other", "dd/x", "/etc/passwd"):
        with pytest.raises(CliError, match="tar contents corrupted"):
            unpack(archive((name, FILE, "bad")), "d", tmp_path / "in")
    assert everything(tmp_path) == set()


def test_links_and_devices_are_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = [
        ("d", DIRECTORY, ""),
        ("d/link", LINK, "/etc"),
        ("d/link/passwd", FILE, "written into a directory of its own"),
        ("d/hard", HARD, "/etc/passwd"),
        ("d/device", tarfile.CHRTYPE, ""),
        ("d/pipe", tarfile.FIFOTYPE, ""),
    ]
    unpack(archive(*members), "d", tmp_path / "in")
    assert everything(tmp_path / "in") == {"link", "link/passwd"}
    assert not (tmp_path / "in/link").is_symlink()
    said = capsys.readouterr().err
    assert said.count("skipping symlink") == 2
    assert said.count("neither a file nor a directory") == 2


def test_a_link_that_is_there_already_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/file").symlink_to(tmp_path / "elsewhere/file")
    for name in ("d/link/x", "d/file"):
        with pytest.raises(CliError, match="nothing is written through it"):
            unpack(archive((name, FILE, "bad")), "d", tmp_path / "in")
    assert everything(tmp_path / "elsewhere") == set()
