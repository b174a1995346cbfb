"""The verb that walks through the history on the whole screen; its package is optional, and installed on demand."""

import sys
from importlib import invalidate_caches
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from service import clock
from service.cli.group import cli
from service.cli.options import Time, open_monitor, read_settings
from service.clock import Clock
from service.errors import TidemarkError
from service.place import CHECKOUT, COMMAND

if TYPE_CHECKING:
    from service.answers.monitor import ResourceMonitor
    from service.terminal.replay.walker import Walker

# Where samples are further apart, who follows them still sees each minute how old the newest is.
FOLLOW_SECONDS = 60
# The extra `replay` of pyproject.toml is the same.
PACKAGE = "textual==8.2.8"


@cli.command()
@click.option("--at", "moment", type=Time(), help="Where to begin: 03:12, yesterday, -90m; the day's highest peak.")
def replay(moment: int | None) -> None:
    """Walk through the history: a chart, who used the machine at the cursor, arrow keys; ? shows the keys."""
    from service.terminal.replay.walker import Walker

    monitor = open_monitor()
    walker = Walker(monitor.replay(), monitor.write, at=moment)
    _check_terminal()
    have_textual()
    _show(monitor, walker)


def watch(monitor: "ResourceMonitor") -> None:
    """Replay that begins at the newest and follows it."""
    from service.terminal.replay.walker import Walker

    _show(monitor, Walker(monitor.replay(), monitor.write, is_live=True))


def _show(monitor: "ResourceMonitor", walker: "Walker") -> None:
    from service.terminal.replay.app import ReplayApp

    app = ReplayApp(
        walker,
        _host(monitor.host().name),
        monitor.write,
        lambda text: clock.parse_time(text, Clock().now().wall, monitor.zone),
        min(monitor.newest().interval_seconds, FOLLOW_SECONDS),
    )
    # Without the mouse, so that the terminal's own marking and copying goes on.
    app.run(mouse=False)
    if app.failure is not None:
        raise app.failure


def _host(name: str) -> str:
    """This machine's name; of a database that is named for this once its file, which may be another machine's."""
    settings, rows = read_settings()
    origin = next(row.origin for row in rows if row.key == "storage.path")
    is_named = origin == "option" or origin.startswith("environment ")
    return str(settings.database) if is_named else name


def _check_terminal() -> None:
    """
    :raises TidemarkError: where there is no terminal that can be drawn on.
    """
    if not can_draw():
        instead = f"`{COMMAND} processes --at TIME` prints who used the machine"
        raise TidemarkError(f"replay draws on a whole terminal, and this is none, or TERM=dumb: {instead}")


def can_draw() -> bool:
    from service.terminal.layout import console

    are_terminals = all(file is not None and file.isatty() for file in (sys.stdin, sys.stdout, sys.stderr))
    return are_terminals and not console().is_dumb_terminal


def has_textual() -> bool:
    return find_spec("textual") is not None


def have_textual() -> None:
    """Install it into .venv where that is wanted.

    :raises TidemarkError: where it is missing and stays so.
    """
    if has_textual():
        return
    if CHECKOUT is None:
        raise TidemarkError(f"replay needs the package textual: {sys.executable} -m pip install '{PACKAGE}'")
    import manage

    by_hand = f"{sys.executable} -m pip install -r {CHECKOUT / manage.REPLAY}"
    question = "replay needs the package textual (10 MB); install it into .venv now?"
    if not manage.is_inside() or not click.confirm(question, err=True):
        raise TidemarkError(f"replay needs the package textual: {by_hand}")
    try:
        manage.prepare([manage.REPLAY])
    except manage.SetupError as error:
        raise TidemarkError(str(error)) from None
    invalidate_caches()
