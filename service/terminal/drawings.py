"""How each answer of the monitor is drawn: from its dictionaries to what the terminal prints; asks nothing itself."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from service import clock
from service.answers.monitor import sort_for
from service.clock import DAY, HOUR, MINUTE
from service.metrics import BY_NAME
from service.store import captures
from service.store.reader import Newest
from service.terminal.layout import Bar, Block, Column, Copyable, Curve, Items, Line, Part, Table, can_draw, chart, cut

# What status shows: metric, what it is called, and what stands beside it.
STATUS = (
    ("cpu_percent", "CPU"),
    ("memory_percent", "Memory"),
    ("swap_percent", "Swap"),
    ("disk_percent", "Disk"),
    ("load_1", "Load"),
    ("process_count", "Processes"),
    ("network_received_bytes", "Network in"),
    ("network_sent_bytes", "Network out"),
    ("disk_read_bytes", "Disk read"),
    ("disk_written_bytes", "Disk written"),
)
# One point a minute of the last hour, and that which has begun.
HOUR_POINTS = 61
COURSE_POINTS = 61
GAP_CELLS = 60
CHART_LINES = 4
# So that the noise of an idle host does not look like mountains.
LEAST_SCALE = {"percent": 10, "processes": 1}
# Beyond two intervals (and what a busy host may be late by) samples do not come any more.
SILENT_INTERVALS, SILENT_SECONDS = 2, 10
# What would be told as 0.0 %, or hardly more, is nobody to name.
LEAST_PERCENT = 0.1
YELLOW_PERCENT, RED_PERCENT = 70, 90

SEVERITIES = {
    "critical": ("!!", "critical", "bold red"),
    "warning": ("!", "warning", "yellow"),
    "info": ("i", "note", "cyan"),
}
_NAME_WIDTH = 24

# Writes unix seconds as answers do.
Moment = Callable[[float], str]


# -- status


def status(
    newest: Newest,
    hour: Mapping[str, Any],
    words: Mapping[str, str],
    peak_times: Sequence[str],
    processes: Mapping[str, Any],
    insights: Mapping[str, Any],
    now: float,
    moment: Moment,
) -> list[Block]:
    """`hour`: the series of the last hour. `words`: trend words. `processes`: who used most of late. `now`: unix."""
    rows = [_status_row(name, label, newest, hour["series"][name], words[name]) for name, label in STATUS]
    columns = [
        *(Column(), Column("now", right=True), Column(least=12, most=20, picture=True)),
        *(Column("last hour", least=10, most=60, picture=True), Column("trend")),
    ]
    notes = [
        ("most CPU", _users(processes["processes"])),
        ("peak times", Items(peak_times)),
        ("insights", counted(insights["insights"])),
    ]
    return [
        Line([moment(newest.ts), "   ", *_liveness(newest, now)]),
        Line(),
        Table(columns, [row for row in rows if row]),
        Line(),
        Table([Column(), Column(least=20, wraps=True)], [(Part(label, "dim"), text) for label, text in notes]),
    ]


def trouble(text: str) -> list[Block]:
    """What stands where there is no answer for now."""
    return [Line([Part(text, "bold red")])]


def _status_row(name: str, label: str, newest: Newest, series: Mapping[str, Any], word: str) -> list[Any] | None:
    """None where the host has no such thing."""
    metric, curve = BY_NAME[name], series["average"]
    value = next((v for v in reversed(curve) if v is not None), None) if metric.is_counter else newest.values[name]
    if value is None and name == "swap_percent":
        return None
    if metric.unit == "percent":
        style = level(value)
        share = None if value is None else value / 100
        return [label, Part(percent(value), style), Bar(share, style), Curve(curve, 0, 100, level), _trend(word)]
    # From 0, but for the number of processes, of which the most never change.
    drawn = Curve(curve, None if name == "process_count" else 0)
    return [label, _amount(value, metric.shown_unit), _beside(name, newest, series), drawn, _trend(word)]


def _beside(name: str, newest: Newest, series: Mapping[str, Any]) -> str | Part:
    """What stands where percentages have a bar: between what the curve is drawn, and the other two of the load."""
    if name == "load_1":
        return " ".join(figure(newest.values[load]) for load in ("load_5", "load_15"))
    unit = BY_NAME[name].shown_unit
    highest = _amount(max((value for value in series["maximum"] if value is not None), default=None), unit)
    if name != "process_count":
        return Part(f"max {highest}", "dim")
    lowest = min((value for value in series["minimum"] if value is not None), default=None)
    return Part(f"{_amount(lowest, unit)} to {highest}", "dim")


def _liveness(newest: Newest, now: float) -> list[Part | str]:
    age = max(0.0, now - newest.ts)
    if newest.stopped_ts is not None:
        return [f"{span(age)} ago; ", Part("nothing is being recorded (stopped)", "bold red")]
    if age > max(SILENT_SECONDS, SILENT_INTERVALS * newest.interval_seconds):
        return [f"{span(age)} ago; ", Part("nothing is being recorded", "bold red")]
    return [f"{span(age)} ago, recording every {span(newest.interval_seconds)}"]


def counted(findings: Sequence[Mapping[str, Any]]) -> str | list[Part | str]:
    """How many of each severity, and how to see them."""
    parts: list[Part | str] = []
    for severity, (_, word, style) in SEVERITIES.items():
        count = sum(finding["severity"] == severity for finding in findings)
        plural = word if count == 1 or severity == "critical" else f"{word}s"
        parts += [", " if parts else "", Part(f"{count} {plural}", style)] if count else []
    return [*parts, ": python3 manage.py insights"] if parts else "nothing to report"


# -- summary


def summary(answer: Mapping[str, Any], series: Mapping[str, Any]) -> list[Block]:
    """`series`: of all metrics over the same window."""
    columns = [
        *(Column("metric", least=18), *(Column(name, right=True) for name in ("avg", "min", "max", "p95")), Column()),
        *(Column("course", least=6, most=60, picture=True), Column("trend")),
    ]
    rows = [_summary_row(name, told, series["series"][name]["average"]) for name, told in answer["metrics"].items()]
    window = f"{answer['start']} to {answer['end']}, {_share(answer['coverage'])} recorded"
    return [Line([window]), Line(), Table(columns, rows)]


def _summary_row(name: str, told: Mapping[str, Any], course: Sequence[float | None]) -> list[Any]:
    values = [told[key] for key in ("average", "minimum", "maximum", "p95")]
    curve = Curve(course, None if name == "process_count" else 0)
    if told["unit"] == "percent":
        curve = Curve(course, 0, 100, level)
    if told["unit"] != "bytes per second":
        return [name, *map(figure, values), _sign(told["unit"]), curve, _trend(told["trend"]["word"])]
    factor, unit = _scale(max((value for value in values if value is not None), default=0))
    scaled = [figure(None if value is None else value / factor) for value in values]
    return [name, *scaled, f"{unit}/s", curve, _trend(told["trend"]["word"])]


# -- peaks


def peaks(answer: Mapping[str, Any], course: Mapping[str, Any]) -> list[Block]:
    """`course`: the buckets that the peaks were found among."""
    if not answer["peaks"]:
        return [Line(["nothing was recorded"])]
    metric = BY_NAME[answer["metric"]]
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
        (p["label"], _amount(p["average"], unit), _amount(p["maximum"], unit), p["maximum_at"] or "-", _who(p, by))
        for p in answer["peaks"]
    ]
    title = Line([Part(answer["metric"], "bold"), f", {answer['start']} to {answer['end']}"])
    return [title, Line(), *_strip(answer, course), Line(), Table(columns, rows)]


def _strip(answer: Mapping[str, Any], course: Mapping[str, Any]) -> list[Block]:
    """The window as a chart with its scale at the left, and below it the labels of the peaks."""
    values, metric = course["average"], BY_NAME[answer["metric"]]
    high = max(LEAST_SCALE.get(metric.unit, 0), *(value for value in values if value is not None))
    scale = _amount(high, metric.shown_unit)
    edges = [scale, *[""] * (CHART_LINES - 2), "0"]
    style = level if metric.unit == "percent" else (lambda _: "cyan")
    lines = [
        Line([Part(f"{edge:>{len(scale)}} ", "dim"), *_coloured(blocks, values, style)])
        for edge, blocks in zip(edges, chart(values, high, CHART_LINES), strict=True)
    ]
    margin = " " * (len(scale) + 1)
    return [*lines, *(Line([margin, line]) for line in _marks(answer["peaks"], course))]


def _coloured(blocks: str, values: Sequence[float | None], style: Callable[[float], str]) -> list[Part]:
    return [Part(block, "" if v is None else style(v)) for block, v in zip(blocks, values, strict=True)]


def _marks(found: Sequence[Mapping[str, Any]], course: Mapping[str, Any]) -> list[str]:
    """A mark below each peak's block with its label beside it, on as many lines as keep them apart."""
    mark = "▲" if can_draw("▲") else "^"
    lines: list[str] = []
    for peak in found:
        place = (clock.parse_time(peak["start"], 0) - course["start"]) // course["step"]
        fits = place + 1 + len(peak["label"]) <= len(course["average"])
        text, begins = (mark + peak["label"], place) if fits else (peak["label"] + mark, place - len(peak["label"]))
        number = next((n for n, line in enumerate(lines) if len(line) < begins), len(lines))
        lines += [""] if number == len(lines) else []
        lines[number] = f"{lines[number]:{begins}}{text}"
    return lines


def _who(peak: Mapping[str, Any], by: str) -> Items:
    if by == "memory":
        return Items([f"{_name(use)} {size(use['memory_bytes'])}" for use in peak["processes"]])
    return _users(peak["processes"])


def _users(uses: Sequence[Mapping[str, Any]]) -> Items:
    """Those who used CPU that one can see."""
    return Items([f"{_name(use)} {percent(use['cpu_percent'])}" for use in uses if use["cpu_percent"] >= LEAST_PERCENT])


# -- processes


def processes(answer: Mapping[str, Any]) -> list[Block]:
    if not answer["covered_seconds"]:
        return [Line(["nothing was recorded"])]
    most = max((use["memory_bytes"] for use in answer["processes"]), default=0)
    bars = Column(least=5, most=24, picture=True)
    columns = [
        *(Column("process", least=15, most=_NAME_WIDTH), Column("CPU", right=True), bars),
        *(Column("CPU time", right=True), Column("memory", right=True), bars, Column("pids")),
    ]
    rows = [_use_row(use, most) for use in answer["processes"]]
    rest = answer["unattributed_cpu_percent"]
    left = [Part("(unattributed)", "dim"), Part(percent(rest), "dim"), Bar(rest and rest / 100, "dim")]
    rows.append([*left, *[Part("-", "dim")] * 2, "", ""])
    used = f"CPU {percent(answer['cpu_percent'])} over {span(answer['covered_seconds'])} recorded"
    return [Line([f"{answer['start']} to {answer['end']}"]), Line([used]), Line(), Table(columns, rows)]


def _use_row(use: Mapping[str, Any], most: float) -> list[Any]:
    cpu, memory = use["cpu_percent"], use["memory_bytes"]
    return [
        *(use["name"], percent(cpu), Bar(cpu / 100, level(cpu)), _cpu_time(use["cpu_seconds"])),
        *(size(memory), Bar(memory / most if most else 0, "magenta"), _few(use["pids"])),
    ]


def _few(pids: Sequence[int]) -> str:
    """The first, and how many more there are."""
    return " ".join(map(str, pids[:1])) + (f" +{len(pids) - 1}" if len(pids) > 1 else "")


def _name(use: Mapping[str, Any]) -> str:
    """Of a process, short enough for a list."""
    return cut(use["name"], _NAME_WIDTH)


# -- insights


def insights(answer: Mapping[str, Any], moment: Moment, with_sql: bool) -> list[Block]:
    if not answer["insights"]:
        return [Line(["nothing to report"])]
    blocks: list[Block] = []
    for finding in answer["insights"]:
        blocks += [*_finding(finding, moment, with_sql), Line()]
    return blocks[:-1] if with_sql else [*blocks, Line([Part("python3 manage.py insights --sql shows the SQL", "dim")])]


def _finding(finding: Mapping[str, Any], moment: Moment, with_sql: bool) -> list[Block]:
    mark, word, style = SEVERITIES[finding["severity"]]
    evidence = [f"{key} {evident(key, value, moment)}" for key, value in finding["evidence"].items()]
    rows: list[tuple[Any, Any]] = [
        (Part(f"{mark:2} {word:8}", style), Part(finding["title"], "bold")),
        ("", finding["detail"]),
        ("", Items([f"{finding['code']}: {evidence[0]}", *evidence[1:]] if evidence else [finding["code"]], "dim")),
    ]
    table = Table([Column(), Column(least=20, wraps=True)], rows)
    return [table, Line(), Copyable(finding["sql"])] if with_sql else [table]


def evident(key: str, value: float | None, moment: Moment) -> str:
    """A number of the evidence in the unit that its name says."""
    if value is None:
        return "unknown"
    if key.endswith("_ts") or key == "ts":
        return moment(value)
    for ending, write in (("percent", percent), ("_bytes", size), ("_seconds", span), ("_bytes_per_day", size)):
        if key.endswith(ending):
            return write(value)
    return f"{value:,}" if isinstance(value, int) else figure(value)


def score(answer: Mapping[str, Any]) -> list[Block]:
    if not answer["due"]:
        return [Line([f"{answer['made']} forecasts made, none of them due yet"])]
    share, nominal = answer["held"] / answer["due"], answer["nominal"]
    told = (
        f"{answer['held']} of the {answer['due']} forecasts that have come due held ({_share(share)}; "
        f"{_share(nominal)} should); {answer['earlier']} came earlier, {answer['later']} later"
    )
    style = "green" if share >= nominal else "yellow"
    bars = Table(
        [Column(), Column(right=True), Column(least=10, most=40, picture=True)],
        [("held", _share(share), Bar(share, style)), ("should", _share(nominal), Bar(nominal, "dim"))],
    )
    return [Line([told]), Line(), bars]


# -- gaps


def gaps(answer: Mapping[str, Any], start: int, end: int, oldest: int | None, moment: Moment) -> list[Block]:
    """start <= ts < end: the window that was asked for. `oldest`: where the history begins, all in unix seconds."""
    if oldest is None or oldest >= end:
        return [Line(["nothing was recorded"])]
    spans = [(clock.parse_time(gap["start"], 0), clock.parse_time(gap["end"], 0)) for gap in answer["gaps"]]
    begins = max(start, oldest)
    missing = sum(_overlap(span_, (begins, end)) for span_ in spans)
    told = f"{span(missing)} missing, {_exact_share(1 - missing / (end - begins))} recorded"
    if not spans:
        told = "no gaps"
    since = f" since {moment(oldest)}, where the history begins" if oldest > start else ""
    columns = [Column(edge, least=10, wraps=True) for edge in ("from", "to")]
    columns += [Column("how long", right=True), Column("reason")]
    rows = [(gap["start"], gap["end"], span(gap["seconds"]), gap["reason"]) for gap in answer["gaps"]]
    strip = [*_gap_strip(spans, start, end, oldest, moment), Line(), Line([Part(told, "bold"), since])]
    if rows:
        strip += [Line(), Table(columns, rows)]
    return strip


def _gap_strip(spans: Sequence[tuple[int, int]], start: int, end: int, oldest: int, moment: Moment) -> list[Block]:
    whole, some, none = ("█", "▒", "·") if can_draw("█▒·") else ("#", "+", ".")
    edges = [start + (end - start) * cell // GAP_CELLS for cell in range(GAP_CELLS + 1)]
    cells: list[Part | str] = []
    for cell in pairwise(edges):
        lacking = sum(_overlap(span_, cell) for span_ in [*spans, (0, oldest)])
        full = lacking >= cell[1] - cell[0]
        cells.append(Part(none, "red") if full else Part(some, "yellow") if lacking else Part(whole, "green"))
    left, right = moment(start), moment(end)
    legend: list[Part | str] = [
        Part(whole, "green"),
        " recorded  ",
        Part(some, "yellow"),
        " in part  ",
        Part(none, "red"),
        " not",
    ]
    return [Line(cells), Line([f"{left}{right:>{GAP_CELLS - len(left)}}"]), Line(legend)]


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


# -- words and numbers


def level(value: float | None) -> str:
    """The colour of a percentage."""
    if value is None:
        return ""
    return "red" if value >= RED_PERCENT else "yellow" if value >= YELLOW_PERCENT else "green"


def _trend(word: str) -> Part:
    arrows = (
        {"increasing": "↑", "decreasing": "↓", "stable": "→"}
        if can_draw("↑↓→")
        else {"increasing": "^", "decreasing": "v", "stable": "="}
    )
    return Part(f"{arrows.get(word, '?')} {word}", "dim" if word in ("stable", "unknown") else "")


def figure(value: float | None) -> str:
    """Three digits are what people compare by."""
    if value is None:
        return "-"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}".rstrip("0").rstrip(".")


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"


def _share(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def _exact_share(share: float) -> str:
    """With as many digits as tell it from all and from nothing."""
    texts = [f"{100 * share:.{digits}f}" for digits in (2, 4, 6)]
    return next((text for text in texts if share in (0, 1) or float(text) not in (0, 100)), texts[-1]) + " %"


def _scale(value: float) -> tuple[float, str]:
    """By what to divide bytes, and what they are called then."""
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= 0.9995 * factor:
            return factor, unit
    return 1e3, "kB"


def size(value: float | None) -> str:
    if value is None:
        return "-"
    factor, unit = _scale(abs(value))
    return f"{figure(value / factor)} {unit}"


def _sign(unit: str) -> str:
    return "%" if unit == "percent" else ""


def _amount(value: float | None, unit: str) -> str:
    """A value of a metric with its unit."""
    if value is None:
        return "-"
    if unit == "bytes per second":
        return f"{size(value)}/s"
    if unit == "percent":
        return percent(value)
    return f"{value:,.0f}" if value == round(value) else figure(value)


def span(seconds: float) -> str:
    """A stretch of time in its two largest units, like 3 h 20 min."""
    whole = round(seconds)
    for length, unit, smaller, name in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", 1, "s")):
        if whole >= length:
            rest = whole % length // smaller
            return f"{whole // length} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def _cpu_time(seconds: float) -> str:
    """h:mm:ss, as ps writes it."""
    whole = round(seconds)
    return f"{whole // HOUR:,}:{whole % HOUR // MINUTE:02}:{whole % MINUTE:02}"


# -- the SQL of shares


def shares_sql(start: str, end: str) -> list[Block]:
    """What gives the shares of a window of an answer (its times as text) at a prompt."""
    edges = (clock.parse_time(edge, 0) for edge in (start, end))
    return [Line(), Copyable(captures.shares_sql(*edges))]
