"""JSONPath templates as kubectl has them: `{.items[*].metadata.name}`, `{range .items[*]}...{end}`, filters.

Grammar: https://kubernetes.io/docs/reference/kubectl/jsonpath/. Missing fields yield nothing. Parsed once, then
evaluated over any number of objects.
"""

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from minipod.cli.errors import CliError

Values = list[Any]
Step = Callable[[Iterable[Any], Any], Iterator[Any]]  # (values, root) -> values
_NAME = re.compile(r"(?:\\.|[^\s.\[\](){}'\"=!<>,?@$*\\])+")
_COMPARE = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*")
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}


class Path:
    """One path, such as `.status.conditions[?(@.type=="Ready")].status`."""

    def __init__(self, steps: list[Step], text: str) -> None:
        self._steps = steps
        self.text = text

    def values(self, root: Any, current: Any = None) -> Values:
        """Return everything the path matches, starting at `current` (else `root`)."""
        found: Iterable[Any] = [root if current is None else current]
        for step in self._steps:
            found = step(found, root)
        return list(found)


def parse_path(text: str) -> Path:
    """Return the path of `.a.b`, `a.b`, `{.a.b}` or `$.a.b`. Raises CliError naming the text."""
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    parser = _Parser(inner)
    path = parser.path(relaxed=True)
    if parser.rest():
        raise parser.wrong("unexpected text")
    return path


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def rest(self) -> str:
        return self.text[self.at :]

    def wrong(self, why: str) -> CliError:
        return CliError(f'error parsing jsonpath "{self.text}": {why} at "{self.rest()[:20]}"')

    def take(self, word: str) -> bool:
        if self.text.startswith(word, self.at):
            self.at += len(word)
            return True
        return False

    def path(self, relaxed: bool = False) -> Path:
        begin, steps = self.at, list[Step]()
        if not self.take("@"):
            if self.take("$"):
                steps.append(_root)
            elif relaxed and _NAME.match(self.text, self.at):
                steps.append(_field(self._name()))
        while self.at < len(self.text):
            step = self._step()
            if step is None:
                break
            steps.append(step)
        return Path(steps, self.text[begin : self.at])

    def _step(self) -> Step | None:
        if self.take(".."):
            return _descend(
                None if self.take("*") else self._name() if self.rest()[:1] != "[" else None
            )
        if self.take("."):
            if self.take("*"):
                return _children
            return _field(self._name()) if self.rest()[:1] not in ("", "[", ")", " ") else _same
        return self._bracket() if self.take("[") else None

    def _name(self) -> str:
        found = _NAME.match(self.text, self.at)
        if not found:
            raise self.wrong("a field name is missing")
        self.at = found.end()
        return re.sub(r"\\(.)", r"\1", found.group())

    def _bracket(self) -> Step:
        if self.take("?("):
            step = self._filter()
            if not self.take(")"):
                raise self.wrong("unterminated filter")
        else:
            step = self._union()
        if not self.take("]"):
            raise self.wrong("unterminated array")
        return step

    def _union(self) -> Step:
        steps = [self._element()]
        while self.take(","):
            steps.append(self._element())
        return steps[0] if len(steps) == 1 else _together(steps)

    def _element(self) -> Step:
        self.at += len(self.rest()) - len(self.rest().lstrip())
        if self.take("*"):
            return _children
        if self.rest()[:1] in ("'", '"'):
            return _field(self._quoted())
        found = re.compile(r"(-?\d*)(:)?(-?\d*)(?::(\d+))?").match(self.text, self.at)
        if not found or not found.group():
            raise self.wrong("invalid array index")
        self.at = found.end()
        first, colon, last, step = found.groups()
        if not colon:
            return _index(int(first))
        return _slice(int(first) if first else None, int(last) if last else None, int(step or 1))

    def _quoted(self) -> str:
        quote, found = (
            self.text[self.at],
            re.compile(r"(['\"])((?:\\.|(?!\1).)*)\1").match(self.text, self.at),
        )
        if not found:
            raise self.wrong(f"unterminated {quote}")
        self.at = found.end()
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1)), found.group(2))

    def _operand(self) -> Path | Any:
        rest = self.rest()
        if rest[:1] in ("'", '"'):
            return self._quoted()
        if rest[:1] in ("@", "$", "."):
            return self.path()
        found = re.compile(r"[^\s)=!<>]+").match(self.text, self.at)
        if not found:
            raise self.wrong("a value is missing")
        self.at = found.end()
        try:
            return json.loads(found.group())
        except ValueError:
            return found.group()

    def _filter(self) -> Step:
        left = self._operand()
        sign = _COMPARE.match(self.text, self.at)
        if not sign:
            return _having(left)
        self.at = sign.end()
        return _comparing(left, sign.group(1), self._operand())


def _root(values: Iterable[Any], root: Any) -> Iterator[Any]:
    yield root


def _same(values: Iterable[Any], _root: Any) -> Iterator[Any]:
    yield from values


def _children(values: Iterable[Any], _root: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, dict):
            yield from (value[key] for key in sorted(value))
        elif isinstance(value, list):
            yield from value


def _field(name: str) -> Step:
    def step(values: Iterable[Any], _root: Any) -> Iterator[Any]:
        for value in values:
            if isinstance(value, dict) and name in value:
                yield value[name]

    return step


def _index(number: int) -> Step:
    def step(values: Iterable[Any], _root: Any) -> Iterator[Any]:
        for value in values:
            if isinstance(value, list) and -len(value) <= number < len(value):
                yield value[number]

    return step


def _slice(first: int | None, last: int | None, by: int) -> Step:
    def step(values: Iterable[Any], _root: Any) -> Iterator[Any]:
        for value in values:
            if isinstance(value, list):
                yield from value[first:last:by]

    return step


def _together(steps: list[Step]) -> Step:
    def step(values: Iterable[Any], root: Any) -> Iterator[Any]:
        for value in values:
            for each in steps:
                yield from each([value], root)

    return step


def _descend(name: str | None) -> Step:
    def step(values: Iterable[Any], root: Any) -> Iterator[Any]:
        for value in values:
            if name is None:
                yield value
            elif isinstance(value, dict) and name in value:
                yield value[name]
            yield from step(_children([value], root), root)

    return step


def _having(path: Any) -> Step:
    def step(values: Iterable[Any], root: Any) -> Iterator[Any]:
        for each in _children(values, root):
            if not isinstance(path, Path) or path.values(root, each):
                yield each

    return step


def _comparing(left: Any, sign: str, right: Any) -> Step:
    def operand(side: Any, root: Any, each: Any) -> Values:
        return side.values(root, each) if isinstance(side, Path) else [side]

    def step(values: Iterable[Any], root: Any) -> Iterator[Any]:
        for each in _children(values, root):
            lefts, rights = operand(left, root, each), operand(right, root, each)
            if lefts and rights and _compare(lefts[0], sign, rights[0]):
                yield each

    return step


def _compare(left: Any, sign: str, right: Any) -> bool:
    if isinstance(left, str) != isinstance(right, str):
        left, right = text_of(left), text_of(right)
    try:
        return bool(_OPERATORS[sign](left, right))
    except TypeError:
        return False


class Template:
    """A whole template: text, `{paths}`, quoted strings in braces, and `{range}` ... `{end}`."""

    def __init__(self, text: str) -> None:
        pieces = _split(text)
        self._nodes = _nest(pieces, text)

    def render(self, obj: Any) -> str:
        """Return the template filled in from one object."""
        return "".join(_render(self._nodes, obj, obj))

    def values(self, obj: Any) -> Values:
        """Return the values of every path of the template, unformatted."""
        return [
            value for kind, what, _ in self._nodes if kind == "path" for value in what.values(obj)
        ]


Node = tuple[str, Any, "list[Node]"]  # (kind, text or Path, nodes of a range)


def _split(text: str) -> list[tuple[str, str]]:
    pieces, at = [], 0
    while at < len(text):
        opening = text.find("{", at)
        if opening < 0:
            pieces.append(("text", text[at:]))
            break
        if opening > at:
            pieces.append(("text", text[at:opening]))
        at = _closing(text, opening) + 1
        pieces.append(("braces", text[opening + 1 : at - 1].strip()))
    return pieces


def _closing(text: str, opening: int) -> int:
    quote = ""
    for at in range(opening + 1, len(text)):
        letter = text[at]
        if quote:
            if letter == quote and text[at - 1] != "\\":
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter == "}":
            return at
    raise CliError(f'error parsing jsonpath "{text}": unclosed action')


def _nest(pieces: list[tuple[str, str]], text: str) -> list[Node]:
    stack: list[list[Node]] = [[]]
    for kind, piece in pieces:
        if kind == "text":
            stack[-1].append(("text", piece, []))
        elif piece.startswith("range ") or piece == "range":
            body: list[Node] = []
            stack[-1].append(("range", parse_path(piece[5:].strip() or "@"), body))
            stack.append(body)
        elif piece == "end":
            if len(stack) == 1:
                raise CliError(f'error parsing jsonpath "{text}": {{end}} without {{range}}')
            stack.pop()
        else:
            stack[-1].append(_action(piece))
    if len(stack) > 1:
        raise CliError(f'error parsing jsonpath "{text}": {{range}} without {{end}}')
    return stack[0]


def _action(piece: str) -> Node:
    if piece[:1] in ("'", '"'):
        parser = _Parser(piece)
        return ("text", parser._quoted(), [])
    return ("path", parse_path(piece), [])


def _render(nodes: list[Node], root: Any, current: Any) -> Iterator[str]:
    for kind, what, body in nodes:
        if kind == "text":
            yield what
        elif kind == "path":
            yield " ".join(text_of(each) for each in what.values(root, current))
        else:
            for each in what.values(root, current):
                yield from _render(body, root, each)


def text_of(value: Any) -> str:
    """Return a value as a template prints it: strings bare, everything else as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value is not None else ""
