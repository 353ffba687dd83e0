"""A certificate and its private key, as Secrets of the type kubernetes.io/tls keep them: whether they belong together.

What is said is what Go's crypto/tls says (X509KeyPair), whose words upstream warns with.
"""

import base64
from typing import Any

Object = dict[str, Any]

_NO_PEM = "tls: failed to find any PEM data in {} input"


def warn_of_key_pair(secret: Object) -> list[str]:
    """Return why a Secret of that type serves nobody; nothing when it does."""
    if secret.get("type") != "kubernetes.io/tls":
        return []
    data = secret.get("data") or {}
    certificate, key = (base64.b64decode(data.get(name) or "") for name in ("tls.crt", "tls.key"))
    for what, text in (("certificate", certificate), ("key", key)):
        if b"-----BEGIN " not in text:
            return [_NO_PEM.format(what)]
    return _mismatch(certificate, key)


def _mismatch(certificate: bytes, key: bytes) -> list[str]:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        public = x509.load_pem_x509_certificate(certificate).public_key()
        private = serialization.load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError) as error:
        return [f"tls: failed to parse the key pair: {error}"]
    if type(public) is not type(private):
        return ["tls: private key type does not match public key type"]
    return [] if public == private else ["tls: private key does not match public key"]
