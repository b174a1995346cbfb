"""The verbs that look after the database: copies, retention, repair, its schema, its checks; and what people note."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service import clock
from service.cli.group import cli
from service.cli.options import TIME_HELP, Time, json_option, read_settings
from service.clock import Clock
from service.config import Settings
from service.errors import BadParameter, TidemarkError
from service.place import COMMAND

if TYPE_CHECKING:
    from service.importing.report import FileReport, Report
    from service.store.writer import Store


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """A consistent, verified copy of the database, while the daemon runs.

    FILE must not exist. `restore` puts it back.
    """
    from service.store.reader import History
    from service.terminal import layout
    from service.upkeep import archive

    settings, _ = read_settings()
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

    settings, _ = read_settings()
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

    settings, _ = read_settings()
    with held_store(settings) as store, layout.progress("pruning", None):
        before = store.used_bytes()
        keeper = Keeper.by(settings, store, Clock())
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

    settings, _ = read_settings()
    with held_store(settings) as store, layout.progress(f"reading {file}", 1.0) as progress:
        tables = merge(file, store, settings.database.resolve(), progress)
    rows = [(name, found.known, found.read, found.added) for name, found in tables.items()]
    layout.table(("rows of", "known", "read", "new here"), rows, right=(1, 2, 3))
    known, read = (sum(getattr(found, name) for found in tables.values()) for name in ("known", "read"))
    click.echo(f"\n{read:,} of {known:,} known rows came back")


@cli.command()
@json_option
def check(as_json: bool) -> None:
    """Verify the database and the host, and say what is wrong; exit code 1 if something is."""
    from service.terminal import layout
    from service.upkeep.checks import Check, examine

    settings, _ = read_settings()
    findings = examine(settings, Clock())
    if settings.forward.url:
        from service.forward.destination import destination
        from service.forward.status import trial

        is_well, answered = trial(destination(settings))
        findings.append(Check("ok" if is_well else "bad", "forward", f"{answered}; {settings.forward.names} names"))
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

    settings, _ = read_settings()
    path = settings.database.resolve()
    if database.is_current(path):
        click.echo(f"{path} is up to date (schema {database.revisions()[-1]})")
        return
    database.prepare_folder(path)
    with Lock(path):
        applied = database.migrate(path)
    click.echo(f"{path}: applied {', '.join(applied)}")


@cli.command("import-sar")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--host", help="Take the files of the host of that name; this host's, if left out.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Say what would be imported, and import nothing.")
@json_option
def import_sar(files: tuple[Path, ...], host: str | None, is_dry: bool, as_json: bool) -> None:
    """What sysstat recorded before Tidemark did, into the history, while no daemon runs.

    FILE is one that sadc writes (/var/log/sysstat/sa26), or the output of `sadf -j`. What was imported before is left
    as it stands, so that the same file twice changes nothing.
    """
    from service.daemon.startup import held_store
    from service.importing.report import Report
    from service.terminal import layout

    settings, _ = read_settings()
    _create_database(settings.database.resolve(), is_dry)
    zone = clock.zone(settings.analysis.timezone)
    report = Report(host or os.uname().nodename, is_dry, zone, [])
    with held_store(settings) as store, layout.progress("importing", len(files)) as progress:
        for file in files:
            report.files.append(_import_file(store, file, report, settings))
            progress(1)
    if as_json:
        layout.print_json(report.as_json())
    else:
        for line in report.lines():
            click.echo(layout.printable(line))
    if any(file.error for file in report.files):
        click.get_current_context().exit(1)


def _create_database(path: Path, is_dry: bool) -> None:
    """Day one has a past: the import may come before the first start.

    :raises TidemarkError: if a dry run would have to change the database for that.
    """
    from service.daemon.startup import Lock
    from service.store import database

    if database.revision(path) is not None and not is_dry:
        return
    if is_dry and not database.is_current(path):
        raise TidemarkError(f"{path} is not there or of an older version; `{COMMAND} migrate` creates it")
    if not is_dry:
        database.prepare_folder(path)
        with Lock(path):
            database.migrate(path)


def _import_file(store: "Store", file: Path, report: "Report", settings: Settings) -> "FileReport":
    """One file, whole or not at all; why it was refused is printed at once."""
    from service.importing import past, sysstat
    from service.importing.report import of_file, of_refused
    from service.importing.sadf import FileRefused
    from service.terminal.layout import printable

    now = Clock().now().wall
    try:
        found = sysstat.read(file, report.host, settings.disk_path, now)
    except FileRefused as error:
        click.echo(f"tidemark: {printable(str(error))}", err=True)
        return of_refused(file, error)
    done = past.bring_in(store, found, now, report.dry_run)
    return of_file(found, done)


@cli.command()
@click.argument("text")
@click.option("--at", "moment", type=Time(), default="now", show_default=True, help=TIME_HELP)
def note(text: str, moment: int) -> None:
    """Note what was done, as an event: a deployment, a new disk.

    Example: python3 manage.py note "deployed 4.2"

    The daemon has it in the history after its next sample; where none runs, the next one does.
    """
    from service.daemon import running
    from service.store import notes
    from service.store.reader import History

    settings, _ = read_settings()
    path, now = settings.database.resolve(), Clock().now().wall
    History(path).check_readable()
    if moment > now:
        raise BadParameter(f"--at: takes a time that has been, and {clock.rfc3339(moment)} is to come")
    new = notes.note(text, moment)
    notes.leave(path, new)
    when = clock.rfc3339(moment, clock.zone(settings.analysis.timezone))
    is_up = running.settings_of(path) is not None
    click.echo(f"noted at {when}" + ("" if is_up else "; SQL has it once the daemon has run"))
