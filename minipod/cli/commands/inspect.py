"""`minipod inspect`."""

import sys
from typing import Any

from minipod.cli import options as flags
from minipod.cli.describe.layout import Writer
from minipod.cli.describe.others import words_of
from minipod.cli.invocation import Invocation
from minipod.cli.node_proxy import of_pod
from minipod.cli.pods import pod_name

Object = dict[str, Any]


@flags.command(
    examples="""
    minipod inspect pod/nginx
    minipod inspect nginx -o json
    """
)
@flags.pod_argument
@flags.output
@flags.pass_invocation
def command(invocation: Invocation, pod: str | None, output: str) -> None:
    """Show a Pod as the kernel has it: namespaces, mounts, cgroups and processes, read at this moment."""
    found = of_pod(
        invocation,
        "inspect",
        pod_name(pod, "give the name of a Pod, as in: minipod inspect pod/nginx"),
    )
    if output:
        from minipod.cli.formats import printer

        sys.stdout.write(printer(output)(found))
        return
    sys.stdout.write(text_of(found))


def text_of(found: Object) -> str:
    """Return the facts for people: the Pod's cgroup, its sandboxes, then its containers."""
    w = Writer()
    host = (found.get("host") or {}).get("namespaces") or {}
    cgroup = found.get("cgroup") or {}
    w.field(0, "Cgroup", cgroup.get("path", ""))
    _usage(w, 1, {key: value for key, value in cgroup.items() if key != "path"})
    sandboxes, containers = found.get("sandboxes") or [], found.get("containers") or []
    shared = (sandboxes[0].get("namespaces") or {}) if sandboxes else {}
    for each in sandboxes:
        w.line(0, "Sandbox:")
        w.field(1, "ID", each.get("id", ""))
        w.field(1, "Address", each.get("address", ""))
        _process(w, each, {}, host)
    for each in containers:
        w.line(0, f"Container {each.get('name', '')}:")
        w.field(1, "ID", each.get("id", ""))
        w.field(1, "State", each.get("state", ""))
        w.field(1, "Log", each.get("logPath", ""))
        _process(w, each, shared, host)
        for process in each.get("processes") or []:
            w.field(1, f"Process {process.get('pid')}", process.get("command", ""))
        _usage(w, 1, each.get("usage") or {})
    return w.text()


def _process(w: Writer, facts: Object, shared: Object, host: Object) -> None:
    """Write what is known of a main process; each namespace with whom it is shared."""
    if not facts.get("pid"):
        return
    w.field(1, "Process", facts["pid"])
    for name, value in (facts.get("status") or {}).items():
        w.field(2, name, " ".join(str(value).split()))
    w.line(1, "Namespaces:")
    for name, value in (facts.get("namespaces") or {}).items():
        whose = (
            "the host's"
            if host.get(name) == value
            else "the Pod's"
            if shared.get(name) == value
            else "its own"
        )
        w.line(2, f"{name}:\t{value}\t{whose}")
    for title, key in (("Cgroups", "cgroups"), ("Mounts", "mounts")):
        if facts.get(key):
            w.line(1, f"{title}:")
            for line in facts[key]:
                w.line(2, "\t".join(str(line).split(" ", 3)) if key == "mounts" else str(line))


def _usage(w: Writer, level: int, usage: Object) -> None:
    for name, value in usage.items():
        if value is not None:
            w.field(level, words_of(name.replace("_", " ")), value)
