import json
from dataclasses import replace

import pytest

from minipod.runtime import codec, protocol
from minipod.runtime.child_operations import (
    BindMount,
    Clone,
    Exec,
    LoadSeccomp,
    MountFilesystem,
    OpenMountTree,
    SetCapabilities,
    SetUser,
)
from minipod.runtime.operations import (
    AddNftElements,
    CheckHostPath,
    MakeDirectory,
    MountLayers,
    MountTmpfs,
    Operation,
    WriteFile,
    kinds,
)
from minipod.runtime.plan import compute_container_plan, compute_exec_plan, compute_sandbox_plan
from minipod.runtime.spec import ExecSpec, PortMapping, User
from tests.unit.runtime.plans import CONTAINER, POD, SANDBOX, V1

STEPS = (
    *compute_sandbox_plan(SANDBOX, V1),
    *compute_container_plan(CONTAINER, POD, V1),
    *compute_exec_plan(CONTAINER, ExecSpec(("a",), tty=True), POD, V1),
)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step.operation).__name__)
def test_steps_survive_the_way_to_the_shim(step, binary) -> None:
    decoder = protocol.Decoder()
    decoder.feed(protocol.encode({"step": codec.step_to_json(step)}, binary=binary))
    [(sent, _)] = decoder.messages()
    assert codec.step_from_json(sent["step"]) == replace(step, comment="")


def test_a_filter_that_a_plan_holds_twice_is_sent_once() -> None:
    filtered = replace(CONTAINER.security, seccomp=bytes(range(256)) * 40)
    container = replace(CONTAINER, security=filtered)
    steps = compute_container_plan(container, POD, V1)
    message = {"spec": codec.to_plain(container), "steps": list(map(codec.step_to_json, steps))}
    frame = protocol.encode(message, binary=True)
    assert frame.count(bytes(range(256)) * 40) == 1
    assert len(frame) < len(protocol.encode(message)) - 256 * 40


@pytest.mark.parametrize(
    "operation",
    [
        MountTmpfs("/a", None),
        MountTmpfs("/a", 5),
        MountLayers("/a", ("/b", "/c")),
        CheckHostPath("/a", "File"),
        WriteFile("/a", "é"),
    ],
)
def test_operations_survive_json(operation) -> None:
    assert codec.from_json(json.loads(json.dumps(codec.to_json(operation)))) == operation


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({}, "unknown operation"),
        ({"operation": "Fly"}, '"Fly"'),
        ({"operation": "MakeDirectory"}, "path"),
        ({"operation": "MakeDirectory", "path": "/", "color": 1}, "color"),
    ],
)
def test_what_does_not_fit_is_refused(value: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        codec.from_json(value)


def test_traces_hold_no_secrets_and_no_bulk() -> None:
    shown = json.dumps(
        [
            codec.brief(WriteFile("/secret", "hunter2")),
            codec.brief(LoadSeccomp(b"12345678")),
            codec.brief(Exec(("a",), ("PASSWORD=hunter2",))),
        ]
    )

    assert "hunter2" not in shown
    assert '"PASSWORD"' in shown


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (MakeDirectory("/a/b"), "make directory /a/b"),
        (Clone("pause", ("net", "ipc")), "clone pause with new namespaces net, ipc"),
        (Clone("exec"), "clone exec with new namespaces none"),
        (BindMount("/etc/hosts", "/root", source="/h"), "bind /h at /root/etc/hosts"),
        (BindMount("/x", source="/v", subpath="a/b"), "bind /v/a/b at /x"),
        (BindMount("/dev/shm", "/root", tree="shm"), "bind shm at /root/dev/shm"),
        (OpenMountTree("v", "/v", "a"), "take mount /v/a as v"),
        (MountFilesystem("proc", "/proc", "/root"), "mount proc at /root/proc"),
        (SetUser(User("nginx")), "become user nginx"),
        (SetUser(User(uid=1, gid=2, supplementary=(3, 4))), "become user 1:2 (3, 4)"),
        (SetUser(User()), "become user root"),
        (SetCapabilities(()), "keep capabilities none"),
        (Exec(("sh", "-c", "echo $A")), "execute sh -c 'echo $A'"),
        (
            AddNftElements("t", "veth1", "10.0.0.2", (PortMapping(8080, 80),)),
            "admit 10.0.0.2 at veth1, ports 8080:80/tcp",
        ),
    ],
)
def test_an_operation_reads_as_a_sentence(operation: Operation, words: str) -> None:
    assert operation.summary() == words


def test_no_sentence_shows_how_python_writes_things() -> None:
    ours = {n: k for n, k in kinds().items() if k.__module__.startswith("minipod.")}
    assert ours
    for name, kind in ours.items():
        assert kind.summary is not Operation.summary or kind.summary_format != name
