import json
import threading

from tests.fakes.apiserver import FakeApiServer
from tests.unit.cli.conftest import Minipod, pod


def test_lists_are_the_servers_tables_lined_up(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod("nginx"))
    server.put("pods", pod("a-much-longer-name", phase="Pending"))
    ended = minipod("get", "pods")
    assert ended.code == 0
    assert ended.out == (
        "NAME                 STATUS    AGE\n"
        "a-much-longer-name   Pending   5s\n"
        "nginx                Running   5s\n"
    )


def test_wide_shows_every_column(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    assert (
        minipod("get", "po", "-o", "wide").out
        == "NAME    STATUS    AGE   IP\nnginx   Running   5s    10.85.0.2\n"
    )


def test_all_namespaces_come_with_a_column(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod("a", "default"))
    server.put("pods", pod("b", "lab"))
    out = minipod("get", "pods", "-A").out
    assert out.splitlines()[0].split() == ["NAMESPACE", "NAME", "STATUS", "AGE"]
    assert out.splitlines()[2].startswith("lab         b ")


def test_several_kinds_are_separated_and_named(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    server.put("secrets", {"metadata": {"name": "user", "namespace": "default"}})
    out = minipod("get", "pods,secrets").out
    assert out == (
        "NAME        STATUS    AGE\npod/nginx   Running   5s\n"
        "\nNAME          STATUS   AGE\nsecret/user            5s\n"
    )


def test_slashed_names_of_several_kinds(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    server.put("secrets", {"metadata": {"name": "user", "namespace": "default"}})
    assert (
        minipod("get", "pod/nginx", "secret/user", "-o", "name").out == "pod/nginx\nsecret/user\n"
    )


def test_nothing_found_is_said_on_stderr(server: FakeApiServer, minipod: Minipod) -> None:
    ended = minipod("get", "pods")
    assert (ended.code, ended.out, ended.err) == (
        0,
        "",
        "No resources found in default namespace.\n",
    )
    assert minipod("get", "nodes").err == "No resources found\n"


def test_a_missing_object_is_an_error_with_exit_code_1(
    server: FakeApiServer, minipod: Minipod
) -> None:
    ended = minipod("get", "pod", "x")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == 'Error from server (NotFound): pods "x" not found\n'
    assert minipod("get", "pod", "x", "--ignore-not-found").code == 0


def test_what_exists_is_shown_beside_what_does_not(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    ended = minipod("get", "pods", "nginx", "x")
    assert ended.code == 1
    assert "nginx   Running" in ended.out
    assert 'pods "x" not found' in ended.err


def test_an_unknown_kind_is_looked_up_then_refused(server: FakeApiServer, minipod: Minipod) -> None:
    ended = minipod("get", "frobs")
    assert ended.err == 'error: the server doesn\'t have a resource type "frobs"\n'
    assert [each.path for each in server.requests] == ["/api/v1", "/apis"]


def test_known_kinds_cost_one_request(server: FakeApiServer, minipod: Minipod) -> None:
    minipod("get", "pods")
    assert len(server.requests) == 1


def test_selectors_reach_the_server(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod("a", labels={"app": "x"}))
    server.put("pods", pod("b"))
    assert minipod("get", "pods", "-l", "app=x", "-o", "name").out == "pod/a\n"
    assert minipod("get", "pods", "--field-selector=metadata.name=b", "-o=name").out == "pod/b\n"


def test_labels_and_sorting(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod("a", labels={"app": "x", "a": "1"}))
    server.put("pods", pod("b"))
    out = minipod("get", "pods", "--show-labels", "--no-headers", "-L", "app").out
    assert [line.split() for line in out.splitlines()] == [
        ["a", "Running", "5s", "x", "a=1,app=x"],
        ["b", "Running", "5s", "<none>"],
    ]
    server.put("pods", {**pod("c"), "spec": {"order": 2}})
    server.put("pods", {**pod("d"), "spec": {"order": 10}})
    names = [
        line.split()[0] for line in minipod("get", "pods", "--sort-by=.spec.order").out.splitlines()
    ]
    assert names == ["NAME", "a", "b", "c", "d"]


def test_json_and_yaml(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod(managedFields=[{"manager": "x"}]))
    whole = json.loads(minipod("get", "pod", "nginx", "-o", "json").out)
    assert whole["kind"] == "Pod"
    assert "managedFields" not in whole["metadata"]
    listed = minipod("get", "pods", "-o", "yaml").out
    assert listed.startswith("apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n")
    assert listed.endswith('kind: List\nmetadata:\n  resourceVersion: ""\n')


def test_jsonpath_and_custom_columns(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod("a"))
    server.put("pods", pod("b"))
    assert minipod("get", "pods", "-o", "jsonpath={.items[*].metadata.name}").out == "a b"
    out = minipod(
        "get", "pods", "-o", "custom-columns=NAME:.metadata.name,IP:.status.podIP,NO:.x"
    ).out
    assert out == "NAME   IP          NO\na      10.85.0.2   <none>\nb      10.85.0.2   <none>\n"


def test_an_unknown_format_is_refused_with_the_known_ones(
    server: FakeApiServer, minipod: Minipod
) -> None:
    err = minipod("get", "pods", "-o", "xml").err
    assert err.startswith('error: unable to match a printer suitable for the output format "xml"')
    assert "custom-columns" in err


def test_watch_goes_on_from_the_list_and_keeps_columns(
    server: FakeApiServer, minipod: Minipod
) -> None:
    server.put("pods", pod("nginx", phase="Pending"))

    def change() -> None:
        server.wait_for_request(lambda each: "watch" in each.query)
        server.put("pods", pod("nginx"))
        server.put("pods", pod("other"))
        server.remove("pods", "default", "other")
        server.closing = True

    thread = threading.Thread(target=change)
    thread.start()
    ended = minipod("get", "pods", "-w", "--output-watch-events")
    thread.join()
    assert [line.split() for line in ended.out.splitlines()] == [
        ["EVENT", "NAME", "STATUS", "AGE"],
        ["ADDED", "nginx", "Pending", "5s"],
        ["MODIFIED", "nginx", "Running", "5s"],
        ["ADDED", "other", "Running", "5s"],
        ["DELETED", "other", "Running", "5s"],
    ]


def test_warnings_of_the_server_are_printed_once(server: FakeApiServer, minipod: Minipod) -> None:
    server.warnings = ['spec.x: \\"y\\" is ignored']
    server.put("pods", pod())
    assert (
        minipod("get", "pods", "nginx", "nginx2").err.count('Warning: spec.x: "y" is ignored\n')
        == 1
    )


def test_nobody_listens(minipod: Minipod, root: object) -> None:
    ended = minipod("get", "pods")
    assert ended.code == 1
    assert ended.err == (
        f"The connection to the server {root}/run/api.sock was refused - is minipod up? "
        f"try: sudo minipod --root {root} up\n"
    )
