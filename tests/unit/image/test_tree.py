"""A layer in the making: merged /usr, hard links, trimming, and bytes that depend on nothing else."""

import io
import tarfile
from pathlib import Path

import pytest

from minipod.image.assemble import compute_zip
from minipod.image.certificates import compute_bundle, compute_keystore
from minipod.image.debian import add_user, link_alternatives, make_accounts, merge_usr
from minipod.image.errors import ImageError
from minipod.image.recipe import UserItem
from minipod.image.tarball import write_layer
from minipod.image.tree import Entry, Tree, canonical, tar_entries


def package(folder: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    path = folder / "package.tar"
    with tarfile.open(path, "w") as archive:
        for member, data in members:
            member.size = len(data) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(data))
    return path


def member(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = kind, target, mode, 1000
    return info


def add(tree: Tree, path: Path) -> None:
    with open(path, "rb") as stream:
        tree.add_tar(stream, path, "package")


def ignore(done: int, total: int) -> None:
    pass


@pytest.mark.parametrize(
    ("path", "merged"),
    [
        ("/bin/sh", "/usr/bin/sh"),
        ("bin", "/usr/bin"),
        ("/lib64/ld.so", "/usr/lib64/ld.so"),
        ("/usr/bin/sh", "/usr/bin/sh"),
        ("/etc/../bin/x", "/usr/bin/x"),
        ("./opt//x/", "/opt/x"),
        ("/", "/"),
        ("/../../etc", "/etc"),
        ("/binary", "/binary"),
    ],
)
def test_paths_are_those_of_a_merged_usr(path: str, merged: str) -> None:
    assert canonical(path) == merged


def test_a_package_of_the_old_layout_lands_in_usr(tmp_path: Path) -> None:
    tree = Tree()
    members = [
        (member("./bin", tarfile.DIRTYPE, mode=0o755), b""),
        (member("./bin/dash", mode=0o755), b"dash"),
        (member("./bin/sh", tarfile.SYMTYPE, "dash"), b""),
        (member("./usr/bin/dash2", tarfile.LNKTYPE, "./bin/dash"), b""),
        (member("./lib", tarfile.SYMTYPE, "usr/lib"), b""),  # base-files of Debian 13
    ]
    add(tree, package(tmp_path, *members))
    merge_usr(tree)
    assert tree.read("/bin/sh") == b"dash"
    assert tree.entries["/bin"].target == "usr/bin"
    assert "/lib" not in tree.entries
    written = {m.name: m for m, _ in tar_entries(tree, 2000)}
    assert written["usr/bin/dash"].isreg()
    assert (written["usr/bin/dash2"].type, written["usr/bin/dash2"].linkname) == (
        tarfile.LNKTYPE,
        "usr/bin/dash",
    )


def test_the_same_tree_gives_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    made = []
    for number, paths in enumerate((["/a/x", "/b", "/a.c"], ["/b", "/a.c", "/a/x"])):
        tree = Tree()
        for path in paths:
            tree.add_file(path, path.encode() * 1000)
        made.append(write_layer(tree, tmp_path / f"{number}.tar.gz", 5000, ignore))
    assert made[0] == made[1]
    first, second = (tmp_path / f"{n}.tar.gz" for n in range(2))
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        names = archive.getnames()
        assert names == ["a", "a/x", "a.c", "b"]  # every directory before what is in it
        assert {m.mtime for m in archive} == {5000}


def test_dates_are_clamped_and_owners_kept(tmp_path: Path) -> None:
    tree = Tree()
    tree.add("/old", Entry("directory", 0o2775, 3, 4, mtime=10))
    tree.add("/new", Entry("directory", mtime=9999))
    written = {m.name: m for m, _ in tar_entries(tree, 5000)}
    assert (written["old"].mtime, written["new"].mtime) == (10, 5000)
    assert (written["old"].mode, written["old"].uid, written["old"].gid) == (0o2775, 3, 4)


def test_trimming_keeps_what_is_wanted_and_the_way_to_it() -> None:
    tree = Tree()
    for path in (
        "/usr/share/doc/a/copyright",
        "/usr/share/doc/a/README",
        "/usr/share/doc/b/x",
        "/usr/share/man/m",
    ):
        tree.add_file(path, b"")
    tree.remove(("/usr/share/doc/*", "/usr/share/man*"), ("*/copyright",))
    assert set(tree.entries) == {
        "/usr",
        "/usr/share",
        "/usr/share/doc",
        "/usr/share/doc/a",
        "/usr/share/doc/a/copyright",
    }


def test_a_file_where_a_directory_is_needed_is_refused() -> None:
    tree = Tree()
    tree.add_file("/a", b"")
    with pytest.raises(ImageError, match='"/a" is no directory'):
        tree.add_file("/a/b", b"")
    with pytest.raises(ImageError, match="no file"):
        tree.read("/missing")


def test_accounts_are_made_as_base_passwd_and_pwconv_do() -> None:
    tree = Tree()
    tree.add_file("/usr/share/base-passwd/passwd.master", b"root:*:0:0:root:/root:/bin/bash\n")
    tree.add_file("/usr/share/base-passwd/group.master", b"root:*:0:\nshadow:*:42:\n")
    make_accounts(tree, 86400 * 7)
    add_user(tree, UserItem("app", 10, 11), 86400 * 7)
    assert tree.read("/etc/passwd") == (
        b"root:x:0:0:root:/root:/bin/bash\napp:x:10:11::/nonexistent:/usr/sbin/nologin\n"
    )
    assert tree.read("/etc/group") == b"root:x:0:\nshadow:x:42:\napp:x:11:\n"
    assert tree.read("/etc/shadow").startswith(b"root:*:7:0:99999:7:::\napp:!:7:")
    assert (tree.entries["/etc/shadow"].mode, tree.entries["/etc/shadow"].gid) == (0o640, 42)


def test_alternatives_go_through_etc() -> None:
    tree = Tree()
    tree.add_file("/usr/bin/mawk", b"mawk")
    link_alternatives(tree, {"/usr/bin/awk": "/usr/bin/mawk"})
    assert tree.entries["/usr/bin/awk"].target == "/etc/alternatives/awk"
    assert tree.read("/usr/bin/awk") == b"mawk"


def test_a_zip_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name / "WEB-INF"
        folder.mkdir(parents=True)
        (folder / "web.xml").write_text("<web-app/>")
        (folder.parent / "index.html").write_text("hello")
    (tmp_path / "two" / "index.html").chmod(0o600)
    assert compute_zip(tmp_path / "one", 0) == compute_zip(tmp_path / "two", 0)
    (tmp_path / "two" / "index.html").write_text("changed")
    assert compute_zip(tmp_path / "one", 0) != compute_zip(tmp_path / "two", 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no files"):
        compute_zip(tmp_path / "empty", 0)


def test_a_keystore_is_the_documented_sequence() -> None:
    pem = b"-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n"
    store = compute_keystore({"B.crt": pem, "a.crt": pem}, 7)
    assert store[:12] == bytes.fromhex("feedfeed 00000002 00000002")
    assert store.index(b"debian:b.crt") < store.index(b"debian:a.crt")
    assert store.count(b"\x00\x05X.509\x00\x00\x00\x03\x00\x01\x02") == 2
    assert store == compute_keystore({"a.crt": pem, "B.crt": pem}, 7)
    assert compute_bundle({"b": pem, "a": pem}) == pem * 2
