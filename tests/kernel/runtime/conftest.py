import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import lanes
from tests.kernel.runtime.world import World

_numbers = itertools.count()


@pytest.fixture
def world() -> Iterator[World]:
    """A world without a sandbox yet."""
    name = lanes.note(f"mp-test-{os.getpid()}-{next(_numbers)}")
    made = World(Path(tempfile.mkdtemp(prefix="mp")), name)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def pod(world: World) -> World:
    """A world with an ordinary sandbox."""
    world.start_sandbox()
    return world
