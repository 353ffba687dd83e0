"""Every unmodified kubectl of this host, over HTTPS, as a person would use it."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance

_NAME = re.compile(r"kubectl(\.\d+\.\d+)?")


def find_kubectls() -> list[str]:
    """Return the kubectls on PATH, and the versions that are kept beside the one that is found first."""
    first = shutil.which("kubectl")
    places = {os.path.dirname(os.path.realpath(first))} if first else set()
    found = [path for place in sorted(places) for path in Path(place).iterdir()]
    named = {str(path) for path in found if _NAME.fullmatch(path.name) and os.access(path, os.X_OK)}
    return sorted(named)


class Kubectl:
    """One kubectl with one kubeconfig."""

    def __init__(self, program: str, config: Path) -> None:
        self.program = program
        self.config = config

    def run(
        self, *arguments: str, check: bool = True, text: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run `kubectl ARGUMENTS`; with `check`, a failure shows what it said."""
        cache = f"--cache-dir={self.config.parent / 'cache'}"
        done = subprocess.run(
            [self.program, f"--kubeconfig={self.config}", cache, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        said = f"{done.stdout}{done.stderr}"
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {said}"
        return done

    def out(self, *arguments: str, **more: Any) -> str:
        """Return what `kubectl ARGUMENTS` prints."""
        return self.run(*arguments, **more).stdout

    def refused(self, *arguments: str, **more: Any) -> str:
        """Return what kubectl says when it fails, which it must."""
        done = self.run(*arguments, check=False, **more)
        assert done.returncode != 0, done.stdout
        return done.stderr


def kubeconfig(instance: Instance, directory: Path, *options: str) -> Path:
    """Write a kubeconfig of `minipod kubeconfig OPTIONS`."""
    path = directory / f"config-{len(list(directory.iterdir()))}"
    instance.run("kubeconfig", "--file", str(path), *options)
    return path
