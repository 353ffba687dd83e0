"""What the daemon serves its API with: credentials, HTTPS, the audit log."""

import argparse
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from minipod.clock import SystemClock
from minipod.daemon.root_lock import StartError
from minipod.paths import Layout

if TYPE_CHECKING:
    from minipod.server.audit import AuditOptions
    from minipod.server.serving import SecureServing
    from minipod.server.token_authentication import Credentials
    from minipod.tokens import TokenSigner


def audit_options(place: Layout, options: argparse.Namespace) -> "AuditOptions":
    """Return what is kept of requests, and where."""
    from minipod.server.audit import AuditOptions
    from minipod.server.audit_policy import DEFAULT, parse_policy, read_policy

    file = options.audit_policy_file
    policy = read_policy(Path(file)) if file else parse_policy(DEFAULT)
    path = Path(options.audit_log_path) if options.audit_log_path else place.log / "audit.log"
    size = options.audit_log_maxsize << 20
    return AuditOptions(path, policy, size, options.audit_log_maxbackup)


def make_credentials(
    place: Layout, options: argparse.Namespace
) -> "tuple[TokenSigner, Credentials]":
    """Return what signs service account tokens, and how credentials are told from bad ones."""
    from minipod.pki import Authority, utc
    from minipod.server.token_authentication import Credentials, read_static_tokens
    from minipod.tokens import TokenSigner

    clock = SystemClock()
    Authority(place.pki).ensure(utc(clock.now()))
    signer = TokenSigner(place.pki / "sa.key")
    file = options.token_auth_file
    static = read_static_tokens(Path(file)) if file else {}
    return signer, Credentials(signer, static, clock)


def make_serving(
    place: Layout, options: argparse.Namespace, cidr: str, services: str
) -> "SecureServing | None":
    """Return how HTTPS is served: on loopback and on the Pods' bridge, unless other addresses are asked for."""
    from minipod.server.serving import DEFAULT_ADDRESSES, SecureServing, ServingOptions

    if options.secure_port == 0:
        return None
    gateway = first_address(cidr)
    addresses = tuple(options.bind_address) or (*DEFAULT_ADDRESSES, gateway)
    for address in addresses:
        try:
            ip_address(address)
        except ValueError:
            raise StartError(f'--bind-address "{address}" is not an IP address') from None
    hosts = (gateway, first_address(services))
    return SecureServing(place, ServingOptions(addresses, options.secure_port or 0, hosts))


def first_address(cidr: str) -> str:
    """Return a range's first address: the gateway's of Pods, the Service `kubernetes`'s of Services."""
    return str(ip_network(cidr)[1])
