"""certificates.k8s.io: requests for certificates (v1), and the certificates that Pods may trust (v1beta1)."""

from minipod.api.kind import Kind, Subresource, hooks_in

_ANSWERING = ("get", "patch", "update")
SIGNING_REQUEST = Kind(
    group="certificates.k8s.io",
    version="v1",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    short_names=("csr",),
    namespaced=False,
    subresources=(
        Subresource("approval", "CertificateSigningRequest", _ANSWERING),
        Subresource("status", "CertificateSigningRequest", _ANSWERING),
    ),
    schema_name="io.k8s.api.certificates.v1.CertificateSigningRequest",
    has_status=True,
    name_rule="path_segment",
    hooks=hooks_in("minipod.api.hooks.signing_requests"),
)
CLUSTER_TRUST_BUNDLE = Kind(
    group="certificates.k8s.io",
    version="v1beta1",
    kind="ClusterTrustBundle",
    plural="clustertrustbundles",
    namespaced=False,
    schema_name="io.k8s.api.certificates.v1beta1.ClusterTrustBundle",
    name_rule="path_segment",
    unconditional_update=False,
    hooks=hooks_in("minipod.api.hooks.certificates"),
)
