"""Client certificates as credentials: the common name is the user, the organizations are its groups.

The TLS library has checked the chain and the purpose by the time a request is here; dates are checked with every
request, since a connection may outlive its certificate. Upstream's x509 authenticator (apiserver
authentication/request/x509) is the model.
"""

import hashlib
import ssl
from typing import Any

from minipod.server.identity import AUTHENTICATED, Identity

_UID = "1.3.6.1.4.1.57683.2"  # upstream's object identifier of a user's UID in a subject
_CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


class BadCertificate(Exception):
    """A client certificate was shown that counts for nothing."""


def identify_certificate(connection: ssl.SSLObject, now: float) -> Identity | None:
    """Return who the client's certificate says it is; None when it showed none. Raises BadCertificate."""
    found = connection.getpeercert()
    if not found:
        return None
    _check_dates(found, now)
    subject: list[tuple[str, str]] = [pair for names in found["subject"] for pair in names]  # type: ignore[misc]
    user = [value for name, value in subject if name == "commonName"]
    if not user or not user[-1]:
        raise BadCertificate("the certificate has no common name")
    groups = [value for name, value in subject if name == "organizationName"]
    uid = [value for name, value in subject if name == _UID]
    if len(uid) > 1:
        raise BadCertificate("the certificate has more than one user ID")
    digest = hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()
    return Identity(
        user[-1],
        (*groups, AUTHENTICATED),
        uid[0] if uid else "",
        {_CREDENTIAL_ID: (f"X509SHA256={digest}",)},
    )


def _check_dates(found: dict[str, Any], now: float) -> None:
    begin = ssl.cert_time_to_seconds(str(found["notBefore"]))
    end = ssl.cert_time_to_seconds(str(found["notAfter"]))
    if not begin <= now <= end:
        raise BadCertificate("the certificate has expired or is not valid yet")
