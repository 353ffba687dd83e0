"""The data of Secrets and ConfigMaps from --from-file, --from-literal and --from-env-file."""

import base64
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from minipod.cli.errors import CliError

Object = dict[str, Any]
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def secret_data(
    files: tuple[str, ...], literals: tuple[str, ...], env_files: tuple[str, ...]
) -> Object:
    """Return the `data` of a Secret, base64 encoded. Raises CliError."""
    data = {
        key: base64.b64encode(value).decode()
        for key, value in _collect(files, literals, env_files).items()
    }
    return {"data": data} if data else {}


def configmap_data(
    files: tuple[str, ...], literals: tuple[str, ...], env_files: tuple[str, ...]
) -> Object:
    """Return `data` (UTF-8 text) and `binaryData` (everything else, base64) of a ConfigMap. Raises CliError."""
    text: dict[str, str] = {}
    binary: dict[str, str] = {}
    for key, value in _collect(files, literals, env_files).items():
        try:
            text[key] = value.decode("utf-8")
        except UnicodeDecodeError:
            binary[key] = base64.b64encode(value).decode()
    named = {"data": text, "binaryData": binary}
    return {name: values for name, values in named.items() if values}


def _collect(
    files: tuple[str, ...], literals: tuple[str, ...], env_files: tuple[str, ...]
) -> dict[str, bytes]:
    if env_files and (files or literals):
        raise CliError("from-env-file cannot be combined with from-file or from-literal")
    collected: dict[str, bytes] = {}
    for key, value in (*_from_files(files), *_from_literals(literals), *_from_env_files(env_files)):
        if not _KEY.fullmatch(key) or key in (".", "..") or key.startswith(".."):
            raise CliError(
                f'"{key}" is not a valid key: letters, digits, "-", "_" and "." only, not beginning with ".."'
            )
        if key in collected:
            raise CliError(f'cannot add key "{key}", another key by that name already exists')
        collected[key] = value
    return collected


def _from_files(files: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for given in files:
        key, equals, path = given.partition("=")
        if not equals:
            key, path = "", given
        if not path or (equals and not key):
            raise CliError(f'invalid --from-file "{given}": it is FILE or KEY=FILE')
        if not os.path.isdir(path):
            yield key or os.path.basename(path), _read(path)
            continue
        if key:
            raise CliError(f'cannot give a key name for a directory path: "{given}"')
        for name in sorted(os.listdir(path)):
            below = os.path.join(path, name)
            if os.path.isfile(below) and not os.path.islink(below):
                yield name, _read(below)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as failed:
        raise CliError(f"error reading {path}: {(failed.strerror or '').lower()}") from failed


def _from_literals(literals: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for given in literals:
        key, equals, value = given.partition("=")
        if not equals or not key:
            raise CliError(f"invalid literal source {given}, expected key=value")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        yield key, value.encode()


def _from_env_files(paths: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        for number, line in enumerate(_read(path).decode("utf-8-sig", "replace").splitlines(), 1):
            line = line.lstrip()
            if not line or line.startswith("#"):
                continue
            key, equals, value = line.partition("=")
            if not _VARIABLE.fullmatch(key):
                raise CliError(f'"{path}", line {number}: "{key}" is not a valid key name')
            yield key, (value if equals else os.environ.get(key, "")).encode()


def registry_data(
    files: tuple[str, ...], server: str, username: str, password: str, email: str
) -> Object:
    """Return the `data` of a Secret of type kubernetes.io/dockerconfigjson. Raises CliError."""
    key = ".dockerconfigjson"
    if files:
        found = dict(_from_files(files))
        if len(found) != 1:
            raise CliError("--from-file takes one config.json")
        content = next(iter(found.values()))
        return {key: base64.b64encode(content).decode()}
    missing = [
        f"--docker-{n}" for n, v in (("username", username), ("password", password)) if not v
    ]
    if missing:
        raise CliError(
            f"{' and '.join(missing)} missing: either --from-file or the combination of "
            "--docker-username, --docker-password and --docker-server is required"
        )
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    entry = {"username": username, "password": password, "email": email, "auth": auth}
    entry = {name: value for name, value in entry.items() if value}
    config = json.dumps({"auths": {server: entry}}, separators=(",", ":"))
    return {key: base64.b64encode(config.encode()).decode()}


def tls_data(certificate: str, key: str) -> Object:
    """Return the `data` of a Secret of type kubernetes.io/tls. Raises CliError when the files do not fit together."""
    import ssl

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key, password=lambda: "")
    except OSError as failed:
        words = failed.strerror or str(failed)
        if isinstance(failed, ssl.SSLError):
            words = "one of them is not what it should be, in PEM"
            if failed.reason == "KEY_VALUES_MISMATCH":
                words = "private key does not match public key"
        message = f'failed to load key pair "{certificate}" and "{key}": {words}'
        raise CliError(message) from failed
    pair = {"tls.crt": _read(certificate), "tls.key": _read(key)}
    return {name: base64.b64encode(content).decode() for name, content in pair.items()}
