"""Rows as CSV and as dictionaries: a spreadsheet takes no text for a formula."""

import io

import pytest

from service.upkeep import tables


def csv_of(columns: list[str], rows: list[list[object]], **options: bool) -> str:
    out = io.StringIO()
    tables.write_csv(columns, rows, out, **options)
    return out.getvalue()


def test_csv_has_its_columns_on_top_unless_it_goes_on() -> None:
    assert csv_of(["a", "b"], [[1, None], [2.5, "x,y"]]) == 'a,b\n1,\n2.5,"x,y"\n'
    assert csv_of(["a"], [[1]], header=False) == "1\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_text_or_a_column_that_would_be_a_formula_begins_with_an_apostrophe(start: str) -> None:
    assert tables.safe_cell(f"{start}1") == f"'{start}1"
    assert csv_of(["=a"], [["-b"]]) == "'=a\n'-b\n"


@pytest.mark.parametrize("value", [-1, -0.5, None, "a=1", ""])
def test_what_is_no_formula_stays_as_it_is(value: object) -> None:
    assert tables.safe_cell(value) == value


def test_dictionaries_have_each_value_under_its_column() -> None:
    assert list(tables.as_dicts(["a", "b"], [[1, 2], [3, None]])) == [{"a": 1, "b": 2}, {"a": 3, "b": None}]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        list(tables.as_dicts(["a", "b"], [[1]]))
