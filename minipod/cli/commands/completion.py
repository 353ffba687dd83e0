"""`minipod completion`."""

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError


@flags.command(
    examples="""
    source <(minipod completion bash)
    minipod completion bash > /etc/bash_completion.d/minipod
    minipod completion zsh > "${fpath[1]}/_minipod"
    minipod completion fish > ~/.config/fish/completions/minipod.fish
    """
)
@click.argument("shell", type=flags.Words("bash", "zsh", "fish"), required=False)
def command(shell: str | None) -> None:
    """Print the script that makes a shell complete commands, flags, their values, and the names of live objects."""
    from minipod.cli.main import root_command
    from minipod.cli.shells import SHELLS

    if shell not in SHELLS:
        raise CliError(
            f"unsupported shell type {shell!r}: give one of {', '.join(SHELLS)}"
            if shell
            else "Shell not specified."
        )
    completer = SHELLS[shell](root_command(), {}, "minipod", "_MINIPOD_COMPLETE")
    print(completer.source_template % completer.source_vars())
