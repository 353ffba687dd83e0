"""The root's certificate authority: one key that vouches for the server and for its clients.

    STATE/pki/ca.key, ca.crt                  the authority (RFC 5280), EC P-256
    STATE/pki/apiserver.key, apiserver.crt    what the API server shows
    STATE/pki/sa.key                          signs service account tokens
    STATE/pki/clients/NAME.key, NAME.crt      client certificates that a kubeconfig refers to

A key is written before the certificate that is made from it, each whole or not at all (rename(2)), so that a start
that was killed between any two steps is completed by the next: a certificate that is missing, does not fit its key,
names other hosts than wanted or is near its end is made anew. Renewing the authority keeps its key, and with it
everything that it has signed. Only the owner can read the keys.

Standard library and `cryptography` alone; imported by the daemon, and by the command line for `minipod kubeconfig`.
"""

import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
_BACKDATED = timedelta(minutes=5)  # for clients whose clock is behind
PrivateKey = ec.EllipticCurvePrivateKey


class PkiError(ValueError):
    """The authority's files cannot be used; the message is one line."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """The authority kept in one directory. `ensure` makes or completes it, and everything else needs it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def certificate_path(self) -> Path:
        """What clients trust."""
        return self.directory / "ca.crt"

    @property
    def server_paths(self) -> tuple[Path, Path]:
        """The server's certificate and key."""
        return self.directory / "apiserver.crt", self.directory / "apiserver.key"

    def certificate_pem(self) -> bytes:
        """Return the authority's certificate. FileNotFoundError before `ensure`."""
        return self.certificate_path.read_bytes()

    def ensure(self, now: datetime) -> None:
        """Make the authority, or renew its certificate when less than a third of its life is left. Raises PkiError."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory.chmod(0o700)
        for leftover in self.directory.glob(".*"):  # of a start that was killed while writing
            leftover.unlink()
        key = ensure_key(self.directory / "ca.key")
        found = _load_certificate(self.certificate_path)
        if found is not None and found.public_key() == key.public_key() and not _is_due(found, now):
            return
        write_file(self.certificate_path, _pem(_self_signed(key, now)), 0o644)

    def ensure_server(self, names: Sequence[str], addresses: Sequence[str], now: datetime) -> bool:
        """Make the server's certificate where there is none that holds for these names; return whether it is new.

        Raises PkiError.
        """
        certificate, private = self.server_paths
        key = ensure_key(private)
        found = _load_certificate(certificate)
        ca = self._certificate()
        if (
            found is not None
            and _fits(found, key, ca, names, addresses)
            and not _is_due(found, now)
        ):
            return False
        made = self._sign(
            _name("kube-apiserver"),
            key.public_key(),
            now,
            LEAF_LIFETIME,
            ExtendedKeyUsageOID.SERVER_AUTH,
            alternatives=_alternatives(names, addresses),
        )
        write_file(certificate, _pem(made), 0o644)
        return True

    def issue_client(
        self, user: str, groups: Iterable[str], now: datetime, lifetime: timedelta = LEAF_LIFETIME
    ) -> Pair:
        """Return a new client certificate: the user is its common name, the groups its organizations."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._sign(
            _name(user, groups),
            key.public_key(),
            now,
            lifetime,
            ExtendedKeyUsageOID.CLIENT_AUTH,
        )
        return Pair(_pem(made), _key_pem(key))

    def sign_request(self, request: bytes, now: datetime, lifetime: timedelta) -> bytes:
        """Return a client certificate (PEM) for the subject and key of a request (PKCS #10). Raises PkiError."""
        try:
            parsed = x509.load_pem_x509_csr(request)
            sound = parsed.is_signature_valid
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise PkiError(f"the request cannot be read: {error}") from error
        if not sound:
            raise PkiError("the request is not signed by its own key")
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        return _pem(self._sign(parsed.subject, parsed.public_key(), now, lifetime, usage))

    def due(self) -> datetime:
        """Return when the first of the authority's and the server's certificates has to be made anew."""
        found = [self._certificate(), _load_certificate(self.server_paths[0])]
        return min(_renewal(each) for each in found if each is not None)

    def _sign(
        self,
        subject: x509.Name,
        public: CertificatePublicKeyTypes,
        now: datetime,
        lifetime: timedelta,
        usage: x509.ObjectIdentifier,
        *,
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> x509.Certificate:
        ca, key = self._certificate(), ensure_key(self.directory / "ca.key")
        until = min(now + lifetime, ca.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
            )
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(key, hashes.SHA256())

    def _certificate(self) -> x509.Certificate:
        found = _load_certificate(self.certificate_path)
        if found is None:
            raise PkiError(
                f'"{self.certificate_path}" is no certificate of this root; remove it and start minipod again'
            )
        return found


def ensure_key(path: Path) -> PrivateKey:
    """Return the private key at `path`, made where there is none. Raises PkiError for a file that holds none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        key = ec.generate_private_key(ec.SECP256R1())
        write_file(path, _key_pem(key), 0o600)
        return key
    try:
        found = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise PkiError(f'"{path}" holds no usable private key; restore or remove it') from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise PkiError(f'"{path}" holds no elliptic-curve key; restore or remove it')
    return found


def write_file(path: Path, data: bytes, mode: int) -> None:
    """Replace `path` by `data`, whole or not at all, and durably (rename(2), fsync(2))."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _self_signed(key: PrivateKey, now: datetime) -> x509.Certificate:
    name = _name("minipod-ca")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str, organizations: Iterable[str] = ()) -> x509.Name:
    """Return a distinguished name. Raises PkiError for what does not fit into one (RFC 5280, appendix A.1)."""
    try:
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
        return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])
    except ValueError as error:
        raise PkiError(
            f'a certificate cannot name user "{common}": user and groups have 1 to 64 characters each'
        ) from error


def _alternatives(names: Sequence[str], addresses: Sequence[str]) -> x509.SubjectAlternativeName:
    hosts: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    hosts += [x509.IPAddress(ip_address(address)) for address in addresses]
    return x509.SubjectAlternativeName(hosts)


def _fits(
    found: x509.Certificate,
    key: PrivateKey,
    ca: x509.Certificate,
    names: Sequence[str],
    addresses: Sequence[str],
) -> bool:
    """Whether a server certificate is of this key, signed by this authority, and names these hosts."""
    if found.public_key() != key.public_key():
        return False
    try:
        found.verify_directly_issued_by(ca)
        held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, InvalidSignature, ValueError, TypeError):
        return False
    return set(held) == set(_alternatives(names, addresses))


def _load_certificate(path: Path) -> x509.Certificate | None:
    """Return the certificate at `path`, None when there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _renewal(found: x509.Certificate) -> datetime:
    """Return when two thirds of a certificate's life are over."""
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    return begin + (end - begin) * 2 / 3


def _is_due(found: x509.Certificate, now: datetime) -> bool:
    return now >= _renewal(found) or now < found.not_valid_before_utc


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def utc(seconds: float) -> datetime:
    """Return an instant of a clock as certificates have it."""
    return datetime.fromtimestamp(int(seconds), UTC)
