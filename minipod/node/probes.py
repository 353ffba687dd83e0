"""What is known of a running container from its probes. Without a result a container counts as started and ready."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ProbeResult:
    """The latest results of one container's probes, by container ID wherever they are passed."""

    started: bool = True  # the startup probe has succeeded, or there is none
    ready: bool = True  # the readiness probe succeeds, or there is none
    failed: Literal["", "liveness", "startup"] = ""  # a probe has failed for good: restart it


WELL = ProbeResult()
