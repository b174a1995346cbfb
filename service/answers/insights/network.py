"""The network: segments that had to be sent again."""

from collections.abc import Iterator

from service.answers.insights.rules import Asked, Finding, numbers
from service.clock import DAY, HOUR

# How many hours of a day, at which rate, at how many times the worst hour of the days before, of which so many hours
# must be known. How many segments were sent at all is not stored, so that a host is compared with itself.
AGAIN_HOURS = 2
AGAIN_PER_SECOND = 1
AGAIN_FACTOR = 3
AGAIN_BEFORE_DAYS = 7
AGAIN_KNOWN_HOURS = 120


def tcp_retransmits(asked: Asked) -> Iterator[Finding]:
    """Hours of the last day in which far more TCP segments were sent again than in any of the days before."""
    start = (asked.now - DAY) // HOUR * HOUR
    sql = (
        "WITH rate AS (\n"
        "    SELECT ts, tcp_retransmits_increase AS again, tcp_retransmits_increase / covered_seconds AS per_second\n"
        f"    FROM hours WHERE ts >= {start - AGAIN_BEFORE_DAYS * DAY} AND ts < {asked.now}\n"
        "          AND tcp_retransmits_increase IS NOT NULL AND covered_seconds >= 600\n"
        "), usual AS (\n"
        f"    SELECT COUNT(*) AS known_hours, MAX(per_second) AS most FROM rate WHERE ts < {start}\n"
        ")\n"
        "SELECT COUNT(*) AS hours, SUM(again) AS segments, MAX(per_second) AS most_per_second,\n"
        "       MAX(usual.most) AS before_per_second, MAX(known_hours) AS known_hours, MAX(ts) AS last_ts\n"
        f"FROM rate, usual\nWHERE ts >= {start} AND known_hours >= {AGAIN_KNOWN_HOURS}\n"
        f"      AND per_second >= {AGAIN_PER_SECOND} AND per_second >= {AGAIN_FACTOR} * usual.most"
    )
    row = asked.row(sql)
    if row is not None and row["hours"] >= AGAIN_HOURS:
        yield Finding(
            code="tcp_retransmits",
            severity="warning",
            title=f"{row['segments']} TCP segments were sent again in {row['hours']} hours of the last day, far more "
            "than usual",
            detail=f"Up to {row['most_per_second']:.1f} a second; in the worst hour of the {AGAIN_BEFORE_DAYS} days "
            f"before it was {row['before_per_second']:.2f}. Packets get lost on the way, or another host does not "
            "answer.",
            evidence=numbers(row),
            sql=sql,
        )
