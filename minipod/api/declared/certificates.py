"""certificates.k8s.io/v1beta1: ClusterTrustBundle, the certificates that Pods may trust."""

from minipod.api.kind import Kind, hooks_in

CLUSTER_TRUST_BUNDLE = Kind(
    group="certificates.k8s.io",
    version="v1beta1",
    kind="ClusterTrustBundle",
    plural="clustertrustbundles",
    namespaced=False,
    schema_name="io.k8s.api.certificates.v1beta1.ClusterTrustBundle",
    name_rule="path_segment",
    hooks=hooks_in("minipod.api.hooks.certificates"),
)
