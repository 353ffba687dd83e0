"""Layers become what overlayfs takes: checked through a real overlay mount. Hostile archives touch nothing outside."""

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minipod.image.errors import ImageError
from minipod.image.lower import OPAQUE, LowerLayers
from minipod.image.stream import LayerStream, Limits
from minipod.image.unpack import unpack_layer

from .archives import file, folder, hard_link, link, other, tar, tree

pytestmark = pytest.mark.kernel

Member = tuple[tarfile.TarInfo, bytes]
Unpack = Callable[..., Path]


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """The layers unpacked so far, topmost first."""
    return []


@pytest.fixture
def unpack(tmp_path: Path, layers: list[Path]) -> Unpack:
    """Unpack members as the next layer."""

    def run(*members: Member, limits: Limits | None = None) -> Path:
        target = tmp_path / f"layer{len(layers)}"
        target.mkdir(mode=0o755)
        stream = LayerStream(io.BytesIO(tar(*members)), "layer", limits)
        unpack_layer(stream, target, LowerLayers(layers))
        layers.insert(0, target)
        return target

    return run


@pytest.fixture
def mounted(tmp_path: Path, layers: list[Path]) -> Iterator[Callable[[], Path]]:
    """Mount the layers as an overlay."""
    upper, root = tmp_path / "upper", tmp_path / "root"
    for path in (upper, root, tmp_path / "work"):
        path.mkdir()

    def mount() -> Path:
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={upper},workdir={tmp_path}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
        return root

    yield mount
    subprocess.run(["umount", root], check=True, stderr=subprocess.DEVNULL)


# -- what the specification says -----------------------------------------------------------------


def test_files_keep_owner_mode_times_and_attributes(unpack: Unpack) -> None:
    capability = bytes.fromhex(
        "0100000200040000000000000000000000000000"
    )  # cap_net_bind_service=ep
    attributes = {"SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape"),
                  "SCHILY.xattr.security.selinux": "system_u:object_r:bin_t:s0", "mtime": "1000.123456789"}  # fmt: skip
    root = unpack(
        folder("etc", mode=0o1777, mtime=500, uid=7, gid=8),
        file("etc/setuid", b"x", mode=0o6755, uid=1, gid=2, mtime=77),
        file("etc/capable", b"y", mode=0o755, uid=3, gid=4, pax_headers=attributes),
        other("etc/pipe", tarfile.FIFOTYPE, mode=0o622),
        link("etc/link", "/anywhere/at/all"),
        file("implied/parent", b"z"),
    )
    setuid = (root / "etc/setuid").stat()
    assert (stat.S_IMODE(setuid.st_mode), setuid.st_uid, setuid.st_gid, setuid.st_mtime) == (
        0o6755,
        1,
        2,
        77,
    )
    capable = root / "etc/capable"
    assert os.getxattr(capable, "security.capability") == capability
    assert "security.selinux" not in os.listxattr(capable)
    assert capable.stat().st_mtime_ns == 1000_123456789
    etc = (root / "etc").stat()
    assert (stat.S_IMODE(etc.st_mode), etc.st_uid, etc.st_gid, etc.st_mtime) == (0o1777, 7, 8, 500)
    pipe = (root / "etc/pipe").stat()
    assert stat.S_ISFIFO(pipe.st_mode)
    assert stat.S_IMODE(pipe.st_mode) == 0o622
    assert os.readlink(root / "etc/link") == "/anywhere/at/all"
    implied = (root / "implied").stat()
    assert (stat.S_IMODE(implied.st_mode), implied.st_mtime) == (0o755, 0)


def test_hard_links_share_one_inode(unpack: Unpack) -> None:
    root = unpack(
        file("a/one", b"1", mode=0o4755),
        hard_link("b/two", "a/one"),
        link("l", "x"),
        hard_link("m", "l"),
    )
    assert (root / "a/one").stat().st_ino == (root / "b/two").stat().st_ino
    assert (root / "b/two").stat().st_nlink == 2
    assert os.readlink(root / "m") == "x"


def test_whiteouts_and_opaque_folders_hide_what_is_below(
    unpack: Unpack, mounted: Callable[[], Path]
) -> None:
    unpack(file("gone", b"0"), file("keep/a", b"a"), file("keep/b", b"b"), file("opaque/old", b"o"),
           file("dir/x", b"x"), file("again/old", b"o"))  # fmt: skip
    top = unpack(
        file(".wh.gone"),
        file("keep/.wh.a"),
        file("opaque/new", b"n"),
        file("opaque/.wh..wh..opq"),
        file(".wh.dir"),
        file(".wh.again"),
        file("again/new", b"n"),
        file(".wh.never"),
        file(".wh..wh.plnk"),
    )
    assert (top / "gone").lstat().st_rdev == 0
    assert stat.S_ISCHR((top / "gone").lstat().st_mode)
    assert os.getxattr(top / "opaque", OPAQUE) == b"y"
    assert not (top / "never").exists()
    assert tree(mounted()) == {
        "keep": "dir", "keep/b": "b", "opaque": "dir", "opaque/new": "n", "again": "dir", "again/new": "n",
    }  # fmt: skip


@pytest.mark.parametrize("marker_first", [True, False])
def test_the_order_of_a_whiteout_and_what_replaces_it_does_not_matter(
    unpack: Unpack, mounted: Callable[[], Path], marker_first: bool
) -> None:
    unpack(file("d/old", b"o"), file("f/old", b"o"), file("g", b"old"))
    markers = [file(".wh.d"), file(".wh.f"), file(".wh.g")]
    new = [folder("d"), file("d/new", b"n"), file("f", b"file now"), file("g", b"new")]
    unpack(*(markers + new if marker_first else new + markers))
    assert tree(mounted()) == {"d": "dir", "d/new": "n", "f": "file now", "g": "new"}


def test_an_opaque_root_hides_everything(unpack: Unpack, mounted: Callable[[], Path]) -> None:
    unpack(file("a", b"a"), file("b/c", b"c"), file("d/old", b"o"))
    unpack(file("d/new", b"n"), file(".wh..wh..opq"))
    assert tree(mounted()) == {"d": "dir", "d/new": "n"}


def test_a_folder_only_mentioned_keeps_what_it_is_below(
    unpack: Unpack, mounted: Callable[[], Path]
) -> None:
    unpack(folder("var/tmp", mode=0o1777, uid=5, gid=6, mtime=100))
    unpack(file("var/tmp/x", b"x"))
    status = (mounted() / "var/tmp").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o1777, 5, 6)


def test_a_link_below_is_followed_within_the_image(
    unpack: Unpack, mounted: Callable[[], Path]
) -> None:
    unpack(link("lib", "usr/lib"), folder("usr/lib", mode=0o711), file("usr/lib/old", b"o"), link("abs", "/lib"),
           link("out", "../../../../usr/lib"))  # fmt: skip
    unpack(
        file("lib/new", b"n"),
        file("abs/newer", b"r"),
        file("out/newest", b"t"),
        hard_link("copy", "lib/old"),
    )
    root = mounted()
    assert os.readlink(root / "lib") == "usr/lib"
    assert sorted(os.listdir(root / "usr/lib")) == ["new", "newer", "newest", "old"]
    assert (root / "copy").read_text() == "o"
    assert stat.S_IMODE((root / "usr/lib").stat().st_mode) == 0o711


def test_an_explicit_folder_replaces_a_link_below(
    unpack: Unpack, mounted: Callable[[], Path]
) -> None:
    unpack(link("lib", "usr/lib"), file("usr/lib/old", b"o"))
    unpack(folder("lib"), file("lib/new", b"n"))
    root = mounted()
    assert tree(root)["lib"] == "dir"
    assert os.listdir(root / "lib") == ["new"]


def test_a_hard_link_to_a_lower_file_copies_it_up(
    unpack: Unpack, mounted: Callable[[], Path]
) -> None:
    unpack(file("bin/tool", b"tool", mode=0o4755, uid=9))
    unpack(hard_link("bin/alias", "bin/tool"))
    status = (mounted() / "bin/alias").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_size) == (0o4755, 9, 4)


def test_a_whited_out_lower_file_cannot_be_linked_to(unpack: Unpack) -> None:
    unpack(file("secret", b"s"))
    with pytest.raises(ImageError, match="which the image does not have"):
        unpack(file(".wh.secret"), hard_link("copy", "secret"))


def test_names_may_be_any_bytes_but_nul_and_slash(unpack: Unpack) -> None:
    name = b"\xff\xfe newline\n\xc3\xbc".decode("utf-8", "surrogateescape")
    root = unpack(file(name, b"x"), file("l" * 255, b"long"), file("d/" * 60 + "deep", b"deep"))
    assert os.listdir(os.fsencode(root)).count(os.fsencode(name)) == 1


# -- hostile archives ----------------------------------------------------------------------------

HOSTILE = {
    "absolute path": ([file("/etc/passwd", b"x")], "absolute path"),
    "dotdot": ([file("../escape", b"x")], "leads out"),
    "dotdot inside": ([file("a/../../escape", b"x")], "leads out"),
    "link then through it": ([link("a", "/tmp"), file("a/escape", b"x")], "leads through"),
    "relative link then through it": ([link("a", ".."), file("a/escape", b"x")], "leads through"),
    "link chain": ([folder("d"), link("d/up", ".."), link("e", "d/up"), file("e/escape", b"x")], "leads through"),
    "link as last component, then file": ([link("a", "/tmp/escape"), file("a", b"x")], "twice"),
    "hard link outside": ([hard_link("a", "../../etc/passwd")], "leads out"),
    "hard link to absolute": ([hard_link("a", "/etc/passwd")], "absolute path"),
    "hard link through a link": ([link("l", "/etc"), hard_link("a", "l/passwd")], "does not have"),
    "hard link to nothing": ([hard_link("a", "b")], "does not have"),
    "hard link to a directory": ([folder("d"), hard_link("a", "d")], "does not have"),
    "hard link to the root": ([hard_link("a", ".")], "hard link to the root"),
    "character device": ([other("null", tarfile.CHRTYPE, devmajor=1, devminor=3)], "device nodes"),
    "block device": ([other("disk", tarfile.BLKTYPE, devmajor=8, devminor=0)], "device nodes"),
    "forged whiteout device": ([other("w", tarfile.CHRTYPE, devmajor=0, devminor=0)], "device nodes"),
    "file twice": ([file("a", b"1"), file("./a", b"2")], "twice"),
    "file under a file": ([file("a", b"1"), file("a/b", b"2")], "no directory"),
    "folder over a file": ([file("a", b"1"), folder("a")], "no directory"),
    "folder over a link": ([link("a", "/tmp"), folder("a")], "a link"),
    "whiteout of dotdot": ([file("d/.wh..."), file("x")], "whiteout of nothing"),
    "whiteout of nothing": ([file(".wh.")], "whiteout of nothing"),
    "overlay's own attribute": (
        [file("a", b"", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/etc"})], "no place"),
    "root that is a file": ([file(".", b"x")], "root is not a directory"),
    "owner out of range": ([file("a", b"", uid=2**32 - 1)], "no user"),
    "negative owner": ([file("a", b"", uid=-5)], "no user"),
    "time that is none": ([file("a", b"", pax_headers={"mtime": "nan"})], "modification time"),
    "time without end": ([file("a", b"", pax_headers={"mtime": "1e400"})], "modification time"),
    "unknown type": ([other("a", b"Z")], "unknown"),
    "too deep": ([file("d/" * 256 + "f", b"")], "deeper than 256"),
    "hard link to what is too deep": ([hard_link("a", "d/" * 256 + "f")], "deeper than 256"),
    "name too long": ([file("n" * 300, b"")], "too long"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_by_member(unpack: Unpack, tmp_path: Path, case: str) -> None:
    members, complaint = HOSTILE[case]
    escapes = [tmp_path / "escape", tmp_path.parent / "escape", Path("/tmp/escape")]
    with pytest.raises(ImageError) as caught:
        unpack(file("fine", b"fine"), *members)
    assert complaint in str(caught.value)
    assert 'member "' in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(path.exists() for path in escapes)


def test_a_lower_layers_link_leads_nowhere_outside(unpack: Unpack, tmp_path: Path) -> None:
    """A layer may come with any link; the next layer's members stay within the image all the same."""
    outside = tmp_path / "outside"
    outside.mkdir()
    unpack(link("a", str(outside)), link("loop", "loop"))
    top = unpack(file("a/file", b"x"))
    assert list(outside.iterdir()) == []
    assert (top / str(outside).lstrip("/") / "file").read_text() == "x"
    with pytest.raises(ImageError, match="too many links"):
        unpack(file("loop/file", b"x"))


def test_a_lower_layers_link_leads_no_deeper_than_a_path(unpack: Unpack) -> None:
    unpack(folder("d/" * 200), link("l", "d/" * 200))
    with pytest.raises(ImageError, match="deeper than 256"):
        unpack(file("l/" + "d/" * 200 + "f", b""))


def test_too_many_members_are_refused(unpack: Unpack) -> None:
    with pytest.raises(ImageError, match="more than 5 members"):
        unpack(*(file(f"f{n}") for n in range(9)), limits=Limits(members=5))


def test_too_many_bytes_are_refused(unpack: Unpack) -> None:
    with pytest.raises(ImageError, match="more than 2000 bytes"):
        unpack(file("big", bytes(5000)), limits=Limits(layer_bytes=2000))


def test_a_file_that_claims_more_than_there_is_is_refused(unpack: Unpack, tmp_path: Path) -> None:
    info, _ = file("big", b"")
    info.size = 10_000
    target = tmp_path / "short"
    target.mkdir()
    data = info.tobuf() + b"only this"
    with pytest.raises(ImageError, match="truncated"):
        unpack_layer(LayerStream(io.BytesIO(data), "layer"), target, LowerLayers())


@pytest.mark.parametrize("position", [0, 600, 1200])
def test_a_damaged_header_is_no_end(unpack: Unpack, tmp_path: Path, position: int) -> None:
    """tarfile takes a bad header for the end of the archive; half an image must not pass for one."""
    data = bytearray(tar(file("a", b""), file("b", b""), file("c", b"")))
    data[position : position + 4] = b"\xff\xff\xff\xff"
    target = tmp_path / "damaged"
    target.mkdir()
    with pytest.raises(ImageError, match=r"damaged header|not a readable tar"):
        unpack_layer(LayerStream(io.BytesIO(bytes(data)), "layer"), target, LowerLayers())


def test_unpacking_leaks_no_descriptor(unpack: Unpack) -> None:
    before = len(os.listdir("/proc/self/fd"))
    unpack(*(file(f"d{n}/e/f", b"x") for n in range(50)), hard_link("x", "d1/e/f"))
    with pytest.raises(ImageError):
        unpack(link("a", "/"), file("a/b/c", b"x"))
    assert len(os.listdir("/proc/self/fd")) == before
