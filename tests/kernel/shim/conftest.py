import shutil
from collections.abc import Iterator

import pytest

from tests.kernel.shim.world import ShimWorld


@pytest.fixture
def shim() -> Iterator[ShimWorld]:
    """A world whose shim is started by `asynchronous` and ended by it."""
    made = ShimWorld()
    yield made
    shutil.rmtree(made.directory, ignore_errors=True)
