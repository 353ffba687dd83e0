"""The Vagrantfile is one that Vagrant takes; where there is none (Debian 13), at least one that Ruby can read."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def test_the_vagrantfile_is_valid(tmp_path: Path) -> None:
    command = ["vagrant", "validate", "--ignore-provider"]
    if not shutil.which("vagrant"):
        if not shutil.which("ruby"):
            pytest.skip(
                "neither vagrant nor ruby is installed; scripts/setup.sh --test installs one"
            )
        command = ["ruby", "-c", "Vagrantfile"]
    own = {"VAGRANT_HOME": f"{tmp_path}/home", "VAGRANT_DOTFILE_PATH": f"{tmp_path}/data"}
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | own | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
