"""The store: names, aliases, leases, garbage, and several processes at once. Layers are empty folders here."""

import fcntl
import os
from pathlib import Path

import pytest

from minipod.image import model
from minipod.image.contents import add_document
from minipod.image.durable import locked
from minipod.image.errors import ImageError
from minipod.image.names import parse_reference
from minipod.image.store import ImageStore


def publish(store: ImageStore, *names: str, layers: tuple[str, ...] = ("base",)) -> str:
    """Add an image without content, with a layer per name in `layers`; returns its ID."""
    parts, diff_ids = [], []
    for layer in layers:
        document = add_document(store, model.LAYER_TYPE, {"layer": layer})
        parts.append(document.to_json())
        diff_ids.append(model.compute_digest(layer.encode()))
    for chain_id in model.compute_chain_ids(tuple(diff_ids)):
        store.layer_path(chain_id).mkdir(exist_ok=True)
    config = {"config": {"Cmd": list(layers)}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    config_descriptor = add_document(store, model.CONFIG_TYPE, config)
    manifest = {"schemaVersion": 2, "config": config_descriptor.to_json(), "layers": parts}
    descriptor = add_document(store, model.MANIFEST_TYPE, manifest)
    store.publish(descriptor, [parse_reference(name) for name in names])
    return config_descriptor.digest


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


def test_an_image_is_found_by_every_form_of_its_name(store: ImageStore) -> None:
    image_id = publish(store, "nginx", layers=("base", "nginx"))
    image = store.resolve("nginx")
    assert image is not None
    assert image.id == image_id
    assert image.reference == "docker.io/library/nginx:latest"
    assert image.config.cmd == ("base", "nginx")
    assert len(image.layers) == 2
    assert image.layers[1] == str(store.layer_path(model.compute_digest(b"base")))  # topmost first
    for name in ("docker.io/library/nginx:latest", image_id, f"nginx@{image.manifest_digest}"):
        assert store.resolve(name) == image
    assert store.resolve("nginx:other") is None
    assert store.resolve(f"other@{image.manifest_digest}") is None
    with pytest.raises(ValueError, match="invalid image reference"):
        store.resolve("NGINX")


def test_an_alias_stands_for_a_name_until_an_image_has_it(store: ImageStore) -> None:
    store.alias("geektime/tomcat:7.0", "tomcat")
    assert store.resolve("geektime/tomcat:7.0") is None
    tomcat = publish(store, "tomcat")
    found = store.resolve("geektime/tomcat:7.0")
    assert found is not None
    assert (found.id, found.reference) == (tomcat, "docker.io/library/tomcat:latest")
    store.alias("further", "geektime/tomcat:7.0")
    assert store.aliases()["docker.io/library/further:latest"] == found.reference
    real = publish(store, "geektime/tomcat:7.0", layers=("real",))
    assert store.require("geektime/tomcat:7.0").id == real
    store.remove("geektime/tomcat:7.0")
    assert store.require("geektime/tomcat:7.0").id == tomcat
    assert store.remove("geektime/tomcat:7.0") == ("docker.io/geektime/tomcat:7.0",)
    assert store.resolve("geektime/tomcat:7.0") is None
    with pytest.raises(ImageError, match="stand for itself"):
        store.alias("a", "a:latest")


def test_what_another_process_does_is_seen(store: ImageStore) -> None:
    other = ImageStore(store.directory)
    assert other.resolve("nginx") is None
    first = publish(store, "nginx")
    assert other.require("nginx").id == first
    second = publish(store, "nginx", layers=("other",))
    assert other.require("nginx").id == second
    assert [image.id for image in other.list()] == [second]
    store.remove("nginx")
    assert other.resolve("nginx") is None


def test_resolving_again_reads_no_file(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, "nginx")
    image = store.resolve("nginx")
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("a file was read"))
    assert store.resolve("nginx") is image


def test_a_leased_image_is_neither_removed_nor_collected(store: ImageStore) -> None:
    publish(store, "nginx", "second", layers=("base", "nginx"))
    image = store.require("nginx")
    store.lease(image, "pod/one")
    store.lease(image, "pod/one")
    assert store.leases() == {"pod/one": image.manifest_digest}
    assert store.remove("second") == ("docker.io/library/second:latest",)
    with pytest.raises(ImageError, match='in use by "pod/one"'):
        store.remove("nginx")
    publish(store, "nginx", layers=("new",))  # the name moves on, the container stays
    assert store.collect_garbage().layers == 0
    assert all(os.path.isdir(layer) for layer in image.layers)
    store.release("pod/one")
    store.release("pod/one")
    collected = store.collect_garbage()
    assert (collected.blobs, collected.layers) == (4, 2)
    assert store.require("nginx").config.cmd == ("new",)
    with pytest.raises(ImageError, match="removed meanwhile"):
        store.lease(image, "pod/two")


def test_a_lease_that_is_not_to_wait_says_that_somebody_changes_the_store(
    store: ImageStore,
) -> None:
    publish(store, "nginx")
    image = store.require("nginx")
    with locked(store.directory / "lock"), pytest.raises(BlockingIOError):
        store.lease(image, "pod/one", wait=False)
    assert store.leases() == {}
    store.lease(image, "pod/one", wait=False)
    assert store.leases() == {"pod/one": image.manifest_digest}


def test_who_uses_an_image_is_called_by_name(store: ImageStore) -> None:
    publish(store, "nginx")
    image = store.require("nginx")
    for container in ("a", "b"):
        store.lease(image, f"0001.{container}", 'pod "default/web"')
    store.lease(image, "0002.a", 'pod "lab/shop"')
    (store.directory / "leases" / "0003.a").write_text(image.manifest_digest)  # of a former minipod
    assert store.users(image) == ('"0003.a"', 'pod "default/web"', 'pod "lab/shop"')
    store.release("0003.a")
    with pytest.raises(ImageError, match='in use by pod "default/web" and 1 more; delete its Pods'):
        store.remove("nginx")


def test_a_shared_base_stays_until_its_last_image_goes(store: ImageStore) -> None:
    publish(store, "debian", layers=("base",))
    publish(store, "nginx", layers=("base", "nginx"))
    assert len(list(store.layers.iterdir())) == 2
    store.remove("nginx")
    assert store.collect_garbage().layers == 1
    assert os.path.isdir(store.require("debian").layers[0])
    store.remove(store.require("debian").id)
    assert store.collect_garbage().layers == 1
    assert list(store.blobs.iterdir()) == []


def test_removing_an_id_removes_all_its_names(store: ImageStore) -> None:
    image_id = publish(store, "a", "b", "c:1")
    removed = store.remove(image_id)
    assert [name.rpartition("/")[2] for name in removed] == ["a:latest", "b:latest", "c:1"]
    with pytest.raises(ImageError, match="not in the store"):
        store.remove("a")


def test_garbage_is_not_collected_while_an_image_is_added(store: ImageStore) -> None:
    add_document(store, model.CONFIG_TYPE, {"half": "made"})
    with store.writing():
        with pytest.raises(ImageError, match="being added"):
            ImageStore(store.directory).collect_garbage()
        publish(store, "nginx")  # names may change meanwhile
        store.lease(store.require("nginx"), "x")
    assert store.collect_garbage().blobs == 1


def test_a_writer_clears_what_a_killed_one_left(store: ImageStore) -> None:
    left = store.scratch / "layer-dead"
    left.mkdir()
    (left / "file").write_text("half")
    with store.writing():
        assert not left.exists()
        mine = store.scratch / "blob-mine"
        mine.write_text("x")
        with store.writing():
            assert mine.exists()  # another writer is at work: hands off


def test_a_lease_does_not_wait_for_a_writer(store: ImageStore) -> None:
    publish(store, "nginx")
    with locked(store.directory / "writers.lock", fcntl.LOCK_EX):
        store.lease(store.require("nginx"), "pod")
    assert "pod" in store.leases()


def test_what_a_killed_process_left_of_a_lease_is_cleared(store: ImageStore) -> None:
    left = store.scratch / "file-0123"
    left.write_text("sha")
    store.clear_leftovers()
    assert not left.exists()


def test_a_lease_that_a_power_cut_emptied_is_none(store: ImageStore) -> None:
    publish(store, "nginx")
    store.lease(store.require("nginx"), "pod")
    next((store.directory / "leases").iterdir()).write_bytes(b"")
    assert store.leases() == {}
    assert store.collect_garbage().layers == 0


def test_damage_is_named(store: ImageStore) -> None:
    publish(store, "nginx")
    image = store.require("nginx")
    blob = store.blob_path(image.id)
    blob.write_bytes(b"{}")
    with pytest.raises(ImageError, match="is damaged"):
        ImageStore(store.directory).resolve("nginx")
    (store.directory / "index.json").write_text("{")
    with pytest.raises(ImageError, match=r"index\.json.*damaged"):
        store.resolve("nginx")


def test_a_missing_layer_is_named(store: ImageStore) -> None:
    publish(store, "nginx")
    next(store.layers.iterdir()).rmdir()
    with pytest.raises(ImageError, match="is missing; load or build it again"):
        store.resolve("nginx")


def test_the_store_is_an_oci_layout_for_its_owner_alone(store: ImageStore) -> None:
    assert (store.directory / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'
    assert store.directory.stat().st_mode & 0o777 == 0o700
