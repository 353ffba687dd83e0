"""Figures about the server, under upstream's names, in the text format of Prometheus.

Counting is a dictionary's; the library that writes the format is loaded when somebody first asks for it.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from minipod.server.discovery import GIT_VERSION

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_OF_REQUEST = ("verb", "group", "version", "resource", "subresource")
RequestLabels = tuple[str, str, str, str, str]  # in the order of _OF_REQUEST
_KINDS_COUNTED = 5000  # of labels: more than there are kinds, verbs and codes


class _Durations:
    """One histogram: how many fell into each bucket, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(_BOUNDS, seconds)] += 1
        self.total += seconds


class Metrics:
    """Counts requests. `stored` returns how many objects there are."""

    def __init__(self, stored: Callable[[], int]) -> None:
        self._stored = stored
        self._requests: Counter[tuple[str, ...]] = Counter()
        self._durations: dict[RequestLabels, _Durations] = {}
        self._long: Counter[tuple[str, ...]] = Counter()
        self._rejected: Counter[str] = Counter()
        self._running = 0
        self._registry: CollectorRegistry | None = None

    def begin(self, of: RequestLabels, *, long_running: bool) -> None:
        """Count a request in."""
        if long_running:
            self._long[_long_labels(of)] += 1
        else:
            self._running += 1

    def end(self, of: RequestLabels, code: int, seconds: float, *, long_running: bool) -> None:
        """Count it out."""
        if long_running:
            self._long[_long_labels(of)] -= 1
        else:
            self._running -= 1
            if of in self._durations or len(self._durations) < _KINDS_COUNTED:
                self._durations.setdefault(of, _Durations()).observe(seconds)
        key = (*of, str(code))
        if key in self._requests or len(self._requests) < _KINDS_COUNTED:
            self._requests[key] += 1

    def rejected(self, reason: str) -> None:
        """Count a request that was refused because there were too many."""
        self._rejected[reason] += 1

    def text(self) -> tuple[str, bytes]:
        """Return the media type and the figures."""
        from prometheus_client import (
            CONTENT_TYPE_LATEST,
            CollectorRegistry,
            ProcessCollector,
            generate_latest,
        )

        if self._registry is None:
            self._registry = CollectorRegistry()
            ProcessCollector(registry=self._registry)
            self._registry.register(self)
        return CONTENT_TYPE_LATEST, generate_latest(self._registry)

    def collect(self) -> "Iterator[Metric]":
        """Yield the figures (prometheus_client's Collector)."""
        yield from self._answered()
        yield from self._under_way()
        yield from self._refused()
        yield from self._served()

    def _answered(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily(
            "apiserver_request",
            "Requests answered, by verb, resource and HTTP status code.",
            labels=(*_OF_REQUEST, "code"),
        )
        yield _filled(requests, self._requests)
        durations = HistogramMetricFamily(
            "apiserver_request_duration_seconds",
            "How long requests took that are no watches and no streams.",
            labels=_OF_REQUEST,
        )
        for of, found in self._durations.items():
            durations.add_metric(of, _buckets(found), found.total)
        yield durations

    def _under_way(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        yield GaugeMetricFamily(
            "apiserver_current_inflight_requests",
            "Requests that are being answered.",
            value=self._running,
        )
        long = GaugeMetricFamily(
            "apiserver_longrunning_requests",
            "Watches and streams that are open.",
            labels=("verb", "resource", "subresource"),
        )
        yield _filled(long, self._long)

    def _refused(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily

        rejected = CounterMetricFamily(
            "apiserver_flowcontrol_rejected_requests",
            "Requests refused because there were too many, by reason.",
            labels=("reason",),
        )
        yield _filled(rejected, {(reason,): count for reason, count in self._rejected.items()})

    def _served(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        yield GaugeMetricFamily(
            "apiserver_storage_objects", "Objects that are stored.", value=self._stored()
        )
        build = GaugeMetricFamily(
            "kubernetes_build_info", "The version served.", labels=("git_version",)
        )
        yield _filled(build, {(GIT_VERSION,): 1})


def _filled(
    family: "CounterMetricFamily | GaugeMetricFamily", counts: Mapping[tuple[str, ...], int]
) -> "Metric":
    """Return a family with a figure for each of its labels' values."""
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _long_labels(of: RequestLabels) -> tuple[str, ...]:
    verb, _, _, resource, subresource = of
    return verb, resource, subresource


def _buckets(found: _Durations) -> list[tuple[str, float]]:
    """Return cumulative counts by upper bound."""
    made, sum_so_far = [], 0
    for bound, count in zip((*map(str, _BOUNDS), "+Inf"), found.counts, strict=True):
        sum_so_far += count
        made.append((bound, float(sum_so_far)))
    return made
