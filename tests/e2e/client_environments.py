"""Installs the client libraries that the tests drive, each kind into an environment of its own, once.

`python -m tests.e2e.client_environments` does it ahead, beside other tests; a test that comes meanwhile waits for it.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent / "clients"
CACHE = HERE.parents[2] / ".venv" / "clients"
Run = Callable[..., None]


def run(*command: str, directory: Path) -> None:
    """Run an installer in a directory. Raises RuntimeError with the end of what it said."""
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} cannot install the clients: {done.stderr.strip()[-300:]}")


def install_python(call: Run = run) -> Path:
    """Return the interpreter of an environment that has the Python clients."""
    wanted = (HERE / "requirements.txt").read_text()
    place = CACHE / "python"
    with _once(place, wanted) as missing:
        if missing:
            call(sys.executable, "-m", "venv", str(place), directory=CACHE)
            pip = [str(place / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
            call(*pip, "-r", str(HERE / "requirements.txt"), directory=CACHE)
    return place / "bin/python"


def install_node(call: Run = run) -> Path:
    """Return a directory whose node_modules has the JavaScript client."""
    wanted = (HERE / "package.json").read_text()
    place = CACHE / "node"
    with _once(place, wanted) as missing:
        if missing:
            (place / "package.json").write_text(wanted)
            install = [shutil.which("npm") or "npm", "install", "--silent", "--no-audit"]
            call(*install, "--no-fund", directory=place)
    return place


@contextmanager
def _once(place: Path, wanted: str) -> Iterator[bool]:
    """Hold the only right to install in `place`; yield whether it has not `wanted` yet, and note that it has then."""
    place.mkdir(parents=True, exist_ok=True)
    stamp = place / "installed"
    descriptor = os.open(place.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        missing = not stamp.exists() or stamp.read_text() != wanted
        yield missing
        if missing:
            stamp.write_text(wanted)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    try:
        install_python()
        if shutil.which("npm"):
            install_node()
    except RuntimeError as failure:
        sys.exit(f"{failure}")
