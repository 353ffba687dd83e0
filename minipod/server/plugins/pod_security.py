"""PodSecurity: the Pod Security Standards, by labels of the namespace (k8s.io/pod-security-admission).

`evaluate(policy, spec, metadata)` is pure: it returns what a Pod violates, in upstream's words. Nobody and nothing is
exempt; a namespace without labels is privileged.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minipod.server.plugins.pod_security_checks import NEWEST, Subject, checks_of

Object = dict[str, Any]
PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
MODES = ("enforce", "audit", "warn")
LATEST = "latest"
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class Policy:
    """A level, and as of which version of Kubernetes."""

    level: str = "privileged"
    version: str = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    @property
    def minor(self) -> int:
        """The minor version whose checks count."""
        return NEWEST if self.version == LATEST else int(self.version.removeprefix("v1."))

    def relaxes(self, other: "Policy") -> bool:
        """Whether it demands nothing that the other does not."""
        laxer = LEVELS.index(self.level) <= LEVELS.index(other.level)
        return self.level == "privileged" or (self.version == other.version and laxer)


@dataclass(frozen=True)
class Policies:
    """What a namespace asks for, by mode. `error` says which labels could not be read."""

    enforce: Policy = Policy()
    audit: Policy = Policy()
    warn: Policy = Policy()
    error: str = ""


def read_policies(labels: Mapping[str, str] | None) -> Policies:
    """Return the policies of a namespace. Who enforces and says nothing of warnings gets them of the same level."""
    found = labels or {}
    levels = {mode: _level(mode, found.get(PREFIX + mode)) for mode in MODES}
    versions = {mode: _version(found.get(f"{PREFIX}{mode}-version")) for mode in MODES}
    enforced = found.get(PREFIX + "enforce")
    if enforced in ("baseline", "restricted") and PREFIX + "warn" not in found:
        levels["warn"] = levels["enforce"]
        if f"{PREFIX}warn-version" not in found:
            versions["warn"] = versions["enforce"]
    made = {mode: Policy(levels[mode], versions[mode]) for mode in MODES}
    return Policies(**made, error=_errors(found))


def _level(mode: str, given: str | None) -> str:
    if given is None or given in LEVELS:
        return given or "privileged"
    return (
        "restricted" if mode == "enforce" else "privileged"
    )  # what cannot be read is enforced strictly


def _version(given: str | None) -> str:
    return given if given is not None and _VERSION.fullmatch(given) else LATEST


def _errors(labels: Mapping[str, str]) -> str:
    wrong = [
        f'metadata.labels[{label}]: Invalid value: "{value}": {why}'
        for label, value, why in find_wrong_labels(labels)
    ]
    if not wrong:
        return ""
    return f"Failed to parse policy: {wrong[0] if len(wrong) == 1 else f'[{chr(44).join(wrong)}]'}"


def find_wrong_labels(labels: Mapping[str, str] | None) -> Iterator[tuple[str, str, str]]:
    """Yield (label, value, what is wrong with it) for labels of a namespace that cannot be understood."""
    for mode in MODES:
        level = (labels or {}).get(PREFIX + mode)
        if level is not None and level not in LEVELS:
            yield PREFIX + mode, level, f"must be one of {', '.join(LEVELS)}"
        label = f"{PREFIX}{mode}-version"
        version = (labels or {}).get(label)
        if version is not None and version != LATEST and not _VERSION.fullmatch(version):
            yield label, version, 'must be "latest" or "v1.x"'


def evaluate(policy: Policy, spec: Object, metadata: Object) -> list[str]:
    """Return what a Pod violates of a policy, one line each; nothing when it is allowed."""
    if policy.level == "privileged":
        return []
    pod = Subject(spec, metadata)
    found = (check(pod) for check in checks_of(policy.level, policy.minor))
    return [f"{reason} ({detail})" if detail else reason for reason, detail in filter(None, found)]


@dataclass(frozen=True)
class Judgement:
    """What is to be said of a Pod: why it is refused ("" when it is not), to its sender, and to the audit log."""

    refusal: str
    warnings: list[str]
    notes: dict[str, str]


def judge(policies: Policies, pod: Object, *, enforce: bool) -> Judgement:
    """Return what a namespace's policies make of a Pod, or (without `enforce`) of the template of one."""
    spec, metadata = pod.get("spec") or {}, pod.get("metadata") or {}
    notes, refusal = {}, ""
    if policies.error:
        notes["error"] = policies.error
    if enforce:
        notes["enforce-policy"] = str(policies.enforce)
        wrong = evaluate(policies.enforce, spec, metadata)
        if wrong:
            refusal = f'violates PodSecurity "{policies.enforce}": {", ".join(wrong)}'
    if wrong := evaluate(policies.audit, spec, metadata):
        notes["audit-violations"] = (
            f'would violate PodSecurity "{policies.audit}": {", ".join(wrong)}'
        )
    warned = [] if refusal else evaluate(policies.warn, spec, metadata)
    told = f'would violate PodSecurity "{policies.warn}": {", ".join(warned)}'
    return Judgement(refusal, [told] if warned else [], notes)


def matters(new: Object, old: Object) -> bool:
    """Whether a change of a Pod's spec is one that is judged: another image, another container."""
    if any(len(_of(new, kind)) != len(_of(old, kind)) for kind in ("containers", "initContainers")):
        return True
    pairs = [
        (each, _of(old, kind)[number])
        for kind in ("containers", "initContainers")
        for number, each in enumerate(_of(new, kind))
    ]
    known = {each.get("name"): each for each in _of(old, "ephemeralContainers")}
    for each in _of(new, "ephemeralContainers"):
        before = known.get(each.get("name"))
        if before is None:
            return True
        pairs.append((each, before))
    return any(now.get("image") != before.get("image") for now, before in pairs)


def _of(spec: Object, kind: str) -> list[Object]:
    return spec.get(kind) or []
