"""What is used: rates between two looks, and the documents that tell of them."""

import asyncio
from typing import Any

from minipod.node.usage import LONGEST, WINDOW, Look, Measured, Running, UsageMeter, Used
from minipod.node.usage_documents import resource_metrics, summary

Object = dict[str, Any]
BILLION = 1_000_000_000


def running(cpu: float, container: str = "main", started: float = 0.0, pod: str = "web") -> Running:
    used = Used(round(cpu * BILLION), 4096, 2048)
    return Running("default", pod, f"uid-{pod}", container, started, used)


def look(at: float, *found: Running, node: float = 0.0) -> Look:
    return Look(at, Used(round(node * BILLION), 1 << 20, 1 << 19), found)


def test_a_rate_is_what_was_used_between_two_looks() -> None:
    measured = Measured(look(110, running(5), node=30), look(100, running(3), node=10))
    assert measured.window == 10
    assert measured.node_rate() == 2 * BILLION
    assert measured.rate(running(5)) == BILLION // 5


def test_what_is_younger_than_the_older_look_counts_from_its_start() -> None:
    fresh = running(2, started=106)
    measured = Measured(look(110, fresh), look(100))
    assert measured.rate(fresh) == BILLION // 2
    restarted = running(1, started=108)  # of the same name: not the one that was seen before
    measured = Measured(look(110, restarted), look(100, running(50)))
    assert measured.rate(restarted) == BILLION // 2


class Scene:
    """A meter whose clock only its own waiting moves."""

    def __init__(self) -> None:
        self.time = 100.0
        self.waited: list[float] = []
        self.looked = 0
        self.meter = UsageMeter(self.look, lambda: self.time, self.sleep)

    async def look(self) -> Look:
        self.looked += 1
        return look(self.time)

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


def test_the_first_question_waits_and_later_ones_use_what_it_saw() -> None:
    async def body() -> None:
        scene = Scene()
        assert (await scene.meter.measure()).window == WINDOW
        assert scene.waited == [WINDOW]
        scene.time += 15
        assert (await scene.meter.measure()).window == 15
        scene.time += WINDOW / 4
        assert (await scene.meter.measure()).window == WINDOW
        scene.time += LONGEST + 1
        assert (await scene.meter.measure()).window == WINDOW
        scene.time -= 500  # somebody set the clock back
        assert (await scene.meter.measure()).window == WINDOW

    asyncio.run(body())


def test_questions_at_one_time_wait_for_one_another() -> None:
    async def body() -> None:
        scene = Scene()
        found = await asyncio.gather(*(scene.meter.measure() for _ in range(3)))
        assert all(each.window >= WINDOW for each in found)
        assert scene.looked == 4

    asyncio.run(body())


def test_the_summary_is_the_kubelets() -> None:
    whole = running(8, container="", started=50)
    measured = Measured(look(110, whole, running(5), node=30), look(100, running(3), node=10))
    made = summary("one", measured)
    assert made["node"]["nodeName"] == "one"
    assert made["node"]["cpu"]["usageNanoCores"] == 2 * BILLION
    (pod,) = made["pods"]
    assert pod["podRef"] == {"name": "web", "namespace": "default", "uid": "uid-web"}
    assert pod["startTime"] == "1970-01-01T00:00:50Z"
    (container,) = pod["containers"]
    assert container["name"] == "main"
    assert container["cpu"] == {
        "time": "1970-01-01T00:01:50Z",
        "usageNanoCores": BILLION // 5,
        "usageCoreNanoSeconds": 5 * BILLION,
    }
    assert container["memory"]["workingSetBytes"] == 2048


def test_the_metrics_are_the_kubelets() -> None:
    text = resource_metrics(look(110, running(8, container=""), running(5), node=30))
    labels = 'namespace="default",pod="web"'
    for line in (
        f'container_cpu_usage_seconds_total{{container="main",{labels}}} 5.0 110000',
        f'container_memory_working_set_bytes{{container="main",{labels}}} 2048.0 110000',
        f"pod_cpu_usage_seconds_total{{{labels}}} 8.0 110000",
        "node_cpu_usage_seconds_total 30.0 110000",
        "resource_scrape_error 0.0",
    ):
        assert line in text.splitlines(), text
