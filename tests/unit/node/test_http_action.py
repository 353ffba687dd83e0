"""The request that an httpGet of a probe or a hook makes, as upstream's (pkg/probe/http)."""

from typing import Any

import pytest

from minipod.node.http_action import HttpRequest, Purpose, compute_http_request, written
from minipod.node.ports import PortError

CONTAINER = {"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}


def request(purpose: Purpose = "probe", **action: Any) -> HttpRequest:
    return compute_http_request({"port": 80, **action}, CONTAINER, "10.85.0.2", purpose)


def headers(*given: tuple[str, str], purpose: Purpose = "probe") -> list[str]:
    listed = [{"name": name, "value": value} for name, value in given]
    made = request(purpose, httpHeaders=listed).headers
    return [f"{name}: {value}" for name, value in made if value != "10.85.0.2:80"]


@pytest.mark.parametrize(
    ("action", "url"),
    [
        ({}, "http://10.85.0.2:80/"),
        ({"path": "/a?b=1 2"}, "http://10.85.0.2:80/a?b=1%202"),
        ({"path": "a", "port": "web"}, "http://10.85.0.2:8080/a"),
        ({"scheme": "HTTPS", "host": "example.com"}, "https://example.com:80/"),
        ({"host": "fd00::1"}, "http://[fd00::1]:80/"),
    ],
)
def test_where_it_goes(action: dict[str, Any], url: str) -> None:
    made = request(**action)
    assert written(made.url) == url
    assert made.headers[0] == ("Host", url.partition("//")[2].partition("/")[0])


def test_a_port_that_the_container_does_not_name_is_none() -> None:
    with pytest.raises(PortError):
        request(port="admin")


def test_it_says_who_asks_and_takes_anything() -> None:
    assert headers() == ["Accept: */*", "User-Agent: kube-probe/1.36"]
    assert headers(purpose="lifecycle") == ["Accept: */*", "User-Agent: kube-lifecycle/1.36"]


def test_given_headers_come_instead_and_empty_ones_take_those_away() -> None:
    assert headers(("Accept", "text/html"), ("User-Agent", "me")) == [
        "Accept: text/html",
        "User-Agent: me",
    ]
    assert headers(("accept", ""), ("user-agent", "")) == []


def test_names_are_written_as_go_writes_them_and_may_come_twice() -> None:
    given = ("x-lower-CASE", "a"), ("X-Twice", "1"), ("x-twice", "2"), ("host", "shop.example")
    assert headers(*given)[:4] == [
        "X-Lower-Case: a",
        "X-Twice: 1",
        "X-Twice: 2",
        "Host: shop.example",
    ]
