import pytest

from minipod.client import Object
from minipod.node import observed as module
from minipod.node.observed import compute_container_hash, next_attempt, observe
from minipod.node.qos import compute_qos
from minipod.runtime.service import RuntimeState
from minipod.runtime.spec import ContainerStatus, SandboxStatus

from .pod_builders import NOTHING, attempt, container, make_pod, seen


def labels(uid: str = "u1", number: int = 0, name: str = "app") -> dict[str, str]:
    return {
        module.LABEL_UID: uid,
        module.LABEL_ATTEMPT: str(number),
        module.LABEL_CONTAINER: name,
        module.LABEL_HASH: "h",
        module.LABEL_IMAGE: "sha256:abc",
    }


def test_a_pod_is_found_again_by_its_labels_newest_first() -> None:
    state = RuntimeState(
        sandboxes=(
            SandboxStatus("s0", False, 0, 1.0, "10.85.0.7", labels()),
            SandboxStatus("s1", True, 7, 2.0, "10.85.0.7/16", labels(number=1)),
            SandboxStatus("other", True, 8, 3.0, "", labels("u2")),
        ),
        containers=(
            ContainerStatus("c0", "s0", "exited", 0, 1.0, 1.5, 2.0, 3, labels=labels()),
            ContainerStatus("c1", "s1", "running", 9, 3.0, 3.5, labels=labels(number=1)),
            ContainerStatus("other", "other", "running", 10, 3.0, 3.5, labels=labels("u2")),
        ),
    )
    found = observe(state, "u1")
    assert [each.id for each in found.sandboxes] == ["s1", "s0"]
    assert [each.id for each in found.containers] == ["c1", "c0"]
    assert found.sandbox is not None
    assert (found.sandbox.id, found.sandbox.address, found.next_sandbox_attempt) == (
        "s1",
        "10.85.0.7",
        2,
    )
    assert found.latest("app", "s0") == found.containers[1]
    assert (found.containers[1].failed, found.containers[1].exit_code) == (True, 3)
    assert found.running() == found.containers[:1]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, 0),
        ({"restartCount": 0, "state": {"waiting": {}}}, 0),
        ({"restartCount": 2, "state": {"running": {}}}, 3),
        ({"restartCount": 2, "state": {"terminated": {"exitCode": 1}}}, 3),
        (
            {
                "restartCount": 2,
                "state": {"waiting": {}},
                "lastState": {"terminated": {"exitCode": 1}},
            },
            3,
        ),
    ],
)
def test_attempts_are_never_used_twice(status: Object, expected: int) -> None:
    recorded = {"containerStatuses": [{"name": "app", **status}]} if status else {}
    assert next_attempt("app", NOTHING, recorded) == expected
    assert next_attempt("app", seen(attempt("app", 1, 4)), recorded) == 5


def test_the_hash_follows_the_image_alone() -> None:
    first = compute_container_hash(container("app", env=[]))
    assert first == compute_container_hash(container("app", resources={"limits": {"cpu": "1"}}))
    assert first != compute_container_hash(container("app", image="busybox:2"))
    assert first != compute_container_hash(container("other"))


def test_the_qos_class_stays_what_it_was() -> None:
    pod = make_pod(container("app", resources={"limits": {"cpu": "1", "memory": "1Mi"}}))
    assert compute_qos(pod) == "Guaranteed"
    pod["status"]["qosClass"] = "Burstable"
    assert compute_qos(pod) == "Burstable"
