"""What is drawn of each answer, without a terminal: the words, the numbers and which cell of a picture is which."""

import io
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from service import clock
from service.answers.events import Event, Events
from service.answers.forecasts import ForecastScore
from service.answers.gaps import Gap, Gaps
from service.answers.insights.rules import Finding
from service.answers.moments import Date, Moment, TimeOfDay, writer
from service.answers.peaks import Course, Peak, Peaks
from service.answers.processes import ProcessShare
from service.clock import DAY, HOUR
from service.terminal import drawings, layout
from service.terminal import words as terminal_words
from tests.conftest import NOW


def words(blocks: list[Any]) -> list[str]:
    """The lines of text among the blocks."""
    lines = [block.parts for block in blocks if isinstance(block, layout.Line)]
    return ["".join(part if isinstance(part, str) else part.text for part in parts) for parts in lines]


WRITE = writer(clock.zone("UTC"))


def gap(start: int, end: int) -> Gap:
    return Gap(start=Moment(start), end=Moment(end), seconds=end - start, reason="killed")


def peak(start: int, *processes: ProcessShare) -> Peak:
    return Peak(
        label=TimeOfDay(start),
        date=Date(start),
        start=Moment(start),
        end=Moment(start + 1800),
        average=9,
        maximum=9,
        maximum_at=None,
        prominence=9,
        processes_start=None,
        processes_end=None,
        processes=list(processes),
        services=[],
    )


def peaks(metric: str, *found: Peak) -> Peaks:
    return Peaks(start=Moment(NOW), end=Moment(NOW + DAY), metric=metric, peaks=list(found))


def course(average: float) -> Course:
    return Course(NOW, 1800, [average] * 48, [average] * 48)


def finding(severity: Any) -> Finding:
    return Finding(code="disk_full", severity=severity, title="", detail="", evidence={}, sql="")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (0.004, "0"),
        (6.2, "6.2"),
        (9.999, "10.0"),
        (62.06, "62.1"),
        (99.96, "100"),
        (1560, "1,560"),
    ],
)
def test_a_figure_has_three_digits(value: float | None, shown: str) -> None:
    assert terminal_words.figure(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0, "0 kB"), (999_400, "999 kB"), (999_600, "1 MB"), (1.234e9, "1.23 GB"), (2e15, "2 PB")],
)
def test_a_size_has_the_unit_that_makes_it_short(value: float | None, shown: str) -> None:
    assert terminal_words.size(value) == shown


@given(st.floats(0, 9e17))
def test_a_size_is_at_most_eight_letters_to_the_petabyte(value: float) -> None:
    assert len(terminal_words.size(value)) <= 8


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (12000, "3 h 20 min"),
        (DAY, "1 d"),
        (90061, "1 d 1 h"),
        (7261, "2 h 1 min"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds: float, shown: str) -> None:
    assert terminal_words.span(seconds) == shown


@pytest.mark.parametrize(
    ("value", "style"), [(None, ""), (69.9, "green"), (70, "yellow"), (89.9, "yellow"), (90, "red")]
)
def test_a_percentage_is_coloured_by_its_level(value: float | None, style: str) -> None:
    assert terminal_words.level(value) == style


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("used_percent", 99.94, "99.9 %"),
        ("growth_bytes_per_day", 8e9, "8 GB a day"),
        ("hour", 3, "03:00"),
        ("last_run_id", 12345, "12345"),
        ("level_bytes", None, "unknown"),
        ("covered_seconds", 7200, "2 h"),
        ("earliest_ts", NOW, "2026-01-05T10:00:00Z"),
        ("captures", 1200, "1,200"),
        ("factor", 1.254, "1.25"),
    ],
)
def test_evidence_is_written_in_the_unit_of_its_name(key: str, value: float | None, shown: str) -> None:
    assert drawings.evident(key, value, WRITE) == shown


@pytest.mark.parametrize(
    ("key", "label"),
    [("used_percent", "used"), ("growth_bytes_per_day", "growth"), ("longest_seconds", "longest"), ("made_ts", "made"),
     ("most_load_per_cpu", "most load"), ("saturated_minutes", "saturated minutes"), ("hour", "hour")],
)  # fmt: skip
def test_a_label_of_evidence_is_in_words_without_the_unit(key: str, label: str) -> None:
    assert drawings.evidence_label(key) == label


@pytest.mark.parametrize(
    ("severities", "shown"),
    [
        ([], "nothing to report"),
        (["info"], "1 note: python3 manage.py insights"),
        (["info", "warning", "info"], "1 warning, 2 notes: python3 manage.py insights"),
        (["critical", "critical"], "2 critical: python3 manage.py insights"),
    ],
)
def test_insights_are_counted_by_severity(severities: list[str], shown: str) -> None:
    counted = drawings.counted([finding(severity) for severity in severities])
    assert shown == (
        counted if isinstance(counted, str) else "".join(p if isinstance(p, str) else p.text for p in counted)
    )


def test_the_score_is_a_sentence_and_a_bar_for_what_held_and_what_should() -> None:
    answer = ForecastScore(made=30, due=20, held=17, earlier=1, later=2, independent=6, nominal=0.8, sql="")
    sentence, _, bars = drawings.score(answer)
    assert words([sentence]) == [
        "17 of the 20 forecasts that have come due held (85 %; 80 % should); 1 came earlier, 2 later. "
        "6 of them do not overlap"
    ]
    assert [row[2].share for row in bars.rows] == [0.85, 0.8]  # type: ignore[union-attr]
    assert words(drawings.score(msgspec.structs.replace(answer, due=0))) == ["30 forecasts made, none of them due yet"]


def test_a_mark_stands_below_its_bucket_and_labels_do_not_run_into_each_other() -> None:
    found = [peak(NOW), peak(NOW + 2 * 1800), peak(NOW + 20 * 1800), peak(NOW + 47 * 1800)]
    lines = words(drawings.peaks(peaks("cpu_percent", *found), course(1.0), WRITE))
    margin = len("10.0 % ")
    first, second = [line[margin:] for line in lines if "▲" in line]
    assert [number for number, letter in enumerate(first) if letter == "▲"] == [0, 20, 47]
    assert first == f"{'▲10:00':20}{'▲20:00':22}09:30▲"
    assert second == "  ▲11:00"


def test_peaks_of_memory_name_who_held_most_and_others_who_used_most() -> None:
    java = ProcessShare(
        name="java",
        pids=[1],
        process_count=1,
        cpu_percent=12.06,
        children_cpu_percent=0.0,
        cpu_seconds=1.0,
        memory_bytes=2 * 10**9,
    )
    for metric, shown in (("memory_percent", "java 2 GB"), ("load_1", "java 12.1 %")):
        drawn = drawings.peaks(peaks(metric, peak(NOW, java)), course(5.0), WRITE)
        assert drawn[-1].rows[0][-1].texts == [shown]  # type: ignore[union-attr]


def test_each_cell_of_the_strip_says_whether_its_time_was_recorded() -> None:
    start, end = NOW, NOW + 60 * 60
    answer = Gaps(gaps=[gap(NOW + 600, NOW + 690), gap(NOW + 3000, NOW + 9000)])
    lines = words(drawings.gaps(answer, start, end, NOW - DAY, WRITE))
    assert lines[0] == "█" * 10 + "·▒" + "█" * 38 + "·" * 10
    assert lines[1] == f"{'2026-01-05T10:00:00Z':40}2026-01-05T11:00:00Z"
    assert "11 min 30 s missing, 80.83 % recorded" in lines


def test_what_lies_before_the_history_began_is_not_recorded_and_not_missing() -> None:
    lines = words(drawings.gaps(Gaps(gaps=[]), NOW, NOW + HOUR, NOW + HOUR // 2, WRITE))
    assert lines[0] == "·" * 30 + "█" * 30
    assert lines[-1] == "no gaps since 2026-01-05T10:30:00Z, where the history begins"


def test_a_short_gap_in_a_long_time_does_not_round_to_nothing() -> None:
    lines = words(drawings.gaps(Gaps(gaps=[gap(NOW, NOW + 10)]), NOW, NOW + 365 * DAY, NOW, WRITE))
    assert "10 s missing, 99.999968 % recorded" in lines


def test_a_lost_minute_does_not_look_like_a_lost_part_of_a_week() -> None:
    minute, hour = gap(NOW + 600, NOW + 660), gap(NOW + 3 * DAY - HOUR, NOW + 3 * DAY)
    lines = words(drawings.gaps(Gaps(gaps=[minute, hour]), NOW, NOW + 7 * DAY, NOW, WRITE))
    assert lines[0] == "▓" + "█" * 24 + "▒" + "█" * 34
    assert lines[2] == "█ recorded  ▓ less than 10 % missing  ▒ in part  · not"


def test_peaks_of_more_than_a_day_have_their_date() -> None:
    answer = peaks("cpu_percent", peak(NOW + 9000))
    blocks = drawings.peaks(answer, course(9), WRITE)
    assert blocks[-1].rows[0][0] == "12:30"
    assert any(line.endswith("▲12:30") for line in words(blocks))
    longer = msgspec.structs.replace(answer, end=Moment(NOW + 2 * DAY))
    blocks = drawings.peaks(longer, course(9), WRITE)
    assert blocks[-1].rows[0][0] == "2026-01-05 12:30"
    assert any(line.endswith("▲2026-01-05 12:30") for line in words(blocks))


def test_a_long_name_in_an_event_leaves_its_time_and_kind_in_one_piece() -> None:
    event = Event(time=Moment(NOW), ts=NOW, kind="mount_appeared", detail=f"/{'x' * 200} was mounted", evidence={})
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(layout.drawn(drawings.events(Events(events=[event]), WRITE), 80))
    assert f"{WRITE(Moment(NOW))}  mount_appeared  /xxx" in console.export_text()
