"""Recurring peaks: in local time, and with the numbers that were judged."""

from pathlib import Path
from random import Random

from service.analysis import recurrence
from service.answers.insights import rhythm
from service.answers.monitor import ResourceMonitor
from service.clock import DAY, HOUR
from service.store.reader import History
from tests.answers.insights.past import Past, daily, found_in, proven
from tests.conftest import NOW, FakeClock, settings_for


def test_hours_of_the_day_are_those_of_the_zone(past: Past, path: Path, clock: FakeClock) -> None:
    past.hours(15, cpu_percent=daily(10, 70, hour=3))
    (finding,) = found_in(path, offset_seconds=HOUR)
    assert "at about 04:00" in finding.title
    proven(path, finding)
    history = History(path)
    berlin = ResourceMonitor(history, settings_for(path, analysis__timezone="Europe/Berlin"), clock)
    assert [found.title for found in berlin.insights().insights] == [finding.title]
    history.close()


def test_a_peak_that_comes_back_has_the_numbers_that_were_judged_also_where_hours_are_missing(
    past: Past, path: Path
) -> None:
    random = Random(5)
    stamps = [
        ts
        for ts in range(NOW - 20 * DAY, NOW, HOUR)
        if random.random() < 0.8 and not NOW - 9 * DAY < ts < NOW - 8 * DAY
    ]
    values = daily(10, 70)
    by_hour = {ts: round(values(ts), 2) for ts in stamps}
    past.tier("hour", stamps, cpu_percent=by_hour.__getitem__)
    judged = recurrence.daily_peak([by_hour.get(ts) for ts in range(stamps[0], NOW, HOUR)], stamps[0] // HOUR % 24, 10)
    (finding,) = found_in(path, rhythm.recurring_peak)
    assert judged is not None
    assert judged.days < 19
    evidence = finding.evidence
    assert (evidence["hour"], evidence["peak_days"], evidence["days"]) == (judged.hour, judged.peak_days, judged.days)
