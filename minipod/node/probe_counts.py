"""How often each probe has run, and how that ended: the kubelet's `prober_probe_total` (/metrics/probes)."""

from collections import Counter
from collections.abc import Iterator

from minipod.client import Object
from minipod.node.pods import uid_of
from minipod.node.probe_actions import Outcome
from minipod.node.probes import ProbeKind

_RESULTS = {"success": "successful", "warning": "successful", "failure": "failed"}
_LABELS = ("probe_type", "result", "container", "pod", "namespace", "pod_uid")
_Key = tuple[str, str, str, str, str]  # type, result, container, Pod, namespace


class ProbeCounts:
    """The counts of the Pods that are there."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[_Key]] = {}  # by Pod

    def count(self, pod: Object, container: str, kind: ProbeKind, outcome: Outcome) -> None:
        """Note that a probe has run."""
        metadata = pod["metadata"]
        result = _RESULTS.get(outcome.result, "unknown")
        key = (kind.capitalize(), result, container, metadata["name"], metadata["namespace"])
        self._counts.setdefault(uid_of(pod), Counter())[key] += 1

    def forget(self, uid: str) -> None:
        """Forget a Pod that is gone: its counts end with it."""
        self._counts.pop(uid, None)

    def text(self) -> str:
        """Return the counts in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, Metric

        counts = self._counts

        class Collector:
            def collect(self) -> Iterator[Metric]:
                help_text = "Number of probes of a container, by their kind and result"
                family = CounterMetricFamily("prober_probe", help_text, labels=_LABELS)
                for uid, counted in counts.items():
                    for key, number in counted.items():
                        family.add_metric((*key, uid), number)
                yield family

        registry = CollectorRegistry()
        registry.register(Collector())
        return generate_latest(registry).decode()
