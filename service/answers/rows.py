"""Rows: what one statement of the user's gives, within bounds of time, memory and size."""

from typing import Annotated

from msgspec import Meta

from service.answers.answer import Answer
from service.store.apart import MOST_ROWS, Cell, Table

SECONDS = 5.0
MOST_LETTERS = 20_000


class Rows(Answer, frozen=True):
    """`is_cut`: there are more rows than are answered. Bytes come as hexadecimal text, unknown as null."""

    columns: list[str]
    rows: Annotated[list[list[Cell]], Meta(max_length=MOST_ROWS)]
    is_cut: bool


def rows(table: Table) -> Rows:
    return Rows(columns=table.columns, rows=table.rows, is_cut=table.is_cut)
