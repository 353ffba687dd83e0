"""Tar archives for tests, hostile ones included: members are written as told, unchecked."""

import io
import tarfile
from pathlib import Path

REG, DIR, SYM, LNK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def file(
    name: str, data: bytes = b"", mode: int = 0o644, **attributes: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


def other(
    name: str, kind: bytes, target: str = "", mode: int = 0o755, **attributes: object
) -> tuple[tarfile.TarInfo, bytes]:
    return file(name, b"", mode, type=kind, linkname=target, **attributes)


def folder(name: str, mode: int = 0o755, **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    return other(name, DIR, mode=mode, **attributes)


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return other(name, SYM, target, mode=0o777)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return other(name, LNK, target)


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    for info, data in members:
        out.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        out.write(data + bytes(-len(data) % 512))
    out.write(bytes(1024))
    return out.getvalue()


def tree(root: Path) -> dict[str, str]:
    """Describe everything below `root`: path -> type and permissions, with content or target."""
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = "dir"
        elif path.is_file():
            found[name] = path.read_text()
        else:
            found[name] = "special"
    return found
