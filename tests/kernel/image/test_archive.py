"""Loading and saving: what other tools write is read, what is written they read, and what is wrong is refused whole."""

import gzip
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from minipod.image import model
from minipod.image.archive import load
from minipod.image.errors import ImageError
from minipod.image.model import Image
from minipod.image.progress import Progress
from minipod.image.save import save
from minipod.image.store import ImageStore
from minipod.image.stream import Limits

from .archives import file, folder, hard_link, link, tar, tree

pytestmark = pytest.mark.kernel
QUIET = Progress(quiet=True)

LAYERS = [
    tar(
        folder("bin"),
        file("bin/tool", b"tool", mode=0o755),
        link("sh", "bin/tool"),
        file("old", b"old"),
    ),
    tar(file(".wh.old"), hard_link("bin/alias", "bin/tool")),
]


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config(layers: list[bytes], **changed: object) -> bytes:
    document = {
        "architecture": model.architecture(),
        "os": "linux",
        "config": {"Cmd": ["/bin/tool"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }
    return json.dumps({**document, **changed}).encode()


def docker_archive(
    path: Path, layers: list[bytes], tags: list[str] | None, data: bytes | None = None
) -> Path:
    """Write what docker wrote before version 25, the link in place of a repeated layer included."""
    data = data or config(layers)
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    first = {layer: name for name, layer in zip(reversed(names), reversed(layers), strict=True)}
    members = [
        file(name, layer) if first[layer] == name else link(name, f"../{first[layer]}")
        for name, layer in zip(names, layers, strict=True)
    ]
    name = digest(data).partition(":")[2] + ".json"
    manifest = [{"Config": name, "RepoTags": tags, "Layers": names}]
    path.write_bytes(
        tar(file(name, data), *members, file("manifest.json", json.dumps(manifest).encode()))
    )
    return path


def oci_layout(
    path: Path, layers: list[bytes], name: str | None, excess: int = 0, **changed: object
) -> Path:
    """Write an OCI layout folder with gzipped layers, through an index of two platforms.

    The manifest announces `excess` bytes of each layer that are not there.
    """
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def add(data: bytes, kind: str) -> dict[str, object]:
        (blobs / digest(data).partition(":")[2]).write_bytes(data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    packed = [gzip.compress(layer, mtime=0) for layer in layers]
    kind = model.LAYER_TYPE + "+gzip"
    parts = [{**add(data, kind), "size": len(data) + excess} for data in packed]
    described = add(config(layers, **changed), model.CONFIG_TYPE)
    manifest = add(
        json.dumps({"schemaVersion": 2, "config": described, "layers": parts}).encode(),
        model.MANIFEST_TYPE,
    )
    other = {
        **manifest,
        "digest": digest(b"other"),
        "platform": {"os": "linux", "architecture": "other"},
    }
    mine = {**manifest, "platform": {"os": "linux", "architecture": model.architecture()}}
    index = add(
        json.dumps({"schemaVersion": 2, "manifests": [other, mine]}).encode(), model.INDEX_TYPE
    )
    if name:
        index["annotations"] = {model.REFERENCE_ANNOTATION: name}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return path


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


def check_content(image: Image) -> None:
    assert image.config.cmd == ("/bin/tool",)
    top, base = (Path(layer) for layer in image.layers)
    assert tree(base) == {"bin": "dir", "bin/tool": "tool", "sh": "-> bin/tool", "old": "old"}
    assert tree(top) == {"bin": "dir", "bin/alias": "tool", "old": "special"}


def check_untouched(store: ImageStore) -> None:
    assert store.list() == []
    assert list(store.layers.iterdir()) == []
    assert list(store.scratch.iterdir()) == []


def test_a_docker_archive_is_loaded(store: ImageStore, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "a.tar", LAYERS, ["busybox:1", "other/name:2"])
    images = load(store, path, QUIET)
    assert [image.reference for image in images] == [
        "docker.io/library/busybox:1",
        "docker.io/other/name:2",
    ]
    assert images[0].id == digest(config(LAYERS))
    check_content(images[0])


def test_a_repeated_layer_behind_a_link_is_loaded(store: ImageStore, tmp_path: Path) -> None:
    layers = [tar(file("a", b"a")), tar(file("b", b"b")), tar(file("a", b"a"))]
    (image,) = load(store, docker_archive(tmp_path / "a.tar", layers, ["x"]), QUIET)
    assert len(set(image.layers)) == 3


def test_an_oci_layout_is_loaded_for_this_platform(store: ImageStore, tmp_path: Path) -> None:
    (image,) = load(store, oci_layout(tmp_path / "oci", LAYERS, "some/app:3"), QUIET)
    assert image.reference == "docker.io/some/app:3"
    check_content(image)


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_what_is_saved_loads_again_as_the_same(
    store: ImageStore, tmp_path: Path, kind: str
) -> None:
    (image,) = load(store, docker_archive(tmp_path / "a.tar", LAYERS, ["app:1"]), QUIET)
    store.tag("app:1", "app:2")
    for name in ("one.tar", "two.tar"):
        save(store, ["app:1", "app:2"], tmp_path / name, kind, QUIET)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    other = ImageStore(tmp_path / "other")
    loaded = load(other, tmp_path / "one.tar", QUIET)
    assert {i.id for i in loaded} == {image.id}
    assert {i.reference[-5:] for i in loaded} == {"app:1", "app:2"}
    assert {i.manifest_digest for i in loaded} == {image.manifest_digest}
    check_content(loaded[0])
    packed = gzip.compress((tmp_path / "one.tar").read_bytes())
    (tmp_path / "one.tar.gz").write_bytes(packed)
    assert len(load(other, tmp_path / "one.tar.gz", QUIET)) == 2
    assert list(other.scratch.iterdir()) == []


@pytest.mark.skipif(
    not shutil.which("skopeo"), reason="skopeo, the second client, is not installed"
)
def test_skopeo_reads_what_is_saved_and_writes_what_is_loaded(
    store: ImageStore, tmp_path: Path
) -> None:
    (image,) = load(store, oci_layout(tmp_path / "oci", LAYERS, "app:1"), QUIET)

    def skopeo(*arguments: object) -> str:
        command = ["skopeo", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    save(store, ["app:1"], tmp_path / "docker.tar", "docker", QUIET)
    save(store, ["app:1"], tmp_path / "oci.tar", "oci", QUIET)
    found = json.loads(skopeo("inspect", "--config", f"docker-archive:{tmp_path}/docker.tar"))
    assert found["config"]["Cmd"] == ["/bin/tool"]
    found = json.loads(skopeo("inspect", f"oci-archive:{tmp_path}/oci.tar"))
    assert found["Digest"] == image.manifest_digest
    in_place = json.loads(skopeo("inspect", f"oci:{store.directory}:{image.reference}"))
    assert in_place["Digest"] == image.manifest_digest

    skopeo(
        "copy",
        f"oci-archive:{tmp_path}/oci.tar",
        f"docker-archive:{tmp_path}/from.tar:back/docker:1",
    )
    skopeo(
        "copy", f"docker-archive:{tmp_path}/docker.tar", f"oci-archive:{tmp_path}/to.tar:back/oci:1"
    )
    other = ImageStore(tmp_path / "other")
    for name in ("from.tar", "to.tar"):
        check_content(load(other, tmp_path / name, QUIET)[0])
    assert other.require("back/docker:1").layers == other.require("back/oci:1").layers


def test_a_nameless_image_needs_one(store: ImageStore, tmp_path: Path) -> None:
    nameless = docker_archive(tmp_path / "a.tar", LAYERS, None)
    with pytest.raises(ImageError, match="--name"):
        load(store, nameless, QUIET)
    with pytest.raises(ImageError, match="--name"):
        load(store, oci_layout(tmp_path / "oci", LAYERS, "latest"), QUIET)  # a bare tag
    check_untouched(store)
    (image,) = load(store, nameless, QUIET, name="mine")
    assert image.reference == "docker.io/library/mine:latest"


def test_another_platform_is_refused(store: ImageStore, tmp_path: Path) -> None:
    foreign = docker_archive(tmp_path / "a.tar", LAYERS, ["x"], config(LAYERS, architecture="vax"))
    with pytest.raises(ImageError, match='is for "linux/vax", this host is linux/'):
        load(store, foreign, QUIET)
    check_untouched(store)


def test_a_layer_that_is_not_the_configured_one_is_refused(
    store: ImageStore, tmp_path: Path
) -> None:
    changed = [LAYERS[0], tar(file("evil", b"e"))]
    path = docker_archive(tmp_path / "a.tar", changed, ["x"], config(LAYERS))
    with pytest.raises(ImageError, match=r"not .* as configured"):
        load(store, path, QUIET)
    assert store.list() == []
    assert list(store.scratch.iterdir()) == []
    assert store.collect_garbage().layers == 1  # the good one
    check_untouched(store)


def test_a_changed_blob_is_refused(store: ImageStore, tmp_path: Path) -> None:
    layout = oci_layout(tmp_path / "oci", LAYERS, "app:1")
    for blob in (layout / "blobs/sha256").iterdir():
        original = blob.read_bytes()
        blob.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        with pytest.raises(ImageError):
            load(ImageStore(tmp_path / blob.name), layout, QUIET)
        check_untouched(ImageStore(tmp_path / blob.name))
        blob.write_bytes(original[:-1])
        with pytest.raises(ImageError):
            load(ImageStore(tmp_path / blob.name), layout, QUIET)
        blob.unlink()
        with pytest.raises(ImageError, match="is missing"):
            load(ImageStore(tmp_path / blob.name), layout, QUIET)
        blob.write_bytes(original)
    check_content(load(store, layout, QUIET)[0])


@pytest.mark.parametrize("excess", [-1, 10**30])
def test_a_layer_that_is_here_already_has_the_size_that_is_announced(
    store: ImageStore, tmp_path: Path, excess: int
) -> None:
    load(store, oci_layout(tmp_path / "good", LAYERS, "app:1"), QUIET)
    with pytest.raises(ImageError, match="the manifest announces"):
        load(store, oci_layout(tmp_path / "bad", LAYERS, "app:2", excess), QUIET)
    assert [image.reference for image in store.list()] == ["docker.io/library/app:1"]


def test_a_hostile_layer_leaves_nothing(store: ImageStore, tmp_path: Path) -> None:
    layers = [LAYERS[0], tar(file("../escape", b"x"))]
    with pytest.raises(ImageError, match=r'member "\.\./escape" is refused'):
        load(store, docker_archive(tmp_path / "a.tar", layers, ["x"]), QUIET)
    assert store.list() == []
    assert list(store.scratch.iterdir()) == []


def test_what_a_killed_load_left_is_removed_however_deep(store: ImageStore, tmp_path: Path) -> None:
    left = store.scratch / "layer-left"
    left.mkdir()
    here = os.open(left, os.O_PATH)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_PATH, dir_fd=here), here
        os.close(above)
    os.close(here)
    load(store, docker_archive(tmp_path / "a.tar", LAYERS, ["x"]), QUIET)
    assert list(store.scratch.iterdir()) == []


MANIFEST = b'[{"Config": "c", "RepoTags": ["x"], "Layers": ["l"]}]'


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not a readable tar"),
        (b"not a tar at all" * 100, "not a readable tar"),
        (tar(file("readme", b"")), "neither a docker save archive"),
        (tar(file("manifest.json", b"{}")), "not a list of images"),
        (tar(file("manifest.json", b"[]")), "no images"),
        (tar(file("manifest.json", b"[{}]"), file("x", b"")), "no name"),
        (tar(file("manifest.json", b'[{"RepoTags": 7}]')), "not a list"),
        (tar(file("manifest.json", MANIFEST)), '"c" is missing'),
        (tar(file("manifest.json", MANIFEST), file("c", b"[]")), "not a JSON object"),
        (tar(file("manifest.json", MANIFEST), file("c", b"[" * 100_000)), "not JSON"),
        (tar(file("manifest.json", MANIFEST), file("c", config([]))), '"l" is missing'),
        (tar(file("manifest.json", MANIFEST), link("c", "/etc/passwd")), '"c" is missing'),
        (tar(file("manifest.json", MANIFEST), file("manifest.json", MANIFEST)), "twice"),
        (tar(file("../manifest.json", MANIFEST)), "leads out"),
        (tar(file("/manifest.json", MANIFEST)), "leads out"),
        (tar(file("oci-layout", b"{}"), file("index.json", b"[]")), "no list of manifests"),
        (
            tar(file("oci-layout", b"{}"), file("index.json", b'{"manifests": [{"digest": "x"}]}')),
            "not a sha256",
        ),
        (tar(file("manifest.json", bytes(9 * 1024**2))), "exceeds"),
    ],
)
def test_what_is_no_image_archive_is_refused(
    store: ImageStore, tmp_path: Path, data: bytes, complaint: str
) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(ImageError, match=complaint):
        load(store, tmp_path / "a.tar", QUIET)
    check_untouched(store)


def test_a_layout_folder_shows_nothing_but_itself(store: ImageStore, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    layout.mkdir()
    (tmp_path / "secret").write_bytes(config([]))
    manifest = [{"Config": "../secret", "RepoTags": ["x"], "Layers": []}]
    (layout / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ImageError, match=r'"\.\./secret" is missing'):
        load(store, layout, QUIET)
    (layout / "link").symlink_to(tmp_path / "secret")
    (layout / "manifest.json").write_text(json.dumps([{**manifest[0], "Config": "link"}]))
    with pytest.raises(ImageError, match='"link" is missing'):
        load(store, layout, QUIET)


def test_a_bomb_of_an_archive_is_refused(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(bytes(10_000_000)))
    with pytest.raises(ImageError, match="more than 1000000 bytes"):
        load(store, tmp_path / "a.tar.gz", QUIET, limits=Limits(archive_bytes=1_000_000))
    check_untouched(store)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    """A tmpfs of four megabytes, an image of eight."""
    small = tmp_path / "small"
    small.mkdir()
    path = docker_archive(tmp_path / "a.tar", [tar(file("big", os.urandom(8_000_000)))], ["x"])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
    try:
        store = ImageStore(small / "images")
        with pytest.raises(OSError, match="No space left on device"):
            load(store, path, QUIET)
        check_untouched(store)
        (image,) = load(store, docker_archive(tmp_path / "b.tar", LAYERS, ["y"]), QUIET)
        check_content(image)
    finally:
        subprocess.run(["umount", small], check=True)


def test_saving_what_is_not_there_leaves_no_file(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match='"nope" is not in the store'):
        save(store, ["nope"], tmp_path / "out.tar", "oci", QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_saving_replaces_no_device_and_no_link(store: ImageStore, tmp_path: Path) -> None:
    load(store, docker_archive(tmp_path / "a.tar", LAYERS, ["app:1"]), QUIET)
    full, link = tmp_path / "full", tmp_path / "link.tar"
    os.mknod(full, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
    with pytest.raises(OSError, match="No space left on device"):
        save(store, ["app:1"], full, "oci", QUIET)
    assert full.is_char_device()
    link.symlink_to("real.tar")
    save(store, ["app:1"], link, "oci", QUIET)
    assert link.readlink() == Path("real.tar")
    assert tarfile.is_tarfile(tmp_path / "real.tar")


def test_a_saved_archive_is_a_plain_tar_that_docker_reads(
    store: ImageStore, tmp_path: Path
) -> None:
    load(store, docker_archive(tmp_path / "a.tar", LAYERS, ["app:1"]), QUIET)
    save(store, ["app:1"], tmp_path / "out.tar", "docker", QUIET)
    with tarfile.open(tmp_path / "out.tar") as archive:
        manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert manifest[0]["RepoTags"] == ["app:1"]
        assert all(archive.getmember(layer).isreg() for layer in manifest[0]["Layers"])
