import asyncio
from pathlib import Path

from minipod.node.traces import LIMIT, Traces
from minipod.runtime.operations import MakeDirectory, Step, TracedStep


def steps(count: int) -> list[TracedStep]:
    return [TracedStep(Step(MakeDirectory(f"/{number}")), number, 1) for number in range(count)]


def test_a_trace_outlives_its_daemon(tmp_path: Path):
    async def scene() -> None:
        first = Traces(tmp_path.joinpath)
        (tmp_path / "u").mkdir()
        first.add("u", "sandbox", 1.0, steps(2))
        first.save("u")
        await first.flush()
        second = Traces(tmp_path.joinpath)
        second.add("u", "container app", 2.0, steps(1))
        assert [each["title"] for each in second.get("u")] == ["sandbox", "container app"]

    asyncio.run(scene())


def test_nothing_is_written_once_the_directory_may_go(tmp_path: Path):
    async def scene() -> None:
        traces = Traces(tmp_path.joinpath)
        (tmp_path / "u").mkdir()
        traces.add("u", "sandbox", 1.0, steps(1))
        await traces.settle("u")
        traces.save("u")
        await asyncio.sleep(0)
        await traces.settle("u")
        assert not list((tmp_path / "u").iterdir())
        assert traces.get("u")

    asyncio.run(scene())


def test_the_oldest_calls_go_when_there_are_too_many(tmp_path: Path):
    traces = Traces(tmp_path.joinpath)
    for number in range(4):
        traces.add("u", str(number), 1.0, steps(LIMIT // 2))
    assert [each["title"] for each in traces.get("u")] == ["2", "3"]
