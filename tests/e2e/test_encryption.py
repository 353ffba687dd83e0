"""Secrets at rest: what the disk holds, keys that are exchanged, and a key that is missing."""

import base64
import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance
from tests.e2e.kubectl import Kubectl, find_kubectls, kubeconfig
from tests.e2e.pods import IDLE, container, inside, pod, wait_phase

pytestmark = pytest.mark.skipif(not find_kubectls(), reason="needs kubectl")
PASSWORD = "correct-horse-battery"
ENCODED = base64.b64encode(PASSWORD.encode())


def _write(file: Path, *providers: dict[str, Any]) -> None:
    config = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": list(providers)}],
    }
    file.write_text(json.dumps(config))
    file.chmod(0o600)


def _aesgcm(**keys: bytes) -> dict[str, Any]:
    named = [{"name": n, "secret": base64.b64encode(k).decode()} for n, k in keys.items()]
    return {"aesgcm": {"keys": named}}


def _on_disk(instance: Instance) -> bytes:
    """Return all that the store has on the disk: the database and its log."""
    return b"".join(each.read_bytes() for each in instance.layout.state.glob("store.db*"))


def _restart(instance: Instance) -> None:
    instance.down(pods=False)
    instance.up()


def test_secrets_are_unreadable_on_the_disk_and_keys_can_be_exchanged(
    make_instance: Callable[..., Instance], tmp_path: Path
) -> None:
    file = tmp_path / "encryption.yaml"
    one, two = os.urandom(32), os.urandom(32)
    instance = make_instance()
    instance.up()
    instance.run("create", "secret", "generic", "old", f"--from-literal=password={PASSWORD}")
    assert ENCODED in _on_disk(instance)

    _write(file, _aesgcm(one=one), {"identity": {}})
    instance.options += ("--encryption-provider-config", str(file))
    _restart(instance)
    instance.run("create", "secret", "generic", "db", f"--from-literal=password={PASSWORD}")
    assert b"k8s:enc:aesgcm:v1:one:" in _on_disk(instance)
    variable = {
        "name": "PASSWORD",
        "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}},
    }
    instance.apply(pod("reader", container("c0", IDLE, env=[variable])))
    wait_phase(instance, "reader", "Running")
    assert inside(instance, "reader", "echo $PASSWORD").strip() == PASSWORD

    _write(file, _aesgcm(two=two, one=one), {"identity": {}})
    _restart(instance)
    kubectl = Kubectl(find_kubectls()[-1], kubeconfig(instance, tmp_path))
    everything = kubectl.out("get", "secrets", "-A", "-o", "json")
    kubectl.run("replace", "-f", "-", text=everything)
    newest = _newest(instance)
    assert len(newest) >= 2
    assert all(value.startswith(b"k8s:enc:aesgcm:v1:two:") for value in newest.values()), newest
    _write(file, _aesgcm(two=two))
    _restart(instance)
    for name in ("old", "db"):
        assert instance.get("secret", name)["data"]["password"] == ENCODED.decode()
    assert inside(instance, "reader", "echo $PASSWORD").strip() == PASSWORD

    three = os.urandom(32)
    _write(file, _aesgcm(three=three))
    _restart(instance)
    _without_its_key(instance, kubectl)

    instance.down(pods=False)
    text = file.read_text().replace('"secret": "', '"secret": "!')
    file.write_text(text)
    refused = instance.run("up", *instance.options, check=False)
    assert refused.returncode != 0
    assert 'keys[0].secret: Invalid value: "REDACTED"' in refused.stderr
    assert "Traceback" not in refused.stderr

    _write(file, _aesgcm(two=two, three=three))
    instance.up()
    assert len(instance.get("secrets", "-A")["items"]) >= 3
    assert instance.get("secret", "db")["data"]["password"] == ENCODED.decode()
    instance.down()


def _without_its_key(instance: Instance, kubectl: Kubectl) -> None:
    """What is said of a Secret whose key is not configured; everything else goes on."""
    said = kubectl.refused("get", "secret", "db")
    assert 'unable to transform key "/secrets/default/db"' in said
    assert 'aesgcm key "two", which is not configured' in said
    assert "unable to transform key" in kubectl.refused("get", "secrets", "-A")
    assert "unable to transform key" in kubectl.refused(
        "create", "secret", "generic", "db", "--from-literal=password=other"
    )
    assert "unable to transform key" in kubectl.refused("delete", "secret", "db")
    assert PASSWORD not in instance.daemon_log()
    assert 'unable to transform key "/secrets/default/db"' in instance.daemon_log()
    kubectl.run("create", "secret", "generic", "new", "--from-literal=a=b")  # the rest goes on
    assert inside(instance, "reader", "echo $PASSWORD").strip() == PASSWORD


def _newest(instance: Instance) -> dict[str, bytes]:
    """Return the stored values of all Secrets, as a reader of the file finds them."""
    import sqlite3

    path = f"file:{instance.layout.database}?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as connection:
        found = connection.execute(
            "SELECT key, value FROM log WHERE key LIKE '/secrets/%' AND NOT deleted ORDER BY revision"
        )
        return dict(found.fetchall())
