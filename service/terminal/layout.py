"""How answers look in a terminal: tables, sparklines, bars, progress; rich is imported only to draw."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.table import Table as RichTable
    from rich.text import Text

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.-~=+*#"
_GAP = 2
# A table with a line under its header, like rich's SIMPLE_HEAD, for terminals that have no such line.
_ASCII_HEAD = "    \n    \n -- \n    \n    \n    \n    \n    \n"


def console(stderr: bool = False) -> "Console":
    """Where pictures go: no colour and 80 columns or what the terminal has; NO_COLOR is rich's own."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - rich would exit here; the BrokenPipeError goes on to the command line's main

    shown = Plain(stderr=stderr, highlight=False, emoji=False, markup=False)
    if shown.no_color:
        # To rich NO_COLOR leaves bold and dim; whoever sets it expects text.
        return Plain(stderr=stderr, highlight=False, emoji=False, markup=False, color_system=None)
    return shown


def print_json(answer: object, write: Callable[[object], str] | None = None) -> None:
    """The same JSON as over HTTP (no number is null, bytes are base64), indented; ASCII where stdout takes no more.

    `write`: writes the moments of an answer.
    """
    print(json_text(msgspec.json.decode(msgspec.json.encode(answer, enc_hook=write))))


def json_text(plain: object) -> str:
    """Indented JSON, in ASCII where stdout takes no more, and also where it would harm the terminal that stdout is."""
    text = json.dumps(plain, ensure_ascii=False, indent=2)
    is_shown = sys.stdout is not None and sys.stdout.isatty()
    is_safe = can_draw(text) and not (is_shown and not text.replace("\n", "").isprintable())
    return text if is_safe else json.dumps(plain, indent=2).replace("\x7f", "\\u007f")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[int] = ()) -> None:
    """A table of text; `right`: the columns (by number) that are set flush right."""
    from rich.text import Text

    drawn = _table("")
    for number, name in enumerate(columns):
        drawn.add_column(Text(name), justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(fit(show(cell))) for cell in row))
    console().print(drawn)


def _table(style: str) -> "RichTable":
    from rich import box
    from rich.table import Table as RichTable

    head = box.SIMPLE_HEAD if can_draw("─") else box.Box(_ASCII_HEAD, ascii=True)
    return RichTable(
        box=head, pad_edge=False, show_edge=False, collapse_padding=True, header_style=style, border_style=style
    )


# -- what pictures are made of


class Part(NamedTuple):
    """A piece of text and its style in rich's words; what it says, it says without the style too."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """A cell with texts that stand in one line as far as there is room, unbroken; a dash where there are none."""

    texts: Sequence[str]
    style: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A cell as wide as its column, filled by its share (0..1; None where it is unknown)."""

    share: float | None
    style: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """A cell with a sparkline between `low` and `high`, or the values' own extremes; the newest value at the right.

    More values than the column is wide are averaged. `style`: that of a value.
    """

    values: Sequence[float | None]
    low: float | None = None
    high: float | None = None
    style: Callable[[float], str] = lambda _: "cyan"


@dataclass(frozen=True, slots=True)
class Column:
    """`least`: a text longer than this may be cut, or broken if it `wraps`, where the terminal is narrow; None: never.

    `most`: how wide the column may get. With `picture` it holds bars or curves, which take the room between `least`
    and `most` that the other columns leave; where not even `least` is left, there is no such column. A `spare` column
    is left out after those, before a figure would be cut.
    """

    name: str = ""
    right: bool = False
    least: int | None = None
    most: int = 1000
    picture: bool = False
    wraps: bool = False
    spare: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are text, Part, a list of Parts, Items, Bar or Curve; columns without a name have no header."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Line:
    """Text that is wrapped at the terminal's width; an empty line where there is none."""

    parts: Sequence[Part | str] = ()


@dataclass(frozen=True, slots=True)
class Copyable:
    """Lines as they are, however long."""

    text: str


Block = Table | Line | Copyable


def draw(blocks: Iterable[Block]) -> None:
    shown = console()
    for block in blocks:
        shown.print(_drawn(block, shown.width), soft_wrap=isinstance(block, Copyable))


def drawn(blocks: Iterable[Block], width: int) -> "Group":
    """What rich draws in so many columns, for who has a console of its own."""
    from rich.console import Group

    return Group(*(_drawn(block, width) for block in blocks))


def watch(frame: Callable[[], Sequence[Block]], wait: Callable[[], bool]) -> None:
    """Draw what `frame` gives after each `wait` anew, in place where stdout is a terminal, until that says True."""
    from rich.live import Live

    shown = console()
    if not shown.is_terminal or shown.is_dumb_terminal:
        while True:
            draw([*frame(), Line([])])
            if wait():
                return
    # What is higher than the terminal would be drawn anew below itself.
    with Live(console=shown, auto_refresh=False, vertical_overflow="crop", redirect_stdout=False) as live:
        while True:
            live.update(drawn(frame(), shown.width), refresh=True)
            if wait():
                return


def _drawn(block: Block, width: int) -> "RenderableType":
    from rich.text import Text

    if isinstance(block, Table):
        return _drawn_table(block, width)
    if isinstance(block, Copyable):
        return Text("\n".join(map(fit, block.text.splitlines())))
    return _text(block.parts)


def _drawn_table(block: Table, width: int) -> "RichTable":
    widths = _widths(block, width)
    drawn = _table("dim")
    drawn.show_header = any(column.name for column in block.columns)
    for column, room in zip(block.columns, widths, strict=True):
        if room:
            drawn.add_column(
                _text([cut(column.name, room)]),
                justify="right" if column.right else "left",
                width=room,
                no_wrap=not column.wraps,
                overflow="fold" if column.wraps else "crop",
            )
    for row in block.rows:
        cells = zip(block.columns, row, widths, strict=True)
        drawn.add_row(*(_cell(cell, room, column.wraps) for column, cell, room in cells if room))
    return drawn


def _widths(block: Table, total: int) -> list[int]:
    """How wide each column is, 0 where it is left out: texts have what they need first, pictures share the rest."""
    least, most = _bounds(block)
    pictures = [number for number, column in enumerate(block.columns) if column.picture]
    spare = [number for number, column in enumerate(block.columns) if column.spare] + pictures
    while spare and _rest(least, total) < 0:
        number = spare.pop()
        least[number] = most[number] = 0
    pictures = [number for number in pictures if most[number]]
    for number, column in enumerate(block.columns):
        missing, rest = most[number] - least[number], max(0, _rest(least, total))
        # All or nothing, so that a moment breaks at its T; the last text takes what is left.
        if most[number] and not column.picture and (missing <= rest or number == len(least) - 1):
            least[number] += min(missing, rest)
    wished = sum(most[number] - least[number] for number in pictures)
    share = min(1.0, max(0, _rest(least, total)) / wished) if wished else 0.0
    for number in pictures:
        least[number] += int((most[number] - least[number]) * share)
    return least


def _bounds(block: Table) -> tuple[list[int], list[int]]:
    """The least and the most that each column should have, by its texts and by what it says of itself."""
    least, most = [], []
    for number, column in enumerate(block.columns):
        widest = max(_width_of(cell) for cell in (column.name, *(row[number] for row in block.rows)))
        if column.picture:
            least.append(max(column.least or 0, widest))
            most.append(max(column.most, widest))
        else:
            most.append(min(column.most, widest))
            least.append(most[-1] if column.least is None else min(column.least, most[-1]))
    return least, most


def _rest(widths: Sequence[int], total: int) -> int:
    """What the columns and the gaps between them leave of the width."""
    return total - sum(widths) - _GAP * (sum(map(bool, widths)) - 1)


def _width_of(cell: Any) -> int:
    if isinstance(cell, (Bar, Curve)):
        return 0
    return int(_text(", ".join(cell.texts) or "-" if isinstance(cell, Items) else cell).cell_len)


def _cell(cell: Any, width: int, wraps: bool) -> "Text":
    if isinstance(cell, Bar):
        drawn, filled = bar(cell.share, width), _filled(cell.share, width)
        return _text([Part(drawn[:filled], cell.style), Part(drawn[filled:], "dim")])
    if isinstance(cell, Curve):
        return _text(_curve(cell, width))
    if isinstance(cell, Items):
        return _filled_lines(cell, width)
    if wraps:
        return _text(cell)
    return _text(cut_parts([cell] if isinstance(cell, (str, Part)) else cell, width))


def _filled_lines(cell: Items, width: int) -> "Text":
    from rich.text import Text

    lines: list[str] = []
    for number, text in enumerate(cell.texts, 1):
        item = fit(text) + ("," if number < len(cell.texts) else "")
        joined = f"{lines[-1]} {item}" if lines else item
        lines[-1:] = [joined] if not lines or _width_of(joined) <= width else [lines[-1], item]
    return Text("\n".join(lines) or "-", cell.style)


def _curve(cell: Curve, width: int) -> list[Part]:
    values = condensed(cell.values, width)
    blocks = sparkline(values, cell.low, cell.high)
    styles = ["" if value is None else cell.style(value) for value in values]
    return [Part(" " * (width - len(blocks))), *map(Part, blocks, styles)]


def _text(cell: "str | Part | Sequence[Part | str]") -> "Text":
    from rich.text import Text

    text = Text()
    parts = [cell] if isinstance(cell, (str, Part)) else cell
    styled = [part if isinstance(part, Part) else Part(part) for part in parts]
    # One run of a style, not one a block: a curve is a few escape codes long.
    for style, run in groupby(styled, attrgetter("style")):
        text.append(fit("".join(part.text for part in run)), style)
    return text


def fit(text: str) -> str:
    """The text as the terminal will show it, so that its width is known: printable, and what stdout lacks as code."""
    shown = printable(text)
    return shown if can_draw(shown) else shown.encode(_encoding(), "backslashreplace").decode(_encoding())


def width_of(text: str) -> int:
    """How many columns of the terminal a text takes that is shown as it is."""
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """The text where it fits, else its beginning and an ellipsis."""
    from rich.cells import cell_len, set_cell_size

    shown, mark = fit(text), "…" if can_draw("…") else "..."
    if cell_len(shown) <= width:
        return shown
    if width <= len(mark):
        return set_cell_size(shown, max(0, width))
    # Half a wide letter would be a space.
    return set_cell_size(shown, width - len(mark)).rstrip() + mark


def cut_parts(parts: Iterable[Part | str], width: int) -> list[Part]:
    """The parts where they fit together, else so many of them, the last one cut."""
    kept, left = [], width
    for part in parts:
        text, style = part if isinstance(part, Part) else Part(part)
        kept.append(Part(cut(text, left), style))
        left -= width_of(kept[-1].text)
    return kept


def condensed(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most `width` values, each the average of those known in its part of the whole."""
    count = min(len(values), width)
    groups = (values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count))
    known = ([value for value in group if value is not None] for group in groups)
    return [sum(group) / len(group) if group else None for group in known]


# -- text


def show(value: Any) -> str:
    """A value for people: unknown is a dash, numbers have thousands separators and no needless digits."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"


def printable(text: str) -> str:
    """The text with what would move the cursor, colour the screen or turn the line around (U+202E) made visible."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def sparkline(values: Sequence[float | None], low: float | None = None, high: float | None = None) -> str:
    """One block a value, a space where nothing is known; between `low` and `high`, or the values' own extremes."""
    known = [value for value in values if value is not None]
    if not known:
        return " " * len(values)
    least, most = min(known) if low is None else low, max(known) if high is None else high
    blocks = _BLOCKS if can_draw(_BLOCKS) else _ASCII_BLOCKS
    span = (most - least) or 1.0
    return "".join(
        " " if value is None else blocks[min(7, max(0, int((value - least) / span * 7.999)))] for value in values
    )


def chart(values: Sequence[float | None], high: float, height: int) -> list[str]:
    """Columns of blocks from 0 to `high`, in so many lines, the top first; a space where nothing is known."""
    blocks = " " + (_BLOCKS if can_draw(_BLOCKS) else _ASCII_BLOCKS)
    eighths = [
        0 if value is None else max(1, round(min(1.0, value / high if high else 0.0) * 8 * height)) for value in values
    ]
    return ["".join(blocks[min(8, max(0, n - 8 * line))] for n in eighths) for line in reversed(range(height))]


def bar(share: float | None, width: int = 20) -> str:
    """A bar of `share` (0..1) of the width; empty where it is unknown."""
    full, empty = ("█", "░") if can_draw("█░") else ("#", ".")
    filled = _filled(share, width)
    return full * filled + empty * (width - filled)


def _filled(share: float | None, width: int) -> int:
    return 0 if share is None else round(min(1.0, max(0.0, share)) * width)


def can_draw(text: str) -> bool:
    """Whether stdout takes the text; where stdout is closed it is None, and takes what it may."""
    try:
        text.encode(_encoding())
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _encoding() -> str:
    # While Textual draws, stdout is a file of its own that has none.
    files = (sys.stdout, sys.__stdout__)
    return next((name for file in files if (name := getattr(file, "encoding", None))), "ascii")


@contextmanager
def progress(what: str, total: float | None) -> Iterator[Any]:
    """A progress bar on stderr, where that is a terminal; call what it gives with how much was done since."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    shown = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, advance=done)
