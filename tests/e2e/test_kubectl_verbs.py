"""kubectl's verbs and flags, by version: what docs/clients.md says, and that it is so.

The oldest and the newest kubectl run; with MINIPOD_ALL_KUBECTLS=1 each that is on this host. The table in
docs/clients.md is this run's result: MINIPOD_WRITE_DOCS=1 writes it, otherwise it must agree.
"""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.instance import REPOSITORY, Instance
from tests.e2e.kubectl import Kubectl, find_kubectls, kubeconfig, version_of
from tests.e2e.pods import pod

DOCUMENT = REPOSITORY / "docs" / "clients.md"
BEGIN, END = "<!-- verbs: begin -->\n", "<!-- verbs: end -->\n"
CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "verbs"},
    "data": {"a": "1"},
}
LABELLED = {**CONFIG, "metadata": {"name": "pruned", "labels": {"verbs": "x"}}}


def _request() -> str:
    """Return a request for a certificate, as the API takes it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "verbs")])
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


SIGNING = {
    "apiVersion": "certificates.k8s.io/v1",
    "kind": "CertificateSigningRequest",
    "metadata": {"name": "verbs"},
    "spec": {
        "request": _request(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    },
}
# What is done, in order: arguments, what goes to its standard input, and what it says.
VERBS: tuple[tuple[str, str, str], ...] = (
    ("create -f -", json.dumps(CONFIG), "configmap/verbs created"),
    ("create configmap literal --from-literal=k=v", "", "configmap/literal created"),
    ("create secret generic secret --from-literal=k=v", "", "secret/secret created"),
    ("create namespace verbs", "", "namespace/verbs created"),
    (
        "create -f - --dry-run=server -o name",
        json.dumps({**CONFIG, "metadata": {"name": "dry"}}),
        "configmap/dry",
    ),
    ("apply -f -", json.dumps({**CONFIG, "data": {"a": "2"}}), "configmap/verbs configured"),
    ("apply -f - --server-side --force-conflicts", json.dumps(CONFIG), "serverside-applied"),
    ("diff -f -", json.dumps({**CONFIG, "data": {"a": "9"}}), "+  a: "),
    ("get configmap verbs", "", "verbs"),
    ("get configmap verbs -o yaml", "", 'a: "1"'),
    ("get configmap verbs -o json", "", '"a": "1"'),
    ("get configmap verbs -o jsonpath={.data.a}", "", "1"),
    ("get configmaps -o name", "", "configmap/verbs"),
    ("get configmaps --all-namespaces", "", "kube-system"),
    ("get configmaps --field-selector=metadata.name=verbs", "", "verbs"),
    ("get configmaps --chunk-size=1", "", "verbs"),
    ("get pods -o wide", "", "NODE"),
    ("get nodes", "", "Ready"),
    ("label configmap verbs l=1", "", "labeled"),
    ("get configmaps -l l=1", "", "verbs"),
    ("annotate configmap verbs n=1", "", "configmap/verbs annotate"),
    ('patch configmap verbs -p {"data":{"b":"2"}}', "", "patched"),
    ('patch configmap verbs --type=merge -p {"data":{"b":"3"}}', "", "patched"),
    ('patch configmap verbs --type=json -p [{"op":"remove","path":"/data/b"}]', "", "patched"),
    ("replace -f -", json.dumps(CONFIG), "configmap/verbs replaced"),
    ("describe configmap verbs", "", "Data"),
    ("describe pod verbs", "", "Containers:"),
    ("describe node", "", "Capacity:"),
    ("wait pod/verbs --for=condition=Ready --timeout=30s", "", "condition met"),
    ("wait pod/verbs --for=jsonpath={.status.phase}=Running --timeout=30s", "", "condition met"),
    ("logs verbs", "", "hello"),
    ("logs verbs --tail=1 --timestamps", "", "Z hello"),
    ("exec verbs -- echo inside", "", "inside"),
    ("run verbs-run --image=busybox --restart=Never --attach --rm -q -- echo ran", "", "ran"),
    ("events --for pod/verbs", "", "Started"),
    ("api-resources", "", "configmaps"),
    ("api-versions", "", "v1"),
    ("explain pod.spec.containers.livenessProbe", "", "FIELD"),
    ("auth can-i get pods", "", "yes"),
    ("auth whoami", "", "Username"),
    ("version", "", "v1.36"),
    ("cordon NODE", "", "cordoned"),
    ("uncordon NODE", "", "uncordoned"),
    ("taint node NODE verbs=x:PreferNoSchedule", "", "tainted"),
    ("taint node NODE verbs-", "", "untainted"),
    ("drain NODE --ignore-daemonsets --force --dry-run=server", "", "drained (server dry run)"),
    ("top node", "", "MEMORY"),
    ("top pod verbs --containers", "", "c0"),
    ("cluster-info", "", "control plane"),
    ("config view", "", "current-context"),
    ("create deployment verbs --image=busybox --replicas=0", "", "deployment.apps/verbs created"),
    ("set image deployment/verbs busybox=busybox:2", "", "image updated"),
    ("set env deployment/verbs A=b", "", "env updated"),
    ("scale deployment verbs --replicas=0", "", "scaled"),
    ("autoscale deployment verbs --min=1 --max=2", "", "autoscaled"),
    ("rollout history deployment verbs", "", "deployment.apps/verbs"),
    ("rollout pause deployment verbs", "", "paused"),
    ("expose deployment verbs --port=80", "", "service/verbs exposed"),
    ("get deployment verbs --subresource=scale -o name", "", "verbs"),
    ("create token default --duration=10m", "", "."),
    ("create -f - --save-config", json.dumps(SIGNING), "certificatesigningrequest"),
    ("certificate approve verbs", "", "approved"),
    ("apply view-last-applied csr verbs", "", "signerName"),
    ("apply -f - --prune -l verbs=x", json.dumps(LABELLED), "configmap/pruned"),
    ("get all", "", "service/verbs"),
    ("delete deployment,hpa,service,csr verbs", "", "deleted"),
    ("delete configmap pruned", "", "deleted"),
    ("get --raw /readyz", "", "ok"),
    ("delete configmap verbs", "", "deleted"),
    ("delete configmaps,secrets literal secret --ignore-not-found", "", "deleted"),
    ("delete namespace verbs", "", "deleted"),
)


SINCE = {"auth whoami": (1, 28)}  # before, kubectl asks for an API version that 1.36 does not have


VERSIONS = {"{}.{}".format(*version_of(each)): each for each in find_kubectls()}
CHOSEN = list(VERSIONS)
if not os.environ.get("MINIPOD_ALL_KUBECTLS"):
    CHOSEN = sorted({CHOSEN[0], CHOSEN[-1]}, key=CHOSEN.index) if CHOSEN else []
pytestmark = pytest.mark.skipif(
    not VERSIONS, reason="needs kubectl on PATH; none is there to be run"
)
results: dict[str, dict[str, bool]] = {}


@pytest.fixture(scope="module")
def config(shared: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    shared.apply(pod("verbs", "echo hello; sleep 1000"), options=("--until-ready",))
    yield kubeconfig(shared, tmp_path_factory.mktemp("verbs"))
    shared.run("delete", "pod", "verbs", "--now")


@pytest.mark.parametrize("version", CHOSEN)
@pytest.mark.timeout(300)
def test_verbs(version: str, config: Path) -> None:
    kubectl = Kubectl(VERSIONS[version], config)
    (node,) = kubectl.out("get", "nodes", "-o", "name").split()
    numbers, failures = tuple(map(int, version.split("."))), []
    for words, text, wanted in VERBS:
        arguments = words.replace("NODE", node.removeprefix("node/")).split(" ")
        done = kubectl.run(*arguments, text=text, check=False)
        said = done.stdout + done.stderr
        worked = done.returncode == (1 if words.startswith("diff") else 0) and wanted in said
        results.setdefault(words, {})[version] = worked
        if worked is (numbers < SINCE.get(words, (0, 0))):
            failures.append(f"kubectl {words}: exit {done.returncode}: {said[-400:]}")
    assert not failures, "\n".join(failures)


def table() -> str:
    """Return this run's results; what was not run keeps what the document says."""
    columns = list(VERSIONS)
    lines = ["| kubectl | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for words, *_ in VERBS:
        known = results.get(words, {})
        cells = [("yes" if known[each] else "no") if each in known else "?" for each in columns]
        lines.append(f"| `{words.replace('|', chr(92) + '|')}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def rows(text: str) -> dict[tuple[str, str], str]:
    """Return a table's cells by command and version."""
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines()]
    head = lines[0][1:]
    return {
        (line[0], version): cell
        for line in lines[2:]
        for version, cell in zip(head, line[1:], strict=True)
    }


def test_the_table_in_the_documentation_is_current() -> None:
    before, begin, rest = DOCUMENT.read_text().partition(BEGIN)
    written, end, after = rest.partition(END)
    assert begin
    assert end
    if os.environ.get("MINIPOD_WRITE_DOCS"):
        DOCUMENT.write_text(before + BEGIN + table() + END + after)
        return
    documented, found = rows(written), rows(table())
    assert {words for words, _ in documented} == {words for words, _ in found}
    for key, cell in found.items():
        if cell != "?" and key in documented:
            assert documented[key] == cell, (
                f"docs/clients.md differs in {key}; write it with MINIPOD_WRITE_DOCS=1"
            )
