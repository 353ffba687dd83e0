"""Images and volumes made to mislead whoever mounts them, and containers that exchange what is about to be mounted."""

import contextlib
import ctypes
import errno
import os
import platform
import select
import shutil
import signal
import struct
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minipod.linux import kernel, mounts
from minipod.runtime import execute, launch, machine
from minipod.runtime.assembly import Assembler
from minipod.runtime.child_operations import BindMount, Clone, Exec, SetPropagation
from minipod.runtime.launch import Stdio
from minipod.runtime.launched import Launched, LaunchError, Launching
from minipod.runtime.operations import CheckHostPath, Step
from minipod.runtime.spec import Mount
from tests.kernel.runtime.world import SECURITY, World

pytestmark = pytest.mark.kernel


@pytest.fixture
def volume(world: World) -> Path:
    made = world.directory / "volume"
    made.mkdir()
    made.chmod(0o777)
    return made


def take(volume: Path, place: Path) -> list[str]:
    """Mount the volume's "part" at a place, as a container's process does, and list it. Raises LaunchError."""
    read, write = os.pipe2(os.O_CLOEXEC)
    steps = (
        Step(Clone("taker", ("mnt",)), "shim"),
        Step(SetPropagation("/", "rprivate"), "child"),
        Step(BindMount(str(place), source=str(volume), subpath="part"), "child"),
        Step(Exec(("ls", str(place)), ("PATH=/bin",)), "child"),
    )
    with os.fdopen(read) as output:
        try:
            taken = launch.launch(steps, Stdio(-1, write, write), {})
        finally:
            os.close(write)
        listed = output.read().split()
    os.close(taken.pidfd)
    assert os.waitpid(taken.pid, 0)[1] == 0
    return listed


def test_a_subpath_exchanged_for_a_link_as_it_is_made(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever shares the volume puts a link to a file of the host's in the new directory's place."""
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    secret.chmod(0o600)
    call = Assembler.call
    monkeypatch.setitem(kernel.NUMBERS, "renameat2", 316 if platform.machine() == "x86_64" else 276)

    def call_and_lose(code: Assembler, name: str, *arguments: Any, **how: Any) -> None:
        call(code, name, *arguments, **how)
        if name == "mkdirat" and arguments[1] == "part":
            here = kernel.AT_FDCWD
            call(code, "renameat2", here, f"{volume}/part", here, f"{volume}/elsewhere", 0)
            call(code, "symlinkat", str(secret), here, f"{volume}/part")

    monkeypatch.setattr(Assembler, "call", call_and_lose)
    with pytest.raises(LaunchError, match=r'openat: .* "part"'):
        take(volume, tmp_path)
    assert (volume / "part").is_symlink()
    assert secret.stat().st_mode & 0o777 == 0o600


def test_masks_are_no_files_of_another_containers_choice(pod: World, volume: Path) -> None:
    """A mask is /dev/null: were it a link to what it shall hide, nothing would be hidden (CVE-2025-31133)."""
    (volume / "null").symlink_to("/proc/keys")
    read, write = os.pipe2(os.O_CLOEXEC)
    spec = pod.spec("cat", "/proc/keys", mounts=(Mount("/dev", str(volume)),))
    with pytest.raises(LaunchError, match="/dev/null"):
        pod.start(spec, Stdio(read, write, write))
    os.close(read)
    os.close(write)


def exchange(first: Path, second: Path) -> None:
    """Exchange two names at once (renameat2(2), RENAME_EXCHANGE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(-100, bytes(first), -100, bytes(second), 2) == 0


def test_a_subpath_exchanged_for_a_link_while_it_is_mounted(volume: Path, tmp_path: Path) -> None:
    """The kernel resolves it beneath the volume in one call: there is no moment between a look and a mount."""
    (tmp_path / "secret").mkdir()
    place = tmp_path / "place"
    place.mkdir()
    (volume / "part").mkdir()
    (volume / "link").symlink_to(tmp_path)
    (volume / "part/mine").write_text("")
    done = threading.Event()

    def turn() -> None:
        while not done.is_set():
            exchange(volume / "part", volume / "link")

    turner = threading.Thread(target=turn)
    turner.start()
    seen: set[str] = set()
    try:
        for _ in range(200):
            with contextlib.suppress(LaunchError):  # it was the link
                seen.update(take(volume, place))
    finally:
        done.set()
        turner.join()
    assert seen == {"mine"}


@pytest.mark.parametrize("pid", ["container", "pod"])
@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_an_image_whose_kernel_directories_are_links(world: World, name: str, pid: str) -> None:
    """What is mounted there could be hidden again by a volume, and a volume shown in its place (CVE-2019-19921)."""
    (world.layer / name).symlink_to("tmp")
    world.start_sandbox(pid=pid)
    with pytest.raises(LaunchError, match=f'no ordinary directory here "/{name}"'):
        world.run("true")


@pytest.mark.parametrize("pid", ["container", "pod"])
@pytest.mark.parametrize(
    "destination", ["/proc", "/proc/self/attr", "/proc/sys/kernel", "/link/sys"]
)
def test_a_volume_inside_proc(world: World, volume: Path, destination: str, pid: str) -> None:
    """What /proc says must be true: a made-up one would have labels and limits written into files (CVE-2019-16884)."""
    (world.layer / "link").symlink_to("proc")
    world.start_sandbox(pid=pid)
    with pytest.raises(LaunchError):
        world.run("true", mounts=(Mount(destination, str(volume)),))


def test_a_volume_at_sys_that_leads_the_cgroups_into_proc(pod: World, volume: Path) -> None:
    (volume / "fs").mkdir()
    (volume / "fs/cgroup").symlink_to("/proc")
    with pytest.raises(LaunchError, match="nothing may be mounted inside /proc"):
        pod.run("true", mounts=(Mount("/sys", str(volume)),))


@pytest.mark.parametrize(
    "destination", ["/out/file", "/gone/x", "/loop/x", "/up/../../../etc/target"]
)
def test_links_of_an_image_lead_a_mount_to_places_inside_it_only(
    pod: World, volume: Path, tmp_path: Path, destination: str
) -> None:
    (pod.layer / "out").symlink_to(tmp_path)
    (pod.layer / "gone").symlink_to(tmp_path / "gone")
    (pod.layer / "loop").symlink_to("loop")
    (pod.layer / "up").symlink_to("../../../..")
    before = {entry.point for entry in mounts.mounts()}
    (volume / "mark").write_text("")
    with contextlib.suppress(LaunchError):
        pod.run("sh", "-c", f"ls {destination}", mounts=(Mount(destination, str(volume)),))

    assert os.listdir(tmp_path) == []
    assert {entry.point for entry in mounts.mounts()} == before


def test_a_volume_at_dev_cannot_take_the_terminal_elsewhere(pod: World, volume: Path) -> None:
    """A hostile /dev is the container's own harm: its links are followed inside of its root only."""
    (volume / "shm").symlink_to("/etc")
    (volume / "pts").symlink_to("/proc/1/root/dev/pts")
    (volume / "null").symlink_to("/etc/passwd")
    with pytest.raises(LaunchError):
        pod.run("true", tty=True, mounts=(Mount("/dev", str(volume)),))


@pytest.mark.parametrize("propagation", ["private", "rslave"])
def test_what_a_container_mounts_in_a_volume_stays_inside(
    pod: World, volume: Path, propagation: str
) -> None:
    """With CAP_SYS_ADMIN, and whatever it makes of its own mounts' propagation."""
    powers = replace(SECURITY, capabilities=(*SECURITY.capabilities, "SYS_ADMIN"))
    script = """
    mount --make-rshared / ; mount --make-shared /data
    mount -t tmpfs x /data && touch /data/inside && mount -t tmpfs x /data/. && echo mounted
    """
    given = (Mount("/data", str(volume), propagation=propagation),)
    finished = pod.run("sh", "-c", script, mounts=given, security=powers)

    assert finished.lines()[-1] == "mounted"
    assert os.listdir(volume) == []
    assert not mounts.at_or_below(str(volume), mounts.mounts())


def test_a_link_put_in_place_of_a_host_path_that_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FileOrCreate, in a directory that containers write to: no file of the host's is made through their link."""
    shared, victim = tmp_path / "shared", tmp_path / "victim"
    shared.mkdir()
    lexists = os.path.lexists

    def lexists_and_lose(path: str) -> bool:
        found = lexists(path)
        os.symlink(victim, path)
        return found

    monkeypatch.setattr(os.path, "lexists", lexists_and_lose)
    with pytest.raises(ValueError, match="is not a file"):
        execute.perform(CheckHostPath(str(shared / "file"), "FileOrCreate"))
    assert not victim.exists()


def test_an_images_user_files_that_lead_elsewhere(world: World) -> None:
    """/etc/passwd as a link to the host's, as a link through /proc, as a pipe that nobody writes to."""
    world.start_sandbox()
    passwd = world.layer / "etc/passwd"
    for make in (
        lambda: passwd.symlink_to("/../../../../etc/shadow"),
        lambda: passwd.symlink_to("/proc/1/root/etc/passwd"),
        lambda: os.mkfifo(passwd),
    ):
        passwd.unlink()
        make()
        shutil.rmtree(world.directory / "c1", ignore_errors=True)
        with contextlib.suppress(LaunchError):  # a link through /proc is refused
            finished = world.run("grep", "^Uid:", "/proc/self/status")
            assert finished.output.split()[1:] == ["0"] * 4


def test_a_failure_that_a_tracer_made_up_holds_up_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it executes its program the spawned process may be made to say anything: it need not have failed."""
    world.start_sandbox(pid="pod")
    on_spawned, programs = Launching._on_spawned, []

    def forge(self: Launching, pid: int, wait: bool) -> Launched:
        programs.append(pid)
        code = range(machine.LATE_CODE, machine.LATE_DATA, 8 * machine.WORDS)
        notes = ((each, self._explain(each)) for each in code)
        address = next(each for each, note in notes if note and note.call == "execve")
        self._strangers[pid] = struct.pack("=QQ", address, errno.ENOEXEC)
        return on_spawned(self, pid, wait)

    monkeypatch.setattr(Launching, "_on_spawned", forge)
    assert world.pause is not None
    references = {"pause_pid": world.pause.pid}
    launching = launch.start(world.plan(world.spec("sleep", "60")), Stdio(), references)

    def advance_as_the_shim_does() -> None:
        while launching.advance() is None:
            select.select([launching], [], [], 10)

    with pytest.raises(LaunchError, match="exec format error"):
        advance_as_the_shim_does()
    assert os.waitpid(launching.pid, 0)[1] == 0  # its maker, which a shim reaps with all others
    assert os.waitpid(programs[0], 0)[1] == signal.SIGKILL
