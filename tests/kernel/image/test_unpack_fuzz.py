"""Whatever the archive: it is unpacked or refused with one line, and nothing outside the target changes."""

import gzip
import io
import random
import shutil
import tarfile
from pathlib import Path

import pytest

from minipod.image.errors import ImageError
from minipod.image.lower import LowerLayers
from minipod.image.stream import LayerStream, Limits
from minipod.image.unpack import unpack_layer

from .archives import file, folder, hard_link, link, other, tar, tree

pytestmark = pytest.mark.kernel
LIMITS = Limits(layer_bytes=1_000_000, members=200, header_bytes=20_000)
NAMES = [
    "a",
    "b",
    "a/b",
    "a/b/c",
    "..",
    "../x",
    "a/../..",
    "/",
    "/outside",
    ".",
    "",
    ".wh.a",
    "a/.wh.b",
]
NAMES += [
    ".wh..wh..opq",
    ".wh...",
    "b/.wh..wh..opq",
    "a//b",
    "\udcff",
    "n\nl",
    "x" * 150,
    "a/" * 80 + "z",
]
TARGETS = [*NAMES, "/etc", "../outside", "../../outside/kept", "b/c", "/proc/self/root"]


def check(target: Path, data: bytes, lower: LowerLayers) -> bool:
    target.mkdir()
    try:
        unpack_layer(LayerStream(io.BytesIO(data), "layer", LIMITS), target, lower)
    except ImageError as error:
        message = str(error)
    else:
        return True
    assert message.isprintable()
    return False


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    (path / "kept").write_text("kept")
    return path


def test_random_members_never_escape(tmp_path: Path, outside: Path) -> None:
    chance = random.Random(20)
    accepted = 0
    below: list[Path] = []
    for number in range(400):
        kinds = [
            lambda name, target: file(name, target.encode("utf-8", "surrogateescape")),
            lambda name, target: folder(name),
            link,
            hard_link,
            lambda name, target: other(name, tarfile.FIFOTYPE),
        ]
        members = [
            chance.choice(kinds)(chance.choice(NAMES), chance.choice(TARGETS))
            for _ in range(chance.randint(1, 6))
        ]
        work = tmp_path / f"work{number}"
        if check(work, tar(*members), LowerLayers(below[-3:][::-1])):
            accepted += 1
            below.append(work)
        else:
            shutil.rmtree(work)
    assert accepted > 20
    assert tree(outside) == {"kept": "kept"}
    assert {path.name for path in tmp_path.iterdir()} == {"outside", *(path.name for path in below)}


@pytest.mark.parametrize("packed", [False, True])
def test_damaged_archives_are_refused_or_unpacked(
    tmp_path: Path, outside: Path, packed: bool
) -> None:
    chance = random.Random(7)
    headers = {
        "mtime": "1.5",
        "SCHILY.xattr.user.x": "y",
        "path": "p" * 200,
        "GNU.sparse.map": "0,1",
    }
    original = tar(
        folder("d"),
        file("d/f", b"data" * 300, pax_headers=headers),
        link("l", "d/f"),
        hard_link("h", "d/f"),
    )
    for number in range(300):
        data = bytearray(original)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.choice(
                [0, 0x2F, 0x2E, 0x31, 0x39, 0x80, 0xFF]
            )
        mutated = bytes(data[: chance.randrange(len(data))]) if number % 3 == 0 else bytes(data)
        if packed:
            mutated = bytearray(gzip.compress(mutated))
            mutated[chance.randrange(len(mutated))] ^= 1 << chance.randrange(8)
            mutated = bytes(mutated)
        work = tmp_path / "work"
        check(work, mutated, LowerLayers())
        shutil.rmtree(work)
    assert tree(outside) == {"kept": "kept"}
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
