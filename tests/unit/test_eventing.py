import asyncio

from minipod.eventing import MESSAGE_LIMIT, Recorder
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock
from tests.unit.node.pods import make_pod


def record(*messages: str) -> FakeApi:
    clock = FakeClock()
    api = FakeApi(clock)

    async def scene() -> None:
        recorder = Recorder(api.client(), clock, "kubelet", "node1")
        for message in messages:
            recorder.record(make_pod(), "Normal", "Tested", message, "spec.containers{app}")
            clock.advance(1)
        await recorder.flush()

    asyncio.run(scene())
    return api


def test_an_event_says_what_happened_to_whom_and_who_says_so():
    (event,) = record("once").all("events")
    assert event["involvedObject"]["fieldPath"] == "spec.containers{app}"
    assert event["involvedObject"]["uid"] == "uid-web"
    assert event["source"] == {"component": "kubelet", "host": "node1"}
    assert event["metadata"]["namespace"] == "default"
    assert event["count"] == 1


def test_repeats_are_counted():
    events = record("again", "again", "other", "again").all("events")
    counts = {each["message"]: each["count"] for each in events}
    assert counts == {"again": 3, "other": 1}
    again = next(each for each in events if each["message"] == "again")
    assert again["lastTimestamp"] > again["firstTimestamp"]


def test_a_long_message_is_cut_to_what_the_api_takes():
    (event,) = record("x" * 5000).all("events")
    assert len(event["message"]) == MESSAGE_LIMIT


def test_an_api_that_refuses_loses_the_event_and_nothing_else():
    from minipod.api.errors import status_error

    clock = FakeClock()
    api = FakeApi(clock)

    async def scene() -> None:
        recorder = Recorder(api.client(), clock, "kubelet")
        api.failures.append(status_error(404, "NotFound", 'namespaces "default" not found'))
        recorder.record(make_pod(), "Normal", "One", "lost")
        recorder.record(make_pod(), "Normal", "Two", "kept")
        await recorder.flush()

    asyncio.run(scene())
    assert api.events() == [("Two", "kept")]


def test_events_are_named_in_the_order_of_time_whoever_tells_of_them():
    clock = FakeClock()
    api = FakeApi(clock)

    async def scene() -> None:
        kubelet = Recorder(api.client(), clock, "kubelet")
        scheduler = Recorder(api.client(), clock, "default-scheduler")
        long = {"metadata": {"name": "n" * 253, "namespace": "default", "uid": "u"}}
        scheduler.record(make_pod(), "Normal", "Scheduled", "to node1")
        for reason in ("Pulled", "Created", "Started"):
            kubelet.record(make_pod(), "Normal", reason, "c")
        kubelet.record(long, "Normal", "Long", "c")
        await scheduler.flush()
        await kubelet.flush()

    asyncio.run(scene())
    named = {each["metadata"]["name"]: each["reason"] for each in api.all("events")}
    assert len(named) == 5
    assert all(len(name) <= 253 for name in named)
    told = [named[name] for name in sorted(named) if name.startswith("web.")]
    assert told == ["Scheduled", "Pulled", "Created", "Started"]
