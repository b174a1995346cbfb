"""A year in the terminal: a week a column, a day a square, darker where more was used."""

from collections.abc import Sequence

from service.answers.calendar import Calendar, Day
from service.answers.moments import Write
from service.terminal.layout import Block, Line, Part, can_draw
from service.terminal.words import amount

_SHADES, _ASCII_SHADES = "·░▒▓█", ".-+*#"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = ("Mo", "", "We", "", "Fr", "", "Su")


def calendar(answer: Calendar, label: str, write: Write) -> list[Block]:
    """`label`: what the metric is called."""
    known = [day.average for day in answer.days if day.average is not None]
    if not known:
        return [Line(["nothing was recorded"])]
    shades = _SHADES if can_draw(_SHADES) else _ASCII_SHADES
    least, most = min(known), max(known)
    step = (most - least) / len(shades) or 1.0

    def square(day: Day) -> str:
        return " " if day.average is None else shades[min(len(shades) - 1, int((day.average - least) / step))]

    rows = [
        Line([f"{name:3}", "".join(map(square, answer.days[weekday::7]))]) for weekday, name in enumerate(_WEEKDAYS)
    ]
    highest = max((day for day in answer.days if day.average is not None), key=lambda day: day.average or 0.0)
    return [
        Line([Part(f"{label}, average of each day", "bold")]),
        Line(),
        Line(["   ", _months([write(monday.date) for monday in answer.days[::7]])]),
        *rows,
        Line(),
        Line([f"{amount(least, answer.unit)} {shades} {amount(most, answer.unit)}; blank: not recorded"]),
        Line([f"highest on {write(highest.date)}: {amount(highest.average, answer.unit)}"]),
    ]


def _months(mondays: Sequence[str]) -> str:
    """Above the first week of each month its name, where there is room. `mondays`: their dates."""
    text = ""
    months = [int(monday[5:7]) for monday in mondays]
    for number, month in enumerate(months):
        is_new = number == 0 or month != months[number - 1]
        if is_new and len(text) <= number and number + 3 <= len(months):
            text = f"{text.ljust(number)}{_MONTHS[month - 1]} "
    return text.rstrip()
