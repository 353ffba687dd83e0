"""apt-get on a state of its own: as if nothing were installed, without the host's hooks, as whatever user this is."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import ImageError

_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
Dir::State "{state}";
Dir::State::status "{status}";
Dir::State::lists "{lists}";
Dir::Cache "{state}";
Dir::Cache::archives "{state}/archives";
Dir::Cache::pkgcache "{pkgcache}";
Dir::Cache::srcpkgcache "";
Debug::NoLocking "1";
APT::Install-Recommends "0";
APT::Install-Suggests "0";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
"""
_SOURCES = """\
Dir::Etc::sourcelist "{path}";
Dir::Etc::sourceparts "/dev/null";
"""


class Apt:
    """Runs apt-get. `folder` takes its state while it runs, in a directory named "partial-..."."""

    def __init__(self, folder: Path, sources: Path | None) -> None:
        self._folder = folder
        self._sources = sources

    def run(
        self,
        arguments: list[str],
        lists: Path,
        status: str = "",
        directory: str | None = None,
        watch: Callable[[str], None] | None = None,
    ) -> str:
        """Run apt-get with the package lists in `lists` and the dpkg status file `status`; return what it says.

        `watch` gets each line as it comes. Raises ImageError with apt's own first error.
        """
        with tempfile.TemporaryDirectory(prefix="partial-", dir=self._folder) as state:
            Path(state, "archives", "partial").mkdir(parents=True)
            Path(state, "status").write_text(status)
            text = _CONFIGURATION.format(
                state=state,
                status=f"{state}/status",
                lists=lists,
                pkgcache=f"{state}/pkgcache.bin",
            )
            if self._sources:
                text += _SOURCES.format(path=self._sources)
            configuration = Path(state, "apt.conf")
            configuration.write_text(text)
            command = ["apt-get", "-c", str(configuration), "-q", *arguments]
            return run(command, "apt-get", directory, watch)


def run(
    command: list[str],
    what: str,
    directory: str | None = None,
    watch: Callable[[str], None] | None = None,
) -> str:
    """Run a program of Debian's and return its output; raises ImageError with its first error."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    environment.pop("APT_CONFIG", None)
    with tempfile.TemporaryFile("w+") as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                text=True, cwd=directory, env=environment,
            )  # fmt: skip
        except FileNotFoundError:
            raise ImageError(
                f'"{command[0]}" is not installed; images are built on Debian and its kin'
            ) from None
        output = _read(process, watch)
        errors.seek(0)
        if process.returncode == -signal.SIGINT:  # the same key has been pressed for us
            raise KeyboardInterrupt
        if process.returncode:
            raise ImageError(f"{what}: {first_error(errors.read())}")
    return output


def _read(process: "subprocess.Popen[str]", watch: Callable[[str], None] | None) -> str:
    lines: list[str] = []
    with process:
        try:
            for line in process.stdout or ():
                lines.append(line)
                if watch:
                    watch(line)
        except BaseException:
            process.kill()
            raise
    return "".join(lines)


def first_error(text: str) -> str:
    """Return the line of a program's error output that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    return (errors or lines or ["it failed without a word"])[0]
