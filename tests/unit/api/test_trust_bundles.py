"""ClusterTrustBundles: what may be in one, and what it may be called."""

from typing import Any

import pytest

from minipod.api import pem
from minipod.api.hooks.certificates import HOOKS
from tests.authorities import make_authority

ONE, TWO = make_authority("one"), make_authority("two")


def _bundle(name: str = "roots", text: str = ONE, signer: str = "") -> dict[str, Any]:
    spec = {"trustBundle": text, **({"signerName": signer} if signer else {})}
    return {"metadata": {"name": name}, "spec": spec}


def _complaints(bundle: dict[str, Any]) -> list[str]:
    return [str(each) for each in HOOKS.validate_create(bundle)]


@pytest.mark.parametrize(
    "bundle",
    [
        _bundle(),
        _bundle(text=f"a comment\n{ONE}\n# another\n{TWO}"),
        _bundle(text=ONE.replace("\n", "\r\n")),
        _bundle("example.com:ca:v1", signer="example.com/ca"),
    ],
)
def test_certificates_of_authorities_are_valid(bundle: dict[str, Any]) -> None:
    assert _complaints(bundle) == []


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        (_bundle(text=""), "at least one trust anchor must be provided"),
        (_bundle(text="nothing"), "at least one trust anchor must be provided"),
        (_bundle(text=ONE + TWO + ONE), "duplicate trust anchor (indices [0 2])"),
        (_bundle(text=make_authority(authority=False)), "entry 0 does not have the CA bit set"),
        (_bundle(text=ONE + pem.encode("CERTIFICATE", b"x")), "entry 1 does not parse as X.509"),
        (_bundle(text=pem.encode("PRIVATE KEY", b"x")), "entry 0 has bad block type: PRIVATE KEY"),
        (
            _bundle(text=ONE.replace("CERTIFICATE-----\n", "CERTIFICATE-----\nA: b\n\n", 1)),
            "entry 0 has PEM block headers",
        ),
        (_bundle(text="x" * ((1 << 20) + 1)), "Too long: may not be more than 1048576 bytes"),
        (_bundle("a:b"), 'without signer name must not have ":" in its name'),
        (_bundle("roots", signer="example.com/ca"), "must be named with prefix example.com:ca:"),
        (_bundle("example.com:ca:_", signer="example.com/ca"), "a lowercase RFC 1123 subdomain"),
        (_bundle("ca:x", signer="ca"), "a fully qualified domain and path"),
        (_bundle("a.b:c:d:x", signer="a.b/c/d"), "a fully qualified domain and path"),
        (_bundle("a.b:C:x", signer="a.b/C"), 'Invalid value: "C": validating label "C": '),
    ],
)
def test_anything_else_is_refused(bundle: dict[str, Any], message: str) -> None:
    assert any(message in each for each in _complaints(bundle)), _complaints(bundle)
    assert all("-----BEGIN" not in each for each in _complaints(bundle))


def test_the_name_is_judged_before_the_signer() -> None:
    fields = [each.partition(":")[0] for each in _complaints(_bundle("x", signer="ca"))]
    assert fields == ["metadata.name", "spec.signerName"]


def test_the_signer_stays() -> None:
    old, new = _bundle("example.com:ca:v1", signer="example.com/ca"), _bundle("roots")
    assert "spec.signerName" in str(HOOKS.validate_update(new, old)[-1])
    assert HOOKS.fields(old) == {"spec.signerName": "example.com/ca"}


def test_pem_is_read_and_written() -> None:
    text = pem.encode("CERTIFICATE", bytes(range(256)))
    assert [block.data for block in pem.blocks(text)] == [bytes(range(256))]
    assert max(map(len, text.splitlines())) == 64
