"""System call filters: profiles compiled to BPF by libseccomp, in the daemon; a container only loads the bytes.

libseccomp is reached through its binding, imported when the first filter is compiled. A filter depends on the
capabilities a container keeps, so there are few, and each is compiled once (about 20 ms).
"""

import errno
import functools
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minipod.linux import seccomp_profile as profile

_EXTRA_ARCHITECTURES = {"x86_64": ("X86", "X32"), "aarch64": ("ARM",)}


@dataclass(frozen=True)
class Condition:
    """A comparison of one argument. With "MASKED_EQ", `value` is the mask and `second` what must remain."""

    index: int
    operator: str  # "EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"
    value: int
    second: int = 0


@dataclass(frozen=True)
class Rule:
    """What happens to some system calls when all conditions hold. Unknown names are skipped."""

    names: tuple[str, ...]
    action: str = "ALLOW"  # "ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRAP"
    errno: int = errno.EPERM
    conditions: tuple[Condition, ...] = ()


@functools.cache
def compile_default(capabilities: tuple[str, ...]) -> bytes:
    """Return the default profile (RuntimeDefault) for a container that keeps these capabilities, as BPF.

    Names without CAP_. Raises OSError where libseccomp is missing or cannot do it.
    """
    return compile_rules(default_rules(frozenset(capabilities)))


def default_rules(capabilities: frozenset[str]) -> list[Rule]:
    """Return the rules of the default profile. Pure, but for the machine's name."""
    rules = [Rule((*profile.ALLOWED, *profile.BY_MACHINE.get(platform.machine(), ())))]
    for name, calls in sorted(profile.BY_CAPABILITY.items()):
        if name in capabilities:
            rules.append(Rule(calls))
    for value in profile.PERSONALITIES:
        rules.append(Rule(("personality",), conditions=(Condition(0, "EQ", value),)))
    rules.append(Rule(profile.MULTIPLEXERS, "ERRNO", errno.ENOSYS))
    for mask, family in profile.SOCKET_FAMILIES:
        wanted = Condition(0, "MASKED_EQ", mask, family)
        rules.append(Rule(("socket",), conditions=(wanted,)))
    if "SYS_ADMIN" not in capabilities:
        no_namespaces = Condition(0, "MASKED_EQ", profile.NAMESPACE_FLAGS, 0)
        rules.append(Rule(("clone",), conditions=(no_namespaces,)))
        # Its flags lie in memory, where no filter can look: ENOSYS makes the C library fall back to clone.
        rules.append(Rule(("clone3",), "ERRNO", errno.ENOSYS))
    return rules


def parse_profile(
    document: Mapping[str, Any], capabilities: Iterable[str]
) -> tuple[list[Rule], Rule]:
    """Return the rules and the default action of a profile in Docker's or the OCI runtime's JSON form (Localhost).

    ValueError names what is not understood.
    """
    kept = {f"CAP_{name}" for name in capabilities}
    try:
        default = _action(document["defaultAction"])
        rules = [
            _parse_rule(entry) for entry in document.get("syscalls") or () if _applies(entry, kept)
        ]
    except (KeyError, TypeError, AttributeError) as failure:
        raise ValueError(f"not a seccomp profile: {failure}") from failure
    return rules, Rule((), default, int(document.get("defaultErrnoRet", errno.EPERM)))


def _parse_rule(entry: Mapping[str, Any]) -> Rule:
    names = entry.get("names") or [entry["name"]]
    conditions = tuple(
        Condition(
            each["index"],
            each["op"].removeprefix("SCMP_CMP_"),
            each["value"],
            each.get("valueTwo", 0),
        )
        for each in entry.get("args") or ()
    )
    number = int(entry.get("errnoRet", errno.EPERM))
    return Rule(tuple(names), _action(entry["action"]), number, conditions)


def _action(name: str) -> str:
    short = name.removeprefix("SCMP_ACT_")
    if short not in ("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRAP"):
        raise ValueError(f'seccomp action "{name}" is not supported')
    return short


def _applies(entry: Mapping[str, Any], kept: set[str]) -> bool:
    """Evaluate Docker's `includes` and `excludes`: capabilities and architectures."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    include, exclude = entry.get("includes") or {}, entry.get("excludes") or {}
    if not set(include.get("caps") or ()) <= kept or set(exclude.get("caps") or ()) & kept:
        return False
    wanted = include.get("arches")
    return (not wanted or machine in wanted) and machine not in (exclude.get("arches") or ())


def compile_rules(rules: Sequence[Rule], default: Rule | None = None) -> bytes:
    """Compile rules to an array of struct sock_filter. What no rule matches gets the default: EPERM when None.

    With the default's EPERM, calls newer than this program get ENOSYS. Raises OSError.
    """
    import pyseccomp

    otherwise = default or Rule((), "ERRNO")
    compiled = _filter(pyseccomp, rules, otherwise, None)
    if default is None:
        unknown = pyseccomp.ERRNO(errno.ENOSYS)
        for number in range(profile.FIRST_UNKNOWN, profile.LAST_UNKNOWN + 1):
            compiled.add_rule(unknown, number)
    for name in _EXTRA_ARCHITECTURES.get(platform.machine(), ()):
        compiled.merge(_filter(pyseccomp, rules, otherwise, getattr(pyseccomp.Arch, name)))
    return _export(compiled)


def _filter(pyseccomp: Any, rules: Sequence[Rule], default: Rule, other: int | None) -> Any:
    """Return the rules as a filter for this machine's own calls, or for those of an `other` architecture."""
    made = pyseccomp.SyscallFilter(_number(pyseccomp, default))
    made.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)  # a binary tree instead of a long line
    if other is not None:
        made.add_arch(other)
        made.remove_arch(pyseccomp.Arch.NATIVE)
    for rule in rules:
        if (rule.action, rule.errno) != (default.action, default.errno):
            _add(pyseccomp, made, rule, native=other is None)
    return made


def _number(pyseccomp: Any, rule: Rule) -> int:
    if rule.action == "ERRNO":
        return int(pyseccomp.ERRNO(rule.errno))
    return int(getattr(pyseccomp, rule.action))


def _add(pyseccomp: Any, compiled: Any, rule: Rule, *, native: bool) -> None:
    arguments = [
        pyseccomp.Arg(each.index, getattr(pyseccomp, each.operator), each.value, each.second)
        for each in rule.conditions
    ]
    action = _number(pyseccomp, rule)
    for name in rule.names:
        number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
        if number == -1 and native:  # this libseccomp is older than the call
            number = profile.NEW_NUMBERS.get(name, -1)
        if number != -1:
            compiled.add_rule(action, number, *arguments)


def _export(compiled: Any) -> bytes:
    with os.fdopen(os.memfd_create("seccomp", os.MFD_CLOEXEC), "w+b") as written:
        compiled.export_bpf(written)
        written.seek(0)
        return written.read()
