"""`minipod install-units`."""

import os
import shlex
import sys
from pathlib import Path

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError

UNITS = ("minipod.service", "minipod-shim.service")
DIRECTORY = "/etc/systemd/system"


@flags.command(
    name="install-units",
    examples="""
    sudo minipod install-units
    minipod install-units --directory=/tmp/units
    """,
)
@click.option(
    "--directory",
    default=DIRECTORY,
    metavar="DIR",
    help=f"Where to put them [default: {DIRECTORY}]",
)
def command(directory: str) -> None:
    """Install the systemd units of daemon and shim, for the minipod that runs this command."""
    program = program_line()
    for name in UNITS:
        path = Path(directory, name)
        try:
            path.write_text(unit(name, program))
        except OSError as failed:
            raise CliError(f'cannot write "{path}": {failed.strerror}') from failed
        print(f"wrote {path}")
    print("next: systemctl daemon-reload && systemctl enable --now minipod-shim minipod")


def unit(name: str, program: str) -> str:
    """Return a unit's text with the command line of minipod filled in."""
    template = Path(__file__).parents[2] / "systemd" / name
    return template.read_text().replace("@MINIPOD@", program)


def program_line() -> str:
    """Return how to start minipod with this interpreter, as systemd wants it: an absolute path first."""
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "minipod" and os.access(script, os.X_OK):
        words = [script]
    else:
        words = [sys.executable, "-P", "-m", "minipod.cli"]
    return " ".join(shlex.quote(each).replace("%", "%%") for each in words)
