"""How a place in the history is drawn: host and figures, the chart with its cursor, who used the machine, the keys."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.answers.gaps import Gap
from service.answers.moments import Date, Moment, TimeOfDay, Write
from service.answers.replay import Course, Latest, Spot
from service.clock import DAY, HOUR
from service.metrics import BY_NAME
from service.terminal import drawings
from service.terminal.layout import Block, Line, Part, can_draw, chart, cut, cut_parts, fit, width_of
from service.terminal.replay.walker import Shown
from service.terminal.words import amount, level, span

# Left of the chart stands its scale.
MARGIN = 10
LEAST_WIDTH, LEAST_HEIGHT = 40, 16
# Of the first line, beside the host's name.
_WHEN_LETTERS = len("..   live   2026-01-31T12:00:00Z")
# The lines of all but the chart and the names; without a chart.
_OTHER_LINES, _LINES_WITHOUT_CHART = 12, 8
_MOST_NAMES, _LEAST_CHART, _MOST_CHART = 16, 3, 16
# The lines above the chart: metrics, and what they are called where not by their label.
_HEADS = (
    {"cpu_percent": "", "memory_percent": "", "swap_percent": "", "disk_percent": "", "load_1": "Load"},
    {"network_received_bytes": "", "network_sent_bytes": "out", "disk_read_bytes": "", "disk_written_bytes": "written"},
)
KEYS = (
    ("left, right", "one capture earlier, later (an hour where captures are gone)"),
    (", .", "one column"),
    ("PgUp, PgDn", "one screen; also Shift with left, right"),
    ("Home", "where the history begins"),
    ("End, l", "live: the newest, which is followed as it comes; left leaves it"),
    ("+ -", "fewer, more seconds a column"),
    ("n p", "the next, the previous peak or gap"),
    ("/", "a name: the next capture in which it used CPU; N, P: the next, previous"),
    ("g", "go to a time: 03:12, yesterday, monday, 2026-01-31T12:00, -90m"),
    ("m, Tab", "the next metric; M: the one before"),
    ("s", "who by service, or by process"),
    ("?", "these keys"),
    ("q", "ends"),
)
_HINT = "n p peak, gap  / name  g time  m metric  s services  l live  ? keys  q ends"
_LIVE_HINT = "left: back in time  n p peak, gap  / name  g time  m metric  ? keys  q ends"
# The hours, minutes and seconds of a moment.
_CLOCK = slice(len("2026-01-31T"), len("2026-01-31T12:00:00"))


class Size(NamedTuple):
    """Of the terminal, in letters and lines."""

    width: int
    height: int

    @property
    def columns(self) -> int:
        return max(1, self.width - MARGIN)

    @property
    def has_chart(self) -> bool:
        return self.width >= LEAST_WIDTH and self.height >= LEAST_HEIGHT

    @property
    def names(self) -> int:
        """How many names are listed, with what is unattributed below them."""
        room = (self.height - _OTHER_LINES) // 2 if self.has_chart else self.height - _LINES_WITHOUT_CHART
        return max(1, min(_MOST_NAMES, room))

    @property
    def chart_lines(self) -> int:
        return max(_LEAST_CHART, min(_MOST_CHART, self.height - _OTHER_LINES - self.names))


def picture(shown: Shown, host: str, write: Write, size: Size) -> list[Block]:
    """All but the last line of the terminal."""
    when = _when(shown.spot, write) if shown.latest is None else _now(shown.latest, write)
    head: list[Part | str] = [
        Part(_short(host, min(size.width // 3, max(8, size.width - _WHEN_LETTERS))), "bold"),
        "   ",
        *when,
    ]
    lines: list[list[Part | str]] = [head, *(_figures(shown, names) for names in _HEADS)]
    if size.has_chart:
        lines += [_title(shown), *_chart(shown, size), _axis(shown, size), _peaks(shown.course, write, size)]
        lines += [_gaps(shown.course.gaps, write), _times(shown.course, write, size)]
    return [*(Line(cut_parts(line, size.width)) for line in lines), *_who(shown, write)]


def last_line(shown: Shown, width: int) -> Line:
    """What the last key could not do, or which keys there are."""
    hint = _HINT if shown.latest is None else _LIVE_HINT
    return Line(cut_parts([Part(shown.message, "bold") if shown.message else Part(hint, "dim")], width))


def keys(width: int) -> list[Block]:
    lines: list[list[Part | str]] = [[Part(f"{key:12}", "bold"), does] for key, does in KEYS]
    return [Line(["Keys; any key leads back"]), Line(), *(Line(cut_parts(line, width)) for line in lines)]


# -- above the chart


def _short(host: str, width: int) -> str:
    """Of a long path the end, which tells it from others."""
    shown = fit(host)
    while width_of(shown) > width:
        shown = shown[width_of(shown) - width :]
    return shown if shown == fit(host) else f"{'…' if can_draw('…') else '..'}{shown}"


def _when(spot: Spot, write: Write) -> list[Part | str]:
    if spot.kind == "gap":
        return [write(Moment(spot.at)), "   ", Part(f"nothing recorded: {spot.reason}", "bold red")]
    if spot.kind == "hour":
        return [write(Moment(spot.start)), "   and the hour after it"]
    if spot.kind == "sample":
        return [write(Moment(spot.end)), "   no capture holds it"]
    return [write(Moment(spot.end)), f"   and {span(spot.end - spot.start)} before it"]


def _now(latest: Latest, write: Write) -> list[Part | str]:
    newest, silence = latest.newest, drawings.silent(latest.newest, latest.now)
    ts = write(Moment(newest.ts))
    if silence is None:
        return [Part("live", "bold green"), "   ", ts, f"   every {span(newest.interval_seconds)}"]
    age = span(max(0, latest.now - newest.ts))
    return [Part("not live", "bold red"), "   ", ts, "   ", f"{age} ago{silence}"]


def _figures(shown: Shown, names: Mapping[str, str]) -> list[Part | str]:
    parts: list[Part | str] = []
    for name, word in names.items():
        metric, value = BY_NAME[name], shown.seen.values[name]
        if value is None and metric.is_optional:
            continue
        style = level(value) if metric.unit == "percent" else ""
        parts += ["   " if parts else "", f"{word or metric.label} ", Part(amount(value, metric.shown_unit), style)]
    return parts


def _title(shown: Shown) -> list[Part | str]:
    metric = BY_NAME[shown.metric]
    value = shown.course.averages[shown.column]
    known = f"   here {amount(value, metric.shown_unit)}" if value is not None else ""
    return [Part(metric.label, "bold"), f"   a column {span(shown.course.step)}{known}"]


# -- the chart


def _chart(shown: Shown, size: Size) -> list[list[Part | str]]:
    metric, values = BY_NAME[shown.metric], shown.course.averages
    least = drawings.LEAST_SCALE.get(metric.unit, 0)
    high = max(least, *(value for value in values if value is not None), 0)
    edges = [amount(high, metric.shown_unit), *[""] * (size.chart_lines - 2), "0"]
    lines: list[list[Part | str]] = []
    for number, (edge, blocks) in enumerate(zip(edges, chart(values, high, size.chart_lines), strict=True)):
        cells = _cells(shown, blocks, is_lowest=number == size.chart_lines - 1)
        if number == size.chart_lines // 2:
            _write_reasons(cells, shown.course)
        lines.append([Part(f"{cut(edge, MARGIN - 1):>{MARGIN - 1}} ", "dim"), *cells])
    return lines


def _cells(shown: Shown, blocks: str, is_lowest: bool) -> list[Part]:
    """One line of the chart; the cursor is a line from top to bottom, with a block where the value ends."""
    missing, cursor, full = ("·", "│", "█") if can_draw("·│█") else (".", "|", "#")
    is_percent = BY_NAME[shown.metric].unit == "percent"
    gaps = _gap_columns(shown.course)
    cells = []
    for column, (block, value) in enumerate(zip(blocks, shown.course.averages, strict=True)):
        text, style = block, "" if value is None else level(value) if is_percent else "cyan"
        if value is None and column in gaps and is_lowest:
            text, style = missing, "red"
        if column == shown.column:
            text, style = (cursor if text in (" ", full, missing) else text), "bold"
        cells.append(Part(text, style))
    return cells


def _gap_columns(course: Course) -> set[int]:
    """Those in which a gap is all there is."""
    found: set[int] = set()
    for gap in course.gaps:
        first, last = (gap.start - course.start) // course.step, (gap.end - 1 - course.start) // course.step
        found |= set(range(max(0, first), min(len(course.averages), last + 1)))
    return {column for column in found if course.averages[column] is None}


def _write_reasons(cells: list[Part], course: Course) -> None:
    """Into each gap that is wide enough."""
    columns = _gap_columns(course)
    for gap in course.gaps:
        first = max(0, (gap.start - course.start) // course.step)
        own = [column for column in range(first, len(cells)) if column in columns]
        run = [column for place, column in enumerate(own) if column == own[0] + place]
        if len(run) >= len(gap.reason) + 2:
            begins = run[0] + (len(run) - len(gap.reason)) // 2
            for column, letter in enumerate(gap.reason, begins):
                cells[column] = Part(letter, "red reverse" if cells[column].text.strip() else "red")


def _axis(shown: Shown, size: Size) -> list[Part | str]:
    line, cursor = ("─", "┴") if can_draw("─┴") else ("-", "|")
    before, after = shown.column, size.columns - shown.column - 1
    return [" " * MARGIN, Part(line * before, "dim"), Part(cursor, "bold"), Part(line * after, "dim")]


def _peaks(course: Course, write: Write, size: Size) -> list[Part | str]:
    """A mark below each peak, with its time where there is room."""
    mark, text = "▲" if can_draw("▲") else "^", ""
    places = [min(size.columns - 1, max(0, (peak.start - course.start) // course.step)) for peak in course.peaks]
    for number, (peak, place) in enumerate(zip(course.peaks, places, strict=True)):
        room = (places[number + 1] if number + 1 < len(places) else size.columns) - place
        label = f"{mark}{_label(peak.start, course.step, write)}"
        if place >= len(text):
            text = f"{text:{place}}{label if len(label) < room else mark}"
    return [" " * MARGIN, text]


def _gaps(gaps: Sequence[Gap], write: Write) -> list[Part | str]:
    if not gaps:
        return [""]
    texts = [f"{write(gap.start)} {span(gap.seconds)} {gap.reason}" for gap in gaps]
    return [Part("gaps: " if len(gaps) > 1 else "gap: ", "red"), ", ".join(texts)]


def _times(course: Course, write: Write, size: Size) -> list[Part | str]:
    """Where the window begins and ends."""
    end = course.start + course.step * size.columns
    left = write(Moment(course.start))
    right = write(Moment(end)) if end - course.start > DAY or size.columns < 2 * len(left) else write(TimeOfDay(end))
    return [Part(" " * MARGIN + left + right.rjust(max(0, size.columns - width_of(left))), "dim")]


def _label(ts: int, step: int, write: Write) -> str:
    return write(Date(ts))[len("2026-") :] if step >= HOUR else write(TimeOfDay(ts))


# -- who


def _who(shown: Shown, write: Write) -> list[Block]:
    spot, users = shown.spot, shown.seen.users
    if spot.kind == "gap":
        from_to = f"from {write(Moment(spot.start))} to {write(Moment(spot.end))}"
        text = f"nothing was recorded {from_to}, {span(spot.end - spot.start)}: {spot.reason}"
        return [Line(), Line([Part(text, "bold")])]
    if users is None or not users.covered_seconds:
        return [Line(), Line(["who used the machine is not known of this moment"])]
    # Captures are further apart than samples, which the figures are of.
    until = "" if shown.latest is None else write(Moment(spot.end))[_CLOCK]
    return [drawings.users(users, until)]
