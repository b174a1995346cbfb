"""The record itself: gaps that recur, and a daemon that keeps ending without a stop."""

from collections.abc import Iterator

from service.answers.insights.rules import Asked, Finding, numbers, span
from service.clock import DAY

# How many gaps of a reason, in so many days, are more than chance and maintenance.
GAPS_DAYS = 7
GAPS = {"killed": 3, "rebooted": 3, "storage": 3, "clock_step": 3, "overload": 5}

_REASONS = {
    "killed": "Tidemark was killed",
    "rebooted": "the host booted",
    "storage": "samples could not be stored",
    "clock_step": "the clock was stepped",
    "overload": "the host was too busy to be sampled",
}


def gaps_recurring(asked: Asked) -> Iterator[Finding]:
    """Gaps of one reason that recur."""
    for reason, least in GAPS.items():
        sql = (
            "SELECT COUNT(*) AS gaps, SUM(end_ts - start_ts) AS missed_seconds,\n"
            "       MAX(end_ts - start_ts) AS longest_seconds, MAX(end_ts) AS last_ts\n"
            f"FROM gaps\nWHERE end_ts > {asked.now - GAPS_DAYS * DAY} AND end_ts <= {asked.now} "
            f"AND reason = '{reason}'"
        )
        row = asked.row(sql)
        if row is not None and row["gaps"] >= least:
            yield Finding(
                code="gaps_recurring",
                severity="warning",
                title=f"{row['gaps']} gaps in {GAPS_DAYS} days because {_REASONS[reason]}",
                detail=f"{span(row['missed_seconds'])} were not recorded, {span(row['longest_seconds'])} of them in "
                f"the longest gap. The last gap ended at {asked.text(row['last_ts'])}.",
                evidence=numbers(row),
                sql=sql,
            )


RESTARTS_DAYS = 7
RESTARTS = 3


def restarts_recurring(asked: Asked) -> Iterator[Finding]:
    """Runs of the daemon that ended without a stop, also those so short that no sample was missed."""
    since = asked.now - RESTARTS_DAYS * DAY
    sql = (
        "SELECT COUNT(*) AS unclean_runs, MAX(run_id) AS last_run_id\n"
        f"FROM runs\nWHERE clean = 0 AND started >= strftime('%Y-%m-%dT%H:%M:%SZ', {since}, 'unixepoch')\n"
        "      AND run_id < (SELECT MAX(run_id) FROM runs)"
    )
    row = asked.row(sql)
    if row is not None and row["unclean_runs"] >= RESTARTS:
        yield Finding(
            code="restarts_recurring",
            severity="warning",
            title=f"Tidemark or the host ended without a clean stop {row['unclean_runs']} times in "
            f"{RESTARTS_DAYS} days",
            detail="No stored sample was lost, but what ends it (the kernel out of memory, a power cut, a supervisor) "
            "is likely to do so again. The log of the host before each start says more.",
            evidence=numbers(row),
            sql=sql,
        )
