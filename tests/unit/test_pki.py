"""The authority: made once, completed after any crash, renewed in time, readable by its owner alone."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from minipod.pki import Authority, PkiError, ensure_key, write_file

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES, ADDRESSES = ("localhost", "kubernetes"), ("127.0.0.1",)


def made(directory: Path, now: datetime = NOW) -> Authority:
    authority = Authority(directory / "pki")
    authority.ensure(now)
    authority.ensure_server(NAMES, ADDRESSES, now)
    return authority


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(authority: Authority) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in authority.directory.iterdir()}


def test_done_twice_changes_nothing(tmp_path: Path) -> None:
    before = contents(made(tmp_path))
    assert contents(made(tmp_path)) == before
    assert sorted(before) == ["apiserver.crt", "apiserver.key", "ca.crt", "ca.key"]


def test_only_the_owner_reads_the_keys(tmp_path: Path) -> None:
    directory = made(tmp_path).directory
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.glob("*.key")} == {0o600}


@pytest.mark.parametrize("lost", ["ca.crt", "apiserver.crt", "apiserver.key"])
def test_what_is_missing_after_a_crash_is_made_again(tmp_path: Path, lost: str) -> None:
    authority = made(tmp_path)
    ca_key = (authority.directory / "ca.key").read_bytes()
    (authority.directory / lost).unlink()
    (authority.directory / ".ca.crt.0123456789ab").write_bytes(b"half")
    made(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server_paths)  # refuses a key that does not fit
    certificate(authority.server_paths[0]).verify_directly_issued_by(
        certificate(authority.certificate_path)
    )
    assert (authority.directory / "ca.key").read_bytes() == ca_key
    assert not list(authority.directory.glob(".*"))


def test_a_damaged_certificate_is_replaced_and_a_damaged_key_is_told_of(tmp_path: Path) -> None:
    authority = made(tmp_path)
    authority.certificate_path.write_text("nonsense")
    made(tmp_path)
    assert certificate(authority.certificate_path)
    (authority.directory / "ca.key").write_text("nonsense")
    with pytest.raises(
        PkiError, match=r'ca.key" holds no usable private key; restore or remove it'
    ):
        made(tmp_path)


def test_the_servers_certificate_is_renewed_after_two_thirds_of_its_life(tmp_path: Path) -> None:
    authority = made(tmp_path)
    assert not authority.ensure_server(NAMES, ADDRESSES, NOW + timedelta(days=242))
    assert authority.ensure_server(NAMES, ADDRESSES, NOW + timedelta(days=244))
    assert authority.due() > NOW + timedelta(days=400)


def test_other_names_make_another_certificate(tmp_path: Path) -> None:
    authority = made(tmp_path)
    assert authority.ensure_server((*NAMES, "more"), ADDRESSES, NOW)
    assert authority.ensure_server((*NAMES, "more"), (*ADDRESSES, "10.0.0.1"), NOW)
    assert not authority.ensure_server((*NAMES, "more"), (*ADDRESSES, "10.0.0.1"), NOW)


def test_a_renewed_authority_still_vouches_for_what_it_signed(tmp_path: Path) -> None:
    authority = made(tmp_path)
    old = authority.issue_client("jane", (), NOW)
    first = authority.certificate_pem()
    authority.ensure(NOW + timedelta(days=2500))
    assert authority.certificate_pem() != first
    client = x509.load_pem_x509_certificate(old.certificate)
    client.verify_directly_issued_by(certificate(authority.certificate_path))


def test_another_authoritys_server_certificate_does_not_stay(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    for mine, foreign in zip(one.server_paths, other.server_paths, strict=True):
        write_file(mine, foreign.read_bytes(), 0o600)
    assert one.ensure_server(NAMES, ADDRESSES, NOW)


def test_a_client_certificate_names_user_and_groups(tmp_path: Path) -> None:
    pair = made(tmp_path).issue_client("jane", ("dev", "ops"), NOW, timedelta(hours=1))
    found = x509.load_pem_x509_certificate(pair.certificate)
    assert found.subject.rfc4514_string() == "CN=jane,O=ops,O=dev"
    assert found.not_valid_after_utc == NOW + timedelta(hours=1)


@pytest.mark.parametrize("user", ["", "x" * 65])
def test_a_user_that_no_certificate_can_name_is_told_of(tmp_path: Path, user: str) -> None:
    with pytest.raises(PkiError, match="user and groups have 1 to 64 characters each"):
        made(tmp_path).issue_client(user, (), NOW)


def test_a_key_is_made_once(tmp_path: Path) -> None:
    first = ensure_key(tmp_path / "sa.key").private_numbers()
    assert ensure_key(tmp_path / "sa.key").private_numbers() == first
