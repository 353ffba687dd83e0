"""CertificateSigningRequests: who asks, who may approve and sign, and what is refused."""

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from minipod.api.errors import StatusError
from minipod.api.hooks.signing_requests import HOOKS
from minipod.controllers.certificate_signer import end_of, is_due, usage_problem

from .harness import Api, serve

Object = dict[str, Any]
PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
RESOURCE = "certificatesigningrequests.certificates.k8s.io"
SIGNER = "kubernetes.io/kube-apiserver-client"


def pkcs10(user: str = "jane", *groups: str) -> str:
    """Return a request for a certificate, as the API takes it."""
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in groups]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def signing(name: str = "jane", **spec: Any) -> Object:
    wanted = {"request": pkcs10(), "signerName": SIGNER, "usages": ["client auth"], **spec}
    return {"metadata": {"name": name}, "spec": wanted}


def condition(kind: str, status: str = "True") -> Object:
    return {"type": kind, "status": status, "reason": "Test", "message": "because"}


async def refusal(attempt: Any) -> str:
    with pytest.raises(StatusError) as refused:
        await attempt
    return refused.value.message


def test_the_server_writes_down_who_asks(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await grant(api, "jane", "create", "certificatesigningrequests")
        jane = api.client.acting_as("jane", "dev")
        asked = signing(username="root", groups=["system:masters"])
        made = await jane.create(RESOURCE, "", {**asked, "status": {"certificate": "eA=="}})
        assert made["spec"]["username"] == "jane"
        assert made["spec"]["groups"] == ["dev", "system:authenticated"]
        assert "status" not in made
        again = {"spec": {"username": "root", "usages": ["any"]}}
        changed = await api.client.patch(RESOURCE, "", "jane", again)
        assert changed["spec"] == made["spec"]

    serve(tmp_path, body)


async def grant(api: Api, user: str, verb: str, resources: str, *names: str) -> None:
    """Let a user do something with certificates."""
    rule: Object = {"apiGroups": ["certificates.k8s.io"], "verbs": [verb], "resources": [resources]}
    if names:
        rule["resourceNames"] = list(names)
    metadata = {"name": f"{user}-{verb}-{resources}".replace("/", "-")}
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    await api.make(f"{rbac}/clusterroles", {"metadata": metadata, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", **metadata}
    subjects = [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]
    binding = {"metadata": metadata, "roleRef": role, "subjects": subjects}
    await api.make(f"{rbac}/clusterrolebindings", binding)


def test_who_approves_needs_the_signers_leave(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(PATH, signing())
        await grant(api, "judge", "patch", "certificatesigningrequests/approval")
        judge = api.client.acting_as("judge")
        approving = {"status": {"conditions": [condition("Approved")], "certificate": "eA=="}}

        def approve() -> Any:
            return judge.patch(RESOURCE, "", "jane", approving, subresource="approval")

        message = await refusal(approve())
        assert f'user not permitted to approve requests with signerName "{SIGNER}"' in message
        await grant(api, "judge", "approve", "signers", "kubernetes.io/*")
        approved = await approve()
        (found,) = approved["status"]["conditions"]
        assert (found["type"], found["status"]) == ("Approved", "True")
        assert found["lastUpdateTime"]
        assert found["lastTransitionTime"]
        assert "certificate" not in approved["status"]
        denying = {"status": {"conditions": [condition("Approved"), condition("Denied")]}}
        denied = api.client.patch(RESOURCE, "", "jane", denying, subresource="approval")
        assert "Approved and Denied conditions are mutually exclusive" in await refusal(denied)
        undoing = {"status": {"conditions": []}}
        undone = api.client.patch(RESOURCE, "", "jane", undoing, subresource="approval")
        assert 'may not remove a condition of type "Approved"' in await refusal(undone)

    serve(tmp_path, body)


def test_who_signs_needs_the_signers_leave_and_decides_nothing(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(PATH, signing())
        await grant(api, "signer", "patch", "certificatesigningrequests/status")
        block = "-----BEGIN CERTIFICATE-----\neA==\n-----END CERTIFICATE-----\n"
        certificate = base64.b64encode(block.encode()).decode()
        told = {"certificate": certificate}
        signer = api.client.acting_as("signer")

        def sign(status: Object) -> Any:
            return signer.patch(RESOURCE, "", "jane", {"status": status}, subresource="status")

        assert "not permitted to sign requests" in await refusal(sign(told))
        await grant(api, "signer", "sign", "signers", SIGNER)
        wrong = base64.b64encode(block.replace("CERT", "SERT").encode()).decode()
        assert "only CERTIFICATE PEM blocks" in await refusal(sign({"certificate": wrong}))
        approved = await refusal(sign({**told, "conditions": [condition("Approved")]}))
        assert 'updates may not add a condition of type "Approved"' in approved
        signed = await sign(told)
        assert signed["status"]["certificate"] == certificate
        assert not signed["status"].get("conditions")
        other = base64.b64encode((block * 2).encode()).decode()
        message = await refusal(sign({"certificate": other}))
        assert "may not modify existing certificate content" in message

    serve(tmp_path, body)


def test_nobody_asks_for_everything(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        masters = signing(request=pkcs10("jane", "system:masters"))
        refused = await api("POST", PATH, masters)
        assert refused.status == 403
        assert "signer with system:masters group is not allowed" in refused.body["message"]

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        ({"request": "eA=="}, ["PEM block type must be CERTIFICATE REQUEST"]),
        ({"request": "?"}, ["PEM block type must be CERTIFICATE REQUEST"]),
        ({"usages": []}, ["spec.usages: Required value"]),
        (
            {"usages": ["fun"]},
            ['spec.usages[0]: Unsupported value: "fun": supported values: "any"'],
        ),
        ({"usages": ["any", "any"]}, ['spec.usages[1]: Duplicate value: "any"']),
        ({"signerName": ""}, ["spec.signerName: Required value"]),
        ({"signerName": "mine"}, ["must be a fully qualified domain and path of the form"]),
        ({"signerName": "kubernetes.io/legacy-unknown"}, ["not allowed via this API version"]),
        ({"expirationSeconds": 599}, ["may not specify a duration less than 600 seconds"]),
    ],
)
def test_what_is_wrong_with_a_request(spec: Object, expected: list[str]) -> None:
    found = [str(each) for each in HOOKS.validate_create(signing(**spec))]
    assert len(found) == len(expected), found
    for said, part in zip(found, expected, strict=True):
        assert part in said


def test_which_requests_the_signer_takes_and_until_when_they_are_kept() -> None:
    request = signing()
    request["metadata"]["creationTimestamp"] = "1970-01-01T00:00:00Z"
    assert not is_due(request)
    assert end_of(request) == 86400
    approved = {**condition("Approved"), "lastUpdateTime": "1970-01-01T01:00:00Z"}
    request["status"] = {"conditions": [approved]}
    assert is_due(request)
    assert end_of(request) == 7200
    assert not is_due({**request, "spec": {**request["spec"], "signerName": "example.com/x"}})
    assert not is_due({**request, "status": {"conditions": [approved, condition("Failed")]}})
    assert not is_due({**request, "status": {"conditions": [approved], "certificate": "x"}})


@pytest.mark.parametrize(
    ("usages", "fits"),
    [
        (["client auth"], True),
        (["client auth", "digital signature", "key encipherment"], True),
        (["digital signature"], False),
        (["client auth", "server auth"], False),
    ],
)
def test_which_usages_a_clients_certificate_has(usages: list[str], fits: bool) -> None:
    assert (usage_problem(usages) == "") is fits
