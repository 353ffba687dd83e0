"""The command line against a real daemon: changing objects, the node, and who may do what."""

import re

import pytest

from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import IDLE, container, pod

SETTINGS = """apiVersion: v1
kind: ConfigMap
metadata: {name: %s}
data: {colour: %s}
"""


def test_diff_shows_what_apply_then_does(shared: Instance) -> None:
    blue, red = (SETTINGS % ("shown", colour) for colour in ("blue", "red"))
    assert shared.run("diff", "-f", "-", input=blue, check=False).returncode == 1
    assert "shown" not in shared.out("get", "configmaps")  # nothing was stored
    shared.run("apply", "-f", "-", input=blue)
    assert shared.run("diff", "-f", "-", input=blue).stdout == ""
    changed = shared.run("diff", "-f", "-", input=red, check=False)
    assert changed.returncode == 1
    assert re.findall(r"^[-+] .*", changed.stdout, re.M) == ["-  colour: blue", "+  colour: red"]
    shared.run("apply", "-f", "-", input=red)
    assert shared.run("diff", "-f", "-", input=red).stdout == ""
    shared.run("delete", "configmap", "shown")


def test_diff_shows_no_secret(shared: Instance) -> None:
    shared.run("create", "secret", "generic", "hidden", "--from-literal=password=hunter2")
    manifest = shared.out("get", "secret", "hidden", "-o", "yaml")
    other = manifest.replace("aHVudGVyMg==", "aHVudGVyMw==")
    changed = shared.run("diff", "-f", "-", input=other, check=False)
    assert changed.returncode == 1
    assert "password: '*** (before)'" in changed.stdout
    assert "aHVudGVyM" not in changed.stdout
    shared.run("delete", "secret", "hidden")


def test_apply_on_the_server_keeps_to_its_own_fields(shared: Instance) -> None:
    blue, red = (SETTINGS % ("owned", colour) for colour in ("blue", "red"))
    applied = shared.run("apply", "--server-side", "-f", "-", input=blue)
    assert applied.stdout == "configmap/owned serverside-applied\n"
    other = ("apply", "--server-side", "--field-manager=other", "-f", "-")
    refused = shared.run(*other, input=red, check=False)
    assert refused.returncode == 1
    assert 'conflict with "kubectl": .data.colour' in refused.stderr
    assert "--force-conflicts" in refused.stderr
    shared.run(*other, "--force-conflicts", input=red)
    assert shared.out("get", "configmap", "owned", "-o", "jsonpath={.data.colour}") == "red"
    shared.run("delete", "configmap", "owned")


def test_replace_leaves_nothing_of_what_was(shared: Instance) -> None:
    shared.run("create", "configmap", "replaced", "--from-literal=a=1", "--from-literal=b=2")
    manifest = shared.out("get", "configmap", "replaced", "-o", "yaml")
    uid = shared.out("get", "configmap", "replaced", "-o", "jsonpath={.metadata.uid}")
    shared.run("replace", "-f", "-", input=re.sub(r"  b:.*\n", "", manifest))
    assert shared.get("configmap", "replaced")["data"] == {"a": "1"}
    stale = shared.run("replace", "-f", "-", input=manifest, check=False)
    assert stale.returncode == 1
    assert "Conflict" in stale.stderr
    shared.run("replace", "--force", "-f", "-", input=manifest)
    replaced = shared.get("configmap", "replaced")
    assert replaced["data"] == {"a": "1", "b": "2"}
    assert replaced["metadata"]["uid"] != uid
    shared.run("delete", "configmap", "replaced")


def test_a_drained_node_takes_nothing_until_it_is_uncordoned(shared: Instance) -> None:
    node = shared.out("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    first = pod("drained", container("main", IDLE))
    first["metadata"]["labels"] = {"drain": "me"}
    shared.apply(first, options=("--until-ready",))
    drain = ("drain", node, "--pod-selector=drain=me")
    refused = shared.run(*drain, check=False)
    try:
        assert refused.returncode == 1
        assert (
            "cannot delete Pods that declare no controller (use --force to override): default/drained"
            in refused.stderr
        )
        assert f"There are pending nodes to be drained:\n {node}\n" in refused.stderr
        assert shared.get("pod", "drained")["status"]["phase"] == "Running"
        done = shared.run(*drain, "--force", "--grace-period=1")
        assert done.stdout.splitlines() == [
            f"node/{node} already cordoned",
            "evicting pod default/drained",
            "pod/drained evicted",
            f"node/{node} drained",
        ]
        shared.apply(pod("waiting", container("main", IDLE)))
        shared.run(*("wait", "pod/waiting", "--for=condition=PodScheduled=False", "--timeout=10s"))
    finally:
        shared.run("uncordon", node)
    shared.run("wait", "pod/waiting", "--for=condition=Ready", "--timeout=20s")
    shared.run("delete", "pod", "waiting", "--now")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_taint_evicts(shared: Instance, overwrite: bool) -> None:
    node = shared.out("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    extra = ("--overwrite",) if overwrite else ()
    tainted = pod("tainted", container("main", IDLE), terminationGracePeriodSeconds=1)
    shared.apply(tainted, options=("--until-ready",))
    try:
        done = shared.run("taint", "node", node, "lab=x:NoExecute", *extra)
        assert done.stdout == f"node/{node} {'modified' if overwrite else 'tainted'}\n"
        shared.run("wait", "pod/tainted", "--for=delete", "--timeout=40s")
    finally:
        shared.run("taint", "node", node, "lab-")


def test_a_binding_gives_an_account_what_it_says(shared: Instance) -> None:
    account = ("--as", "system:serviceaccount:default:builder")
    shared.run("create", "serviceaccount", "builder")
    assert shared.run("auth", "can-i", "list", "pods", *account, check=False).stdout == "no\n"
    shared.run("create", "role", "reader", "--verb=get,list", "--resource=pods")
    shared.run("create", "rolebinding", "b", "--role=reader", "--serviceaccount=default:builder")
    assert shared.run("auth", "can-i", "list", "pods", *account).stdout == "yes\n"
    assert shared.run("auth", "can-i", "list", "secrets", *account, check=False).returncode == 1
    assert shared.out("create", "token", "builder").count(".") == 2
    assert "system:admin" in shared.out("auth", "whoami")
    shared.run("delete", "serviceaccount/builder", "role/reader", "rolebinding/b")


def test_top_shows_who_is_at_work(shared: Instance) -> None:
    spinning = pod("spinning", container("main", "while :; do :; done"))
    shared.apply(spinning, pod("resting", container("main", IDLE)), options=("--until-ready",))

    def busy() -> bool:
        lines = shared.out("top", "pod", "--no-headers", "--sort-by=cpu").splitlines()
        used = {line.split()[0]: int(line.split()[1].removesuffix("m")) for line in lines}
        return used.get("spinning", 0) > 100 and used.get("resting", 1000) < 50

    wait_until(busy, "one Pod at work and one at rest", 30)
    cores, share = shared.out("top", "node", "--no-headers").split()[1:3]
    assert int(cores.removesuffix("m")) > 100
    assert int(share.removesuffix("%")) > 0
    shared.run("delete", "pod", "spinning", "resting", "--now")
