"""Elastic tabs: consecutive lines that have a cell in a column share that column's width, as in kubectl's output.

The rule is Go's text/tabwriter's: a cell is ended by a tab; a column lasts as long as lines in a row have a cell in it.
"""

PADDING = 2
INDENT = "  "


class Writer:
    """Collects lines at levels of indentation; `text` lines the tabs up."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def line(self, level: int, text: str) -> None:
        """Add a line; tabs end cells."""
        self._lines.append(INDENT * level + text)

    def field(self, level: int, name: str, value: object) -> None:
        """Add `Name:<tab>value`."""
        self.line(level, f"{name}:\t{value}")

    def mapping(self, level: int, name: str, values: dict[str, str], between: str = "=") -> None:
        """Add a map, a line for each key, sorted; `<none>` when it is empty."""
        entries = [f"{key}{between}{values[key]}" for key in sorted(values)] or ["<none>"]
        self.field(level, name, entries[0])
        for entry in entries[1:]:
            self.line(level, f"\t{entry}")

    def text(self) -> str:
        """Return everything, lined up."""
        return elastic(self._lines)


def elastic(lines: list[str]) -> str:
    """Return the lines with their tabs turned into spaces."""
    cells = [line.split("\t") for line in lines]
    done: list[str] = []
    _align(cells, 0, len(cells), [], done)
    return "\n".join(done) + "\n" if done else ""


def _align(
    cells: list[list[str]], begin: int, end: int, widths: list[int], done: list[str]
) -> None:
    column, at = len(widths), begin
    while at < end:
        if column >= len(cells[at]) - 1:
            done.append(_padded(cells[at], widths))
            at += 1
            continue
        block = at
        while at < end and column < len(cells[at]) - 1:
            at += 1
        width = max(len(cells[i][column]) for i in range(block, at)) + PADDING
        _align(cells, block, at, [*widths, width], done)


def _padded(row: list[str], widths: list[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
    return "".join([*padded, row[-1]])
