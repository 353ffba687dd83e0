"""The Pod that tests of streams talk to: a server on several addresses, and a program that reads its input."""

from collections.abc import Iterator

from tests.e2e.instance import Instance
from tests.e2e.pods import IDLE, container, pod

NAME = "streams"
SERVER = (
    "mkdir -p /www; echo from loopback > /www/index.html; "
    "httpd -p 127.0.0.1:8081 -h /www; httpd -p '[::1]:8082' -h /www; "
    "nc -ll -p 8080 -e tr a-z A-Z & " + IDLE
)
READER = "while read x; do echo got $x; done; sleep 1000"


def streams_pod(instance: Instance) -> Iterator[str]:
    """Make the Pod and give its name; remove it afterwards."""
    made = pod(NAME, container("main", SERVER), container("reader", READER, stdin=True))
    instance.apply(made, options=("--until-ready",))
    yield NAME
    instance.run("delete", "pod", NAME, "--now")
