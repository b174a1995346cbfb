"""How each answer of the monitor is drawn: from its Struct to what the terminal prints; asks nothing itself."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from msgspec.structs import replace

from service.analysis.trend import TrendWord
from service.answers.events import Events
from service.answers.forecasts import ForecastScore
from service.answers.gaps import Gap, Gaps
from service.answers.insights.found import Insights
from service.answers.insights.rules import Finding, unit_of
from service.answers.moments import Moment, Write
from service.answers.peaks import Course, Peak, Peaks
from service.answers.processes import Processes, ProcessShare, sort_for
from service.answers.series import Series, SeriesColumns
from service.answers.status import LISTED_PROCESSES, Status
from service.answers.summary import MetricSummary, Summary
from service.answers.who import Who
from service.clock import DAY
from service.metrics import BY_NAME, HEADLINES, Metric
from service.place import COMMAND
from service.store.reader import Newest
from service.terminal.layout import Bar, Block, Column, Copyable, Curve, Items, Line, Part, Table, can_draw, chart, cut
from service.terminal.words import (
    amount,
    cpu_time,
    exact_percent,
    figure,
    level,
    percent,
    scale,
    sign,
    size,
    span,
    trend_word,
    whole_percent,
)

COURSE_POINTS = 61
GAP_CELLS = 60
# A cell of a week's chart is almost three hours: a lost minute must not look like a lost morning.
MUCH_MISSING = 0.1
CHART_LINES = 4
# The chart whose metrics share one row of status.
LOAD_CHART = "Load"
# So that the noise of an idle host does not draw mountains.
LEAST_SCALE = {"percent": 10, "processes": 1}
# Beyond two intervals (and what a busy host may be late by) samples do not come any more.
SILENT_INTERVALS, SILENT_SECONDS = 2, 10
# What would be shown as 0.0 %, or hardly more, is nobody to name.
LEAST_PERCENT = 0.1
# The lines of `status` but for its metrics and notes; those of a table of processes but for its names.
_OTHER_LINES, _LINES_AROUND_NAMES = 6, 8

SEVERITIES = {
    "critical": ("!!", "critical", "bold red"),
    "warning": ("!", "warning", "yellow"),
    "info": ("i", "note", "cyan"),
}
_NAME_WIDTH = 24
_USERS = {"name": "process", "service": "service"}


# -- status


def status(found: Status, insights: Insights, now: float, write: Write, height: int = 0) -> list[Block]:
    """`now`: unix seconds. `height`: lines of the terminal; what the rest leaves of them lists who used it of late."""
    newest = found.newest
    groups = [list(metrics) for _, metrics in groupby(HEADLINES, lambda metric: metric.chart)]
    rows = [row for group in groups for row in _status_rows(group, newest, found.hour, found.words)]
    columns = [
        Column(),
        Column("now", right=True),
        Column(least=12, most=20, picture=True),
        Column("last hour", least=10, most=60, picture=True),
        Column("trend"),
    ]
    notes = [
        ("most CPU", _users(found.processes.processes[:LISTED_PROCESSES])),
        ("peak times", Items([write(moment) for moment in found.peak_times])),
        ("insights", counted(insights.insights)),
    ]
    return [
        Line([write(Moment(newest.ts)), "   ", *_liveness(newest, now)]),
        Line(),
        Table(columns, rows),
        Line(),
        Table([Column(), Column(least=20, wraps=True)], [(Part(label, "dim"), text) for label, text in notes]),
        *_lately(found.processes, height - len(rows) - len(notes) - _OTHER_LINES, write),
    ]


def _lately(found: Processes, room: int, write: Write) -> list[Block]:
    """Who used the host of late, in so many lines; nothing where they are too few."""
    names = room - _LINES_AROUND_NAMES
    if names < LISTED_PROCESSES or not found.covered_seconds:
        return []
    rest = found.unattributed_cpu_percent
    if rest is not None:
        rest += sum(left_out.cpu_percent for left_out in found.processes[names:])
    shown = replace(found, processes=found.processes[:names], unattributed_cpu_percent=rest)
    return [Line(), *processes(shown, write)]


def trouble(text: str) -> list[Block]:
    """What stands where there is no answer for now."""
    return [Line([Part(text, "bold red")])]


def _status_rows(
    group: Sequence[Metric], newest: Newest, hour: Series, words: Mapping[str, TrendWord]
) -> Iterator[list[Any]]:
    """Of the metrics of one chart: a row each, none where the host has no such thing; the loads share one."""
    first, *others = group
    if first.chart == LOAD_CHART:
        yield _amount_row(first, "Load", newest, hour, words, " ".join(figure(newest.values[o.name]) for o in others))
        return
    for metric in group:
        if metric.unit == "percent":
            yield from _percent_row(metric, newest, hour, words)
        else:
            yield _amount_row(metric, metric.label, newest, hour, words, _range(metric, hour.series[metric.name]))


def _percent_row(metric: Metric, newest: Newest, hour: Series, words: Mapping[str, TrendWord]) -> Iterator[list[Any]]:
    value, curve = newest.values[metric.name], hour.series[metric.name].average
    if value is None and metric.is_optional:
        return
    share = None if value is None else value / 100
    style = level(value)
    yield [
        metric.label,
        Part(percent(value), style),
        Bar(share, style),
        Curve(curve, 0, 100, level),
        trend_word(words[metric.name]),
    ]


def _amount_row(
    metric: Metric, label: str, newest: Newest, hour: Series, words: Mapping[str, TrendWord], beside: str | Part
) -> list[Any]:
    curve = hour.series[metric.name].average
    value = (
        next((v for v in reversed(curve) if v is not None), None) if metric.is_counter else newest.values[metric.name]
    )
    drawn = Curve(curve, _curve_low(metric))
    return [label, amount(value, metric.shown_unit), beside, drawn, trend_word(words[metric.name])]


def _curve_low(metric: Metric) -> float | None:
    """From 0, but for what is counted in whole numbers, of which most never change."""
    return None if metric.unit == "processes" and metric.scale == 1 else 0


def _range(metric: Metric, series: SeriesColumns) -> Part:
    """What stands where percentages have a bar: between what the curve is drawn."""
    unit = metric.shown_unit
    highest = amount(max((value for value in series.maximum if value is not None), default=None), unit)
    if _curve_low(metric) is not None:
        return Part(f"max {highest}", "dim")
    lowest = min((value for value in series.minimum if value is not None), default=None)
    return Part(f"{amount(lowest, unit)} to {highest}", "dim")


def _liveness(newest: Newest, now: float) -> list[Part | str]:
    age = max(0.0, now - newest.ts)
    if (silence := silent(newest, now)) is not None:
        return [f"{span(age)} ago; ", Part(f"nothing is being recorded{silence}", "bold red")]
    return [f"{span(age)} ago, recording every {span(newest.interval_seconds)}"]


def silent(newest: Newest, now: float) -> str | None:
    """None while samples come; else why they do not, where that is known."""
    if newest.stopped_ts is not None:
        return " (stopped)"
    return "" if now - newest.ts > max(SILENT_SECONDS, SILENT_INTERVALS * newest.interval_seconds) else None


def counted(findings: Sequence[Finding]) -> str | list[Part | str]:
    """How many of each severity, and how to see them."""
    parts: list[Part | str] = []
    for severity, (_, word, style) in SEVERITIES.items():
        count = sum(finding.severity == severity for finding in findings)
        plural = word if count == 1 or severity == "critical" else f"{word}s"
        parts += [", " if parts else "", Part(f"{count} {plural}", style)] if count else []
    return [*parts, f": {COMMAND} insights"] if parts else "nothing to report"


# -- summary


def summary(answer: Summary, series: Series, write: Write) -> list[Block]:
    """`series`: of all metrics over the same window."""
    columns = [
        *(Column("metric", least=18), *(Column(name, right=True) for name in ("avg", "min", "max", "p95")), Column()),
        *(Column("course", least=6, most=60, picture=True), Column("trend")),
    ]
    rows = [_summary_row(BY_NAME[name], found, series.series[name].average) for name, found in answer.metrics.items()]
    window = f"{write(answer.start)} to {write(answer.end)}, {whole_percent(answer.coverage)} recorded"
    return [Line([window]), Line(), Table(columns, rows)]


def _summary_row(metric: Metric, found: MetricSummary, course: Sequence[float | None]) -> list[Any]:
    name, values = metric.name, [found.average, found.minimum, found.maximum, found.p95]
    curve = Curve(course, _curve_low(metric))
    if found.unit == "percent":
        curve = Curve(course, 0, 100, level)
    if found.unit != "bytes per second":
        return [name, *map(figure, values), sign(found.unit), curve, trend_word(found.trend.word)]
    factor, unit = scale(max((value for value in values if value is not None), default=0))
    scaled = [figure(None if value is None else value / factor) for value in values]
    return [name, *scaled, f"{unit}/s", curve, trend_word(found.trend.word)]


# -- peaks


def peaks(answer: Peaks, course: Course, write: Write) -> list[Block]:
    """`course`: the buckets that the peaks were found among."""
    if not answer.peaks:
        return [Line(["nothing was recorded"])]
    metric = BY_NAME[answer.metric]
    unit, by = metric.shown_unit, sort_for(metric)
    columns = [
        *(
            Column("peak"),
            Column("average", right=True),
            Column("max", right=True),
            Column("max at", least=10, wraps=True),
        ),
        Column("who", least=16, wraps=True),
    ]
    rows = [
        (
            _peak_label(peak, answer, write),
            amount(peak.average, unit),
            amount(peak.maximum, unit),
            "-" if peak.maximum_at is None else write(peak.maximum_at),
            _who(peak, by),
        )
        for peak in answer.peaks
    ]
    title = Line([Part(answer.metric, "bold"), f", {write(answer.start)} to {write(answer.end)}"])
    return [title, Line(), *_strip(answer, course, write), Line(), Table(columns, rows)]


def _strip(answer: Peaks, course: Course, write: Write) -> list[Block]:
    """The window as a chart with its scale at the left, and below it the labels of the peaks."""
    values, metric = course.averages, BY_NAME[answer.metric]
    high = max(LEAST_SCALE.get(metric.unit, 0), *(value for value in values if value is not None))
    scale = amount(high, metric.shown_unit)
    edges = [scale, *[""] * (CHART_LINES - 2), "0"]
    style = level if metric.unit == "percent" else (lambda _: "cyan")
    lines = [
        Line([Part(f"{edge:>{len(scale)}} ", "dim"), *_coloured(blocks, values, style)])
        for edge, blocks in zip(edges, chart(values, high, CHART_LINES), strict=True)
    ]
    margin = " " * (len(scale) + 1)
    return [*lines, *(Line([margin, line]) for line in _marks(answer, course, write))]


def _coloured(blocks: str, values: Sequence[float | None], style: Callable[[float], str]) -> list[Part]:
    return [Part(block, "" if v is None else style(v)) for block, v in zip(blocks, values, strict=True)]


def _peak_label(peak: Peak, answer: Peaks, write: Write) -> str:
    """HH:MM, which is unique within a day; over a longer window with the date before it."""
    date = write(Moment(peak.start))[: len("2026-11-24")]
    return f"{date} {write(peak.label)}" if answer.end - answer.start > DAY else write(peak.label)


def _marks(answer: Peaks, course: Course, write: Write) -> list[str]:
    """A mark below each peak's block with its label beside it, on as many lines as keep them apart."""
    mark = "▲" if can_draw("▲") else "^"
    lines: list[str] = []
    for peak in answer.peaks:
        place, label = (peak.start - course.start) // course.step, _peak_label(peak, answer, write)
        fits = place + 1 + len(label) <= len(course.averages)
        text, begins = (mark + label, place) if fits else (label + mark, place - len(label))
        number = next((n for n, line in enumerate(lines) if len(line) < begins), len(lines))
        lines += [""] if number == len(lines) else []
        lines[number] = f"{lines[number]:{begins}}{text}"
    return lines


def _who(peak: Peak, by: str) -> Items:
    if by == "memory":
        return Items([f"{_name(usage)} {size(usage.memory_bytes)}" for usage in peak.processes])
    return _users(peak.processes)


def _users(usages: Sequence[ProcessShare]) -> Items:
    """Those who used CPU that one can see."""
    return Items([f"{_name(u)} {percent(u.cpu_percent)}" for u in usages if u.cpu_percent >= LEAST_PERCENT])


# -- processes


def processes(answer: Processes, write: Write) -> list[Block]:
    if not answer.covered_seconds:
        return [Line(["nothing was recorded"])]
    used = f"CPU {percent(answer.cpu_percent)} over {span(answer.covered_seconds)} recorded"
    return [Line([f"{write(answer.start)} to {write(answer.end)}"]), Line([used]), Line(), users(answer)]


def users(answer: Processes, until: str = "") -> Table:
    """A row for each, and what is unattributed. `until`: a time, for the heading."""
    most = max((usage.memory_bytes or 0 for usage in answer.processes), default=0)
    bars = Column(least=5, most=24, picture=True)
    columns = [
        *(
            Column(_USERS[answer.by] + (until and f", {until}"), least=15, most=_NAME_WIDTH),
            Column("CPU", right=True),
            bars,
        ),
        *(Column("CPU time", right=True, spare=True), Column("memory", right=True), bars, Column("pids", spare=True)),
    ]
    rows = [_usage_row(usage, most) for usage in answer.processes]
    rest = answer.unattributed_cpu_percent
    left = [Part("(unattributed)", "dim"), Part(percent(rest), "dim"), Bar(rest and rest / 100, "dim")]
    return Table(columns, [*rows, [*left, *[Part("-", "dim")] * 2, "", ""]])


def _usage_row(usage: ProcessShare, most: float) -> list[Any]:
    cpu, memory = usage.cpu_percent, usage.memory_bytes
    return [
        usage.name,
        percent(cpu),
        Bar(cpu / 100, level(cpu)),
        cpu_time(usage.cpu_seconds),
        "?" if memory is None else size(memory),
        Bar((memory or 0) / most if most else 0, "magenta"),
        _few(usage.pids),
    ]


# -- who


def who(answer: Who, write: Write) -> list[Block]:
    """A row for each that used most, in the order of the answer, then all others, what is unattributed, and the sum."""
    if all(total is None for total in answer.total) and not answer.series:
        return [Line(["nothing was recorded"])]
    rows: dict[str, tuple[Sequence[float | None], str]] = {name: (each, "") for name, each in answer.series.items()}
    rest = {"(others)": answer.other, "(unattributed)": answer.unattributed, "(all)": answer.total}
    rows |= {name: (values, "dim") for name, values in rest.items()}
    columns = [
        *(
            Column(_USERS[answer.by], least=15, most=_NAME_WIDTH),
            Column("average", right=True),
            Column("most", right=True),
        ),
        Column("course", least=10, most=COURSE_POINTS, picture=True),
    ]
    most = max((value for values, _ in rows.values() for value in values if value is not None), default=0.0)
    table = [_who_row(name, *row, answer.unit, most) for name, row in rows.items()]
    of = "CPU, in percent of the whole machine" if answer.metric == "cpu" else "memory, on average over each bucket"
    head = f"{write(answer.start)} to {write(answer.end)}, a bucket {span(answer.step)}"
    return [Line([head]), Line([f"{of}; each curve up to {amount(most, answer.unit)}"]), Line(), Table(columns, table)]


def _who_row(name: str, values: Sequence[float | None], style: str, unit: str, most: float) -> list[Any]:
    known = [value for value in values if value is not None]
    average = sum(known) / len(known) if known else None
    shown = (amount(value, unit) for value in (average, max(known, default=None)))
    return [Part(name, style), *(Part(text, style) for text in shown), Curve(values, 0, most or 1)]


def _few(pids: Sequence[int]) -> str:
    """The first, and how many more there are."""
    return " ".join(map(str, pids[:1])) + (f" +{len(pids) - 1}" if len(pids) > 1 else "")


def _name(usage: ProcessShare) -> str:
    """Of a process, short enough for a list."""
    return cut(usage.name, _NAME_WIDTH)


# -- insights


def insights(answer: Insights, write: Write, with_sql: bool) -> list[Block]:
    if not answer.insights:
        return [Line(["nothing to report"])]
    blocks: list[Block] = []
    for finding in answer.insights:
        blocks += [*_finding(finding, write, with_sql), Line()]
    return blocks[:-1] if with_sql else [*blocks, Line([Part(f"{COMMAND} insights --sql shows the SQL", "dim")])]


def _finding(finding: Finding, write: Write, with_sql: bool) -> list[Block]:
    mark, word, style = SEVERITIES[finding.severity]
    evidence = [f"{evidence_label(key)} {evident(key, value, write)}" for key, value in finding.evidence.items()]
    rows: list[tuple[Any, Any]] = [
        (Part(f"{mark:2} {word:8}", style), Part(finding.title, "bold")),
        ("", finding.detail),
        ("", Items([f"{finding.code}: {evidence[0]}", *evidence[1:]] if evidence else [finding.code], "dim")),
    ]
    table = Table([Column(), Column(least=20, wraps=True)], rows)
    return [table, Line(), Copyable(finding.sql)] if with_sql else [table]


_WRITTEN: Mapping[str, Callable[[float], str]] = {
    "percent": percent,
    "bytes": size,
    "bytes per day": lambda value: f"{size(value)} a day",
    "seconds": span,
    "hour of the day": lambda value: f"{value:02.0f}:00",
    "identifier": str,
}


def evident(key: str, value: float | None, write: Write) -> str:
    """A number of the evidence in the unit that its name says."""
    if value is None:
        return "unknown"
    unit = unit_of(key)
    if unit == "time":
        return write(Moment(value))
    if unit in _WRITTEN:
        return _WRITTEN[unit](value)
    return f"{value:,}" if isinstance(value, int) else figure(value)


def evidence_label(key: str) -> str:
    """What a number of the evidence is, without its unit."""
    unit = unit_of(key).replace(" ", "_").lower()
    return key.removesuffix(f"_{unit}").removesuffix("_ts").replace("_", " ")


def score(answer: ForecastScore) -> list[Block]:
    if not answer.due:
        return [Line([f"{answer.made} forecasts made, none of them due yet"])]
    share, nominal = answer.held / answer.due, answer.nominal
    sentence = (
        f"{answer.held} of the {answer.due} forecasts that have come due held ({whole_percent(share)}; "
        f"{whole_percent(nominal)} should); {answer.earlier} came earlier, {answer.later} later. "
        f"{answer.independent} of them do not overlap"
    )
    style = "green" if share >= nominal else "yellow"
    bars = Table(
        [Column(), Column(right=True), Column(least=10, most=40, picture=True)],
        [("held", whole_percent(share), Bar(share, style)), ("should", whole_percent(nominal), Bar(nominal, "dim"))],
    )
    return [Line([sentence]), Line(), bars]


# -- gaps


def gaps(answer: Gaps, start: int, end: int, oldest: int | None, write: Write) -> list[Block]:
    """start <= ts < end: the window that was asked for. `oldest`: where the history begins, all in unix seconds."""
    if oldest is None or oldest >= end:
        return [Line(["nothing was recorded"])]
    begins = max(start, oldest)
    missing = sum(_overlap((gap.start, gap.end), (begins, end)) for gap in answer.gaps)
    sentence = f"{span(missing)} missing, {exact_percent(1 - missing / (end - begins))} recorded"
    if not answer.gaps:
        sentence = "no gaps"
    since = f" since {write(Moment(oldest))}, where the history begins" if oldest > start else ""
    columns = [Column(edge, least=10, wraps=True) for edge in ("from", "to")]
    columns += [Column("how long", right=True), Column("reason")]
    rows = [(write(gap.start), write(gap.end), span(gap.seconds), gap.reason) for gap in answer.gaps]
    strip = [*_gap_strip(answer.gaps, start, end, oldest, write), Line(), Line([Part(sentence, "bold"), since])]
    if rows:
        strip += [Line(), Table(columns, rows)]
    return strip


def events(answer: Events, write: Write) -> list[Block]:
    if not answer.events:
        return [Line(["nothing happened that is recorded"])]
    columns = [Column("time", least=10, wraps=True), Column("kind"), Column("detail", least=24, wraps=True)]
    return [Table(columns, [(write(event.time), event.kind, event.detail) for event in answer.events])]


def _gap_strip(found: Sequence[Gap], start: int, end: int, oldest: int, write: Write) -> list[Block]:
    whole, most, some, none = ("█", "▓", "▒", "·") if can_draw("█▓▒·") else ("#", "*", "+", ".")
    edges = [start + (end - start) * cell // GAP_CELLS for cell in range(GAP_CELLS + 1)]
    spans = [*((gap.start, gap.end) for gap in found), (0, oldest)]
    cells: list[Part | str] = []
    for cell in pairwise(edges):
        lacking = sum(_overlap(missing, cell) for missing in spans)
        share = lacking / max(1, cell[1] - cell[0])
        mark, colour = (none, "red") if share >= 1 else (some, "yellow") if share >= MUCH_MISSING else (most, "green")
        cells.append(Part(mark if lacking else whole, colour))
    left, right = write(Moment(start)), write(Moment(end))
    legend: list[Part | str] = [
        Part(whole, "green"),
        " recorded  ",
        Part(most, "green"),
        f" less than {whole_percent(MUCH_MISSING)} missing  ",
        Part(some, "yellow"),
        " in part  ",
        Part(none, "red"),
        " not",
    ]
    return [Line(cells), Line([f"{left}{right:>{GAP_CELLS - len(left)}}"]), Line(legend)]


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def shares_sql(sql: str) -> list[Block]:
    """What gives the shares of an answer at a prompt."""
    return [Line(), Copyable(sql)]
