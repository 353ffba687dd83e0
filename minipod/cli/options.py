"""Flags: kubectl's spellings on top of click's parser, and the groups of flags that several commands share."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])
COMMAND_AFTER_DASHES = "minipod.cli.command"
HELP_WIDTH = 100
ONE_SERVER = "minipod talks to the one API server of its --root (or MINIPOD_ROOT)"
REFUSED = {
    **dict.fromkeys(("--context", "--cluster", "--kubeconfig", "--server", "-s"), ONE_SERVER),
    **dict.fromkeys(
        ("--user", "--token", "--username", "--password", "--as", "--as-group", "--as-uid"),
        "whoever may open the root-only socket is system:admin",
    ),
    **dict.fromkeys(
        (
            "--certificate-authority",
            "--client-certificate",
            "--client-key",
            "--insecure-skip-tls-verify",
            "--tls-server-name",
        ),
        "the API is a Unix socket, there is no TLS on it",
    ),
    "--cache-dir": "nothing is cached",
    "-k": "build the manifests with kustomize and pipe them into -f -",
    "--kustomize": "build the manifests with kustomize and pipe them into -f -",
}
TRUE, FALSE = ("true", "1", "t", "T", "TRUE", "True"), ("false", "0", "f", "F", "FALSE", "False")


class Bare(click.Option):
    """An option whose value may be left out, and is then `bare`; a value needs `=`, as in kubectl."""

    def __init__(self, *args: Any, bare: str = "true", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bare = bare


class _Spellings(click.Command):
    """The global flags, kubectl's spellings of values, and examples under the help."""

    def __init__(
        self, *args: Any, examples: str = "", after_dashes: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.after_dashes = after_dashes
        self.params = [*self.params, *global_flags()]
        self.context_settings.setdefault("help_option_names", ["-h", "--help"])
        self.context_settings.setdefault("max_content_width", HELP_WIDTH)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse kubectl's spellings: `--flag=false`, `-o=yaml`, `--dry-run`, and `-- COMMAND`."""
        if self.after_dashes and "--" in args:
            dashes = args.index("--")
            ctx.meta[COMMAND_AFTER_DASHES] = args[dashes + 1 :]
            args = args[:dashes]
        return super().parse_args(ctx, plain_spelling(self.get_params(ctx), args))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below everything else."""
        if not self.examples:
            return
        formatter.write("\nExamples:\n")
        for line in self.examples.strip().splitlines():
            formatter.write(f"  {line.strip()}\n" if line.strip() else "\n")


class Command(_Spellings):
    """One command."""


class Group(_Spellings, click.Group):
    """A command with commands below it."""

    command_class = Command


def plain_spelling(params: Sequence[click.Parameter], args: list[str]) -> list[str]:
    """Return `args` with kubectl's spellings turned into those that click's parser knows."""
    options = {opt: each for each in params if isinstance(each, click.Option) for opt in each.opts}
    plain: list[str] = []
    for position, arg in enumerate(args):
        if arg == "--":
            return plain + args[position:]
        plain += _plain(options, arg)
    return plain


def _plain(options: dict[str, click.Option], arg: str) -> list[str]:
    name, equals, value = arg.partition("=")
    option = options.get(name)
    if option is None:
        short = options.get(arg[:2]) if arg[:1] == "-" and arg[1:2] != "-" else None
        return [arg[:2] + arg[3:]] if short and arg[2:3] == "=" and not short.is_flag else [arg]
    if isinstance(option, Bare) and not equals:
        return [f"{_long(option)}={option.bare}"]
    if option.is_flag and equals and not option.count:
        return _flag(name, value)
    if equals and not name.startswith("--"):
        return [f"{_long(option)}={value}"] if _long(option).startswith("--") else [name + value]
    return [arg]


def _flag(name: str, value: str) -> list[str]:
    if value in TRUE:
        return [name]
    if value in FALSE:
        return []
    raise CliError(f'invalid argument "{value}" for "{name}" flag: it takes true or false')


def _long(option: click.Option) -> str:
    return max(option.opts, key=len)


def command_after_dashes() -> list[str] | None:
    """Return what stood behind `--` on the command line, or None without one."""
    found: list[str] | None = click.get_current_context().meta.get(COMMAND_AFTER_DASHES)
    return found


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
        invocation = ctx.find_object(Invocation)
        if value is not None and invocation is not None:
            setattr(invocation, name, value)

    return callback


def pass_invocation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the `Invocation` to a command function as its first argument."""
    return click.pass_obj(function)


def global_flags() -> list[click.Parameter]:
    """Return the flags that every command takes, before or after its name."""
    from minipod.cli.completion import complete_namespaces

    return [
        click.Option(
            ["--request-timeout"],
            metavar="DURATION",
            help="How long to wait for each answer of the server [default: for ever]",
            expose_value=False,
            callback=_remember("request_timeout"),
            type=Duration(),
        ),
        click.Option(
            ["-n", "--namespace"],
            metavar="NAME",
            help="The namespace to act in [default: default]",
            expose_value=False,
            callback=_remember("given_namespace"),
            shell_complete=complete_namespaces,
        ),
        click.Option(
            ["--root"],
            metavar="DIR",
            help="The minipod to talk to [$MINIPOD_ROOT]",
            expose_value=False,
            callback=_remember("root"),
            type=click.Path(readable=False),
        ),
        click.Option(
            ["-v", "--v"],
            metavar="LEVEL",
            type=int,
            help="6 and above show every request with its time",
            expose_value=False,
            callback=_remember("verbosity"),
        ),
    ]


def flag(*names: str, help: str) -> Callable[[F], F]:
    """An on/off flag, off unless given."""
    return click.option(*names, is_flag=True, default=False, help=help)


def switch(*names: str, default: bool, help: str) -> Callable[[F], F]:
    """An on/off flag that is on unless given as `=false` (or the other way round)."""
    return click.option(*names, cls=Bare, type=bool, default=default, show_default=True, help=help)


def dry_run(function: F) -> F:
    """--dry-run."""
    return click.option(
        "--dry-run",
        cls=Bare,
        bare="unchanged",
        default="none",
        type=Words("client", "server", "none"),
        callback=_check_dry_run,
        help="Show what would be sent (client), or let the server do everything but store it (server)",
    )(function)


def _check_dry_run(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value == "unchanged":
        raise CliError(
            '--dry-run flag without a value was specified. A value must be set: "none", "server", or "client".'
        )
    if value not in ("none", "server", "client"):
        raise CliError(f'Invalid dry-run value ({value}). Must be "none", "server", or "client".')
    return value


def output(function: F) -> F:
    """-o for commands that print objects."""
    return _output(function)


def table_output(function: F) -> F:
    """-o for commands that print objects or a table of them."""
    return _output(function, "wide")


def _output(function: F, *more: str) -> F:
    return click.option(
        "-o",
        "--output",
        default="",
        metavar="FORMAT",
        type=Words(*more, "yaml", "json", "name", "jsonpath=", "custom-columns="),
        help=", ".join(
            (*more, "yaml, json, name, jsonpath=TEMPLATE, custom-columns=HEADER:PATH,...")
        ),
    )(function)


def validate(function: F) -> F:
    """--validate."""
    return click.option(
        "--validate",
        cls=Bare,
        bare="strict",
        default="strict",
        type=Words("strict", "warn", "ignore"),
        help="What to do about unknown fields [default: strict]",
    )(function)


def files(function: F) -> F:
    """-f and -R."""
    function = flag("-R", "--recursive", help="Read the directories in -f with all below them")(
        function
    )
    return click.option(
        "-f",
        "--filename",
        "filenames",
        multiple=True,
        metavar="FILE",
        type=click.Path(readable=False),
        help="A manifest, a directory of them, or - for stdin; may be given several times",
    )(function)


def nodes(function: F) -> F:
    """Names of nodes, or -l to choose them."""
    labels = click.option(
        "-l", "--selector", default="", metavar="QUERY", help="The nodes with these labels"
    )
    return click.argument("names", nargs=-1, metavar="NODE")(labels(function))


def selectors(function: F) -> F:
    """-l and --field-selector."""
    function = click.option(
        "--field-selector",
        default="",
        metavar="KEY=VALUE,...",
        help="Only objects with these fields",
    )(function)
    return click.option(
        "-l", "--selector", default="", metavar="QUERY", help="Only objects with these labels"
    )(function)


def all_namespaces(function: F) -> F:
    """-A."""
    return flag("-A", "--all-namespaces", help="In all namespaces")(function)


def seconds(text: str, flag_name: str) -> float:
    """Return a Go duration (`90s`, `1m30s`, `250ms`; a bare number is seconds) in seconds. Raises CliError."""
    units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    if rest.replace(".", "", 1).isdigit():
        return sign * float(rest)
    total, found = 0.0, False
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = next(
            (
                each
                for each in sorted(units, key=len, reverse=True)
                if rest[digits:].startswith(each)
            ),
            "",
        )
        if not digits or not unit:
            found = False
            break
        total, found = total + float(rest[:digits]) * units[unit], True
        rest = rest[digits + len(unit) :]
    if not found:
        raise CliError(
            f'invalid argument "{text}" for "{flag_name}" flag: it takes a duration such as 30s or 2m'
        )
    return sign * total


class Words(click.ParamType[str]):
    """Text for which a shell offers these words. What is refused, and in which words, the command knows."""

    name = "text"

    def __init__(self, *words: str) -> None:
        self.words = words

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the words as help shows them."""
        return "|".join(self.words)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        """Return the words that begin so."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(each) for each in self.words if each.startswith(incomplete)]


class Duration(click.ParamType[float]):
    """A Go duration; the value is seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        if isinstance(value, int | float):
            return float(value)
        name = max(param.opts, key=len) if param else "duration"
        return seconds(str(value), name)


def command(**settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a `Command`; keywords go to it (`examples`, `after_dashes`, `name`...)."""

    def decorate(function: Callable[..., Any]) -> Command:
        return click.command(cls=Command, **settings)(function)

    return decorate


def group(**settings: Any) -> Callable[[Callable[..., Any]], Group]:
    """Make a function a `Group`."""

    def decorate(function: Callable[..., Any]) -> Group:
        return click.group(cls=Group, **settings)(function)

    return decorate


def resource_arguments(function: F) -> F:
    """The free arguments of commands that take TYPE, TYPE NAME..., or TYPE/NAME..."""
    from minipod.cli.completion import complete_resources

    return click.argument(
        "args", nargs=-1, shell_complete=complete_resources, metavar="[TYPE[/NAME] [NAME...]]"
    )(function)


def pod_argument(function: F) -> F:
    """One Pod: NAME or pod/NAME."""
    from minipod.cli.completion import complete_pods

    return click.argument("pod", shell_complete=complete_pods, required=False, metavar="POD")(
        function
    )
