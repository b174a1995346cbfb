"""How answers look in a terminal: tables, sparklines, bars, progress; rich is imported only to draw."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from rich.console import Console

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.-~=+*#"
# A cell that begins like this is a formula to a spreadsheet (owasp.org, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def console(stderr: bool = False) -> "Console":
    """Where pictures go: no colour and 80 columns or what the terminal has; NO_COLOR is rich's own."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - rich would exit here; the BrokenPipeError goes on to the command line's main

    return Plain(stderr=stderr, highlight=False, emoji=False, markup=False)


def print_json(answer: object) -> None:
    """The same JSON as over HTTP (no number is null, bytes are base64), indented; ASCII where stdout takes no more."""
    plain = msgspec.json.decode(msgspec.json.encode(answer))
    text = json.dumps(plain, ensure_ascii=False, indent=2)
    print(text if can_draw(text) else json.dumps(plain, indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[int] = ()) -> None:
    """A table of text; `right`: the columns (by number) that are set flush right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, header_style="")
    for number, name in enumerate(columns):
        drawn.add_column(Text(name), justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(printable(show(cell))) for cell in row))
    console().print(drawn)


def show(value: Any) -> str:
    """A value for people: unknown is a dash, numbers have thousands separators and no needless digits."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"


def printable(text: str) -> str:
    """The text with what would move the cursor or colour the screen made visible."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


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


def bar(share: float | None, width: int = 20) -> str:
    """A bar of `share` (0..1) of the width; empty where it is unknown."""
    full, empty = ("█", "░") if can_draw("█░") else ("#", ".")
    filled = 0 if share is None else round(min(1.0, max(0.0, share)) * width)
    return full * filled + empty * (width - filled)


def can_draw(text: str) -> bool:
    """Whether stdout takes the text; where stdout is closed it is None, and takes what it may."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], out: Any, header: bool = True) -> None:
    """CSV (RFC 4180) in which no text is a formula to a spreadsheet; unknown is empty."""
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow([safe_cell(name) for name in columns])
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)


def safe_cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def as_dicts(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[Mapping[str, Any]]:
    return (dict(zip(columns, row, strict=True)) for row in rows)


@contextmanager
def progress(what: str, total: float | None) -> Iterator[Any]:
    """A progress bar on stderr, where that is a terminal; call what it gives with how much was done since."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    shown = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, advance=done)
