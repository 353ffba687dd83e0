"""flowcontrol.apiserver.k8s.io: whose requests are answered first (KEP-1040)."""

from minipod.api.kind import Kind, Subresource, hooks_in

_GROUP = "flowcontrol.apiserver.k8s.io"
_HOOKS = "minipod.api.hooks.flow_control"
_STATUS_VERBS = ("get", "patch", "update")

FLOW_SCHEMA = Kind(
    group=_GROUP,
    version="v1",
    kind="FlowSchema",
    plural="flowschemas",
    namespaced=False,
    subresources=(Subresource("status", "FlowSchema", _STATUS_VERBS),),
    schema_name="io.k8s.api.flowcontrol.v1.FlowSchema",
    has_status=True,
    generation=True,
    hooks=hooks_in(_HOOKS, "FLOW_SCHEMA"),
)
PRIORITY_LEVEL = Kind(
    group=_GROUP,
    version="v1",
    kind="PriorityLevelConfiguration",
    plural="prioritylevelconfigurations",
    namespaced=False,
    subresources=(Subresource("status", "PriorityLevelConfiguration", _STATUS_VERBS),),
    schema_name="io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
    has_status=True,
    generation=True,
    hooks=hooks_in(_HOOKS, "PRIORITY_LEVEL"),
)
FLOW_CONTROL = (FLOW_SCHEMA, PRIORITY_LEVEL)
