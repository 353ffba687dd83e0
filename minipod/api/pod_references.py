"""Which objects a Pod needs read for it: Secrets, ConfigMaps, claims. Pure; upstream's pkg/api/v1/pod visitors."""

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]
# Kinds of volume that name a Secret of the Pod's namespace, and by which field.
_VOLUME_SECRETS = {
    "azureFile": "secretName",
    "cephfs": "secretRef",
    "cinder": "secretRef",
    "csi": "nodePublishSecretRef",
    "flexVolume": "secretRef",
    "iscsi": "secretRef",
    "rbd": "secretRef",
    "scaleIO": "secretRef",
    "secret": "secretName",
    "storageos": "secretRef",
}


def secrets_of(pod: Object) -> set[str]:
    """Return the names of the Secrets that a Pod's volumes, environment and image pulls take."""
    found = set(_named(pod["spec"].get("imagePullSecrets") or ()))
    for volume in _volumes(pod):
        for kind, field in _VOLUME_SECRETS.items():
            value = (volume.get(kind) or {}).get(field)
            found.add(value.get("name", "") if isinstance(value, dict) else value or "")
    found |= _sources(pod, "secret", "secretRef", "secretKeyRef")
    return found - {""}


def config_maps_of(pod: Object) -> set[str]:
    """Return the names of the ConfigMaps that a Pod's volumes and environment take."""
    found = {(volume.get("configMap") or {}).get("name") or "" for volume in _volumes(pod)}
    return (found | _sources(pod, "configMap", "configMapRef", "configMapKeyRef")) - {""}


def claims_of(pod: Object) -> set[str]:
    """Return the names of the PersistentVolumeClaims behind a Pod's volumes, those made for it alone too."""
    found = set()
    for volume in _volumes(pod):
        found.add((volume.get("persistentVolumeClaim") or {}).get("claimName") or "")
        if volume.get("ephemeral"):
            found.add(f"{pod['metadata']['name']}-{volume.get('name')}")
    return found - {""}


def audiences_of(pod: Object) -> set[str]:
    """Return the audiences of the tokens that a Pod's volumes hold, "" for the API server's own."""
    tokens = (each.get("serviceAccountToken") for each in _projected(pod))
    return {each.get("audience") or "" for each in tokens if each}


def _volumes(pod: Object) -> list[Object]:
    return pod["spec"].get("volumes") or []


def _projected(pod: Object) -> Iterator[Object]:
    for volume in _volumes(pod):
        yield from (volume.get("projected") or {}).get("sources") or ()


def _sources(pod: Object, projected: str, whole: str, one: str) -> set[str]:
    """Return the names in projected volumes, in `envFrom`, and in single variables."""
    references = [each.get(projected) for each in _projected(pod)]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod["spec"].get(kind) or ():
            references += [each.get(whole) for each in container.get("envFrom") or ()]
            variables = container.get("env") or ()
            references += [(each.get("valueFrom") or {}).get(one) for each in variables]
    return set(_named(each for each in references if each))


def _named(references: Any) -> Iterator[str]:
    return (each.get("name") or "" for each in references)
