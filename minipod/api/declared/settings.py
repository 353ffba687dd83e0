"""settings.k8s.io/v1alpha1: PodPreset, which upstream served until 1.19 and the labs still teach."""

from minipod.api.kind import Kind, hooks_in

POD_PRESET = Kind(
    group="settings.k8s.io",
    version="v1alpha1",
    kind="PodPreset",
    plural="podpresets",
    schema_name="io.k8s.api.settings.v1alpha1.PodPreset",
    hooks=hooks_in("minipod.api.hooks.settings"),
)
