"""Upstream's table of example states (pod-lifecycle, "Example states"), row by row, for each restart policy.

A row: what runs, what happens to it, whether it is restarted, the phase that follows.
"""

import asyncio
from pathlib import Path

import pytest

from tests.unit.node.pods import World, container, make_pod, world

ONE, TWO = ("c1",), ("c1", "c2")
SUCCESS, FAILURE, OOM = (0, ""), (1, ""), (137, "OOMKilled")

TABLE = [
    # containers, ends (in order), policy, restarted, phase
    (ONE, [("c1", SUCCESS)], "Always", True, "Running"),
    (ONE, [("c1", SUCCESS)], "OnFailure", False, "Succeeded"),
    (ONE, [("c1", SUCCESS)], "Never", False, "Succeeded"),
    (ONE, [("c1", FAILURE)], "Always", True, "Running"),
    (ONE, [("c1", FAILURE)], "OnFailure", True, "Running"),
    (ONE, [("c1", FAILURE)], "Never", False, "Failed"),
    (TWO, [("c1", FAILURE)], "Always", True, "Running"),
    (TWO, [("c1", FAILURE)], "OnFailure", True, "Running"),
    (TWO, [("c1", FAILURE)], "Never", False, "Running"),
    (TWO, [("c1", FAILURE), ("c2", FAILURE)], "Always", True, "Running"),
    (TWO, [("c1", FAILURE), ("c2", FAILURE)], "OnFailure", True, "Running"),
    (TWO, [("c1", FAILURE), ("c2", FAILURE)], "Never", False, "Failed"),
    (TWO, [("c1", FAILURE), ("c2", SUCCESS)], "Never", False, "Failed"),
    (TWO, [("c1", SUCCESS), ("c2", SUCCESS)], "Never", False, "Succeeded"),
    (TWO, [("c1", SUCCESS), ("c2", FAILURE)], "OnFailure", True, "Running"),
    (ONE, [("c1", OOM)], "Always", True, "Running"),
    (ONE, [("c1", OOM)], "OnFailure", True, "Running"),
    (ONE, [("c1", OOM)], "Never", False, "Failed"),
]


@pytest.mark.parametrize(("names", "ends", "policy", "restarted", "phase"), TABLE)
def test_example_states(tmp_path: Path, names, ends, policy, restarted, phase) -> None:
    async def scene(made: World) -> None:
        pod = make_pod("web", *(container(each) for each in names), restartPolicy=policy)
        await made.create(pod)
        for name, (code, reason) in ends:
            made.runtime.exit(name, code, reason=reason)
            await made.settle()
        last, (_, reason) = ends[-1]
        assert made.status()["phase"] == phase
        assert (last in made.runtime.running()) is restarted
        status = next(s for s in made.status()["containerStatuses"] if s["name"] == last)
        assert status["restartCount"] == (1 if restarted else 0)
        ended = (status["lastState"] if restarted else status["state"])["terminated"]
        expected = reason or ("Completed" if ended["exitCode"] == 0 else "Error")
        assert ended["reason"] == expected

    async def whole() -> None:
        async with world(tmp_path) as made:
            await scene(made)

    asyncio.run(whole())


def test_a_pod_whose_disk_is_used_up_is_failed_and_says_so(tmp_path: Path) -> None:
    """The table's "disk dies", as far as one host can outlive it: an eviction by the node."""

    async def whole() -> None:
        async with world(tmp_path) as made:
            volume = {"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}
            await made.create(make_pod("web", container("c1"), volumes=[volume]))
            place = made.config.pod_directory("uid-web") / "volumes/kubernetes.io~empty-dir/v"
            place.mkdir(parents=True)
            (place / "big").write_bytes(b"x" * 65536)
            await made.pass_time(10)
            status = made.status()
            assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
            # its own limit, and so its own fault: no disruption that a Job would look past (KEP-3329)
            assert "DisruptionTarget" not in {each["type"] for each in status["conditions"]}

    asyncio.run(whole())
