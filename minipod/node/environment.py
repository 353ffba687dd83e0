"""What a container finds in its environment. Pure: everything referred to has been looked up before.

Order and precedence are the kubelet's: the image's variables; those of Services; `envFrom` in order; `env` in order. A
`$(NAME)` in a value sees what came before it in `env`, all of `envFrom`, and the Services; never the image's own.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minipod.client import Object
from minipod.node.env_files import BadEnvFile, EnvFiles, parse_key
from minipod.node.errors import StepError
from minipod.node.fields import field_value, resource_value

REASON = "CreateContainerConfigError"
_REFERENCE = re.compile(r"\$(?:(?P<escaped>\$)|\((?P<name>[^)]*)\))")
# printable ASCII except "=" (KEP-4369)
_NAME = re.compile(r"[ -<>-~]+")


@dataclass(frozen=True)
class References:
    """The objects that a container's environment refers to, by name; None or missing: there is no such object."""

    config_maps: Mapping[str, Object | None] = field(default_factory=dict)
    secrets: Mapping[str, Object | None] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)  # variables made from Services
    allocatable: Mapping[str, str] = field(default_factory=dict)  # what the node has for Pods
    trust_bundles: Sequence[Object] = ()  # all there are, for a Pod that asks for any
    # service account tokens, by audience ("" for the API server) and seconds
    tokens: Mapping[tuple[str, int], str] = field(default_factory=dict, repr=False)
    token_failures: Mapping[tuple[str, int], str] = field(
        default_factory=dict
    )  # why one is missing


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace each $(NAME) that is known; leave those that are not; `$$` stands for one `$`."""

    def replacement(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        return variables.get(found["name"], found[0])

    return _REFERENCE.sub(replacement, text)


def expand_strictly(text: str, variables: Mapping[str, str]) -> str:
    """As `expand`, for subPathExpr: raises StepError when a name is not known."""
    for found in _REFERENCE.finditer(text):
        if not found["escaped"] and found["name"] not in variables:
            raise StepError(REASON, f"missing value for {found['name']!r}".replace("'", '"'))
    return expand(text, variables)


def compute_environment(
    pod: Object,
    container: Object,
    image_env: Sequence[str] = (),
    references: References | None = None,
    files: EnvFiles | None = None,
) -> list[str]:
    """Return "NAME=value" strings, each name once.

    Raises StepError(CreateContainerConfigError) for a missing object or key that is not optional.
    """
    given = references or References()
    own: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        own |= _all_of(pod, source, given)
    for variable in container.get("env") or ():
        if (variable.get("valueFrom") or {}).get("fileKeyRef"):
            value = _from_file(variable, files or EnvFiles())
        else:
            value = _value(pod, container, variable, {**given.services, **own}, given)
        if value is not None:
            own[variable["name"]] = value
    image = dict(each.partition("=")[::2] for each in image_env)
    return [f"{name}={value}" for name, value in {**image, **given.services, **own}.items()]


def refers_to_objects(container: Object) -> bool:
    """Return whether a container's environment is made from ConfigMaps or Secrets. Pure."""
    sources = [each.get("valueFrom") or {} for each in container.get("env") or ()]
    named = any("configMapKeyRef" in each or "secretKeyRef" in each for each in sources)
    return named or bool(container.get("envFrom"))


def _all_of(pod: Object, source: Object, references: References) -> dict[str, str]:
    kind, reference = _source(source)
    found = _lookup(kind, reference["name"], references)
    if found is None and not reference.get("optional"):
        raise _missing(kind, reference["name"])
    prefix = source.get("prefix") or ""
    data = _data(kind, found)
    return {prefix + key: data[key] for key in sorted(data) if _NAME.fullmatch(prefix + key)}


def _source(source: Object) -> tuple[str, Object]:
    if "configMapRef" in source:
        return "ConfigMap", source["configMapRef"]
    return "Secret", source["secretRef"]


def _value(
    pod: Object,
    container: Object,
    variable: Object,
    known: Mapping[str, str],
    references: References,
) -> str | None:
    """Return a variable's value, None when it refers to something optional that is not there."""
    source = variable.get("valueFrom")
    if variable.get("value") or not source:
        return expand(variable.get("value") or "", known)
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        reference = source["resourceFieldRef"]
        own = container if not reference.get("containerName") else None
        return resource_value(pod, reference, references.allocatable, own)
    if "configMapKeyRef" in source:
        return _key_of(pod, "ConfigMap", source["configMapKeyRef"], references)
    if "secretKeyRef" in source:
        return _key_of(pod, "Secret", source["secretKeyRef"], references)
    kind = next(iter(source), "nothing")
    raise StepError(
        REASON, f'environment variable "{variable["name"]}": valueFrom.{kind} is not supported'
    )


def _from_file(variable: Object, files: EnvFiles) -> str | None:
    """Return a key of a file, None when there is none and none is needed; a file must be well formed in any case.

    To the kubelet a key without a value is not there.
    """
    reference = variable["valueFrom"]["fileKeyRef"]
    file, key = (reference["volumeName"], reference["path"]), reference["key"]
    shown, text = f'"{file[1]}" of volume "{file[0]}"', files.texts.get(file)
    missing = text is None and file not in files.failures
    if missing and reference.get("optional"):
        return None
    try:
        if text is None:
            why = files.failures.get(file, "no such file or directory")
            raise BadEnvFile(f"failed to open environment variable file {shown}: {why}")
        value = parse_key(text, key)
    except BadEnvFile as error:
        raise StepError(REASON, f"couldn't parse env file: {error}") from error
    if value or reference.get("optional"):
        return value or None
    raise StepError(REASON, f'environment variable key "{key}" not found in file {shown}')


def _key_of(pod: Object, kind: str, reference: Object, references: References) -> str | None:
    name, key = reference["name"], reference["key"]
    found = _lookup(kind, name, references)
    if found is None:
        if reference.get("optional"):
            return None
        raise _missing(kind, name)
    data = _data(kind, found)
    if key in data:
        return data[key]
    if reference.get("optional"):
        return None
    where = f"{pod['metadata']['namespace']}/{name}"
    raise StepError(REASON, f"couldn't find key {key} in {kind} {where}")


def _lookup(kind: str, name: str, references: References) -> Object | None:
    return (references.config_maps if kind == "ConfigMap" else references.secrets).get(name)


def _data(kind: str, found: Object | None) -> dict[str, str]:
    data = (found or {}).get("data") or {}
    if kind == "ConfigMap":
        return {key: str(text) for key, text in data.items()}
    decoded = {key: base64.b64decode(text or "") for key, text in data.items()}
    return {key: text.decode(errors="surrogateescape") for key, text in decoded.items()}


def _missing(kind: str, name: str) -> StepError:
    return StepError(REASON, f'{kind.lower()} "{name}" not found')
