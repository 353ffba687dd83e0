"""The `minipod` command: finds the command's module by name, and turns every failure into a line and an exit code."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

import click

from minipod.cli.errors import CliError, UsageError
from minipod.cli.invocation import Invocation
from minipod.cli.options import REFUSED, global_flags, plain_spelling

COMPLETE = "_MINIPOD_COMPLETE"  # set by the shell completion scripts
INTERRUPTED = 130  # 128 + SIGINT
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
PIPE_CLOSED = 141  # 128 + SIGPIPE

SECTIONS: dict[str, dict[str, str]] = {
    "Objects": {
        "apply": "Make objects what a manifest says, creating or changing them",
        "diff": "Show what apply would change",
        "create": "Create objects from a manifest or from the command line",
        "run": "Run one image in a Pod of its own",
        "get": "List objects, or print them as YAML or JSON",
        "describe": "Show one object in detail, with its events",
        "explain": "Explain the fields of a kind of object",
        "edit": "Change objects in your editor",
        "replace": "Replace whole objects by what a manifest says",
        "delete": "Delete objects and wait until they are gone",
        "patch": "Change some fields of an object",
        "label": "Set or remove labels",
        "annotate": "Set or remove annotations",
        "wait": "Wait for a condition of objects",
        "top": "Show what Pods and the node use of processors and memory",
        "events": "List events, newest last",
    },
    "Containers": {
        "logs": "Print the log of a container",
        "exec": "Run a command in a container",
        "attach": "Attach to the running program of a container",
        "port-forward": "Make ports of a Pod reachable on this host",
        "cp": "Copy files into a container or out of it",
        "debug": "Add a container to a running Pod, to look at the others from",
    },
    "The node": {
        "cordon": "Let no new Pods start on a node",
        "uncordon": "Let new Pods start on a node again",
        "drain": "Empty a node: cordon it, and evict its Pods",
        "taint": "Set or remove taints of a node",
    },
    "Behind the scenes": {
        "plan": "Show, without touching the host, the Linux operations that will make a Pod",
        "trace": "Show the operations that made a Pod, with their durations",
        "inspect": "Show a Pod's namespaces, mounts, cgroups and processes as the kernel has them",
        "image": "Build, load, save, list and remove images",
    },
    "Running minipod": {
        "up": "Start minipod in the background and wait until it is ready",
        "down": "Stop minipod; Pods keep running unless --pods",
        "status": "Show whether minipod is up, its version and its Pods",
        "daemon": "Run minipod in the foreground",
        "shim": "Run the parent process of all containers (started by the daemon)",
        "kubeconfig": "Print a kubeconfig, for kubectl and every other client of Kubernetes",
        "install-units": "Install the systemd units",
    },
    "Other": {
        "api-resources": "List the kinds of objects",
        "auth": "Ask who you are, and what you may do",
        "config": "Show which minipod this command line talks to",
        "completion": "Print the shell completion script",
        "version": "Print the versions of command line and server",
    },
}
COMMANDS = {name: help for section in SECTIONS.values() for name, help in section.items()}


def unknown_command(word: str, parent: str, known: Iterable[str]) -> CliError:
    """Return the error for a command that does not exist, with what was perhaps meant."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), cutoff=0.6)
    guess = "\n\nDid you mean this?\n" + "\n".join(f"\t{each}" for each in near) if near else ""
    return CliError(f'unknown command "{word}" for "{parent}"{guess}')


class LazyGroup(click.Group):
    """The commands of SECTIONS, each imported when it is typed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module = import_module(f"minipod.cli.commands.{cmd_name.replace('-', '_')}")
        found: click.Command = module.command
        return found

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the flags before the command, in kubectl's spellings too."""
        end = next((i for i, each in enumerate(args) if each in COMMANDS), len(args))
        return super().parse_args(ctx, plain_spelling(self.params, args[:end]) + args[end:])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or guess what was meant."""
        if args[0] in COMMANDS:
            return super().resolve_command(ctx, args)
        raise unknown_command(args[0], "minipod", COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, without importing any."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete command names without importing any."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]


def root_command() -> LazyGroup:
    """Return the `minipod` command."""
    return LazyGroup(
        "minipod",
        params=global_flags(),
        help="Real Kubernetes Pods on one Linux host. Verbs, flags and output are kubectl's.\n\n"
        "Start with `sudo minipod up`, then `minipod apply -f pod.yaml --until-ready`.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        no_args_is_help=False,
        invoke_without_command=True,
        callback=_help_without_command,
    )


@click.pass_context
def _help_without_command(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> NoReturn:
    """Run the command line of this process and exit.

    The process ends without taking the interpreter apart, which takes ten milliseconds of ninety: nothing is left to be
    done then. No command leaves anything to atexit, and its streams are flushed.
    """
    _open_standard_descriptors()
    code = _flushed(run(sys.argv[1:]))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    os._exit(code)


def _open_standard_descriptors() -> None:
    """Give closed standard streams /dev/null, lest a socket gets their number and is taken for them."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:  # Python has found it closed
            mode = "w" if descriptor else "r"
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def run(arguments: list[str]) -> int:
    """Run one command line; return its exit code. Prints errors, never a traceback (unless MINIPOD_DEBUG=1)."""
    debug = os.environ.get("MINIPOD_DEBUG") == "1"
    invocation = Invocation()
    try:
        if COMPLETE in os.environ:
            return _complete(os.environ[COMPLETE])
        with root_command().make_context("minipod", list(arguments), obj=invocation) as ctx:
            ctx.command.invoke(ctx)
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except click.exceptions.Exit as left:
        return left.exit_code
    except click.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        return PIPE_CLOSED
    except Exception as failed:
        if debug:
            raise
        return _explain(failed, arguments)
    finally:
        invocation.close()


def _complete(instruction: str) -> int:
    """Answer a shell that completes a line."""
    from click.shell_completion import shell_complete

    from minipod.cli import shells

    shells.register()
    return shell_complete(root_command(), {}, "minipod", COMPLETE, instruction)


def _explain(failed: Exception, arguments: list[str]) -> int:
    error = _translated(failed, arguments)
    text = error.text()
    if text:
        print(text, file=sys.stderr)
    return error.exit_code


def _translated(failed: Exception, arguments: list[str]) -> CliError:
    """Return any exception as an error with a message for people."""
    if isinstance(failed, CliError):
        return failed
    if isinstance(failed, click.ClickException):
        return _usage(failed, arguments)
    if isinstance(failed, OSError) and failed.filename is not None:
        return CliError(f'"{failed.filename}": {failed.strerror}')
    if isinstance(failed, OSError) and failed.errno in _UNWRITABLE:
        return _unwritable(failed)
    if isinstance(failed, TimeoutError):
        return CliError("timed out waiting for the server")
    if isinstance(failed, RecursionError | MemoryError):
        return CliError("the input is nested too deeply or too large")
    kind = type(failed).__name__
    return CliError(
        f"{kind}: {failed} (this should not happen; MINIPOD_DEBUG=1 shows where it did)"
    )


def _usage(failed: click.ClickException, arguments: list[str]) -> CliError:
    ctx = getattr(failed, "ctx", None)
    named = next((f"minipod {each}" for each in arguments if each in COMMANDS), "minipod")
    where = ctx.command_path if ctx is not None else named  # the parser of options tells none
    if isinstance(failed, click.NoSuchCommand):
        known = (
            ctx.command.commands if ctx is not None and isinstance(ctx.command, click.Group) else ()
        )
        return unknown_command(failed.command_name, where, known)
    if isinstance(failed, click.NoSuchOption):
        return _unknown_flag(failed.option_name, where)
    if isinstance(failed, click.BadOptionUsage):
        return UsageError(f"flag needs an argument: {failed.option_name}", where)
    if isinstance(failed, click.MissingParameter) and isinstance(failed.param, click.Argument):
        return UsageError(f"{str(failed.param.name).upper()} is required", where)
    if isinstance(failed, click.MissingParameter) and failed.param is not None:
        return UsageError(f'required flag "{failed.param.opts[-1]}" not set', where)
    if isinstance(failed, click.BadParameter) and failed.param is not None:
        name = max(failed.param.opts, key=len)
        return UsageError(f'invalid argument for "{name}": {failed.message.rstrip(".")}', where)
    return UsageError(failed.format_message().rstrip("."), where)


def _unknown_flag(name: str, where: str) -> CliError:
    refused = REFUSED.get(name)
    if refused:
        return CliError(f"{name} makes no sense here: {refused}")
    if name.startswith("--"):
        return UsageError(f"unknown flag: {name}", where)
    return UsageError(f"unknown shorthand flag: '{name[1:2]}' in {name}", where)


def _flushed(code: int) -> int:
    """Flush what was printed; a reader that has gone away is no error worth a message."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return PIPE_CLOSED
    except OSError as failed:
        return code or _explain(_unwritable(failed), [])
    return code


def _unwritable(failed: OSError) -> CliError:
    return CliError(f"cannot write the output: {failed.strerror}")
