"""How the rows of a statement are printed: as a table, in blocks, as JSON and CSV, a row at a time."""

import io
import json
import sys
from collections.abc import Iterator

import pytest

from service.terminal import rows

HOSTILE = "\x1b[2J\u202egone\x9b31m"


class Screen(io.StringIO):
    """A stdout that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def counted() -> Iterator[tuple[list[int], Iterator[tuple[int]]]]:
    """How many of many rows have been taken, and the rows."""
    taken = [0]

    def give() -> Iterator[tuple[int]]:
        for number in range(10**6):
            taken[0] += 1
            yield (number,)

    return taken, give()


def test_rows_that_fit_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    rows.print_table(("ts", "name"), [(5, "東京"), (None, "a\nb")])
    assert capsys.readouterr().out.splitlines() == ["ts  name", "──────────", "5   東京", "-   a\\x0ab"]


@pytest.mark.parametrize("columns", ["80", "120", "200"])
def test_rows_that_do_not_fit_are_blocks_with_a_line_for_each_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    names = [f"column_{number}" for number in range(40)]
    rows.print_table(names, [range(40), range(100, 140)])
    blocks = capsys.readouterr().out.split("\n\n")
    assert blocks[0].splitlines() == [f"column_{number:<2}  {number}" for number in range(40)]
    assert blocks[1].splitlines()[0] == "column_0   100"


def test_a_table_as_wide_as_the_terminal_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    rows.print_table(("a", "b"), [("x" * 9, "y" * 9)])
    assert capsys.readouterr().out.splitlines()[2] == "x" * 9 + "  " + "y" * 9
    rows.print_table(("a", "b"), [("x" * 9, "y" * 10)])
    assert capsys.readouterr().out.splitlines() == ["a  " + "x" * 9, "b  " + "y" * 10]


def test_a_statement_without_rows_gives_a_header_or_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    rows.print_table(("ts", "name"), [])
    assert capsys.readouterr().out.splitlines()[0] == "ts  name"
    rows.print_json(("ts", "name"), [])
    assert capsys.readouterr().out == "[]\n"


def test_json_is_what_it_would_be_in_one_piece(capsys: pytest.CaptureFixture[str]) -> None:
    rows.print_json(("ts", "name"), [(1, "a\nb"), (float("nan"), "Zürich")])
    expected = [{"ts": 1, "name": "a\nb"}, {"ts": None, "name": "Zürich"}]
    assert capsys.readouterr().out == json.dumps(expected, ensure_ascii=False, indent=2) + "\n"


@pytest.mark.parametrize(
    ("names", "unique"),
    [
        (("a", "b"), ["a", "b"]),
        (("a", "a", "a"), ["a", "a_2", "a_3"]),
        (("a", "a", "a_2"), ["a", "a_3", "a_2"]),
        (("a_2", "a", "a"), ["a_2", "a", "a_3"]),
    ],
)
def test_columns_of_one_name_are_kept_under_new_names(
    capsys: pytest.CaptureFixture[str], names: tuple[str, ...], unique: list[str]
) -> None:
    rows.print_json(names, [range(len(names))])
    assert json.loads(capsys.readouterr().out) == [dict(zip(unique, range(len(names)), strict=True))]


@pytest.mark.parametrize("shown", [rows.print_json, rows.print_csv, rows.print_table])
def test_rows_are_written_before_the_last_one_was_read(
    counted: tuple[list[int], Iterator[tuple[int]]], monkeypatch: pytest.MonkeyPatch, shown: object
) -> None:
    taken, many = counted

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            if "5" in text:
                raise OSError("full")
            return len(text)

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(OSError, match="full"):
        shown(("n",), many)  # type: ignore[operator]
    assert taken[0] <= 1000


@pytest.mark.parametrize("shown", [rows.print_json, rows.print_csv, rows.print_table])
def test_a_hostile_name_does_nothing_to_a_terminal(monkeypatch: pytest.MonkeyPatch, shown: object) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    shown((HOSTILE,), [(HOSTILE,), ("after",)])  # type: ignore[operator]
    assert screen.getvalue().replace("\n", "").isprintable()
    assert "gone" in screen.getvalue()


def test_a_file_gets_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    rows.print_csv(("name",), [(HOSTILE,)])
    assert capsys.readouterr().out == f"name\n{HOSTILE}\n"
    rows.print_json(("name",), [("\u202e",)])
    assert "\u202e" in capsys.readouterr().out
