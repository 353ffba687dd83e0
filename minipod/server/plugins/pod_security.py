"""PodSecurity: the Pod Security Standards, by labels of the namespace (k8s.io/pod-security-admission).

`evaluate(level, spec, metadata)` is pure: it returns what a Pod violates, in upstream's words. Versions of the
standards (`...-version`) other than the newest are taken as the newest.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minipod.client import Object

PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
_BASELINE_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    )
)
_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    )
)
_SELINUX_TYPES = ("", "container_engine_t", "container_init_t", "container_kvm_t", "container_t")
_RESTRICTED_VOLUMES = frozenset(
    (
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    )
)


@dataclass(frozen=True)
class Policy:
    """What a namespace asks for: a level and the version that is written with it."""

    level: str
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


def read_policies(labels: Mapping[str, str] | None) -> dict[str, Policy]:
    """Return the policy of each mode (`enforce`, `audit`, `warn`) that a namespace sets."""
    found = {}
    for mode in ("enforce", "audit", "warn"):
        level = (labels or {}).get(PREFIX + mode)
        if level in LEVELS:
            version = (labels or {}).get(f"{PREFIX}{mode}-version") or "latest"
            found[mode] = Policy(level, version)
        elif level is not None:
            found[mode] = Policy("restricted")  # what cannot be read is taken strictly
    return found


def find_wrong_labels(labels: Mapping[str, str] | None) -> Iterator[tuple[str, str, str]]:
    """Yield (label, value, what is wrong with it) for labels of a namespace that cannot be understood."""
    for mode in ("enforce", "audit", "warn"):
        level = (labels or {}).get(PREFIX + mode)
        if level is not None and level not in LEVELS:
            yield PREFIX + mode, level, f"must be one of {', '.join(LEVELS)}"
        label = f"{PREFIX}{mode}-version"
        version = (labels or {}).get(label)
        if version is not None and version != "latest":
            number = version.removeprefix("v1.")
            if version == number or not number.isdigit():
                yield label, version, 'must be "latest" or "v1.x"'


def evaluate(level: str, spec: Object, metadata: Object) -> list[str]:
    """Return what a Pod violates of a level, one line each; nothing when it is allowed."""
    if level not in ("baseline", "restricted"):
        return []
    pod = _Pod(spec, metadata)
    checks = _BASELINE if level == "baseline" else _RESTRICTED
    found = (check(pod) for check in checks)
    return [
        f"{reason} ({detail})" if detail else reason
        for each in found
        if each
        for reason, detail in [each]
    ]


Violation = tuple[str, str] | None


@dataclass(frozen=True)
class _Pod:
    spec: Object
    metadata: Object

    @property
    def context(self) -> Object:
        return self.spec.get("securityContext") or {}

    def containers(self) -> Iterator[Object]:
        for name in ("initContainers", "containers", "ephemeralContainers"):
            yield from self.spec.get(name) or ()

    def named(self, wrong: Callable[[Object], bool]) -> list[str]:
        """Return the names of the containers whose security context is wrong."""
        return [
            each.get("name") or ""
            for each in self.containers()
            if wrong(each.get("securityContext") or {})
        ]


def _some(names: Iterable[str], one: str = "container", many: str = "containers") -> str:
    listed = [f'"{name}"' for name in names]
    return f"{one if len(listed) == 1 else many} {', '.join(listed)}"


def _quoted(values: Iterable[Any]) -> str:
    return ", ".join(f'"{value}"' for value in values)


# -- baseline --------------------------------------------------------------------------------------


def _capabilities(pod: _Pod) -> Violation:
    added: set[str] = set()

    def wrong(context: Object) -> bool:
        given = (context.get("capabilities") or {}).get("add") or []
        bad = {each for each in given if each not in _BASELINE_CAPABILITIES}
        added.update(bad)
        return bool(bad)

    names = pod.named(wrong)
    if not names:
        return None
    verb = "must not include"
    return "non-default capabilities", (
        f"{_some(names)} {verb} {_quoted(sorted(added))} in securityContext.capabilities.add"
    )


def _host_namespaces(pod: _Pod) -> Violation:
    given = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(name)]
    return ("host namespaces", ", ".join(given)) if given else None


def _host_path_volumes(pod: _Pod) -> Violation:
    names = [
        each.get("name") or "" for each in pod.spec.get("volumes") or () if each.get("hostPath")
    ]
    if not names:
        return None
    return "hostPath volumes", _some(names, "volume", "volumes")


def _host_ports(pod: _Pod) -> Violation:
    names, ports = [], []
    for container in pod.containers():
        found = [port["hostPort"] for port in container.get("ports") or () if port.get("hostPort")]
        if found:
            names.append(container.get("name") or "")
            ports += found
    if not names:
        return None
    word = "uses" if len(names) == 1 else "use"
    kind = "hostPort" if len(set(ports)) == 1 else "hostPorts"
    listed = ", ".join(map(str, sorted(set(ports))))
    return "hostPort", f"{_some(names)} {word} {kind} {listed}"


def _privileged(pod: _Pod) -> Violation:
    names = pod.named(lambda context: bool(context.get("privileged")))
    if not names:
        return None
    return "privileged", f"{_some(names)} must not set securityContext.privileged=true"


def _proc_mount(pod: _Pod) -> Violation:
    if pod.spec.get("hostUsers") is False:
        return None
    given: set[str] = set()

    def wrong(context: Object) -> bool:
        mount = context.get("procMount") or "Default"
        if mount != "Default":
            given.add(mount)
        return mount != "Default"

    names = pod.named(wrong)
    if not names:
        return None
    values = _quoted(sorted(given))
    return "procMount", f"{_some(names)} must not set securityContext.procMount to {values}"


def _seccomp_baseline(pod: _Pod) -> Violation:
    wrong_pod = (pod.context.get("seccompProfile") or {}).get("type") == "Unconfined"
    names = pod.named(lambda each: (each.get("seccompProfile") or {}).get("type") == "Unconfined")
    setters = [*(["pod"] if wrong_pod else []), *([_some(names)] if names else [])]
    if not setters:
        return None
    text = 'must not set securityContext.seccompProfile.type to "Unconfined"'
    return "seccompProfile", f"{' and '.join(setters)} {text}"


def _selinux(pod: _Pod) -> Violation:
    wrong: list[str] = []
    setters: list[str] = []

    def bad(context: Object) -> bool:
        options = context.get("seLinuxOptions") or {}
        found = []
        if (options.get("type") or "") not in _SELINUX_TYPES:
            found.append(f'type "{options["type"]}"')
        found += [f"{name} may not be set" for name in ("user", "role") if options.get(name)]
        wrong.extend(found)
        return bool(found)

    if bad(pod.context):
        setters.append("pod")
    names = pod.named(bad)
    if names:
        setters.append(_some(names))
    if not setters:
        return None
    types = sorted({each for each in wrong if each.startswith("type ")})
    rest = [each for each in dict.fromkeys(wrong) if not each.startswith("type ")]
    return "seLinuxOptions", "; ".join(
        [
            f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {', '.join(types)}",
            *rest,
        ]
    )


def _sysctls(pod: _Pod) -> Violation:
    given = [each.get("name") or "" for each in pod.context.get("sysctls") or ()]
    bad = [name for name in given if name not in _SYSCTLS]
    return ("forbidden sysctls", ", ".join(bad)) if bad else None


def _app_armor(pod: _Pod) -> Violation:
    wrong_pod = (pod.context.get("appArmorProfile") or {}).get("type") == "Unconfined"
    names = pod.named(lambda each: (each.get("appArmorProfile") or {}).get("type") == "Unconfined")
    setters = [*(["pod"] if wrong_pod else []), *([_some(names)] if names else [])]
    if not setters:
        return None
    text = 'must not set securityContext.appArmorProfile.type to "Unconfined"'
    return "forbidden AppArmor profile", f"{' and '.join(setters)} {text}"


def _host_process(pod: _Pod) -> Violation:
    wrong_pod = (pod.context.get("windowsOptions") or {}).get("hostProcess")
    names = pod.named(lambda each: bool((each.get("windowsOptions") or {}).get("hostProcess")))
    setters = [*(["pod"] if wrong_pod else []), *([_some(names)] if names else [])]
    if not setters:
        return None
    text = "must not set securityContext.windowsOptions.hostProcess=true"
    return "hostProcess", f"{' and '.join(setters)} {text}"


def _host_probes(pod: _Pod) -> Violation:
    names, hosts = [], set()
    for container in pod.containers():
        handlers = [
            container.get(f"{name}Probe") or {} for name in ("liveness", "readiness", "startup")
        ]
        handlers += (container.get("lifecycle") or {}).values()
        found = {
            (handler.get(name) or {}).get("host")
            for handler in handlers
            if isinstance(handler, dict)
            for name in ("httpGet", "tcpSocket")
        } - {None, ""}
        bad = {host for host in found if host not in ("127.0.0.1", "::1")}
        if bad:
            names.append(container.get("name") or "")
            hosts |= bad
    if not names:
        return None
    word = "uses" if len(names) == 1 else "use"
    kind = "host" if len(hosts) == 1 else "hosts"
    return (
        "probe or lifecycle host",
        f"{_some(names)} {word} probe or lifecycle {kind} {_quoted(sorted(hosts))}",
    )


# -- restricted ------------------------------------------------------------------------------------


def _escalation(pod: _Pod) -> Violation:
    names = pod.named(lambda each: each.get("allowPrivilegeEscalation") is not False)
    if not names:
        return None
    text = "must set securityContext.allowPrivilegeEscalation=false"
    return "allowPrivilegeEscalation != false", f"{_some(names)} {text}"


def _restricted_capabilities(pod: _Pod) -> Violation:
    undropped = pod.named(
        lambda each: "ALL" not in ((each.get("capabilities") or {}).get("drop") or ())
    )
    added: set[str] = set()

    def wrong(context: Object) -> bool:
        given = (context.get("capabilities") or {}).get("add") or []
        bad = {each for each in given if each != "NET_BIND_SERVICE"}
        added.update(bad)
        return bool(bad)

    adders = pod.named(wrong)
    texts = []
    if undropped:
        texts.append(f'{_some(undropped)} must set securityContext.capabilities.drop=["ALL"]')
    if adders:
        values = _quoted(sorted(added))
        texts.append(
            f"{_some(adders)} must not include {values} in securityContext.capabilities.add"
        )
    return ("unrestricted capabilities", "; ".join(texts)) if texts else None


def _volume_types(pod: _Pod) -> Violation:
    names, types = [], set()
    for volume in pod.spec.get("volumes") or ():
        bad = {
            name
            for name, source in volume.items()
            if name != "name" and source is not None and name not in _RESTRICTED_VOLUMES
        }
        if bad:
            names.append(volume.get("name") or "")
            types |= bad
    if not names:
        return None
    word = "uses" if len(names) == 1 else "use"
    kind = "type" if len(types) == 1 else "types"
    what = f"{_some(names, 'volume', 'volumes')} {word} restricted volume {kind}"
    return "restricted volume types", f"{what} {_quoted(sorted(types))}"


def _non_root(pod: _Pod) -> Violation:
    if pod.spec.get("hostUsers") is False:
        return None
    default = pod.context.get("runAsNonRoot")
    explicit = pod.named(lambda each: each.get("runAsNonRoot") is False)
    missing = pod.named(lambda each: each.get("runAsNonRoot") is None)
    setters = [*(["pod"] if default is False else []), *([_some(explicit)] if explicit else [])]
    if setters:
        return (
            "runAsNonRoot != true",
            f"{' and '.join(setters)} must not set securityContext.runAsNonRoot=false",
        )
    if missing and default is not True:
        text = "must set securityContext.runAsNonRoot=true"
        return "runAsNonRoot != true", f"pod or {_some(missing)} {text}"
    return None


def _user(pod: _Pod) -> Violation:
    if pod.spec.get("hostUsers") is False:
        return None
    names = pod.named(lambda each: each.get("runAsUser") == 0)
    setters = [
        *(["pod"] if pod.context.get("runAsUser") == 0 else []),
        *([_some(names)] if names else []),
    ]
    if not setters:
        return None
    return "runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0"


def _restricted_seccomp(pod: _Pod) -> Violation:
    allowed = ("RuntimeDefault", "Localhost")
    default = (pod.context.get("seccompProfile") or {}).get("type")
    explicit = pod.named(
        lambda each: (each.get("seccompProfile") or {}).get("type") not in (None, *allowed)
    )
    missing = pod.named(lambda each: (each.get("seccompProfile") or {}).get("type") is None)
    bad_pod = default is not None and default not in allowed
    setters = [*(["pod"] if bad_pod else []), *([_some(explicit)] if explicit else [])]
    if setters:
        return "seccompProfile", (
            f'{" and ".join(setters)} must not set securityContext.seccompProfile.type to "Unconfined"'
        )
    if missing and default is None:
        text = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        return "seccompProfile", f"pod or {_some(missing)} {text}"
    return None


# In the order of upstream's check IDs; a restricted check takes the place of the baseline one that it contains.
_BASELINE = (
    _app_armor,
    _capabilities,
    _host_namespaces,
    _host_path_volumes,
    _host_ports,
    _host_probes,
    _privileged,
    _proc_mount,
    _seccomp_baseline,
    _selinux,
    _sysctls,
    _host_process,
)
_RESTRICTED = (
    _app_armor,
    _host_namespaces,
    _host_ports,
    _host_probes,
    _privileged,
    _proc_mount,
    _selinux,
    _sysctls,
    _host_process,
    _escalation,
    _restricted_capabilities,
    _volume_types,
    _non_root,
    _user,
    _restricted_seccomp,
)
