"""Bearer tokens: those of service accounts, held against the objects they are bound to, and those of a static file.

A token is good while its ServiceAccount is there with the UID it was made for, and so is the Pod, Secret or Node it is
bound to (KEP-1205): deleting any of them ends it at the next request. Upstream's pkg/serviceaccount is the model.
"""

import base64
import csv
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minipod.client import Object
from minipod.clock import Clock, SystemClock, format_time, parse_time
from minipod.server.identity import AUTHENTICATED, Identity
from minipod.tokens import (
    AUDIENCES,
    ISSUER,
    LEGACY_ISSUER,
    BadToken,
    Claims,
    TokenSigner,
    peek_issuer,
)

Find = Callable[[str, str, str], Object | None]  # resource, namespace, name
DELETION_LEEWAY = 60.0  # seconds that a deleted object's tokens go on while it ends
_READ_KEPT = 1024
LAST_USED = "kubernetes.io/legacy-token-last-used"
_INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
_DAY = 86400.0
_PREFIX = "authentication.kubernetes.io/"


@dataclass(frozen=True)
class Credentials:
    """What tells good credentials from bad ones: who signs tokens, the tokens of a file, and what time it is."""

    signer: TokenSigner | None = None
    static: Mapping[str, Identity] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True)
class Authenticated:
    """Who a token is of, and for which of the audiences asked about it is meant."""

    identity: Identity
    audiences: tuple[str, ...] = ()


class TokenAuthenticator:
    """Knows the good tokens."""

    def __init__(self, credentials: Credentials, find: Find) -> None:
        self._signer = credentials.signer
        self._static = credentials.static
        self._clock = credentials.clock
        self._find = find
        self.on_legacy_use: Callable[[Object, str], None] = _untold  # a Secret, and today's date
        self._read: OrderedDict[str, Claims] = OrderedDict()  # signatures already verified

    def authenticate(self, token: str, audiences: Sequence[str] = AUDIENCES) -> Authenticated:
        """Return who a token is of. Raises BadToken."""
        for known, identity in self._static.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return Authenticated(identity, tuple(audiences))
        if self._signer is None or peek_issuer(token) not in (ISSUER, LEGACY_ISSUER):
            raise BadToken("invalid bearer token")
        claims = self._claims(token, self._signer)
        meant = tuple(each for each in audiences if each in claims.audiences)
        if not meant:
            raise BadToken(
                f"token audiences {_listed(claims.audiences)} is invalid for the target audiences {_listed(audiences)}"
            )
        self._check_times(claims)
        self._check_account(claims)
        self._check_bound(claims, token)
        return Authenticated(_identity(claims), meant)

    def _claims(self, token: str, signer: TokenSigner) -> Claims:
        """Read a token; the signature of one that comes again is not verified again."""
        found = self._read.get(token)
        if found is None:
            found = self._read[token] = signer.read(token)
            if len(self._read) > _READ_KEPT:
                self._read.popitem(last=False)
        else:
            self._read.move_to_end(token)
        return found

    def _check_times(self, claims: Claims) -> None:
        now = self._clock.now()
        if claims.expires and now >= claims.expires:
            raise BadToken("service account token has expired")
        if now < claims.not_before:
            raise BadToken("service account token is not valid yet")

    def _check_account(self, claims: Claims) -> None:
        namespace, name, uid = claims.namespace, claims.account, claims.account_uid
        found = self._find("serviceaccounts", namespace, name)
        if found is None:
            raise BadToken(f'serviceaccounts "{name}" not found')
        if uid and found["metadata"]["uid"] != uid:
            given = found["metadata"]["uid"]
            raise BadToken(f"service account UID ({given}) does not match claim ({uid})")
        if self._is_gone(found):
            raise BadToken(f"service account {namespace}/{name} has been deleted")

    def _check_bound(self, claims: Claims, token: str) -> None:
        if claims.secret is not None:
            secret = self._check_object("secrets", claims.namespace, claims.secret)
            if claims.legacy:
                _check_legacy(secret, token)
                self._use_legacy(claims, secret)
        if claims.pod is not None:
            self._check_object("pods", claims.namespace, claims.pod)
        elif claims.node is not None:
            self._check_object("nodes", "", claims.node)

    def _use_legacy(self, claims: Claims, secret: Object) -> None:
        """Tell that a token of a Secret is used, once a day. Raises BadToken for one that was marked invalid."""
        today, tomorrow = (format_time(self._clock.now() + each)[:10] for each in (0, _DAY))
        labels = secret["metadata"].get("labels") or {}
        if labels.get(LAST_USED) not in (today, tomorrow):
            self.on_legacy_use(secret, today)
        if labels.get(_INVALID_SINCE):
            raise BadToken(
                f"the token in secret {claims.namespace}/{secret['metadata']['name']} for service account "
                f"{claims.namespace}/{claims.account} has been marked invalid. Use tokens from the TokenRequest API or "
                f"manually created secret-based tokens, or remove the '{_INVALID_SINCE}' label from the secret to "
                "temporarily allow use of this token"
            )

    def _check_object(self, resource: str, namespace: str, wanted: tuple[str, str]) -> Object:
        """Return what a token is bound to. Raises BadToken when that is gone."""
        name, uid = wanted
        found = self._find(resource, namespace, name)
        if found is None or self._is_gone(found):
            raise BadToken("service account token has been invalidated")
        if uid and found["metadata"]["uid"] != uid:
            given, what = found["metadata"]["uid"], resource.removesuffix("s")
            why = f"{what} UID ({given}) does not match service account {what} ref claim ({uid})"
            raise BadToken(why)
        return found

    def _is_gone(self, found: Object) -> bool:
        """Whether an object's deletion is longer ago than its tokens count."""
        deleted = found["metadata"].get("deletionTimestamp")
        return bool(deleted) and parse_time(deleted) + DELETION_LEEWAY < self._clock.now()


def read_static_tokens(path: Path) -> dict[str, Identity]:
    """Read a file of tokens: CSV lines of token, user name, user UID, and optionally "group,group". Raises ValueError.

    The format of kube-apiserver's --token-auth-file.
    """
    found: dict[str, Identity] = {}
    with path.open(newline="") as file:
        for number, line in enumerate(csv.reader(file), 1):
            if not line:
                continue
            if len(line) < 3 or not line[0] or not line[1]:
                raise ValueError(
                    f'"{path}", line {number}: a line is token,user,uid and optionally "group,group"'
                )
            groups = [each for each in (line[3].split(",") if len(line) > 3 else []) if each]
            found[line[0]] = Identity(line[1], (*groups, AUTHENTICATED), line[2])
    return found


def _untold(secret: Object, date: str) -> None:
    """Nobody notes the use of tokens."""


def _check_legacy(secret: Object, token: str) -> None:
    try:
        kept = base64.b64decode((secret.get("data") or {}).get("token") or "")
    except ValueError:
        kept = b""
    if not hmac.compare_digest(kept, token.encode()):
        raise BadToken("service account token has been invalidated")


def _identity(claims: Claims) -> Identity:
    extra: dict[str, tuple[str, ...]] = {}
    if claims.identifier:
        extra[f"{_PREFIX}credential-id"] = (f"JTI={claims.identifier}",)
    for kind, reference in (("pod", claims.pod), ("node", claims.node)):
        if reference is not None:
            extra[f"{_PREFIX}{kind}-name"] = (reference[0],)
            if reference[1]:
                extra[f"{_PREFIX}{kind}-uid"] = (reference[1],)
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{claims.namespace}", AUTHENTICATED)
    return Identity(claims.user, groups, claims.account_uid, extra)


def _listed(values: Sequence[str]) -> str:
    return f"[{' '.join(f'{chr(34)}{each}{chr(34)}' for each in values)}]"
