"""Who a container's process is and what it may do: securityContext of Pod and container over the image's. Pure.

Where the Pod says nothing it gets containerd's defaults, and the RuntimeDefault seccomp profile (upstream: only with
the kubelet's seccompDefault).
"""

from collections.abc import Callable
from typing import Any

from minipod.client import Object
from minipod.linux import capabilities, passwd
from minipod.node.errors import StepError
from minipod.node.pods import containers_of, full_name
from minipod.runtime import defaults
from minipod.runtime.spec import Security, User

CompileSeccomp = Callable[[Object, tuple[str, ...]], bytes | None]

_CONFIG_ERROR = "CreateContainerConfigError"


def effective(pod: Object, container: Object, name: str) -> Any:
    """Return a field that the container's securityContext may override."""
    own = (container.get("securityContext") or {}).get(name)
    return own if own is not None else pod_context(pod).get(name)


def pod_context(pod: Object) -> Object:
    """Return the Pod's securityContext."""
    return pod["spec"].get("securityContext") or {}


def is_privileged(container: Object) -> bool:
    """Tell whether the container has all powers and devices."""
    return bool((container.get("securityContext") or {}).get("privileged"))


def compute_user(pod: Object, container: Object, image_user: str) -> User:
    """Return whom to run as; StepError when runAsNonRoot forbids it."""
    uid = effective(pod, container, "runAsUser")
    if effective(pod, container, "runAsNonRoot"):
        _check_non_root(pod, container, uid, image_user)
    context = pod_context(pod)
    groups = list(context.get("supplementalGroups") or ())
    if context.get("fsGroup") is not None and context["fsGroup"] not in groups:
        groups.append(context["fsGroup"])
    return User(
        name=image_user if uid is None else str(uid),
        uid=uid,
        gid=effective(pod, container, "runAsGroup"),
        supplementary=tuple(groups),
        merge_image_groups=context.get("supplementalGroupsPolicy", "Merge") == "Merge",
    )


def compute_common_user(pod: Object) -> int | None:
    """Return the runAsUser that all containers share; None when there is no one such (the kubelet's FsUser)."""
    users = {effective(pod, container, "runAsUser") for _, container in containers_of(pod)}
    return users.pop() if len(users) == 1 else None


def _check_non_root(pod: Object, container: Object, uid: int | None, image_user: str) -> None:
    where = f'(pod: "{full_name(pod)}", container: {container["name"]})'
    if uid == 0:
        raise StepError(_CONFIG_ERROR, f"container's runAsUser breaks non-root policy {where}")
    if uid is not None:
        return
    name = image_user.partition(":")[0]
    try:
        number = passwd.parse_id(name or "0")
    except ValueError as error:
        raise StepError(_CONFIG_ERROR, f"image has an invalid user: {error} {where}") from None
    if number == 0:  # also when it is written "00"
        message = f"container has runAsNonRoot and image will run as root {where}"
        raise StepError(_CONFIG_ERROR, message)
    if number is None:
        raise StepError(
            _CONFIG_ERROR,
            f"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is "
            f"non-root {where}",
        )


def compute_security(
    pod: Object, container: Object, compile_seccomp: CompileSeccomp, oom_score_adj: int
) -> Security:
    """Return the powers of a container. StepError for capabilities and profiles that do not exist."""
    context = container.get("securityContext") or {}
    if is_privileged(container):
        return Security(
            capabilities=capabilities.NAMES, privileged=True, oom_score_adj=oom_score_adj
        )
    kept = compute_capabilities(context.get("capabilities") or {})
    if context.get("procMount") == "Unmasked":
        # Upstream allows it in a user namespace only; here its /proc/sys would be the host's, writable.
        raise StepError(
            _CONFIG_ERROR,
            "procMount Unmasked needs a user namespace of the Pod's own, which minipod does not make; "
            "use procMount: Default",
        )
    profile = effective(pod, container, "seccompProfile") or {"type": "RuntimeDefault"}
    unconfined = profile.get("type") == "Unconfined"
    return Security(
        capabilities=kept,
        no_new_privileges=context.get("allowPrivilegeEscalation") is False,
        seccomp=None if unconfined else compile_seccomp(profile, kept),
        masked_paths=defaults.MASKED_PATHS,
        read_only_paths=defaults.READ_ONLY_PATHS,
        oom_score_adj=oom_score_adj,
    )


def compute_capabilities(wanted: Object) -> tuple[str, ...]:
    """Return the default capabilities, minus `drop`, plus `add` ("ALL" is all; `add` wins over a dropped ALL)."""
    add = [_capability(name) for name in wanted.get("add") or ()]
    drop = [_capability(name) for name in wanted.get("drop") or ()]
    kept = set(capabilities.NAMES) if "ALL" in add else set(defaults.CAPABILITIES)
    if "ALL" in drop:
        kept = set()
    kept |= {name for name in add if name != "ALL"}
    kept -= {name for name in drop if name != "ALL"}
    return tuple(name for name in capabilities.NAMES if name in kept)


def _capability(name: str) -> str:
    if name.upper() in ("ALL", "CAP_ALL"):
        return "ALL"
    plain = name.upper().removeprefix("CAP_")
    if plain not in capabilities.NAMES:
        raise StepError("CreateContainerError", f'unknown capability "{name}"')
    return plain
