"""Security contexts of Pods and containers."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, duplicate, forbidden, invalid, required, too_long
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.values import descending_path, optional_one_of

Object = dict[str, Any]

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_PROC_MOUNTS = ("Default", "Unmasked")
_NETWORK_SYSCTLS = ("net.",)
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")
_PROFILE_PATH_LIMIT = 4095
_SYSCTL_TEXT = (
    "must have at most 253 characters and match regex "
    r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
)


def validate_pod_security(spec: Object, path: str) -> Iterator[Cause]:
    """Check the Pod's security context, and what its spec says of host namespaces."""
    context, at = spec.get("securityContext") or {}, f"{path}.securityContext"
    yield from _ids(context, ("fsGroup", "runAsUser", "runAsGroup"), at)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        yield from causes_of(names.user_id(group), f"{at}.supplementalGroups[{index}]", group)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield invalid(f"{path}.shareProcessNamespace", True, why)
    yield from _sysctls(context.get("sysctls") or [], spec, f"{at}.sysctls")
    yield from optional_one_of(
        context.get("fsGroupChangePolicy"),
        ("Always", "OnRootMismatch"),
        f"{at}.fsGroupChangePolicy",
    )
    yield from optional_one_of(
        context.get("supplementalGroupsPolicy"),
        ("Merge", "Strict"),
        f"{at}.supplementalGroupsPolicy",
    )
    yield from optional_one_of(
        context.get("seLinuxChangePolicy"),
        ("MountOption", "Recursive"),
        f"{at}.seLinuxChangePolicy",
    )
    yield from _profiles(context, at)
    yield from _host_users(spec, path)


def validate_container_security(
    context: Object | None, host_users: bool, path: str
) -> Iterator[Cause]:
    """Check a container's security context."""
    context = context or {}
    yield from _ids(context, ("runAsUser", "runAsGroup"), path)
    yield from optional_one_of(context.get("procMount"), _PROC_MOUNTS, f"{path}.procMount")
    if context.get("procMount") == "Unmasked" and host_users:
        why = "`hostUsers` must be false to use `Unmasked`"
        yield invalid(f"{path}.procMount", "Unmasked", why)
    yield from _profiles(context, path)
    if context.get("allowPrivilegeEscalation") is False:
        at = f"{path}.allowPrivilegeEscalation"
        if context.get("privileged"):
            why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield invalid(at, False, why)
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield invalid(at, False, why)


def _ids(context: Object, fields: tuple[str, ...], path: str) -> Iterator[Cause]:
    for name in fields:
        value = context.get(name)
        if value is not None:
            yield from causes_of(names.user_id(value), f"{path}.{name}", value)


def _sysctls(sysctls: list[Object], spec: Object, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        at, name = f"{path}[{index}].name", sysctl.get("name") or ""
        if not name:
            yield required(at)
        elif not names.is_sysctl(name):
            yield invalid(at, name, _SYSCTL_TEXT)
        elif name in seen:
            yield duplicate(at, name)
        seen.add(name)
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith(_NETWORK_SYSCTLS):
            yield invalid(at, name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and dotted.startswith(_IPC_SYSCTLS):
            yield invalid(at, name, "may not be specified when 'hostIPC' is true")


def _profiles(context: Object, path: str) -> Iterator[Cause]:
    for name, word in (("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")):
        profile = context.get(name)
        if profile is not None:
            yield from _profile(profile, name, word, f"{path}.{name}")


def _profile(profile: Object, name: str, word: str, path: str) -> Iterator[Cause]:
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        yield required(f"{path}.type", f"type is required when {name} is set")
    else:
        yield from optional_one_of(kind, _PROFILES, f"{path}.type")
    at = f"{path}.localhostProfile"
    if kind != "Localhost":
        if local is not None:
            yield invalid(at, local, f"can only be set when {word} type is Localhost")
    elif not local:
        yield required(at, f"must be set when {word} type is Localhost")
    elif name == "seccompProfile":
        yield from descending_path(local, at)
    elif local.strip() != local:
        yield invalid(at, local, "must not be padded with whitespace")
    elif len(local) > _PROFILE_PATH_LIMIT:
        yield too_long(at, _PROFILE_PATH_LIMIT)


def _host_users(spec: Object, path: str) -> Iterator[Cause]:
    """A user namespace cannot be had together with the host's other namespaces (KEP-127)."""
    if spec.get("hostUsers") is not False:
        return
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield forbidden(f"{path}.{name}", "when `pod.Spec.HostUsers` is false")
