"""`minipod completion`."""

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError

SHELLS = ("bash", "zsh", "fish")


@flags.command(
    examples="""
    source <(minipod completion bash)
    minipod completion bash > /etc/bash_completion.d/minipod
    minipod completion zsh > "${fpath[1]}/_minipod"
    minipod completion fish > ~/.config/fish/completions/minipod.fish
    """
)
@click.argument("shell", type=str, metavar="bash|zsh|fish", required=False)
def command(shell: str | None) -> None:
    """Print the script that makes a shell complete commands, flags, and the names of live objects."""
    from click.shell_completion import get_completion_class

    from minipod.cli.main import root_command

    if shell not in SHELLS:
        raise CliError(
            f"unsupported shell type {shell!r}: give one of {', '.join(SHELLS)}"
            if shell
            else "Shell not specified."
        )
    found = get_completion_class(shell)
    assert found is not None
    completer = found(root_command(), {}, "minipod", "_MINIPOD_COMPLETE")
    print(completer.source_template % completer.source_vars())
