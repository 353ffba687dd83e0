"""The checks of the Pod Security Standards, each as of the versions that it has (k8s.io/pod-security-admission/policy).

`checks_of(level, minor)` are those of one version, in upstream's order: a restricted check takes the place of the
baseline one that it contains. Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

Object = dict[str, Any]
NEWEST = 36  # the newest version of the standards that is known: of Kubernetes 1.36
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
_SYSCTLS_0 = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_syncookies",
    )
)
_SYSCTLS_27 = _SYSCTLS_0 | {"net.ipv4.ip_local_reserved_ports"}
_SYSCTLS_29 = _SYSCTLS_27 | {
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
}
_SYSCTLS_32 = _SYSCTLS_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
_SELINUX_TYPES_0 = frozenset(("", "container_init_t", "container_kvm_t", "container_t"))
_SELINUX_TYPES_31 = _SELINUX_TYPES_0 | {"container_engine_t"}
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APP_ARMOR_CONTAINER = "container.apparmor.security.beta.kubernetes.io/"
_CONFINED = ("RuntimeDefault", "Localhost")
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


Violation = tuple[str, str] | None


@dataclass(frozen=True)
class Subject:
    """The Pod, or template of one, that is looked at."""

    spec: Object
    metadata: Object

    @property
    def context(self) -> Object:
        """The Pod's own security context."""
        return self.spec.get("securityContext") or {}

    @property
    def annotations(self) -> Object:
        """What older versions said by annotations."""
        return self.metadata.get("annotations") or {}

    @property
    def in_user_namespace(self) -> bool:
        """Whether root in it is nobody on the host: some of the standards are laxer then."""
        return self.spec.get("hostUsers") is False

    @property
    def of_windows(self) -> bool:
        """Whether it is for Windows, where some fields cannot be set."""
        return (self.spec.get("os") or {}).get("name") == "windows"

    def containers(self) -> Iterator[Object]:
        """Yield every container, in upstream's order."""
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


def _capabilities(pod: Subject) -> Violation:
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


def _host_namespaces(pod: Subject) -> Violation:
    given = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(name)]
    return ("host namespaces", ", ".join(given)) if given else None


def _host_path_volumes(pod: Subject) -> Violation:
    names = [
        each.get("name") or "" for each in pod.spec.get("volumes") or () if each.get("hostPath")
    ]
    if not names:
        return None
    return "hostPath volumes", _some(names, "volume", "volumes")


def _host_ports(pod: Subject) -> Violation:
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
    listed = ", ".join(sorted(map(str, set(ports))))
    return "hostPort", f"{_some(names)} {word} {kind} {listed}"


def _privileged(pod: Subject) -> Violation:
    names = pod.named(lambda context: bool(context.get("privileged")))
    if not names:
        return None
    return "privileged", f"{_some(names)} must not set securityContext.privileged=true"


def _proc_mount(pod: Subject) -> Violation:
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


def _seccomp_annotations(pod: Subject) -> Violation:
    keys = [_SECCOMP_POD, *(f"{_SECCOMP_CONTAINER}{each.get('name')}" for each in pod.containers())]
    bad = sorted(
        f'{key}="{value}"'
        for key in dict.fromkeys(keys)
        if (value := pod.annotations.get(key)) is not None
        and value not in ("runtime/default", "docker/default")
        and not value.startswith("localhost/")
    )
    if not bad:
        return None
    word = "annotation" if len(bad) == 1 else "annotations"
    return "seccompProfile", f"forbidden {word} {', '.join(bad)}"


def _seccomp_baseline(pod: Subject) -> Violation:
    values: set[str] = set()
    setters = _setters(pod, "seccompProfile", values)
    if not setters:
        return None
    text = f"must not set securityContext.seccompProfile.type to {_quoted(sorted(values))}"
    return "seccompProfile", f"{' and '.join(setters)} {text}"


def _selinux(types: frozenset[str], pod: Subject) -> Violation:
    bad_types: set[str] = set()
    fields: set[str] = set()

    def wrong(context: Object) -> bool:
        options = context.get("seLinuxOptions") or {}
        kind = options.get("type") or ""
        given = {name for name in ("user", "role") if options.get(name)}
        fields.update(given)
        if kind not in types:
            bad_types.add(kind)
        return bool(given) or kind not in types

    setters = ["pod"] if wrong(pod.context) else []
    names = pod.named(wrong)
    if names:
        setters.append(_some(names))
    if not setters:
        return None
    what = [_some(sorted(bad_types), "type", "types")] if bad_types else []
    what += [f"{name} may not be set" for name in ("user", "role") if name in fields]
    text = f"set forbidden securityContext.seLinuxOptions: {'; '.join(what)}"
    return "seLinuxOptions", f"{' and '.join(setters)} {text}"


def _sysctls(allowed: frozenset[str], pod: Subject) -> Violation:
    given = [each.get("name") or "" for each in pod.context.get("sysctls") or ()]
    bad = [name for name in given if name not in allowed]
    return ("forbidden sysctls", ", ".join(bad)) if bad else None


def _app_armor(pod: Subject) -> Violation:
    values: set[str] = set()
    setters = _setters(pod, "appArmorProfile", values)
    listed = sorted(values)
    annotated = sorted(
        f'{key}="{value}"'
        for key, value in pod.annotations.items()
        if key.startswith(_APP_ARMOR_CONTAINER)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    if annotated:
        listed += annotated
        setters.append("annotation" if len(annotated) == 1 else "annotations")
    if not setters:
        return None
    many = "" if len(listed) == 1 else "s"
    text = f"must not set AppArmor profile type to {_quoted(listed)}"
    return f"forbidden AppArmor profile{many}", f"{' and '.join(setters)} {text}"


def _setters(pod: Subject, profile: str, values: set[str]) -> list[str]:
    """Return who sets a profile other than the confining ones, and add which."""

    def wrong(context: Object) -> bool:
        found = (context.get(profile) or {}).get("type")
        if found is None or found in _CONFINED:
            return False
        values.add(found)
        return True

    of_pod = ["pod"] if wrong(pod.context) else []
    names = pod.named(wrong)
    return [*of_pod, *([_some(names)] if names else [])]


def _host_process(pod: Subject) -> Violation:
    wrong_pod = (pod.context.get("windowsOptions") or {}).get("hostProcess")
    names = pod.named(lambda each: bool((each.get("windowsOptions") or {}).get("hostProcess")))
    setters = [*(["pod"] if wrong_pod else []), *([_some(names)] if names else [])]
    if not setters:
        return None
    text = "must not set securityContext.windowsOptions.hostProcess=true"
    return "hostProcess", f"{' and '.join(setters)} {text}"


def _host_probes(pod: Subject) -> Violation:
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
        if found:
            names.append(container.get("name") or "")
            hosts |= found
    if not names:
        return None
    word = "uses" if len(names) == 1 else "use"
    kind = "host" if len(hosts) == 1 else "hosts"
    return (
        "probe or lifecycle host",
        f"{_some(sorted(names))} {word} probe or lifecycle {kind} {_quoted(sorted(hosts))}",
    )


# -- restricted ------------------------------------------------------------------------------------


def _escalation(pod: Subject) -> Violation:
    names = pod.named(lambda each: each.get("allowPrivilegeEscalation") is not False)
    if not names:
        return None
    text = "must set securityContext.allowPrivilegeEscalation=false"
    return "allowPrivilegeEscalation != false", f"{_some(names)} {text}"


def _restricted_capabilities(pod: Subject) -> Violation:
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


def _volume_types(pod: Subject) -> Violation:
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


def _non_root(pod: Subject) -> Violation:
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


def _user(pod: Subject) -> Violation:
    names = pod.named(lambda each: each.get("runAsUser") == 0)
    setters = [
        *(["pod"] if pod.context.get("runAsUser") == 0 else []),
        *([_some(names)] if names else []),
    ]
    if not setters:
        return None
    return "runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0"


def _restricted_seccomp(pod: Subject) -> Violation:
    if found := _seccomp_baseline(pod):
        return found
    default = (pod.context.get("seccompProfile") or {}).get("type")
    missing = pod.named(lambda each: (each.get("seccompProfile") or {}).get("type") is None)
    if not missing or default is not None:
        return None
    text = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return "seccompProfile", f"pod or {_some(missing)} {text}"


# -- which check holds in which version ------------------------------------------------------------

Run = Callable[[Subject], Violation]


def _unless_windows(check: Run) -> Run:
    return lambda pod: None if pod.of_windows else check(pod)


def _unless_in_user_namespace(check: Run) -> Run:
    return lambda pod: None if pod.in_user_namespace else check(pod)


@dataclass(frozen=True)
class Check:
    """One check: from which minor version of Kubernetes on it is done how, and which it takes the place of."""

    name: str
    versions: tuple[tuple[int, Run], ...]
    instead_of: str = ""

    def as_of(self, minor: int) -> Run | None:
        """Return how it was done in a version, None when it was not done yet."""
        found = [run for since, run in self.versions if since <= minor]
        return found[-1] if found else None


# Sorted by upstream's names, which is the order in which violations are told.
_BASELINE = (
    Check("appArmorProfile", ((0, _app_armor),)),
    Check("capabilities_baseline", ((0, _capabilities),)),
    Check("hostNamespaces", ((0, _host_namespaces),)),
    Check("hostPathVolumes", ((0, _host_path_volumes),)),
    Check("hostPorts", ((0, _host_ports),)),
    Check("hostProbesAndHostLifecycle", ((34, _host_probes),)),
    Check("privileged", ((0, _privileged),)),
    Check("procMount", ((0, _proc_mount), (35, _unless_in_user_namespace(_proc_mount)))),
    Check(
        "seLinuxOptions",
        ((0, partial(_selinux, _SELINUX_TYPES_0)), (31, partial(_selinux, _SELINUX_TYPES_31))),
    ),
    Check("seccompProfile_baseline", ((0, _seccomp_annotations), (19, _seccomp_baseline))),
    Check(
        "sysctls",
        (
            (0, partial(_sysctls, _SYSCTLS_0)),
            (27, partial(_sysctls, _SYSCTLS_27)),
            (29, partial(_sysctls, _SYSCTLS_29)),
            (32, partial(_sysctls, _SYSCTLS_32)),
        ),
    ),
    Check("windowsHostProcess", ((0, _host_process),)),
)
_RESTRICTED = (
    Check("allowPrivilegeEscalation", ((8, _escalation), (25, _unless_windows(_escalation)))),
    Check(
        "capabilities_restricted",
        ((22, _restricted_capabilities), (25, _unless_windows(_restricted_capabilities))),
        instead_of="capabilities_baseline",
    ),
    Check("procMount_restricted", ((35, _proc_mount),), instead_of="procMount"),
    Check("restrictedVolumes", ((0, _volume_types),), instead_of="hostPathVolumes"),
    Check("runAsNonRoot", ((0, _non_root), (35, _unless_in_user_namespace(_non_root)))),
    Check("runAsUser", ((23, _user), (35, _unless_in_user_namespace(_user)))),
    Check(
        "seccompProfile_restricted",
        ((19, _restricted_seccomp), (25, _unless_windows(_restricted_seccomp))),
        instead_of="seccompProfile_baseline",
    ),
)


@cache
def checks_of(level: str, minor: int) -> tuple[Run, ...]:
    """Return the checks of a level as a version had them; newer versions than the newest are that one."""
    minor = min(minor, NEWEST)
    strict = _RESTRICTED if level == "restricted" else ()
    replaced = {each.instead_of for each in strict if each.as_of(minor)}
    kept = [each for each in _BASELINE if each.name not in replaced]
    return tuple(run for each in (*kept, *strict) if (run := each.as_of(minor)))
