"""Which credentials fit which image, and that a damaged file shows no secret."""

import json

import pytest

from minipod.image.credentials import Credential, merge, parse_auths, select, to_config
from minipod.image.errors import ImageError
from minipod.image.names import parse_reference
from minipod.image.registries import Registry, endpoints, parse_registries


@pytest.mark.parametrize(
    ("key", "image", "fits"),
    [
        ("https://index.docker.io/v1/", "nginx", True),
        ("docker.io", "team/app", True),
        ("docker.io/team", "team/app", True),
        ("docker.io/tea", "team/app", False),
        ("*.example.com", "registry.example.com/a", True),
        ("*.example.com", "a.b.example.com/a", False),
        ("example.com", "example.com:5000/a", False),
        ("example.com:5000", "example.com:5000/a", True),
        ("https://example.com/v2/", "example.com/a", True),
        ("example.com/a/b", "example.com/a/b/c", True),
        ("example.com/a/b", "example.com/a", False),
    ],
)
def test_keys(key: str, image: str, fits: bool) -> None:
    keyring = parse_auths(json.dumps({"auths": {key: {"username": "u", "password": "p"}}}), "f")
    assert bool(select(keyring, parse_reference(image))) is fits


def test_the_longest_key_comes_first_and_survives_the_way_to_the_process() -> None:
    auths = {"e.com": {"auth": "dTpw"}, "e.com/deep": {"identitytoken": "t"}}
    keyring = merge([parse_auths(json.dumps({"auths": auths}), "f")])
    wanted = [Credential(identity_token="t"), Credential("u", "p")]
    assert select(keyring, parse_reference("e.com/deep/app")) == wanted
    assert parse_auths(to_config(keyring), "f") == keyring


def test_all_that_fit_are_handed_on_though_their_keys_are_the_same() -> None:
    each = [Credential("one", "1"), Credential("two", "2"), Credential(registry_token="3")]
    keyring = tuple(("r.example:5000", credential) for credential in each)
    again = parse_auths(to_config(keyring), "f")
    assert select(again, parse_reference("r.example:5000/app")) == each


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"auths": [1]}', '{"auths": {"a": 5}}', '{"auths": {"a": {"auth": "geheim"}}}'],
)
def test_what_is_damaged_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ImageError, match=r"^secret s") as refused:
        parse_auths(text, "secret s")
    assert "geheim" not in str(refused.value)


def test_credentials_are_not_shown() -> None:
    assert "p4ss" not in repr(Credential("user", "p4ss", "p4ss", "p4ss"))


@pytest.mark.parametrize(
    ("domain", "registry", "expected"),
    [
        ("docker.io", Registry(), ("https://registry-1.docker.io",)),
        ("r.example", Registry(plain_http=True), ("http://r.example",)),
        ("localhost:5000", Registry(), ("https://localhost:5000", "http://localhost:5000")),
        ("127.9.9.9", Registry(), ("https://127.9.9.9", "http://127.9.9.9")),
        ("[::1]:5000", Registry(), ("https://[::1]:5000", "http://[::1]:5000")),
        ("10.0.0.1:5000", Registry(), ("https://10.0.0.1:5000",)),
        ("r.example", Registry(("http://m",), only_mirrors=True), ("http://m",)),
        ("r.example", Registry(("http://m",)), ("http://m", "https://r.example")),
    ],
)
def test_endpoints(domain: str, registry: Registry, expected: tuple[str, ...]) -> None:
    assert endpoints(domain, registry) == expected


def test_registries_are_read() -> None:
    text = '["a.example"]\nmirrors = ["http://m/"]\nca = "/x"\n["b"]\nplain_http = true\n'
    assert parse_registries(text, "f") == {
        "a.example": Registry(("http://m",), ca="/x"),
        "b": Registry(plain_http=True),
    }
