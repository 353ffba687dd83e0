"""A Pod's containers: what all have in common, and what sets init containers and sidecars apart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, duplicate, forbidden, invalid, not_found, required, too_many
from minipod.api.validation.environment import validate_env, validate_env_from
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.mounts import validate_devices, validate_mounts
from minipod.api.validation.probes import PROBES, validate_handlers
from minipod.api.validation.resources import validate_resources
from minipod.api.validation.security import validate_container_security
from minipod.api.validation.values import PULL_POLICIES, one_of, optional_one_of

Object = dict[str, Any]

PROTOCOLS = ("SCTP", "TCP", "UDP")
RESTART_POLICIES = ("Always", "Never", "OnFailure")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_RESIZE_POLICIES = ("NotRequired", "RestartContainer")
_ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"
_RULES_LIMIT = 20
_EPHEMERAL_FORBIDDEN = (
    *("ports", "resources", "lifecycle", "resizePolicy", "restartPolicy", "restartPolicyRules"),
    *PROBES,
)


@dataclass(frozen=True)
class PodContext:
    """What rules about a container need to know of its Pod."""

    volumes: Mapping[str, Object]
    claims: frozenset[str]
    grace: int | None
    restart_policy: str
    host_users: bool
    os: str


def validate_containers(spec: Object, context: PodContext, path: str) -> Iterator[Cause]:
    """Check the ordinary containers."""
    containers = spec.get("containers") or []
    at = f"{path}.containers"
    if not containers:
        yield required(at)
        return
    seen: set[str] = set()
    for index, container in enumerate(containers):
        below = f"{at}[{index}]"
        yield from _common(container, context, below)
        yield from _unique(container.get("name") or "", seen, below)
        yield from validate_handlers(container, context.grace, below)
        yield from _stop_signal(container, context, below)
        yield from _restart_policy(container, below)
    yield from host_port_conflicts(containers, at)


def validate_init_containers(spec: Object, context: PodContext, path: str) -> Iterator[Cause]:
    """Check the init containers, sidecars among them; their names are unique across the Pod."""
    seen = {each.get("name") or "" for each in spec.get("containers") or ()} - {""}
    at = f"{path}.initContainers"
    for index, container in enumerate(spec.get("initContainers") or ()):
        below = f"{at}[{index}]"
        yield from _common(container, context, below)
        yield from _restart_policy(container, below)
        yield from _unique(container.get("name") or "", seen, below)
        yield from host_port_conflicts([container], at)
        if container.get("restartPolicy") == "Always":
            yield from validate_handlers(container, context.grace, below)
            yield from _stop_signal(container, context, below)
        else:
            for name in ("lifecycle", *PROBES):
                if container.get(name) is not None:
                    yield forbidden(f"{below}.{name}", _ONLY_SIDECARS)


def validate_ephemeral_containers(spec: Object, context: PodContext, path: str) -> Iterator[Cause]:
    """Check the containers that were added for debugging."""
    others = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    targets = {each.get("name") or "" for each in others}
    seen = set(targets)
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        below = f"{path}.ephemeralContainers[{index}]"
        yield from _common(container, context, below)
        yield from _unique(container.get("name") or "", seen, below)
        target = container.get("targetContainerName")
        if target and target not in targets:
            yield not_found(f"{below}.targetContainerName", target)
        for name in _EPHEMERAL_FORBIDDEN:
            if container.get(name):
                yield forbidden(f"{below}.{name}", "cannot be set for an Ephemeral Container")
        for at_mount, mount in enumerate(container.get("volumeMounts") or ()):
            for name in ("subPath", "subPathExpr"):
                if mount.get(name):
                    at = f"{below}.volumeMounts[{at_mount}].{name}"
                    yield forbidden(at, "cannot be set for an Ephemeral Container")


def host_port_conflicts(containers: list[Object], path: str) -> Iterator[Cause]:
    """Check that no two containers that run together want the same port of the host."""
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for at_port, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            wanted = f"{port.get('protocol', 'TCP')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if wanted in taken:
                yield duplicate(f"{path}[{index}].ports[{at_port}].hostPort", wanted)
            taken.add(wanted)


def _common(container: Object, context: PodContext, path: str) -> Iterator[Cause]:
    name = container.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    else:
        yield from causes_of(names.dns1123_label(name), f"{path}.name", name)
    yield from _image(container.get("image") or "", f"{path}.image")
    yield from one_of(
        container.get("terminationMessagePolicy"),
        _MESSAGE_POLICIES,
        f"{path}.terminationMessagePolicy",
    )
    yield from _ports(container.get("ports") or [], f"{path}.ports")
    yield from validate_env(container.get("env") or [], f"{path}.env", context.volumes)
    yield from validate_env_from(container.get("envFrom") or [], f"{path}.envFrom")
    yield from validate_mounts(container, context.volumes, f"{path}.volumeMounts")
    yield from validate_devices(container, context.volumes, f"{path}.volumeDevices")
    if container.get("image"):
        yield from one_of(
            container.get("imagePullPolicy"), PULL_POLICIES, f"{path}.imagePullPolicy"
        )
    yield from validate_resources(container.get("resources"), context.claims, f"{path}.resources")
    yield from _resize(container.get("resizePolicy") or [], context, f"{path}.resizePolicy")
    security = container.get("securityContext")
    yield from validate_container_security(security, context.host_users, f"{path}.securityContext")


def _image(image: str, path: str) -> Iterator[Cause]:
    if not image:
        yield required(path)
    elif image.strip() != image:
        yield invalid(path, image, "must not have leading or trailing whitespace")


def _unique(name: str, seen: set[str], path: str) -> Iterator[Cause]:
    if name and name in seen:
        yield duplicate(f"{path}.name", name)
    seen.add(name)


def _ports(ports: list[Object], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at = f"{path}[{index}]"
        name = port.get("name") or ""
        if name:
            problems = names.port_name(name)
            yield from causes_of(problems, f"{at}.name", name)
            if name in seen and not problems:
                yield duplicate(f"{at}.name", name)
            seen.add(name)
        if not port.get("containerPort"):
            yield required(f"{at}.containerPort")
        else:
            number = port["containerPort"]
            yield from causes_of(names.port_number(number), f"{at}.containerPort", number)
        if port.get("hostPort"):
            yield from causes_of(
                names.port_number(port["hostPort"]), f"{at}.hostPort", port["hostPort"]
            )
        if port.get("hostIP"):
            yield from causes_of(names.ip(port["hostIP"]), f"{at}.hostIP", port["hostIP"])
        yield from one_of(port.get("protocol"), PROTOCOLS, f"{at}.protocol")


def _resize(policies: list[Object], context: PodContext, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        name, restart = policy.get("resourceName") or "", policy.get("restartPolicy")
        if name in seen:
            yield duplicate(f"{path}[{index}]", name)
        seen.add(name)
        yield from one_of(name, ("cpu", "memory"), path)
        yield from one_of(restart, _RESIZE_POLICIES, path)
        if context.restart_policy == "Never" and restart != "NotRequired":
            yield invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'")


def _stop_signal(container: Object, context: PodContext, path: str) -> Iterator[Cause]:
    lifecycle = container.get("lifecycle") or {}
    if lifecycle.get("stopSignal") and not context.os:
        why = "may not be set for containers with empty `spec.os.name`"
        yield forbidden(f"{path}.lifecycle.stopSignal", why)


def _restart_policy(container: Object, path: str) -> Iterator[Cause]:
    """A container may have a policy of its own (KEP-753, KEP-5307)."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    yield from optional_one_of(policy, RESTART_POLICIES, f"{path}.restartPolicy")
    at = f"{path}.restartPolicyRules"
    if rules and policy is None:
        yield required(
            f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used"
        )
    if len(rules) > _RULES_LIMIT:
        yield too_many(at, len(rules), _RULES_LIMIT)
    for index, rule in enumerate(rules):
        yield from one_of(
            rule.get("action"), ("Restart", "RestartAllContainers"), f"{at}[{index}].action"
        )
        codes = rule.get("exitCodes")
        if codes is None:
            yield required(f"{at}[{index}].exitCodes", "must be specified")
        else:
            yield from one_of(
                codes.get("operator"), ("In", "NotIn"), f"{at}[{index}].exitCodes.operator"
            )
