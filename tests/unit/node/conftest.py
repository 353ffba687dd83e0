"""What the tests of the node share."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.unit.node.pods import World, world

Scene = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Scene], None]:
    """Play a scene in a fresh world."""
    root = Path(tmp_path_factory.mktemp("mp"))

    def run(scene: Scene) -> None:
        async def whole() -> None:
            async with world(root) as made:
                await scene(made)

        asyncio.run(whole())

    return run
