"""The command line itself: help, flags in kubectl's spellings, refusals, exit codes, imports, completion."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from minipod.cli.main import COMMANDS, root_command
from minipod.cli.options import REFUSED
from tests.fakes.apiserver import FakeApiServer
from tests.unit.cli.conftest import Minipod, pod

TEMPLATED = ["jsonpath=", "custom-columns="]
POLICIES = ["Always", "OnFailure", "Never"]


def every_command() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []

    def walk(path: str, each: click.Command) -> None:
        found.append((path, each))
        if isinstance(each, click.Group):
            for name, below in each.commands.items():
                walk(f"{path} {name}", below)

    root = root_command()
    for name in COMMANDS:
        made = root.get_command(click.Context(root), name)
        assert made is not None
        walk(name, made)
    return found


@pytest.mark.parametrize(
    ("path", "each"), every_command(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_teaches(path: str, each: click.Command, minipod: Minipod) -> None:
    ended = minipod(*path.split(), "--help")
    assert ended.code == 0
    usage, _, rest = ended.out.partition("\n\n")
    assert usage.startswith("Usage: minipod")
    paragraph = rest.partition("\n\n")[0]
    assert len(paragraph.split()) >= 3, "a paragraph of help"
    examples = rest.partition("\nExamples:\n")[2]
    assert "minipod" in examples, "an example"
    for option in each.params:
        if isinstance(option, click.Option):
            assert option.help, f"{option.opts} explains itself"


@pytest.mark.parametrize(
    ("path", "each"), every_command(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_examples_parse(path: str, each: click.Command) -> None:
    for line in str(getattr(each, "examples", "")).strip().splitlines():
        for part in line.split("|"):
            words = [word for word in shlex.split(part.partition(" > ")[0]) if word != "sudo"]
            if words[:1] != ["minipod"] or "<(" in part:
                continue
            _parse(words[1:])


def _parse(words: list[str]) -> None:
    """Parse without running; an unknown flag or a missing argument raises."""
    root = root_command()
    ctx = root.make_context("minipod", words, resilient_parsing=False)
    command: click.Command = root
    while isinstance(command, click.Group) and (rest := [*ctx._protected_args, *ctx.args]):
        _name, found, rest = command.resolve_command(ctx, rest)
        assert found is not None
        ctx = found.make_context(found.name, rest, parent=ctx)
        command = found


def test_the_help_of_minipod_names_every_command_without_importing_them(minipod: Minipod) -> None:
    out = minipod("--help").out
    assert all(f"  {name} " in out for name in COMMANDS)
    assert minipod().out == out


def modules_loaded(*arguments: str, root: Path) -> set[str]:
    code = "import sys; from minipod.cli.main import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", code, "--root", str(root), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return set(ended.stderr.splitlines()[-1].split())


HEAVY = {
    "yaml", "asyncio", "http.client", "urllib.request", "email", "ssl", "subprocess", "logging", "argparse",
    "concurrent.futures", "importlib.metadata", "unittest", "aiohttp", "psutil", "pyroute2",
    "minipod.cli.jsonpath", "minipod.cli.formats", "minipod.cli.websocket", "minipod.cli.manifests", "tempfile",
    "minipod.api", "minipod.client",
}  # fmt: skip


def test_get_imports_little(server: FakeApiServer, root: Path) -> None:
    server.put("pods", pod())
    loaded = modules_loaded("get", "pods", root=root)
    assert not loaded & HEAVY
    assert len(loaded) < 150, "every module costs a third of a millisecond"


def test_apply_adds_yaml_and_little_else(server: FakeApiServer, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: nginx}\nspec: {}\n")
    server.on_write = lambda fake, _what, made: (
        fake.put("pods", {**made, "status": pod()["status"]}) and None
    )
    loaded = modules_loaded("apply", "-f", str(path), "--until-ready", root=root)
    assert loaded & HEAVY == {"yaml", "minipod.cli.manifests"}


def test_global_flags_stand_anywhere(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod("a", "lab"))
    for words in (
        ("-n", "lab", "get", "pods"),
        ("get", "-n=lab", "pods"),
        ("get", "pods", "--namespace=lab"),
    ):
        assert "a      Running" in minipod(*words).out


def test_flags_in_kubectls_spellings(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    for words in (
        ("-oname",),
        ("-o=name",),
        ("-o", "name"),
        ("--output=name",),
        ("--no-headers=true", "-o=name"),
    ):
        assert minipod("get", "pods", *words).out == "pod/nginx\n"
    assert minipod("get", "pods", "--no-headers=false").out.startswith("NAME")
    assert minipod("get", "pods", "--no-headers=maybe").err.startswith(
        'error: invalid argument "maybe"'
    )


def test_usage_errors(minipod: Minipod) -> None:
    assert minipod("get", "pods", "--frob").err == (
        "error: unknown flag: --frob\nSee 'minipod get --help' for usage.\n"
    )
    assert "unknown shorthand flag: 'z' in -z" in minipod("get", "pods", "-z").err
    assert minipod("apply", "-f").err == (
        "error: flag needs an argument: -f\nSee 'minipod apply --help' for usage.\n"
    )
    assert minipod("logs", "--tail=x", "nginx").err.startswith(
        'error: invalid argument for "--tail"'
    )
    assert minipod("gte", "pods").err == (
        'error: unknown command "gte" for "minipod"\n\nDid you mean this?\n\tget\n'
    )
    assert minipod("get").code == 1
    assert minipod("delete").err.startswith("error: You must provide one or more resources")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_flags_without_meaning_are_refused_by_name(minipod: Minipod, name: str) -> None:
    ended = minipod("get", "pods", name, "x")
    assert ended.code == 1
    assert ended.err == f"error: {name} makes no sense here: {REFUSED[name]}\n"


def test_no_traceback_ever_unless_asked_for(server: FakeApiServer, root: Path) -> None:
    server.answers["/api/v1/namespaces/default/pods"] = (200, b'{"kind": "Table", "rows": 3}')
    command = [sys.executable, "-m", "minipod.cli", "--root", str(root), "get", "pods"]
    quiet = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert quiet.returncode == 1
    assert quiet.stderr.count("\n") == 1
    loud_env = {**os.environ, "MINIPOD_DEBUG": "1"}
    loud = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, env=loud_env
    )
    assert "Traceback" in loud.stderr


def test_odd_answers_are_errors(server: FakeApiServer, minipod: Minipod) -> None:
    path = "/api/v1/namespaces/default/pods"
    server.answers[path] = (200, b"<html>")
    assert "is not JSON" in minipod("get", "pods").err
    server.answers[path] = (502, b"Bad Gateway")
    assert minipod("get", "pods").err == f"Error from server: GET {path}: 502: Bad Gateway\n"


def test_a_closed_pipe_is_silent(server: FakeApiServer, root: Path) -> None:
    for number in range(2000):
        server.put("pods", pod(f"pod-{number}"))
    command = f"{sys.executable} -m minipod.cli --root {root} get pods; echo $? >&2"
    ended = subprocess.run(
        ["bash", "-c", f"({command}) | true"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.stderr == "141\n"


def test_ctrl_c_is_silent(server: FakeApiServer, root: Path) -> None:
    # a shell that puts the tests into the background has them, and their children, ignore interrupts
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    module = "import runpy; runpy.run_module('minipod.cli', run_name='__main__')"
    code = f"{heed}; {module}"
    command = [sys.executable, "-c", code, "--root", str(root), "get", "pods", "-w"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        server.wait_for_request(lambda each: "watch" in each.query)
        process.send_signal(2)
        assert process.communicate(timeout=10) == (b"", b"")
        assert process.returncode == 130


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_is_not_root_is_told_so(
    server: FakeApiServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # all is imported before: somebody else may not be able to read this checkout
    imports = "import os, sys, minipod.cli.completion, minipod.cli.commands.get"
    code = f"{imports}; from minipod.cli.main import run; os.setuid(65534); sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--root", str(root), "get", "pods"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 1
    assert ended.stderr == (
        f'error: may not open "{root}/run/api.sock": minipod talks to root only; run this with sudo\n'
    )


def test_a_server_that_does_not_answer(server: FakeApiServer, minipod: Minipod) -> None:
    ended = minipod("get", "pods", "--watch-only", "--request-timeout=50ms")
    assert (ended.code, ended.err) == (1, "error: timed out waiting for the server\n")


def test_requests_are_shown_at_level_6(server: FakeApiServer, minipod: Minipod) -> None:
    assert "GET /api/v1/namespaces/default/pods 200 in " in minipod("get", "pods", "-v=6").err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("minipod ge", ["get"]),
        ("minipod get po", ["pods"]),
        ("minipod get pods ng", ["nginx"]),
        ("minipod get pod/", ["pod/nginx", "pod/other"]),
        ("minipod logs n", ["nginx"]),
        ("minipod logs nginx -c ", ["app"]),
        ("minipod -n ", ["default", "lab"]),
    ],
)
def test_completion_of_live_names(
    server: FakeApiServer, root: Path, line: str, expected: list[str]
) -> None:
    server.put("pods", pod())
    server.put("pods", pod("other"))
    for name in ("default", "lab"):
        server.put("namespaces", {"metadata": {"name": name}})
    words = line.split(" ")
    environment = {
        **os.environ,
        "MINIPOD_ROOT": str(root),
        "_MINIPOD_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "minipod.cli"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=environment,
    )
    assert sorted(each.partition(",")[2] for each in ended.stdout.split()) == expected


@pytest.mark.parametrize(
    ("shell", "line", "expected"),
    [
        ("bash", "minipod get pods -o ", ["wide", "yaml", "json", "name", *TEMPLATED]),
        ("bash", "minipod get pods -o y", ["yaml"]),
        ("bash", "minipod get pods -o = y", ["yaml"]),
        ("bash", "minipod apply --output = ", ["yaml", "json", "name", *TEMPLATED]),
        ("bash", "minipod apply --dry-run = s", ["server"]),
        ("bash", "minipod delete pod x --cascade =", ["background", "foreground", "orphan"]),
        ("bash", "minipod completion z", ["zsh"]),
        ("zsh", "minipod get pods -o y", ["yaml"]),
        ("zsh", "minipod get pods --output=y", ["--output=yaml"]),
        ("fish", "minipod run x --restart=", [f"--restart={each}" for each in POLICIES]),
    ],
)
def test_completion_of_values(shell: str, line: str, expected: list[str]) -> None:
    words = line.split(" ")
    environment = {**os.environ, "_MINIPOD_COMPLETE": f"{shell}_complete", "COMP_WORDS": line}
    environment["COMP_CWORD"] = words[-1] if shell == "fish" else str(len(words) - 1)
    code = "import sys; from minipod.cli.main import run; run([]); print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env=environment,
    )
    lines = ended.stdout.split()
    told = lines[1::3] if shell == "zsh" else [each.partition(",")[2] for each in lines]
    assert told == expected
    slow = {"yaml", "http.client", "minipod.api.patch", "aiohttp"}
    assert not slow & set(ended.stderr.split())


def test_bash_itself_completes_a_value(minipod: Minipod, tmp_path: Path) -> None:
    (tmp_path / "minipod").write_text(f'#!/bin/sh\nexec {sys.executable} -m minipod.cli "$@"\n')
    (tmp_path / "minipod").chmod(0o755)
    (tmp_path / "script").write_text(minipod("completion", "bash").out)
    fill = 'COMP_WORDS=(minipod get -o "$1") COMP_CWORD=3; _minipod_completion minipod'
    code = f"compopt() {{ echo $@; }}; . {tmp_path}/script; {fill}; echo ${{COMPREPLY[@]}}"
    told_of = {"y": "yaml\n", "js": "json jsonpath=\n", "cu": "-o nospace\n", "nothing": "\n"}
    for typed, told in told_of.items():
        ended = subprocess.run(
            ["bash", "-u", "-c", code, "bash", typed],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )
        assert ended.stdout.startswith(told), ended.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(minipod: Minipod, shell: str) -> None:
    assert "_MINIPOD_COMPLETE" in minipod("completion", shell).out
    assert minipod("completion", "tcsh").code == 1


def test_version_and_config_need_no_server(minipod: Minipod, root: Path) -> None:
    assert minipod("version", "--client").out.startswith("Client Version: v")
    assert f"server: unix://{root}/run/api.sock\n" in minipod("config", "view").out


def test_explain(minipod: Minipod) -> None:
    out = minipod("explain", "pod.spec.containers").out
    assert out.startswith(
        "KIND:       Pod\nVERSION:    v1\n\nFIELD: containers <[]Container>\n\nDESCRIPTION:\n"
    )
    assert "  name\t<string> -required-\n" in out
    assert 'error: field "x" does not exist' in minipod("explain", "pod.spec.x").err
    assert (
        "  containerPort\t<integer> -required-"
        in minipod("explain", "pod.spec.containers.ports", "--recursive").out
    )


def test_api_resources(server: FakeApiServer, minipod: Minipod) -> None:
    lines = minipod("api-resources").out.splitlines()
    assert lines[0].split() == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    assert ["pods", "po", "v1", "true", "Pod"] in [line.split() for line in lines]
    assert "pods/status" not in minipod("api-resources", "-o", "name").out
    assert minipod("api-resources", "--namespaced=false", "-o", "name").out == "namespaces\nnodes\n"
