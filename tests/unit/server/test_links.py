"""Links of proxied answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipod.server.links import Links, rewrite_html

PREFIX = "/api/v1/namespaces/default/services/web/proxy"
LINKS = Links(PREFIX, ("10.1.0.2:80", "localhost:8001"))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("/", f"{PREFIX}/"),
        ("/a/b?q=1#f", f"{PREFIX}/a/b?q=1#f"),
        ("http://10.1.0.2:80/a", f"{PREFIX}/a"),
        ("https://localhost:8001/a/", f"{PREFIX}/a/"),
        ("//localhost:8001/a", f"{PREFIX}/a"),
        (f"{PREFIX}/a", f"{PREFIX}/a"),
        (PREFIX, PREFIX),
        (f"{PREFIX}other", f"{PREFIX}{PREFIX}other"),
        ("relative/a", "relative/a"),
        ("?only=query", "?only=query"),
        ("#here", "#here"),
        ("", ""),
        ("http://example.com/a", "http://example.com/a"),
        ("//example.com/a", "//example.com/a"),
        ("mailto:me@example.com", "mailto:me@example.com"),
        ("http://[broken/", "http://[broken/"),
    ],
)
def test_what_leads_to_the_same_server_leads_through_the_proxy(link: str, expected: str) -> None:
    assert LINKS.rewritten(link) == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ('<a href="/x">x</a>', f'<a href="{PREFIX}/x">x</a>'),
        ("<A  HREF = '/x' class='/y'>x</A >", f"<A  HREF = \"{PREFIX}/x\" class='/y'>x</A >"),
        ("<img src=/x.png>", f'<img src="{PREFIX}/x.png">'),
        ('<form\n  action="/go?a=1&amp;b=2">', f'<form\n  action="{PREFIX}/go?a=1&amp;b=2">'),
        ('<link rel="x" href="/a.css"/>', f'<link rel="x" href="{PREFIX}/a.css"/>'),
        ('<a href="x">x</a>', '<a href="x">x</a>'),
        ('<a data="/x">x</a>', '<a data="/x">x</a>'),
        ("<!-- <a href='/x'> -->", "<!-- <a href='/x'> -->"),
        (
            '<script src="/a.js">let a = "<a href=\'/x\'>";</script><a href="/b">',
            f'<script src="{PREFIX}/a.js">let a = "<a href=\'/x\'>";</script><a href="{PREFIX}/b">',
        ),
        ("<p>\r\n&lt;<a href='/1'>\r\n<a href='/2'>", None),
    ],
)
def test_the_links_of_a_page(page: str, expected: str | None) -> None:
    if expected is None:
        expected = page.replace("'/1'", f'"{PREFIX}/1"').replace("'/2'", f'"{PREFIX}/2"')
    assert rewrite_html(page, LINKS) == expected


@given(st.text(alphabet="<>!-/ab=\"' \n&;?", max_size=60))
def test_whatever_has_no_link_is_left_alone(page: str) -> None:
    assert rewrite_html(page, LINKS) == page
