"""Which trust anchors a projected clusterTrustBundle shows."""

from typing import Any

import pytest

from minipod.node.anchors import compute_anchors
from minipod.node.environment import References
from minipod.node.errors import StepError
from minipod.node.projection import compute_payload
from tests.authorities import make_authority

from .pod_builders import make_pod

ONE, TWO, THREE = (make_authority(name) for name in ("one", "two", "three"))
SIGNER = "example.com/ca"


def _bundle(name: str, text: str, signer: str = "", **labels: str) -> dict[str, Any]:
    spec = {"trustBundle": text, "signerName": signer}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


BUNDLES = [
    _bundle("roots", f"{ONE}{TWO}"),
    _bundle("example.com:ca:old", f"{TWO}{THREE}", SIGNER, live="no"),
    _bundle("example.com:ca:new", f"said before\n{THREE}", SIGNER, live="yes"),
]


def _shown(**source: Any) -> set[str]:
    text = compute_anchors(source, BUNDLES)
    found = [
        f"{each}-----END CERTIFICATE-----\n" for each in text.split("-----END CERTIFICATE-----\n")
    ]
    assert len(set(found)) == len(found)
    return set(found[:-1])


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ({"name": "roots"}, {ONE, TWO}),
        ({"signerName": SIGNER, "labelSelector": {}}, {TWO, THREE}),
        ({"signerName": SIGNER, "labelSelector": {"matchLabels": {"live": "yes"}}}, {THREE}),
        ({"name": "none", "optional": True}, set()),
        ({"signerName": SIGNER, "optional": True}, set()),
    ],
)
def test_what_is_selected_is_shown_once(source: dict[str, Any], shown: set[str]) -> None:
    assert _shown(**source) == shown


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"name": "none"}, 'clustertrustbundle.certificates.k8s.io "none" not found'),
        ({"signerName": SIGNER}, "matched zero ClusterTrustBundles"),  # no selector selects none
        ({"signerName": "example.com/no", "labelSelector": {}}, "matched zero"),
    ],
)
def test_nothing_selected_is_a_failure(source: dict[str, Any], message: str) -> None:
    with pytest.raises(StepError, match=message):
        compute_anchors(source, BUNDLES)


def test_the_order_follows_from_the_certificates_alone() -> None:
    assert compute_anchors({"name": "a"}, [_bundle("a", ONE + TWO)]) == compute_anchors(
        {"name": "a"}, [_bundle("a", TWO + ONE + TWO)]
    )


def test_the_file_is_its_users_alone_where_there_is_one() -> None:
    source = {"sources": [{"clusterTrustBundle": {"name": "roots", "path": "ca/roots.pem"}}]}
    references = References(trust_bundles=BUNDLES)
    (file,) = compute_payload(make_pod(), "projected", source, references).values()
    assert (file.mode, file.uid) == (0o644, 0)
    owned = make_pod(securityContext={"runAsUser": 7})
    payload = compute_payload(owned, "projected", source, references)
    assert (payload["ca/roots.pem"].mode, payload["ca/roots.pem"].uid) == (0o600, 7)
