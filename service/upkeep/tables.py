"""Rows as CSV and as dictionaries, for whoever copies the history out."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# A cell that begins like this is a formula to a spreadsheet (owasp.org, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


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
