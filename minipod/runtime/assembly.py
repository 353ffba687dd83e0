"""Writes programs for the machine: instructions, the data that they point to, and what to say when one fails.

Pure: nothing here touches the host. Descriptors and numbers that are known only when a process is started are
`inputs`, cells that are filled in for each start, so that one program serves many starts.
"""

import array
import os
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from minipod.linux.kernel import NUMBERS
from minipod.runtime import machine

_WORD = (1 << 64) - 1
_MOST_INPUTS = 16
_BYTES = 8 * machine.WORDS  # of an instruction
FAILED = 16  # bytes of the message that tells of a failure: the instruction's address, the error's number


class Cell(NamedTuple):
    """Eight bytes at `address`. As an argument of a call it stands for its content when the call is made."""

    address: int


class Note(NamedTuple):
    """What to say of an instruction that fails. `sentence` instead of call and error; `errno` instead of its own."""

    step: int
    call: str
    path: str | None = None
    sentence: str = ""
    errno: int | None = None
    reason: str = ""


class TooLargeError(ValueError):
    """What was to be written does not fit into its place."""


class _Code:
    """Instructions from `begin` on, as words."""

    def __init__(self, begin: int, limit: int) -> None:
        self.begin, self.limit = begin, limit
        self.words: list[int] = []

    @property
    def end(self) -> int:
        return self.begin + 8 * len(self.words)

    def content(self) -> bytes:
        """Return the instructions. TooLargeError when there are too many."""
        if self.end > self.limit:
            raise TooLargeError("the program of a new process is too large")
        return array.array("Q", self.words).tobytes()


class _Data:
    """Content from `begin` on."""

    def __init__(self, begin: int, limit: int) -> None:
        self.begin, self.limit = begin, limit
        self.bytes = bytearray()

    def append(self, content: bytes) -> int:
        """Return the address of the content, eight bytes aligned. TooLargeError when there is too much."""
        address = self.begin + len(self.bytes)
        self.bytes += content
        if over := len(content) & 7:
            self.bytes += bytes(8 - over)
        if address + len(content) > self.limit:
            raise TooLargeError("the program of a new process is too large")
        return address

    def content(self) -> bytes:
        """Return the content."""
        return bytes(self.bytes)


class Label:
    """A place in the code, known once it is placed."""

    __slots__ = ("address", "users")

    def __init__(self) -> None:
        self.address = 0
        self.users: list[tuple[list[int], int, int]] = []  # words, index, by how much to shift


class Part(NamedTuple):
    """Code that many programs have in common, compiled for one place: `code` from `begin` on, and its data.

    Where it goes on, and what some of its cells hold, each program fills in.
    """

    begin: int
    code: bytes
    data_begin: int
    data: bytes
    notes: Mapping[int, Note]


@dataclass(frozen=True)
class Program:
    """A finished program: its memory by address, its inputs by name, and what to say of each instruction."""

    regions: tuple[tuple[int, bytes], ...]
    inputs: Mapping[str, Cell]
    notes: Mapping[int, Note] = field(repr=False)
    stamps: tuple[int, ...] = ()  # the step (-1: the begin) that each time is the end of

    def write(self, file: int, values: Mapping[str, int]) -> None:
        """Write the program and its inputs into an empty file. KeyError for an input without a value."""
        os.ftruncate(file, machine.END - machine.PROGRAM)
        for address, content in self.regions:
            os.pwrite(file, content, address - machine.PROGRAM)
        if self.inputs:  # which lie in their order, side by side
            words = array.array("q", [values[name] for name in self.inputs]).tobytes()
            os.pwrite(file, words, machine.CELLS - machine.PROGRAM)


class Assembler:
    """A program that is being written: its instructions follow each other in the order of the calls."""

    def __init__(
        self,
        inputs: Collection[str] = (),
        numbers: Mapping[str, int] = NUMBERS,
        *,
        noted: bool = True,
    ) -> None:
        """Begin a program; `noted`: with what to say of each instruction that fails."""
        self.noted = noted
        self.step = 0  # of the plan, that what follows belongs to
        self._numbers = numbers
        self._header = _Data(machine.PROGRAM, machine.LATE_CODE)
        self._header.append(bytes(machine.CELLS - machine.PROGRAM + 8 * _MOST_INPUTS))
        self._late = _Code(machine.LATE_CODE, machine.LATE_DATA)
        self._late_data = _Data(machine.LATE_DATA, machine.EARLY_CODE)
        self._early = _Code(machine.EARLY_CODE, machine.EARLY_DATA)
        self._early_data = _Data(machine.EARLY_DATA, machine.END)
        self._code, self._data = self._late, self._late_data
        self._notes: dict[int, Note] = {}
        self._texts: dict[str | bytes, int] = {}
        self._parts: list[tuple[int, bytes]] = []
        self._lengths: dict[int, int] = {}  # where the sizes of what stays are to be filled in
        self._part: tuple[_Code, _Data] | None = None  # that is being written
        self.inputs = {name: Cell(machine.CELLS + 8 * number) for number, name in enumerate(inputs)}
        self._scratch = self.cell().address

    # --- memory ---------------------------------------------------------------------------------------------------

    def cell(self, value: int = 0) -> Cell:
        """Return a new cell."""
        place = self._part[1] if self._part else self._header
        return Cell(place.append((value & _WORD).to_bytes(8, "little")))

    def data(self, content: bytes) -> int:
        """Place content, eight bytes aligned; return its address."""
        return self._data.append(content)

    def late_data(self, content: bytes) -> int:
        """Place content where it stays, wherever the code is by now."""
        return self._late_data.append(content)

    def space(self, size: int) -> int:
        """Place zeros that the program writes to."""
        return self.data(bytes(size))

    def text(self, text: str | bytes) -> int:
        """Place a string that a NUL ends, once however often it is asked for; return its address.

        ValueError for one with a NUL in it: the kernel would take what comes before for the whole.
        """
        address = self._texts.get(text)
        if address is None:
            content = os.fsencode(text)
            if b"\0" in content:
                raise ValueError(f'a NUL character in "{os.fsdecode(content)[:200]!r}"')
            address = self._texts[text] = self._data.append(content + b"\0")
        return address

    # --- code -----------------------------------------------------------------------------------------------------

    def call(
        self,
        name: str,
        *arguments: int | str | Cell,
        store: Cell | None = None,
        errors: Collection[int] = (),
        goto: Label | None = None,
        child: Label | None = None,
        note: Note | None = None,
    ) -> None:
        """Make a system call; strings are pointers to them, its result goes to `store`.

        After one of `errors` it goes on at `goto` (the next instruction), after a result of 0 at `child`. Any other
        error ends the program.
        """
        number, mask = self._numbers[name], 0
        words: list[int] = []
        for argument in arguments:
            kind = type(argument)
            if kind is str:
                argument = self._texts.get(argument) or self.text(argument)  # type: ignore[arg-type]
            elif kind is Cell:
                number |= 1 << (32 + len(words))
                argument = argument.address  # type: ignore[union-attr]
            words.append(argument & _WORD)  # type: ignore[operator]
        for each in errors:
            mask |= 1 << (each & 63)
        code = self._code
        at = code.end
        if self.noted:
            self._notes[at] = note or Note(self.step, name)
        code.words += (
            number,
            *words,
            *_NONE[len(words)],
            store.address if store else self._scratch,
        )
        code.words += (mask, at + _BYTES if mask and not goto else 0)
        if goto:
            self._point(goto, 0)
        if child:
            self._point(child, 32)

    def jump_if(self, where: Cell | int, mask: int, value: int | Cell, label: Label) -> None:
        """Go on at `label` if the eight bytes there, and-ed with `mask`, are `value`."""
        number, address = machine.COMPARE, where.address if isinstance(where, Cell) else where
        if isinstance(value, Cell):
            number, value = number | 4 << 32, value.address
        words = address, mask & _WORD, value & _WORD
        self._code.words += (number, *words, 0, 0, 0, self._scratch, 0, 0)
        self._point(label, 0)

    def jump(self, label: Label) -> None:
        """Go on at `label`."""
        self.jump_if(self._scratch, 0, 0, label)

    def copy(self, source: int, target: Cell, mask: int = -1) -> None:
        """Put eight bytes of memory, and-ed with `mask`, into a cell."""
        code = self._code
        following = code.end + _BYTES
        words = source, mask & _WORD, 0, 0, 0, 0, target.address, 0, following
        code.words += (machine.COMPARE, *words)

    def fail(self, note: Note) -> None:
        """End the program, to say this."""
        self.call("close", -1, note=note)

    def place(self, label: Label) -> None:
        """Put a label here."""
        label.address = self._code.end
        for words, index, shift in label.users:
            words[index] |= label.address << shift

    def on_failure(self) -> None:
        """Go on here when a call has failed."""
        self._header.bytes[16:24] = self._code.end.to_bytes(8, "little")

    def early(self) -> None:
        """Put what follows where it is given back before others can look: `forget_early`."""
        self._go_on_in(self._early, self._early_data)

    def late(self) -> None:
        """Put what follows where it stays."""
        self._go_on_in(self._late, self._late_data)

    def move_late(self, file: Cell) -> None:
        """Have all that stays lie in memory of the process's own, and close the program's file: no other holds it then.

        For the begin of the early code: what the program has kept by then is forgotten, but its inputs.
        """
        private_fixed_anonymous, readable_writable = 0x32, 3
        opened = Cell(self.data(bytes(8)))
        self.copy(file.address, opened)
        size = machine.EARLY_CODE - machine.PROGRAM
        how = readable_writable, private_fixed_anonymous
        self.call("mmap", machine.PROGRAM, size, *how, -1, 0)
        for begin in (machine.PROGRAM, machine.LATE_CODE, machine.LATE_DATA):
            self._lengths[begin] = self.data(bytes(8))
            length, offset = Cell(self._lengths[begin]), begin - machine.PROGRAM
            self.call("pread64", opened, begin, length, offset)
        self.call("close", opened)

    def forget_early(self) -> None:
        """Give back all that was placed early. Its content is gone; the file that it came from is closed already."""
        self.call("munmap", machine.EARLY_CODE, machine.END - machine.EARLY_CODE)

    def _go_on_in(self, code: _Code, data: _Data) -> None:
        label = Label()
        self.jump(label)
        self._code, self._data, self._texts = code, data, {}
        self.place(label)

    def begin_part(self, number: int) -> None:
        """Write what follows for a place of its own, until `end_part`: nothing in it depends on what is around it."""
        begin = machine.PARTS + number * machine.PART_BYTES
        middle, end = begin + machine.PART_BYTES // 2, begin + machine.PART_BYTES
        self._outside = self._code, self._data, self._notes
        self._outside_texts = self._texts
        self._part = self._code, self._data = _Code(begin, middle - _BYTES), _Data(middle, end)
        self._notes, self._texts = {}, {}

    def end_part(self) -> Part:
        """Return the part; `insert` makes it one of a program. TooLargeError when it does not fit."""
        assert self._part is not None
        code, data = self._part
        return Part(code.begin, code.content(), data.begin, data.content(), self._notes)

    def drop_part(self) -> None:
        """Go on where `begin_part` was called."""
        self._part, self._texts = None, self._outside_texts
        self._code, self._data, self._notes = self._outside

    def insert(self, part: Part, cells: Mapping[int, int]) -> None:
        """Perform a part here, with these values in its cells (by address)."""
        entry = Label()
        entry.address = part.begin
        self.jump(entry)
        leave = machine.COMPARE, self._scratch, 0, 0, 0, 0, 0, self._scratch, 0, self._code.end
        data = part.data
        if cells:
            filled = bytearray(data)
            for address, value in cells.items():
                _CELL.pack_into(filled, address - part.data_begin, value)
            data = bytes(filled)
        code = part.code + array.array("Q", leave).tobytes()
        self._parts += [(part.begin, code), (part.data_begin, data)]
        self._notes.update(part.notes)

    def finish(self, stamps: Sequence[int] = ()) -> Program:
        """Return the program. ValueError when it is too large."""
        parts = (self._header, self._late, self._late_data, self._early, self._early_data)
        for part in parts:
            if place := self._lengths.get(part.begin):
                at, size = place - self._early_data.begin, len(part.content())
                self._early_data.bytes[at : at + 8] = size.to_bytes(8, "little")
        regions = [(part.begin, part.content()) for part in parts] + self._parts
        kept = tuple(region for region in regions if region[1])
        return Program(kept, self.inputs, self._notes, tuple(stamps))

    def _point(self, label: Label, shift: int) -> None:
        """Fill in where the last instruction goes on, now or when the label is placed."""
        words = self._code.words
        if label.address:
            words[-1] |= label.address << shift
        else:
            label.users.append((words, len(words) - 1, shift))


_CELL = struct.Struct("<Q")
_NONE = [(0,) * (6 - used) for used in range(7)]
