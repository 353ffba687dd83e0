"""Service account tokens as text: signed JSON Web Tokens (RFC 7519, ES256), and what they claim (KEP-1205).

`TokenSigner` makes and reads them with the root's own key; whether what a token claims is still true (its account,
Pod, Secret or Node may be gone) is the server's to find out. Also the documents by which others verify them
(OpenID Connect Discovery 1.0, RFC 7517).
"""

import base64
import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization

from minipod.pki import ensure_key

Object = dict[str, Any]

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCES = (ISSUER,)  # of the API server itself
LEGACY_ISSUER = "kubernetes/serviceaccount"
JWKS_PATH = "/openid/v1/jwks"
CONFIGURATION_PATH = "/.well-known/openid-configuration"
_ALGORITHM = "ES256"
_LEGACY = f"{LEGACY_ISSUER}/"


class BadToken(Exception):
    """The text is no token of ours, or not for whom it was shown to; the message says why."""


@dataclass(frozen=True)
class Claims:
    """What a token says: whose it is, what it is bound to, for whom. Times in seconds; 0 means never."""

    namespace: str
    account: str
    account_uid: str
    audiences: tuple[str, ...]
    expires: int = 0
    not_before: int = 0
    identifier: str = ""
    pod: tuple[str, str] | None = None  # name, UID
    secret: tuple[str, str] | None = None
    node: tuple[str, str] | None = None  # its UID may not be known
    warn_after: int = 0
    legacy: bool = False

    @property
    def user(self) -> str:
        """The user name of the account."""
        return f"system:serviceaccount:{self.namespace}:{self.account}"


@dataclass(frozen=True)
class Bound:
    """What a new token is bound to."""

    pod: tuple[str, str] | None = None
    secret: tuple[str, str] | None = None
    node: tuple[str, str] | None = None


@dataclass(frozen=True)
class Lifetime:
    """From when to when a new token holds, and after when its use is worth a remark."""

    now: int
    seconds: int
    warn_after: int = field(default=0)


class TokenSigner:
    """Makes and reads tokens with one key."""

    def __init__(self, key_file: Path) -> None:
        self._key = ensure_key(key_file)
        self._public = self._key.public_key()
        encoded = self._public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.key_id = _base64url(hashlib.sha256(encoded).digest())

    def issue(
        self, account: Object, audiences: Sequence[str], lifetime: Lifetime, bound: Bound
    ) -> str:
        """Return a token of a ServiceAccount."""
        metadata = account["metadata"]
        private: Object = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        for name, reference in (("pod", bound.pod), ("secret", bound.secret), ("node", bound.node)):
            if reference is not None:
                private[name] = _reference(reference)
        if lifetime.warn_after:
            private["warnafter"] = lifetime.now + lifetime.warn_after
        claims = {
            "aud": list(audiences),
            "exp": lifetime.now + lifetime.seconds,
            "iat": lifetime.now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": lifetime.now,
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        }
        return self._sign(claims)

    def issue_legacy(self, account: Object, secret: Object) -> str:
        """Return the token of a Secret of type kubernetes.io/service-account-token: it holds while the Secret does."""
        metadata = account["metadata"]
        claims = {
            "iss": LEGACY_ISSUER,
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
            f"{_LEGACY}namespace": metadata["namespace"],
            f"{_LEGACY}secret.name": secret["metadata"]["name"],
            f"{_LEGACY}service-account.name": metadata["name"],
            f"{_LEGACY}service-account.uid": metadata["uid"],
        }
        return self._sign(claims)

    def read(self, token: str) -> Claims:
        """Return what a token of this key claims; its times are not looked at. Raises BadToken."""
        try:
            found: Object = jwt.decode(
                token,
                self._public,
                algorithms=[_ALGORITHM],
                options={
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise BadToken("invalid bearer token") from error
        try:
            claims = _legacy_claims(found) if found["iss"] == LEGACY_ISSUER else _claims(found)
        except (KeyError, TypeError, ValueError) as error:
            raise BadToken("invalid bearer token, Token has been invalidated") from error
        if found.get("sub") != claims.user or found["iss"] not in (ISSUER, LEGACY_ISSUER):
            raise BadToken("invalid bearer token, Token has been invalidated")
        return claims

    def jwks(self) -> Object:
        """Return the JSON Web Key Set that verifies the tokens."""
        numbers = self._public.public_numbers()
        key = {
            "use": "sig",
            "kty": "EC",
            "kid": self.key_id,
            "crv": "P-256",
            "alg": _ALGORITHM,
            "x": _base64url(numbers.x.to_bytes(32, "big")),
            "y": _base64url(numbers.y.to_bytes(32, "big")),
        }
        return {"keys": [key]}

    def _sign(self, claims: Object) -> str:
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM, headers={"kid": self.key_id})


def compute_configuration(address: str) -> Object:
    """Return the discovery document; `address` is host and port of the server."""
    return {
        "issuer": ISSUER,
        "jwks_uri": f"https://{address}{JWKS_PATH}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [_ALGORITHM],
    }


def peek_issuer(token: str) -> str:
    """Return the issuer that a text claims, "" for what is no JSON Web Token. Nothing of it is verified."""
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return ""
    return str(found.get("iss", "")) if isinstance(found, dict) else ""


def _claims(found: Object) -> Claims:
    private, audiences = found["kubernetes.io"], found["aud"]
    account = private["serviceaccount"]
    return Claims(
        str(private["namespace"]),
        str(account["name"]),
        str(account["uid"]),
        tuple([audiences] if isinstance(audiences, str) else audiences),
        expires=int(found["exp"]),
        not_before=int(found.get("nbf", 0)),
        identifier=str(found.get("jti", "")),
        pod=_pair(private.get("pod")),
        secret=_pair(private.get("secret")),
        node=_pair(private.get("node")),
        warn_after=int(private.get("warnafter", 0)),
    )


def _legacy_claims(found: Object) -> Claims:
    return Claims(
        str(found[f"{_LEGACY}namespace"]),
        str(found[f"{_LEGACY}service-account.name"]),
        str(found[f"{_LEGACY}service-account.uid"]),
        AUDIENCES,
        secret=(str(found[f"{_LEGACY}secret.name"]), ""),
        legacy=True,
    )


def _pair(reference: Object | None) -> tuple[str, str] | None:
    return None if reference is None else (str(reference["name"]), str(reference.get("uid", "")))


def _reference(pair: tuple[str, str]) -> Object:
    name, uid = pair
    return {"name": name, "uid": uid} if uid else {"name": name}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
