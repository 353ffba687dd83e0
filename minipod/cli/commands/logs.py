"""`minipod logs`."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from minipod.cli import options as flags
from minipod.cli.completion import complete_containers
from minipod.cli.errors import CliError, ServerError, raise_all
from minipod.cli.invocation import Invocation
from minipod.cli.pod_choice import choose_pod
from minipod.cli.pods import choose_container, containers_of
from minipod.cli.resources import PODS
from minipod.cli.selection import listed

if TYPE_CHECKING:
    from minipod.cli.api import Api

Object = dict[str, Any]
USAGE = (
    "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\n"
    "POD or TYPE/NAME is a required argument for the logs command"
)
SELECTED_TAIL = 10  # lines of each log when -l chooses the Pods


@dataclass(frozen=True)
class LogOptions:
    """The flags of `logs`."""

    pod: str | None
    in_pod: str | None
    selector: str
    container: str
    all_containers: bool
    all_pods: bool  # implies prefix
    follow: bool
    previous: bool
    tail: int | None
    since: float | None
    since_time: str
    timestamps: bool
    prefix: bool
    limit_bytes: int
    ignore_errors: bool
    max_log_requests: int

    def query(self, container: str) -> dict[str, str]:
        """Return the query parameters of one container's log."""
        tail = self.tail if self.tail is not None else SELECTED_TAIL if self.selector else -1
        given = {
            "container": container,
            "follow": "true" if self.follow else "",
            "previous": "true" if self.previous else "",
            "timestamps": "true" if self.timestamps else "",
            "tailLines": str(tail) if tail >= 0 else "",
            "sinceSeconds": str(max(1, round(self.since))) if self.since else "",
            "sinceTime": self.since_time,
            "limitBytes": str(self.limit_bytes) if self.limit_bytes else "",
        }
        return {key: value for key, value in given.items() if value}

    def check(self) -> None:
        """Raise CliError when flags contradict each other."""
        if self.since and self.since_time:
            raise CliError("at most one of `sinceTime` or `since` may be specified")
        if self.since is not None and self.since < 0:
            raise CliError("--since must be greater than 0")
        if self.tail is not None and self.tail < -1:
            raise CliError("--tail must be greater than or equal to -1")
        if self.limit_bytes < 0:
            raise CliError("--limit-bytes must be greater than 0")
        if self.all_containers and self.container:
            raise CliError("--all-containers=true should not be specified with container name")
        if self.in_pod and self.container:
            raise CliError("only one of -c or an inline [CONTAINER] arg is allowed")
        if self.pod and self.selector:
            raise CliError("only a selector (-l) or a POD name is allowed")


@dataclass(frozen=True)
class Source:
    """One container's log."""

    pod: Object
    container: str

    @property
    def prefix(self) -> bytes:
        """What --prefix puts before each line."""
        return f"[pod/{self.pod['metadata']['name']}/{self.container}] ".encode()


@flags.command(
    examples="""
    minipod logs nginx
    minipod logs -f --tail=20 nginx -c app
    minipod logs nginx --previous
    minipod logs nginx --all-containers --prefix --timestamps
    minipod logs -l app=web --since=10m
    """
)
@flags.pod_argument
@click.argument("in_pod", required=False, metavar="[CONTAINER]", shell_complete=complete_containers)
@click.option(
    "-l", "--selector", default="", metavar="QUERY", help="The logs of all Pods with these labels"
)
@click.option(
    "-c",
    "--container",
    default="",
    metavar="NAME",
    shell_complete=complete_containers,
    help="Which container",
)
@flags.flag("--all-containers", help="All containers of the Pod")
@flags.flag("--all-pods", help="With -l: the same as -l with --prefix")
@flags.flag("-f", "--follow", help="Go on with what is logged from now on")
@flags.flag("-p", "--previous", help="The container's previous run")
@click.option(
    "--tail",
    type=int,
    default=None,
    metavar="LINES",
    help="Only the last lines [default: all, with -l 10]",
)
@click.option(
    "--since",
    type=flags.Duration(),
    default=None,
    metavar="DURATION",
    help="Only what is newer, as in 10m",
)
@click.option(
    "--since-time", default="", metavar="TIME", help="Only what is newer than this RFC 3339 time"
)
@flags.flag("--timestamps", help="Begin every line with its time")
@flags.flag("--prefix", help="Begin every line with its Pod and container")
@click.option("--limit-bytes", type=int, default=0, metavar="BYTES", help="At most so many bytes")
@flags.flag("--ignore-errors", help="Go on when a log cannot be read")
@click.option(
    "--max-log-requests",
    type=int,
    default=5,
    help="How many logs -f may follow at once [default: 5]",
)
@flags.pass_invocation
def command(invocation: Invocation, **given: Any) -> None:
    """Print what a container wrote to its standard output and error."""
    given["prefix"] |= given["all_pods"]
    options = LogOptions(**given)
    options.check()
    sources = list(_sources(invocation, options))
    if options.follow and len(sources) > 1:
        if len(sources) > options.max_log_requests:
            raise CliError(
                f"you are attempting to follow {len(sources)} log streams, but maximum allowed concurrency is "
                f"{options.max_log_requests}, use --max-log-requests to increase the limit"
            )
        _follow_all(invocation.api, sources, options)
        return
    failures: list[CliError] = []
    for source in sources:
        try:
            _copy(invocation.api, source, options)
        except CliError as failed:
            if options.ignore_errors:
                print(failed.text(), file=sys.stderr)
            else:
                failures.append(failed)
                break
    raise_all(failures)


def _sources(invocation: Invocation, options: LogOptions) -> Iterator[Source]:
    if options.selector:
        query = {"labelSelector": options.selector}
        pods = [
            each.object or {} for each in listed(invocation.api, PODS, invocation.namespace, query)
        ]
        if not pods:
            print(f"No resources found in {invocation.namespace} namespace.", file=sys.stderr)
    else:
        pods = [_pod(invocation, options.pod)]
    wanted = options.container or options.in_pod or ""
    for pod in pods:
        if options.all_containers:
            yield from (Source(pod, each["name"]) for each in containers_of(pod))
        else:
            yield Source(pod, choose_container(pod, wanted)["name"])


def _pod(invocation: Invocation, text: str | None) -> Object:
    try:
        return choose_pod(invocation, text, USAGE).pod
    except ServerError as failed:
        if failed.reason != "NotFound":
            raise
        where = f'in namespace "{invocation.namespace}"'
        raise CliError(f"error from server (NotFound): {failed.message} {where}") from failed


def _stream(api: "Api", source: Source, options: LogOptions) -> Iterator[bytes]:
    metadata = source.pod["metadata"]
    path = PODS.path(metadata["namespace"], metadata["name"], "log")
    response = api.stream(path, options.query(source.container))
    if not options.prefix:
        yield from response.body
        return
    yield from (source.prefix + line + b"\n" for line in response.lines())


def _copy(api: "Api", source: Source, options: LogOptions) -> None:
    out = sys.stdout.buffer
    for piece in _stream(api, source, options):
        out.write(piece)
        out.flush()


def _follow_all(api: "Api", sources: list[Source], options: LogOptions) -> None:
    """Follow several logs at once, a thread each; lines never mix within themselves."""
    import queue
    import threading

    arrived: queue.SimpleQueue[bytes | CliError | None] = queue.SimpleQueue()

    def follow(source: Source) -> None:
        try:
            for piece in _stream(api, source, options):
                arrived.put(piece)
            arrived.put(None)
        except CliError as failed:
            arrived.put(failed)

    for source in sources:
        threading.Thread(target=follow, args=(source,), daemon=True).start()
    running, failures = len(sources), list[CliError]()
    while running:
        got = arrived.get()
        if isinstance(got, bytes):
            sys.stdout.buffer.write(got)
            sys.stdout.buffer.flush()
            continue
        running -= 1
        if isinstance(got, CliError) and not options.ignore_errors:
            failures.append(got)
    raise_all(failures)
