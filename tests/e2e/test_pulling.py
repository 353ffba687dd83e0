"""Images from a registry: Debian's own registry server on loopback, a Pod that names it, and the words on the way."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import IDLE, container_pid, pod, status_of, wait_pod
from tests.kernel.image import registries
from tests.kernel.image.registries import PASSWORD, USER, FaultyProxy


@pytest.fixture(scope="module")
def protected(busybox_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that wants credentials and has team/busybox:v1."""
    with registries.registry(tmp_path_factory.mktemp("registry"), auth=True) as host:
        registries.push(
            busybox_archive, f"{host}/team/busybox:v1", credentials=f"{USER}:{PASSWORD}"
        )
        yield host


def _pod(name: str, image: str, policy: str = "IfNotPresent", **spec: Any) -> dict[str, Any]:
    made = {"name": "c0", "image": image, "imagePullPolicy": policy, "command": ["sh", "-c", IDLE]}
    return pod(name, made, **spec)


def _reason(found: dict[str, Any]) -> str:
    statuses = found["status"].get("containerStatuses") or [{"state": {}}]
    return str((statuses[0]["state"].get("waiting") or {}).get("reason"))


def test_a_pod_pulls_with_its_secret_and_runs(shared: Instance, protected: str) -> None:
    image = f"{protected}/team/busybox:v1"
    shared.apply(_pod("locked", image))
    wait_pod(shared, "locked", lambda p: _reason(p) == "ImagePullBackOff", "the back-off")
    events = shared.out("events", "--for", "pod/locked")
    assert f'Failed to pull image "{image}": {image}: authentication required' in events
    shared.run("delete", "pod", "locked", "--now")

    login = (f"--docker-server={protected}", f"--docker-username={USER}")
    shared.run(
        "create", "secret", "docker-registry", "login", *login, f"--docker-password={PASSWORD}"
    )
    secret = {"imagePullSecrets": [{"name": "login"}]}
    shared.apply(_pod("opened", image, **secret), options=("--until-ready",))
    root = Path(f"/proc/{container_pid(shared, 'opened')}/root")
    assert (root / "bin/busybox").exists()
    events = shared.out("events", "--for", "pod/opened")
    assert f'Successfully pulled image "{image}" in' in events
    assert PASSWORD not in events + shared.daemon_log()
    shared.run("delete", "pod", "opened", "--now")
    shared.run("image", "remove", image)
    shared.run("delete", "secret", "login")


def test_always_asks_the_registry_at_each_start(shared: Instance, protected: str) -> None:
    config = {"auths": {protected: {"username": USER, "password": PASSWORD}}}
    file = shared.layout.state / "config.json"  # the node's own credentials
    with registries.faulty_proxy(protected) as proxy:
        config["auths"][proxy.address] = config["auths"][protected]
        file.write_text(json.dumps(config))
        proxy.passes_authorization = True
        image = f"{proxy.address}/team/busybox:v1"
        for name, blobs in (("first", True), ("second", False)):
            proxy.seen.clear()
            shared.apply(_pod(name, image, "Always"), options=("--until-ready",))
            asked = [path for _, path, _ in proxy.seen]
            assert any("/manifests/v1" in path for path in asked)
            assert any("/blobs/" in path for path in asked) is blobs
            shared.run("delete", "pod", name, "--now")
        _stall(shared, proxy, image)
    file.unlink()
    shared.run("image", "remove", image)


def _stall(shared: Instance, proxy: FaultyProxy, image: str) -> None:
    """A registry that says nothing more does not hold up a deletion."""
    proxy.silent = True
    proxy.seen.clear()
    shared.apply(_pod("stalled", image, "Always"))
    wait_until(lambda: proxy.seen, "the request")
    found = wait_pod(shared, "stalled", lambda p: p["status"].get("containerStatuses"), "a status")
    assert status_of(found, "c0")["state"]["waiting"]["reason"] == "ContainerCreating"
    shared.run("delete", "pod", "stalled", timeout=10)


def test_an_image_that_a_secret_brought_is_not_for_others(fresh: Instance, protected: str) -> None:
    image = f"{protected}/team/busybox:v1"
    login = (f"--docker-server={protected}", f"--docker-username={USER}")
    for name, password in (("login", PASSWORD), ("wrong", "guess")):
        fresh.run(
            *("create", "secret", "docker-registry", name, *login, f"--docker-password={password}")
        )
    fresh.apply(
        _pod("owner", image, imagePullSecrets=[{"name": "login"}]), options=("--until-ready",)
    )
    fresh.kill_daemon()  # what was recorded outlives the daemon
    fresh.up()
    fresh.apply(
        _pod("nobody", image),
        _pod("liar", image, imagePullSecrets=[{"name": "wrong"}]),
        _pod("sly", image, "Never"),
        _pod("friend", image, "Never", imagePullSecrets=[{"name": "login"}]),
    )
    for name in ("nobody", "liar"):
        wait_pod(fresh, name, lambda p: _reason(p) in ("ErrImagePull", "ImagePullBackOff"), name)
    found = wait_pod(fresh, "sly", lambda p: _reason(p) != "None", "the refusal")
    assert _reason(found) in ("ErrImageNeverPull", "ImagePullBackOff")
    hidden = f'Container image "{image}" is not present with pull policy of Never'
    assert hidden in fresh.out("events", "--for", "pod/sly")
    wait_pod(fresh, "friend", lambda p: status_of(p, "c0").get("ready"), "the Secret's owner")
    records = list((fresh.layout.images / "access" / "pulled").iterdir())
    assert len(records) == 1
    assert PASSWORD not in records[0].read_text()
