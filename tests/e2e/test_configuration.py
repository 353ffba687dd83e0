"""Mounted configuration follows the API: within a second, all at once, and whatever the daemon went through."""

import json
import os
from pathlib import Path
from typing import Any

from tests.authorities import make_authority
from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import IDLE, container, container_pid, pod, status_of, wait_pod

WITHIN = 1.0  # seconds in which a change reaches the files

# Reads two files through one directory descriptor, as a program that needs both of one version does.
TORN_READER = """
while :; do
  cd -P /etc/config/..data || exit 1
  a=$(cat a) && b=$(cat b) && [ "$a" != "$b" ] && echo "torn: $a $b"
done 2>/dev/null
"""


def _config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def _mounting(name: str, *sources: dict[str, Any], **fields: Any) -> dict[str, Any]:
    mount = {"name": "config", "mountPath": "/etc/config"}
    volume = {"name": "config", "projected": {"sources": list(sources)}}
    made = container("c0", fields.pop("command", IDLE), volumeMounts=[mount], **fields)
    return pod(name, made, volumes=[volume])


def _root(instance: Instance, name: str) -> Path:
    return Path(f"/proc/{container_pid(instance, name)}/root")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:  # also between two versions
        return ""


def test_a_changed_object_reaches_the_files_and_lost_keys_go(shared: Instance) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "user"}}
    shared.apply(_config_map("ui", colour="purple", old="1"), {**secret, "stringData": {"u": "a"}})
    sources = (
        {"configMap": {"name": "ui"}},
        {"secret": {"name": "user", "items": [{"key": "u", "path": "deep/user", "mode": 0o400}]}},
        {"configMap": {"name": "later", "optional": True}},
    )
    shared.apply(_mounting("follows", *sources), options=("--until-ready",))
    place = _root(shared, "follows") / "etc/config"
    shown = sorted(each for each in os.listdir(place) if not each.startswith(".."))
    assert shown == ["colour", "deep", "old"]

    patch = json.dumps({"data": {"colour": "yellow", "old": None}})
    shared.run("patch", "configmap", "ui", "--type=merge", "-p", patch)
    wait_until(lambda: _read(place / "colour") == "yellow", "the new colour", WITHIN)
    wait_until(lambda: not os.path.lexists(place / "old"), "the lost key to go", WITHIN)
    assert len(_versions(place)) == 1
    shared.run("patch", "secret", "user", "--type=merge", "-p", '{"stringData": {"u": "b"}}')
    wait_until(lambda: _read(place / "deep/user") == "b", "the new user", WITHIN)
    assert (place / "deep/user").stat().st_mode & 0o777 == 0o400
    shared.apply(_config_map("later", extra="here"))
    wait_until(lambda: _read(place / "extra") == "here", "what was optional", WITHIN)
    shared.run("delete", "configmap", "later")
    wait_until(lambda: not os.path.lexists(place / "extra"), "what is gone to go", WITHIN)
    shared.run("delete", "pod", "follows", "--now")
    shared.run("delete", "configmap/ui", "secret/user")


def _versions(place: Path) -> list[str]:
    return [each for each in os.listdir(place) if each.startswith("..") and each != "..data"]


def test_labels_follow_and_sub_paths_and_environment_do_not(shared: Instance) -> None:
    shared.apply(_config_map("frozen", key="before"))
    made = _mounting("downward", {"configMap": {"name": "frozen"}})
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    made["spec"]["volumes"][0]["projected"]["sources"].append({"downwardAPI": {"items": [labels]}})
    first = made["spec"]["containers"][0]
    first["volumeMounts"].append({"name": "config", "mountPath": "/fixed", "subPath": "key"})
    reference = {"configMapKeyRef": {"name": "frozen", "key": "key"}}
    first["env"] = [{"name": "KEY", "valueFrom": reference}]
    made["metadata"]["labels"] = {"zone": "east"}
    shared.apply(made, options=("--until-ready",))
    root = _root(shared, "downward")
    assert _read(root / "etc/config/labels") == 'zone="east"'
    shared.run("label", "pod", "downward", "zone=west", "--overwrite")
    wait_until(lambda: _read(root / "etc/config/labels") == 'zone="west"', "new labels", WITHIN)
    shared.run("patch", "configmap", "frozen", "--type=merge", "-p", '{"data": {"key": "after"}}')
    wait_until(lambda: _read(root / "etc/config/key") == "after", "the new key", WITHIN)
    assert _read(root / "fixed") == "before"
    assert "KEY=before" in Path(f"{root.parent}/environ").read_text().split("\0")
    assert wait_pod(shared, "downward", bool, "to exist")["status"]["phase"] == "Running"
    shared.run("delete", "pod", "downward", "--now")
    shared.run("delete", "configmap", "frozen")


def test_a_reader_never_sees_half_a_change(shared: Instance) -> None:
    shared.apply(_config_map("pair", a="0", b="0"))
    source = {"configMap": {"name": "pair"}}
    shared.apply(_mounting("reader", source, command=TORN_READER), options=("--until-ready",))
    place = _root(shared, "reader") / "etc/config"
    for number in range(1, 11):
        both = json.dumps({"data": {"a": str(number), "b": str(number)}})
        shared.run("patch", "configmap", "pair", "--type=merge", "-p", both)
    wait_until(lambda: _read(place / "b") == "10", "the last version", WITHIN)
    assert "torn" not in shared.out("logs", "reader")
    shared.run("delete", "pod", "reader", "--now")
    shared.run("delete", "configmap", "pair")


def test_a_change_reaches_many_pods_at_once_and_whole(shared: Instance) -> None:
    shared.apply(_config_map("wide", a="0", b="0"))
    source, names = {"configMap": {"name": "wide"}}, [f"wide{number}" for number in range(20)]
    commands = [TORN_READER if number < 3 else IDLE for number in range(20)]
    made = [
        _mounting(name, source, command=command)
        for name, command in zip(names, commands, strict=True)
    ]
    shared.apply(*made, options=("--until-ready",))
    places = list(shared.layout.pods.glob("*/volumes/kubernetes.io~projected/config"))
    places = [each for each in places if _read(each / "a") == "0" and (each / "b").exists()]
    assert len(places) == len(names)
    for number in range(1, 6):
        both = json.dumps({"data": {"a": str(number), "b": str(number)}})
        shared.run("patch", "configmap", "wide", "--type=merge", "-p", both)
        wait_until(
            lambda n=number: all(_read(each / "b") == str(n) for each in places), "all Pods", 2.0
        )
    for name in names[:3]:
        assert "torn" not in shared.out("logs", name)
    shared.run("delete", "pod", *names, "--now")
    shared.run("delete", "configmap", "wide")


def test_what_is_missing_heals_as_soon_as_it_comes(shared: Instance) -> None:
    reference = {"secretKeyRef": {"name": "awaited", "key": "k"}}
    env = [{"name": "K", "valueFrom": reference}]
    shared.apply(pod("waits", container("c0", env=env)))
    shared.apply(_mounting("mounts", {"secret": {"name": "awaited"}}))
    waiting = wait_pod(
        shared,
        "waits",
        lambda p: "waiting" in status_of(p, "c0")["state"] and _reason(p) != "ContainerCreating",
        "a waiting container",
    )
    assert _reason(waiting) == "CreateContainerConfigError"
    message = 'MountVolume.SetUp failed for volume "config" : secret "awaited" not found'
    wait_until(lambda: message in shared.out("events", "--for", "pod/mounts"), "the Event")
    shared.run("create", "secret", "generic", "awaited", "--from-literal=k=v")
    for name in ("waits", "mounts"):
        wait_pod(shared, name, lambda p: "running" in status_of(p, "c0")["state"], "to run", 2)
    shared.run("delete", "pod", "waits", "mounts", "--now")
    shared.run("delete", "secret", "awaited")


def _reason(found: dict[str, Any]) -> str:
    return str(status_of(found, "c0")["state"].get("waiting", {}).get("reason"))


def test_a_change_while_the_daemon_is_away_arrives_when_it_returns(fresh: Instance) -> None:
    fresh.apply(_config_map("kept", key="before"))
    stays = _mounting("stays", {"configMap": {"name": "kept"}})
    stays["spec"]["automountServiceAccountToken"] = False  # a new one would be the first refreshing
    fresh.apply(stays, options=("--until-ready",))
    place, pid = _root(fresh, "stays") / "etc/config", container_pid(fresh, "stays")
    version = _versions(place)
    fresh.kill_daemon()
    fresh.up(MINIPOD_FAULT="node.volumes.refreshing")  # dies between the decision and the swap
    patch = '{"data": {"key": "after"}}'
    fresh.run("patch", "configmap", "kept", "--type=merge", "-p", patch, check=False)
    wait_until(lambda: not _runs(fresh), "the daemon to die of the fault")
    assert _read(place / "key") == "before"
    assert _versions(place) == version
    fresh.up()
    wait_until(lambda: _read(place / "key") == "after", "the new key", 2 * WITHIN)
    assert container_pid(fresh, "stays") == pid


def _runs(instance: Instance) -> bool:
    try:
        return bool(instance.daemon_pid())
    except OSError:
        return False


def _preset(name: str, **spec: Any) -> dict[str, Any]:
    kind = {"apiVersion": "settings.k8s.io/v1alpha1", "kind": "PodPreset"}
    selector = {"matchLabels": {"role": "frontend"}}
    return {**kind, "metadata": {"name": name}, "spec": {"selector": selector, **spec}}


def test_a_pod_preset_reaches_into_the_container_and_a_conflict_leaves_it_alone(
    shared: Instance,
) -> None:
    volumes = [{"name": "cache-volume", "emptyDir": {}}]
    mounts = [{"name": "cache-volume", "mountPath": "/cache"}]
    port = [{"name": "DB_PORT", "value": "6379"}]
    shared.apply(_preset("allow-database", env=port, volumes=volumes, volumeMounts=mounts))
    website = pod("website")
    website["metadata"]["labels"] = {"role": "frontend"}
    shared.apply(website, options=("--until-ready",))
    pid = container_pid(shared, "website")
    assert "DB_PORT=6379" in Path(f"/proc/{pid}/environ").read_text().split("\0")
    mounted = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    assert any(line.split()[4] == "/cache" for line in mounted)
    annotations = shared.get("pod", "website")["metadata"]["annotations"]
    version = shared.get("podpreset", "allow-database")["metadata"]["resourceVersion"]
    assert annotations["podpreset.admission.kubernetes.io/podpreset-allow-database"] == version

    shared.apply(_preset("other-port", env=[{"name": "DB_PORT", "value": "1"}]))
    website["metadata"]["name"] = "conflicting"
    told = shared.run("create", "-f", "-", input=json.dumps(website)).stderr
    assert "conflict occurred while applying podpresets: allow-database, other-port on pod" in told
    found = shared.get("pod", "conflicting")
    assert "env" not in found["spec"]["containers"][0]
    assert "annotations" not in found["metadata"]
    wait_until(
        lambda: "PodPresetConflict" in shared.out("events", "--for", "pod/conflicting"),
        "the Event on the Pod",
    )
    template = {"metadata": {"labels": {"role": "frontend"}}, "spec": website["spec"]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "website"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"role": "frontend"}},
            "template": template,
        },
    }
    shared.apply(deployment)
    kept = shared.get("deployment", "website")["spec"]["template"]
    assert "volumes" not in kept["spec"]
    assert "env" not in kept["spec"]["containers"][0]
    shared.run("delete", "deployment", "website")
    shared.run("delete", "podpresets", "--all")
    shared.run("delete", "pod", "website", "conflicting", "--now")


def test_taking_all_down_takes_down_what_was_forced_away(fresh: Instance) -> None:
    stubborn = "trap '' TERM; while :; do sleep 1; done"
    names = [f"forced{number}" for number in range(4)]
    fresh.apply(*(pod(name, stubborn) for name in names), options=("--until-ready",))
    assert str(fresh.layout.pods) in Path("/proc/self/mountinfo").read_text()
    fresh.run("delete", "pod", *names, "--force", "--grace-period=0")
    fresh.down()
    assert str(fresh.layout.pods) not in Path("/proc/self/mountinfo").read_text()


def test_trust_bundles_follow_their_objects(shared: Instance) -> None:
    one, two = make_authority("one"), make_authority("two")
    signed = _trust_bundle("example.com:ca:v1", one, "example.com/ca", live="yes")
    shared.apply(signed, _trust_bundle("roots", f"a comment\n{one}"))
    by_signer = {"signerName": "example.com/ca", "labelSelector": {"matchLabels": {"live": "yes"}}}
    sources = (
        {"clusterTrustBundle": {"name": "roots", "path": "roots.pem"}},
        {"clusterTrustBundle": {**by_signer, "path": "signer.pem"}},
        {"clusterTrustBundle": {"name": "later", "path": "later.pem", "optional": True}},
    )
    shared.apply(_mounting("trusting", *sources), options=("--until-ready",))
    place = _root(shared, "trusting") / "etc/config"
    assert _read(place / "roots.pem") == _read(place / "signer.pem") == one
    assert _read(place / "later.pem") == ""
    shared.apply(_trust_bundle("example.com:ca:v2", two + one, "example.com/ca", live="yes"))
    shared.apply(_trust_bundle("later", two))
    wait_until(lambda: _read(place / "signer.pem").count("BEGIN") == 2, "both anchors", WITHIN)
    wait_until(lambda: _read(place / "later.pem") == two, "what was optional", WITHIN)
    shared.run("delete", "clustertrustbundle", "later")
    wait_until(lambda: _read(place / "later.pem") == "", "what is gone to go", WITHIN)
    shared.run("label", "clustertrustbundle", "example.com:ca:v1", "live-")
    shared.run("delete", "clustertrustbundle", "example.com:ca:v2")
    assert _read(place / "signer.pem").count("BEGIN") == 2  # none is selected: it stays as it was
    wait_until(
        lambda: "matched zero ClusterTrustBundles" in shared.out("events", "--for", "pod/trusting"),
        "the failure told",
    )
    listed = shared.out("get", "clustertrustbundles")
    assert "example.com:ca:v1" in listed
    assert "example.com/ca" in listed
    shared.run("delete", "pod", "trusting", "--now")
    shared.run("delete", "clustertrustbundle", "roots", "example.com:ca:v1")


def _trust_bundle(name: str, text: str, signer: str = "", **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "certificates.k8s.io/v1beta1",
        "kind": "ClusterTrustBundle",
        "metadata": {"name": name, "labels": labels},
        "spec": {"trustBundle": text, **({"signerName": signer} if signer else {})},
    }
