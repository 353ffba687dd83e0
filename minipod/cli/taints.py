"""`taint`: what KEY=VALUE:EFFECT and KEY:EFFECT- on the command line make of a Node's taints."""

import re
from dataclasses import dataclass
from typing import Any

from minipod.api.names import label_value, qualified_name
from minipod.cli.errors import CliError

Object = dict[str, Any]
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_CHANGE = re.compile(r"[=:]|-$")


@dataclass(frozen=True)
class Taint:
    """One taint; of one to remove the effect may be "" (all effects of the key)."""

    key: str
    effect: str
    value: str = ""

    def matches(self, taint: Object) -> bool:
        """Whether a Node's taint is this one: key and effect make it, the value is what it says."""
        return taint["key"] == self.key and self.effect in ("", taint["effect"])

    def object(self) -> Object:
        """Return the taint as a Node has it."""
        value = {"value": self.value} if self.value else {}
        return {"key": self.key, **value, "effect": self.effect}


@dataclass(frozen=True)
class Changes:
    """What a command line asks for."""

    adding: tuple[Taint, ...]
    removing: tuple[Taint, ...]


def split(args: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words that name nodes, and those that say what to change. Raises CliError."""
    first = next((i for i, each in enumerate(args) if _CHANGE.search(each)), len(args))
    late = next((each for each in args[first:] if not _CHANGE.search(each)), None)
    if late is not None:
        raise CliError(f"all resources must be specified before taint changes: {late}")
    return args[:first], args[first:]


def parse(changes: tuple[str, ...]) -> Changes:
    """Return the changes that the words ask for. Raises CliError, in kubectl's words."""
    adding: list[Taint] = []
    removing: list[Taint] = []
    for word in changes:
        taint = _taint(word.removesuffix("-"))
        if word.endswith("-"):
            removing.append(taint)
            continue
        if not taint.effect:
            raise CliError(f"invalid taint spec: {word}")
        if any((each.key, each.effect) == (taint.key, taint.effect) for each in adding):
            raise CliError(f"duplicated taints with the same key and effect: {word}")
        adding.append(taint)
    both = [each for each in removing for other in adding if each.matches(other.object())]
    if both:
        named = ", ".join(f'{{"{each.key}":"{each.effect}"}}' for each in both)
        raise CliError(
            f"can not both modify and remove the following taint(s) in the same command: {named}"
        )
    return Changes(tuple(adding), tuple(removing))


def _taint(text: str) -> Taint:
    """Return the taint of `KEY`, `KEY:EFFECT` or `KEY=VALUE:EFFECT`."""
    assignment, *effects = text.split(":")
    key, *values = assignment.split("=")
    if len(effects) > 1 or len(values) > 1 or (values and not effects):
        raise CliError(f"invalid taint spec: {text}")
    effect, value = "".join(effects), "".join(values)
    if effects and effect not in EFFECTS:
        raise CliError(f"invalid taint effect: {effect}, unsupported taint effect")
    problems = [*label_value(value), *qualified_name(key)]
    if problems:
        raise CliError(f"invalid taint spec: {text}, {'; '.join(problems)}")
    return Taint(key, effect, value)


def compute_taints(node: Object, changes: Changes, *, overwrite: bool) -> tuple[list[Object], str]:
    """Return the node's taints after the changes, and the word for what was done. Raises CliError."""
    name = node["metadata"]["name"]
    present: list[Object] = (node.get("spec") or {}).get("taints") or []
    clashes = [each.key for each in changes.adding if any(map(each.matches, present))]
    if clashes and not overwrite:
        raise CliError(
            f"node {name} already has {','.join(clashes)} taint(s) with same effect(s) and --overwrite is false"
        )
    for gone in changes.removing:
        if not any(map(gone.matches, present)):
            shown = f"{gone.key}:{gone.effect}" if gone.effect else gone.key
            raise CliError(f'taint "{shown}" not found')
    replaced = (*changes.adding, *changes.removing)
    kept = [each for each in present if not any(one.matches(each) for one in replaced)]
    if overwrite or (changes.adding and changes.removing):
        word = "modified"
    else:
        word = "tainted" if changes.adding else "untainted"
    return [each.object() for each in changes.adding] + kept, word
