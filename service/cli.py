"""The verbs of the command line; each imports what it needs when it runs."""

import io
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from service import __version__, clock
from service.clock import Clock
from service.config import Setting, Settings, load, set_by_kubernetes
from service.daemon import interrupts, openssl
from service.errors import TidemarkError

if TYPE_CHECKING:
    from service.answers.monitor import ResourceMonitor
    from service.answers.window import Window
    from service.terminal.layout import Block

# Several captures: `--at` asks who used the machine then.
_AROUND_SECONDS = 300
_TIME_HELP = "RFC 3339, unix seconds, -24h, yesterday, monday, 2026-11-24, 03:12."
# Where samples are further apart, `status --watch` still shows each minute how old the newest is.
_WATCH_SECONDS = 60

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
            return value if isinstance(value, int) else clock.parse_time(value, Clock().now().wall, _zone())
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class _Day(click.ParamType[Any]):
    """A day of `analysis.timezone`: where it begins, and where the next one does."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        try:
            return value if isinstance(value, tuple) else clock.parse_day(value, Clock().now().wall, _zone())
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class _ReaderGone(Exception):
    """Whoever read stdout has closed it."""


class _Verbs(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGone from None  # click would exit with 1


@click.group(cls=_Verbs, no_args_is_help=True, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="Settings file instead of config/tidemark.toml."
)
@click.option("--database", help="Database file instead of storage.path.")
@click.version_option(__version__, message="Tidemark %(version)s")
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


def _name_other_variables() -> None:
    """Say which variables look like settings and are none, for who meant TIDEMARK_SERVER_PORT by TIDEMARK_PORT."""
    if names := set_by_kubernetes():
        text = f"tidemark: no settings, left out (Kubernetes sets such for a service): {', '.join(names)}"
        click.echo(text, err=True)


def _zone() -> clock.Zone:
    return clock.zone(_settings()[0].analysis.timezone)


def _window_options(begins: str, shown: str | bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--start and --end, or --on a day, or --at a time; the verb takes `start` and `end`. `begins`: the default of
    --start; `shown`: how the help writes it."""

    def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(verb)
        def with_window(**options: Any) -> Any:
            start, end = _edges(options)
            return verb(start=max(0, start), end=end, **options)

        defaults: dict[str, Any] = {"default": "now", "show_default": True}
        return _edge_options(with_window, {"default": begins, "show_default": shown}, defaults)

    return decorate


def _length_options(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--window, or --start and --end, or --on a day, or --at a time; the verb takes `asked`, a Window."""

    def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(verb)
        def with_window(length: int | None, **options: Any) -> Any:
            from service.answers.window import window

            start, end = _edges(options)
            return verb(asked=window(Clock().now().wall, clock.parse_duration(default), length, start, end), **options)

        with_edges = _edge_options(with_window, {}, {})
        help_ = "How far back from now, like 90m, 24h, 7d."
        return click.option("--window", "length", type=_Duration(), show_default=default, help=help_)(with_edges)

    return decorate


def _edge_options(verb: Callable[..., Any], start: dict[str, Any], end: dict[str, Any]) -> Callable[..., Any]:
    """The options that `_edges` takes; `start`, `end`: the defaults of these two."""
    for option in reversed(
        [
            click.option("--start", type=_Time(), help=_TIME_HELP, **start),
            click.option("--end", type=_Time(), help="Likewise; not included.", **end),
            click.option("--on", "day", type=_Day(), help="That day: yesterday, monday, 2026-11-24."),
            click.option("--at", "moment", type=_Time(), help="The five minutes around that time."),
        ]
    ):
        verb = option(verb)
    return verb


def _edges(options: dict[str, Any]) -> Any:
    """Where the window starts and ends, taken out of a verb's options; None for what has no default.

    :raises UsageError: if it is said in more than one way.
    """
    start, end, day, moment = (options.pop(name) for name in ("start", "end", "day", "moment"))
    if sum((_are_given("length"), _are_given("start", "end"), day is not None, moment is not None)) > 1:
        ways = "--start and --end, --on, --at"
        takes_length = any(param.name == "length" for param in click.get_current_context().command.params)
        raise click.UsageError(f"one of {'--window, ' * takes_length}{ways}", click.get_current_context())
    if moment is not None:
        start = max(0, moment - _AROUND_SECONDS // 2)
        end = moment + _AROUND_SECONDS // 2
    return day or (start, end)


def _are_given(*names: str) -> bool:
    context = click.get_current_context()
    return any(context.get_parameter_source(name) not in (None, ParameterSource.DEFAULT) for name in names)


def _by_option(function: Callable[..., Any]) -> Callable[..., Any]:
    kinds = click.Choice(["name", "service"])
    return click.option(
        "--by", type=kinds, default="name", show_default=True, help="By the processes' name, or by service."
    )(function)


def _json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="The answer as JSON, for programs.")(function)


def _monitor() -> "ResourceMonitor":
    from service.answers.monitor import ResourceMonitor
    from service.store.reader import History

    settings, _ = _settings()
    history = History(settings.database)
    history.check_readable()
    return ResourceMonitor(history, settings, Clock())


@cli.command()
@click.option("--interval", type=int, help="Seconds between two samples (sampling.interval).")
@click.option("--host", help="Address to listen on (server.host).")
@click.option("--port", type=int, help="Port to listen on, 0 for any free one (server.port).")
@click.option("--log-level", help="DEBUG, INFO, WARNING or ERROR (log.level).")
@click.option("--insecure-no-auth", is_flag=True, help="Let anyone who reaches the address ask, without a token.")
def run(
    interval: int | None, host: str | None, port: int | None, log_level: str | None, insecure_no_auth: bool
) -> None:
    """Record and serve, in the foreground, until SIGTERM or Ctrl-C.

    The first lines say the address, the database and the interval.
    """
    settings, _ = _settings(sampling__interval=interval, server__host=host, server__port=port, log__level=log_level)
    _name_other_variables()
    interrupts.remember()
    openssl.leave_out()
    from service.daemon.daemon import run as run_daemon

    run_daemon(settings, Clock(), insecure_no_auth)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("pytest_arguments", nargs=-1)
def test(pytest_arguments: tuple[str, ...]) -> None:  # noqa: ARG001
    """Install the test tools into .venv and run the whole suite; what follows goes to pytest.

    `python3 manage.py test -m slow` runs the long soaks.
    """
    raise TidemarkError("the suite is run by manage.py itself: python3 manage.py test")


@cli.command()
@click.option("--watch", is_flag=True, help="Again after each sampling interval, until q or Ctrl-C.")
@_json_option
def status(watch: bool, as_json: bool) -> None:
    """How the host is now, and where it has been going for the last hour."""
    from service.terminal import layout

    if watch and as_json:
        raise click.UsageError("--watch draws and --json does not: one of them", click.get_current_context())
    monitor = _monitor()
    if as_json:
        layout.print_json(monitor.snapshot().usage, monitor.write)
    elif watch:
        _watch(monitor)
    else:
        layout.draw(_status(monitor))


def _status(monitor: "ResourceMonitor") -> "list[Block]":
    from service.terminal import drawings

    return drawings.status(monitor.status(), monitor.insights(), Clock().now().wall, monitor.write)


def _watch(monitor: "ResourceMonitor") -> None:
    """Until `q` or Ctrl-C."""
    from service.terminal import drawings, keys, layout

    seconds = min(monitor.newest().interval_seconds, _WATCH_SECONDS)

    def frame() -> "list[Block]":
        try:
            return _status(monitor)
        except TidemarkError as error:
            # The file may be away while it is being put back; who watches wants to see when it returns.
            return drawings.trouble(str(error))

    with suppress(KeyboardInterrupt), keys.until_q() as wait:
        layout.watch(frame, lambda: wait(seconds))


@cli.command()
@_length_options("1h")
@_json_option
def summary(asked: "Window", as_json: bool) -> None:
    """Average, extremes, 95th percentile and trend of every metric over a window."""
    from service.terminal import drawings, layout

    monitor = _monitor()
    answer = monitor.summary(asked.seconds, asked.end)
    if as_json:
        layout.print_json(answer, monitor.write)
        return
    series = monitor.series(list(answer.metrics), answer.start, answer.end, drawings.COURSE_POINTS)
    layout.draw(drawings.summary(answer, series, monitor.write))


@cli.command()
@_window_options("-7d")
@_json_option
def gaps(start: int, end: int, as_json: bool) -> None:
    """When nothing was recorded, and why."""
    from service.terminal import drawings, layout

    monitor = _monitor()
    answer = monitor.gaps(start, end)
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(drawings.gaps(answer, start, end, monitor.oldest(), monitor.write))


@cli.command()
@click.option("--metric", default="cpu_percent", show_default=True, help="Which metric.")
@_length_options("24h")
@click.option("--count", type=click.IntRange(1, 20), default=3, show_default=True, help="At most this many.")
@click.option("--sql", "with_sql", is_flag=True, help="With the SQL that gives the same shares.")
@_json_option
def peaks(metric: str, asked: "Window", count: int, with_sql: bool, as_json: bool) -> None:
    """When a metric stood out, in time order, and who used most then."""
    from service.store.usages import shares_sql
    from service.terminal import drawings, layout

    monitor = _monitor()
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
@_window_options("-1h")
@_by_option
@click.option("--sort", type=click.Choice(["cpu", "memory"]), default="cpu", show_default=True, help="By what.")
@click.option("--count", type=click.IntRange(1, 100), default=10, show_default=True, help="At most this many.")
@click.option("--sql", "with_sql", is_flag=True, help="With the SQL that gives the same shares.")
@_json_option
def processes(start: int, end: int, by: str, sort: str, count: int, with_sql: bool, as_json: bool) -> None:
    """Who used the machine in a window: names, shares of all CPUs, and the most memory at one moment."""
    from service.terminal import drawings, layout

    monitor = _monitor()
    answer = monitor.processes(start, end, sort, count, by)
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(drawings.processes(answer, monitor.write))
        if with_sql:
            layout.draw(drawings.shares_sql(answer.sql))


@cli.command()
@_window_options("-24h")
@_by_option
@click.option("--metric", type=click.Choice(["cpu", "memory"]), default="cpu", show_default=True, help="Of what.")
@click.option("--top", type=click.IntRange(1, 50), default=6, show_default=True, help="How many are listed.")
@_json_option
def who(start: int, end: int, by: str, metric: str, top: int, as_json: bool) -> None:
    """Who used the machine over time: names or services, each with its course."""
    from service.terminal import drawings, layout

    monitor = _monitor()
    answer = monitor.who(start, end, drawings.COURSE_POINTS, by, metric, top)
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(drawings.who(answer, monitor.write))


@cli.command()
@click.option("--score", is_flag=True, help="How many of the forecasts that have come due held.")
@click.option("--sql", "with_sql", is_flag=True, help="With the SQL that shows each finding.")
@_json_option
def insights(score: bool, with_sql: bool, as_json: bool) -> None:
    """What the history shows that its owner should know."""
    from service.terminal import drawings, layout

    monitor = _monitor()
    if score:
        held = monitor.forecast_score()
        layout.print_json(held) if as_json else layout.draw(drawings.score(held))
        return
    answer = monitor.insights()
    if as_json:
        layout.print_json(answer, monitor.write)
    else:
        layout.draw(drawings.insights(answer, monitor.write, with_sql))


@cli.command()
@click.argument("statement")
@click.option("--csv", "as_csv", is_flag=True, help="CSV, for spreadsheets.")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="Stop the statement after this long.")
@_json_option
def sql(statement: str, as_csv: bool, seconds: float, as_json: bool) -> None:
    """Read-only SQL on the history: the views samples, minutes, hours, gaps, runs, metrics, processes, captures,
    process_hours, filesystems, mounts, forecasts.

    Example: python3 manage.py sql "SELECT time, cpu_percent FROM samples ORDER BY cpu_percent DESC LIMIT 10"
    """
    from service.store.reader import History
    from service.terminal import rows as shown

    settings, _ = _settings()
    history = History(settings.database)
    history.check_readable()
    with history.query(statement, seconds) as (columns, rows):
        if as_json:
            shown.print_json(columns, rows)
        elif as_csv:
            shown.print_csv(columns, rows)
        elif columns:
            shown.print_table(columns, rows)


@cli.command()
@_window_options("0", shown="the beginning")
@click.option("--tier", type=click.Choice(["samples", "minutes", "hours"]), default="samples", show_default=True)
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Where to write; stdout if left out.")
def export(start: int, end: int, tier: str, form: str, out: Path | None) -> None:
    """The history out: every row of one tier, in time order.

    Example: python3 manage.py export --start -30d --tier minutes --out july.csv
    """
    from service.store import tiers
    from service.store.reader import History
    from service.terminal import layout
    from service.upkeep import archive

    settings, _ = _settings()
    history = History(settings.database)
    history.check_readable()
    with history.view() as view:
        start = max(start, view.oldest() or 0)
    out = None if out is None or archive.is_stdout(out) else out
    chosen = next(known for known in (tiers.SAMPLES, tiers.MINUTES, tiers.HOURS) if known.name == tier)
    with layout.progress("exporting", max(1, end - start)) as progress:
        rows = archive.export(history, chosen, start, end, form, out, progress)
    if out is not None:
        click.echo(f"{rows:,} rows to {out}")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """A consistent, verified copy of the database, while the daemon runs.

    FILE must not exist. `restore` puts it back.
    """
    from service.store.reader import History
    from service.terminal import layout
    from service.upkeep import archive

    settings, _ = _settings()
    History(settings.database).check_readable()
    with layout.progress(f"copying to {file}", None):
        size = archive.backup(settings.database, file.absolute())
    click.echo(f"{file}: {size / 10**6:,.1f} MB, integrity checked")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
def restore(file: Path) -> None:
    """Put a backup in the place of the database, while no daemon runs.

    FILE is verified first, and stays as it is. What stood in its place is moved to the folder `replaced` beside it.
    """
    from service.daemon.startup import Lock
    from service.store import database
    from service.terminal import layout
    from service.upkeep import archive

    settings, _ = _settings()
    path = settings.database.resolve()
    database.prepare_folder(path)
    with Lock(path), layout.progress(f"copying from {file}", None):
        size, aside = archive.restore(path, file.absolute(), Clock().now().wall)
    click.echo(f"{path}: {size / 10**6:,.1f} MB from {file}, integrity checked")
    if aside is not None:
        click.echo(f"what stood there is in {aside}")


@cli.command()
def prune() -> None:
    """Apply the retention settings now, and give the freed space back. The daemon does so by itself every hour."""
    from service.daemon.startup import held_store
    from service.recording.retention import Keeper
    from service.terminal import layout

    settings, _ = _settings()
    with held_store(settings) as store, layout.progress("pruning", None):
        before = store.used_bytes()
        count = settings.sampling.processes_count
        keeper = Keeper(store, Clock(), settings.retention, settings.storage.max_size, count)
        while keeper.roll_up():
            pass
        while keeper.prune():
            pass
        after = store.used_bytes()
    click.echo(f"{settings.database}: {before / 10**6:,.1f} MB before, {after / 10**6:,.1f} MB after")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
def salvage(file: Path) -> None:
    """What can still be read of a damaged database, merged into the current one, while no daemon runs.

    FILE is one that was set aside (quarantine/.../tidemark.db beside the database) and stays as it is. What the
    current one has already is left as it stands, so that a second salvage adds nothing.
    """
    from service.daemon.startup import held_store
    from service.terminal import layout
    from service.upkeep.salvage import salvage as merge

    settings, _ = _settings()
    with held_store(settings) as store, layout.progress(f"reading {file}", 1.0) as progress:
        tables = merge(file, store, settings.database.resolve(), progress)
    rows = [(name, found.known, found.read, found.added) for name, found in tables.items()]
    layout.table(("rows of", "known", "read", "new here"), rows, right=(1, 2, 3))
    known, read = (sum(getattr(found, name) for found in tables.values()) for name in ("known", "read"))
    click.echo(f"\n{read:,} of {known:,} known rows came back")


@cli.command()
@_json_option
def check(as_json: bool) -> None:
    """Verify the database and the host, and say what is wrong; exit code 1 if something is."""
    from service.terminal import layout
    from service.upkeep.checks import examine

    settings, _ = _settings()
    findings = examine(settings, Clock())
    if as_json:
        layout.print_json([{"level": f.level, "what": f.what, "detail": f.detail} for f in findings])
    else:
        for finding in findings:
            click.echo(f"{finding.level:5} {finding.what}: {layout.printable(finding.detail)}")
    if any(finding.level == "bad" for finding in findings):
        click.get_current_context().exit(1)


@cli.command()
def migrate() -> None:
    """Create the database, or bring its schema up to date."""
    from service.daemon.startup import Lock
    from service.store import database

    settings, _ = _settings()
    path = settings.database.resolve()
    if database.is_current(path):
        click.echo(f"{path} is up to date (schema {database.revisions()[-1]})")
        return
    database.prepare_folder(path)
    with Lock(path):
        applied = database.migrate(path)
    click.echo(f"{path}: applied {', '.join(applied)}")


@cli.command("config")
@_json_option
def show_config(as_json: bool) -> None:
    """Every setting, its value, and where it came from."""
    from service.terminal import layout

    _, rows = _settings()
    _name_other_variables()
    if as_json:
        layout.print_json([{"key": r.key, "value": r.value, "origin": r.origin, "takes": r.takes} for r in rows])
    else:
        layout.table(("setting", "value", "from"), [(r.key, _setting_text(r.value), r.origin) for r in rows])


def _setting_text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value)


def main() -> int:
    """Run a verb; every error is one line on stderr with the contract's exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the terminal's encoding lacks is shown as its code.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result = cli.main(prog_name="manage.py", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return error.exit_code
    except click.ClickException as error:
        hint = "" if isinstance(error, click.UsageError) and error.ctx is None else "; --help says what there is"
        return _fail(" ".join(error.format_message().split()).rstrip(".") + hint, error.exit_code)
    except TidemarkError as error:
        return _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("stopped", 130)
    except (_ReaderGone, BrokenPipeError):
        # The reader of a pipe has gone (`| head`): nothing is wrong. Python would complain once more at exit.
        sys.stdout = None
        return 0
    except OSError as error:
        sys.stdout = None  # which may be what is full
        return _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is, people see one line
        return _fail(f"a defect in Tidemark: {type(error).__name__}: {' '.join(str(error).split())}", 1)
    return result if isinstance(result, int) else 0


def _fail(text: str, code: int) -> int:
    from service.terminal.layout import printable

    print(f"tidemark: {printable(text)}", file=sys.stderr)
    return code
