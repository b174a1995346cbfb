"""Insights: all findings of the history, by every rule."""

from service.answers.answer import Answer
from service.answers.insights import devices, disks, load, memory, network, record, rhythm
from service.answers.insights.rules import SEVERITIES, Asked, Finding, Rule

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


class Insights(Answer, frozen=True):
    """The most severe first."""

    insights: list[Finding]


def insights(asked: Asked) -> Insights:
    return Insights(insights=findings(asked))


def findings(asked: Asked) -> list[Finding]:
    """All that the history shows, the most severe first; empty where there is nothing to report."""
    found = [finding for rule in RULES for finding in rule(asked)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
