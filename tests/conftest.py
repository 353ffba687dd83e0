"""What every test stands on: order, privileges, an outer namespace for the kernel's, and the leak check."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minipod.linux import netlink
from minipod.linux import process as linux_process
from tests import lanes, leaks
from tests.patience import patience

HERE = Path(__file__).parent
PRIVILEGED = ("kernel", "e2e")
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000


def _kind(path: Path) -> str:
    return path.relative_to(HERE).parts[0]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give a test longer where everything takes longer; see fixtures for several tests come and go."""
    config.pluginmanager.register(WiderFixtures())
    os.environ.setdefault("PYTEST_TIMEOUT", str(patience(float(config.getini("timeout")))))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run unit tests first, then kernel, then e2e; mark the latter two by their folder."""
    for item in items:
        kind = _kind(item.path)
        if kind in PRIVILEGED:
            item.add_marker(getattr(pytest.mark, kind))
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root: namespaces, mounts, cgroups"))
    order = {"unit": 0, "kernel": 1, "e2e": 2}
    items.sort(key=lambda item: order[_kind(item.path)])


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Share the tests with another run when there is one; pytest runs all of them otherwise."""
    own = lanes.beside()
    if own is None or session.testsfailed or session.config.option.collectonly:
        return None
    lanes.run(session, own)
    return True


@pytest.fixture(scope="session")
def outer_namespace() -> Iterator[int]:
    """Move the test run into a network and mount namespace of its own: the host's are not touched.

    Gives a descriptor of the host's network namespace, for what has to fetch packages.
    """
    os.environ.setdefault(lanes.RUN, uuid.uuid4().hex)
    host_network = os.open("/proc/self/ns/net", os.O_RDONLY)
    linux_process.unshare(CLONE_NEWNS | CLONE_NEWNET)
    subprocess.run(["mount", "--make-rslave", "/"], check=True)
    subprocess.run(["mount", "--make-rshared", "/"], check=True)  # as systemd has it on every host
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    yield host_network
    os.close(host_network)
    if netlink._host:  # it is opened once, for as long as a process lives
        netlink._host.close()


# The look after the last test, which serves as the one before the next unless a fixture for several tests is made or
# ended between them.
_left: leaks.Host | None = None


class WiderFixtures:
    """A plugin of its own: a session's fixtures are not told of to the hooks of a conftest.py below its root."""

    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        self._forget_what_was_left(fixturedef)

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        self._forget_what_was_left(fixturedef)

    def _forget_what_was_left(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        global _left
        if fixturedef.scope != "function":
            _left = None


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a kernel or e2e test that leaves anything of minipod's on the host."""
    global _left
    if _kind(request.path) not in PRIVILEGED or not os.environ.get("MINIPOD_LEAK_CHECK"):
        yield
        return
    request.getfixturevalue("outer_namespace")
    before, _left = _left or leaks.look(), None
    yield
    leaked, _left = leaks.wait_until_clean(before)
    assert not leaked, f"the test left on the host: {leaked}"
