import json
import time
from pathlib import Path

import pytest

from minipod.cli.errors import CliError
from minipod.cli.manifests import read_all, read_text

POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n"


def problem(text: str) -> str:
    with pytest.raises(CliError) as caught:
        read_text(text, "f.yaml")
    return caught.value.message


def test_documents_lists_and_empty_ones() -> None:
    text = f"---\n{POD}---\n---\n# nothing\n---\n"
    text += "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret}\n"
    assert [each.object["kind"] for each in read_text(text, "f")] == ["Pod", "Secret"]


def test_values_are_those_of_json() -> None:
    text = POD + "x: {a: 1, b: 1.5, c: true, d: null, e: 2024-01-01, f: '1', 8080: y, true: z}\n"
    assert read_text(text, "f")[0].object["x"] == {
        "a": 1, "b": 1.5, "c": True, "d": None, "e": "2024-01-01", "f": "1", "8080": "y", "true": "z"
    }  # fmt: skip


def test_anchors_and_merge_keys() -> None:
    text = POD + "base: &b {p: 1, q: 2}\nmore: {<<: *b, q: 3}\n"
    assert read_text(text, "f")[0].object["more"] == {"p": 1, "q": 3}


def test_json_files() -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "Pod", "x": "\t"})
    assert read_text(text, "f")[0].object["x"] == "\t"
    assert (
        problem('{"apiVersion": "v1", "kind": "Pod", "kind": "Pod"}')
        == '"f.yaml": the key "kind" is given twice'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{POD}---\nkind: Pod\n", '"f.yaml", document 2, line 6: apiVersion not set'),
        (f"{POD}---\n- a\n", '"f.yaml", document 2, line 6: not an object but a list'),
        ("just text", '"f.yaml", document 1, line 1: not an object but a string'),
        (
            f"{POD}spec:\n\tx: 1\n",
            'error parsing "f.yaml", document 1, line 6, column 1: indented with a tab',
        ),
        (f"{POD}a: 1\nb: 2\na: 3\n", '"f.yaml", document 1, line 7: the key "a" is given twice'),
        (f"{POD}x: [1\ny: 2\n", 'error parsing "f.yaml", document 1, line 6'),
        (f"{POD}x: &x [*x]\n", '"f.yaml", document 1, line 5: an alias contains itself'),
        (f"{POD}x: !!python/object:os.system {{}}\n", '"f.yaml", document 1, line 5'),
        (f"{POD}x: .inf\n", '"f.yaml", document 1, line 5: ".inf" is not a number of JSON'),
        (f"{POD}? [a]\n: b\n", '"f.yaml", document 1, line 5: a key must be a plain value'),
        (
            "apiVersion: v1\nkind: [Pod]\n",
            '"f.yaml", document 1, line 1: kind is not a string but a list',
        ),
    ],
)
def test_what_is_wrong_is_named_by_file_document_and_line(text: str, expected: str) -> None:
    assert problem(text).startswith(expected)


def test_billion_laughs_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    begin = time.monotonic()
    assert "more than 200000 values once its aliases are expanded" in problem(
        POD + "\n".join(lines)
    )
    assert time.monotonic() - begin < 10


def test_deep_nesting_is_refused_not_a_crash() -> None:
    assert "nested deeper than 100 levels" in problem("[" * 150)
    # newer libyaml has a limit of its own, which its scanner meets before any event is made
    for text in ("[" * 100_000, '{"a":' * 100_000):
        found = problem(text)
        assert "nested deeper than" in found or "exceeded maximum nesting depth" in found


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: b\n\xff")
    with pytest.raises(CliError) as caught:
        read_all((str(path),))
    assert caught.value.message == f'"{path}", line 2: not UTF-8 text (byte 0xff)'


def test_directories_one_level_or_all(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("b.yaml", "a.yml", "c.json", "README.md", "below/d.yaml"):
        text = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}})
        (tmp_path / name).write_text(text)
    flat = [each.object["metadata"]["name"] for each in read_all((str(tmp_path),))]
    assert flat == ["a.yml", "b.yaml", "c.json"]
    deep = [each.object["metadata"]["name"] for each in read_all((str(tmp_path),), recursive=True)]
    assert deep == ["a.yml", "b.yaml", "c.json", "below/d.yaml"]


def test_a_missing_file() -> None:
    with pytest.raises(CliError, match='the path "/no/such" does not exist'):
        read_all(("/no/such",))
