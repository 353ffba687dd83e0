"""Kinds that bound, order and scale other objects, and those that tell of them."""

from minipod.api.kind import Kind, Subresource, hooks_in

_STATUS_VERBS = ("get", "patch", "update")
_POLICIES = "minipod.api.hooks.policies"
_AUTOSCALING = "minipod.api.hooks.autoscaling"
_EVENTS = "minipod.api.hooks.events"
_AUTOSCALERS = ("autoscaling", "v2", "horizontalpodautoscalers")

COMPONENT_STATUS = Kind(
    group="",
    version="v1",
    kind="ComponentStatus",
    plural="componentstatuses",
    short_names=("cs",),
    namespaced=False,
    verbs=("get", "list"),
    schema_name="io.k8s.api.core.v1.ComponentStatus",
    computed=True,
    deprecation="v1 ComponentStatus is deprecated in v1.19+",
    hooks=hooks_in(_POLICIES, "COMPONENT_STATUS"),
)
# To create one is to put a Pod on a node: the older way of pods/NAME/binding.
BINDING = Kind(
    group="",
    version="v1",
    kind="Binding",
    plural="bindings",
    verbs=("create",),
    schema_name="io.k8s.api.core.v1.Binding",
)
LIMIT_RANGE = Kind(
    group="",
    version="v1",
    kind="LimitRange",
    plural="limitranges",
    short_names=("limits",),
    schema_name="io.k8s.api.core.v1.LimitRange",
    create_on_update=True,
    hooks=hooks_in(_POLICIES, "LIMIT_RANGE"),
)
RESOURCE_QUOTA = Kind(
    group="",
    version="v1",
    kind="ResourceQuota",
    plural="resourcequotas",
    short_names=("quota",),
    subresources=(Subresource("status", "ResourceQuota", _STATUS_VERBS),),
    schema_name="io.k8s.api.core.v1.ResourceQuota",
    has_status=True,
    hooks=hooks_in(_POLICIES, "RESOURCE_QUOTA"),
)
POD_DISRUPTION_BUDGET = Kind(
    group="policy",
    version="v1",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    short_names=("pdb",),
    subresources=(Subresource("status", "PodDisruptionBudget", _STATUS_VERBS),),
    schema_name="io.k8s.api.policy.v1.PodDisruptionBudget",
    has_status=True,
    zero_status={
        "disruptionsAllowed": 0,
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "expectedPods": 0,
    },
    generation=True,
    unconditional_update=False,
    name_rule="path_segment",
    hooks=hooks_in(_POLICIES, "POD_DISRUPTION_BUDGET"),
)
PRIORITY_CLASS = Kind(
    group="scheduling.k8s.io",
    version="v1",
    kind="PriorityClass",
    plural="priorityclasses",
    short_names=("pc",),
    namespaced=False,
    schema_name="io.k8s.api.scheduling.v1.PriorityClass",
    generation=True,
    hooks=hooks_in(_POLICIES, "PRIORITY_CLASS"),
)
RUNTIME_CLASS = Kind(
    group="node.k8s.io",
    version="v1",
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    schema_name="io.k8s.api.node.v1.RuntimeClass",
    create_on_update=True,
    unconditional_update=False,
    hooks=hooks_in(_POLICIES, "RUNTIME_CLASS"),
)
LEASE = Kind(
    group="coordination.k8s.io",
    version="v1",
    kind="Lease",
    plural="leases",
    schema_name="io.k8s.api.coordination.v1.Lease",
    create_on_update=True,
    unconditional_update=False,
    hooks=hooks_in(_POLICIES, "LEASE"),
)
HORIZONTAL_POD_AUTOSCALER = Kind(
    group="autoscaling",
    version="v2",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    short_names=("hpa",),
    categories=("all",),
    subresources=(Subresource("status", "HorizontalPodAutoscaler", _STATUS_VERBS),),
    schema_name="io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    has_status=True,
    zero_status={"desiredReplicas": 0},
    hooks=hooks_in(_AUTOSCALING, "HORIZONTAL_POD_AUTOSCALER"),
)
HORIZONTAL_POD_AUTOSCALER_V1 = Kind(
    group="autoscaling",
    version="v1",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    short_names=("hpa",),
    categories=("all",),
    subresources=(Subresource("status", "HorizontalPodAutoscaler", _STATUS_VERBS),),
    schema_name="io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    has_status=True,
    zero_status={"currentReplicas": 0, "desiredReplicas": 0},
    stored_as=_AUTOSCALERS,
    hooks=hooks_in(_AUTOSCALING, "HORIZONTAL_POD_AUTOSCALER_V1"),
)
# The same Events as the core group's, in the form that newer clients write (KEP-383).
EVENT = Kind(
    group="events.k8s.io",
    version="v1",
    kind="Event",
    plural="events",
    short_names=("ev",),
    schema_name="io.k8s.api.events.v1.Event",
    stored_as=("", "v1", "events"),
    create_on_update=True,
    hooks=hooks_in(_EVENTS, "EVENT"),
)

POLICIES = (
    COMPONENT_STATUS,
    BINDING,
    LIMIT_RANGE,
    RESOURCE_QUOTA,
    POD_DISRUPTION_BUDGET,
    PRIORITY_CLASS,
    RUNTIME_CLASS,
    LEASE,
    HORIZONTAL_POD_AUTOSCALER,
    HORIZONTAL_POD_AUTOSCALER_V1,
    EVENT,
)
