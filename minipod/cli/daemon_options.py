"""The daemon's own flags, as `daemon` and `up` take them."""

from typing import Any

import click

from minipod.cli import options as flags


def daemon_flags(function: Any) -> Any:
    """Add the flags to a command."""
    for decorate in (
        click.option(
            "--max-pods",
            type=int,
            default=None,
            metavar="N",
            help="How many Pods fit [default: 500]",
        ),
        click.option(
            "--pod-max-pids",
            type=int,
            default=None,
            metavar="N",
            help="How many processes one Pod may have [default: as many as the host]",
        ),
        click.option(
            "--system-reserved",
            default="",
            metavar="NAME=QUANTITY,...",
            help="cpu, memory and ephemeral-storage that Pods cannot ask for [default: none]",
        ),
        click.option(
            "--node-name", default="", metavar="NAME", help="The node's name [default: the host's]"
        ),
        click.option(
            "--audit-log-maxbackup",
            type=click.IntRange(0),
            default=None,
            metavar="N",
            help="Keep this many full audit logs [default: 10]",
        ),
        click.option(
            "--audit-log-maxsize",
            type=click.IntRange(1),
            default=None,
            metavar="MEGABYTES",
            help="Begin a new audit log when it is this large [default: 100]",
        ),
        click.option(
            "--audit-log-path",
            default="",
            metavar="FILE",
            help="Write the audit log there [default: audit.log among the logs]",
        ),
        click.option(
            "--audit-policy-file",
            default="",
            metavar="FILE",
            help="What the audit log keeps: a Policy of audit.k8s.io/v1 [default: changes, as metadata]",
        ),
        click.option(
            "--encryption-provider-config",
            default="",
            metavar="FILE",
            help="Encrypt objects on the disk: an EncryptionConfiguration [default: not at all]",
        ),
        click.option(
            "--token-auth-file",
            default="",
            metavar="FILE",
            help='Accept these bearer tokens too: CSV lines of token,user,uid,"group,group"',
        ),
        click.option(
            "--bind-address",
            multiple=True,
            metavar="ADDRESS",
            help="Serve HTTPS here, may be repeated [default: 127.0.0.1 and the Pods' bridge]",
        ),
        click.option(
            "--secure-port",
            type=click.IntRange(0, 65535),
            default=None,
            metavar="PORT",
            help="Serve HTTPS at this port; 0: not at all [default: 6443, or the root's own]",
        ),
        click.option(
            "--backoff-max",
            type=flags.Duration(),
            default=None,
            metavar="DURATION",
            help="The longest pause between restarts of a failing container [default: 5m]",
        ),
        click.option(
            "--backoff-base",
            type=flags.Duration(),
            default=None,
            metavar="DURATION",
            help="The first pause between restarts of a failing container [default: 10s]",
        ),
        click.option(
            "--pod-cidr",
            default="",
            metavar="CIDR",
            help="The range of Pod addresses [default: 10.85.0.0/16]",
        ),
        click.option(
            "--service-cidr",
            default="",
            metavar="CIDR",
            help="The range of Service addresses [default: 10.96.0.0/16, or the root's own]",
        ),
    ):
        function = decorate(function)
    return function


def daemon_arguments(given: dict[str, Any]) -> list[str]:
    """Return the flags as arguments of `python -m minipod.daemon`."""
    arguments: list[str] = []
    for name in (
        *("pod_cidr", "service_cidr", "backoff_base", "backoff_max", "node_name"),
        *("max_pods", "pod_max_pids", "token_auth_file", "system_reserved"),
        *("audit_policy_file", "audit_log_path", "audit_log_maxsize"),
        "encryption_provider_config",
    ):
        if given.get(name):
            value = given[name]
            arguments += [
                f"--{name.replace('_', '-')}",
                f"{value:g}" if isinstance(value, float) else str(value),
            ]
    for name in ("secure_port", "audit_log_maxbackup"):  # of which 0 says something
        if given.get(name) is not None:
            arguments += [f"--{name.replace('_', '-')}", str(given[name])]
    for address in given.get("bind_address") or ():
        arguments += ["--bind-address", address]
    return arguments
