"""EncryptionConfiguration: what is refused and how, which provider writes and which reads."""

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from minipod.server.encryption import EncryptionError, parse_encryption, read_encryption
from minipod.store import Unopened

ONE, TWO = b"1" * 32, b"2" * 16
PLACE, VALUE = "/secrets/default/db", b'{"data": {"password": "aHVudGVyMg=="}}'


def _keys(*secrets: bytes) -> dict[str, Any]:
    names = ("one", "two", "three")
    return {
        "keys": [
            {"name": f"key-{names[i]}", "secret": base64.b64encode(secret).decode()}
            for i, secret in enumerate(secrets)
        ]
    }


def _config(*entries: tuple[list[str], list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": names, "providers": made} for names, made in entries],
    }


def _seal(*providers: dict[str, Any], names: tuple[str, ...] = ("secrets",)) -> Any:
    return parse_encryption(_config((list(names), list(providers))))


@pytest.mark.parametrize("cipher", ["aesgcm", "aescbc"])
@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_value_is_closed_as_upstream_stores_it_and_opened(cipher: str, size: int) -> None:
    seal = _seal({cipher: _keys(ONE[:size])})
    stored = seal.close(PLACE, VALUE)
    assert stored.startswith(f"k8s:enc:{cipher}:v1:key-one:".encode())
    assert b"password" not in stored
    assert seal.close(PLACE, VALUE) != stored
    assert seal.open(PLACE, stored).value == VALUE
    assert not seal.open(PLACE, stored).stale


def test_the_store_key_is_authenticated() -> None:
    seal = _seal({"aesgcm": _keys(ONE)})
    stored = seal.close(PLACE, VALUE)
    rest = stored[len(b"k8s:enc:aesgcm:v1:key-one:") :]
    assert AESGCM(ONE).decrypt(rest[:12], rest[12:], PLACE.encode()) == VALUE
    with pytest.raises(Unopened, match='aesgcm key "key-one" does not open it'):
        seal.open("/secrets/default/other", stored)
    with pytest.raises(Unopened):
        seal.open(PLACE, stored[:-1] + bytes([stored[-1] ^ 1]))


def test_the_first_key_writes_and_all_of_them_read() -> None:
    old = _seal({"aesgcm": _keys(ONE)}).close(PLACE, VALUE)
    config = _config((["secrets"], [{"aesgcm": _keys(ONE)}, {"identity": {}}]))
    config["resources"][0]["providers"][0]["aesgcm"]["keys"].insert(
        0, {"name": "new", "secret": base64.b64encode(TWO).decode()}
    )
    rotated = parse_encryption(config)
    opened = rotated.open(PLACE, old)
    assert (opened.value, opened.stale) == (VALUE, True)
    assert rotated.close(PLACE, VALUE).startswith(b"k8s:enc:aesgcm:v1:new:")
    assert rotated.open(PLACE, VALUE).stale  # what identity had written
    with pytest.raises(Unopened, match='aesgcm key "key-one", which is not configured'):
        _renamed().open(PLACE, old)


def _renamed() -> Any:
    secret = base64.b64encode(TWO).decode()
    return _seal({"aesgcm": {"keys": [{"name": "new", "secret": secret}]}})


def test_a_provider_that_is_missing_is_named() -> None:
    stored = _seal({"aesgcm": _keys(ONE)}).close(PLACE, VALUE)
    with pytest.raises(Unopened, match='by "aesgcm"'):
        _seal({"identity": {}}).open(PLACE, stored)
    with pytest.raises(Unopened, match="lack identity"):
        _seal({"aesgcm": _keys(ONE)}).open(PLACE, VALUE)


@pytest.mark.parametrize(
    ("names", "encrypted", "plain"),
    [
        (["secrets"], ["/secrets/a/b"], ["/configmaps/a/b", "/secrets.example.org/a/b"]),
        (["*."], ["/secrets/a/b", "/nodes/n"], ["/deployments.apps/a/b"]),
        (["*.apps"], ["/deployments.apps/a/b"], ["/secrets/a/b", "/jobs.batch/a/b"]),
        (["*.*"], ["/secrets/a/b", "/deployments.apps/a/b"], []),
        (["deployments.apps"], ["/deployments.apps/a/b"], ["/daemonsets.apps/a/b"]),
    ],
)
def test_resources_and_wildcards(names: list[str], encrypted: list[str], plain: list[str]) -> None:
    seal = _seal({"aesgcm": _keys(ONE)}, names=tuple(names))
    for key in encrypted:
        assert seal.close(key, VALUE) != VALUE
    for key in plain:
        assert seal.close(key, VALUE) == VALUE


def test_the_first_entry_that_matches_decides() -> None:
    seal = parse_encryption(
        _config(
            (["events"], [{"identity": {}}]),
            (["*.*"], [{"aesgcm": _keys(ONE)}]),
        )
    )
    assert seal.close("/events/a/b", VALUE) == VALUE
    assert seal.close("/secrets/a/b", VALUE) != VALUE


_GCM = {"aesgcm": _keys(ONE)}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "it is no EncryptionConfiguration"),
        (_config(), "resources: Required value"),
        (_config(([], [_GCM])), r"resources\[0\].resources: Required value"),
        (_config((["secrets"], [])), r"resources\[0\].providers: Required value"),
        (_config((["*"], [_GCM])), r"resources\[0\].resources\[0\]: Invalid value: \"\*\": use"),
        (_config((["Secrets"], [_GCM])), "capital letters"),
        (_config((["secrets.*"], [_GCM])), "across groups"),
        (_config((["secrets", "secrets"], [_GCM])), "multiple times"),
        (_config((["secrets", "*."], [_GCM])), "overlaps"),
        (_config((["secrets", "*.*"], [_GCM])), "overlaps"),
        (_config((["events.events.k8s.io"], [_GCM])), "use events"),
        (_config((["secrets"], [{"kms": {}}])), r"providers\[0\].kms: Forbidden"),
        (_config((["secrets"], [{"secretbox": {}}])), r"providers\[0\].secretbox: Forbidden"),
        (_config((["secrets"], [{"rot13": {}}])), 'unknown field "resources.0..providers.0..rot13'),
        (_config((["secrets"], [{**_GCM, "identity": {}}])), "one provider"),
        (_config((["secrets"], [{"aesgcm": {"keys": []}}])), r"aesgcm.keys: Required"),
        (_config((["secrets"], [{"aesgcm": {"keys": [{"name": "a"}]}}])), r"\.secret: Required"),
    ],
)
def test_what_cannot_be_used_is_refused_by_field(config: Any, message: str) -> None:
    with pytest.raises(EncryptionError, match=message):
        parse_encryption(config)


@pytest.mark.parametrize(
    ("secret", "message"),
    [("not base64!", "must be base64 encoded"), ("c2hvcnQ=", "got 5, expected one of")],
)
def test_a_bad_key_is_told_without_the_key(tmp_path: Path, secret: str, message: str) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
        "- resources: [secrets]\n  providers:\n  - aesgcm:\n      keys:\n"
        f"      - {{name: one, secret: {secret}}}\n"
    )
    with pytest.raises(EncryptionError, match=message) as told:
        read_encryption(file)
    assert str(file) in str(told.value)
    assert r"resources[0].providers[0].aesgcm.keys[0].secret" in str(told.value)
    assert secret not in str(told.value)
    file.write_text(f"a: {{secret: {secret}\n  b: [")
    with pytest.raises(EncryptionError, match="line ") as told:
        read_encryption(file)
    assert secret not in str(told.value)
