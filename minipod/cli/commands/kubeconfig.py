"""`minipod kubeconfig`."""

import base64
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.processes import require_root

if TYPE_CHECKING:
    from minipod.pki import Authority, Pair

ADMIN, ADMIN_GROUP = "kubernetes-admin", "system:masters"
_DAY = 86400.0


@flags.command(
    examples="""
    sudo minipod kubeconfig > ~/.kube/config
    sudo minipod kubeconfig --file ~/.kube/config
    sudo minipod kubeconfig --user jane --group developers --expiration 24h > jane.kubeconfig
    """
)
@click.option("--user", default=ADMIN, metavar="NAME", help=f"The user to be [default: {ADMIN}]")
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="GROUP",
    help=f"A group to be in, may be repeated [default: {ADMIN_GROUP} for {ADMIN}, none for others]",
)
@click.option(
    "--server", default="", metavar="URL", help="How the client reaches minipod [default: loopback]"
)
@click.option(
    "--expiration",
    type=flags.Duration(),
    default=365 * _DAY,
    metavar="DURATION",
    help="How long the client certificate holds [default: 8760h]",
)
@flags.switch(
    "--embed",
    default=True,
    help="Put certificates and key into the output, rather than the paths of files",
)
@click.option(
    "-f",
    "--file",
    "file",
    default="",
    metavar="FILE",
    help="Write it to a file, readable by you alone",
)
@flags.pass_invocation
def command(
    invocation: Invocation,
    user: str,
    groups: tuple[str, ...],
    server: str,
    expiration: float,
    embed: bool,
    file: str,
) -> None:
    """Print a kubeconfig for kubectl and every other client: where minipod serves HTTPS, and a client certificate.

    The certificate is made anew each time, and signed by this root's authority, whose key only root can read. Without
    --user it is an administrator's; what other users may do is up to their Roles and RoleBindings.
    """
    require_root("minipod kubeconfig", invocation.command_line("kubeconfig"))
    from datetime import UTC, datetime, timedelta

    from minipod.cli.formats import printer
    from minipod.pki import Authority, PkiError

    url = server or _url(invocation)
    authority = Authority(invocation.layout.pki)
    member = groups or ((ADMIN_GROUP,) if user == ADMIN else ())
    try:
        pair = authority.issue_client(
            user, member, datetime.now(UTC), timedelta(seconds=expiration)
        )
        made = _config(invocation, authority, user, url, pair, embed)
    except PkiError as failed:
        raise CliError(str(failed)) from failed
    _write(printer("yaml")(made), file)


def _url(invocation: Invocation) -> str:
    """Return where this root serves HTTPS, as the daemon recorded it."""
    import json

    try:
        found = json.loads(invocation.layout.serving.read_bytes())
    except FileNotFoundError:
        raise CliError(
            f"this minipod has not served HTTPS yet; try: {invocation.command_line('up')}"
        ) from None
    addresses: list[str] = found["addresses"]
    address = next((each for each in addresses if each.startswith("127.")), addresses[0])
    if address in ("0.0.0.0", "::"):
        address = "127.0.0.1"
    host = f"[{address}]" if ":" in address else address
    return f"https://{host}:{found['port']}"


def _config(
    invocation: Invocation, authority: "Authority", user: str, url: str, pair: "Pair", embed: bool
) -> dict[str, Any]:
    cluster = invocation.layout.instance
    if embed:
        trusted = {"certificate-authority-data": _base64(authority.certificate_pem())}
        shown = {
            "client-certificate-data": _base64(pair.certificate),
            "client-key-data": _base64(pair.key),
        }
    else:
        trusted = {"certificate-authority": str(authority.certificate_path)}
        shown = _keep(authority.directory / "clients", user, pair)
    context = f"{user}@{cluster}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": url, **trusted}}],
        "users": [{"name": context, "user": shown}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": context}}],
        "current-context": context,
        "preferences": {},
    }


def _keep(directory: Path, user: str, pair: "Pair") -> dict[str, str]:
    """Keep a client certificate below the root's state; return the paths as a kubeconfig has them."""
    from urllib.parse import quote

    from minipod.pki import write_file

    directory.mkdir(mode=0o700, exist_ok=True)
    stem = quote(user, safe="@:").lstrip(".") or "user"
    key, certificate = directory / f"{stem}.key", directory / f"{stem}.crt"
    write_file(key, pair.key, 0o600)
    write_file(certificate, pair.certificate, 0o600)
    return {"client-certificate": str(certificate), "client-key": str(key)}


def _write(text: str, file: str) -> None:
    """Write to a file or to standard output; a file that the shell opened is closed to others as well."""
    if file:
        from minipod.pki import write_file

        path = Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode(), 0o600)
        return
    if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
        os.fchmod(sys.stdout.fileno(), 0o600)
    click.echo(text, nl=False)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
