"""From a request to who sends it: the Unix socket's peer, a client certificate, a bearer token, or nobody.

Whoever shows a credential that is good for nothing is refused (401), even where anybody may come. Whoever shows none
is `system:anonymous` on the paths that the world may see, and refused everywhere else: upstream's
AuthenticationConfiguration with `anonymous.conditions` for those paths. Credentials are looked at with every request
(a certificate expires on an open connection), and what they led to is kept only with the connection itself.
"""

import socket
import ssl

from aiohttp import web

from minipod.api.errors import unauthorized
from minipod.clock import Clock
from minipod.server.certificates import BadCertificate, identify_certificate
from minipod.server.identity import ANONYMOUS, Identity, identify
from minipod.server.token_authentication import TokenAuthenticator
from minipod.tokens import BadToken

# What `system:public-info-viewer` lets anybody see.
PUBLIC_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version", "/version/"})


class Authenticator:
    """Knows the ways in. `administrators` are the user IDs that may come through the Unix socket."""

    def __init__(
        self, administrators: frozenset[int], clock: Clock, tokens: TokenAuthenticator
    ) -> None:
        self._administrators = administrators
        self._clock = clock
        self._tokens = tokens

    def authenticate(self, request: web.BaseRequest) -> Identity:
        """Return who sends a request. Raises Unauthorized."""
        if request.transport is None:
            raise unauthorized()  # gone before it was looked at
        secure: ssl.SSLObject | None = request.transport.get_extra_info("ssl_object")
        if secure is not None:
            return self._over_tls(request, secure)
        connection: socket.socket | None = request.transport.get_extra_info("socket")
        found = identify(connection, self._administrators)
        if found is None:
            raise unauthorized()
        return found

    def _over_tls(self, request: web.BaseRequest, secure: ssl.SSLObject) -> Identity:
        """Return who shows a good certificate or, failing that, a good token. Raises Unauthorized."""
        refused = False
        try:
            found = identify_certificate(secure, self._clock.now())
        except BadCertificate:
            found, refused = None, True
        if found is not None:
            return found
        token = bearer_token(request.headers.get("Authorization", ""))
        if token:
            try:
                return self._tokens.authenticate(token).identity
            except BadToken as error:
                raise unauthorized() from error
        if not refused and request.rel_url.raw_path in PUBLIC_PATHS:
            return ANONYMOUS
        raise unauthorized()


def bearer_token(header: str) -> str:
    """Return the token of an Authorization header, "" when it has none (RFC 6750)."""
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
