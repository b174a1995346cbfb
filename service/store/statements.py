"""The one way to run a statement on the history: its rows, its first row, one number, or how many rows it changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

# What SQLite gave for one row, in the order of the statement's columns.
Row = Sequence[Any]
# For `?` in their order, or by name for `:name`.
Parameters = tuple[Any, ...] | Mapping[str, Any]


def utc_text(column: str) -> str:
    """In SQL: a column of unix seconds as text in UTC."""
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', {column}, 'unixepoch')"


class Statements:
    """Runs statements over one connection, in whatever transaction is open there."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, parameters: Parameters = ()) -> Sequence[Row]:
        """All rows; none of a statement that gives none."""
        done = self._connection.exec_driver_sql(sql, parameters)
        return done.all() if done.returns_rows else []

    def table(self, sql: str, parameters: Parameters = ()) -> tuple[list[str], Sequence[Row]]:
        """The names of the columns, and all rows."""
        done = self._connection.exec_driver_sql(sql, parameters)
        return list(done.keys()), done.all()

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row; None where there is none."""
        return self._connection.exec_driver_sql(sql, parameters).first()

    def number(self, sql: str, parameters: Parameters = ()) -> int | None:
        """The integer in the first column of the first row; None where there is no row, or NULL in it."""
        value = self._connection.exec_driver_sql(sql, parameters).scalar()
        return None if value is None else int(value)

    def run(self, sql: str, parameters: Parameters = ()) -> int:
        """How many rows the statement inserted, changed or deleted."""
        return self._connection.exec_driver_sql(sql, parameters).rowcount

    def run_each(self, sql: str, parameters: Sequence[Parameters]) -> None:
        """The statement once for each; nothing where there are none."""
        if parameters:
            self._connection.exec_driver_sql(sql, list(parameters))
