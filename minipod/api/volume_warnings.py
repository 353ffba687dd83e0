"""What is odd about a Pod's volumes: plugins that are gone, files of one volume that stand in each other's way.

Upstream's pkg/api/pod/warnings.go, in its words. Each function yields warnings.
"""

import json
from collections.abc import Iterator
from typing import Any

from minipod.api import deprecations

Object = dict[str, Any]
File = tuple[str, str]  # its path in the volume, and whence it comes

COMPARED = 32  # how many each one of many is compared with: a sender may write very many
MOST = 100  # warnings of one sort: a response tells fewer

_GONE = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_SHOWN = {"storageos": "storageOS"}


def of_volumes(volumes: list[Object], path: str) -> Iterator[str]:
    """Warn of the volumes of a Pod at `path`."""
    for index, volume in enumerate(volumes):
        at = f"{path}[{index}]"
        for name, why in _GONE.items():
            if volume.get(name) is not None:
                yield f"{at}.{_SHOWN.get(name, name)}: {why}"
        template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate") or {}
        spec = template.get("spec") or {}
        yield from deprecations.of_claim_spec(spec, f"{at}.ephemeral.volumeClaimTemplate.spec")
    for volume in volumes:
        yield from _overlaps(volume)


def _overlaps(volume: Object) -> Iterator[str]:
    name = json.dumps(volume.get("name") or "")
    for source, described in _SINGLE.items():
        given = volume.get(source)
        if given is not None:
            owner = described.format(json.dumps(given.get("secretName") or given.get("name") or ""))
            for overlap in _clashes([(each.get("path") or "", "") for each in _items(given)]):
                yield f"volume {name} ({owner}): overlapping paths: {overlap}"
    if volume.get("projected") is None:
        return
    files: list[File] = []
    for source in volume["projected"].get("sources") or ():
        if not any(value is not None for value in source.values()):
            yield f"volume {name} (Projected) has no sources provided"
        files += _projected(source)
    for overlap in _clashes(files):
        yield f"volume {name} (Projected): overlapping paths: {overlap}"


_SINGLE = {"configMap": "ConfigMap {}", "secret": "Secret {}", "downwardAPI": "DownwardAPI"}


def _items(source: Object) -> list[Object]:
    return source.get("items") or []


def _projected(source: Object) -> list[File]:
    """Return the files of one source of a projected volume."""
    for name, described in _SINGLE.items():
        given = source.get(name)
        if given is not None:
            owner = described.format(json.dumps(given.get("name") or ""))
            return [(each.get("path") or "", owner) for each in _items(given)]
    if source.get("serviceAccountToken") is not None:
        return [(source["serviceAccountToken"].get("path") or "", "ServiceAccountToken")]
    bundle = source.get("clusterTrustBundle")
    if bundle is not None:
        name = bundle.get("name") if bundle.get("name") is not None else bundle.get("signerName")
        return [(bundle.get("path") or "", f"ClusterTrustBundle {json.dumps(name or '')}")]
    certificate = source.get("podCertificate") or {}
    return [
        (certificate[field], f"PodCertificate {what}")
        for field, what in (
            ("certificateChainPath", "chain"),
            ("keyPath", "key"),
            ("credentialBundlePath", "credential bundle"),
        )
        if certificate.get(field)
    ]


def _clashes(files: list[File]) -> Iterator[str]:
    """Yield what is a file and the directory of another, or the same file twice: of the first that there are."""
    seen: list[File] = []
    for path, source in files:
        one = (path.rstrip("/"), source)
        for other in seen:
            if one[0] and other[0] and _is_within(one[0], other[0]):
                yield f"{_shown(one)} with {_shown(other)}"
        if len(seen) < COMPARED:
            seen.append(one)


def _is_within(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _shown(file: File) -> str:
    path, source = file
    return f"{json.dumps(path)} ({source})" if source else json.dumps(path)
