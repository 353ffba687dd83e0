"""Documents of images: chain IDs, configurations, and what is refused."""

import pytest

from minipod.image.errors import ImageError
from minipod.image.model import (
    Descriptor,
    Image,
    ImageConfig,
    compute_chain_ids,
    compute_digest,
    parse_config,
    parse_descriptor,
    parse_diff_ids,
    parse_manifest,
)

A, B = compute_digest(b"a"), compute_digest(b"b")


def test_chain_ids_name_a_layer_with_everything_below_it() -> None:
    chain = compute_chain_ids((A, B))
    assert chain == (A, compute_digest(f"{A} {B}".encode()))
    assert compute_chain_ids((B,)) == (B,)
    assert compute_chain_ids(()) == ()


def test_a_configuration_is_read_whole() -> None:
    config = parse_config(
        {
            "config": {
                "Entrypoint": ["/e"], "Cmd": ["c"], "Env": ["A=b"], "WorkingDir": "/w", "User": "u:g",
                "StopSignal": "SIGQUIT", "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "Labels": {"l": "m"},
            }
        },
        "x",
    )  # fmt: skip
    assert config == ImageConfig(
        ("/e",), ("c",), ("A=b",), "/w", "u:g", "SIGQUIT", ("80/tcp",), ("/v",), (("l", "m"),)
    )


@pytest.mark.parametrize(
    "config", [{}, {"config": None}, {"config": {"Cmd": None, "Labels": None}}]
)
def test_an_absent_configuration_is_empty(config: dict[str, object]) -> None:
    assert parse_config(config, "x") == ImageConfig()


@pytest.mark.parametrize(
    "config", [[1], {"Cmd": "sh"}, {"Env": [1]}, {"User": 5}, {"Labels": ["a"]}, {"Volumes": "x"}]
)
def test_a_configuration_of_wrong_types_is_refused(config: object) -> None:
    with pytest.raises(ImageError):
        parse_config({"config": config}, "x")


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"digest": A}, {"digest": A, "size": -1}, {"digest": "md5:00", "size": 1},
     {"digest": "sha256:../../../etc/passwd", "size": 1}, {"digest": A.upper(), "size": 1}],
)  # fmt: skip
def test_a_bad_descriptor_is_refused(value: object) -> None:
    with pytest.raises(ImageError):
        parse_descriptor(value, "x")


def test_a_manifest_gives_configuration_and_layers() -> None:
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": "c", "digest": A, "size": 1},
        "layers": [],
    }
    assert parse_manifest(manifest, "x") == (Descriptor("c", A, 1), ())
    with pytest.raises(ImageError):
        parse_manifest({**manifest, "schemaVersion": 1}, "x")
    with pytest.raises(ImageError):
        parse_diff_ids({"rootfs": {"diff_ids": ["nonsense"]}}, "x")


def test_the_repo_digest_drops_the_tag_and_keeps_a_port() -> None:
    image = Image("localhost:5000/a/b:t", A, B, ImageConfig(), (), 0)
    assert image.repo_digest == f"localhost:5000/a/b@{B}"
