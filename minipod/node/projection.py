"""The files of secret, configMap, downwardAPI and projected volumes, and how they come into place. Pure.

The content lies in a hidden directory named from its digest; `..data` is a link to it, replaced by one rename, and each
visible name is a link through `..data`: a reader sees all files of one version, never a mixture (the kubelet's
AtomicWriter does the same). What an earlier version had, and this one has not, goes last.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from minipod.client import Object
from minipod.node.anchors import compute_anchors
from minipod.node.environment import References
from minipod.node.errors import StepError
from minipod.node.fields import field_value, resource_value
from minipod.node.security import compute_common_user, pod_context
from minipod.runtime.operations import KeepOnly, MakeDirectory, MakeSymlink, Operation, WriteFile

DEFAULT_MODE = 0o644
TOKEN_SECONDS = 3600  # of a token that asks for no other life
DATA = "..data"  # the link to the version that is shown


@dataclass(frozen=True)
class ProjectedFile:
    """One file of a volume."""

    content: bytes
    mode: int = DEFAULT_MODE
    uid: int = 0


Payload = dict[str, ProjectedFile]
Found = Mapping[str, Object | None]


def compute_payload(pod: Object, kind: str, source: Object, references: References) -> Payload:
    """Return the files by path. StepError when something referred to is missing and not optional."""
    mode = source.get("defaultMode")
    mode = DEFAULT_MODE if mode is None else mode
    secrets, config_maps = references.secrets, references.config_maps
    if kind == "secret":
        return _secret(pod, source, source["secretName"], mode, secrets)
    if kind == "configMap":
        return _config_map(pod, source, source["name"], mode, config_maps)
    if kind == "downwardAPI":
        return _downward(pod, source, mode, references)
    payload: Payload = {}
    for part in source.get("sources") or ():
        payload |= _source(pod, part, mode, references)
    return payload


def _source(pod: Object, part: Object, mode: int, references: References) -> Payload:
    secrets, config_maps = references.secrets, references.config_maps
    if "secret" in part:
        return _secret(pod, part["secret"], part["secret"]["name"], mode, secrets)
    if "configMap" in part:
        return _config_map(pod, part["configMap"], part["configMap"]["name"], mode, config_maps)
    if "downwardAPI" in part:
        return _downward(pod, part["downwardAPI"], mode, references)
    if "serviceAccountToken" in part:
        return _token(pod, part["serviceAccountToken"], mode, references)
    if "clusterTrustBundle" in part:
        source = part["clusterTrustBundle"]
        anchors = compute_anchors(source, references.trust_bundles)
        return {_safe(source["path"]): _owned(pod, anchors.encode(), mode)}
    kind = next(iter(part), "nothing")
    raise StepError("FailedMount", f"projected sources of kind {kind} are not supported by minipod")


def _secret(pod: Object, source: Object, name: str, mode: int, secrets: Found) -> Payload:
    secret = _find("secret", pod, source, name, secrets)
    data = {key: base64.b64decode(text or "") for key, text in (secret.get("data") or {}).items()}
    return _select(source, data, mode, "secret", pod, name)


def _config_map(pod: Object, source: Object, name: str, mode: int, config_maps: Found) -> Payload:
    found = _find("configmap", pod, source, name, config_maps)
    data = {key: str(text).encode() for key, text in (found.get("data") or {}).items()}
    for key, text in (found.get("binaryData") or {}).items():
        data[key] = base64.b64decode(text)
    return _select(source, data, mode, "configmap", pod, name)


def _token(pod: Object, source: Object, mode: int, references: References) -> Payload:
    wanted = wanted_token(source)
    if wanted not in references.tokens:
        reason = references.token_failures.get(wanted, "it was not asked for")
        raise StepError("FailedMount", f"failed to fetch token: {reason}")
    return {_safe(source["path"]): _owned(pod, references.tokens[wanted].encode(), mode)}


def _owned(pod: Object, content: bytes, mode: int) -> ProjectedFile:
    """Return a file that is its user's alone where that is one user, or a group owns the volume (KEP-2451)."""
    user, group = compute_common_user(pod), pod_context(pod).get("fsGroup")
    own = user is not None or group is not None
    return ProjectedFile(content, 0o600 if own else mode, user or 0)


def wanted_token(source: Object) -> tuple[str, int]:
    """Return the audience and the seconds that a serviceAccountToken source asks for."""
    return source.get("audience") or "", int(source.get("expirationSeconds") or TOKEN_SECONDS)


def _find(what: str, pod: Object, source: Object, name: str, objects: Found) -> Object:
    found = objects.get(name)
    if found is None and not source.get("optional"):
        raise StepError("FailedMount", f'{what} "{name}" not found')
    return found or {}


def _select(
    source: Object, data: Mapping[str, bytes], mode: int, what: str, pod: Object, name: str
) -> Payload:
    items = source.get("items")
    if not items:
        return {key: ProjectedFile(content, mode) for key, content in data.items()}
    chosen: Payload = {}
    for item in items:
        if item["key"] in data:
            own = item.get("mode")
            content = data[item["key"]]
            chosen[_safe(item["path"])] = ProjectedFile(content, mode if own is None else own)
        elif not source.get("optional"):
            where = f"{pod['metadata']['namespace']}/{name}"
            raise StepError(
                "FailedMount", f"references non-existent {what} key: {item['key']} in {where}"
            )
    return chosen


def _downward(pod: Object, source: Object, mode: int, references: References) -> Payload:
    payload: Payload = {}
    for item in source.get("items") or ():
        if "fieldRef" in item:
            text = field_value(pod, item["fieldRef"]["fieldPath"])
        else:
            text = resource_value(pod, item["resourceFieldRef"], references.allocatable)
        own = item.get("mode")
        payload[_safe(item["path"])] = ProjectedFile(text.encode(), mode if own is None else own)
    return payload


def _safe(path: str) -> str:
    if path.startswith(("/", "..")) or ".." in path.split("/"):
        raise StepError("FailedMount", f'invalid path "{path}": it must stay inside the volume')
    return path


def compute_projection(payload: Payload, place: str, group: int | None) -> tuple[Operation, ...]:
    """Return the operations that bring the files to `place`, all at once."""
    version = compute_version(payload)
    directory_mode = 0o755 if group is None else 0o2775
    owner = group or 0
    steps: list[Operation] = [MakeDirectory(f"{place}/{version}", directory_mode, gid=owner)]
    for path, file in sorted(payload.items()):
        parent, _, _ = f"{version}/{path}".rpartition("/")
        if parent != version:
            steps.append(MakeDirectory(f"{place}/{parent}", directory_mode, gid=owner))
        mode = file.mode if group is None else file.mode | (0o440 if file.mode & 0o400 else 0)
        content = file.content.decode(errors="surrogateescape")  # as WriteFile encodes it again
        steps.append(WriteFile(f"{place}/{version}/{path}", content, mode, file.uid, owner))
    steps.append(MakeSymlink(f"{place}/{DATA}", version))
    visible = sorted({path.partition("/")[0] for path in payload})
    steps += [MakeSymlink(f"{place}/{name}", f"{DATA}/{name}") for name in visible]
    return (*steps, KeepOnly(place, (version, DATA, *visible)))


def compute_version(payload: Payload) -> str:
    """Return the name of the directory that holds these files, to which `..data` leads."""
    digest = hashlib.sha256()
    for path, file in sorted(payload.items()):
        digest.update(f"{path}\0{file.mode}\0{file.uid}\0{len(file.content)}\0".encode())
        digest.update(file.content)
    return f"..{digest.hexdigest()[:16]}"
