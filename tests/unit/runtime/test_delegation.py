"""Where the Pods' cgroups go, with and without a subtree that systemd has handed over."""

from minipod.linux.cgroup import CgroupLayout
from minipod.runtime.delegation import compute_scope_command, find_scope


def test_the_systems_own_pods_get_a_slice_and_outlast_the_daemon_when_the_host_goes_down() -> None:
    command = compute_scope_command("minipod", "4f1c", ["python3", "-m", "minipod.runtime.shim"])
    assert "--unit=minipod-shim-4f1c.scope" in command
    assert "--slice=minipod.slice" in command
    assert "--property=Delegate=yes" in command
    assert "--property=Before=minipod.service" in command
    assert command[command.index("--") :] == ["--", "python3", "-m", "minipod.runtime.shim"]


def test_another_roots_pods_touch_nothing_of_the_systems() -> None:
    command = compute_scope_command("minipod-1a2b3c4d", "4f1c", ["python3"])
    assert "--unit=minipod-1a2b3c4d-shim-4f1c.scope" in command
    assert "--slice=system.slice" in command
    assert not [each for each in command if "minipod.service" in each]


def test_only_a_delegated_scope_is_used(tmp_path) -> None:  # type: ignore[no-untyped-def]
    layout = CgroupLayout(unified=str(tmp_path))
    (tmp_path / "session-1.scope").mkdir()
    for own in (
        "/",
        "/minipod.service",
        "/session-1.scope",
        "/session-1.scope/shim",
        "/gone.scope",
    ):
        assert find_scope(layout, own) == ""
    assert find_scope(CgroupLayout(), "/session-1.scope") == ""
