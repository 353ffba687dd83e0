"""/healthz, /livez and /readyz, as upstream's apiserver answers them (server/healthz).

`?verbose` lists the checks, `?exclude=NAME` leaves one out, `/readyz/NAME` is one check alone. Why a check failed is in
the log: the answer is for everybody.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

logger = logging.getLogger(__name__)

Check = Callable[[], str]  # why it fails, "" when it does not


@dataclass(frozen=True)
class Health:
    """What one question about health is answered: a status code and a text."""

    code: int
    text: str


class HealthChecks:
    """The checks behind each of the three paths, by name and in order."""

    def __init__(self, checks: Mapping[str, Mapping[str, Check]]) -> None:
        self._checks = checks

    def answer(self, path: str, verbose: bool, exclude: set[str]) -> Health | None:
        """Answer `/readyz` or `/readyz/NAME`; None for a path that is none of them."""
        endpoint, _, name = path.strip("/").partition("/")
        checks = self._checks.get(endpoint)
        if checks is None or (name and name not in checks):
            return None
        if name:
            return _single(endpoint, name, checks[name])
        return _all(endpoint, checks, verbose, exclude)


def _single(endpoint: str, name: str, check: Check) -> Health:
    why = check()
    if not why:
        return Health(200, "ok")
    logger.warning('%s check "%s" failed: %s', endpoint, name, why)
    return Health(500, "internal server error: reason withheld\n")


def _all(endpoint: str, checks: Mapping[str, Check], verbose: bool, exclude: set[str]) -> Health:
    lines, failed = [], False
    for name, check in checks.items():
        if name in exclude:
            lines.append(f"[+]{name} excluded: ok")
            continue
        why = check()
        if why:
            failed = True
            logger.warning('%s check "%s" failed: %s', endpoint, name, why)
        lines.append(f"[-]{name} failed: reason withheld" if why else f"[+]{name} ok")
    unknown = sorted(exclude - set(checks))
    if unknown:
        listed = ",".join(json.dumps(each) for each in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {listed}")
    if failed:
        return Health(500, "\n".join([*lines, f"{endpoint} check failed", ""]))
    if not verbose:
        return Health(200, "ok")
    return Health(200, "\n".join([*lines, f"{endpoint} check passed", ""]))
