"""Label and field selectors, as in `-l` and `--field-selector`, and LabelSelector objects.

Grammar and wording of apimachinery's labels and fields packages.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from minipod.api import names
from minipod.api.kind import Kind

Object = dict[str, Any]

_TOKENS = re.compile(r"\s*(==|!=|[(),=!<>]|[^\s(),=!<>]+)")
_SYMBOLS = frozenset(("==", "!=", "(", ")", ",", "=", "!", "<", ">"))
_OBJECT_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


class SelectorError(ValueError):
    """A selector that cannot be understood; the message says where."""


@dataclass(frozen=True)
class Requirement:
    """One requirement. `operator` is `in`, `notin`, `exists`, `!`, `gt` or `lt`; equality is `in` of one value."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy it. A label that is not there satisfies `notin` and `!`."""
        if self.operator == "exists":
            return self.key in labels
        if self.operator == "!":
            return self.key not in labels
        if self.operator == "in":
            return labels.get(self.key) in self.values
        if self.operator == "notin":
            return labels.get(self.key) not in self.values
        return self._compares(labels.get(self.key))

    def _compares(self, given: str | None) -> bool:
        try:
            actual, bound = int(given or ""), int(next(iter(self.values)))
        except ValueError:
            return False
        return actual > bound if self.operator == "gt" else actual < bound

    def __str__(self) -> str:
        """Return it as it is written in a query; one value of `in` as an equality."""
        values = ",".join(sorted(self.values))
        if self.operator == "exists":
            return self.key
        if self.operator == "!":
            return f"!{self.key}"
        if self.operator == "in" and len(self.values) == 1:
            return f"{self.key}={values}"
        if self.operator in ("in", "notin"):
            return f"{self.key} {self.operator} ({values})"
        return f"{self.key}{'>' if self.operator == 'gt' else '<'}{values}"


@dataclass(frozen=True)
class LabelSelector:
    """A conjunction of requirements; none at all selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels is selected."""
        return all(each.matches(labels or {}) for each in self.requirements)

    def __str__(self) -> str:
        """Return it as it is written in a query, by key: `app=web,tier in (a,b)`."""
        return ",".join(map(str, sorted(self.requirements, key=lambda each: each.key)))


def parse_labels(text: str) -> LabelSelector:
    """Parse `app=web,tier!=db,env in (a,b),!canary`. Raises SelectorError."""
    return LabelSelector(tuple(_LabelParser(text).requirements()))


def from_object(selector: Object | None) -> LabelSelector:
    """Return the selector of a LabelSelector object. An empty one matches everything.

    A missing selector matches nothing upstream: the caller tells the two apart.
    Raises SelectorError for an unknown operator.
    """
    selector = selector or {}
    labels = selector.get("matchLabels") or {}
    found = [Requirement(key, "in", frozenset((value,))) for key, value in labels.items()]
    for each in selector.get("matchExpressions") or ():
        operator = _OBJECT_OPERATORS.get(each.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{each.get("operator")}" is not a valid label selector operator')
        found.append(
            Requirement(each.get("key") or "", operator, frozenset(each.get("values") or ()))
        )
    return LabelSelector(tuple(found))


def selector_text(selector: Object | str | None) -> str:
    """Return a LabelSelector object, a map of labels or a selector in text as one text; "" for none.

    Raises SelectorError for an unknown operator.
    """
    if not selector:
        return ""
    if isinstance(selector, str):
        return selector
    if selector.keys() <= {"matchLabels", "matchExpressions"}:
        return _object_text(selector)
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def _object_text(selector: Object) -> str:
    """Return the text of a LabelSelector object: there an `In` of one value stays what it is."""
    labels = selector.get("matchLabels") or {}
    found = [(key, f"{key}={value}") for key, value in labels.items()]
    for each in from_object({"matchExpressions": selector.get("matchExpressions")}).requirements:
        text = str(each)
        if each.operator == "in":
            text = f"{each.key} in ({','.join(sorted(each.values))})"
        found.append((each.key, text))
    return ",".join(text for _, text in sorted(found, key=lambda pair: pair[0]))


class _LabelParser:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKENS.findall(text)
        self._at = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self._peek() is not None:
            found.append(self._requirement())
            separator = self._next()
            if separator is None:
                break
            if separator != ",":
                raise _unparsed(f"found '{separator}', expected: ',' or 'end of string'")
            if self._peek() is None or self._peek() == ",":
                raise _unparsed(f"found '{self._peek() or ''}', expected: identifier after ','")
        return found

    def _requirement(self) -> Requirement:
        negated = self._accept("!")
        key = self._identifier()
        _check_key(key)
        if negated:
            return Requirement(key, "!")
        if self._peek() in (None, ","):
            return Requirement(key, "exists")
        return self._compared(key, self._next() or "")

    def _compared(self, key: str, operator: str) -> Requirement:
        if operator in ("in", "notin"):
            return Requirement(key, operator, self._set(key))
        if operator in ("=", "==", "!="):
            value = self._value()
            _check_value(key, value)
            return Requirement(key, "notin" if operator == "!=" else "in", frozenset((value,)))
        if operator in ("<", ">"):
            return self._bounded(key, operator)
        expected = "in, notin, =, ==, !=, gt, lt"
        raise _unparsed(f"found '{operator}', expected: {expected}")

    def _bounded(self, key: str, operator: str) -> Requirement:
        value = self._value()
        if not re.fullmatch(r"[+-]?\d+", value):
            raise SelectorError(
                f'values[0][{key}]: Invalid value: "{value}": '
                "for 'Gt', 'Lt' operators, the value must be an integer"
            )
        return Requirement(key, "gt" if operator == ">" else "lt", frozenset((value,)))

    def _set(self, key: str) -> frozenset[str]:
        if not self._accept("("):
            raise _unparsed(f"found '{self._peek() or ''}', expected: '('")
        values: list[str] = []
        while True:
            values.append(self._value())
            _check_value(key, values[-1])
            separator = self._next()
            if separator == ")":
                return frozenset(values)
            if separator != ",":
                raise _unparsed(f"found '{separator or ''}', expected: ',' or ')'")

    def _value(self) -> str:
        """Return the next word, or "" where none stands: `a=` and `a in (b,)` compare with the empty value."""
        word = self._peek()
        if word is None or word in _SYMBOLS:
            return ""
        self._at += 1
        return word

    def _identifier(self) -> str:
        word = self._next()
        if word is None or word in _SYMBOLS:
            raise _unparsed(f"found '{word or ''}', expected: !, identifier, or 'end of string'")
        return word

    def _peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> str | None:
        word = self._peek()
        self._at += 1
        return word

    def _accept(self, symbol: str) -> bool:
        if self._peek() != symbol:
            return False
        self._at += 1
        return True


def _unparsed(why: str) -> SelectorError:
    return SelectorError(f"unable to parse requirement: {why}")


def _check_key(key: str) -> None:
    problems = names.qualified_name(key)
    if problems:
        raise _unparsed(f'<nil>: Invalid value: "{key}": {"; ".join(problems)}')


def _check_value(key: str, value: str) -> None:
    problems = names.label_value(value)
    if problems:
        raise _unparsed(f'values[0][{key}]: Invalid value: "{value}": {"; ".join(problems)}')


@dataclass(frozen=True)
class FieldSelector:
    """A conjunction of `field=value` and `field!=value`, as (field, equal, value)."""

    terms: tuple[tuple[str, bool, str], ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether an object with these field values (`field_values`) is selected."""
        return all((fields.get(name, "") == value) is equal for name, equal, value in self.terms)

    def required(self, name: str) -> str | None:
        """Return the value that a field must have, or None: an index can be used for it."""
        return next((value for field, equal, value in self.terms if equal and field == name), None)


def parse_fields(text: str, kind: Kind) -> FieldSelector:
    """Parse `metadata.name=a,status.phase!=Running`. Raises SelectorError for fields that the kind cannot select by."""
    terms = [_field_term(each) for each in _split_escaped(text) if each]
    own = kind.hooks.fields({})
    supported = {"metadata.name", *own}
    if (
        kind.namespaced or not own
    ):  # what has no namespace and no fields of its own is selected by ""
        supported.add("metadata.namespace")
    for name, _, _ in terms:
        if name not in supported:
            raise SelectorError(_unselectable(name, kind))
    return FieldSelector(tuple(terms))


def _unselectable(name: str, kind: Kind) -> str:
    """Return upstream's sentence: one for kinds with fields of their own, another for those with metadata alone."""
    if kind.hooks.fields({}):
        return f"field label not supported: {name}"
    return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def field_values(kind: Kind, obj: Object) -> dict[str, str]:
    """Return the values that field selectors of this kind compare with."""
    metadata = obj.get("metadata") or {}
    values = {"metadata.name": metadata.get("name", "")}
    if kind.namespaced:
        values["metadata.namespace"] = metadata.get("namespace", "")
    values.update(kind.hooks.fields(obj))
    return values


def compile_selectors(
    kind: Kind, labels: LabelSelector, fields: FieldSelector
) -> Callable[[Object], bool] | None:
    """Return one predicate over objects of a kind, or None when everything is selected."""
    if not labels.requirements and not fields.terms:
        return None

    def selected(obj: Object) -> bool:
        if not labels.matches((obj.get("metadata") or {}).get("labels")):
            return False
        return not fields.terms or fields.matches(field_values(kind, obj))

    return selected


def _split_escaped(text: str) -> list[str]:
    return re.findall(r"(?:\\.|[^,\\])+", text)


def _field_term(term: str) -> tuple[str, bool, str]:
    match = re.match(r"((?:\\.|[^=!\\])*)(==|!=|=)(.*)", term, re.DOTALL)
    if match is None:
        raise SelectorError(f"invalid selector: '{term}'; can't understand '{term}'")
    name, operator, value = match.groups()
    return name.strip(), operator != "!=", _unescape(value)


def _unescape(value: str) -> str:
    """Undo `\\,`, `\\=` and `\\\\`. Raises SelectorError for any other escape and for a bare `=`."""
    plain = re.sub(r"\\([,=\\])", "", value)
    if "\\" in plain:
        raise SelectorError(f'invalid field selector: invalid escape sequence in "{value}"')
    if "=" in plain:
        raise SelectorError(f'invalid field selector: unescaped "=" in value "{value}"')
    return re.sub(r"\\(.)", r"\1", value)
