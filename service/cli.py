"""The verbs of the command line; each imports what it needs when it runs."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service import clock
from service.clock import Clock
from service.config import Setting, Settings, load
from service.errors import TidemarkError

if TYPE_CHECKING:
    from service.monitor import ResourceMonitor

_EPILOG = """Exit codes: 0 done; 1 the thing asked for failed; 2 usage; 73 cannot create the database; 74 I/O error at
start; 75 another daemon has this database; 76 the database is newer than this program; 78 bad or unsafe
configuration."""


class _Duration(click.ParamType[Any]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else clock.parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class _Time(click.ParamType[Any]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else clock.parse_time(value, Clock().now().wall)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="Settings file instead of config/tidemark.toml."
)
@click.option("--database", help="Database file instead of storage.path.")
@click.pass_context
def cli(context: click.Context, config_file: Path | None, database: str | None) -> None:
    """Tidemark: this host's resource history, which survives restarts.

    `python3 manage.py run` records and serves it; every other verb reads the database file, whether the daemon is up
    or down.
    """
    context.obj = (config_file, {"storage.path": database and str(Path(database).absolute())})


def _settings(**options: Any) -> tuple[Settings, list[Setting]]:
    file, given = click.get_current_context().obj
    return load(file, options={**given, **{key.replace("__", "."): value for key, value in options.items()}})


def _json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="The answer as JSON, for programs.")(function)


def _monitor() -> "ResourceMonitor":
    from service.history import History
    from service.monitor import ResourceMonitor

    settings, _ = _settings()
    history = History(settings.database)
    history.check_readable()
    return ResourceMonitor(history, settings, Clock())


@cli.command()
@click.option("--interval", type=int, help="Seconds between two samples (sampling.interval).")
@click.option("--host", help="Address to listen on (server.host).")
@click.option("--port", type=int, help="Port to listen on, 0 for any free one (server.port).")
@click.option("--log-level", help="DEBUG, INFO, WARNING or ERROR (log.level).")
def run(interval: int | None, host: str | None, port: int | None, log_level: str | None) -> None:
    """Record and serve, in the foreground, until SIGTERM or Ctrl-C.

    The first lines say the address, the database and the interval.
    """
    settings, _ = _settings(sampling__interval=interval, server__host=host, server__port=port, log__level=log_level)
    _leave_out_openssl()
    from service.daemon import run as run_daemon

    run_daemon(settings, Clock())


def _leave_out_openssl() -> None:
    """The daemon speaks no TLS, but asyncio, http and hashlib would load OpenSSL (4 MB) just in case; each of them
    has its own way without it, which None in sys.modules makes it take."""
    for module in ("ssl", "_hashlib"):
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("pytest_arguments", nargs=-1)
def test(pytest_arguments: tuple[str, ...]) -> None:  # noqa: ARG001
    """Install the test tools into .venv and run the whole suite; what follows goes to pytest.

    `python3 manage.py test -m slow` runs the long soaks.
    """
    raise TidemarkError("the suite is run by manage.py itself: python3 manage.py test")


@cli.command()
@_json_option
def status(as_json: bool) -> None:
    """How the host is now, and where it has been going for the last hour."""
    from service import terminal

    monitor = _monitor()
    snapshot = monitor.snapshot()
    if as_json:
        terminal.print_json(
            {
                "success": True,
                "current_usage": snapshot.current,
                "usage_trends": snapshot.trends,
                "timestamp": snapshot.timestamp,
            }
        )
        return
    current, trends = snapshot.current, snapshot.trends
    newest = monitor.newest().ts
    click.echo(f"{snapshot.timestamp}  ({_age(Clock().now().wall - newest)})")
    names = ["cpu_percent", "memory_percent", "disk_percent"]
    hour = monitor.series(names, newest + 1 - clock.HOUR, newest + 1, 30)
    rows = []
    for name, label in (("cpu", "CPU"), ("memory", "Memory"), ("disk", "Disk")):
        value = current[f"{name}_percent"]
        curve = terminal.sparkline(hour["series"][f"{name}_percent"]["average"], 0, 100)
        rows.append((label, _percent(value), terminal.bar(value and value / 100), curve, trends[f"{name}_trend"]))
    terminal.table(("", "now", "", "last hour", "trend"), rows, right=(1,))
    loads = " ".join(terminal.show(load) for load in current["load_average"])
    click.echo(f"\nload {loads}   processes {terminal.show(current['process_count'])}")
    click.echo(f"peak times {', '.join(trends['peak_usage_times']) or '-'}")


@cli.command()
@click.option("--window", type=_Duration(), default="1h", show_default=True, help="How far back, like 90m, 24h, 7d.")
@_json_option
def summary(window: int, as_json: bool) -> None:
    """Average, extremes, 95th percentile and trend of every metric over a window that ends now."""
    from service import terminal

    answer = _monitor().summary(window)
    if as_json:
        terminal.print_json(answer)
        return
    click.echo(f"{answer['start']} to {answer['end']}, {answer['coverage']:.0%} recorded")
    terminal.table(
        ("metric", "unit", "average", "min", "max", "p95", "trend"),
        [
            (name, m["unit"], m["average"], m["minimum"], m["maximum"], m["p95"], m["trend"]["word"])
            for name, m in answer["metrics"].items()
        ],
        right=(2, 3, 4, 5),
    )


@cli.command()
@click.option("--start", type=_Time(), default="-7d", show_default=True, help="RFC 3339, unix seconds, or -24h.")
@click.option("--end", type=_Time(), default="now", show_default=True, help="Likewise; not included.")
@_json_option
def gaps(start: int, end: int, as_json: bool) -> None:
    """Stretches of time for which nothing was recorded, each with its reason."""
    from service import terminal

    answer = _monitor().gaps(start, end)
    if as_json:
        terminal.print_json(answer)
    elif not answer["gaps"]:
        click.echo("no gaps")
    else:
        rows = [(gap["start"], gap["end"], gap["seconds"], gap["reason"]) for gap in answer["gaps"]]
        terminal.table(("from", "to", "seconds", "reason"), rows, right=(2,))


@cli.command()
@click.argument("statement")
@click.option("--csv", "as_csv", is_flag=True, help="CSV, for spreadsheets.")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="Stop the statement after this long.")
@_json_option
def sql(statement: str, as_csv: bool, seconds: float, as_json: bool) -> None:
    """Read-only SQL on the history: the views samples, minutes, hours, gaps, runs, metrics.

    Example: python3 manage.py sql "SELECT time, cpu_percent FROM samples ORDER BY cpu_percent DESC LIMIT 10"
    """
    from service import terminal
    from service.history import History

    settings, _ = _settings()
    history = History(settings.database)
    history.check_readable()
    with history.query(statement, seconds) as (columns, rows):
        if as_json:
            terminal.print_json(list(terminal.as_dicts(columns, rows)))
        elif as_csv:
            terminal.write_csv(columns, rows, sys.stdout)
        elif columns:
            terminal.table(columns, rows)


@cli.command()
@_json_option
def check(as_json: bool) -> None:
    """Verify the database and the host, and say what is wrong; exit code 1 if something is."""
    from service import terminal
    from service.checks import examine

    settings, _ = _settings()
    findings = examine(settings, Clock())
    if as_json:
        terminal.print_json([{"level": f.level, "what": f.what, "detail": f.detail} for f in findings])
    else:
        for finding in findings:
            click.echo(f"{finding.level:5} {finding.what}: {terminal.printable(finding.detail)}")
    if any(finding.level == "bad" for finding in findings):
        raise SystemExit(1)


@cli.command()
def migrate() -> None:
    """Create the database, or bring its schema up to date."""
    from service import database
    from service.daemon import lock

    settings, _ = _settings()
    path = settings.database.resolve()
    if database.is_current(path):
        click.echo(f"{path} is up to date (schema {database.REVISIONS[-1]})")
        return
    database.prepare_folder(path)
    with lock(path):
        applied = database.migrate(path)
    click.echo(f"{path}: applied {', '.join(applied)}")


@cli.command("config")
@_json_option
def show_config(as_json: bool) -> None:
    """Every setting, its value, and where it came from."""
    from service import terminal

    _, rows = _settings()
    if as_json:
        terminal.print_json([{"key": r.key, "value": r.value, "origin": r.origin, "takes": r.takes} for r in rows])
    else:
        terminal.table(("setting", "value", "from"), [(r.key, _setting_text(r.value), r.origin) for r in rows])


def _setting_text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}%"


def _age(seconds: float) -> str:
    return (
        f"{max(0, round(seconds))} s ago"
        if seconds < 120
        else f"{seconds / 60:,.0f} minutes ago; nothing is being recorded"
    )


def main() -> int:
    """Run a verb; every error is one line on stderr with the contract's exit code."""
    try:
        result = cli.main(prog_name="manage.py", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        hint = "" if isinstance(error, click.UsageError) and error.ctx is None else "; --help says what there is"
        return _fail(error.format_message().replace("\n", " ") + hint, error.exit_code)
    except TidemarkError as error:
        return _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("stopped", 130)
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`): nothing is wrong. Python would complain once more at exit.
        sys.stdout = None
        return 0
    except OSError as error:
        return _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    return result if isinstance(result, int) else 0


def _fail(text: str, code: int) -> int:
    print(f"tidemark: {text}", file=sys.stderr)
    return code
