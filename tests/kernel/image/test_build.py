"""Images from recipes and a package repository of our own: reproducible, offline the second time, safe to kill."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minipod.image import apt
from minipod.image.build import Built, build
from minipod.image.packages import PackageFolder
from minipod.image.progress import Progress
from minipod.image.store import ImageStore

from .archives import tree

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not shutil.which("apt-get"), reason="needs Debian's apt-get"),
]
REPOSITORY_ROOT = Path(__file__).parents[3]

BASE = """
[image]
name = "base"
[packages]
install = ["mp-base"]
[config]
cmd = ["/bin/tool"]
[config.env]
LANG = "C.UTF-8"
[config.labels]
one = "1"
[[user]]
name = "root"
uid = 0
gid = 0
home = "/root"
shell = "/bin/sh"
"""
APP = """
[image]
name = "app"
base = "../base"
aliases = ["other.example/app:9"]
[packages]
install = ["mp-app"]
exclude = ["mp-unwanted"]
[config]
entrypoint = ["/usr/bin/app"]
user = "app"
stop_signal = "SIGQUIT"
ports = ["80/tcp"]
[config.env]
MODE = "x=y"
[[user]]
name = "app"
uid = 10
gid = 11
[[file]]
path = "/etc/app"
source = "app.conf"
"""


def make_package(
    folder: Path, name: str, files: dict[str, str], depends: str = "", version: str = "1.0"
) -> None:
    content = folder / "content"
    (content / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: x\n"
    control += f"Depends: {depends}\n" if depends else ""
    (content / "DEBIAN/control").write_text(control)
    for path, text in files.items():
        (content / path).parent.mkdir(parents=True, exist_ok=True)
        (content / path).write_text(text)
    target = folder / f"{name}_{version}_all.deb"
    command = ["dpkg-deb", "-Zgzip", "--root-owner-group", "-b", content, target]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    shutil.rmtree(content)


def make_index(folder: Path) -> None:
    entries = []
    for path in sorted(folder.glob("*.deb")):
        control = subprocess.run(
            ["dpkg-deb", "-f", path], check=True, capture_output=True, text=True
        ).stdout
        data = path.read_bytes()
        entries.append(
            f"{control}Filename: ./{path.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
    (folder / "Packages").write_text("\n".join(entries))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    files = {
        "bin/tool": "tool",
        "usr/share/man/m": "m",
        "usr/share/doc/mp-base/copyright": "c",
        "usr/share/doc/x": "d",
    }
    make_package(folder, "mp-base", files)
    make_package(folder, "mp-library", {"usr/lib/library": "library"})
    make_package(folder, "mp-unwanted", {"usr/bin/unwanted": "u"}, depends="mp-more")
    make_package(folder, "mp-more", {"usr/bin/more": "m"})
    make_package(
        folder, "mp-app", {"usr/bin/app": "app"}, depends="mp-base, mp-library, mp-unwanted (>= 2)"
    )
    make_index(folder)
    return folder


class Place:
    """A checkout with recipes, a store, a folder of packages."""

    def __init__(self, root: Path, repository: Path) -> None:
        self.root = root
        self.repository = root / "repository"
        shutil.copytree(repository, self.repository)
        for name, text in (("base", BASE), ("app", APP)):
            (root / "images" / name).mkdir(parents=True)
            (root / "images" / name / "recipe.toml").write_text(text)
        (root / "images/app/app.conf").write_text("setting\n")
        self.sources = root / "sources.list"
        self.sources.write_text(f"deb [trusted=yes] copy:{self.repository} ./\n")
        self.said = io.StringIO()
        self.progress = Progress(self.said)

    @property
    def store(self) -> ImageStore:
        return ImageStore(self.root / "lib/images")

    def build(self, name: str) -> Built:
        packages = PackageFolder(self.root / "lib/packages", self.progress, sources=self.sources)
        return build(self.store, self.root / "images" / name, packages, Progress(quiet=True))

    def command(self, *arguments: object) -> list[str]:
        verb = [
            sys.executable,
            "-m",
            "minipod.image",
            "--root",
            str(self.root),
            *map(str, arguments),
        ]
        return verb + (["--sources", str(self.sources)] if arguments[0] == "build" else [])

    def run(self, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False, cwd=REPOSITORY_ROOT,
            env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, repository: Path) -> Place:
    return Place(tmp_path / "one", repository)


def test_an_image_is_its_packages_and_its_recipe(place: Place) -> None:
    built = place.build("app")
    image = built.image
    top, base = map(Path, image.layers)
    found = tree(base)
    assert found["usr/bin/tool"] == "tool"
    assert found["bin"] == "-> usr/bin"
    assert found["usr/share/doc/mp-base/copyright"] == "c"
    assert "usr/share/man/m" not in found
    assert "usr/share/doc/x" not in found
    found = tree(top)
    assert {path for path in found if path.startswith("usr/bin/")} == {"usr/bin/app"}
    assert found["usr/lib/library"] == "library"
    assert found["etc/app"] == "setting\n"
    assert found["etc/passwd"] == (
        "root:x:0:0::/root:/bin/sh\napp:x:10:11::/nonexistent:/usr/sbin/nologin\n"
    )
    assert "Version: 1.0" in found["var/lib/dpkg/status.d/mp-app"]
    config = image.config
    assert (config.entrypoint, config.cmd) == (("/usr/bin/app",), ())
    assert config.env[-2:] == ("LANG=C.UTF-8", "MODE=x=y")
    assert (config.user, config.stop_signal, config.exposed_ports) == (
        "app",
        "SIGQUIT",
        ("80/tcp",),
    )
    assert ("one", "1") in config.labels
    assert image.created == "2023-11-14T22:13:20Z"
    assert place.store.require("other.example/app:9") == image
    assert place.store.require("base").layers == image.layers[1:]
    assert len(list(place.store.layers.iterdir())) == 2


def test_the_same_inputs_give_the_same_digest_anywhere(
    place: Place, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.build("app").image
    other = Place(tmp_path / "elsewhere" / "two", repository)
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    previous = os.umask(0o077)
    try:
        second = other.build("app").image
    finally:
        os.umask(previous)
    assert second.manifest_digest == first.manifest_digest
    assert second.id == first.id
    blobs = {path.name: path.read_bytes() for path in place.store.blobs.iterdir()}
    assert blobs == {path.name: path.read_bytes() for path in other.store.blobs.iterdir()}


def test_a_second_build_needs_no_network_and_no_work(place: Place) -> None:
    first = place.build("app")
    assert first.fresh
    shutil.rmtree(place.repository)
    before = {path: path.stat().st_mtime_ns for path in place.store.blobs.iterdir()}
    second = place.build("app")
    assert not second.fresh
    assert second.image == first.image
    assert {path: path.stat().st_mtime_ns for path in place.store.blobs.iterdir()} == before
    place.store.remove("app")
    place.store.remove("base")
    place.store.collect_garbage()
    assert place.build("app").image.manifest_digest == first.image.manifest_digest


def test_when_lists_have_moved_on_but_nothing_can_be_fetched_the_last_packages_are_taken(
    place: Place,
) -> None:
    first = place.build("base").image
    place.store.remove("base")
    make_package(place.repository, "mp-base", {"bin/tool": "newer"}, version="2.0")
    make_index(place.repository)
    (place.repository / "mp-base_2.0_all.deb").unlink()
    packages = PackageFolder(place.root / "lib/packages", place.progress, True, place.sources)
    again = build(place.store, place.root / "images/base", packages, Progress(quiet=True)).image
    assert again.manifest_digest == first.manifest_digest
    assert "packages of the last build" in place.said.getvalue()


def test_a_new_package_version_makes_a_new_image(place: Place) -> None:
    first = place.build("base").image
    make_package(place.repository, "mp-base", {"bin/tool": "newer"}, version="2.0")
    make_index(place.repository)
    packages = PackageFolder(place.root / "lib/packages", place.progress, True, place.sources)
    second = build(place.store, place.root / "images/base", packages, Progress(quiet=True)).image
    assert second.id != first.id
    assert tree(Path(second.layers[0]))["usr/bin/tool"] == "newer"
    assert place.store.collect_garbage().layers == 1


def test_a_changed_recipe_or_file_makes_a_new_image(place: Place) -> None:
    first = place.build("app").image
    (place.root / "images/app/app.conf").write_text("changed\n")
    second = place.build("app")
    assert second.fresh
    assert second.image.id != first.id
    assert second.image.layers[1] == first.layers[1]


def test_a_damaged_package_is_fetched_again(place: Place) -> None:
    first = place.build("base").image
    place.store.remove("base")
    package = place.root / "lib/packages/mp-base_1.0_all.deb"
    package.write_bytes(b"x" * package.stat().st_size)
    assert place.build("base").image.id == first.id


def change(place: Place, old: str, new: str) -> None:
    path = place.root / "images/app/recipe.toml"
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('install = ["mp-app"]', 'install = ["mp-nonexistent"]', "mp-nonexistent"),
        ('exclude = ["mp-unwanted"]', "", "apt-get: "),
        ('base = "../base"', 'base = "../app"', "stands on itself"),
        ('base = "../base"', 'base = "../nowhere"', "no recipe"),
        ('source = "app.conf"', 'source = "missing.conf"', "missing.conf"),
        ('source = "app.conf"', 'copy = "/missing"', 'no file "/missing"'),
        (
            "[[file]]",
            '[certificates]\nbundle = "/b"\n[[file]]',
            "needs the package ca-certificates",
        ),
    ],
)
def test_what_cannot_be_built_says_why_and_leaves_nothing(
    place: Place, old: str, new: str, complaint: str
) -> None:
    change(place, old, new)
    done = place.run("build", place.root / "images/app")
    assert done.returncode == 1
    assert complaint in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert place.store.resolve("app") is None
    assert list(place.store.scratch.iterdir()) == []


POINTS = [*(f"image.blob@{n}" for n in (1, 2, 3, 4, 5, 6)), "image.layer@1", "image.layer@2", "image.publish@1",
          "image.publish@2"]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_build_shows_nothing_half_made_and_is_built_again(
    place: Place, expected: str, point: str
) -> None:
    done = place.run("build", place.root / "images/app", MINIPOD_FAULT=point)
    assert done.returncode == -signal.SIGKILL
    store = place.store
    for image in store.list():  # the base may be complete
        assert image.reference == "docker.io/library/base:latest"
        assert all(os.path.isdir(layer) for layer in image.layers)
    assert store.resolve("app") is None
    again = place.run("build", place.root / "images/app")
    assert again.returncode == 0, again.stderr
    assert store.require("app").manifest_digest == expected
    assert list(store.scratch.iterdir()) == []
    assert store.collect_garbage().blobs == 0


def test_two_builds_at_once_make_one_image(place: Place, expected: str) -> None:
    command = place.command("build", place.root / "images/app")
    both = [
        subprocess.Popen(
            command, cwd=REPOSITORY_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert place.store.require("app").manifest_digest == expected
    assert list(place.store.scratch.iterdir()) == []
    assert len(list(place.store.layers.iterdir())) == 2


def test_building_without_root_says_so(place: Place) -> None:
    # become somebody else once all is imported: he may not be able to read this checkout
    become = "os.setgroups([]); os.setgid(65534); os.setuid(65534)"
    code = f"import os, sys; from minipod.image import __main__ as m, build, packages; {become}"
    verb = place.command("build", "x")
    arguments = verb[verb.index("minipod.image") + 1 :]
    command = [sys.executable, "-c", f"{code}; sys.exit(m.main(sys.argv[1:]))", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "it needs root" in done.stderr


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> str:
    return Place(tmp_path_factory.mktemp("expected"), repository).build("app").image.manifest_digest


INTERRUPTIBLE = ("env", "--default-signal=INT")  # a shell has its background jobs ignore it


def test_an_interrupted_build_cleans_up(place: Place) -> None:
    """The interrupt comes while apt runs: a source that never answers is a pipe nobody writes to."""
    os.mkfifo(place.root / "pipe")
    (place.repository / "Packages").unlink()
    (place.repository / "Packages").symlink_to(place.root / "pipe")
    command = [*INTERRUPTIBLE, *place.command("build", place.root / "images/base")]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY_ROOT, start_new_session=True
    )
    assert process.stderr is not None
    while "fetching package lists" not in process.stderr.readline():
        pass
    with (place.root / "pipe").open("wb"):  # returns when apt has opened its side
        os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert list(place.store.scratch.iterdir()) == []
    assert not list((place.root / "lib/packages").glob("partial-*"))


def test_what_an_interrupt_has_ended_is_an_interrupt() -> None:
    """Even when the program hears of it before minipod does."""
    with pytest.raises(KeyboardInterrupt):
        apt.run([*INTERRUPTIBLE, "sh", "-c", "kill -INT $$"], "sh")


# -- the verbs -----------------------------------------------------------------------------------


def test_the_verbs_do_what_they_say(place: Place) -> None:
    def said(*arguments: object, status: int = 0) -> str:
        done = place.run(*arguments)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stderr

    built = said("build", place.root / "images/app")
    assert built.startswith("app:latest sha256:")
    lines = said("list").splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [line.split()[:2] for line in lines[1:]] == [["app", "latest"], ["base", "latest"]]
    assert lines[1].split()[2] in built
    listed = json.loads(said("list", "-o", "json"))
    assert listed[0]["aliases"] == ["other.example/app:9"]
    assert json.loads(said("inspect", "app"))[0] == listed[0]
    said("tag", "app", "local/app:2")
    said("alias", "elsewhere/app", "local/app:2")
    assert "docker.io/elsewhere/app:latest" in said("alias")
    said("save", "-o", place.root / "a.tar", "local/app:2")
    assert said("remove", "local/app:2") == "removed local/app:2\n"
    assert said("load", place.root / "a.tar").startswith("loaded local/app:2 sha256:")
    assert "is not in the store" in said("inspect", "nope", status=1)
    assert "invalid image reference" in said("tag", "app", "NOPE", status=1)
    assert '"/nowhere.tar": No such file' in said("load", "/nowhere.tar", status=1)
    assert "no recipe" in said("build", "/nowhere", status=1)
    assert said("list", "-q").splitlines() == [
        each["id"] for each in json.loads(said("list", "-o", "json"))
    ]
    assert said("frobnicate", status=2).startswith("error: argument VERB: invalid choice")
    assert (
        said("rm", status=2)
        == "error: required: IMAGE\nSee 'minipod image remove --help' for usage.\n"
    )
    assert "removed app:latest" in said("rm", "app", "base", "local/app:2")
    assert said("prune") == "deleted 0 blobs (0.0kB) and 0 unpacked layers\n"
    assert list(place.store.layers.iterdir()) == []


def test_standard_input_and_output_carry_archives(place: Place, tmp_path: Path) -> None:
    place.build("app")
    target = ImageStore(tmp_path / "other/lib/images")
    save = place.command("save", "app", "-o", "-")
    saving = subprocess.Popen(save, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=REPOSITORY_ROOT)  # fmt: skip
    loading = [
        sys.executable,
        "-m",
        "minipod.image",
        "--root",
        str(tmp_path / "other"),
        "load",
        "-",
    ]
    done = subprocess.run(
        loading, stdin=saving.stdout, capture_output=True, check=False, cwd=REPOSITORY_ROOT
    )
    assert saving.stdout is not None
    saving.stdout.close()
    assert (saving.wait(), done.returncode) == (0, 0)
    assert target.require("app").manifest_digest == place.store.require("app").manifest_digest
