"""`python -m minipod.image VERB`: the image verbs, which need no daemon and may run beside one.

Exit status: 0 done, 1 refused or failed (one line on standard error), 2 wrong usage, 130 interrupted.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from ..paths import layout
from .errors import ImageError
from .model import Image
from .names import parse_reference
from .progress import Progress
from .store import ImageStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    options = _parser().parse_args(arguments)
    verb: Callable[[argparse.Namespace], None] = options.run
    try:
        verb(options)
        sys.stdout.flush()
    except (ImageError, ValueError) as error:
        return _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        culprit = f'"{error.filename}": ' if error.filename else ""
        return _fail(f"{culprit}{error.strerror or error}")
    except KeyboardInterrupt:
        _fail("interrupted; nothing half-made is left")
        return 130
    return 0


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


# -- verbs ---------------------------------------------------------------------------------------


def _store(options: argparse.Namespace) -> ImageStore:
    return ImageStore(layout(options.root).images)


def _require_root(options: argparse.Namespace) -> None:
    if os.geteuid() != 0:
        raise ImageError(
            f"{options.verb} unpacks layers with their owners: it needs root; use sudo"
        )


def _progress(options: argparse.Namespace) -> Progress:
    return Progress(quiet=options.quiet)


def _build(options: argparse.Namespace) -> None:
    from .build import build
    from .packages import PackageFolder

    _require_root(options)
    progress = _progress(options)
    place = layout(options.root)
    packages = options.packages or os.environ.get("MINIPOD_PACKAGES") or place.state / "packages"
    sources = Path(options.sources) if options.sources else None
    folder = PackageFolder(Path(packages), progress, options.update, sources)
    store = ImageStore(place.images)
    for recipe in options.recipes:
        built = build(store, Path(recipe), folder, progress)
        print(f"{parse_reference(built.image.reference).familiar} {built.image.id}")


def _load(options: argparse.Namespace) -> None:
    from .archive import load

    _require_root(options)
    for image in load(_store(options), Path(options.file), _progress(options), options.name):
        print(f"loaded {parse_reference(image.reference).familiar} {image.id}")


def _pull(options: argparse.Namespace) -> None:
    from ..linux.process import end_with_parent
    from .credentials import fingerprint
    from .pull import pull

    _require_root(options)
    if options.parent:
        end_with_parent(options.parent)
    place, progress = layout(options.root), _progress(options)
    store = ImageStore(place.images)
    for name in options.images:
        outcome = pull(store, name, place.state, progress, authfile=options.authfile)
        if options.output == "json":
            image = outcome.image
            told = {"reference": image.reference, "id": image.id, "size": image.size}
            print(json.dumps({**told, "credential": fingerprint(outcome.credential)}))
        else:
            said = "pulled" if outcome.changed else "is up to date:"
            print(f"{said} {parse_reference(outcome.image.reference).familiar} {outcome.image.id}")


def _save(options: argparse.Namespace) -> None:
    from .save import save

    if options.output in (None, "-") and sys.stdout.isatty():
        raise ImageError("an archive is not for a terminal; use -o FILE or redirect the output")
    output = Path(options.output) if options.output not in (None, "-") else None
    save(_store(options), options.images, output, options.format, _progress(options))


def _list(options: argparse.Namespace) -> None:
    store = _store(options)
    images = store.list()
    if options.output == "json":
        print(json.dumps([_summary(store, image) for image in images], indent=2))
        return
    if options.quiet:
        print(*(image.id for image in images), sep="\n", end="\n" if images else "")
        return
    rows = [("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")]
    for image in images:
        reference = parse_reference(image.reference)
        repository = reference.familiar.removesuffix(f":{reference.tag}").partition("@")[0]
        tag = reference.tag or "<none>"
        rows.append((repository, tag, image.id[7:19], _age(image.created), _size(image.size)))
    _print_table(rows)


def _inspect(options: argparse.Namespace) -> None:
    store = _store(options)
    found = [_summary(store, store.require(name)) for name in options.images]
    print(json.dumps(found, indent=2))


def _remove(options: argparse.Namespace) -> None:
    store = _store(options)
    for name in options.images:
        for removed in store.remove(name):
            print(f"removed {parse_reference(removed).familiar}")
    if not options.keep_layers:
        _collect(store, quietly=True)


def _tag(options: argparse.Namespace) -> None:
    image = _store(options).tag(options.source, options.target)
    print(f"tagged {parse_reference(options.target).familiar} {image.id}")


def _alias(options: argparse.Namespace) -> None:
    store = _store(options)
    if options.name is None:
        rows = [("NAME", "STANDS FOR"), *sorted(store.aliases().items())]
        _print_table(rows)
    elif options.target is None:
        raise ImageError(f'alias "{options.name}" for what? give the image as second argument')
    else:
        store.alias(options.name, options.target)
        print(f"{parse_reference(options.name)} stands for {parse_reference(options.target)}")


def _prune(options: argparse.Namespace) -> None:
    _collect(_store(options), quietly=False)


def _collect(store: ImageStore, quietly: bool) -> None:
    try:
        gone = store.collect_garbage()
    except ImageError:
        if quietly:
            return  # somebody adds an image: the next prune or remove collects
        raise
    if not quietly or gone.blobs or gone.layers:
        print(f"deleted {gone.blobs} blobs ({_size(gone.bytes)}) and {gone.layers} unpacked layers")


# -- showing -------------------------------------------------------------------------------------


def _summary(store: ImageStore, image: Image) -> dict[str, object]:
    config = image.config
    return {
        "reference": image.reference,
        "id": image.id,
        "digest": image.manifest_digest,
        "created": image.created,
        "size": image.size,
        "aliases": sorted(n for n, aim in store.aliases().items() if aim == image.reference),
        "usedBy": store.users(image),
        "layers": list(image.layers),
        "config": {
            "entrypoint": list(config.entrypoint),
            "cmd": list(config.cmd),
            "env": list(config.env),
            "workingDir": config.working_dir,
            "user": config.user,
            "stopSignal": config.stop_signal,
            "exposedPorts": list(config.exposed_ports),
            "volumes": list(config.volumes),
            "labels": dict(config.labels),
        },
    }


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def _size(count: int) -> str:
    if count < 1000_000:
        return f"{count / 1000:.1f}kB"
    return f"{count / 1e6:.1f}MB"


def _age(created: str) -> str:
    try:
        made = datetime.fromisoformat(created.split(".")[0].removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError:
        return "<unknown>"
    days = (datetime.now(UTC) - made).days
    return "today" if days < 1 else f"{days} days ago" if days > 1 else "yesterday"


# -- usage ---------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read on, as every other command does."""

    def error(self, message: str) -> NoReturn:
        """Exit for wrong usage."""
        said = message.replace("the following arguments are required: ", "required: ")
        self.exit(2, f"error: {said}\nSee '{self.prog} --help' for usage.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="minipod image", description="Build, load, pull, save and manage container images."
    )
    parser.add_argument("--root", help="where minipod keeps everything (or $MINIPOD_ROOT)")
    parser.add_argument("-q", "--quiet", action="store_true", help="report no progress")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    verb = _verb(verbs, "build", _build, "build images from recipes and Debian packages")
    verb.add_argument("recipes", nargs="+", metavar="FOLDER", help="folder of a recipe.toml")
    verb.add_argument("--packages", metavar="DIR", help="folder to keep packages in")
    verb.add_argument("--sources", metavar="FILE", help="apt sources instead of the host's")
    verb.add_argument("--update", action="store_true", help="fetch fresh package lists first")

    verb = _verb(verbs, "load", _load, "load a docker save or OCI archive, or an OCI layout folder")
    verb.add_argument("file", metavar="FILE", help="archive (tar, tar.gz), folder, or - for stdin")
    verb.add_argument("--name", help="name for the one image, in place of its own")

    verb = _verb(verbs, "pull", _pull, "fetch images from registries")
    verb.add_argument("images", nargs="+", metavar="IMAGE")
    where = "credentials, as docker's config.json (- for stdin) [default: config.json of --root, then docker's own]"
    verb.add_argument("--authfile", metavar="FILE", help=where)
    verb.add_argument("-o", "--output", choices=("text", "json"), default="text")
    verb.add_argument("--parent", type=int, help=argparse.SUPPRESS)  # end when it does

    verb = _verb(verbs, "save", _save, "write images to an archive")
    verb.add_argument("images", nargs="+", metavar="IMAGE")
    verb.add_argument("-o", "--output", metavar="FILE", help="instead of standard output (-)")
    formats = ("docker", "oci")
    what = "docker (docker load and OCI tools read it) or oci alone"
    verb.add_argument("--format", choices=formats, default="docker", help=what)

    verb = _verb(verbs, "list", _list, "list the images; with --quiet their IDs alone", "ls")
    verb.add_argument("-o", "--output", choices=("table", "json"), default="table")
    verb = _verb(verbs, "inspect", _inspect, "show images as JSON")
    verb.add_argument("images", nargs="+", metavar="IMAGE")

    verb = _verb(verbs, "remove", _remove, "remove images, and the layers that nothing needs", "rm")
    verb.add_argument("images", nargs="+", metavar="IMAGE")
    verb.add_argument("--keep-layers", action="store_true", help="collect no garbage")
    verb = _verb(verbs, "tag", _tag, "give an image a further name")
    verb.add_argument("source", metavar="IMAGE")
    verb.add_argument("target", metavar="NAME")
    verb = _verb(verbs, "alias", _alias, "let a name stand for an image's name; list the aliases")
    verb.add_argument("name", metavar="NAME", nargs="?")
    verb.add_argument("target", metavar="IMAGE", nargs="?")
    _verb(verbs, "prune", _prune, "delete layers and blobs that nothing needs")
    return parser


def _verb(
    verbs: "argparse._SubParsersAction[_Parser]",
    name: str,
    run: Callable[[argparse.Namespace], None],
    text: str,
    *aliases: str,
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=text, description=text, aliases=list(aliases))
    verb.add_argument("--root", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    quiet = {"action": "store_true", "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    verb.add_argument("-q", "--quiet", **quiet)  # type: ignore[arg-type]
    verb.set_defaults(run=run)
    return verb


if __name__ == "__main__":
    sys.exit(main())
