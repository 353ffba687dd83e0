"""The built-in kinds of the core group, declared."""

from typing import Any

from minipod.api import defaults, deprecations, key_pairs, pod_defaults, pod_warnings, strategy
from minipod.api.kind import Hooks, Kind, Subresource
from minipod.api.printers import events, nodes, pods, simple
from minipod.api.validation import config_map, event, namespace, node, pod, pod_update, secret

Object = dict[str, Any]

_CORE = "io.k8s.api.core.v1"

_STATUS_VERBS = ("get", "patch", "update")
_PROXY_VERBS = ("create", "delete", "get", "patch", "update")


def _text(value: Any) -> str:
    """Return a field as field selectors compare it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _namespace_fields(obj: Object) -> dict[str, str]:
    return {"status.phase": _text((obj.get("status") or {}).get("phase"))}


def _node_fields(obj: Object) -> dict[str, str]:
    return {"spec.unschedulable": _text(bool((obj.get("spec") or {}).get("unschedulable")))}


def _pod_fields(obj: Object) -> dict[str, str]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    addresses = status.get("podIPs") or [{}]
    return {
        "spec.nodeName": _text(spec.get("nodeName")),
        "spec.host": _text(spec.get("nodeName")),  # as it was called before v1
        "spec.restartPolicy": _text(spec.get("restartPolicy")),
        "spec.schedulerName": _text(spec.get("schedulerName")),
        "spec.serviceAccountName": _text(spec.get("serviceAccountName")),
        "spec.hostNetwork": _text(bool(spec.get("hostNetwork"))),
        "status.phase": _text(status.get("phase")),
        "status.podIP": _text(status.get("podIP") or addresses[0].get("ip")),
        "status.podIPs": "",  # known to upstream, and empty for every Pod
        "status.nominatedNodeName": _text(status.get("nominatedNodeName")),
    }


def _event_fields(obj: Object) -> dict[str, str]:
    involved, source = obj.get("involvedObject") or {}, obj.get("source") or {}
    names = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    fields = {f"involvedObject.{name}": _text(involved.get(name)) for name in names}
    return {
        **fields,
        "reason": _text(obj.get("reason")),
        "reportingComponent": _text(obj.get("reportingComponent")),
        "source": _text(source.get("component") or obj.get("reportingComponent")),
        "type": _text(obj.get("type")),
    }


def _secret_fields(obj: Object) -> dict[str, str]:
    return {"type": _text(obj.get("type"))}


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
    hooks=Hooks(
        defaults=defaults.default_namespace,
        prepare_create=strategy.prepare_namespace_create,
        prepare_update=strategy.prepare_namespace_update,
        prepare_status_update=strategy.prepare_namespace_status,
        validate_create=namespace.validate_namespace,
        validate_update=namespace.validate_namespace_update,
        validate_status_update=namespace.validate_namespace_status,
        fields=_namespace_fields,
        columns=simple.NAMESPACE_COLUMNS,
        cells=simple.namespace_cells,
    ),
)

NODE = Kind(
    group="",
    version="v1",
    kind="Node",
    plural="nodes",
    short_names=("no",),
    namespaced=False,
    subresources=(
        Subresource("proxy", "NodeProxyOptions", _PROXY_VERBS),
        Subresource("status", "Node", _STATUS_VERBS),
    ),
    schema_name=f"{_CORE}.Node",
    has_status=True,
    hooks=Hooks(
        defaults=defaults.default_node,
        prepare_create=strategy.prepare_node_create,
        validate_create=node.validate_node,
        validate_update=node.validate_node_update,
        prepare_status_update=lambda new, _old: defaults.default_node(new),
        validate_status_update=node.validate_node_update,
        warnings=deprecations.of_node,
        update_warnings=lambda new, _old: deprecations.of_node(new),
        fields=_node_fields,
        columns=nodes.COLUMNS,
        cells=nodes.cells,
    ),
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
        Subresource("ephemeralcontainers", "Pod", _STATUS_VERBS),
        Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
        Subresource("exec", "PodExecOptions", ("create", "get")),
        Subresource("log", "Pod", ("get",)),
        Subresource("portforward", "PodPortForwardOptions", ("create", "get")),
        Subresource("proxy", "PodProxyOptions", _PROXY_VERBS),
        Subresource("resize", "Pod", _STATUS_VERBS),
        Subresource("status", "Pod", _STATUS_VERBS),
    ),
    schema_name=f"{_CORE}.Pod",
    has_status=True,
    generation=True,
    graceful_deletion=True,
    hooks=Hooks(
        defaults=pod_defaults.default_pod,
        prepare_create=strategy.prepare_pod_create,
        prepare_status_update=strategy.prepare_pod_status_update,
        validate_create=pod.validate_pod_create,
        validate_update=pod_update.validate_pod_update,
        validate_status_update=pod_update.validate_pod_status_update,
        fields=_pod_fields,
        warnings=pod_warnings.compute_warnings,
        columns=pods.COLUMNS,
        cells=pods.cells,
    ),
)

EVENT = Kind(
    group="",
    version="v1",
    kind="Event",
    plural="events",
    short_names=("ev",),
    schema_name=f"{_CORE}.Event",
    name_rule="path_segment",
    create_on_update=True,
    hooks=Hooks(
        validate_create=event.validate_event,
        validate_update=event.validate_event_update,
        fields=_event_fields,
        columns=events.COLUMNS,
        cells=events.cells,
    ),
)

SECRET = Kind(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    schema_name=f"{_CORE}.Secret",
    hooks=Hooks(
        defaults=defaults.default_secret,
        validate_create=secret.validate_secret,
        validate_update=secret.validate_secret_update,
        warnings=key_pairs.warn_of_key_pair,
        update_warnings=lambda new, _old: key_pairs.warn_of_key_pair(new),
        fields=_secret_fields,
        columns=simple.SECRET_COLUMNS,
        cells=simple.secret_cells,
    ),
)

CONFIG_MAP = Kind(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
    schema_name=f"{_CORE}.ConfigMap",
    hooks=Hooks(
        validate_create=config_map.validate_config_map,
        validate_update=config_map.validate_config_map_update,
        columns=simple.CONFIG_MAP_COLUMNS,
        cells=simple.config_map_cells,
    ),
)

SERVICE_ACCOUNT = Kind(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    subresources=(
        Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),
    ),
    schema_name=f"{_CORE}.ServiceAccount",
    hooks=Hooks(
        warnings=deprecations.of_service_account,
        update_warnings=deprecations.of_changed_service_account,
        columns=simple.SERVICE_ACCOUNT_COLUMNS,
        cells=simple.service_account_cells,
    ),
)

# Discovery lists them alphabetically by plural name, as upstream does.
KINDS = (CONFIG_MAP, EVENT, NAMESPACE, NODE, POD, SECRET, SERVICE_ACCOUNT)
