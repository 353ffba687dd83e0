"""A container's log on the host: the link under which collectors look for it, and its end. The names are the kubelet's.

pods/NAMESPACE_NAME_UID/CONTAINER/ATTEMPT.log     and .log.TIME, where it has been rotated
containers/NAME_NAMESPACE_CONTAINER-ID.log        leads there
"""

import contextlib
from pathlib import Path

from minipod.node.observed import LABEL_CONTAINER, LABEL_NAME, LABEL_NAMESPACE
from minipod.runtime.spec import ContainerStatus

_LONGEST = 255  # bytes of a file's name (ext4)
_SUFFIX = ".log"


def log_link(directory: Path, status: ContainerStatus) -> Path:
    """Return the link that leads to a container's log."""
    labels = status.labels
    pod = f"{labels.get(LABEL_NAME, '')}_{labels.get(LABEL_NAMESPACE, '')}"
    name = f"{pod}_{labels.get(LABEL_CONTAINER, '')}-{status.id}"
    return directory / f"{name[: _LONGEST - len(_SUFFIX)]}{_SUFFIX}"


def link_log(directory: Path, status: ContainerStatus) -> None:
    """Make the link. It is for others: a failure is nobody's concern here."""
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        log_link(directory, status).symlink_to(status.log_path)


def remove_log(directory: Path, status: ContainerStatus) -> None:
    """Remove the log of an attempt that nobody can ask for any more, with its rotated parts and its link."""
    if not status.log_path:
        return
    path = Path(status.log_path)
    with contextlib.suppress(OSError):
        for each in (log_link(directory, status), *path.parent.glob(f"{path.name}*")):
            each.unlink(missing_ok=True)


def remove_dead_links(directory: Path, prefix: str = "") -> None:
    """Remove the links that lead nowhere: of all containers, or of those whose name begins so."""
    with contextlib.suppress(OSError):
        for link in directory.glob(f"{prefix}*{_SUFFIX}"):
            if not link.exists():
                link.unlink(missing_ok=True)
