"""File systems: the newest forecast counts, and the score of all that have come due."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.answers.insights.disks import CAPTURED_SECONDS
from service.answers.monitor import ResourceMonitor
from service.clock import HOUR
from tests.answers.insights.past import Past, found_in
from tests.conftest import NOW
from tests.running import query


def test_of_a_file_system_the_newest_forecast_counts(past: Past, path: Path) -> None:
    past.foretold(20)
    past.store.write(
        lambda statements: statements.run(
            "INSERT INTO forecast SELECT mount_id, made_ts - 3600, is_full, level_kb, "
            "growth_kb_per_day, earliest_ts - 9 * 86400, middle_ts, latest_ts, reached_ts, watched_until FROM forecast",
            (),
        )
    )
    (finding,) = found_in(path)
    assert finding.evidence["made_ts"] == NOW - 600


def test_what_is_not_captured_any_more_is_no_finding_while_others_are(past: Past, path: Path) -> None:
    """Such as a full file system that was mounted read-only since."""

    def codes(root_ts: int, ts: int) -> list[str]:
        move = "UPDATE filesystem SET ts = CASE mount_id WHEN 1 THEN ? ELSE ? END"
        past.store.write(lambda statements: statements.run(move, (ts, root_ts)))
        return [finding.code for finding in found_in(path)]

    past.foretold(3)
    past.mount_is(100, 0)
    past.rows("mount", [{"mount_id": 2, "path": "/"}])
    past.rows(
        "filesystem",
        [{"mount_id": 2, "ts": NOW, "stretch_id": 1, "total_kb": 10, "used_kb": 1, "available_kb": 9}],
    )
    assert codes(NOW, NOW - CAPTURED_SECONDS) == ["disk_full", "disk_filling"]
    assert codes(NOW, NOW - CAPTURED_SECONDS - 1) == []
    # A clock that was ahead: what lies in the future does not count.
    assert codes(NOW + HOUR, NOW - CAPTURED_SECONDS - 1) == ["disk_full", "disk_filling"]


@pytest.fixture
def scored(past: Past) -> Callable[..., None]:
    past.mount(50, 50)

    def foretold(made: int, earliest: int, latest: int | None, reached: int | None) -> None:
        row = {"mount_id": 1, "made_ts": NOW + made, "is_full": 1, "level_kb": 1, "growth_kb_per_day": 1}
        row |= {"earliest_ts": NOW + earliest, "middle_ts": NOW + earliest, "watched_until": NOW}
        row |= {"latest_ts": None if latest is None else NOW + latest}  # type: ignore[dict-item]
        row |= {"reached_ts": None if reached is None else NOW + reached}  # type: ignore[dict-item]
        past.rows("forecast", [row])

    return foretold


def test_the_score_counts_what_has_come_due(scored: Callable[..., None], monitor: ResourceMonitor, path: Path) -> None:
    scored(-900, -800, -600, -700)  # held
    scored(-901, -800, -600, -850)  # earlier
    scored(-902, -800, -600, -500)  # later
    scored(-903, -800, -600, None)  # not yet, so later
    scored(-904, -800, 600, -700)  # not due, though it was reached: else what comes early would count more
    scored(-905, -800, None, None)
    score = monitor.forecast_score()
    assert {key: getattr(score, key) for key in ("made", "due", "held", "earlier", "later", "nominal")} == {
        "made": 6, "due": 4, "held": 1, "earlier": 1, "later": 2, "nominal": 0.8
    }  # fmt: skip
    assert query(path, score.sql) == [(6, 4, 1, 1, 2, 1)]


def test_of_forecasts_that_overlap_only_one_counts_as_independent(
    scored: Callable[..., None], monitor: ResourceMonitor
) -> None:
    for hour in range(48):
        made = (hour - 60) * HOUR
        scored(made, made + 10 * HOUR, made + 12 * HOUR, made + 11 * HOUR)
    score = monitor.forecast_score()
    assert (score.due, score.held, score.independent) == (48, 48, 4)
