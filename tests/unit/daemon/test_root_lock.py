"""What a start leaves of the run directory: everything after a full disk, nothing after another boot."""

import contextlib
import resource
import signal
from pathlib import Path

from minipod.daemon.root_lock import _forget_other_boot
from minipod.paths import layout


def test_a_full_disk_does_not_look_like_another_boot(tmp_path: Path) -> None:
    place = layout(tmp_path / "r")
    _forget_other_boot(place)
    (place.run / "shim.sock").touch()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with contextlib.suppress(OSError):
            _forget_other_boot(place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, former)
    _forget_other_boot(place)
    assert sorted(path.name for path in place.run.iterdir()) == ["boot_id", "shim.sock"]


def test_after_another_boot_the_run_directory_is_empty(tmp_path: Path) -> None:
    place = layout(tmp_path / "r")
    place.run.mkdir(parents=True)
    (place.run / "boot_id").write_text("another boot\n")
    (place.run / "shim.sock").touch()
    _forget_other_boot(place)
    assert [path.name for path in place.run.iterdir()] == ["boot_id"]
