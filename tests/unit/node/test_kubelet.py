"""A Pod's life with everything around the kubelet faked: what is asked of the runtime, what the API is told."""

import os
from typing import Any

from minipod.api.errors import status_error
from minipod.client import Object
from minipod.clock import format_time
from minipod.node.runtime_watch import PATIENCE, PERIOD
from minipod.node.translate import container_id
from minipod.runtime.operations import WriteFile
from minipod.runtime.service import RuntimeEvent, RuntimeFailure
from tests.unit.node.pods import World, container, make_image, make_pod


def names(world: World, call: str) -> list[str]:
    return [identifier for name, identifier in world.runtime.calls if name == call]


def test_a_pod_is_started_and_reported(play):
    async def scene(world: World) -> None:
        await world.create(make_pod())
        await world.events_written()
        status = world.pod()["status"]
        assert world.runtime.running() == ["app"]
        assert status["phase"] == "Running"
        assert status["podIP"] == "10.85.0.2"
        assert status["hostIP"] == "192.0.2.7"
        assert status["containerStatuses"][0]["ready"] is True
        assert world.reasons() == ["Pulled", "Created", "Started"]

    play(scene)


def test_an_idle_pod_sets_no_timer(play):
    async def scene(world: World) -> None:
        before = len(world.clock.pending())
        await world.create(make_pod())
        await world.events_written()
        assert len(world.clock.pending()) == before

    play(scene)


def test_init_containers_run_one_after_another_before_the_others(play):
    async def scene(world: World) -> None:
        inits = [container("one"), container("two")]
        await world.create(make_pod("web", container("app"), initContainers=inits))
        assert world.runtime.running() == ["one"]
        assert world.state("app") == {"waiting": {"reason": "PodInitializing"}}
        world.runtime.exit("one")
        await world.settle()
        assert world.runtime.running() == ["two"]
        world.runtime.exit("two")
        await world.settle()
        assert world.runtime.running() == ["app"]

    play(scene)


def test_a_sidecar_runs_beside_and_ends_last(play):
    async def scene(world: World) -> None:
        sidecar = container("side", restartPolicy="Always")
        await world.create(make_pod("web", container("app"), initContainers=[sidecar]))
        assert world.runtime.running() == ["side", "app"]
        await world.delete()
        stops = names(world, "stop_container")
        ended = [world.runtime.specs[each].labels["io.kubernetes.container.name"] for each in stops]
        assert ended == ["app", "side"]

    play(scene)


def test_a_crash_loop_waits_longer_and_longer(play):
    async def scene(world: World) -> None:
        await world.create(make_pod())
        for wait in (0, 10, 20, 40):
            world.runtime.exit("app", 3)
            await world.settle()
            if wait:
                assert world.runtime.running() == []
                assert world.state()["waiting"]["reason"] == "CrashLoopBackOff"
                await world.pass_time(wait - 1)
                assert world.runtime.running() == []
                await world.pass_time(1)
            assert world.runtime.running() == ["app"]
        assert world.status()["containerStatuses"][0]["restartCount"] == 4
        last = world.status()["containerStatuses"][0]["lastState"]["terminated"]
        assert last["exitCode"] == 3
        await world.events_written()
        assert "BackOff" in world.reasons()

    play(scene)


def test_a_finished_pod_gives_everything_back_and_keeps_its_status(play):
    async def scene(world: World) -> None:
        await world.create(make_pod("web", container(), restartPolicy="Never"))
        world.runtime.exit("app", 0)
        await world.settle()
        assert world.status()["phase"] == "Succeeded"
        assert world.state()["terminated"]["exitCode"] == 0
        assert not world.runtime.sandboxes
        assert not world.runtime.containers
        assert not world.addresses.held
        assert not world.images.held

    play(scene)


def test_a_deleted_pod_is_ended_and_its_object_removed(play):
    async def scene(world: World) -> None:
        await world.create(make_pod())
        await world.delete()
        await world.events_written()
        assert "pods" not in {key[0] for key in world.api.objects}
        assert not world.runtime.sandboxes
        assert not world.runtime.containers
        assert not world.addresses.held
        assert ("Killing", "Stopping container app") in world.api.events()

    play(scene)


def test_a_force_deleted_pod_is_ended_although_its_object_is_gone(play):
    async def scene(world: World) -> None:
        await world.create(make_pod())
        await world.delete(grace=0)
        await world.settle()
        assert not world.runtime.sandboxes
        assert not world.addresses.held

    play(scene)


def test_a_shorter_grace_shortens_a_termination_under_way(play):
    async def scene(world: World) -> None:
        await world.create(make_pod())
        reached, _ = world.runtime.gate("stop_container")
        await world.delete()
        await reached.wait()
        await world.delete(grace=1)
        await world.settle()
        assert len(names(world, "stop_container")) == 2
        assert not world.runtime.sandboxes

    play(scene)


def test_a_kill_during_the_start_wins_over_the_start(play):
    async def scene(world: World) -> None:
        reached, go = world.runtime.gate("start_container")
        hook = {"postStart": {"exec": {"command": ["true"]}}}
        two = make_pod("web", container("one", lifecycle=hook), container("two"))
        await world.api.client().create("pods", "default", two)
        await world.settle()
        await reached.wait()
        await world.delete()
        go.set()
        await world.settle()
        assert not world.runtime.sandboxes
        assert len(names(world, "start_container")) == 1
        assert "pods" not in {key[0] for key in world.api.objects}

    play(scene)


def test_a_missing_image_is_told_with_the_way_out_and_retried(play):
    async def scene(world: World) -> None:
        await world.create(make_pod("web", container(image="nowhere/app:1")))
        waiting = world.state()["waiting"]
        assert waiting["reason"] == "ErrImagePull"
        assert waiting["message"] == "nowhere/app:1: not found"
        world.images.images["nowhere/app:1"] = make_image("nowhere/app:1")
        await world.pass_time(10)
        assert world.runtime.running() == ["app"]

    play(scene)


def test_a_missing_image_becomes_a_back_off(play):
    async def scene(world: World) -> None:
        await world.create(make_pod("web", container(image="nowhere/app:1")))
        world.kubelet._workers.wake("uid-web")
        await world.settle()
        assert world.state()["waiting"]["reason"] == "ImagePullBackOff"

    play(scene)


def test_image_pull_policy_never_has_its_own_reason(play):
    async def scene(world: World) -> None:
        wanted = container(image="nowhere/app:1", imagePullPolicy="Never")
        await world.create(make_pod("web", wanted))
        assert world.state()["waiting"]["reason"] == "ErrImageNeverPull"
        await world.events_written()
        assert "ErrImageNeverPull" in world.reasons()

    play(scene)


def test_a_sandbox_that_fails_is_tried_again(play):
    async def scene(world: World) -> None:
        world.runtime.fail_next["run_sandbox"] = RuntimeFailure("SandboxFailed", "no room")
        await world.create(make_pod())
        await world.kubelet._parts.recorder.flush()
        assert ("FailedCreatePodSandBox", "Failed to create pod sandbox: no room") in (
            world.api.events()
        )
        await world.pass_time(1)
        assert world.runtime.running() == ["app"]

    play(scene)


def test_a_program_that_cannot_be_executed_is_a_start_error(play):
    async def scene(world: World) -> None:
        failure = RuntimeFailure("StartError", 'exec "nothing": no such file or directory')
        world.runtime.fail_next["start_container"] = failure
        await world.create(make_pod("web", container(), restartPolicy="Never"))
        await world.settle()
        ended = world.state()["terminated"]
        assert ended["reason"] == "StartError"
        assert ended["exitCode"] == 128
        assert "nothing" in ended["message"]
        assert world.status()["phase"] == "Failed"

    play(scene)


def test_a_missing_config_map_is_a_config_error_until_it_is_there(play):
    async def scene(world: World) -> None:
        wanted = container(
            env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]
        )
        await world.create(make_pod("web", wanted))
        assert world.state()["waiting"]["reason"] == "CreateContainerConfigError"
        assert world.state()["waiting"]["message"] == 'configmap "c" not found'
        config_map = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c"},
            "data": {"k": "v"},
        }
        await world.api.client().create("configmaps", "default", config_map)
        await world.pass_time(5)
        assert world.runtime.running() == ["app"]
        spec = next(iter(world.runtime.specs.values()))
        assert "A=v" in spec.env

    play(scene)


def test_a_dead_pause_means_a_new_sandbox_and_restarted_containers(play):
    async def scene(world: World) -> None:
        await world.create(make_pod())
        world.runtime.kill_sandbox("uid-web-0")
        await world.settle()
        assert list(world.runtime.sandboxes) == ["uid-web-1"]
        assert world.runtime.running() == ["app"]
        assert world.status()["containerStatuses"][0]["restartCount"] == 1
        await world.events_written()
        assert "SandboxChanged" in world.reasons()

    play(scene)


def test_two_updates_while_a_step_runs_lead_to_the_newest(play):
    async def scene(world: World) -> None:
        reached, go = world.runtime.gate("run_sandbox")
        await world.api.client().create("pods", "default", make_pod())
        await world.settle()
        await reached.wait()
        for value in ("one", "two"):
            patch = {"metadata": {"labels": {"version": value}}}
            await world.api.client().patch("pods", "default", "web", patch)
        await world.settle()
        go.set()
        await world.settle()
        work = world.kubelet._workers.get("uid-web")
        assert work is not None
        assert work.pod["metadata"]["labels"] == {"version": "two"}
        assert world.runtime.running() == ["app"]
        assert len(names(world, "run_sandbox")) == 1

    play(scene)


def test_a_deadline_fails_the_pod(play):
    async def scene(world: World) -> None:
        await world.create(make_pod("web", container(), activeDeadlineSeconds=60))
        assert world.runtime.running() == ["app"]
        await world.pass_time(61)
        assert world.status()["phase"] == "Failed"
        assert world.status()["reason"] == "DeadlineExceeded"
        assert not world.runtime.sandboxes

    play(scene)


def test_host_network_takes_no_address(play):
    async def scene(world: World) -> None:
        await world.create(make_pod("web", container(), hostNetwork=True))
        assert not world.addresses.held
        assert world.status()["podIP"] == "192.0.2.7"
        spec = next(iter(world.runtime.sandbox_specs.values()))
        assert spec.network is None

    play(scene)


def test_an_exhausted_address_range_is_told_and_recovers(play):
    async def scene(world: World) -> None:
        world.addresses.room = 0
        await world.create(make_pod())
        await world.kubelet._parts.recorder.flush()
        assert "FailedCreatePodSandBox" in world.reasons()
        world.addresses.room = 1
        await world.pass_time(1)
        assert world.runtime.running() == ["app"]

    play(scene)


def test_a_lost_shim_makes_the_node_not_ready(play):
    def ready(world: World) -> str:
        node = world.api.objects["nodes", "", "node1"]
        return next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready")

    async def scene(world: World) -> None:
        await world.create(make_pod())
        assert ready(world) == "True"
        world.runtime.emit(RuntimeEvent("shim-lost"))
        await world.settle()
        assert ready(world) == "False"
        world.runtime.containers.clear()
        world.runtime.sandboxes.clear()
        world.runtime.emit(RuntimeEvent("shim-connected"))
        await world.settle()
        assert ready(world) == "True"
        assert world.runtime.running() == ["app"]
        assert world.status()["containerStatuses"][0]["restartCount"] == 1

    play(scene)


def test_all_pods_together_are_held_to_what_the_host_does_not_keep(play):
    async def scene(world: World) -> None:
        await world.kubelet.wait_idle()
        (limits,) = world.runtime.pod_limits
        assert limits.memory_bytes == world.kubelet._parts.config.memory_bytes // 1024 * 1024
        told = ("NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
        assert told in world.api.events()
        world.runtime.fail_next["limit_pods"] = RuntimeFailure("LimitFailed", "Device busy")
        world.runtime.emit(RuntimeEvent("shim-connected"))
        await world.settle()
        await world.kubelet.wait_idle()
        said = "Failed to update Node Allocatable Limits: Device busy"
        assert ("FailedNodeAllocatableEnforcement", said) in world.api.events()
        await world.create(make_pod())
        assert world.runtime.running() == ["app"]

    play(scene)


def is_ready(node: Object) -> str:
    return next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready")


def test_a_shim_that_does_not_answer_makes_the_node_not_ready_until_it_does(play):
    def ready(world: World) -> str:
        return is_ready(world.api.objects["nodes", "", "node1"])

    async def scene(world: World) -> None:
        await world.create(make_pod())
        reached, go = world.runtime.gate("ping")
        world.clock.advance(PERIOD)
        await reached.wait()
        world.clock.advance(PATIENCE - 1)
        await world.settle()
        assert ready(world) == "True"
        world.clock.advance(1)
        await world.settle()
        assert ready(world) == "False"
        world.runtime.exit("app", 137, 9, "Error")  # meanwhile
        go.set()
        await world.settle()
        assert ready(world) == "True"
        await world.kubelet.wait_idle()
        assert ("NodeReady", "Node node1 status is now: NodeReady") in world.api.events()
        told = world.status()["containerStatuses"][0]
        assert told["restartCount"] == 1
        ended = told["lastState"]["terminated"]
        assert (ended["exitCode"], ended["reason"], "signal" in ended) == (137, "Error", False)

    play(scene)


def test_a_shim_that_answers_again_but_cannot_be_listed_is_asked_once_more(play):
    async def scene(world: World) -> None:
        _, go = world.runtime.gate("ping")
        world.clock.advance(PERIOD)
        await world.settle()
        await world.pass_time(PATIENCE)
        node = world.api.objects["nodes", "", "node1"]
        assert is_ready(node) == "False"
        world.runtime.fail_next["state"] = RuntimeFailure("InternalError", "not now")
        go.set()
        await world.settle()
        await world.pass_time(PERIOD)
        assert is_ready(world.api.objects["nodes", "", "node1"]) == "True"

    play(scene)


def test_containers_are_let_go_one_after_the_other_and_told_of_in_this_order(play):
    async def scene(world: World) -> None:
        reached, go = world.runtime.gate("start_container")
        two = make_pod("web", container("one"), container("two"))
        await world.api.client().create("pods", "default", two)
        await world.settle()
        await reached.wait()
        await world.settle()
        let_go = [container_id(world.pod(), each, 0) for each in ("one", "two")]
        assert names(world, "start_container") == let_go
        assert world.runtime.running() == ["two"]  # and the first is still on its way
        assert world.reasons() == []
        go.set()
        await world.settle()
        await world.events_written()
        assert world.reasons() == ["Pulled", "Created", "Started"] * 2
        about = [each["involvedObject"] for each in world.api.all("events")]
        told = [each["fieldPath"] for each in about if each["kind"] == "Pod"]
        assert told == ["spec.containers{one}"] * 3 + ["spec.containers{two}"] * 3

    play(scene)


def test_a_pull_is_told_of_when_the_container_before_has_been_told_of(play):
    async def scene(world: World) -> None:
        world.puller.remote["far"] = make_image("far")
        reached, go = world.runtime.gate("start_container")
        two = make_pod("web", container("one"), container("two", image="far"))
        await world.api.client().create("pods", "default", two)
        await reached.wait()
        await world.settle()
        assert world.puller.asked == []
        go.set()
        await world.settle()
        await world.events_written()
        one, other = ["Pulled", "Created", "Started"], ["Pulling", "Pulled", "Created", "Started"]
        assert world.reasons() == [*one, *other]

    play(scene)


def test_what_is_prepared_is_abandoned_when_the_sandbox_fails(play):
    async def scene(world: World) -> None:
        reached, go = world.runtime.gate("run_sandbox")
        await world.api.client().create("pods", "default", make_pod())
        await world.settle()
        await reached.wait()
        world.runtime.fail_next["run_sandbox"] = RuntimeFailure("SandboxFailed", "no room")
        go.set()
        await world.settle()
        assert len(world.runtime.abandoned) == 1
        assert not names(world, "start_container")

    play(scene)


def _config_map(name: str, value: str) -> Object:
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": value}}


def _with_config_maps(*names: str, **more: Any) -> Object:
    volumes = [{"name": name, "configMap": {"name": name}} for name in names]
    return make_pod("web", container(), volumes=volumes + more.pop("volumes", []), **more)


def _written(world: World) -> list[str]:
    return [each.content for each in world.runtime.performed if isinstance(each, WriteFile)]


def test_a_volume_that_cannot_be_refreshed_holds_up_no_other(play):
    async def scene(world: World) -> None:
        client = world.api.client()
        for name in ("gone", "kept"):
            await client.create("configmaps", "default", _config_map(name, "old"))
        await world.create(_with_config_maps("gone", "kept"))
        await client.delete("configmaps", "default", "gone")
        await client.patch("configmaps", "default", "kept", {"data": {"k": "new"}})
        await world.settle()
        assert "new" in _written(world)
        await world.events_written()
        assert (
            'MountVolume.SetUp failed for volume "gone" : configmap "gone" not found'
            in dict(world.api.events())["FailedMount"]
        )

    play(scene)


def test_what_changes_while_a_container_is_restarted_reaches_its_volumes(play):
    async def scene(world: World) -> None:
        client = world.api.client()
        await client.create("configmaps", "default", _config_map("c", "old"))
        await world.create(_with_config_maps("c"))
        await client.patch("configmaps", "default", "c", {"data": {"k": "new"}})
        world.runtime.exit("app", 1)
        await world.settle()
        assert len(names(world, "start_container")) == 2
        assert "new" in _written(world)

    play(scene)


def test_a_token_that_cannot_be_renewed_is_asked_for_again(play):
    async def scene(world: World) -> None:
        issue = {"word": "first"}
        plain = world.api._create

        def create(request: Any) -> Object:
            if request.subresource != "token":
                return plain(request)
            if not issue["word"]:
                raise status_error(500, "InternalError", "no tokens today")
            expires = format_time(world.clock.now() + 3600)
            return {"status": {"token": issue["word"], "expirationTimestamp": expires}}

        world.api._create = create  # type: ignore[method-assign]
        source = {"serviceAccountToken": {"path": "token"}}
        volume = {"name": "t", "projected": {"sources": [source]}}
        await world.create(make_pod("web", container(), volumes=[volume]))
        assert "first" in _written(world)
        issue["word"] = ""
        await world.pass_time(3000)
        await world.events_written()
        assert "no tokens today" in dict(world.api.events())["FailedMount"]
        issue["word"] = "second"
        await world.pass_time(300)
        assert "second" in _written(world)

    play(scene)


def test_what_the_node_has_stands_in_for_a_limit_that_is_not_set(play):
    async def scene(world: World) -> None:
        source = {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}
        await world.create(make_pod("web", container(env=[{"name": "CPU", "valueFrom": source}])))
        (spec,) = world.runtime.specs.values()
        assert f"CPU={(os.cpu_count() or 1) * 1000}" in spec.env

    play(scene)


def test_containers_prepare_themselves_beside_their_volumes(play):
    async def scene(world: World) -> None:
        reached, go = world.runtime.gate("perform")
        refers = container("refers", envFrom=[{"configMapRef": {"name": "c"}}])
        await world.create(make_pod("web", container("plain"), refers))
        assert reached.is_set()
        assert world.runtime.prepared == ["plain"]
        assert world.runtime.running() == []
        go.set()
        await world.settle()
        assert world.runtime.running() == ["plain"]

    play(scene)


def test_what_is_mounted_for_a_pod_is_there_before_its_containers_are_prepared(play):
    """A mount namespace may never see what is mounted after it was made; what is written there it does see."""

    async def scene(world: World) -> None:
        mounting, mounted = world.runtime.gate("perform")
        mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
        volumes = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
        await world.create(make_pod("web", container(**mounts), volumes=volumes))
        assert mounting.is_set()
        assert world.runtime.prepared == []
        writing, written = world.runtime.gate("perform")
        mounted.set()
        await world.settle()
        assert writing.is_set()
        assert world.runtime.prepared == ["app"]
        assert world.runtime.running() == []
        written.set()
        await world.settle()
        assert world.runtime.running() == ["app"]

    play(scene)


def test_the_runtime_is_told_of_a_pod_before_anything_is_asked_for(play):
    async def scene(world: World) -> None:
        reached, go = world.runtime.gate("run_sandbox")
        await world.create(make_pod())
        assert reached.is_set()
        assert world.runtime.expected == 1
        go.set()
        await world.settle()
        assert world.runtime.expected == 1

    play(scene)


def test_a_store_of_images_that_somebody_changes_is_waited_for(play):
    async def scene(world: World) -> None:
        world.images.changing = True
        await world.create(make_pod())
        assert world.images.waited == ["uid-web.app"]
        assert world.runtime.running() == ["app"]

    play(scene)


def test_after_a_volume_that_failed_nothing_is_prepared_in_vain(play):
    async def scene(world: World) -> None:
        world.runtime.fail_next["perform"] = RuntimeFailure("CreateContainerError", "no such disk")
        await world.create(make_pod())
        assert world.runtime.prepared == ["app"]
        assert len(world.runtime.abandoned) == 1
        reached, go = world.runtime.gate("perform")
        await world.pass_time(1)
        assert reached.is_set()
        assert world.runtime.prepared == ["app"]
        go.set()
        await world.settle()
        assert world.runtime.running() == ["app"]

    play(scene)
