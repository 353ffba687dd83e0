"""autoscaling/v2 and v1: one stored object (pkg/apis/autoscaling/v2/defaults.go)."""

from copy import deepcopy
from typing import Any

from minipod.api import autoscaler_versions
from minipod.api.hooks.templates import fill
from minipod.api.kind import Hooks
from minipod.api.printers import policies as printers
from minipod.api.validation import autoscaling

Object = dict[str, Any]

_CPU_SHARE = 80
_SCALE_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_SCALE_DOWN = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


def _default(autoscaler: Object) -> None:
    spec = fill(autoscaler.setdefault("spec", {}), {"minReplicas": 1})
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _CPU_SHARE}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if spec.get("behavior") is not None:
        for name, rules in (("scaleUp", _SCALE_UP), ("scaleDown", _SCALE_DOWN)):
            given = fill(spec["behavior"], {name: {}})[name]
            for key, value in deepcopy(rules).items():
                if given.get(key) is None:
                    given[key] = value


def _default_v1(autoscaler: Object) -> None:
    fill(autoscaler.setdefault("spec", {}), {"minReplicas": 1})


HORIZONTAL_POD_AUTOSCALER = Hooks(
    defaults=_default,
    validate_create=autoscaling.validate_autoscaler,
    validate_update=autoscaling.validate_autoscaler_update,
    validate_status_update=autoscaling.validate_autoscaler_status,
    columns=printers.AUTOSCALER_COLUMNS,
    cells=printers.autoscaler_cells,
)
HORIZONTAL_POD_AUTOSCALER_V1 = Hooks(
    defaults=_default_v1,
    columns=printers.AUTOSCALER_COLUMNS,
    cells=lambda autoscaler, now: printers.autoscaler_cells(
        autoscaler_versions.to_v2(autoscaler), now
    ),
    to_stored=autoscaler_versions.to_v2,
    from_stored=autoscaler_versions.to_v1,
)
