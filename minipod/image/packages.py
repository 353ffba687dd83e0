"""Debian packages for images: chosen by apt from the host's sources, kept in a folder, so a second build is offline.

apt runs with a state directory of its own, as if nothing were installed; the host's package database is neither
read nor changed, its lists of packages are read, its hooks do not run. What apt chose is remembered; when a
package cannot be had, the last choice that is complete in the folder is taken.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from .apt import Apt, first_error, run
from .durable import locked
from .errors import ImageError
from .progress import Progress

HOST_LISTS = Path("/var/lib/apt/lists")
HOST_ARCHIVES = Path("/var/cache/apt/archives")
_WANTED = re.compile(r"'(?P<uri>[^']+)' (?P<file>\S+\.deb) (?P<size>\d+) SHA256:(?P<hash>\S+)")
_AR_HEADER = 8 + 16  # of a .deb: magic, then the first member's name, then its date

_INSTALLED = "Status: install ok installed\n"
# An excluded package satisfies whoever depends on it, in any version, and needs nothing itself.
_ABSENT = "Package: {name}\nArchitecture: all\nMulti-Arch: foreign\nVersion: 9999:0\n" + _INSTALLED


@dataclass(frozen=True)
class Package:
    """A package file."""

    name: str
    version: str
    path: Path
    sha256: str

    @property
    def date(self) -> int:
        """When it was built, in seconds since the epoch: the date its members carry (deb(5), ar)."""
        with open(self.path, "rb") as stream:
            stream.seek(_AR_HEADER)
            return int(stream.read(12))

    def control(self) -> str:
        """Return the control file, as deb-control(5) has it."""
        return run(["dpkg-deb", "-f", str(self.path)], f'package "{self.path}"').strip()


@dataclass(frozen=True)
class _Wanted:
    """What apt would fetch."""

    file: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.file.split("_")[0]

    @property
    def version(self) -> str:
        return unquote(self.file.split("_")[1])


class PackageFolder:
    """The folder that packages are kept in, and the way to get more."""

    def __init__(
        self, folder: Path, progress: Progress, update: bool = False, sources: Path | None = None
    ) -> None:
        """`update` fetches fresh lists first; `sources` is a sources.list(5) to use instead of the host's."""
        self.folder = folder
        self._progress = progress
        self._update = update
        self._has_sources = sources is not None
        self._apt = Apt(folder, sources.resolve() if sources else None)
        self._own_lists = folder / "lists"
        if sources:
            self._own_lists = (
                folder / f"lists-{hashlib.sha256(sources.read_bytes()).hexdigest()[:16]}"
            )
        (folder / "resolved").mkdir(parents=True, exist_ok=True)
        (self._own_lists / "partial").mkdir(parents=True, exist_ok=True)

    def resolve(
        self, names: Sequence[str], excluded: Sequence[str], installed: Sequence[Package]
    ) -> list[Package]:
        """Return `names` with everything they depend on, beyond what is `installed`, by name.

        Raises ImageError when apt knows no such packages, or when one can neither be found here nor fetched.
        """
        if not names:
            return []
        key = _key(names, excluded, installed)
        with locked(self.folder / "lock"):
            self._clear_leftovers()
            try:
                wanted = self._choose(names, excluded, installed)
            except ImageError as error:
                return self._remembered(key, error)
            self._remember(key, wanted)
        return [self._package(each) for each in wanted]

    def _choose(
        self, names: Sequence[str], excluded: Sequence[str], installed: Sequence[Package]
    ) -> list[_Wanted]:
        """Ask apt, and fetch what is missing; once more with fresh lists when the mirror has moved on."""
        fresh = self._update or not _package_lists(self._lists())
        self._update = False
        if fresh:
            self._refresh_lists()
        try:
            return self._chosen(names, excluded, installed)
        except ImageError:
            if fresh:
                raise
            self._progress.step("the package lists seem to be out of date")
            self._refresh_lists()
            return self._chosen(names, excluded, installed)

    def _chosen(
        self, names: Sequence[str], excluded: Sequence[str], installed: Sequence[Package]
    ) -> list[_Wanted]:
        present = [f"{package.control()}\n{_INSTALLED}" for package in installed]
        present += [_ABSENT.format(name=name) for name in excluded]
        question = ["-y", "--print-uris", "-o", "Acquire::ForceHash=SHA256", "install", *names]
        output = self._apt.run(question, self._lists(), "\n".join(present))
        wanted = [_Wanted(m["file"], int(m["size"]), m["hash"]) for m in _WANTED.finditer(output)]
        self._fetch([each for each in wanted if not self._have(each)])
        return sorted(wanted, key=lambda each: each.file)

    # -- lists -----------------------------------------------------------------------------------

    def _lists(self) -> Path:
        """Our own lists, or the host's when they are newer and it is the host's sources that count."""
        own = self._own_lists
        if self._has_sources or _newest(_package_lists(own)) > _newest(_package_lists(HOST_LISTS)):
            return own
        return HOST_LISTS

    def _refresh_lists(self) -> None:
        self._progress.step("fetching package lists")
        try:
            self._apt.run(["update"], self._own_lists)
        except ImageError:
            if not _package_lists(self._own_lists):  # one broken source of several does not matter
                raise
        for path in _package_lists(self._own_lists):
            os.utime(path)

    # -- files -----------------------------------------------------------------------------------

    def _have(self, wanted: _Wanted) -> bool:
        """Tell whether the package is in the folder; the host's own copy is taken over when it is the same."""
        own = self.folder / wanted.file
        if _matches(own, wanted):
            return True
        host = HOST_ARCHIVES / wanted.file
        if not _matches(host, wanted):
            return False
        partial = self.folder / f"partial-{wanted.file}"
        shutil.copyfile(host, partial)
        os.rename(partial, own)
        return True

    def _fetch(self, missing: list[_Wanted]) -> None:
        if not missing:
            return
        size = sum(each.size for each in missing)
        self._progress.step(f"fetching {len(missing)} packages ({size / 1e6:.1f} MB)")
        with tempfile.TemporaryDirectory(prefix="partial-", dir=self.folder) as partial:
            self._download(missing, size, partial)
            for each in missing:
                path = Path(partial, each.file)
                if not _matches(path, each):
                    raise ImageError(f'package "{each.file}" was not fetched whole')
                os.rename(path, self.folder / each.file)

    def _download(self, missing: list[_Wanted], size: int, directory: str) -> None:
        """Let apt fetch into `directory`; it says "Get:" when it begins with a package."""
        sizes = {each.name: each.size for each in missing}
        done = 0

        def watch(line: str) -> None:
            nonlocal done
            if line.startswith("Get:"):
                self._progress.amount("fetching", done, size)
                done += next((sizes[word] for word in line.split() if word in sizes), 0)

        arguments = ["download", *(f"{each.name}={each.version}" for each in missing)]
        self._apt.run(arguments, self._lists(), directory=directory, watch=watch)

    def _package(self, wanted: _Wanted) -> Package:
        path = self.folder / wanted.file
        return Package(wanted.name, wanted.version, path, wanted.sha256)

    def _clear_leftovers(self) -> None:
        for path in self.folder.glob("partial-*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    # -- what was chosen before ------------------------------------------------------------------

    def _remember(self, key: str, wanted: Iterable[_Wanted]) -> None:
        path = self.folder / "resolved" / f"{key}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps([[w.file, w.size, w.sha256] for w in wanted], indent=0))
        os.rename(partial, path)

    def _remembered(self, key: str, error: ImageError) -> list[Package]:
        try:
            found = json.loads((self.folder / "resolved" / f"{key}.json").read_text())
        except (OSError, ValueError):
            raise error from None
        wanted = [_Wanted(*each) for each in found]
        if not all(self._have(each) for each in wanted):
            raise error
        self._progress.step(f"building from the packages of the last build ({error})")
        return [self._package(each) for each in wanted]


def unpacked_tar(package: Package, spool: Path) -> None:
    """Write the package's files, as an uncompressed tar archive, to `spool`."""
    with open(spool, "wb") as stream:
        command = ["dpkg-deb", "--fsys-tarfile", str(package.path)]
        done = subprocess.run(
            command, stdout=stream, stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode:
        raise ImageError(f'package "{package.path}": {first_error(done.stderr)}')


def _key(names: Sequence[str], excluded: Sequence[str], installed: Sequence[Package]) -> str:
    text = json.dumps([sorted(names), sorted(excluded), sorted(p.name for p in installed)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _matches(path: Path, wanted: _Wanted) -> bool:
    try:
        if path.stat().st_size != wanted.size:
            return False
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == wanted.sha256
    except FileNotFoundError:
        return False


def _package_lists(directory: Path) -> list[Path]:
    return list(directory.glob("*_Packages*"))


def _newest(paths: Iterable[Path]) -> float:
    return max((path.stat().st_mtime for path in paths), default=0.0)
