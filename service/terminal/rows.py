"""Prints the rows of a statement as they come: a table, or blocks where it would not fit; JSON; CSV."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec

from service.terminal import layout
from service.upkeep import tables

Row = Sequence[Any]
# How much is read before the widths of a table are settled: so many rows, or so many letters.
_ROWS_AT_ONCE, _LETTERS_AT_ONCE = 1000, 10**6
_GAP = 2


def print_table(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """A table where the first thousand rows fit the terminal's width, else of each row a line for each column."""
    names, lines = [layout.fit(name) for name in columns], map(_texts, rows)
    first = list(_some(lines))
    widths = [max(map(layout.width_of, cells)) for cells in zip(names, *first, strict=True)]
    if sum(widths) + _GAP * (len(widths) - 1) <= layout.console().width:
        _print_lines(names, chain(first, lines), widths)
    else:
        _print_blocks(names, chain(first, lines))


def _texts(row: Row) -> list[str]:
    """What each cell is shown as, in one line."""
    return ["-" if cell is None else layout.fit(str(cell)) for cell in row]


def _some(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    letters = 0
    for number, row in enumerate(rows, 1):
        yield row
        letters += sum(map(len, row))
        if number >= _ROWS_AT_ONCE or letters >= _LETTERS_AT_ONCE:
            return


def _print_lines(names: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> None:
    rule = ("─" if layout.can_draw("─") else "-") * (sum(widths) + _GAP * (len(widths) - 1))
    for row in chain([names, [rule]], rows):
        print((" " * _GAP).join(map(_padded, row, widths)).rstrip())


def _print_blocks(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    widest = max(map(layout.width_of, names))
    labels = [_padded(name, widest + _GAP) for name in names]
    for number, row in enumerate(rows):
        print("\n" * (number > 0) + "\n".join(map("".join, zip(labels, row, strict=True))))


def _padded(text: str, width: int) -> str:
    return text + " " * (width - layout.width_of(text))


def print_json(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """A list with an object for each row; a second column of one name is `name_2`."""
    before = "[\n  "
    for row in tables.as_dicts(unique(columns), rows):
        print(before + layout.json_text(msgspec.json.decode(msgspec.json.encode(row))).replace("\n", "\n  "), end="")
        before = ",\n  "
    print("[]" if before.startswith("[") else "\n]")


def unique(names: Sequence[str]) -> list[str]:
    """The names; one that was there before gets the next number that makes it new, from 2."""
    found: list[str] = []
    for name in names:
        new, number = name, 2
        while new in found or (new != name and new in names):
            new, number = f"{name}_{number}", number + 1
        found.append(new)
    return found


def print_csv(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """CSV; to a terminal without what would move the cursor or turn the text around."""
    if sys.stdout is not None and sys.stdout.isatty():
        columns, rows = [layout.printable(name) for name in columns], map(_harmless, rows)
    tables.write_csv(columns, rows, sys.stdout)


def _harmless(row: Row) -> list[Any]:
    return [layout.printable(cell) if isinstance(cell, str) else cell for cell in row]
