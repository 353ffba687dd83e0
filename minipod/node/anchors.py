"""The trust anchors that a projected clusterTrustBundle shows: those of the bundles it selects, each once. Pure."""

from collections.abc import Iterable, Sequence

from minipod.api import pem
from minipod.api.selectors import SelectorError, from_object
from minipod.client import Object
from minipod.node.errors import StepError


def compute_anchors(source: Object, bundles: Sequence[Object]) -> str:
    """Return PEM blocks, in an order that depends on nothing but the certificates. StepError when none is selected.

    Upstream promises no order; with this one a file changes only when its certificates do.
    """
    found = _named(source, bundles) if source.get("name") else _of_signer(source, bundles)
    anchors = {block.data for each in found for block in pem.blocks(each["spec"]["trustBundle"])}
    return "".join(pem.encode("CERTIFICATE", data) for data in sorted(anchors))


def _named(source: Object, bundles: Iterable[Object]) -> list[Object]:
    name = source["name"]
    found = [each for each in bundles if each["metadata"]["name"] == name]
    if not found and not source.get("optional"):
        why = f'clustertrustbundle.certificates.k8s.io "{name}" not found'
        raise StepError("FailedMount", f"while getting ClusterTrustBundle: {why}")
    return found


def _of_signer(source: Object, bundles: Iterable[Object]) -> list[Object]:
    """Return a signer's bundles with certain labels: no selector selects none, an empty one all."""
    selector = source.get("labelSelector")
    try:
        chosen = None if selector is None else from_object(selector)
    except SelectorError as error:
        raise StepError("FailedMount", f"while parsing label selector: {error}") from error
    found = [
        each
        for each in bundles
        if chosen is not None
        and each["spec"].get("signerName") == source.get("signerName")
        and chosen.matches(each["metadata"].get("labels") or {})
    ]
    if not found and not source.get("optional"):
        why = "combination of signerName and labelSelector matched zero ClusterTrustBundles"
        raise StepError("FailedMount", why)
    return found
