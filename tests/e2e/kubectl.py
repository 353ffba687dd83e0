"""Every unmodified kubectl of this host, over HTTPS, as a person would use it."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance

_NAME, _NUMBER = re.compile(r"kubectl(\.\d+\.\d+)?"), re.compile(r"(\d+)\.(\d+)")

OLDEST = 1, 27  # older ones have not all the flags that the tests use; Debian 12's own is 1.20


@functools.cache
def find_kubectls() -> list[str]:
    """Return a kubectl of each version from OLDEST on: those beside the one on PATH, and what the set-up brought."""
    first = shutil.which("kubectl")
    places = {os.path.dirname(os.path.realpath(first))} if first else set()
    places.add(f"{sys.prefix}/bin")
    found = {path for place in places for path in Path(place).iterdir()}
    named = sorted(p for p in found if _NAME.fullmatch(p.name) and os.access(p, os.X_OK))
    by_version = {version_of(str(path)): str(path) for path in named}
    return [by_version[version] for version in sorted(by_version) if version >= OLDEST]


@functools.cache
def version_of(program: str) -> tuple[int, int]:
    """Return a kubectl's minor version, as in (1, 36)."""
    number = _NUMBER.search(Path(program).name)
    if number is None:
        asked = (program, "version", "--client", "-o", "json")
        shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        number = _NUMBER.search(json.loads(shown)["clientVersion"]["gitVersion"])
    assert number, program
    return int(number[1]), int(number[2])


class Kubectl:
    """One kubectl with one kubeconfig."""

    def __init__(self, program: str, config: Path) -> None:
        self.program, self.version = program, version_of(program)
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
