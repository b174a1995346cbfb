"""What people see in a terminal, and what a pipe gets."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from service.place import CHECKOUT as ROOT
from service.terminal import layout
from service.terminal.layout import Bar, Column, Curve, Items, Line, Part, Table
from service.upkeep import tables

cells = (
    st.none() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(["=1+1", "+1", "-1", "@a", "\ta"])
)


def printed(capsys: pytest.CaptureFixture[str], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    layout.table(columns, rows)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def written(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    out = io.StringIO()
    tables.write_csv(columns, rows, out)
    out.seek(0)
    return list(csv.reader(out))


@pytest.fixture
def stdout_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes stdout one of that encoding."""
    return lambda encoding: monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))


def test_a_table_has_its_columns_a_line_and_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, ("metric", "now"), [("cpu", 45.25), ("memory", None)]) == [
        "metric  now",
        "─────────────",
        "cpu     45.25",
        "memory  -",
    ]


def test_a_table_stays_within_80_columns_and_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ("a", "b"), [("x" * 100, "y" * 100)])
    assert max(map(len, lines)) <= 80
    assert [sum(line.count(letter) for line in lines) for letter in "xy"] == [100, 100]


def test_numbers_flush_right_end_in_one_column(capsys: pytest.CaptureFixture[str]) -> None:
    layout.table(("n",), [(5,), (12345,)], right=(0,))
    assert {len(line) for line in capsys.readouterr().out.splitlines()} == {6}


@pytest.mark.parametrize(
    "variables",
    [{}, {"NO_COLOR": "1", "FORCE_COLOR": "1", "TERM": "xterm-256color"}, {"FORCE_COLOR": "1", "TERM": "xterm"}],
)
def test_a_table_has_no_escape_codes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    layout.table(("[bold]a[/]", ":smile:"), [("[red]x[/red]", 1)])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[red]x[/red]" in shown
    assert ":smile:" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\r\nb\tc\0", "a\\x0d\\x0ab\\x09c\\x00"),
        ("right\u202eleft", "right\\x202eleft"),
        ("\x9b31m", "\\x9b31m"),
        ("bad\udcff", "bad\\xdcff"),
        ("Zürich 東京 naïve", "Zürich 東京 naïve"),
    ],
)
def test_what_would_move_the_cursor_is_made_visible(capsys: pytest.CaptureFixture[str], text: str, shown: str) -> None:
    assert layout.printable(text) == shown
    assert shown in printed(capsys, ("name",), [(text,)])


@given(st.text())
def test_shown_text_has_nothing_but_printable_characters(text: str) -> None:
    assert layout.printable(text).isprintable()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (0.0, "0"),
        (12.5, "12.5"),
        (100.0, "100"),
        (1234567, "1,234,567"),
        ("x", "x"),
        (True, "True"),
    ],
)
def test_a_value_is_shown_short_and_unknown_is_a_dash(value: Any, shown: str) -> None:
    assert layout.show(value) == shown


def test_a_sparkline_has_one_block_a_value_and_a_space_where_nothing_is_known() -> None:
    assert layout.sparkline([0, None, 50, 100], 0, 100) == "▁ ▄█"
    assert layout.sparkline([7, 8, 9]) == "▁▄█"


@pytest.mark.parametrize(("values", "drawn"), [([], ""), ([None, None], "  "), ([5, 5], "▁▁"), ([-50, 150], "▁█")])
def test_a_sparkline_of_nothing_of_one_value_and_beyond_its_ends(values: list[float | None], drawn: str) -> None:
    assert layout.sparkline(values, *((0, 100) if 150 in values else ())) == drawn


@given(st.lists(st.none() | st.floats(-1e9, 1e9)))
def test_a_sparkline_is_as_long_as_its_values(values: list[float | None]) -> None:
    assert len(layout.sparkline(values)) == len(values)


@pytest.mark.parametrize(
    ("share", "drawn"), [(None, "░░░░"), (0, "░░░░"), (0.5, "██░░"), (1, "████"), (7, "████"), (-1, "░░░░")]
)
def test_a_bar_fills_by_its_share(share: float | None, drawn: str) -> None:
    assert layout.bar(share, 4) == drawn


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_pictures_are_ascii_where_the_terminal_has_no_blocks(stdout_in: Any, encoding: str) -> None:
    stdout_in(encoding)
    assert layout.bar(0.5, 4) == "##.."
    assert layout.sparkline([0, None, 1]) == "_ #"


def test_a_closed_stdout_takes_pictures_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    layout.table(("cpu",), [(layout.bar(0.5, 4),)])
    layout.print_json(["Zürich"])


def test_json_is_indented_and_keeps_its_characters(capsys: pytest.CaptureFixture[str]) -> None:
    layout.print_json({"name": "Zürich", "n": 1})
    assert capsys.readouterr().out == '{\n  "name": "Zürich",\n  "n": 1\n}\n'


def test_json_of_what_json_does_not_have_is_still_json(capsys: pytest.CaptureFixture[str]) -> None:
    layout.print_json([float("nan"), float("inf"), b"\0\xff"])
    assert json.loads(capsys.readouterr().out) == [None, None, "AP8="]


def test_json_is_ascii_where_stdout_takes_no_more(stdout_in: Any) -> None:
    stdout_in("ascii")
    layout.print_json(["Zürich"])
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue() == b'[\n  "Z\\u00fcrich"\n]\n'  # type: ignore[union-attr]


@given(st.lists(st.tuples(cells, cells), max_size=5))
def test_no_text_in_csv_is_a_formula_to_a_spreadsheet(rows: list[tuple[Any, Any]]) -> None:
    out = io.StringIO()
    tables.write_csv(("=a", "b"), rows, out)
    texts = [cell for row in rows for cell in row if isinstance(cell, str)]
    for cell in (tables.safe_cell(text) for text in texts):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert out.getvalue().startswith("'=a,b\n")


def test_csv_reads_back_with_numbers_as_they_were_and_unknown_empty() -> None:
    rows = written(("ts", "name"), [(-5, 'a "b", c\nd'), (None, "-x"), (-0.5, "")])
    assert rows == [["ts", "name"], ["-5", 'a "b", c\nd'], ["", "'-x"], ["-0.5", ""]]


def test_rows_become_dictionaries_in_the_order_of_the_columns() -> None:
    assert list(tables.as_dicts(("b", "a"), [(1, 2)])) == [{"b": 1, "a": 2}]


# -- pictures

names = st.text(max_size=60) | st.sampled_from(["東京" * 30, "\x1b[2J" * 9, "a b " * 20])
BARS = Column(least=5, most=24, picture=True)


def drawn(capsys: pytest.CaptureFixture[str], *blocks: layout.Block) -> list[str]:
    layout.draw(blocks)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


@given(st.lists(names, min_size=1, max_size=5), st.integers(40, 200))
def test_a_table_with_pictures_fits_the_width_and_has_a_line_a_row(texts: list[str], width: int) -> None:
    columns = [Column("name", least=8, most=24), Column("n", right=True), BARS, Column(least=4, picture=True, most=60)]
    rows = [(text, "12.5 %", Bar(0.5), Curve([1, None, 2])) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        patch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        layout.draw([Table(columns, rows)])
        sys.stdout.flush()
        lines = sys.stdout.buffer.getvalue().decode().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 2 + len(rows)
    assert max(map(cell_len, lines)) <= width
    assert all("12.5 %" in line for line in lines[2:])


@pytest.mark.parametrize(("columns", "widths"), [(200, (24, 60)), (60, (13, 31)), (24, (11, 0))])
def test_pictures_share_the_room_that_texts_leave_and_the_last_goes_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, widths: tuple[int, int]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    curve = Column(least=10, most=60, picture=True)
    (line,) = drawn(capsys, Table([Column(), BARS, curve], [("cpu at once", Bar(1), Curve([1] * 60))]))
    assert (line.count("█"), line.count("▁")) == widths


@pytest.mark.parametrize(
    ("columns", "line"),
    [(30, "cc1plus  27.0 %  0:00:32  pids"), (26, "cc1plus  27.0 %  0:00:32"), (20, "cc1plus  27.0 %")],
)
def test_what_is_spare_goes_before_a_figure_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, line: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    kinds = [Column(least=4), Column(right=True), Column(spare=True), Column(spare=True)]
    assert drawn(capsys, Table(kinds, [("cc1plus", "27.0 %", "0:00:32", "pids")])) == [line]


def test_a_long_text_is_cut_with_an_ellipsis_where_it_has_no_room(capsys: pytest.CaptureFixture[str]) -> None:
    assert drawn(capsys, Table([Column(least=3, most=6), Column()], [("abcdefgh", "x"), ("東京東京", "y")])) == [
        "abcde…  x",
        "東京…   y",
    ]


def test_a_curve_ends_at_the_right_and_averages_what_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    column = Column(least=4, most=4, picture=True)
    rows = [("a", Curve([0, 100])), ("b", Curve([0, 0, None, None, 100, None, 0, 100], 0, 100))]
    assert drawn(capsys, Table([Column(), column], rows)) == ["a    ▁█", "b  ▁ █▄"]


@given(st.lists(st.none() | st.floats(0, 100), max_size=100), st.integers(0, 60))
def test_condensed_values_lie_between_those_they_stand_for(values: list[float | None], width: int) -> None:
    found = layout.condensed(values, width)
    assert len(found) == min(width, len(values))
    known = [value for value in values if value is not None]
    assert all(value is None or min(known) - 1e-9 <= value <= max(known) + 1e-9 for value in found)


def test_items_are_not_broken_between_a_number_and_its_unit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    column = Column(least=5, wraps=True)
    assert drawn(capsys, Table([column], [(Items(["java 4.5 %", "cron 1 %", "x 2 %"]),), (Items([]),)])) == [
        "java 4.5 %,",
        "cron 1 %, x 2 %",
        "-",
    ]


def test_a_chart_stands_on_its_ground_and_leaves_what_is_unknown_blank() -> None:
    assert layout.chart([0, 50, None, 75, 100], 100, 2) == ["   ▄█", "▁█ ██"]
    assert layout.chart([], 1, 2) == ["", ""]
    assert layout.chart([0], 0, 1) == ["▁"]


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_styles_are_colours_but_where_none_are_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    layout.draw([Line([Part("bad", "bold red")]), Table([Column("a")], [(Part("x", "dim"),)])])
    assert ("\x1b" in capsys.readouterr().out) == coloured


def test_progress_is_silent_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with layout.progress("copying", 10) as done:
        done(10)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_verb_in_an_ascii_terminal_shows_the_code_of_what_it_lacks(variables: dict[str, str], path: Path) -> None:
    environment = {"PATH": os.defpath, "TIDEMARK_NO_BOOTSTRAP": "1", "PYTHONCOERCECLOCALE": "0", **variables}
    command = [sys.executable, "manage.py", "--database", str(path), "sql", "SELECT 'Z' || char(252, 0x6771) AS town"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Z\\xfc\\u6771" in done.stdout
    assert done.stdout.isascii()
