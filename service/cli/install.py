"""The verbs that make the daemon a service of systemd, and take it away again."""

from typing import TYPE_CHECKING

import click

from service.cli.group import cli
from service.errors import CannotInstall
from service.place import CHECKOUT, COMMAND

if TYPE_CHECKING:
    from service.installing.plan import Step

_dry_option = click.option("--dry-run", "is_dry", is_flag=True, help="Say what would be done, and do nothing.")


@cli.command()
@_dry_option
def install(is_dry: bool) -> None:
    """As root: make the daemon a service of systemd, enabled and running.

    Makes the account tidemark, /etc/tidemark/tidemark.toml and the unit; systemd makes /var/lib/tidemark. What is
    there already is left as it is, so that a second time changes nothing.
    """
    from service.installing import plan, system

    _refuse_unless_root("install", is_dry)
    steps = plan.installing()
    _go(steps, is_dry)
    if plan.is_anything_left_to_type():
        click.echo(f"systemd does not run here; left to type: {plan.to_type()}")
    elif not is_dry:
        server = plan.settings_of(system.SETTINGS).server
        host = f"[{server.host}]" if ":" in server.host else server.host
        by_file = f" --config {system.SETTINGS}" if CHECKOUT else ""
        click.echo(f"the page: http://{host}:{server.port}/; in the terminal: {COMMAND}{by_file} status")


@cli.command()
@_dry_option
def uninstall(is_dry: bool) -> None:
    """As root: undo what `install` did; the history stays."""
    from service.installing import plan, system

    _refuse_unless_root("uninstall", is_dry)
    _go(plan.removing(), is_dry)
    size = plan.data_bytes()
    if size is not None:
        click.echo(f"the history stays in {system.STATE} ({size / 10**6:,.1f} MB); rm -r {system.STATE} deletes it")


def _refuse_unless_root(verb: str, is_dry: bool) -> None:
    from service.installing import system

    if not is_dry and not system.is_root():
        raise CannotInstall(f"{verb} changes the system: type it as root (sudo), or with --dry-run to see what it does")


def _go(steps: "list[Step]", is_dry: bool) -> None:
    """Each step with its line: what before it is done, the result after it."""
    from service.terminal.layout import printable

    for step in steps:
        click.echo(f"{printable(step.what)} ... ", nl=False)
        if step.action is None or is_dry:
            click.echo(f"would be {step.result}" if step.action else step.result)
            continue
        try:
            step.action()
        except BaseException:
            click.echo("failed")
            raise
        click.echo(step.result)
