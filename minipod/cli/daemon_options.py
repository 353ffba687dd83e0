"""The daemon's own flags, as `daemon` and `up` take them."""

from typing import Any, NamedTuple

import click

from minipod.cli import options as flags


class _Flag(NamedTuple):
    """One flag; one that is not given is "" or None, and the daemon's own default holds."""

    name: str
    metavar: str
    help: str
    type: Any = str

    def decorate(self, function: Any) -> Any:
        """Add it to a command."""
        default = "" if self.type is str else None
        add = click.option(
            self.name, type=self.type, default=default, metavar=self.metavar, help=self.help
        )
        return add(function)


_NETWORK = (
    _Flag(
        "--service-cidr",
        "CIDR",
        "The range of Service addresses [default: 10.96.0.0/16, or the root's own]",
    ),
    _Flag("--pod-cidr", "CIDR", "The range of Pod addresses [default: 10.85.0.0/16]"),
)
_RESTARTS = (
    _Flag(
        "--backoff-base",
        "DURATION",
        "The first pause between restarts of a failing container [default: 10s]",
        flags.Duration(),
    ),
    _Flag(
        "--backoff-max",
        "DURATION",
        "The longest pause between restarts of a failing container [default: 5m]",
        flags.Duration(),
    ),
)
_SERVING = (
    _Flag(
        "--secure-port",
        "PORT",
        "Serve HTTPS at this port; 0: not at all [default: 6443, or the root's own]",
        click.IntRange(0, 65535),
    ),
    _Flag(
        "--token-auth-file",
        "FILE",
        'Accept these bearer tokens too: CSV lines of token,user,uid,"group,group"',
    ),
    _Flag(
        "--encryption-provider-config",
        "FILE",
        "Encrypt objects on the disk: an EncryptionConfiguration [default: not at all]",
    ),
)
_AUDIT = (
    _Flag(
        "--audit-policy-file",
        "FILE",
        "What the audit log keeps: a Policy of audit.k8s.io/v1 [default: changes, as metadata]",
    ),
    _Flag(
        "--audit-log-path",
        "FILE",
        "Write the audit log there [default: audit.log among the logs]",
    ),
    _Flag(
        "--audit-log-maxsize",
        "MEGABYTES",
        "Begin a new audit log when it is this large [default: 100]",
        click.IntRange(1),
    ),
    _Flag(
        "--audit-log-maxbackup",
        "N",
        "Keep this many full audit logs [default: 10]",
        click.IntRange(0),
    ),
)
_NODE = (
    _Flag("--node-name", "NAME", "The node's name [default: the host's]"),
    _Flag(
        "--system-reserved",
        "NAME=QUANTITY,...",
        "cpu, memory, ephemeral-storage and pid that Pods cannot ask for, nor use all together [default: none]",
    ),
    _Flag(
        "--eviction-hard",
        "SIGNAL<AMOUNT,...",
        "How much is to stay free; below it the node tells of pressure, takes no more Pods, and evicts those that "
        "use most of it [default: memory.available<100Mi,nodefs.available<5%,nodefs.inodesFree<5%,"
        "imagefs.available<5%,imagefs.inodesFree<5%, and none is evicted; memory.available<0% for none]",
    ),
    _Flag(
        "--pod-max-pids",
        "N",
        "How many processes one Pod may have [default: as many as the host]",
        int,
    ),
    _Flag(
        "--memory-throttling-factor",
        "FACTOR",
        "Slow containers down (memory.high, cgroup v2) at this part of the way from the memory they ask for to their "
        "limit [default: never]",
        click.FloatRange(0, 1, min_open=True),
    ),
    _Flag("--max-pods", "N", "How many Pods fit [default: 500]", int),
)
_ADDRESSES = click.option(
    "--bind-address",
    multiple=True,
    metavar="ADDRESS",
    help="Serve HTTPS here, may be repeated [default: 127.0.0.1 and the Pods' bridge]",
)


def daemon_flags(function: Any) -> Any:
    """Add the flags to a command; help shows them in this order."""
    for flag in reversed((*_NETWORK, *_RESTARTS, *_SERVING, *_AUDIT, *_NODE)):
        function = flag.decorate(function)
    return _ADDRESSES(function)


def daemon_arguments(given: dict[str, Any]) -> list[str]:
    """Return the flags as arguments of `python -m minipod.daemon`."""
    arguments: list[str] = []
    for name in (
        *("pod_cidr", "service_cidr", "backoff_base", "backoff_max", "node_name"),
        *(
            "max_pods",
            "pod_max_pids",
            "memory_throttling_factor",
            "token_auth_file",
            "system_reserved",
            "eviction_hard",
        ),
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
