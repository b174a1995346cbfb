"""The verbs that show the history in the terminal: the same answers that the page and the API give."""

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from service.cli.group import cli
from service.cli.options import (
    Against,
    by_option,
    json_option,
    length_options,
    metric_option,
    open_monitor,
    window_options,
)
from service.clock import Clock
from service.errors import TidemarkError
from service.place import COMMAND

if TYPE_CHECKING:
    from service.answers.monitor import ResourceMonitor
    from service.answers.window import Window
    from service.terminal.layout import Block


@cli.command()
@click.option("--watch", is_flag=True, help="The screen of replay, at the newest and following it; q ends.")
@json_option
def status(watch: bool, as_json: bool) -> None:
    """How the host is now, and where it has been going for the last hour."""
    from service.terminal import layout

    if watch and as_json:
        raise click.UsageError("--watch draws and --json does not: one of them", click.get_current_context())
    monitor = open_monitor()
    if as_json:
        layout.print_json(monitor.snapshot().usage, monitor.write)
    elif watch:
        _watch(monitor)
    else:
        layout.draw(_status(monitor))


def _status(monitor: "ResourceMonitor", height: int = 0) -> "list[Block]":
    """`height`: lines to fill."""
    from service.answers.status import LISTED_PROCESSES
    from service.terminal import drawings

    listed = max(LISTED_PROCESSES, height)

    return drawings.status(monitor.status(listed), monitor.insights(), Clock().now().wall, monitor.write, height)


def _watch(monitor: "ResourceMonitor") -> None:
    """Until `q` or Ctrl-C."""
    from service.cli import walk
    from service.terminal import drawings, keys, layout

    has_screen = keys.are_heard() and walk.can_draw()
    if has_screen and walk.has_textual():
        walk.watch(monitor)
        return
    seconds = min(monitor.newest().interval_seconds, walk.FOLLOW_SECONDS)
    how = layout.Part(f"the screen of replay, live, needs textual: {COMMAND} replay says how", "dim")
    more = [layout.Line([how])] if has_screen else []

    def frame() -> "list[Block]":
        try:
            return [*_status(monitor, shutil.get_terminal_size((80, 0)).lines - len(more)), *more]
        except TidemarkError as error:
            # The file may be away while it is being put back; who watches wants to see when it returns.
            return drawings.trouble(str(error))

    with suppress(KeyboardInterrupt), keys.until_q() as wait:
        layout.watch(frame, lambda: wait(seconds))


@cli.command()
@length_options("1h")
@json_option
def summary(asked: "Window", as_json: bool) -> None:
    """Average, extremes, 95th percentile and trend of every metric over a window."""
    from service.terminal import drawings, layout

    monitor = open_monitor()
    answer = monitor.summary(asked.seconds, asked.end)
    if as_json:
        layout.print_json(answer, monitor.write)
        return
    series = monitor.series(list(answer.metrics), answer.start, answer.end, drawings.COURSE_POINTS)
    layout.draw(drawings.summary(answer, series, monitor.write))


@cli.command()
@window_options("-7d")
@json_option
def gaps(start: int, end: int, as_json: bool) -> None:
    """When nothing was recorded, and why."""
    from service.terminal import drawings, layout

    monitor = open_monitor()
    answer = monitor.gaps(start, end)
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(drawings.gaps(answer, start, end, monitor.oldest(), monitor.write))


@cli.command()
@click.option("--device", help="Only that one, over time: KIND:NAME, like disk:sda.")
@window_options("-24h")
@json_option
def devices(device: str | None, start: int, end: int, as_json: bool) -> None:
    """Every disk, interface, sensor, battery, mount and service with its newest figures; or one of them over time."""
    from service.terminal import devices as drawn
    from service.terminal import drawings, layout

    monitor = open_monitor()
    if device is not None:
        course = monitor.series((), start, end, drawings.COURSE_POINTS, device)
        layout.print_json(course, monitor.write) if as_json else layout.draw(
            drawn.device(course, device, monitor.write)
        )
        return
    answer = monitor.devices()
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(drawn.devices(answer, monitor.write))


@cli.command()
@metric_option
@json_option
def calendar(metric: str, as_json: bool) -> None:
    """A year, a square a day."""
    from service.metrics import BY_NAME
    from service.terminal import layout, year

    monitor = open_monitor()
    answer = monitor.calendar(metric)
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(year.calendar(answer, BY_NAME[metric].label, monitor.write))


@cli.command()
@window_options("-7d")
@json_option
def events(start: int, end: int, as_json: bool) -> None:
    """What happened: boots, starts and stops, kills, suspends, clock steps, OOM kills, mounts, notes."""
    from service.terminal import drawings, layout

    monitor = open_monitor()
    answer = monitor.events(start, end)
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(drawings.events(answer, monitor.write))


@cli.command()
@metric_option
@length_options("24h")
@click.option("--count", type=click.IntRange(1, 20), default=3, show_default=True, help="At most this many.")
@click.option("--sql", "with_sql", is_flag=True, help="With the SQL that gives the same shares.")
@json_option
def peaks(metric: str, asked: "Window", count: int, with_sql: bool, as_json: bool) -> None:
    """When a metric stood out, in time order, and who used most then."""
    from service.store.usages import shares_sql
    from service.terminal import drawings, layout

    monitor = open_monitor()
    answer, course = monitor.peaks_and_course(metric, asked.seconds, count, asked.end)
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(drawings.peaks(answer, course, monitor.write))
        for peak in answer.peaks if with_sql else ():
            if peak.processes_start is None or peak.processes_end is None:
                continue
            layout.draw(drawings.shares_sql(shares_sql(peak.processes_start, peak.processes_end)))


@cli.command()
@window_options("-1h")
@click.option("--against", type=Against(), help="So much earlier: -1d, -7d; -1h, or the length of a longer window.")
@click.option("--sql", "with_sql", is_flag=True, help="With the SQL of each.")
@json_option
def changes(start: int, end: int, against: int | None, with_sql: bool, as_json: bool) -> None:
    """What moved most against the time before, beyond what is usual for it."""
    from service.terminal import layout, moved

    monitor = open_monitor()
    answer = monitor.changes(start, end, against)
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(moved.changes(answer, monitor.write, with_sql))


@cli.command()
@window_options("-1h")
@by_option
@click.option("--sort", type=click.Choice(["cpu", "memory"]), default="cpu", show_default=True, help="By what.")
@click.option("--count", type=click.IntRange(1, 100), default=10, show_default=True, help="At most this many.")
@click.option("--sql", "with_sql", is_flag=True, help="With the SQL that gives the same shares.")
@json_option
def processes(start: int, end: int, by: str, sort: str, count: int, with_sql: bool, as_json: bool) -> None:
    """Who used the machine in a window: names, shares of all CPUs, and the most memory at one moment."""
    from service.terminal import drawings, layout

    monitor = open_monitor()
    answer = monitor.processes(start, end, sort, count, by)
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(drawings.processes(answer, monitor.write))
        if with_sql:
            layout.draw(drawings.shares_sql(answer.sql))


@cli.command()
@window_options("-24h")
@by_option
@click.option("--metric", type=click.Choice(["cpu", "memory"]), default="cpu", show_default=True, help="Of what.")
@click.option("--top", type=click.IntRange(1, 50), default=6, show_default=True, help="How many are listed.")
@json_option
def who(start: int, end: int, by: str, metric: str, top: int, as_json: bool) -> None:
    """Who used the machine over time: names or services, each with its course."""
    from service.terminal import drawings, layout

    monitor = open_monitor()
    answer = monitor.who(start, end, drawings.COURSE_POINTS, by, metric, top)
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(drawings.who(answer, monitor.write))


@cli.command()
@click.option("--score", is_flag=True, help="How many of the forecasts that have come due held.")
@click.option("--sql", "with_sql", is_flag=True, help="With the SQL that shows each finding.")
@json_option
def insights(score: bool, with_sql: bool, as_json: bool) -> None:
    """What the history shows that its owner should know."""
    from service.terminal import drawings, layout

    monitor = open_monitor()
    if score:
        held = monitor.forecast_score()
        layout.print_json(held) if as_json else layout.draw(drawings.score(held))
        return
    answer = monitor.insights()
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(drawings.insights(answer, monitor.write, with_sql))
