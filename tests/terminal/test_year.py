"""A year in squares."""

from datetime import UTC, date, datetime, timedelta

import pytest

from service.answers.calendar import Calendar, Day
from service.answers.moments import Date, writer
from service.terminal import year
from service.terminal.layout import Block, Line, Part

FIRST = date(2025, 12, 1)  # a Monday


def drawn(averages: list[float | None]) -> list[str]:
    def noon(number: int) -> Date:
        day = FIRST + timedelta(days=number)
        return Date(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp())

    days = [Day(date=noon(i), average=a, maximum=a, covered_seconds=1.0 if a else 0.0) for i, a in enumerate(averages)]
    blocks = year.calendar(Calendar(metric="cpu_percent", unit="percent", days=days), "CPU", writer(UTC))
    return ["".join(text(part) for part in line(block).parts) for block in blocks]


def line(block: Block) -> Line:
    assert isinstance(block, Line)
    return block


def text(part: Part | str) -> str:
    return part.text if isinstance(part, Part) else part


def test_a_week_is_a_column_and_more_is_darker() -> None:
    lines = drawn([0.0, 10.0, 20.0, 30.0, 40.0, 50.0, None, *[25.0] * 3])
    assert lines[0] == "CPU, average of each day"
    assert lines[3:10] == ["Mo ·▒", "   ░▒", "We ▒▒", "   ▓", "Fr █", "   █", "Su  "]
    assert lines[11] == "0.0 % ·░▒▓█ 50.0 %; blank: not recorded"
    assert lines[12] == "highest on 2025-12-06: 50.0 %"


def test_months_stand_above_their_first_week() -> None:
    months = drawn([5.0] * 7 * 20)[2]
    assert months.split() == ["Dec", "Jan", "Feb", "Mar"], "April has no room"
    for name, monday in (("Jan", date(2026, 1, 5)), ("Mar", date(2026, 3, 2))):
        assert months.index(name) == 3 + (monday - FIRST).days // 7


def test_a_terminal_without_squares_has_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(year, "can_draw", lambda _: False)
    assert drawn([0.0, 50.0])[3:5] == ["Mo .", "   #"]


def test_one_value_and_none_at_all_are_drawn_too() -> None:
    assert drawn([7.0])[3] == "Mo ·"
    assert drawn([None] * 9) == ["nothing was recorded"]
