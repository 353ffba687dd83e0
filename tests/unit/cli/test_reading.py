"""logs, describe, events: what is read, and how it is laid out."""

import threading

from tests.fakes.apiserver import FakeApiServer
from tests.unit.cli.conftest import Minipod, pod


def two_containers() -> dict[str, object]:
    made = pod()
    made["spec"] = {
        "nodeName": "me",
        "containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}],
        "initContainers": [{"name": "i", "image": "z"}],
    }
    return made


def test_logs_of_the_only_or_the_first_container(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    server.logs = {"app": b"one\ntwo\n", "a": b"from a\n", "b": b"from b"}
    assert minipod("logs", "nginx").out == "one\ntwo\n"
    server.put("pods", two_containers())
    ended = minipod("logs", "pod/nginx")
    assert ended.out == "from a\n"
    assert ended.err == 'Defaulted container "a" out of: a, b, i (init)\n'
    assert minipod("logs", "nginx", "-c", "b").out == "from b"
    assert minipod("logs", "nginx", "b").out == "from b"
    assert minipod("logs", "nginx", "--all-containers", "--prefix").out == (
        "[pod/nginx/a] from a\n[pod/nginx/b] from b\n"
    )
    assert (
        minipod("logs", "nginx", "-c", "c").err
        == "error: container c is not valid for pod nginx out of: a, b, i (init)\n"
    )


def test_flags_of_logs_reach_the_server(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod(labels={"app": "x"}))
    minipod(
        "logs", "nginx", "-f", "-p", "--tail=5", "--since=2m", "--timestamps", "--limit-bytes=9"
    )
    asked = {key: value[0] for key, value in server.requests[-1].query.items()}
    assert asked == {
        "container": "app",
        "follow": "true",
        "previous": "true",
        "tailLines": "5",
        "sinceSeconds": "120",
        "timestamps": "true",
        "limitBytes": "9",
    }
    minipod("logs", "-l", "app=x")
    assert server.requests[-1].query["tailLines"] == ["10"]
    minipod("logs", "nginx", "--since-time=2024-01-01T00:00:00Z")
    assert server.requests[-1].query["sinceTime"] == ["2024-01-01T00:00:00Z"]
    assert "at most one of" in minipod("logs", "nginx", "--since=1s", "--since-time=x").err
    assert "only one of -c or an inline" in minipod("logs", "nginx", "app", "-c", "app").err
    server.logs = {"app": b"1\n"}
    assert minipod("logs", "-l", "app=x", "--all-pods").out == "[pod/nginx/app] 1\n"


def test_several_logs_followed_at_once(server: FakeApiServer, minipod: Minipod) -> None:
    for number in range(3):
        server.put("pods", pod(f"p{number}", labels={"app": "x"}))
    server.logs = {"app": b"1\n2\n"}
    out = minipod("logs", "-f", "-l", "app=x", "--prefix").out
    assert sorted(out.splitlines()) == [
        f"[pod/p{n}/app] {line}" for n in range(3) for line in (1, 2)
    ]
    refused = minipod("logs", "-f", "-l", "app=x", "--max-log-requests=2").err
    assert "attempting to follow 3 log streams" in refused


def test_logs_of_what_does_not_exist(server: FakeApiServer, minipod: Minipod) -> None:
    assert (
        minipod("logs", "x").err
        == 'error: error from server (NotFound): pods "x" not found in namespace "default"\n'
    )
    assert minipod("logs").err.startswith(
        "error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'"
    )


def event(name: str, reason: str, **more: object) -> dict[str, object]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "type": "Normal",
        "reason": reason,
        "message": f"{reason} it",
        "involvedObject": {"kind": "Pod", "name": "nginx", "uid": "u"},
        "firstTimestamp": "2024-01-01T00:00:00Z",
        "lastTimestamp": "2024-01-01T00:00:01Z",
        "source": {"component": "kubelet"},
        **more,
    }


def test_describe_says_which_part_an_event_is_about(
    server: FakeApiServer, minipod: Minipod
) -> None:
    made = pod()
    made["metadata"]["uid"] = "u"
    server.put("pods", made)
    about = {"kind": "Pod", "name": "nginx", "uid": "u", "fieldPath": "spec.containers{app}"}
    server.put("events", event("e1", "Started", involvedObject=about))
    assert "spec.containers{app}: Started it\n" in minipod("describe", "pod", "nginx").out


def test_describe_a_pod(server: FakeApiServer, minipod: Minipod) -> None:
    made = two_containers()
    made["metadata"] = {
        "name": "nginx",
        "namespace": "default",
        "uid": "u",
        "labels": {"b": "2", "a": "1"},
    }
    state = {
        "terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": "2024-01-01T00:00:00Z"}
    }
    running = {"running": {"startedAt": "2024-01-01T00:00:05Z"}}
    status = {
        "name": "a",
        "containerID": "minipod://x",
        "state": running,
        "lastState": state,
        "restartCount": 2,
    }
    made["status"] = {**made["status"], "containerStatuses": [status], "hostIP": "10.0.0.1"}  # type: ignore[dict-item]
    server.put("pods", made)
    server.put("events", event("e1", "Pulled"))
    server.put(
        "events",
        event("e2", "Other", involvedObject={"kind": "Pod", "name": "nginx", "uid": "old"}),
    )
    out = minipod("describe", "pod", "nginx").out
    assert out.startswith("Name:         nginx\nNamespace:    default\nNode:         me/10.0.0.1\n")
    assert "Labels:       a=1\n              b=2\n" in out
    assert (
        "    State:          Running\n      Started:      Mon, 01 Jan 2024 00:00:05 +0000\n"
        "    Last State:     Terminated\n      Reason:       OOMKilled\n      Exit Code:    137\n"
    ) in out
    assert "    Restart Count:  2\n" in out
    assert "QoS Class:       BestEffort\n" in out
    assert "Normal  Pulled" in out
    assert "Other" not in out
    assert "Pulled" not in minipod("describe", "pod", "nginx", "--show-events=false").out


def test_describe_by_prefix_and_nothing(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod("web-1"))
    server.put("pods", pod("web-2"))
    assert minipod("describe", "pod", "web").out.count("Name: ") == 2
    ended = minipod("describe", "pod", "db")
    assert (ended.code, ended.err) == (1, 'Error from server (NotFound): pods "db" not found\n')


def test_describe_never_shows_a_secret(server: FakeApiServer, minipod: Minipod) -> None:
    server.put(
        "secrets",
        {
            "metadata": {"name": "s", "namespace": "default"},
            "type": "Opaque",
            "data": {"k": "YWJj"},
        },
    )
    out = minipod("describe", "secret", "s").out
    assert "Type:  Opaque\n\nData\n====\nk:  3 bytes\n" in out
    assert "abc" not in out
    assert "YWJj" not in out


def test_describe_other_kinds(server: FakeApiServer, minipod: Minipod) -> None:
    server.put(
        "configmaps", {"metadata": {"name": "c", "namespace": "default"}, "data": {"k": "v"}}
    )
    assert "\nData\n====\nk:\n----\nv\n\n" in minipod("describe", "cm", "c").out
    server.put("namespaces", {"metadata": {"name": "lab"}, "status": {"phase": "Active"}})
    assert "Status:       Active\n" in minipod("describe", "ns", "lab").out
    server.put(
        "nodes", {"metadata": {"name": "me"}, "status": {"capacity": {"cpu": "2", "pods": "110"}}}
    )
    assert "Capacity:\n  cpu:   2\n  pods:  110\n" in minipod("describe", "node", "me").out
    asking = pod("asking")
    resources = {"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"cpu": "1"}}
    asking["spec"] = {"nodeName": "me", "containers": [{"name": "a", "resources": resources}]}
    granted = {"name": "a", "allocatedResources": resources["requests"]}
    asking["status"] = {"phase": "Running", "containerStatuses": [granted]}
    server.put("pods", asking)
    status = {"allocatable": {"cpu": "2", "memory": "1Gi", "hugepages-2Mi": "0"}}
    server.put("nodes", {"metadata": {"name": "me"}, "status": status})
    out = minipod("describe", "node", "me").out
    assert ["default", "asking", "500m", "(25%)", "1", "(50%)", "64Mi", "(6%)", "0", "(0%)"] in [
        line.split()[:10] for line in out.splitlines()
    ]
    lines = [line.split() for line in out.splitlines()]
    assert ["cpu", "500m", "(25%)", "1", "(50%)"] in lines
    assert lines[lines.index(["ephemeral-storage", "0", "(0%)", "0", "(0%)"]) + 1] == [
        *("hugepages-2Mi", "0", "(0%)", "0", "(0%)")
    ]
    server.put("serviceaccounts", {"metadata": {"name": "bot", "namespace": "default"}})
    assert "Image pull secrets:  <none>\n" in minipod("describe", "sa", "bot").out
    server.put("events", event("e1", "Pulled"))
    assert "Reason:" in minipod("describe", "event", "e1").out


def test_events_in_order(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("events", event("b", "Started", lastTimestamp="2024-01-01T00:00:09Z"))
    server.put("events", event("a", "BackOff", type="Warning", count=3))
    server.put("events", event("c", "Else", involvedObject={"kind": "Pod", "name": "other"}))
    lines = minipod("events", "--for", "pod/nginx").out.splitlines()
    assert lines[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert [line.split()[-5:] for line in lines[1:]] == [
        ["Warning", "BackOff", "Pod/nginx", "BackOff", "it"],
        ["Normal", "Started", "Pod/nginx", "Started", "it"],
    ]
    assert "(x3 over" in lines[1]
    assert "Started" not in minipod("events", "--types=Warning").out
    assert minipod("events", "-n", "lab").err == "No events found in lab namespace.\n"


def test_events_watched(server: FakeApiServer, minipod: Minipod) -> None:
    def add() -> None:
        server.wait_for_request(lambda each: "watch" in each.query)
        server.put("events", event("a", "Started"))
        server.closing = True

    thread = threading.Thread(target=add)
    thread.start()
    out = minipod("events", "--watch", "--no-headers").out
    thread.join()
    assert out.split()[-4:] == ["Started", "Pod/nginx", "Started", "it"]
