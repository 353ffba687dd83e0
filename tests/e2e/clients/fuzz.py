"""Ask for everything that an OpenAPI document describes, sensibly and otherwise; print what the server failed at.

    fuzz.py URL CLIENT_CERTIFICATE CA NAMESPACE EXAMPLES GROUP_VERSION...

One JSON object a line for each failure (a status of 5xx, or no answer), then one that counts the answers by status.
The choices are the same in every run (hypothesis: derandomize). Three of four requests on one object are for `web`.
"""

import collections
import contextlib
import json
import sys
from typing import Any

import hypothesis
import requests
import schemathesis

Counts = collections.Counter[str]
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
SETTINGS: dict[str, Any] = {
    "database": None,
    "derandomize": True,
    "deadline": None,
    "phases": [hypothesis.Phase.generate],
    "suppress_health_check": list(hypothesis.HealthCheck),
}


class Fuzzer:
    """Sends cases and remembers what came of them."""

    def __init__(self, url: str, certificate: str, authority: str, namespace: str) -> None:
        self._url, self._namespace = url, namespace
        self._session = requests.Session()
        self._session.trust_env = False
        self._how = {"cert": certificate, "verify": authority, "timeout": 20}
        self.statuses: Counts = collections.Counter()
        self._turns: Counts = collections.Counter()

    def document(self, group_version: str) -> Any:
        """Return what the server says of itself."""
        answer = self._session.get(f"{self._url}/openapi/v3/{group_version}", **self._how)
        answer.raise_for_status()
        return answer.json()

    def operate(self, operation: Any, examples: int) -> None:
        """Try one operation with so many good and so many bad requests."""
        for mode in MODES:

            @hypothesis.settings(max_examples=examples, **SETTINGS)
            @hypothesis.given(operation.as_strategy(generation_mode=mode))
            def attempt(case: Any) -> None:
                self._send(case)

            with contextlib.suppress(hypothesis.errors.Unsatisfiable):
                attempt()  # or there is nothing that can be wrong about this one

    def _send(self, case: Any) -> None:
        self._adapt(case)
        try:
            answer = case.call(base_url=self._url, session=self._session, **self._how)
        except requests.RequestException as error:
            self._tell(case, type(error).__name__, str(error))
            return
        self.statuses[str(answer.status_code)] += 1
        expected = answer.status_code == 503 and "/proxy" in case.path  # nobody listens there
        if answer.status_code >= 500 and not expected:
            self._tell(case, str(answer.status_code), answer.text)

    def _adapt(self, case: Any) -> None:
        """Aim at objects that are there, send what the server reads, and wait for no watch."""
        where, query = case.path_parameters, case.query
        if isinstance(where, dict):
            if "namespace" in where:
                where["namespace"] = self._namespace
            self._turns[case.path] += 1
            if "name" in where and self._turns[case.path] % 4:
                where["name"] = "web"
        if isinstance(query, dict):
            query.pop("follow", None)
            if query.get("watch"):
                query["timeoutSeconds"] = 1
        if case.media_type and "json" not in case.media_type and "yaml" not in case.media_type:
            case.media_type = "application/json"

    def _tell(self, case: Any, what: str, text: str) -> None:
        told = {
            "asked": f"{case.method} {case.path}",
            "query": repr(case.query)[:300],
            "body": repr(case.body)[:2000],
            "came": f"{what}: {text[:500]}",
        }
        print(json.dumps(told), flush=True)


def main() -> None:
    """Run it."""
    url, certificate, authority, namespace, examples, *groups = sys.argv[1:]
    fuzzer = Fuzzer(url, certificate, authority, namespace)
    operations = 0
    for group in groups:
        for found in schemathesis.openapi.from_dict(fuzzer.document(group)).get_all_operations():
            operations += 1
            fuzzer.operate(found.ok(), int(examples))
    print(json.dumps({"operations": operations, "statuses": fuzzer.statuses}))


if __name__ == "__main__":
    main()
