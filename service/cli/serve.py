"""The verbs that run the program: the daemon, its tests, and the settings both have."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import click

from service.cli.group import cli
from service.cli.options import json_option, name_other_variables, read_settings
from service.clock import Clock
from service.config import Setting
from service.daemon import interrupts, spared
from service.errors import TidemarkError
from service.place import CHECKOUT


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
    settings, rows = read_settings(
        sampling__interval=interval, server__host=host, server__port=port, log__level=log_level
    )
    name_other_variables()
    interrupts.remember()
    spared.spare(tls=settings.forward.url.startswith("https:"))
    from service.daemon.daemon import run as run_daemon

    run_daemon(settings, rows, Clock(), insecure_no_auth)


@cli.command(context_settings={"ignore_unknown_options": True}, hidden=CHECKOUT is None)
@click.argument("pytest_arguments", nargs=-1)
def test(pytest_arguments: tuple[str, ...]) -> None:  # noqa: ARG001
    """Install the test tools into .venv and run the whole suite; what follows goes to pytest.

    `python3 manage.py test -m slow` runs the long soaks.
    """
    raise TidemarkError("the suite is run by manage.py itself: python3 manage.py test")


@cli.command("config")
@json_option
def show_config(as_json: bool) -> None:
    """Every setting, its value, and where it came from; and what the running daemon uses."""
    from service.daemon import running
    from service.terminal import layout

    settings, rows = read_settings()
    name_other_variables()
    if settings.forward.url and find_spec("cramjam") is None:
        click.echo("tidemark: cramjam cannot be imported here: what is forwarded is not compressed", err=True)
    used = running.settings_of(settings.database.resolve())
    if as_json:
        layout.print_json([_setting(row, used) for row in rows])
        return
    shown = [[row.key, _setting_text(row.value), row.origin, *_used_text(row, used)] for row in rows]
    layout.table(("setting", "value", "from", "the daemon uses")[: len(shown[0])], shown)


def _setting(row: Setting, used: Mapping[str, Any] | None) -> dict[str, Any]:
    """`running`: what the running daemon uses; null where none runs."""
    shown = {"key": row.key, "value": row.value, "origin": row.origin, "takes": row.takes}
    return {**shown, "running": None if used is None else used.get(row.key)}


def _used_text(row: Setting, used: Mapping[str, Any] | None) -> list[str]:
    if used is None:
        return []
    return ["the same" if used.get(row.key) == row.value else _setting_text(used.get(row.key))]


def _setting_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={content}" for name, content in value.items())
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value)
