"""Files between this host and a container, as a tar archive through exec: `tar` runs in the container.

What comes from a container is not trusted: nothing is written outside the destination, no link and no device is made.
"""

import os
import posixpath
import shutil
import tarfile
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from minipod.cli.errors import CliError, SilentExit
from minipod.cli.resources import PODS
from minipod.cli.streams import StreamOptions, run
from minipod.cli.terminal import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minipod.cli.invocation import Invocation


@dataclass(frozen=True)
class FileSpec:
    """One end of a copy: a path here, or in a Pod."""

    path: str
    pod: str = ""
    namespace: str = ""


@dataclass(frozen=True)
class Container:
    """Where `tar` runs."""

    invocation: "Invocation"
    namespace: str
    pod: str
    name: str

    def run(self, arguments: list[str], options: StreamOptions) -> None:
        """Run a command there. Raises SilentExit with its exit code, CliError."""
        query: dict[str, Any] = {"container": self.name, "command": arguments}
        run(self.invocation.api, PODS.path(self.namespace, self.pod, "exec"), query, options)

    def succeeds(self, arguments: list[str]) -> bool:
        """Run a command there quietly; whether its exit code is 0."""
        with open(os.devnull, "r+b") as null:
            descriptors = (null.fileno(),) * 3
            try:
                self.run(
                    arguments, StreamOptions(False, False, quiet=True, descriptors=descriptors)
                )
            except SilentExit:
                return False
        return True


def parse_spec(text: str) -> FileSpec:
    """Return what `[NAMESPACE/]POD:PATH` or a local path means. Raises CliError."""
    place, colon, path = text.partition(":")
    if not colon or text.startswith((".", "/")):
        return FileSpec(text)
    namespace, slash, pod = place.rpartition("/")
    if not pod or "/" in namespace or (slash and not namespace):
        raise CliError("filespec must match the canonical format: [[namespace/]pod:]file/path")
    if not path:
        raise CliError("filepath can not be empty")
    return FileSpec(path, pod, namespace)


# -- to a container ------------------------------------------------------------------------------------


def copy_to(container: Container, source: str, destination: str, *, preserve: bool) -> None:
    """Copy a file or a directory into a container; into `destination` itself when that is a directory."""
    if not os.path.lexists(source):
        raise CliError(f"{source} doesn't exist in local filesystem")
    if container.succeeds(["test", "-d", destination]):
        destination = posixpath.join(destination, os.path.basename(os.path.abspath(source)))
    directory, name = posixpath.split(destination.rstrip("/"))
    command = ["tar"] + ([] if preserve else ["--no-same-permissions", "--no-same-owner"])
    command += ["-xmf", "-"] + (["-C", directory] if directory else [])

    def send(pipe: IO[bytes]) -> None:
        with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.GNU_FORMAT) as archive:
            archive.add(source, arcname=name)

    with _running(container, command, writing=True) as pipe:
        send(pipe)


# -- from a container ----------------------------------------------------------------------------------


def copy_from(container: Container, source: str, destination: str) -> None:
    """Copy a file or a directory out of a container."""
    with _running(container, ["tar", "cf", "-", source], writing=False) as pipe:
        try:
            with tarfile.open(fileobj=pipe, mode="r|") as archive:
                unpack(archive, _prefix(source), Path(destination), container)
        except tarfile.ReadError as bad:
            if pipe.read(1) or "empty" not in str(bad):
                raise CliError(f"what tar in the container sent is no archive: {bad}") from bad
        while pipe.read(65536):  # what fills the last block
            pass


def _prefix(source: str) -> str:
    """Return what the names of an archive of `source` begin with: tar leaves out what leads upwards."""
    parts = [part for part in posixpath.normpath(source).split("/") if part not in ("", ".", "..")]
    return "/".join(parts)


def unpack(
    archive: tarfile.TarFile, prefix: str, destination: Path, container: "Container | None" = None
) -> None:
    """Write an archive's directories and files below `destination`, and nothing anywhere else."""
    inside = destination.is_dir() and bool(prefix)
    destination_for_file = destination / posixpath.basename(prefix) if inside else destination
    for member in archive:
        name = _clean(member.name)
        if name != prefix and prefix and not name.startswith(f"{prefix}/"):
            raise CliError("tar contents corrupted")
        inner = name[len(prefix) :].strip("/")
        target = destination / inner if inner else destination
        if ".." in member.name.split("/") or ".." in Path(inner).parts:
            progress(f'warning: file "{target}" is outside target destination, skipping')
        elif member.isdir():
            _make_directory(destination, target)
        elif member.isfile():
            _write(archive, member, destination, target if inner else destination_for_file)
        elif member.issym() or member.islnk():
            progress(f'warning: skipping symlink: "{target}" -> "{member.linkname}"')
        else:
            progress(f'warning: skipping "{target}": neither a file nor a directory')


def _clean(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _make_directory(root: Path, target: Path) -> None:
    """Make a directory and those above it up to `root`; a link that is in the way below `root` is no directory."""
    for part in [*reversed(target.relative_to(root).parents), target.relative_to(root)]:
        path = root / part
        if path != root and path.is_symlink():
            raise CliError(f'"{path}" is a link: nothing is written through it')
        path.mkdir(parents=path == root, exist_ok=True)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path, target: Path) -> None:
    if target != root and root in target.parents:
        _make_directory(root, target.parent)
        if target.is_symlink():
            raise CliError(f'"{target}" is a link: nothing is written through it')
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None
    with open(target, "wb") as file:
        shutil.copyfileobj(content, file)


@contextmanager
def _running(container: Container, command: list[str], *, writing: bool) -> "Iterator[IO[bytes]]":
    """Run a command in the container with one of its streams as a pipe: its input (`writing`), or its output.

    Raises what the command ended with, after the block.
    """
    theirs, ours = os.pipe() if writing else os.pipe()[::-1]
    failures: list[BaseException] = []
    with open(os.devnull, "r+b") as null:
        descriptors = (theirs, null.fileno(), 2) if writing else (null.fileno(), theirs, 2)
        options = StreamOptions(writing, False, quiet=True, descriptors=descriptors)
        thread = threading.Thread(
            target=_run, args=(lambda: container.run(command, options), theirs, failures)
        )
        thread.start()
        try:
            with open(ours, "wb" if writing else "rb") as pipe:
                yield pipe
        except BrokenPipeError:
            if not writing:
                raise
        finally:
            thread.join()
    if failures:
        raise failures[0]


def _run(work: Callable[[], None], descriptor: int, failures: list[BaseException]) -> None:
    try:
        work()
    except BaseException as failed:  # noqa: BLE001 - raised again by whoever waits for the thread
        failures.append(failed)
    finally:
        os.close(descriptor)
