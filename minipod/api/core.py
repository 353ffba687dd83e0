"""The built-in kinds of the core group, declared."""

from minipod.api.kind import Kind, Subresource

_CORE = "io.k8s.api.core.v1"

_STATUS_VERBS = ("get", "patch", "update")

NAMESPACE = Kind(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    short_names=("ns",),
    namespaced=False,
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(
        Subresource("finalize", "Namespace", ("update",)),
        Subresource("status", "Namespace", _STATUS_VERBS),
    ),
    schema_name=f"{_CORE}.Namespace",
    has_status=True,
    name_rule="dns1123_label",
)

NODE = Kind(
    group="",
    version="v1",
    kind="Node",
    plural="nodes",
    short_names=("no",),
    namespaced=False,
    subresources=(
        Subresource("proxy", "NodeProxyOptions", ("create", "delete", "get", "patch", "update")),
        Subresource("status", "Node", _STATUS_VERBS),
    ),
    schema_name=f"{_CORE}.Node",
    has_status=True,
)

POD = Kind(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    subresources=(
        Subresource("attach", "PodAttachOptions", ("create", "get")),
        Subresource("binding", "Binding", ("create",)),
        Subresource("exec", "PodExecOptions", ("create", "get")),
        Subresource("log", "Pod", ("get",)),
        Subresource("status", "Pod", _STATUS_VERBS),
    ),
    schema_name=f"{_CORE}.Pod",
    has_status=True,
    generation=True,
    graceful_deletion=True,
)

EVENT = Kind(
    group="",
    version="v1",
    kind="Event",
    plural="events",
    short_names=("ev",),
    schema_name=f"{_CORE}.Event",
)

SECRET = Kind(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    schema_name=f"{_CORE}.Secret",
)

CONFIG_MAP = Kind(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
    schema_name=f"{_CORE}.ConfigMap",
)

SERVICE_ACCOUNT = Kind(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    schema_name=f"{_CORE}.ServiceAccount",
)

# Discovery lists them alphabetically by plural name, as upstream does.
KINDS = (CONFIG_MAP, EVENT, NAMESPACE, NODE, POD, SECRET, SERVICE_ACCOUNT)
