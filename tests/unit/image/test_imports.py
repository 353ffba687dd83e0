"""The daemon imports the store on its way up: it must stay light."""

import subprocess
import sys

HEAVY = {"tarfile", "gzip", "bz2", "lzma", "zlib", "tomllib", "argparse", "shutil", "tempfile"}


def test_the_store_imports_no_archive_modules() -> None:
    code = "import sys, minipod.image.store; print(*sys.modules)"
    run = [sys.executable, "-S", "-c", code]
    modules = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY.intersection(modules)
