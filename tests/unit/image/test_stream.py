"""Layer streams are hashed, bounded and refused when damaged."""

import bz2
import gzip
import hashlib
import io
import sys

import pytest

from minipod.image.errors import ImageError
from minipod.image.stream import LayerStream, Limits


def stream(data: bytes, **limits: int) -> LayerStream:
    return LayerStream(io.BytesIO(data), "layer", Limits(**limits))


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lambda d: gzip.compress(d[:9]) + gzip.compress(d[9:])]
)
def test_the_uncompressed_bytes_are_read_and_hashed(pack) -> None:  # type: ignore[no-untyped-def]
    data = b"content" + bytes(1000)
    reader = stream(pack(data))
    assert reader.read(7) == b"content"
    assert reader.tell() == 7
    assert reader.seek(500) == 500
    assert reader.read(1) == b"\0"
    assert reader.finish() == "sha256:" + hashlib.sha256(data).hexdigest()


def test_a_bomb_is_refused_before_it_is_read_whole() -> None:
    with pytest.raises(ImageError, match="more than 1000000 bytes"):
        stream(gzip.compress(bytes(50_000_000)), layer_bytes=1_000_000).seek(50_000_000)


def test_endless_headers_are_refused() -> None:
    reader = stream(bytes(10_000), header_bytes=1000)
    reader.begin_member()
    reader.read(900)
    reader.begin_member()
    reader.read(900)
    with pytest.raises(ImageError, match="headers exceed 1000 bytes"):
        reader.read(900)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], "damaged compressed data"),
        (gzip.compress(b"x" * 1000, mtime=0)[:20] + b"junk" * 9, "damaged compressed data"),
        (bz2.compress(b"x"), "bzip2 compression"),
        (b"\xfd7zXZ\x00rest", "xz compression"),
    ],
)
def test_what_cannot_be_decompressed_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ImageError, match=complaint):
        stream(data).finish()


def test_data_after_the_end_is_refused() -> None:
    reader = stream(bytes(1024) + b"more")
    reader.read(512)
    with pytest.raises(ImageError, match="after the end"):
        reader.finish()


def test_it_cannot_be_read_backwards_or_beyond() -> None:
    reader = stream(bytes(100))
    reader.read(50)
    with pytest.raises(ImageError, match="backwards"):
        reader.seek(10)
    with pytest.raises(ImageError, match="truncated"):
        list(reader.chunks(51))


def test_zstd_without_python_for_it_says_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(ImageError, match="zstd compression needs Python"):
        stream(b"\x28\xb5\x2f\xfdrest")
