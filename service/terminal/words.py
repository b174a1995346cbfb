"""How numbers and words are written in a terminal: three digits, units, spans, arrows, colours."""

from service.clock import DAY, HOUR, MINUTE
from service.terminal.layout import Part, can_draw

YELLOW_PERCENT, RED_PERCENT = 70, 90


def level(value: float | None) -> str:
    """The colour of a percentage."""
    if value is None:
        return ""
    return "red" if value >= RED_PERCENT else "yellow" if value >= YELLOW_PERCENT else "green"


def trend_word(word: str) -> Part:
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


def whole_percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def exact_percent(share: float) -> str:
    """With as many digits as it needs to differ from all and from nothing."""
    texts = [f"{100 * share:.{digits}f}" for digits in (2, 4, 6)]
    return next((text for text in texts if share in (0, 1) or float(text) not in (0, 100)), texts[-1]) + " %"


def scale(value: float) -> tuple[float, str]:
    """By what to divide bytes, and what they are called then."""
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= 0.9995 * factor:
            return factor, unit
    return 1e3, "kB"


def size(value: float | None) -> str:
    if value is None:
        return "-"
    factor, unit = scale(abs(value))
    return f"{figure(value / factor)} {unit}"


def sign(unit: str) -> str:
    return "%" if unit == "percent" else ""


def amount(value: float | None, unit: str) -> str:
    """A value of a metric with its unit."""
    if value is None:
        return "-"
    if unit == "bytes per second":
        return f"{size(value)}/s"
    if unit == "percent":
        return percent(value)
    return f"{value:,.0f}" if value == round(value) else figure(value)


def span(seconds: float) -> str:
    """A span of time in its two largest units, like 3 h 20 min."""
    whole = round(seconds)
    for length, unit, smaller, name in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", 1, "s")):
        if whole >= length:
            rest = whole % length // smaller
            return f"{whole // length} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def cpu_time(seconds: float) -> str:
    """h:mm:ss, as ps writes it."""
    whole = round(seconds)
    return f"{whole // HOUR:,}:{whole % HOUR // MINUTE:02}:{whole % MINUTE:02}"
