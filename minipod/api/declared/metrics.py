"""metrics.k8s.io: what nodes and Pods use (k8s.io/metrics), measured when somebody asks."""

from minipod.api.kind import Kind, hooks_in

_HOOKS = "minipod.api.hooks.metrics"
_PLACE = "io.k8s.metrics.pkg.apis.metrics.v1beta1"

NODE_METRICS = Kind(
    group="metrics.k8s.io",
    version="v1beta1",
    kind="NodeMetrics",
    plural="nodes",
    namespaced=False,
    verbs=("get", "list"),
    schema_name=f"{_PLACE}.NodeMetrics",
    computed=True,
    hooks=hooks_in(_HOOKS, "NODE_METRICS"),
)
POD_METRICS = Kind(
    group="metrics.k8s.io",
    version="v1beta1",
    kind="PodMetrics",
    plural="pods",
    verbs=("get", "list"),
    schema_name=f"{_PLACE}.PodMetrics",
    computed=True,
    hooks=hooks_in(_HOOKS, "POD_METRICS"),
)
METRICS = (NODE_METRICS, POD_METRICS)
