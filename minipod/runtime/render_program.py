"""The last steps before a program, as shell: collected, because one `setpriv` does what several calls do."""

import base64
import shlex
from dataclasses import dataclass, field

from minipod.runtime import pause
from minipod.runtime.child_operations import (
    ChangeDirectory,
    Exec,
    ExecPause,
    LimitCapabilities,
    LoadSeccomp,
    OpenTerminal,
    SetCapabilities,
    SetNoNewPrivileges,
    SetUser,
)
from minipod.runtime.operations import Operation
from minipod.runtime.render_commands import Context, place, quote
from minipod.runtime.spec import User

_LATER = "# (with setpriv, at the end)"


@dataclass
class Program:
    """What the steps before the last have asked for."""

    directory: str = "/"
    capabilities: tuple[str, ...] | None = None
    user: User = field(default_factory=User)
    no_new_privileges: bool = False


def program_commands(operation: Operation, program: Program, context: Context) -> list[str] | None:
    """Return the lines for one of the last steps, or None for any other operation."""
    match operation:
        case ChangeDirectory(path):
            program.directory = path
            return [place(path, context.inside("/")), 'mkdir -p "$target"']
        case LimitCapabilities(names):
            program.capabilities = names
            return [_LATER]
        case SetUser(user):
            program.user = user
            return _user_commands(user, context)
        case SetCapabilities():
            return [
                "# permitted and effective follow from the bounding set when the program is executed"
            ]
        case SetNoNewPrivileges():
            program.no_new_privileges = True
            return [_LATER]
        case LoadSeccomp(content):
            return [
                f"# a shell cannot load a seccomp filter ({len(content) // 8} instructions); minipod does"
            ]
        case OpenTerminal():
            return [
                "# a shell has its own terminal; minipod opens one in the new /dev/pts and keeps its other side"
            ]
        case ExecPause():
            return _pause_commands(program)
        case Exec(args, env):
            return _exec_commands(args, env, program)
    return None


def _user_commands(user: User, context: Context) -> list[str]:
    """Return the look-up of uid, gid, groups and home in the image's own files."""
    name, _, group = user.name.partition(":")
    wanted = str(user.uid) if user.uid is not None else name or "0"
    passwd_file, groups = context.inside("/etc/passwd"), context.inside("/etc/group")
    extra = "".join(f",{number}" for number in user.supplementary)
    if user.gid is not None and user.uid is not None and not user.merge_image_groups:
        return [f"uid={user.uid} gid={user.gid} groups={user.gid}{extra} home=/"]
    number = wanted if wanted.isascii() and wanted.isdigit() else ""
    field = "$3" if number else "$1"  # a number is never a name
    lines = [
        f"entry=$(awk -F: -v u={quote(wanted)} '{field}==u {{print; exit}}' {quote(passwd_file)} || :)",
        f"uid={number}" if number else 'uid=$(echo "$entry" | cut -d: -f3)',
        'gid=$(echo "${entry:-x:x:0:0}" | cut -d: -f4)',
        'home=$(echo "$entry" | cut -d: -f6); home=${home:-/}',
    ]
    if user.gid is not None or group:
        lines.append(f"gid={user.gid if user.gid is not None else shlex.quote(group)}")
    lines.append(f"groups=$gid{extra}")
    if user.merge_image_groups and not group:
        members = 'awk -F: -v u="${entry%%:*}" \'(","$4",") ~ (","u",") {printf ",%s",$3}\''
        lines.append(f'[ -z "$entry" ] || groups=$groups$({members} {quote(groups)} || :)')
    return lines


def _setpriv(program: Program) -> str:
    options = ['--reuid "$uid" --regid "$gid" --groups "$groups" --inh-caps=-all']
    if program.capabilities is not None:
        kept = "".join(f",+{name.lower()}" for name in program.capabilities)
        options.append(f"--bounding-set=-all{kept}")
    if program.no_new_privileges:
        options.append("--no-new-privs")
    return f"setpriv {' '.join(options)}"


def _exec_commands(args: tuple[str, ...], env: tuple[str, ...], program: Program) -> list[str]:
    """Return the program's start: all privileges set, then it waits for its root, and executes."""
    variables = [quote(item) for item in env]
    if not any(item.startswith("HOME=") for item in env):
        variables.insert(0, 'HOME="$home"')
    wait = f'echo ready >&8; exec 8>&-; read -r _ <&9; exec 9>&-; cd {quote(program.directory)}; exec "$@"'
    return [
        "# supervision, log pipes and exit codes are the shim's; here the program has this script's streams",
        'exec 8>"$here/ready" 9<>"$here/go"',
        f"exec env -i {' '.join(variables)} \\",
        f"  {_setpriv(program)} \\",
        f"  sh -c {shlex.quote(wait)} sh {' '.join(quote(arg) for arg in args)}",
    ]


def _pause_commands(program: Program) -> list[str]:
    content = base64.b64encode(pause.program()).decode()
    return [
        "# minipod keeps this program in a sealed memory file; a shell needs a file to execute",
        f'echo {content} | base64 -d >"$here/pause"; chmod 755 "$here"; chmod 111 "$here/pause"',
        f'exec env -i {_setpriv(program)} "$here/pause"',
    ]
