"""A certificate by way of the API: asked for, approved with kubectl, signed by minipod, and used."""

import base64
import json
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.authorities import make_request
from tests.e2e.instance import Instance, wait_until
from tests.e2e.kubectl import Kubectl, find_kubectls, kubeconfig

pytestmark = pytest.mark.skipif(not find_kubectls(), reason="needs kubectl")


def _asked(name: str, key: ec.EllipticCurvePrivateKey, **spec: object) -> str:
    wanted = {
        "request": make_request(name, key),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
        "expirationSeconds": 3600,
        **spec,
    }
    return json.dumps(
        {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": wanted,
        }
    )


def test_a_certificate_is_approved_signed_and_used(shared: Instance, tmp_path: Path) -> None:
    config = kubeconfig(shared, tmp_path)
    kubectl = Kubectl(find_kubectls()[-1], config)
    key = ec.generate_private_key(ec.SECP256R1())
    kubectl.run("create", "-f", "-", text=_asked("carol", key))
    row = kubectl.out("get", "csr", "carol").splitlines()[1].split()
    assert row[2:] == ["kubernetes.io/kube-apiserver-client", "kubernetes-admin", "60m", "Pending"]
    kubectl.run("certificate", "approve", "carol")
    issued = ("get", "csr", "carol", "-o", "jsonpath={.status.certificate}")
    encoded = wait_until(lambda: kubectl.out(*issued), "the certificate")
    assert kubectl.out("get", "csr", "carol").splitlines()[1].endswith("Approved,Issued")
    certificate = x509.load_pem_x509_certificate(base64.b64decode(encoded))
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert 3600 <= life.total_seconds() <= 3600 + 600

    parsed = yaml.safe_load(config.read_text())
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    parsed["users"][0]["user"] = {
        "client-certificate-data": encoded,
        "client-key-data": base64.b64encode(secret).decode(),
    }
    (tmp_path / "carol").write_text(yaml.safe_dump(parsed))
    carol = Kubectl(kubectl.program, tmp_path / "carol")
    told = json.loads(carol.out("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert told["username"] == "carol"
    assert "dev" in told["groups"]
    kubectl.run("delete", "csr", "carol")


def test_a_denied_request_gets_nothing_and_an_unfit_one_fails(
    shared: Instance, tmp_path: Path
) -> None:
    kubectl = Kubectl(find_kubectls()[-1], kubeconfig(shared, tmp_path))
    key = ec.generate_private_key(ec.SECP256R1())
    kubectl.run("create", "-f", "-", text=_asked("denied", key))
    kubectl.run("certificate", "deny", "denied")
    assert kubectl.out("get", "csr", "denied").splitlines()[1].endswith("Denied")
    kubectl.run("create", "-f", "-", text=_asked("unfit", key, usages=["server auth"]))
    kubectl.run("certificate", "approve", "unfit")
    state = ("get", "csr", "unfit", "--no-headers")
    wait_until(lambda: kubectl.out(*state).strip().endswith("Approved,Failed"), "the failure")
    described = kubectl.out("get", "csr", "unfit", "-o", "jsonpath={.status.conditions[1].message}")
    assert "client auth is needed" in described
    kubectl.run("delete", "csr", "denied", "unfit")
