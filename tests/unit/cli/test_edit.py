"""edit, against a fake server; the editors are sed scripts."""

import shlex
from pathlib import Path

import pytest

from tests.fakes.apiserver import FakeApiServer
from tests.unit.cli.conftest import Minipod


@pytest.fixture
def settings(server: FakeApiServer) -> FakeApiServer:
    metadata = {"name": "settings", "namespace": "default"}
    server.put("configmaps", {"metadata": metadata, "data": {"colour": "blue", "size": "3"}})
    return server


def use(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setenv("KUBE_EDITOR", f"sed -i -e {shlex.quote(script)}")


def test_what_was_edited_is_sent_as_a_patch(
    settings: FakeApiServer, minipod: Minipod, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, "s/blue/red/; /size/d")
    ended = minipod("edit", "configmap", "settings")
    assert (ended.code, ended.out) == (0, "configmap/settings edited\n")
    [sent] = settings.writes()
    assert sent.body["data"] == {"colour": "red", "size": None}
    assert sent.query["fieldManager"] == ["kubectl-edit"]


def test_nothing_changed_is_nothing_sent(
    settings: FakeApiServer, minipod: Minipod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBE_EDITOR", "true")
    ended = minipod("edit", "configmap", "settings")
    assert (ended.code, ended.out) == (0, "Edit cancelled, no changes made.\n")
    assert not settings.writes()


def test_an_empty_file_gives_up(
    settings: FakeApiServer, minipod: Minipod, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, "/^[^#]/d")
    ended = minipod("edit", "configmap", "settings")
    assert (ended.code, ended.err) == (1, "error: Edit cancelled, saved file was empty\n")
    assert not settings.writes()


def test_what_makes_no_sense_is_shown_and_kept(
    settings: FakeApiServer, minipod: Minipod, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    use(monkeypatch, "s/name: settings/name: other/")
    ended = minipod("edit", "configmap", "settings")
    assert ended.code == 1
    assert ended.err.endswith("error: Edit cancelled, no valid changes were saved.\n")
    [kept] = tmp_path.iterdir()  # the file that was edited is gone
    assert kept.stat().st_mode & 0o077 == 0
    text = kept.read_text()
    assert "# error: apiVersion, kind, name, namespace may not be edited" in text
    assert "name: other" in text
    assert not settings.writes()


def test_an_editor_that_is_not_there(
    settings: FakeApiServer, minipod: Minipod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBE_EDITOR", "no-such-editor")
    ended = minipod("edit", "configmap", "settings")
    assert ended.code == 1
    assert ended.err.startswith('error: unable to launch the editor "no-such-editor": No such file')
