"""The verbs that give the history to other programs: SQL, whole tiers, and an assistant's tools."""

import os
import sys
from pathlib import Path

import click

from service.cli.group import cli
from service.cli.options import json_option, read_settings, window_options
from service.clock import Clock


@cli.command()
@click.argument("statement")
@click.option("--csv", "as_csv", is_flag=True, help="CSV, for spreadsheets.")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="Stop the statement after this long.")
@json_option
def sql(statement: str, as_csv: bool, seconds: float, as_json: bool) -> None:
    """Read-only SQL on the history: the views samples, minutes, hours, gaps, runs, metrics, captures, processes,
    process_names, process_hours, services, service_hours, disks, disk_hours, interfaces, interface_hours, sensors,
    sensor_hours, batteries, battery_hours, filesystems, mounts, forecasts, forwards.

    Example: python3 manage.py sql "SELECT time, cpu_percent FROM samples ORDER BY cpu_percent DESC LIMIT 10"
    """
    from service.store.reader import History
    from service.terminal import rows as shown

    settings, _ = read_settings()
    history = History(settings.database)
    history.check_readable()
    with history.query(statement, seconds, give_up) as (columns, rows):
        if as_json:
            shown.print_json(columns, rows)
        elif as_csv:
            shown.print_csv(columns, rows)
        elif columns:
            shown.print_table(columns, rows)


def give_up(why: str) -> None:
    """End the process at once, as nothing else ends a step of SQLite's."""
    print(f"tidemark: {why}", file=sys.stderr, flush=True)
    os._exit(1)


@cli.command()
@window_options("0", shown="the beginning")
@click.option("--tier", type=click.Choice(["samples", "minutes", "hours"]), default="samples", show_default=True)
@click.option("--format", "form", type=click.Choice(["csv", "jsonl", "openmetrics"]), default="csv", show_default=True)
@click.option("--instance", help="The label of that name in openmetrics; that of what is forwarded, if left out.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write; stdout if left out.")
def export(start: int, end: int, tier: str, form: str, instance: str | None, out: Path | None) -> None:
    """The history out: every row of one tier, in time order.

    Example: python3 manage.py export --start -30d --tier minutes --out july.csv
    """
    _check_openmetrics(tier, form, instance)
    from service.store import tiers
    from service.store.reader import History
    from service.terminal import layout
    from service.upkeep import archive

    settings, _ = read_settings()
    history = History(settings.database)
    history.check_readable()
    if out is not None:
        archive.check_is_not_own(settings.database, out)
    with history.view() as view:
        start = max(start, view.oldest() or 0)
    out = None if out is None or archive.is_stdout(out) else out
    chosen = next(known for known in (tiers.SAMPLES, tiers.MINUTES, tiers.HOURS) if known.name == tier)
    with layout.progress("exporting", max(1, end - start)) as progress:
        if form == "openmetrics":
            # As what is forwarded is called.
            name = instance or settings.forward.instance or os.uname().nodename
            labels = {**settings.forward.labels, "instance": name}
            rows = archive.export_openmetrics(history, start, end, labels, out, progress)
        else:
            rows = archive.export(history, chosen, start, end, form, out, progress)
    if out is not None:
        click.echo(f"{rows:,} {'points' if form == 'openmetrics' else 'rows'} to {out}")


def _check_openmetrics(tier: str, form: str, instance: str | None) -> None:
    """
    :raises UsageError: if it is asked for what it has not, or its option is given without it.
    """
    context = click.get_current_context()
    if form == "openmetrics" and tier != "samples":
        raise click.UsageError("openmetrics has samples only: minutes and hours keep no totals of counters", context)
    if instance is not None and form != "openmetrics":
        raise click.UsageError("--instance is of --format openmetrics", context)


@cli.command()
def mcp() -> None:
    """Answer an assistant, by the Model Context Protocol over stdin and stdout, until stdin ends.

    The assistant's program starts this verb; docs/reading.md says how it is told to. Nothing is on the network. It
    needs the package mcp, and says how to get it.
    """
    from service.assistant import server

    server.serve(read_settings()[0], Clock())
