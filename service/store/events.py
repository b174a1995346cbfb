"""What happened to the host and to the recording, as it follows from what is stored: one SELECT, and its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.clock import DAY, HOUR, MINUTE
from service.store import notes
from service.store.notes import Note
from service.store.statements import Statements, utc_text

Kind = Literal[
    "boot",
    "started",
    "stopped",
    "killed",
    "suspended",
    "clock_step",
    "oom_kill",
    "mount_appeared",
    "mount_vanished",
    "note",
]
# Two runs of one boot may read its moment a little apart.
_SAME_BOOT_SECONDS = 60


# A daemon that was killed and at once started again was killed all the same.
_MISSING = "MAX(0, start_ts - prior_end_ts)"
_GAPS = (
    f"SELECT prior_end_ts AS ts, reason AS kind, 'nothing was recorded for ' || {_MISSING} || ' s' AS detail, "
    f"{_MISSING} AS seconds, NULL AS service, NULL AS kills, NULL, NULL FROM stretch "
    "WHERE reason IN ('killed', 'suspended')"
)


# Days are few; those that are not reduced yet are looked at whole.
_DAYS_WITH_KILLS = (
    f"SELECT ts AS first, ts + {DAY} AS after FROM day WHERE oom_kills_increase > 0 "
    f"UNION ALL SELECT COALESCE(MAX(ts) + {DAY}, 0), 9e18 FROM day"
)


def _of_the_host(table: str, of_services: str, within: str = "1") -> str:
    """Those of a minute or an hour. `of_services`: that say the same of a service."""
    return (
        "SELECT ts, 'oom_kill', 'the kernel ended ' || oom_kills_increase || CASE oom_kills_increase WHEN 1 THEN "
        f"' process' ELSE ' processes' END || ' for lack of memory within the {table}; of which service is not known', "
        f"NULL, NULL, oom_kills_increase, NULL, NULL FROM ({_DAYS_WITH_KILLS}) CROSS JOIN {table} AS host "
        f"WHERE ts >= first AND ts < after AND oom_kills_increase > 0 AND {within} AND NOT EXISTS ({of_services})"
    )


# Imported history has negative numbers: what recorded it was started and stopped by somebody else.
_PARTS = (
    "SELECT boot_ts AS ts, 'boot' AS kind, 'the host booted' AS detail, NULL AS seconds, NULL AS service, "
    "NULL AS kills, NULL AS mount, NULL AS since_ts FROM run "
    "WHERE boot_ts IS NOT NULL AND NOT EXISTS (SELECT 1 FROM run AS earlier "
    "WHERE earlier.started_ts < run.started_ts AND (earlier.boot_id = run.boot_id "
    "OR (earlier.boot_id IS NULL OR run.boot_id IS NULL) "
    f"AND ABS(earlier.boot_ts - run.boot_ts) <= {_SAME_BOOT_SECONDS}))",
    "SELECT started_ts, 'started', 'Tidemark ' || version || ', a sample every ' || interval_seconds || ' s', NULL, "
    "NULL, NULL, NULL, NULL FROM run WHERE run_id > 0",
    "SELECT stopped_ts, 'stopped', 'Tidemark was stopped', NULL, NULL, NULL, NULL, NULL FROM run "
    "WHERE run_id > 0 AND stopped_ts IS NOT NULL",
    _GAPS,
    f"SELECT start_ts, 'clock_step', 'the clock was set from ' || {utc_text('prior_end_ts')} || ' to ' || "
    f"{utc_text('start_ts')}, start_ts - prior_end_ts, NULL, NULL, NULL, NULL FROM stretch WHERE reason = 'clock_step'",
    "SELECT ts, 'oom_kill', 'the kernel ended ' || oom_kills || ' of ' || name || ' for lack of memory', NULL, name, "
    "oom_kills, NULL, NULL FROM service_usage JOIN service USING (service_id) WHERE oom_kills > 0",
    # Where the captures are gone, the hour is known.
    "SELECT ts, 'oom_kill', 'the kernel ended ' || oom_kills || ' of ' || name || ' for lack of memory, within the "
    "hour', NULL, name, oom_kills, NULL, NULL FROM service_hour JOIN service USING (service_id) "
    "WHERE oom_kills > 0 AND ts < COALESCE((SELECT MIN(ts) FROM capture), 9e18) / 3600 * 3600",
    # Of which service they were is known with version 2 of control groups alone; the host counts them all the same.
    _of_the_host(
        "minute",
        "SELECT 1 FROM service_usage AS u JOIN capture AS c USING (ts, stretch_id) WHERE u.oom_kills > 0 "
        f"AND u.ts > host.ts AND u.ts <= host.ts + {2 * HOUR} AND u.ts - c.covered_ms / 1000 <= host.ts + {MINUTE}",
    ),
    _of_the_host(
        "hour",
        "SELECT 1 FROM service_hour AS u WHERE u.oom_kills > 0 AND u.ts = host.ts",
        "host.ts < COALESCE((SELECT MIN(ts) FROM minute), 9e18) / 3600 * 3600",
    ),
    "SELECT ts, CASE WHEN mount_event.is_mounted THEN 'mount_appeared' ELSE 'mount_vanished' END, path || CASE WHEN "
    f"mount_event.is_mounted THEN ' was mounted' ELSE ' was unmounted' END || ' after ' || {utc_text('since_ts')} || "
    "CASE WHEN is_last THEN '; more of that day are not kept' ELSE '' END, NULL, NULL, NULL, path, since_ts "
    "FROM mount_event JOIN mount USING (mount_id)",
    "SELECT ts, 'note', text, NULL, NULL, NULL, NULL, NULL FROM note",
)
_ALL = " UNION ALL ".join(_PARTS)
VIEW = f"SELECT ts, {utc_text('ts')} AS time, kind, detail FROM ({_ALL})"


@dataclass(frozen=True, slots=True)
class Event:
    """`seconds`: how long nothing was recorded, or by how much the clock was set. `service`: whose processes the kernel
    ended, `kills` of them. `mount`: its path, which was not yet, or still, mounted at `since_ts`."""

    ts: int
    kind: Kind
    detail: str
    seconds: int | None
    service: str | None
    kills: int | None
    mount: str | None = None
    since_ts: int | None = None


def events(statements: Statements, start: int, end: int, waiting: Sequence[Note] = ()) -> list[Event]:
    """Those of start <= ts < end, in time order. `waiting`: notes that may not be stored yet; they count as if they
    were."""
    columns = "ts, kind, detail, seconds, service, kills, mount, since_ts"
    rows = statements.rows(f"SELECT {columns} FROM ({_ALL}) WHERE ts >= ? AND ts < ? ORDER BY ts, kind", (start, end))
    within = [new for new in waiting if start <= new.ts < end]
    added = [Event(new.ts, "note", new.text, None, None, None) for new in notes.not_stored(statements, within)]
    return sorted([*(Event(*row) for row in rows), *added], key=lambda event: (event.ts, event.kind))
