"""Volumes: where they appear, what links cannot do, how mounts spread."""

import os
import subprocess
from pathlib import Path

import pytest

from minipod.runtime.launched import LaunchError
from minipod.runtime.spec import ExecSpec, Mount, MountKind
from tests.kernel.runtime.world import World

pytestmark = pytest.mark.kernel


@pytest.fixture
def volume(world: World) -> Path:
    made = world.directory / "volume"
    made.mkdir()
    (made / "file").write_text("content\n")
    return made


def test_directory_and_file_are_bound(pod: World, volume: Path) -> None:
    mounts = (Mount("/data", str(volume)), Mount("/etc/one", str(volume / "file"), read_only=True))
    finished = pod.run("sh", "-c", "cat /data/file /etc/one; echo x >> /etc/one", mounts=mounts)

    assert finished.lines()[:2] == ["content", "content"]
    assert "Read-only file system" in finished.output


@pytest.mark.parametrize("recursive", [True, False])
def test_read_only_holds_below_when_it_is_recursive(
    pod: World, volume: Path, recursive: bool
) -> None:
    below = volume / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "mp-test", below], check=True)
    try:
        given = Mount("/data", str(volume), read_only=True, recursive_read_only=recursive)
        finished = pod.run(
            "sh", "-c", "touch /data/no; touch /data/below/x && echo made", mounts=(given,)
        )
    finally:
        subprocess.run(["umount", below], check=True)

    assert "/data/no: Read-only file system" in finished.output
    assert ("/data/below/x: Read-only file system" in finished.output) is recursive
    assert finished.output.endswith("made\n") is not recursive


@pytest.mark.parametrize("devices", [True, False])
def test_a_device_of_the_hosts_works_where_it_is_asked_for(pod: World, devices: bool) -> None:
    mounts = (Mount("/device", "/dev/zero", devices=devices),)
    finished = pod.run("sh", "-c", "head -c 2 /device | wc -c", mounts=mounts)

    assert finished.lines()[-1] == ("2" if devices else "0")


def test_subpath_is_made_when_missing(pod: World, volume: Path) -> None:
    mounts = (Mount("/data", str(volume), source_subpath="a/b"),)
    pod.run("touch", "/data/here", mounts=mounts)

    assert (volume / "a/b/here").exists()


@pytest.mark.parametrize("target", ["/etc", "../../etc", "/proc/self/root"])
def test_subpath_never_leaves_its_volume(pod: World, volume: Path, target: str) -> None:
    (volume / "out").symlink_to(target)

    with pytest.raises(LaunchError):
        pod.run("ls", "/data", mounts=(Mount("/data", str(volume), source_subpath="out"),))


@pytest.mark.parametrize("kind", ["", "directory"])
def test_destination_never_leaves_the_root(pod: World, volume: Path, kind: MountKind) -> None:
    """An image's link may point anywhere: it is followed inside its own root."""
    host = pod.directory / "host"
    host.mkdir()
    (pod.layer / "link").symlink_to(host)
    (pod.layer / "up").symlink_to("../../../../../../tmp")
    mounts = (Mount("/up/inside", str(volume), kind=kind), Mount("/tmp/plain", str(volume)))
    finished = pod.run("ls", "/tmp/inside", mounts=mounts)

    assert finished.output == "file\n"
    assert not list(host.iterdir())
    given = Mount("/link/inside", str(volume), kind=kind)
    with pytest.raises(LaunchError):  # dangling in the image, though it exists on the host
        pod.run("true", name="c2", mounts=(given,))
    assert not list(host.iterdir())


@pytest.mark.parametrize("destination", ["/proc", "/proc/self/attr", "/elsewhere"])
def test_nothing_is_mounted_over_the_kernels_word(
    pod: World, volume: Path, destination: str
) -> None:
    (pod.layer / "elsewhere").symlink_to("proc/sys")

    with pytest.raises(LaunchError, match="nothing may be mounted inside /proc"):
        pod.run("true", mounts=(Mount(destination, str(volume)),))


def test_each_container_has_its_own_volumes_and_failures(pod: World, volume: Path) -> None:
    """What is known of a mount from another container's is no more than how it is made."""
    for number in range(2):
        other = volume / f"other{number}"
        other.mkdir()
        (other / f"mark{number}").write_text("")
        finished = pod.run("ls", "/data", name=f"c{number}", mounts=(Mount("/data", str(other)),))
        assert finished.lines() == [f"mark{number}"]
    gone = f"{volume}/gone"
    with pytest.raises(LaunchError, match=f'open_tree: No such file or directory "{gone}"'):
        pod.run("true", name="c3", mounts=(Mount("/data", gone),))


def test_a_mount_point_that_an_image_leads_into_a_volume(pod: World, volume: Path) -> None:
    """Before the volume is mounted its way ends nowhere; what is made early must not fail there, nor show later."""
    etc = volume / "etc"
    etc.mkdir()
    (pod.layer / "conf").symlink_to("/data/etc")
    (pod.layer / "full").write_text("")
    given = (
        Mount("/data", str(volume)),
        Mount("/conf/one", str(volume / "file"), kind="file"),
        Mount("/new/two", str(volume / "file"), kind="file"),
        Mount("/new/deep/er", str(etc), kind="directory"),
    )
    finished = pod.run("sh", "-c", "cat /conf/one /new/two; ls /data/etc /new/deep", mounts=given)

    assert finished.lines() == ["content", "content", "/data/etc:", "one", "", "/new/deep:", "er"]
    assert [each.name for each in etc.iterdir()] == ["one"]
    in_the_way = Mount("/full/three", str(volume / "file"), kind="file")
    with pytest.raises(LaunchError, match=r"bind .* at .*/full/three"):  # the mount itself says it
        pod.run("true", name="c2", mounts=(in_the_way,))


def test_later_mounts_go_over_earlier_ones(pod: World, volume: Path) -> None:
    (volume / "sub").mkdir()
    mounts = (Mount("/data", str(volume)), Mount("/data/sub", type="tmpfs", options=("size=64k",)))
    finished = pod.run("sh", "-c", "touch /data/sub/x; stat -f -c %T /data/sub", mounts=mounts)

    assert finished.output.strip() == "tmpfs"
    assert not list((volume / "sub").iterdir())


@pytest.fixture
def shared(world: World) -> Path:
    """A directory whose mounts spread, as a host's do."""
    made = world.directory / "shared"
    made.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "mp-test", made], check=True)
    subprocess.run(["mount", "--make-shared", made], check=True)
    (made / "point").mkdir()
    yield made
    subprocess.run(["umount", "-R", made], check=True)


@pytest.mark.parametrize(("propagation", "expected"), [("private", ""), ("rslave", "late\n")])
def test_mounts_of_the_host_arrive_only_with_host_to_container(
    pod: World, shared: Path, propagation: str, expected: str
) -> None:
    mounts = (Mount("/data", str(shared), propagation=propagation),)
    spec = pod.spec("sleep", "60", mounts=mounts)
    launched = pod.start(spec)
    subprocess.run(["mount", "-t", "tmpfs", "mp-test", shared / "point"], check=True)
    (shared / "point/late").touch()

    assert pod.exec(spec, launched, ExecSpec(("ls", "/data/point"))).output == expected


def test_mounts_of_a_container_reach_the_host_with_bidirectional(pod: World, shared: Path) -> None:
    from minipod.runtime.spec import Security

    mounts = (Mount("/data", str(shared), propagation="rshared"),)
    script = "mount -t tmpfs mp-test /data/point && touch /data/point/mine"
    finished = pod.run(*("sh", "-c", script), mounts=mounts, security=Security(privileged=True))

    assert finished.code == 0
    assert os.listdir(shared / "point") == ["mine"]
