"""Insights: all findings of the history, by every rule."""

from service.analysis import forecast, recurrence
from service.answers.answer import Answer
from service.answers.insights import devices, disks, load, memory, network, record, rhythm
from service.answers.insights.rules import SEVERITIES, Asked, Finding, Rule
from service.answers.moments import Moment
from service.clock import DAY

RULES: tuple[Rule, ...] = (
    disks.disk_filling,
    disks.disk_full,
    memory.memory_growing,
    memory.memory_growing_for_days,
    memory.memory_pressure,
    memory.swap_storm,
    memory.oom_killed,
    load.cpu_saturated,
    load.io_pressure,
    load.cpu_stolen,
    devices.disk_busy,
    devices.interface_errors,
    devices.sensor_hot,
    network.tcp_retransmits,
    rhythm.oversized,
    rhythm.recurring_peak,
    rhythm.unusual_hour,
    record.gaps_recurring,
    record.restarts_recurring,
)
# Of how many days a rule needs the history before it can find anything; the others can in the first.
DAYS_NEEDED: dict[Rule, int] = {
    disks.disk_filling: forecast.MINIMUM_DAYS,
    memory.memory_growing_for_days: memory.DAILY_GROWTH_DAYS,
    network.tcp_retransmits: network.AGAIN_KNOWN_HOURS // 24 + 1,
    rhythm.oversized: rhythm.OVERSIZED_RECORDED_DAYS,
    rhythm.recurring_peak: recurrence.MINIMUM_DAYS,
    rhythm.unusual_hour: recurrence.MINIMUM_DAYS + 1,
}


class Later(Answer, frozen=True):
    """A rule that needs a longer history than there is, and from when on it can find something at the earliest."""

    rule: str
    speaks_from: Moment


class Insights(Answer, frozen=True):
    """The most severe first. `later`: the rules that cannot speak yet, the soonest first."""

    insights: list[Finding]
    later: list[Later]


def insights(asked: Asked, since: int | None) -> Insights:
    """`since`: unix seconds at which the history begins; None where nothing is recorded."""
    return Insights(insights=findings(asked), later=later(asked.now, asked.now if since is None else since))


def later(now: int, since: int) -> list[Later]:
    moments = ((rule.__name__, since + days * DAY) for rule, days in DAYS_NEEDED.items())
    waiting = sorted((ts, name) for name, ts in moments if ts > now)
    return [Later(rule=name, speaks_from=Moment(ts)) for ts, name in waiting]


def findings(asked: Asked) -> list[Finding]:
    """All that the history shows, the most severe first; empty where there is nothing to report."""
    found = [finding for rule in RULES for finding in rule(asked)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
