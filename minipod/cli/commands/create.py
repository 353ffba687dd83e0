"""`minipod create`: from a manifest, or one of a few kinds straight from the command line."""

from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.commands import create_access, create_service
from minipod.cli.creating import CreateOptions, create, make
from minipod.cli.errors import CliError, ServerError, raise_all
from minipod.cli.generators import configmap_data, registry_data, secret_data, tls_data
from minipod.cli.invocation import Invocation
from minipod.cli.resources import CONFIGMAPS, NAMESPACES, SECRETS, SERVICEACCOUNTS
from minipod.cli.selection import Selection, manifest_targets

Object = dict[str, Any]


@flags.group(
    invoke_without_command=True,
    examples="""
    minipod create -f pod.yaml
    minipod create namespace lab
    minipod create secret generic user --from-file=./username.txt
    minipod create configmap settings --from-literal=colour=blue
    """,
)
@flags.files
@flags.dry_run
@flags.output
@flags.validate
@flags.flag("--save-config", help="Remember the manifest in the annotation that apply uses")
@flags.pass_invocation
def command(
    invocation: Invocation, filenames: tuple[str, ...], recursive: bool, **given: Any
) -> None:
    """Create objects from manifests, or one of the kinds below straight from the command line.

    An object that exists already is an error; `apply` changes it instead.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    if not filenames:
        raise CliError("must specify one of -f and -k")
    options = CreateOptions(**given)
    failures: list[CliError] = []
    for target in manifest_targets(invocation, Selection((), filenames, recursive)):
        try:
            create(invocation, target, options)
        except ServerError as failed:
            failures.append(failed.when("creating", target.source))
    raise_all(failures)


def _source_flags(function: Any) -> Any:
    for option in (
        click.option(
            "--from-env-file", multiple=True, metavar="FILE", help="A file of KEY=VALUE lines"
        ),
        click.option(
            "--from-literal",
            multiple=True,
            metavar="KEY=VALUE",
            help="A key and its value; several times",
        ),
        click.option(
            "--from-file",
            multiple=True,
            metavar="[KEY=]FILE",
            help="A file (the key is its name unless given), or a directory of files; several times",
        ),
    ):
        function = option(function)
    return function


_append_hash = click.option(
    "--append-hash", is_flag=True, help="Append a hash of the content to the name"
)


@command.command(
    "namespace",
    examples="""
    minipod create namespace lab
    """,
)
@click.argument("name")
@flags.dry_run
@flags.output
@flags.pass_invocation
def namespace_command(invocation: Invocation, name: str, **given: Any) -> None:
    """Create a namespace."""
    make(invocation, NAMESPACES, name, CreateOptions(**given))


command.add_command(namespace_command, "ns")


@command.command(
    "serviceaccount",
    examples="""
    minipod create serviceaccount builder
    """,
)
@click.argument("name")
@flags.dry_run
@flags.output
@flags.pass_invocation
def serviceaccount_command(invocation: Invocation, name: str, **given: Any) -> None:
    """Create a service account."""
    make(invocation, SERVICEACCOUNTS, name, CreateOptions(**given))


command.add_command(serviceaccount_command, "sa")


@command.command(
    "configmap",
    examples="""
    minipod create configmap ui-config --from-file=ui.properties
    minipod create configmap settings --from-literal=colour=blue --from-literal=size=3
    """,
)
@click.argument("name")
@_source_flags
@_append_hash
@flags.dry_run
@flags.output
@flags.pass_invocation
def configmap_command(
    invocation: Invocation,
    name: str,
    from_file: tuple[str, ...],
    from_literal: tuple[str, ...],
    from_env_file: tuple[str, ...],
    append_hash: bool,
    **given: Any,
) -> None:
    """Create a ConfigMap from files, directories, literal values or files of variables."""
    data = configmap_data(from_file, from_literal, from_env_file)
    name = _name(name, "ConfigMap", data, append_hash)
    make(invocation, CONFIGMAPS, name, CreateOptions(**given), **data)


command.add_command(configmap_command, "cm")


@command.group(
    "secret",
    cls=flags.Group,
    examples="""
    minipod create secret generic user --from-file=./username.txt
    """,
)
def secret_group() -> None:
    """Create a Secret: from files or values (`generic`), for a registry, or from a certificate and its key."""


@secret_group.command(
    "generic",
    examples="""
    minipod create secret generic user --from-file=./username.txt
    minipod create secret generic pass --from-literal=password=s3cret
    """,
)
@click.argument("name")
@_source_flags
@click.option("--type", "secret_type", default="", help="The Secret's type [default: Opaque]")
@_append_hash
@flags.dry_run
@flags.output
@flags.pass_invocation
def generic_command(
    invocation: Invocation,
    name: str,
    from_file: tuple[str, ...],
    from_literal: tuple[str, ...],
    from_env_file: tuple[str, ...],
    secret_type: str,
    append_hash: bool,
    **given: Any,
) -> None:
    """Create a Secret from files, directories, literal values or files of variables."""
    data = secret_data(from_file, from_literal, from_env_file)
    name = _name(name, "Secret", {"type": secret_type, **data}, append_hash)
    fields = (
        {"type": secret_type, **data} if secret_type else data
    )  # the server's default is not ours to print
    make(invocation, SECRETS, name, CreateOptions(**given), **fields)


@secret_group.command(
    "docker-registry",
    examples="""
    minipod create secret docker-registry login --docker-server=lab:5000 --docker-username=me --docker-password=pw
    minipod create secret docker-registry login --from-file=.dockerconfigjson=config.json
    """,
)
@click.argument("name")
@click.option(
    "--docker-server",
    default="https://index.docker.io/v1/",
    metavar="HOST",
    help="The registry [default: Docker Hub]",
)
@click.option("--docker-username", default="", metavar="USER", help="The user to log in as")
@click.option("--docker-password", default="", metavar="PASSWORD", help="Its password, or a token")
@click.option(
    "--docker-email",
    default="",
    metavar="ADDRESS",
    help="An address for the registry, rarely wanted",
)
@click.option("--from-file", multiple=True, metavar="[KEY=]FILE", help="A config.json of docker's")
@_append_hash
@flags.dry_run
@flags.output
@flags.pass_invocation
def docker_registry_command(
    invocation: Invocation, name: str, from_file: tuple[str, ...], append_hash: bool, **given: Any
) -> None:
    """Create a Secret for `imagePullSecrets`. What is typed here is seen by whoever can list processes."""
    login = {key: given.pop(f"docker_{key}") for key in ("server", "username", "password", "email")}
    data = registry_data(from_file, **login)
    fields: Object = {"type": "kubernetes.io/dockerconfigjson", "data": data}
    name = _name(name, "Secret", fields, append_hash)
    make(invocation, SECRETS, name, CreateOptions(**given), **fields)


@secret_group.command(
    "tls",
    examples="""
    minipod create secret tls site --cert=site.crt --key=site.key
    """,
)
@click.argument("name")
@click.option("--cert", required=True, metavar="FILE", help="The certificate, PEM encoded")
@click.option("--key", required=True, metavar="FILE", help="Its private key, PEM encoded")
@_append_hash
@flags.dry_run
@flags.output
@flags.pass_invocation
def tls_command(
    invocation: Invocation, name: str, cert: str, key: str, append_hash: bool, **given: Any
) -> None:
    """Create a Secret from a certificate and its key, which must belong together."""
    fields: Object = {"type": "kubernetes.io/tls", "data": tls_data(cert, key)}
    name = _name(name, "Secret", fields, append_hash)
    make(invocation, SECRETS, name, CreateOptions(**given), **fields)


def _name(name: str, kind: str, fields: Object, append_hash: bool) -> str:
    if not append_hash:
        return name
    from minipod.cli.hashing import hashed_name

    return hashed_name(name, kind, fields)


for each in (*create_access.COMMANDS, *create_service.COMMANDS):
    command.add_command(each)
command.add_command(create_service.service_group, "svc")
