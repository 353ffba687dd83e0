"""Giving Pods what PodPresets have for them. Pure; the rules are those of upstream's admission plugin (1.19).

Every container, init containers included, is given the variables and mounts, the Pod the volumes. What the Pod has
already in just that form stays; what it has in another form is a conflict, and the Pod stays as it is, whatever the
other presets say.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from minipod.api import selectors

Object = dict[str, Any]

PREFIX = "podpreset.admission.kubernetes.io"
EXCLUDE = f"{PREFIX}/exclude"


class PresetConflict(ValueError):
    """Presets that do not fit a Pod, or one another; the message says where."""


def select_presets(presets: Iterable[Object], pod: Object) -> list[Object]:
    """Return the presets that are meant for a Pod, by name; none for one that wants none."""
    metadata = pod["metadata"]
    if (metadata.get("annotations") or {}).get(EXCLUDE) == "true":
        return []
    labels = metadata.get("labels") or {}
    chosen = [
        each
        for each in presets
        if selectors.from_object((each.get("spec") or {}).get("selector") or {}).matches(labels)
    ]
    return sorted(chosen, key=lambda each: str(each["metadata"]["name"]))


def apply_presets(presets: list[Object], pod: Object) -> Object:
    """Return the Pod with what the presets give it, and an annotation for each. Raises PresetConflict."""
    made = copy.deepcopy(pod)
    spec = made["spec"]
    for preset in presets:
        given, name = preset.get("spec") or {}, preset["metadata"]["name"]
        _merge(spec, "volumes", given, name, _volume_keys, "volumes")
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            _merge(container, "env", given, name, _env_keys, "env")
            _merge(container, "volumeMounts", given, name, _mount_keys, "volume mounts")
            if given.get("envFrom"):
                container["envFrom"] = [*(container.get("envFrom") or ()), *given["envFrom"]]
        annotations = made["metadata"].get("annotations") or {}
        version = str(preset["metadata"].get("resourceVersion", ""))
        made["metadata"]["annotations"] = {**annotations, f"{PREFIX}/podpreset-{name}": version}
    return made


Keys = Callable[[Object], list[tuple[str, str]]]  # (what it is called in messages, value)


def _volume_keys(volume: Object) -> list[tuple[str, str]]:
    return [("", volume["name"])]


def _env_keys(variable: Object) -> list[tuple[str, str]]:
    return [("", variable["name"])]


def _mount_keys(mount: Object) -> list[tuple[str, str]]:
    """A mount is known by its volume's name and by its path: neither may mean something else."""
    return [("", mount["name"]), ("mount path ", mount["mountPath"])]


def _merge(target: Object, member: str, given: Object, preset: str, keys: Keys, what: str) -> None:
    """Add to a list what it has not; what it has must be the same. Raises PresetConflict."""
    have: list[Object] = list(target.get(member) or ())
    for new in given.get(member) or ():
        known = {key: each for each in have for key in keys(each)}
        met = [(key, known[key]) for key in keys(new) if key in known]
        for (kind, value), found in met:
            if found != new:
                raise PresetConflict(
                    f"merging {what} for {preset} has a conflict on {kind}{value}: "
                    "the Pod or another preset has something else there"
                )
        if not met:
            have.append(copy.deepcopy(new))
    if have:
        target[member] = have
