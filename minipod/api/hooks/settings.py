"""settings.k8s.io/v1alpha1 (pkg/apis/settings of Kubernetes 1.19: defaults.go, validation.go)."""

from typing import Any

from minipod.api.field import Cause, required
from minipod.api.kind import Hooks
from minipod.api.pod_defaults import default_environment, default_volume
from minipod.api.validation.environment import validate_env, validate_env_from
from minipod.api.validation.mounts import validate_mounts
from minipod.api.validation.scheduling import validate_label_selector
from minipod.api.validation.volumes import validate_volumes

Object = dict[str, Any]

GIVEN = ("volumes", "env", "envFrom", "volumeMounts")


def _default(preset: Object) -> None:
    spec = preset.get("spec") or {}
    for volume in spec.get("volumes") or ():
        default_volume(volume)
    default_environment(spec)


def _validate(preset: Object) -> list[Cause]:
    spec = preset.get("spec") or {}
    causes = [*validate_label_selector(spec.get("selector"), "spec.selector")]
    if not any(spec.get(name) for name in GIVEN):
        causes.append(required(f"spec.{'.'.join(GIVEN)}", "must specify at least one"))
    volumes, wrong = validate_volumes(spec.get("volumes") or [], "spec.volumes")
    return [
        *causes,
        *wrong,
        *validate_env(spec.get("env") or [], "spec.env"),
        *validate_env_from(spec.get("envFrom") or [], "spec.envFrom"),
        *validate_mounts({"volumeMounts": spec.get("volumeMounts")}, volumes, "spec.volumeMounts"),
    ]


HOOKS = Hooks(
    defaults=_default,
    validate_create=_validate,
    validate_update=lambda new, old: _validate(new),
)
