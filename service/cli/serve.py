"""The verbs that run the program: the daemon, its tests, and the settings both have."""

from typing import Any

import click

from service.cli.group import cli
from service.cli.options import json_option, name_other_variables, read_settings
from service.clock import Clock
from service.daemon import interrupts, openssl
from service.errors import TidemarkError


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
    settings, _ = read_settings(sampling__interval=interval, server__host=host, server__port=port, log__level=log_level)
    name_other_variables()
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


@cli.command("config")
@json_option
def show_config(as_json: bool) -> None:
    """Every setting, its value, and where it came from."""
    from service.terminal import layout

    _, rows = read_settings()
    name_other_variables()
    if as_json:
        layout.print_json([{"key": r.key, "value": r.value, "origin": r.origin, "takes": r.takes} for r in rows])
    else:
        layout.table(("setting", "value", "from"), [(r.key, _setting_text(r.value), r.origin) for r in rows])


def _setting_text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value)
