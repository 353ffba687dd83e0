"""The authorities' certificates in the two forms that programs read: one PEM file, and a Java key store.

The key store is in the format JKS (`sun.security.provider.JavaKeyStore`): a sequence of trusted certificates and a
keyed SHA-1 over it. It is a checksum under a password that everybody knows, as everywhere.
"""

import base64
import hashlib
import re
import struct

BUNDLE_SOURCE = "/usr/share/ca-certificates/"
_PASSWORD = "changeit"  # the one that every Java expects of its cacerts
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


def compute_bundle(certificates: dict[str, bytes]) -> bytes:
    """Return the PEM files one after another, by name."""
    return b"".join(certificates[name].strip() + b"\n" for name in sorted(certificates))


def compute_keystore(certificates: dict[str, bytes], epoch: int) -> bytes:
    """Return a JKS with one trusted entry per PEM certificate; `epoch` (seconds) is every entry's date."""
    entries: list[bytes] = []
    for name in sorted(certificates):
        for match in _PEM.finditer(certificates[name]):
            der = base64.b64decode(match[1])
            alias = f"debian:{name.lower()}"
            entries.append(
                struct.pack(">I", 2)  # a trusted certificate
                + _utf(alias)
                + struct.pack(">Q", epoch * 1000)
                + _utf("X.509")
                + struct.pack(">I", len(der))
                + der
            )
    body = struct.pack(">III", 0xFEEDFEED, 2, len(entries)) + b"".join(entries)
    keyed = _PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + body
    return body + hashlib.sha1(keyed).digest()


def _utf(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data
