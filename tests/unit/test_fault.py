"""Every fault point is visited by a test: the lists of names and the places in the code agree."""

import re
from pathlib import Path

import minipod
from minipod.node import faults as node
from minipod.runtime import faults as runtime


def test_the_points_of_node_and_runtime_are_listed() -> None:
    found = set()
    for folder in ("node", "runtime"):
        for path in (Path(minipod.__file__).parent / folder).rglob("*.py"):
            found |= set(re.findall(r'\bpoint\("([^"]+)"\)', path.read_text()))
    assert found == {*node.FAULTS, *node.UPDATE, *runtime.DAEMON, *runtime.SHIM}
