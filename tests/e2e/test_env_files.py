"""Variables from a file that an init container writes, as a Pod's programs and its owner see them."""

from typing import Any

from tests.e2e.instance import Instance
from tests.e2e.pods import IDLE, container, inside, pod, status_of, wait_phase, wait_pod

MOUNT = [{"name": "data", "mountPath": "/data"}]
VOLUMES = [{"name": "data", "emptyDir": {}}]


def _variable(name: str, key: str, **more: Any) -> dict[str, Any]:
    reference = {"volumeName": "data", "path": "app.env", "key": key, **more}
    return {"name": name, "valueFrom": {"fileKeyRef": reference}}


def _made(name: str, script: str, *variables: dict[str, Any]) -> dict[str, Any]:
    return pod(
        name,
        container("c0", IDLE, env=list(variables)),
        initContainers=[container("writer", script, volumeMounts=MOUNT)],
        volumes=VOLUMES,
    )


def test_an_init_container_writes_and_the_others_read(shared: Instance) -> None:
    script = 'sleep 0.3; printf "%s\\n" "DB=\'first line" "second\'" "N=\'1\'" > /data/app.env'
    made = _made(
        "env-file", script, _variable("ADDRESS", "DB"), _variable("NONE", "X", optional=True)
    )
    shared.apply(made)
    wait_phase(shared, "env-file", "Running")
    assert inside(shared, "env-file", 'echo "$ADDRESS"').strip() == "first line\nsecond"
    assert "NONE" not in inside(shared, "env-file", "env")
    assert (
        inside(shared, "env-file", "ls /data 2>&1 || true")
        .strip()
        .endswith("No such file or directory")
    )
    shared.run("delete", "pod", "env-file", "--now")


def test_a_restart_reads_the_file_again(shared: Instance) -> None:
    count = "echo \"COUNT='first'\" > /data/app.env"
    again = "echo \"COUNT='second'\" > /data/app.env; exit 1"
    command = f'if [ "$COUNT" = second ]; then {IDLE}; fi; {again}'
    reader = container("c0", command, volumeMounts=MOUNT)
    reader["env"] = [_variable("COUNT", "COUNT")]
    shared.apply(
        pod(
            "env-again",
            reader,
            initContainers=[container("writer", count, volumeMounts=MOUNT)],
            volumes=VOLUMES,
        )
    )
    wait_pod(
        shared,
        "env-again",
        lambda p: status_of(p, "c0").get("ready") and status_of(p, "c0")["restartCount"] == 1,
        "the second attempt",
    )
    shared.run("delete", "pod", "env-again", "--now")


def test_what_cannot_be_read_is_said_and_the_container_waits(shared: Instance) -> None:
    shared.apply(_made("env-link", "ln -s /etc/passwd /data/app.env", _variable("A", "A")))
    found = wait_pod(
        shared,
        "env-link",
        lambda p: (
            status_of(p, "c0").get("state", {}).get("waiting", {}).get("reason")
            == "CreateContainerConfigError"
        ),
        "the refusal",
    )
    assert "cross-device link" in status_of(found, "c0")["state"]["waiting"]["message"]
    shared.run("delete", "pod", "env-link", "--now")
