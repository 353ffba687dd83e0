"""Files of variables: which are read and how, and what is said of those that cannot be."""

import os
from pathlib import Path
from typing import Any

import pytest

from minipod.node.env_files import (
    SIZE_LIMIT,
    BadEnvFile,
    EnvFiles,
    parse_key,
    placeholders,
    read_files,
)
from minipod.node.environment import compute_environment
from minipod.node.errors import StepError

from .pod_builders import container, make_pod

OPENING = (
    'couldn\'t parse env file: failed to open environment variable file "app.env" of volume "data"'
)
MISSING = 'environment variable key "DB_ADDRESS" not found in file "app.env" of volume "data"'
GOOD = """
# a comment
DB_ADDRESS='address'
  INDENTED='a # b' # said after it
MULTI='line1
  line2'
EMPTY=''
NOTHING= 'not this'
LITERAL='$HOME \\n "x"'
DB_ADDRESS='again'\r
"""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DB_ADDRESS", "address"),
        ("INDENTED", "a # b"),
        ("MULTI", "line1\n  line2"),
        ("EMPTY", ""),
        ("NOTHING", ""),
        ("LITERAL", '$HOME \\n "x"'),
        ("MISSING", None),
    ],
)
def test_what_a_shell_would_read_is_read(key: str, value: str | None) -> None:
    assert parse_key(GOOD, key) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A\n", "at line 1: missing '='"),
        ("\n='x'", "at line 2: empty variable name"),
        ("A ='x'", "at line 1: whitespace before '=' is not allowed"),
        ("A=x", "at line 1: value must be enclosed in single quotes"),
        ('A="x"', "at line 1: value must be enclosed in single quotes"),
        ("A='x''y'", "at line 1: unexpected content after closing quote"),
        ("A='x'$B", "at line 1: unexpected content after closing quote"),
        ("# c\nA='x\ny", "starting at line 2: unclosed single quote"),
        ("A='x\0y'", "at line 1: a variable cannot hold a NUL byte"),
    ],
)
def test_anything_else_is_refused_by_its_line(text: str, message: str) -> None:
    with pytest.raises(BadEnvFile, match="invalid environment variable format") as refused:
        parse_key(text, "MISSING")
    assert message in str(refused.value)


def test_what_follows_the_key_is_not_looked_at() -> None:
    assert parse_key("A='x'\nbroken", "A") == "x"


def _variable(path: str = "app.env", key: str = "DB_ADDRESS", **more: Any) -> dict[str, Any]:
    reference = {"volumeName": "data", "path": path, "key": key, **more}
    return {"name": "FROM_FILE", "valueFrom": {"fileKeyRef": reference}}


def _environment(place: Path, *variables: dict[str, Any]) -> list[str]:
    made = container("a", env=list(variables))
    files = read_files(made, {"data": str(place)})
    return compute_environment(make_pod(), made, (), None, files)


def test_a_key_becomes_a_variable(tmp_path: Path) -> None:
    (tmp_path / "app.env").write_text(GOOD)
    chained = {"name": "B", "value": "<$(FROM_FILE)>"}
    assert _environment(tmp_path, _variable(), chained) == ["FROM_FILE=address", "B=<address>"]


def test_what_is_optional_may_be_missing(tmp_path: Path) -> None:
    assert _environment(tmp_path, _variable(optional=True)) == []
    (tmp_path / "app.env").write_text(GOOD)
    assert _environment(tmp_path, _variable(key="NO", optional=True)) == []
    assert _environment(tmp_path, _variable(key="EMPTY", optional=True)) == []


def _fifo(place: Path) -> None:
    os.mkfifo(place / "app.env")


def _link(place: Path) -> None:
    (place / "app.env").symlink_to("/etc/passwd")


def _large(place: Path) -> None:
    (place / "app.env").write_bytes(b"#" * (SIZE_LIMIT + 1))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda place: None, f"{OPENING}: no such file or directory"),
        (lambda place: (place / "app.env").write_text("A='1'"), MISSING),
        (lambda place: (place / "app.env").write_text("DB_ADDRESS=''"), MISSING),
        (lambda place: (place / "app.env").write_text("A"), "couldn't parse env file: invalid"),
        (lambda place: (place / "app.env").mkdir(), f"{OPENING}: is a directory"),
        (_fifo, f"{OPENING}: not a regular file"),
        (_link, f"{OPENING}: openat2: invalid cross-device link"),
        (_large, f"{OPENING}: larger than 1 MiB"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, prepare: Any, message: str) -> None:
    prepare(tmp_path)
    with pytest.raises(StepError) as refused:
        _environment(tmp_path, _variable())
    assert refused.value.reason == "CreateContainerConfigError"
    assert refused.value.message.startswith(message)


def test_a_plan_shows_what_will_be_read() -> None:
    made = container("a", env=[_variable()])
    environment = compute_environment(make_pod(), made, (), None, placeholders(made))
    assert environment == ["FROM_FILE=<DB_ADDRESS of app.env>"]
    assert "address" not in repr(EnvFiles({("data", "app.env"): "address"}))
