"""A plan as a shell script of ordinary tools: numbered, commented, and runnable as root.

Rendered from the very steps that are performed, never a second way of deciding. Each process that a plan clones becomes
a small script of its own, since a shell changes its namespaces only by executing the rest of itself through `nsenter`
or `unshare`. Two things are said in another order than minipod does them, each with a comment: the root is changed
last, from outside, because after it a shell has no tools; and processes enter their cgroup before they are cloned.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from minipod.linux.cgroup import CgroupLayout, this_host
from minipod.runtime.child_operations import (
    Clone,
    Exec,
    ExecPause,
    JoinNamespaces,
    NewSession,
    PivotRoot,
    Unshare,
)
from minipod.runtime.operations import EnterCgroup, Step
from minipod.runtime.render_commands import Context, commands
from minipod.runtime.render_program import Program, program_commands

_HEADER = """\
#!/bin/sh
# {title}
#
# The steps that minipod performs with system calls, as ordinary tools. Run as root on a host where nothing is to
# be lost: it trusts its images not to change meanwhile (minipod resolves their paths by openat2), and undoes nothing.
# [daemon], [shim] and [child] say which process of minipod's takes the step.
set -eu
here=$(mktemp -d)
export here
trap 'rm -rf "$here"' EXIT
mkfifo "$here/ready" "$here/go"
wait_for() {{ until read -r said <"$here/ready"; do :; done; [ "$said" = "$1" ] || exit 1; }}

# inside ROOT PATH: where a process in ROOT finds PATH, whose links may be the image's
cat >"$here/inside" <<'END'
root=${{1%/}} at= rest=$2/ links=0
while [ -n "$rest" ]; do
  part=${{rest%%/*}} rest=${{rest#*/}}
  case $part in '' | .) continue ;; ..) at=${{at%/*}}; continue ;; esac
  if [ -L "$root$at/$part" ]; then
    links=$((links + 1)); [ "$links" -le 40 ] || exit 1
    link=$(readlink "$root$at/$part")
    case $link in /*) at= ;; esac
    rest=$link/$rest
  else at=$at/$part; fi
done
printf '%s\n' "${{root:-}}${{at:-/}}"
END
"""
_TRAP = "trap 'echo failed >\"$here/ready\"' EXIT"
_NAMESPACE_OPTIONS = {"mnt": "--mount", "cgroup": "--cgroup", "pid": "--pid"} | {
    name: f"--{name}" for name in ("uts", "ipc", "net")
}


@dataclass
class _Child:
    """A cloned process while its script is being written: segments of lines, the last one open."""

    clone: Clone
    number: int  # of its step
    label: str  # "pause", "container1": names its files
    segments: list[list[str]] = field(default_factory=lambda: [[]])
    outside: list[str] = field(default_factory=list)  # what the main script does to it afterwards
    session: bool = False
    pause: bool = False
    joins_pid: bool = False

    def file(self, segment: int) -> str:
        return f'"$here/{self.label}.{segment + 1}"'


def render(
    steps: Sequence[Step], cgroups: CgroupLayout | None = None, title: str = "A plan"
) -> str:
    """Return the steps as a shell script, for this host's cgroup hierarchies unless others are given. Pure."""
    context = Context(cgroups or this_host())
    main: list[str] = []
    numbered = list(enumerate(steps, 1))
    position = 0
    while position < len(numbered):
        number, step = numbered[position]
        if isinstance(step.operation, Clone):
            end = _end_of_child(steps, position)
            main += _render_child(step.operation, numbered[position:end], context)
            position = end
        else:
            main += _block(number, step, commands(step.operation, context))
            position += 1
    return _HEADER.format(title=" ".join(title.split())) + "\n".join(main) + "\n"


def _end_of_child(steps: Sequence[Step], clone: int) -> int:
    """Return the position after the last step that is part of the child's way to its program."""
    for position in range(clone + 1, len(steps)):
        if isinstance(steps[position].operation, Exec | ExecPause):
            return position + 1
    return len(steps)


def _block(number: int, step: Step, lines: Sequence[str], indent: str = "") -> list[str]:
    """Return one step: an empty line, what it is and why, and its commands."""
    why = f": {step.comment}" if step.comment else ""
    said = " ".join(f"{step.operation.summary()}{why}".split())  # a second line would be no comment
    heading = f"# {number}. [{step.where}] {said}"
    return ["", indent + heading, *(indent + line for line in lines)]


def _render_child(
    clone: Clone, numbered: Sequence[tuple[int, Step]], context: Context
) -> list[str]:
    child = _Child(clone, numbered[0][0], context.label(clone.name))
    context.begin_child(clone.name)
    program = Program()
    pivot: tuple[int, Step] | None = None
    for number, step in numbered[1:]:
        operation = step.operation
        if isinstance(operation, PivotRoot):
            pivot = number, step
            context.new_root = operation.new_root
        else:
            _render_child_step(child, number, step, context, program)
    if pivot is not None:
        child.outside += _block(*pivot, _pivot_commands(clone, pivot[1].operation))
    return _assemble(child, numbered[0][1], context)


def _render_child_step(
    child: _Child, number: int, step: Step, context: Context, program: Program
) -> None:
    operation, lines = step.operation, child.segments[-1]
    if isinstance(operation, JoinNamespaces | Unshare):
        lines += _block(number, step, [_continue_in(child, operation)])
        child.joins_pid |= isinstance(operation, JoinNamespaces) and "pid" in operation.namespaces
        child.segments.append([])
    elif isinstance(operation, NewSession):
        child.session = True
        lines += _block(
            number, step, ["# done: it was started by setsid; the keyring is the kernel's affair"]
        )
    elif isinstance(operation, EnterCgroup):
        lines += _block(number, step, ["# done: the shell entered it before it cloned"])
    elif isinstance(operation, ExecPause):
        child.pause = True
        lines += _block(number, step, program_commands(operation, program, context) or [])
    elif (found := program_commands(operation, program, context)) is not None:
        lines += _block(number, step, found)
    else:
        lines += _block(number, step, commands(operation, context))


def _continue_in(child: _Child, operation: JoinNamespaces | Unshare) -> str:
    options = " ".join(_NAMESPACE_OPTIONS[name] for name in operation.namespaces)
    rest = child.file(len(child.segments))
    if isinstance(operation, Unshare):
        return f"exec unshare {options} --propagation unchanged sh {rest}"
    return f'exec nsenter --target "{operation.target}" {options} sh {rest}'


def _pivot_commands(clone: Clone, operation: object) -> list[str]:
    assert isinstance(operation, PivotRoot)
    pid = f'"${clone.name}_pid"'
    root = shlex.quote(operation.new_root)
    return [
        "# from outside and last: after it the process has no tools; pivot_root moves every process of the namespace",
        f"nsenter --target {pid} --mount sh -c 'cd \"$1\" && exec pivot_root . .' sh {root}",
        f"umount --namespace {pid} --lazy /",
    ]


def _assemble(child: _Child, step: Step, context: Context) -> list[str]:
    """Return what the main script does for a child: write its files, start it, wait, change its root, let it go."""
    lines = _block(child.number, step, ["# the process will do this:"])
    for index, segment in enumerate(child.segments):
        begun = ['echo begun >"$here/ready"'] if index == 0 else []
        lines += _here_document(child.file(index), ["set -eu", _TRAP, *begun, *segment])
    lines += _start(child, context)
    lines += child.outside
    if not child.pause:
        lines.append('echo go >"$here/go"  # everything is ready: it may execute its program')
    return lines


def _here_document(file: str, lines: list[str]) -> list[str]:
    """Return the writing of a file. Its end is a line that is nowhere in it: the rest would run outside the child."""
    content, end = "\n".join(lines).split("\n"), "END"
    while end in content:
        end += "_"
    return [f"cat >{file} <<'{end}'", *lines, end]


def _start(child: _Child, context: Context) -> Iterator[str]:
    clone = child.clone
    name = f"{clone.name}_pid"
    enter = "".join(
        f"echo 0 >{shlex.quote(f'{point}/{clone.cgroup}/cgroup.procs')}; "
        for point in context.cgroups.hierarchies
        if clone.cgroup
    )
    session = "setsid " if child.session else ""
    yield f"({enter}exec {session}{_cloning(clone)} sh {child.file(0)}) &"
    yield "parent=$!"
    yield "wait_for begun"
    if child.joins_pid:  # nsenter has made a child of its own by then
        yield "wait_for ready"
    if "pid" in clone.namespaces or child.joins_pid:
        yield f"{name}=$(ps -o pid= --ppid \"$parent\" | tr -d ' ')"
    else:
        yield f"{name}=$parent"
    yield f"export {name}"
    yield f'echo "{clone.name} is process ${name}"'
    if child.pause:
        yield f'until grep -qx pause "/proc/${name}/comm"; do sleep 0.01; done'
    elif not child.joins_pid:
        yield "wait_for ready"


def _cloning(clone: Clone) -> str:
    """Return the tools that make the new namespaces: unshare forks for a PID namespace."""
    words = []
    if clone.namespaces:
        options = [_NAMESPACE_OPTIONS[name] for name in clone.namespaces]
        fork = ["--fork"] if "pid" in clone.namespaces else []
        words.append(" ".join(["unshare", *options, *fork, "--propagation unchanged"]))
    return " ".join(words)
