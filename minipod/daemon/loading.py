"""What a daemon imports on its way up: half the time until it is ready, so it goes on beside the start of the shim."""

import importlib
import os

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_PARTS = (
    "minipod.server.app",
    "minipod.daemon.controllers",
    "minipod.node.kubelet",
    "minipod.network.services",
)


def import_aiohttp() -> None:
    """Import aiohttp without the host's certificate authorities, which it would read twice (0.1 s, and 2 MB kept).

    What the daemon's own connections trust is said where they are made; images are pulled by a process of its own.
    OpenSSL takes other places from the environment (SSL_CTX_set_default_verify_paths(3)).
    """
    kept = {name: os.environ.get(name) for name in _CERTIFICATES}
    os.environ.update(dict.fromkeys(_CERTIFICATES, os.devnull))
    try:
        importlib.import_module("aiohttp")
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def import_parts() -> None:
    """Import the parts that are started one after another later (blocking)."""
    for name in _PARTS:
        importlib.import_module(name)
