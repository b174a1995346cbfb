"""docs/insights.md is held to the rules: every code, severity, threshold and unit."""

import re
from collections.abc import Iterator

import pytest

from service import clock
from service.answers.insights import devices, disks, load, memory, network, record, rhythm
from service.answers.insights.found import RULES
from service.answers.insights.rules import UNITS, Rule, size, span
from service.place import CHECKOUT as ROOT
from tests.answers.insights.test_found import FOUND

PAGE = (ROOT / "docs" / "insights.md").read_text(encoding="utf-8")
# A row for each rule, in the order of RULES: its code, its severities, and when it holds.
ROWS = re.findall(r"^\| `(\w+)` \| ((?:info|warning|critical|, )+) \| .* \| (.*) \|$", PAGE, re.M)
NUMBER = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)(?: (%|[kMGT]B|minutes|hours|days|points|captures|times|ms|per CPU|of `\w+`))?"
)
WORDS = {"_CAPTURES": "captures", "_DAYS": "days", "_FACTOR": "times", "_MINUTES": "minutes", "_PERCENT": "%"}
WORDS |= {"_HOURS": "hours", "_MS": "ms", "_PER_CPU": "per CPU", "_POINTS": "points"}


def thresholds(rule: Rule) -> Iterator[tuple[str, float | dict[str, int]]]:
    """The constants that stand above a rule in its room."""
    since: list[tuple[str, float | dict[str, int]]] = []
    for room in (disks, memory, load, devices, network, rhythm, record):
        for name, value in vars(room).items():
            if callable(value) and value in RULES:
                yield from since if value is rule else ()
                since = []
            elif re.fullmatch("[A-Z][A-Z_]+", name) and not isinstance(value, str) and not hasattr(clock, name):
                since.append((name, value))


def written(name: str, value: float | dict[str, int]) -> Iterator[tuple[float, str]]:
    """A threshold as the page writes it: numbers, each with its unit."""
    if isinstance(value, dict):
        yield from ((count, f"of `{reason}`") for reason, count in value.items())
    elif name.endswith(("_SECONDS", "_BYTES")):
        number, unit = (span(value) if name.endswith("_SECONDS") else size(value)).split()
        yield float(number), unit
    elif name.endswith("_SHARE"):
        yield round(100 * value, 6), "%"
    else:
        yield value, next((word for ending, word in WORDS.items() if name.endswith(ending)), "")


def test_each_rule_has_a_row_with_its_code() -> None:
    assert [code for code, *_ in ROWS] == [rule.__name__.removesuffix("_for_days") for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_row_names_the_severities_that_its_rule_gives(rule: Rule) -> None:
    given = {severity for _, other, severity, _ in FOUND.values() if other is rule}
    assert set(ROWS[RULES.index(rule)][1].split(", ")) == given


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_row_has_the_thresholds_of_its_rule_and_no_other_number_in_their_order(rule: Rule) -> None:
    held = [(float(value), unit) for value, unit in NUMBER.findall(ROWS[RULES.index(rule)][2])]
    assert held == [each for name, value in thresholds(rule) for each in written(name, value)]
    assert held


def test_each_ending_of_the_evidence_is_explained_by_its_unit() -> None:
    section = PAGE.partition("## What the numbers are")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| (`.+`) \| ([\w ]+\w)", section, re.M)
    units = {ending: unit for endings, unit in explained for ending in re.findall(r"\w+", endings)}
    assert units == UNITS
