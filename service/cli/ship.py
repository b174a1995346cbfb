"""The verb about shipping the history to an engine that takes remote write."""

import click

from service import clock
from service.cli.group import cli
from service.cli.options import Time, json_option, read_settings
from service.clock import Clock
from service.config import Settings
from service.errors import BadSetting


@cli.command()
@click.option("--status", "way", flag_value="status", help="How far the history has been sent, and what went wrong.")
@click.option("--verify", "way", flag_value="verify", help="Ask the engine, hour by hour, which samples it has.")
@click.option("--again", "begin", type=Time(), help="Send again from that time on; the daemon must be down.")
@click.option("--start", type=Time(), default="-7d", show_default=True, help="With --verify: from when on.")
@click.option("--end", type=Time(), help="With --verify and --again: until when; not included.")
@click.option("--query-url", help="With --verify: where the engine answers queries, where that does not follow.")
@json_option
def forward(
    way: str | None, begin: int | None, start: int, end: int | None, query_url: str | None, as_json: bool
) -> None:
    """How the history is forwarded to a receiver (forward.url): exit code 1 where that is not well.

    --status is meant where nothing is said. --verify proves which samples the engine has, by their count and the sum
    of their stamps.
    """
    settings, _ = read_settings()
    if begin is not None and way is not None:
        raise click.UsageError("one of --status, --verify, --again", click.get_current_context())
    if not settings.forward.url:
        raise BadSetting("forward.url is empty: set it to the remote-write address of a receiver")
    if begin is not None:
        _forward_again(settings, begin, end)
    elif way == "verify":
        _verify(settings, start, end, query_url, as_json)
    else:
        _forward_status(settings, as_json)


def _forward_status(settings: Settings, as_json: bool) -> None:
    from service.forward.status import status as forwarded
    from service.store.reader import History
    from service.terminal import layout

    History(settings.database).check_readable()
    found = forwarded(settings.database, settings.forward)
    told = {**found._asdict(), "names": settings.forward.names}
    if as_json:
        layout.print_json(told)
    else:
        shown = [(name, "-" if value is None else layout.printable(str(value))) for name, value in told.items()]
        layout.table(("forwarding", ""), shown)
    if not found.is_well(settings.forward.every):
        click.get_current_context().exit(1)


def _verify(settings: Settings, start: int, end: int | None, query_url: str | None, as_json: bool) -> None:
    from service.forward import prove
    from service.forward.destination import destination
    from service.store.reader import History
    from service.terminal import layout

    History(settings.database).check_readable()
    url = query_url or prove.query_url(settings.forward.url)
    now = round(Clock().now().wall)
    proofs = list(
        prove.prove(settings.database, destination(settings, url), url, start, now if end is None else end, now)
    )
    if as_json:
        layout.print_json([{**proof._asdict(), "agrees": proof.agrees} for proof in proofs])
    else:
        rows = [(clock.rfc3339(p.start), p.stored, p.found, "same" if p.agrees else "differs") for p in proofs]
        layout.table(("hour", "stored here", "found there", "samples"), rows, right=(1, 2))
        missing = sum(not proof.agrees for proof in proofs)
        click.echo(f"\n{sum(proof.stored for proof in proofs):,} samples, {missing} of {len(proofs)} hours differ")
    if not all(proof.agrees for proof in proofs):
        click.get_current_context().exit(1)


def _forward_again(settings: Settings, begin: int, end: int | None) -> None:
    from service.daemon.startup import held_store
    from service.forward.names import naming
    from service.forward.status import again

    target, names = settings.forward.target, naming(settings.forward.names)
    with held_store(settings) as store:
        count = store.write(lambda statements: again(statements, target, begin, end, names))
    click.echo(f"{count:,} samples are sent again when the daemon runs")
