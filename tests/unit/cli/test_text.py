"""Formats, JSONPath, tables, elastic tabs, times: what is printed, without a server."""

from datetime import UTC, datetime

import pytest
import yaml

from minipod.cli.describe.layout import elastic
from minipod.cli.describe.others import words_of
from minipod.cli.errors import CliError, Failures, ServerError
from minipod.cli.formats import printer, to_yaml
from minipod.cli.jsonpath import Template, parse_path
from minipod.cli.options import seconds
from minipod.cli.tables import cell_text, lay_out
from minipod.cli.times import age, duration

OBJECT = {
    "kind": "List",
    "items": [
        {
            "name": "a",
            "n": 1,
            "ok": True,
            "tags": {"x.y/z": "q"},
            "c": [{"t": "R", "s": "True"}, {"t": "S", "s": "no"}],
        },
        {"name": "b", "n": 12, "tags": {}, "c": []},
    ],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{.kind}", "List"),
        ("{.items[*].name}", "a b"),
        ("{.items[0].name}", "a"),
        ("{.items[-1].name}", "b"),
        ("{.items[0:1].name}", "a"),
        ("{.items[0,1].name}", "a b"),
        ("{..name}", "a b"),
        ("{$.kind}", "List"),
        ("{.items[0]['name','n']}", "a 1"),
        (r"{.items[0].tags.x\.y/z}", "q"),
        ("{.items[0].tags['x.y/z']}", "q"),
        ('{.items[?(@.name=="b")].n}', "12"),
        ("{.items[?(@.n>5)].name}", "b"),
        ("{.items[?(@.ok)].name}", "a"),
        ('{.items[*].c[?(@.t=="R")].s}', "True"),
        ("{.items[0].c[0]}", '{"t":"R","s":"True"}'),
        ("{.missing.deep}", ""),
        ("{.items[9].name}", ""),
        ('{range .items[*]}{.name}={.n}{"\\n"}{end}', "a=1\nb=12\n"),
        ("plain {.kind} text", "plain List text"),
        ("{.items[0].ok}", "true"),
    ],
)
def test_jsonpath(template: str, expected: str) -> None:
    assert Template(template).render(OBJECT) == expected


@pytest.mark.parametrize(
    "template", ["{.a", "{.a[}", "{range .a}", "{end}", "{.a[?(@.b]}", "{.a[x]}", '{"a}']
)
def test_bad_jsonpath_is_named(template: str) -> None:
    with pytest.raises(CliError, match="jsonpath"):
        Template(template)


def test_relaxed_paths() -> None:
    for text in (".a.b", "a.b", "{.a.b}", "$.a.b"):
        assert parse_path(text).values({"a": {"b": 1}}) == [1]


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "no",
        "y",
        "~",
        "",
        "1",
        "0x1f",
        "1e3",
        "1.5",
        "2024-01-01T00:00:00Z",
        "12:30",
        "null",
        ".5",
        "0o7",
        "=",
    ],
)
def test_ambiguous_strings_are_quoted(text: str) -> None:
    assert to_yaml({"a": text}) == f'a: "{text}"\n'


@pytest.mark.parametrize("text", ["nginx", "a b", "1.2.3", "v1", "100m", "64Mi", "/bin/sh", "a:b"])
def test_plain_strings_are_not(text: str) -> None:
    assert to_yaml({"a": text}) == f"a: {text}\n"


def test_yaml_keeps_lines_and_round_trips() -> None:
    tricky = {
        "a": "x\ny\n",
        "b": ["- c", "#d", "e: f", " g", "h\ti", "ü", "'", '"', "{", "*x", "&y", "\x1b"],
        "c": {},
        "d": [],
    }
    assert to_yaml({"a": "x\ny\n"}) == "a: |\n  x\n  y\n"
    assert yaml.safe_load(to_yaml(tricky)) == tricky
    assert to_yaml({"b": [{"x": 1, "a": 2}]}) == "b:\n- a: 2\n  x: 1\n"


def test_json_escapes_as_go_does() -> None:
    assert (
        printer("json")({"b": 1, "a": "<&>ü"})
        == '{\n    "a": "\\u003c\\u0026\\u003eü",\n    "b": 1\n}\n'
    )


def test_columns_have_a_least_width_and_remember_it() -> None:
    assert lay_out([["A", "B"], ["x", "y"]]) == "A     B\nx     y\n"
    widths: list[int] = []
    lay_out([["long name", "B"]], widths)
    assert lay_out([["x", "y"]], widths) == "x           y\n"


def test_cells_cannot_act_on_a_terminal() -> None:
    assert cell_text("a\x1b[31mb") == "a^[[31mb"
    assert cell_text("one\ntwo") == "one..."
    assert (cell_text(None), cell_text(True), cell_text(3)) == ("", "true", "3")


def test_elastic_tabs_align_neighbours_only() -> None:
    lines = ["Name:\tx", "Labels:\ta=b", "\tc=d", "Long:", "  Inner name:\ty", "  I:\tz"]
    assert (
        elastic(lines)
        == "Name:    x\nLabels:  a=b\n         c=d\nLong:\n  Inner name:  y\n  I:           z\n"
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (185, "3m5s"), (599, "9m59s"), (600, "10m"),
        (10799, "179m"), (10800, "3h"), (11160, "3h6m"), (28800, "8h"), (172800, "2d"), (180000, "2d2h"),
        (691200, "8d"), (63072000, "2y"), (63158400, "2y1d"),
    ],
)  # fmt: skip
def test_durations(given: int, expected: str) -> None:
    assert duration(given) == expected


def test_ages() -> None:
    now = datetime(2024, 1, 1, 0, 1, tzinfo=UTC)
    assert age("2024-01-01T00:00:30Z", now) == "30s"
    assert age("2024-01-01T00:00:30.123456Z", now) == "29s"
    assert age(None) == "<unknown>"


def test_go_durations() -> None:
    assert [seconds(each, "--t") for each in ("5", "5s", "1m30s", "250ms", "1.5h", "-1s")] == [
        5,
        5,
        90,
        0.25,
        5400,
        -1,
    ]
    for bad in ("", "x", "5x", "s"):
        with pytest.raises(CliError, match=r"invalid argument .* for \"--t\" flag"):
            seconds(bad, "--t")


def test_errors_say_what_kubectl_says() -> None:
    status = {"reason": "Conflict", "message": "m", "code": 409}
    assert ServerError(status).text() == "Error from server (Conflict): m"
    assert ServerError({"message": "m"}).text() == "Error from server: m"
    assert (
        ServerError(status).when("creating", "f").text()
        == 'Error from server (Conflict): error when creating "f": m'
    )
    one = {
        "reason": "Invalid",
        "details": {"kind": "Pod", "name": "x", "causes": [{"field": "a", "message": "b"}]},
    }
    assert ServerError(one).text() == 'The Pod "x" is invalid: a: b'
    both = Failures([CliError("a"), CliError("a"), CliError("b")])
    assert both.text() == "error: a\nerror: b"


def test_field_names_become_words() -> None:
    assert [words_of(each) for each in ("apiVersion", "lastTransitionTime", "podCIDR")] == [
        "Api Version",
        "Last Transition Time",
        "Pod CIDR",
    ]
