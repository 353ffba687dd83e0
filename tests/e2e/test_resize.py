"""In-place resize: the container's cgroup changes under its running program, or the status says why not."""

import json
from pathlib import Path
from typing import Any

from minipod.linux import cgroup
from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import container, container_pid, inspect, pod, status_of, wait_pod
from tests.e2e.test_probes import events


def resize(instance: Instance, name: str, check: bool = True, **resources: Any) -> str:
    body = {"spec": {"containers": [{"name": "c0", "resources": resources}]}}
    done = instance.run(
        *("patch", "pod", name, "--subresource", "resize", "-p", json.dumps(body)), check=check
    )
    return done.stderr


def amounts(cpu: str, memory: str) -> dict[str, dict[str, str]]:
    return {
        "requests": {"cpu": cpu, "memory": memory},
        "limits": {"cpu": cpu, "memory": memory},
    }


def limits(instance: Instance, name: str, of: str = "c0") -> tuple[str, str]:
    """What the kernel allows a container: cpu quota, bytes of memory."""
    status = status_of(instance.get("pod", name), of)
    place = inspect(instance, name)["cgroup"]["path"]
    path = f"{place}/{status['containerID'].partition('://')[2]}"
    layout = cgroup.this_host()
    cpu, memory = (Path(str(layout.directory(each, path))) for each in ("cpu", "memory"))
    v2 = layout.is_v2("cpu")
    quota = (cpu / ("cpu.max" if v2 else "cpu.cfs_quota_us")).read_text().split()[0]
    v2 = layout.is_v2("memory")
    allowed = (memory / ("memory.max" if v2 else "memory.limit_in_bytes")).read_text().strip()
    return quota, allowed


def told_of(instance: Instance, name: str, reason: str) -> str:
    """Wait for an Event of a Pod and return its message."""
    found: dict[str, str] = {}

    def told() -> bool:
        found.update(events(instance, name))
        return reason in found

    wait_until(told, reason)
    return found[reason]


def wait_for_limits(instance: Instance, name: str, of: str, wanted: tuple[str, str]) -> None:
    wait_until(lambda: limits(instance, name, of) == wanted, f"{of}: {wanted}")


def test_cpu_and_memory_change_under_a_running_program(shared: Instance) -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "NotRequired"}]
    sized = container("c0", resources=amounts("100m", "64Mi"), resizePolicy=policy)
    shared.apply(pod("grows", sized), options=("--until-ready",))
    pid = container_pid(shared, "grows")
    assert limits(shared, "grows") == ("10000", str(64 << 20))
    resize(shared, "grows", **amounts("200m", "128Mi"))
    wait_until(lambda: limits(shared, "grows") == ("20000", str(128 << 20)), "the new limits")
    found = wait_pod(
        shared,
        "grows",
        lambda p: status_of(p, "c0")["resources"] == amounts("200m", "128Mi"),
        "the status",
    )
    status = status_of(found, "c0")
    assert status["allocatedResources"] == {"cpu": "200m", "memory": "128Mi"}
    assert (status["restartCount"], container_pid(shared, "grows")) == (0, pid)
    resize(shared, "grows", **amounts("50m", "32Mi"))
    wait_until(lambda: limits(shared, "grows") == ("5000", str(32 << 20)), "the smaller limits")
    assert container_pid(shared, "grows") == pid
    shared.run("delete", "pod", "grows", "--now")


def test_a_container_that_asks_for_it_is_restarted(shared: Instance) -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    sized = container("c0", resources=amounts("100m", "64Mi"), resizePolicy=policy)
    shared.apply(pod("anew", sized), options=("--until-ready",))
    resize(shared, "anew", **amounts("100m", "128Mi"))
    found = wait_pod(shared, "anew", lambda p: status_of(p, "c0")["restartCount"] == 1, "restart")
    wait_pod(
        shared,
        "anew",
        lambda p: status_of(p, "c0").get("resources") == amounts("100m", "128Mi"),
        "the status",
    )
    assert limits(shared, "anew")[1] == str(128 << 20)
    wanted = {
        "containers": [{"name": "c0", "resources": amounts("100m", "128Mi")}],
        "generation": 2,
    }
    for reason, words in (("ResizeStarted", "started"), ("ResizeCompleted", "completed")):
        message = told_of(shared, "anew", reason).removeprefix(f"Pod resize {words}: ")
        assert {**json.loads(message)} == wanted
    assert found["status"]["phase"] == "Running"
    shared.run("delete", "pod", "anew", "--now")


def test_what_does_not_fit_waits_and_what_may_not_be_is_refused(shared: Instance) -> None:
    sized = container("c0", resources=amounts("100m", "64Mi"))
    shared.apply(pod("greedy", sized), options=("--until-ready",))
    resize(shared, "greedy", **amounts("4000", "64Mi"))
    found = wait_pod(
        shared,
        "greedy",
        lambda p: any(c["type"] == "PodResizePending" for c in p["status"]["conditions"]),
        "the condition",
    )
    told = next(c for c in found["status"]["conditions"] if c["type"] == "PodResizePending")
    assert (told["status"], told["reason"]) == ("True", "Infeasible")
    assert told["message"].startswith("Node didn't have enough capacity: cpu, requested: 4000000,")
    assert status_of(found, "c0")["resources"] == amounts("100m", "64Mi")
    assert limits(shared, "greedy")[0] == "10000"
    said = told_of(shared, "greedy", "ResizeInfeasible").removeprefix("Pod resize Infeasible: ")
    assert json.loads(said)["error"] == told["message"]
    resize(shared, "greedy", **amounts("200m", "64Mi"))
    wait_pod(
        shared,
        "greedy",
        lambda p: not any(c["type"] == "PodResizePending" for c in p["status"]["conditions"]),
        "the condition's end",
    )
    said = resize(shared, "greedy", check=False, limits=None)
    assert "Pod QOS Class may not change as a result of resizing" in said
    shared.run("delete", "pod", "greedy", "--now")


def test_the_whole_pod_is_resized_and_with_it_containers_without_limits(shared: Instance) -> None:
    own = {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "100m"}}
    limited = container("c1", resources={"limits": {"memory": "32Mi"}})
    made = pod("envelope", container("c0"), limited, resources=own)
    shared.apply(made, options=("--until-ready",))
    assert limits(shared, "envelope") == ("50000", str(128 << 20))
    before = shared.get("pod", "envelope")["status"]
    assert before["resources"]["limits"] == own["limits"]
    assert before["allocatedResources"] == {"cpu": "100m", "memory": "32Mi"}
    asked = {"spec": {"resources": {"limits": {"cpu": "700m", "memory": "64Mi"}}}}
    shared.run("patch", "pod", "envelope", "--subresource", "resize", "-p", json.dumps(asked))
    wait_until(lambda: limits(shared, "envelope") == ("70000", str(64 << 20)), "the new limits")
    found = wait_pod(
        shared,
        "envelope",
        lambda p: p["status"]["resources"]["limits"] == {"cpu": "700m", "memory": "64Mi"},
        "the status",
    )
    assert [each["restartCount"] for each in found["status"]["containerStatuses"]] == [0, 0]
    shared.run("delete", "pod", "envelope", "--now")


def test_what_a_resize_cannot_have_keeps_nobody_else_out(shared: Instance) -> None:
    shared.apply(pod("wants", container("c0", resources=amounts("100m", "64Mi"))))
    wait_pod(shared, "wants", lambda p: p["status"].get("resources"), "the start")
    resize(shared, "wants", **amounts("4000", "64Mi"))
    wait_pod(shared, "wants", lambda p: "PodResizePending" in json.dumps(p["status"]), "no")
    shared.apply(pod("small", container("c0", resources=amounts("50m", "16Mi"))))
    wait_pod(shared, "small", lambda p: p["status"]["phase"] == "Running", "its place")
    shared.run("delete", "pod", "wants", "small", "--now")


def test_three_containers_change_together_in_both_directions_and_back(shared: Instance) -> None:
    sizes = {"c0": ("50m", "32Mi"), "c1": ("60m", "48Mi"), "c2": ("70m", "64Mi")}
    changed = {"c0": ("80m", "64Mi"), "c1": ("90m", "32Mi"), "c2": ("40m", "48Mi")}
    made = [container(name, resources=amounts(*size)) for name, size in sizes.items()]
    shared.apply(pod("trio", *made), options=("--until-ready",))
    for wanted in (changed, sizes):
        asked = [{"name": n, "resources": amounts(*size)} for n, size in wanted.items()]
        body = json.dumps({"spec": {"containers": asked}})
        shared.run("patch", "pod", "trio", "--subresource", "resize", "-p", body)
        expected = [
            (str(int(cpu[:-1]) * 100), str(int(memory[:-2]) << 20))
            for cpu, memory in wanted.values()
        ]
        for name, size in zip(wanted, expected, strict=True):
            wait_for_limits(shared, "trio", name, size)
    found = shared.get("pod", "trio")["status"]
    assert [each["restartCount"] for each in found["containerStatuses"]] == [0, 0, 0]
    shared.run("delete", "pod", "trio", "--now")
