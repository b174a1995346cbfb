"""What verbs share: the settings they run with, and the options for times, windows and forms."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from service import clock
from service.clock import Clock
from service.config import Setting, Settings, load, set_by_kubernetes

if TYPE_CHECKING:
    from service.answers.monitor import ResourceMonitor

TIME_HELP = "RFC 3339, unix seconds, -24h, yesterday, monday, 2026-11-24, 3:12, monday 3:12."


class _Duration(click.ParamType[Any]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else clock.parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class Time(click.ParamType[Any]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else clock.parse_time(value, Clock().now().wall, _zone())
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class Against(click.ParamType[Any]):
    """How many seconds before a window the time lies with which it is compared."""

    name = "time before"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from service.answers.spans import parse_against

        try:
            return value if isinstance(value, int) else parse_against(value)
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


def read_settings(**options: Any) -> tuple[Settings, list[Setting]]:
    file, given = click.get_current_context().obj
    return load(file, options={**given, **{key.replace("__", "."): value for key, value in options.items()}})


def name_other_variables() -> None:
    """Say which variables look like settings and are none, for who meant TIDEMARK_SERVER_PORT by TIDEMARK_PORT."""
    if names := set_by_kubernetes():
        text = f"tidemark: no settings, left out (Kubernetes sets such for a service): {', '.join(names)}"
        click.echo(text, err=True)


def _zone() -> clock.Zone:
    return clock.zone(read_settings()[0].analysis.timezone)


def window_options(begins: str, shown: str | bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
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


def length_options(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
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
            click.option("--start", type=Time(), help=TIME_HELP, **start),
            click.option("--end", type=Time(), help="Likewise; not included.", **end),
            click.option("--on", "day", type=_Day(), help="That day: yesterday, monday, 2026-11-24."),
            click.option("--at", "moment", type=Time(), help="The five minutes around that time."),
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
    if moment is None:
        return day or (start, end)
    from service.answers.window import around

    return around(moment)


def _are_given(*names: str) -> bool:
    context = click.get_current_context()
    return any(context.get_parameter_source(name) not in (None, ParameterSource.DEFAULT) for name in names)


def by_option(function: Callable[..., Any]) -> Callable[..., Any]:
    kinds = click.Choice(["name", "service"])
    return click.option(
        "--by", type=kinds, default="name", show_default=True, help="By the processes' name, or by service."
    )(function)


def metric_option(function: Callable[..., Any]) -> Callable[..., Any]:
    def names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        from service.metrics import BY_NAME

        return [name for name in BY_NAME if name.startswith(incomplete)]

    return click.option(
        "--metric", default="cpu_percent", show_default=True, help="Which metric.", shell_complete=names
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="The answer as JSON, for programs.")(function)


def open_monitor() -> "ResourceMonitor":
    from service.answers.monitor import ResourceMonitor
    from service.store.reader import History

    settings, _ = read_settings()
    history = History(settings.database)
    history.check_readable()
    return ResourceMonitor(history, settings, Clock())
