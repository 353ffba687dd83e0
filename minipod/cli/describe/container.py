"""One container of a Pod's description."""

from typing import Any

from minipod.cli.describe.common import optional_text
from minipod.cli.describe.layout import Writer
from minipod.cli.times import rfc1123

Object = dict[str, Any]


def container_lines(w: Writer, pod: Object, container: Object, status: Object | None) -> None:
    """Write a container: image, ports, command, state, resources, environment, mounts."""
    w.line(1, f"{container['name']}:")
    if status is not None:
        w.field(2, "Container ID", status.get("containerID", ""))
    w.field(2, "Image", container.get("image", ""))
    if status is not None:
        w.field(2, "Image ID", status.get("imageID", ""))
    _ports(w, container.get("ports") or [])
    for title, key in (("Command", "command"), ("Args", "args")):
        if container.get(key):
            w.line(2, f"{title}:")
            for word in container[key]:
                for line in word.split("\n"):
                    w.line(3, line)
    if status is not None:
        _status(w, status)
    _resources(w, container.get("resources") or {})
    for title, key in (
        ("Liveness", "livenessProbe"),
        ("Readiness", "readinessProbe"),
        ("Startup", "startupProbe"),
    ):
        if container.get(key):
            w.field(2, title, probe_text(container[key]))
    _environment_from(w, container.get("envFrom") or [])
    _environment(w, pod, container.get("env") or [])
    _mounts(w, container.get("volumeMounts") or [])


def _ports(w: Writer, ports: list[Object]) -> None:
    inside = ", ".join(_port(each, "containerPort") for each in ports)
    outside = ", ".join(_port(each, "hostPort") for each in ports)
    plural = "s" if len(ports) > 1 else ""
    w.field(2, f"Port{plural}", inside or "<none>")
    w.field(2, f"Host Port{plural}", outside or "<none>")


def _port(port: Object, key: str) -> str:
    return f"{port.get(key, 0)}/{port.get('protocol', 'TCP')}"


def _status(w: Writer, status: Object) -> None:
    _state(w, "State", status.get("state") or {})
    last = status.get("lastState") or {}
    if last.get("terminated"):
        _state(w, "Last State", last)
    w.field(2, "Ready", "True" if status.get("ready") else "False")
    w.field(2, "Restart Count", status.get("restartCount", 0))


def _state(w: Writer, title: str, state: Object) -> None:
    if "running" in state:
        w.field(2, title, "Running")
        w.field(3, "Started", rfc1123((state["running"] or {}).get("startedAt")))
    elif "terminated" in state:
        ended = state["terminated"]
        w.field(2, title, "Terminated")
        for name in ("reason", "message"):
            if ended.get(name):
                w.field(3, name.capitalize(), ended[name])
        w.field(3, "Exit Code", ended.get("exitCode", 0))
        if ended.get("signal"):
            w.field(3, "Signal", ended["signal"])
        w.field(3, "Started", rfc1123(ended.get("startedAt")))
        w.field(3, "Finished", rfc1123(ended.get("finishedAt")))
    else:
        w.field(2, title, "Waiting")
        if (state.get("waiting") or {}).get("reason"):
            w.field(3, "Reason", state["waiting"]["reason"])


def _resources(w: Writer, resources: Object) -> None:
    for title in ("limits", "requests"):
        if resources.get(title):
            w.line(2, f"{title.capitalize()}:")
            for name in sorted(resources[title]):
                w.field(3, name, resources[title][name])


def probe_text(probe: Object) -> str:
    """Return a probe in one line, defaults filled in."""
    timing = (
        f"delay={probe.get('initialDelaySeconds', 0)}s timeout={probe.get('timeoutSeconds', 1)}s "
        f"period={probe.get('periodSeconds', 10)}s #success={probe.get('successThreshold', 1)} "
        f"#failure={probe.get('failureThreshold', 3)}"
    )
    if "exec" in probe:
        return f"exec [{' '.join(probe['exec'].get('command') or [])}] {timing}"
    if "httpGet" in probe:
        get = probe["httpGet"]
        url = f"{get.get('scheme', 'HTTP').lower()}://{get.get('host', '')}:{get.get('port')}{get.get('path', '')}"
        return f"http-get {url} {timing}"
    if "tcpSocket" in probe:
        tcp = probe["tcpSocket"]
        return f"tcp-socket {tcp.get('host', '')}:{tcp.get('port')} {timing}"
    if "grpc" in probe:
        return f"grpc <pod>:{probe['grpc'].get('port')} {probe['grpc'].get('service', '')} {timing}"
    return f"unknown {timing}"


def _environment_from(w: Writer, sources: list[Object]) -> None:
    if not sources:
        return
    w.line(2, "Environment Variables from:")
    for each in sources:
        kind, key = (
            ("ConfigMap", "configMapRef") if "configMapRef" in each else ("Secret", "secretRef")
        )
        source = each.get(key) or {}
        prefix = f" with prefix '{each['prefix']}'" if each.get("prefix") else ""
        optional = optional_text(source.get("optional"))
        w.line(3, f"{source.get('name', '')}\t{kind}{prefix}\tOptional: {optional}")


def _environment(w: Writer, pod: Object, variables: list[Object]) -> None:
    if not variables:
        w.field(2, "Environment", "<none>")
        return
    w.line(2, "Environment:")
    for each in variables:
        first, *more = _value(pod, each).split("\n")
        w.line(3, f"{each['name']}:\t{first}")
        for line in more:
            w.line(3, f"\t{line}")


def _value(pod: Object, variable: Object) -> str:
    source = variable.get("valueFrom")
    if not source:
        return str(variable.get("value", ""))
    if "fieldRef" in source:
        ref = source["fieldRef"]
        return f"{_field(pod, ref['fieldPath'])} ({ref.get('apiVersion', 'v1')}:{ref['fieldPath']})"
    if "resourceFieldRef" in source:
        return f" ({source['resourceFieldRef'].get('resource')})"
    if "fileKeyRef" in source:
        ref = source["fileKeyRef"]
        return (
            f"<set to the key '{ref.get('key')}' in file '{ref.get('path')}' of volume "
            f"'{ref.get('volumeName')}'>\tOptional: {optional_text(ref.get('optional'))}"
        )
    if "secretKeyRef" in source:
        ref, where = source["secretKeyRef"], "in secret"
    else:
        ref, where = source.get("configMapKeyRef") or {}, "of config map"
    optional = optional_text(ref.get("optional"))
    return f"<set to the key '{ref.get('key')}' {where} '{ref.get('name')}'>\tOptional: {optional}"


def _field(pod: Object, path: str) -> str:
    found: Any = pod
    for part in path.split("."):
        found = found.get(part, {}) if isinstance(found, dict) else {}
    return str(found) if found and not isinstance(found, dict) else ""


def _mounts(w: Writer, mounts: list[Object]) -> None:
    if not mounts:
        w.field(2, "Mounts", "<none>")
        return
    w.line(2, "Mounts:")
    for mount in sorted(mounts, key=lambda each: str(each.get("mountPath"))):
        ways = ["ro" if mount.get("readOnly") else "rw"]
        if mount.get("subPath"):
            ways.append(f'path="{mount["subPath"]}"')
        w.line(3, f"{mount.get('mountPath')} from {mount['name']} ({','.join(ways)})")
