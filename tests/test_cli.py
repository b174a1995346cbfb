"""The verbs: what they print, for people and for programs, and how they fail: one line and the contract's exit code."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from rich.cells import cell_len

from service import __version__, cli
from service.answers.monitor import ResourceMonitor
from service.cli import group
from service.clock import Clock, Instant, rfc3339
from service.config import Settings
from service.daemon.startup import Lock
from service.metrics import METRICS
from service.records import Break, DeviceReading, DeviceUsage, MountUsage, ServiceUsage
from service.store import devices, filesystems
from service.store.reader import History
from service.store.writer import Store
from tests.conftest import NOW, Fill, Record, Start, client_for
from tests.running import query

ROOT = Path(__file__).parent.parent
VERBS = sorted(cli.cli.commands)
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


class Done(NamedTuple):
    code: int
    out: str
    err: str


Tidemark = Callable[..., Done]


@pytest.fixture
def tidemark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: Path) -> Tidemark:
    """Runs a verb in this process, over the new database unless another is named."""
    for name in [name for name in os.environ if name.startswith("TIDEMARK_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, database: Path = path) -> Done:
        monkeypatch.setattr(sys, "argv", ["manage.py", "--database", str(database), *arguments])
        code = cli.main()
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def now() -> int:
    return int(Clock().now().wall)


@pytest.fixture
def recorded(fill: Fill, now: int) -> None:
    """The last ten minutes of this host, after a gap of ten."""
    fill(now - 1205, 1, cpu_percent=1)
    values = {"memory_percent": 62.06, "process_count": 60, "load_1": 1.25, "load_5": 1.5, "load_15": 0}
    fill(now - 600, 120, begins=Break(now - 1205, "killed"), cpu_percent=lambda i: i % 50, **values)


def failed(done: Done, code: int) -> str:
    """The one line of a failure."""
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("tidemark: ")
    assert done.err.count("\n") == 1
    return done.err.removeprefix("tidemark: ").rstrip("\n")


def in_process(
    *arguments: str, stdout: int = subprocess.PIPE, **environment: str
) -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TIDEMARK_")}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        # Buffered, so that what is printed last meets a full disk or a closed pipe only as the verb ends.
        env={**clean, "TIDEMARK_NO_BOOTSTRAP": "1", "PYTHONUNBUFFERED": "", **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


# -- help and usage


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_tells_what_it_does(tidemark: Tidemark, verb: str) -> None:
    for option in ("--help", "-h"):
        done = tidemark(verb, option)
        assert (done.code, done.err) == (0, "")
        assert f"Usage: manage.py {verb}" in done.out
        assert len(done.out.splitlines()[2].split()) >= 3


def test_help_lists_every_verb_and_exit_code(tidemark: Tidemark) -> None:
    out = tidemark("--help").out
    assert [verb for verb in VERBS if f"\n  {verb} " not in out] == []
    assert [code for code in (0, 1, 2, 73, 74, 75, 76, 78) if str(code) not in out.split()] == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("nonsense",), "No such command 'nonsense'; --help"),
        (("status", "--foo"), "No such option"),
        (("sql",), "Missing argument 'STATEMENT'"),
        (("summary", "--window", "abc"), "'abc': a duration is a number with s, m, h, d or y"),
        (("gaps", "--start", "tomorrow"), "'tomorrow': a time is RFC 3339"),
        (("gaps", "--on", "12:00"), "'12:00': a day is today, yesterday"),
        (("gaps", "--on", "today", "--at", "12:00"), "one of --start and --end, --on, --at"),
        (("export", "--on", "today", "--end", "now"), "one of --start and --end, --on, --at"),
        (("peaks", "--count", "0"), "0 is not in the range"),
        (("peaks", "--metric", "luck"), "metric = 'luck': takes one of cpu_percent"),
        (("status", "--watch", "--json"), "--watch draws and --json does not"),
        (("run", "--port", "http"), "'http' is not a valid integer"),
    ],
)
def test_bad_usage_is_exit_code_2_and_says_what_is_wrong(
    tidemark: Tidemark, arguments: tuple[str, ...], text: str
) -> None:
    assert text in failed(tidemark(*arguments), 2)


def test_no_verb_is_answered_by_the_help(tidemark: Tidemark) -> None:
    done = in_process()
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout == tidemark("--help").out


def test_the_version_is_printed(tidemark: Tidemark) -> None:
    assert tidemark("--version") == (0, f"Tidemark {__version__}\n", "")


# -- exit codes

READING = [("status",), ("summary",), ("peaks",), ("gaps",), ("sql", "SELECT 1"), ("export",), ("prune",)]


@pytest.mark.parametrize("verb", [*READING, ("backup", "copy.db")])
def test_without_a_history_a_verb_says_how_to_start_one(
    tidemark: Tidemark, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    text = failed(tidemark(*verb, database=tmp_path / "none.db"), 1)
    assert text == f"no history at {tmp_path}/none.db yet; `python3 manage.py run` starts one"
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("verb", [*READING, ("migrate",)])
def test_a_database_of_a_newer_version_is_left_alone(tidemark: Tidemark, path: Path, verb: tuple[str, ...]) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = path.read_bytes()
    assert "newer Tidemark" in failed(tidemark(*verb), 76)
    assert path.read_bytes() == before


@pytest.mark.parametrize("verb", [*READING, ("migrate",)])
def test_a_file_of_somebody_else_is_left_alone(tidemark: Tidemark, tmp_path: Path, verb: tuple[str, ...]) -> None:
    foreign = tmp_path / "notes.txt"
    foreign.write_text("dear diary\n" * 100)
    assert failed(tidemark(*verb, database=foreign), 78).startswith(f"{foreign} is not a Tidemark database")
    assert foreign.read_text() == "dear diary\n" * 100


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("TIDEMARK_SAMPLING_INTERVAL", "0", "sampling.interval = '0' (environment TIDEMARK_SAMPLING_INTERVAL): takes"),
        (
            "TIDEMARK_LOGLEVEL",
            "INFO",
            "unknown setting TIDEMARK_LOGLEVEL (environment): did you mean TIDEMARK_LOG_LEVEL",
        ),
    ],
)
def test_a_bad_setting_is_exit_code_78(
    tidemark: Tidemark, monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str
) -> None:
    monkeypatch.setenv(name, value)
    assert failed(tidemark("config"), 78).startswith(text)


def test_what_kubernetes_sets_is_named_once_and_stops_nothing(
    tidemark: Tidemark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_PORT", "tcp://10.0.0.11:8930")
    monkeypatch.setenv("TIDEMARK_SERVICE_HOST", "10.0.0.11")
    done = tidemark("config", "--json")
    assert done.code == 0
    assert done.err.count("\n") == 1
    assert done.err.endswith(": TIDEMARK_PORT, TIDEMARK_SERVICE_HOST\n")
    assert {row["key"]: row["value"] for row in json.loads(done.out)}["server.port"] == 8930


def test_a_settings_file_that_is_missing_or_malformed_is_exit_code_78(
    tidemark: Tidemark, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "does not exist" in failed(tidemark("--config", "nowhere.toml", "config"), 78)
    (tmp_path / "bad.toml").write_text("[sampling\n")
    assert "cannot be read" in failed(tidemark("--config", str(tmp_path / "bad.toml"), "config"), 78)
    assert "storage.path = ''" in failed(tidemark("--database", "", "config"), 78)


def test_an_address_that_others_reach_needs_a_token(path: Path) -> None:
    done = in_process("--database", str(path), "run", "--host", "0.0.0.0")
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("tidemark: server.host = '0.0.0.0' can be reached from elsewhere")


def test_what_a_file_is_called_cannot_move_the_cursor(tidemark: Tidemark) -> None:
    assert "\\x1b[2J\\x0ax" in failed(tidemark("--config", "\x1b[2J\nx", "config"), 78)


# -- answers


def shape(answer: object) -> object:
    if isinstance(answer, dict):
        return {key: shape(value) for key, value in answer.items()}
    return [shape(value) for value in answer[:1]] if isinstance(answer, list) else None


@pytest.mark.parametrize(
    ("verb", "url"),
    [
        ("status", "/api/process/resource-usage"),
        ("summary", "/api/v1/summary"),
        ("peaks", "/api/v1/peaks"),
        ("processes", "/api/v1/processes"),
        ("insights", "/api/v1/insights"),
        ("gaps", "/api/v1/gaps"),
        ("events", "/api/v1/events"),
        ("devices", "/api/v1/devices"),
        ("changes", "/api/v1/changes"),
    ],
)
def test_json_is_the_answer_of_http(
    tidemark: Tidemark, history: History, settings: Settings, recorded: None, verb: str, url: str
) -> None:
    client = client_for(ResourceMonitor(history, settings, Clock()), settings, Clock())
    done = tidemark(verb, "--json")
    assert (done.code, done.err) == (0, "")
    assert json.dumps(shape(json.loads(done.out))) == json.dumps(shape(client.get(url).json))


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1", "COLUMNS": "20"}, {"NO_COLOR": "1"}])
@pytest.mark.parametrize(
    ("verb", "ask"),
    [
        (("peaks", "--window", "1h"), lambda monitor, _: monitor.peaks("cpu_percent", 3600)),
        (("processes", "--start", "-1h"), lambda monitor, now: monitor.processes(now - 3600, now)),
        (("insights",), lambda monitor, _: monitor.insights()),
        (("insights", "--score"), lambda monitor, _: monitor.forecast_score()),
        (("gaps", "--end", "-1s"), lambda monitor, now: monitor.gaps(now - 7 * 86400, now - 1)),
    ],
)
def test_json_is_the_answer_byte_for_byte_whatever_the_terminal(
    tidemark: Tidemark,
    history: History,
    settings: Settings,
    recorded: None,
    monkeypatch: pytest.MonkeyPatch,
    now: int,
    verb: tuple[str, ...],
    ask: Callable[[ResourceMonitor, int], object],
    variables: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Clock, "now", lambda _: Instant(now, 0, 0))
    monitor = ResourceMonitor(history, settings, Clock())
    answer = ask(monitor, now)
    plain = msgspec.to_builtins(answer, enc_hook=monitor.write)
    assert tidemark(*verb, "--json").out == json.dumps(plain, ensure_ascii=False, indent=2) + "\n"


def test_the_help_has_each_verb_once_by_what_it_is_for(tidemark: Tidemark) -> None:
    text = tidemark("--help").out
    parts = re.split(r"^(Run|Look|Ask|Keep):$", text.partition("Exit codes")[0], flags=re.MULTILINE)
    assert parts[1::2] == ["Run", "Look", "Ask", "Keep"]
    verbs = {
        name: re.findall(r"^  (\S+)  ", part, re.MULTILINE) for name, part in zip(parts[1::2], parts[2::2], strict=True)
    }
    assert sorted(verb for listed in verbs.values() for verb in listed) == sorted(group.cli.commands)
    assert {"status", "who", "calendar"} <= set(verbs["Look"])
    assert {"backup", "restore", "check"} <= set(verbs["Keep"])


# -- pictures

DRAWN = ["status", "summary", "peaks", "processes", "insights", "gaps", "events", "changes", "calendar", "devices"]
WIDTHS = (60, 80, 200)
# What the kernel lets a process and a mount be called: escape codes, line ends, wide letters, markup.
HOSTILE = "\x1b[2J\n[red]東京東京東京東京東京"


@pytest.fixture
def hostile(fill: Fill, record: Record, store: Store, now: int) -> None:
    """An hour with every number as large as it gets, and names that would harm a terminal."""
    extreme = {m.name: (lambda i: i * 4e12) if m.is_counter else (lambda i: 100.0) for m in METRICS}
    fill(now - 3600, 720, **{**extreme, "process_count": 4194304, "load_1": 12345.25})
    usages = [(HOSTILE + str(i), 4194303 - i, 9.0, 9_999_999_999_999) for i in range(12)]
    # The first is of the same bucket as the first sample, also where that is the last of its half hour.
    killed = ServiceUsage(HOSTILE, "service", 1.0, None, None, None, 10**9)
    record(now - 3599, 100.0, *usages, covered=2, services=[killed])
    for ts in range(now - 3570, now, 30):
        record(ts, 100.0, *usages)
    full = MountUsage(HOSTILE, 10**12, 999 * 10**9, 0)
    store.write(lambda statements: filesystems.insert(statements, now - 5, [full], 1))
    moved = DeviceUsage("interface", HOSTILE, now - 5, 30.0, (9e15,) * 8, DeviceReading((), "up"))
    store.write(lambda statements: devices.insert(statements, [moved], 1))


def widest(text: str) -> int:
    return max(map(cell_len, text.splitlines()), default=0)


def in_columns(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))


def test_status_draws_the_newest_sample_and_the_last_hour(tidemark: Tidemark, recorded: None, now: int) -> None:
    done = tidemark("status")
    assert done.out.startswith(f"{rfc3339(now - 5)}   ")
    assert (done.code, done.err) == (0, "")
    assert re.search(r" s ago, recording every 5 s$", done.out.splitlines()[0])
    rows = {line[:9].strip(): line for line in done.out.splitlines()}
    assert re.search(r"19\.0 %  █+░+ .*[▁▂▃▄] +[→?] [a-z]+", rows["CPU"])
    assert re.search(r"62\.1 %  █+░+  ", rows["Memory"])
    assert re.search(r" -  ░+  ", rows["Disk"])
    assert re.search(r"1\.25  1\.5 0 ", rows["Load"])
    assert " 60  60 to 60 " in rows["Processes"]
    assert "Swap" not in rows
    assert rows["insights"].split() == ["insights", "nothing", "to", "report"]


def test_status_tells_rates_of_what_is_counted(tidemark: Tidemark, fill: Fill, now: int) -> None:
    fill(now - 600, 120, network_received_bytes=lambda i: i * 5_000_000, swap_percent=1)
    out = tidemark("status").out
    assert re.search(r"Network in +1 MB/s  max 1 MB/s ", out)
    assert re.search(r"Disk read +-  max - ", out)
    assert re.search(r"Swap +1\.0 %", out)


def test_status_names_who_used_most_of_late(tidemark: Tidemark, fill: Fill, record: Record, now: int) -> None:
    fill(now - 600, 120, cpu_percent=50)
    record(now - 60, 60.0, ("java", 1, 48.0, 5), ("cron", 2, 0.01, 5))
    assert "most CPU    java 40.0 %\n" in re.sub(" +\n", "\n", tidemark("status").out)


def test_status_says_when_nothing_is_being_recorded(tidemark: Tidemark, fill: Fill, now: int) -> None:
    fill(now - 7200, 1, cpu_percent=5)
    assert tidemark("status").out.splitlines()[0].endswith("2 h ago; nothing is being recorded")


def test_status_says_that_the_daemon_was_stopped_as_soon_as_it_was(
    tidemark: Tidemark, fill: Fill, store: Store, now: int
) -> None:
    fill(now - 1, 1, cpu_percent=5)
    store.end_run(now)
    assert tidemark("status").out.splitlines()[0].endswith(" s ago; nothing is being recorded (stopped)")


def test_status_of_a_daemon_that_samples_each_hour_knows_its_interval(
    tidemark: Tidemark, store: Store, fill: Fill, now: int
) -> None:
    store.begin_run(now - 9000, None, None, "0.1.0", 3600)
    fill(now - 3000, 1, cpu_percent=5)
    assert re.search(r"50 min( \d+ s)? ago, recording every 1 h$", tidemark("status").out.splitlines()[0])


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("verb", DRAWN[1:])
def test_a_verb_has_an_answer_over_an_empty_history(
    tidemark: Tidemark, monkeypatch: pytest.MonkeyPatch, verb: str, columns: int
) -> None:
    in_columns(monkeypatch, columns)
    done = tidemark(verb)
    assert (done.code, done.err) == (0, "")
    assert 0 < widest(done.out) <= columns


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("verb", DRAWN)
def test_a_verb_has_an_answer_over_one_sample(
    tidemark: Tidemark, monkeypatch: pytest.MonkeyPatch, fill: Fill, now: int, verb: str, columns: int
) -> None:
    in_columns(monkeypatch, columns)
    fill(now, 1)
    done = tidemark(verb)
    assert (done.code, done.err) == (0, "")
    assert 0 < widest(done.out) <= columns


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("verb", [*DRAWN, "peaks --count 20 --metric disk_read_bytes", "peaks --metric memory_percent"])
def test_a_verb_fits_the_terminal_and_harms_none_over_extreme_numbers_and_hostile_names(
    tidemark: Tidemark, monkeypatch: pytest.MonkeyPatch, hostile: None, verb: str, columns: int
) -> None:
    in_columns(monkeypatch, columns)
    done = tidemark(*verb.split())
    assert (done.code, done.err) == (0, "")
    assert widest(done.out) <= columns
    assert done.out.replace("\n", "").isprintable()
    assert ("\\x1b[2J" in done.out) == (verb not in ("summary", "gaps", "calendar", "changes"))


def test_check_has_an_answer_over_an_empty_history(tidemark: Tidemark) -> None:
    assert tidemark("check").code == 0


def test_status_over_an_empty_history_says_that_nothing_is_stored(tidemark: Tidemark) -> None:
    assert failed(tidemark("status"), 1) == "no sample has been stored yet"


def test_a_summary_has_figures_in_the_unit_of_their_row_and_the_course(
    tidemark: Tidemark, fill: Fill, now: int
) -> None:
    fill(now - 900, 150, **{m.name: (lambda i: i * 4e9) if m.is_counter else (lambda i: i % 100) for m in METRICS})
    out = tidemark("summary").out
    assert "% recorded" in " ".join(out.splitlines()[0].split())
    assert re.search(r"network_received_bytes +800 +- +800 +800 +MB/s .*█+ +[→?] ", out)
    assert re.search(r"memory_percent +4\d\.\d +0 +99\.0 +9\d\.\d +% .*[▁▂▃▄▅▆▇█]", out)


def test_peaks_are_marked_in_a_chart_and_told_in_a_table(
    tidemark: Tidemark, fill: Fill, record: Record, now: int
) -> None:
    fill(now - 7200, 1440, cpu_percent=lambda i: 90 if 600 <= i < 720 else 10)
    for ts in range(now - 4200, now - 3600, 30):
        record(ts, 60.0, ("postgres", 7, 48.0, 5))
    lines = tidemark("peaks", "--window", "2h").out.splitlines()
    assert lines[0].startswith("cpu_percent, ")
    assert lines[2].startswith("90.0 %")
    (marks,) = [line for line in lines if "▲" in line]
    assert lines[2][marks.index("▲")] == "█"
    assert " postgres 40.0 %" in lines[-1]
    assert lines[-1].split()[0] == marks.strip().strip("▲")


def test_processes_have_bars_in_one_line_each_and_what_nobody_is_known_to_have_used(
    tidemark: Tidemark, fill: Fill, record: Record, now: int
) -> None:
    fill(now - 600, 120, cpu_percent=50)
    record(now - 60, 60.0, ("java", 1, 30.0, 4 * 10**9), *((f"p{i}", 10 + i, 1.0, 10**9) for i in range(3)))
    record(now - 30, 60.0, ("java", 2, 30.0, 10**9))
    lines = [line.rstrip() for line in tidemark("processes").out.splitlines()]
    assert re.fullmatch(
        r"java +25\.0 %  █+░+ +0:01:00 +4\.00 GB|java +25\.0 %  █+░+ +0:01:00 +4 GB  █+  1 \+1", lines[5]
    )
    assert re.fullmatch(r"\(unattributed\) +\d+\.\d %  █+░+ +- +-", lines[-1])
    assert len(lines) == 10


def test_devices_are_listed_with_their_figures_and_one_is_drawn_over_time(
    tidemark: Tidemark, store: Store, recorded: None, now: int
) -> None:
    for minute in range(9, -1, -1):
        row = DeviceUsage("disk", "sda", now - 60 * minute, 60.0, (6e7, 0, 1, 0, 30_000, 9), DeviceReading(()))
        store.write(lambda statements, row=row: devices.insert(statements, [row], 1))  # type: ignore[misc]
    assert re.search(r"disk:sda .*read 1 MB/s, written 0 kB/s", tidemark("devices").out)
    out = tidemark("devices", "--device", "disk:sda", "--start", "-10m").out
    assert re.search(r"busy_percent +50\.0 % +50\.0 %", out)
    assert failed(tidemark("devices", "--device", "disk:sdx"), 2).endswith("takes one that is recorded: disk:sda")


def test_gaps_are_shown_over_the_window_and_told_one_by_one(tidemark: Tidemark, recorded: None) -> None:
    out = tidemark("gaps", "--start", "-1h").out
    strip = out.splitlines()[0].rstrip()
    assert len(strip) == 60
    assert set(strip) == {"·", "▒", "█"}
    assert re.search(r"10 min missing, [45]\d\.\d\d % recorded since ", out)
    assert out.split()[-3:] == ["10", "min", "killed"]
    assert "no gaps" in tidemark("gaps", "--start", "-5m").out
    assert tidemark("gaps", "--end", "-1h").out == "nothing was recorded\n"


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        (("--on", "2026-01-04"), "2026-01-04T00:00:00+05:45", "2026-01-05T00:00:00+05:45"),
        (("--at", "2026-01-04T03:12"), "2026-01-04T03:09:30+05:45", "2026-01-04T03:14:30+05:45"),
        (("--at", "1970-01-01"), "1970-01-01T05:30:00+05:30", "1970-01-01T05:32:30+05:30"),
        (("--start", "sunday", "--end", "03:12"), "2026-01-04T00:00:00+05:45", "2026-01-05T03:12:00+05:45"),
    ],
)
def test_a_window_is_asked_for_in_the_words_of_the_zone(
    tidemark: Tidemark, monkeypatch: pytest.MonkeyPatch, window: tuple[str, ...], start: str, end: str
) -> None:
    monkeypatch.setenv("TIDEMARK_ANALYSIS_TIMEZONE", "Asia/Kathmandu")
    monkeypatch.setattr(Clock, "now", lambda _: Instant(1_767_607_200, 0, 0))  # a monday
    answer = json.loads(tidemark("processes", *window, "--json").out)
    assert (answer["start"], answer["end"]) == (start, end)


def test_every_verb_with_a_window_takes_a_day_or_a_time(tidemark: Tidemark, fill: Fill, now: int) -> None:
    """And answers of that alone: each of them is asked for a window with samples, and for one without."""
    noon = now // 86400 * 86400 - 2 * 86400 + 43200
    fill(noon - 60, 24)
    day, before = rfc3339(noon)[:10], rfc3339(noon - 86400)[:10]
    for with_samples, without in ((("--on", day), ("--on", before)), (("--at", f"{day}T12:00"), ("--at", before))):
        exported = [
            tidemark("export", *window, "--format", "jsonl").out.count("\n") for window in (with_samples, without)
        ]
        assert exported == [24, 0]
        assert [tidemark("gaps", *window).out == "nothing was recorded\n" for window in (with_samples, without)] == [
            False,
            True,
        ]
        for verb in ("processes", "who"):
            answers = [json.loads(tidemark(verb, *window, "--json").out) for window in (with_samples, without)]
            spans = [[datetime.fromisoformat(answer[edge]) for edge in ("start", "end")] for answer in answers]
            assert [end - start for start, end in spans] == [timedelta(minutes=5 if "--at" in without else 1440)] * 2
            assert spans[0][0] - spans[1][0] == timedelta(days=1, hours=12 if "--at" in without else 0)


# -- insights


def test_insights_say_what_why_and_by_which_numbers(tidemark: Tidemark, hostile: None) -> None:
    out = " ".join(tidemark("insights").out.split())
    assert "!! critical" in out
    assert "disk_full: ts 20" in out
    assert "total 1 TB, used 999 GB" in out
    assert out.endswith("python3 manage.py insights --sql shows the SQL")


def test_the_sql_of_insights_can_be_copied_and_run(tidemark: Tidemark, fill: Fill, store: Store, now: int) -> None:
    fill(now - 5, 1)
    full = MountUsage("/" + "x" * 120, 10**12, 10**12, 0)
    store.write(lambda statements: filesystems.insert(statements, now - 5, [full], 1))
    out = tidemark("insights", "--sql").out
    statement = out[out.index("SELECT") :].strip()
    (row,) = json.loads(tidemark("sql", statement, "--json").out)
    assert row["mount"] == "/" + "x" * 120
    assert "--sql shows" not in out


# -- sql


def test_sql_prints_a_table_with_numbers_as_they_are(tidemark: Tidemark) -> None:
    out = tidemark("sql", "SELECT 1767607200 AS ts, 0.0001 AS p, NULL AS x, 'a' AS name").out
    assert out.split() == ["ts", "p", "x", "name", *out.split()[4:5], "1767607200", "0.0001", "-", "a"]


def test_sql_gives_json_and_csv(tidemark: Tidemark) -> None:
    statement = "SELECT 1 AS n, '=1+1' AS text, NULL AS x"
    assert json.loads(tidemark("sql", statement, "--json").out) == [{"n": 1, "text": "=1+1", "x": None}]
    assert list(csv.reader(io.StringIO(tidemark("sql", statement, "--csv").out))) == [
        ["n", "text", "x"],
        ["1", "'=1+1", ""],
    ]


def test_sql_gives_json_of_what_json_does_not_have(tidemark: Tidemark) -> None:
    answer = json.loads(tidemark("sql", "SELECT 9e999 AS infinite, x'00ff' AS bytes", "--json").out)
    assert answer == [{"infinite": None, "bytes": "AP8="}]


@pytest.mark.parametrize("view", ["samples", "minutes", "hours", "gaps", "runs", "metrics"])
def test_sql_reads_every_public_view(tidemark: Tidemark, recorded: None, view: str) -> None:
    assert tidemark("sql", f"SELECT * FROM {view}", "--csv").code == 0


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sample",
        "DROP TABLE sample",
        "CREATE TEMP TABLE t(x)",
        "ATTACH 'other.db' AS other",
        "VACUUM INTO 'copy.db'",
        "PRAGMA journal_mode=DELETE",
        "PRAGMA query_only=OFF",
        "BEGIN IMMEDIATE",
        "SELECT load_extension('x.so')",
        "SELECT writefile('x', 'y')",
        "SELECT 1; DELETE FROM sample",
        "SELECT",
        "SELECT nope",
        "SELECT CAST(x'ff' AS TEXT)",
    ],
)
@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_sql_refuses_what_does_not_only_read_and_what_is_wrong(
    tidemark: Tidemark, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: Path, statement: str, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = path.read_bytes()
    done = tidemark("sql", statement, form)
    assert done.code == 1
    assert done.err.startswith(("tidemark: refused: ", "tidemark: SQL: "))
    assert done.err.count("\n") == 1
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["tidemark.db"]


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_sql_is_stopped_after_the_seconds_that_it_may_take(tidemark: Tidemark, form: str) -> None:
    # Some seconds long, so that without the stop it comes to its end and this fails.
    statement = f"SELECT COUNT(*) FROM ({ENDLESS} LIMIT 20000000)"
    text = failed(tidemark("sql", statement, "--seconds", "0.05", form), 1)
    assert text == "stopped after 0.05 s; narrow it by ts, or allow more with --seconds"


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_sql_shows_every_value_of_a_wide_view(
    tidemark: Tidemark, recorded: None, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    in_columns(monkeypatch, columns)
    lines = tidemark("sql", "SELECT * FROM samples ORDER BY ts DESC LIMIT 2").out.splitlines()
    assert [line.split() for line in lines].count(["memory_percent", "62.06"]) == 2


def test_sql_takes_no_value_that_fills_the_memory(tidemark: Tidemark) -> None:
    assert failed(tidemark("sql", "SELECT length(zeroblob(900000000))"), 1) == "SQL: a value of more than 10 MB"
    # Of a text that gets too long SQLite's printf makes NULL.
    assert tidemark("sql", "SELECT length(printf('%.*c', 20000000, 'x')) AS n").out.splitlines()[2] == "-"


def test_sql_takes_no_statement_that_fills_the_memory(tidemark: Tidemark) -> None:
    statement = f"SELECT length(x) FROM (SELECT zeroblob(9000000) || i AS x, i FROM ({ENDLESS} LIMIT 90)) ORDER BY x"
    text = "it takes more than 500 MB of memory; narrow it by ts"
    assert failed(tidemark("sql", statement, "--seconds", "60"), 1) == text


def test_sql_is_stopped_where_one_step_would_take_hours(path: Path, recorded: None) -> None:
    step = "instr(printf('%.*c', 9999999, 'a'), printf('%.*cb', 4999999, 'a'))"
    done = in_process("sql", f"SELECT {step}", "--seconds", "0.2", TIDEMARK_STORAGE_PATH=str(path))
    text = "tidemark: stopped after 0.2 s; narrow it by ts, or allow more with --seconds\n"
    assert (done.returncode, done.stderr) == (1, text)


def test_sql_is_stopped_in_time_where_each_row_takes_long(tidemark: Tidemark) -> None:
    begun = time.monotonic()
    done = tidemark("sql", f"SELECT zeroblob(1000000) FROM ({ENDLESS})", "--json", "--seconds", "0.2")
    assert (done.code, done.err.startswith("tidemark: stopped after 0.2 s")) == (1, True)
    assert time.monotonic() - begun < 5


# -- the other verbs


def test_config_tells_each_setting_with_its_value_and_origin(
    tidemark: Tidemark, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "t.toml"
    file.write_text("[server]\nallowed_hosts = ['a.example', 'b']\n")
    monkeypatch.setenv("TIDEMARK_LOG_LEVEL", "DEBUG")
    rows = {row["key"]: row for row in json.loads(tidemark("--config", str(file), "config", "--json").out)}
    found = {key: (rows[key]["value"], rows[key]["origin"]) for key in rows}
    assert found["storage.path"] == (str(path), "option")
    assert found["log.level"] == ("DEBUG", "environment TIDEMARK_LOG_LEVEL")
    assert found["server.allowed_hosts"] == (["a.example", "b"], str(file))
    assert found["retention.hours"] == ("5y", "default")
    assert all(row["takes"] for row in rows.values())


def test_config_shows_what_the_running_daemon_uses(start: Start) -> None:
    daemon = start(TIDEMARK_SERVER_ALLOWED_HOSTS="a.example")

    def config(*arguments: str) -> str:
        return in_process("config", *arguments, TIDEMARK_STORAGE_PATH=str(daemon.path)).stdout

    rows = {row["key"]: row for row in json.loads(config("--json"))}
    assert (rows["sampling.interval"]["value"], rows["sampling.interval"]["running"]) == (5, 1)
    assert rows["server.allowed_hosts"]["running"] == ["a.example"]
    assert rows["log.level"]["running"] == rows["log.level"]["value"]
    lines = config().splitlines()
    assert lines[0].split()[-3:] == ["the", "daemon", "uses"]
    assert lines[2].split() == ["sampling.interval", "5", "default", "1"]
    assert lines[3].split()[-2:] == ["the", "same"]
    assert daemon.stop() == 0
    assert all(row["running"] is None for row in json.loads(config("--json")))
    assert "the daemon uses" not in config()


def test_config_is_a_table_for_people(tidemark: Tidemark) -> None:
    lines = tidemark("config").out.splitlines()
    assert lines[0].split() == ["setting", "value", "from"]
    assert "sampling.interval            5 " in "\n".join(lines)


def test_check_finds_nothing_bad_in_a_sound_history(tidemark: Tidemark, recorded: None) -> None:
    done = tidemark("check")
    assert (done.code, done.err) == (0, "")
    assert "ok    integrity: sound\n" in done.out
    assert "ok    schema: " in done.out


def drop_a_table(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE stretch")
    connection.close()


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (Path.unlink, "no history at "),
        (lambda path: path.write_bytes(b""), "no history at "),
        (lambda path: path.write_text("dear diary " * 99), "is not a Tidemark database"),
        (lambda path: path.write_bytes(path.read_bytes()[:8192] + b"\xaa" * 200_000), "malformed"),
        (drop_a_table, "the log say why (no such table: stretch)"),
    ],
)
def test_check_says_what_is_wrong_with_the_file_and_exits_1(
    tidemark: Tidemark, path: Path, harm: Callable[[Path], object], text: str
) -> None:
    harm(path)
    done = tidemark("check")
    assert (done.code, done.err) == (1, "")
    [line] = [line for line in done.out.splitlines() if line.startswith("bad ")]
    assert text in line
    assert "\\x0a" not in line


def test_check_tells_of_a_sample_from_the_future(tidemark: Tidemark, fill: Fill, now: int) -> None:
    fill(now + 86400, 1, cpu_percent=1)
    done = tidemark("check", "--json")
    assert done.code == 1
    assert [finding["what"] for finding in json.loads(done.out) if finding["level"] == "bad"] == ["clock"]


def test_an_export_to_the_path_of_stdout_is_an_export_to_stdout(recorded: None, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    file.write_text("before\n")
    with open(file, "a") as appended:
        # Where /dev/stdout leads; that one itself could be replaced, were the program wrong.
        done = in_process("--database", str(path), "export", "--out", "/proc/self/fd/1", stdout=appended.fileno())
    assert (done.returncode, done.stderr) == (0, "")
    lines = file.read_text().splitlines()
    assert (lines[0], lines[1][:8], len(lines)) == ("before", "ts,time,", 1 + 1 + 121)


def test_migrate_creates_a_database_once(tidemark: Tidemark, tmp_path: Path) -> None:
    new = tmp_path / "deep" / "tidemark.db"
    assert tidemark("migrate", database=new).out.startswith(f"{new}: applied 0001")
    assert tidemark("migrate", database=new).out.startswith(f"{new} is up to date")


def test_migrate_where_nothing_can_be_created_is_exit_code_73(tidemark: Tidemark) -> None:
    assert "cannot create the folder" in failed(tidemark("migrate", database=Path("/proc/nowhere/t.db")), 73)


def test_export_backup_and_prune_do_what_they_say(
    tidemark: Tidemark, recorded: None, store: Store, tmp_path: Path
) -> None:
    assert len(tidemark("export", "--start", "-1h").out.splitlines()) == 1 + 121
    assert json.loads(tidemark("export", "--format", "jsonl", "--start", "-8m").out.splitlines()[0])["memory_percent"]
    assert "integrity checked" in tidemark("backup", str(tmp_path / "copy.db")).out
    store.close()
    assert " MB before, " in tidemark("prune").out


def test_restore_puts_a_backup_back_and_says_where_the_old_one_is(
    tidemark: Tidemark, recorded: None, store: Store, path: Path, tmp_path: Path
) -> None:
    tidemark("backup", str(tmp_path / "copy.db"))
    store.close()
    done = tidemark("restore", str(tmp_path / "copy.db"))
    assert (done.code, done.err) == (0, "")
    assert f"what stood there is in {tmp_path}/replaced/" in done.out
    new = tmp_path / "elsewhere" / "new.db"
    assert tidemark("restore", str(tmp_path / "copy.db"), database=new).out.count("\n") == 1
    assert [row["n"] for row in json.loads(tidemark("sql", "SELECT COUNT(*) AS n FROM samples", "--json").out)] == [121]


def test_restore_keeps_off_a_database_that_a_daemon_has(
    tidemark: Tidemark, recorded: None, path: Path, tmp_path: Path
) -> None:
    tidemark("backup", str(tmp_path / "copy.db"))
    with Lock(path):
        assert "stop it" in failed(tidemark("restore", str(tmp_path / "copy.db")), 75)
    assert not (tmp_path / "replaced").exists()


def test_a_path_need_not_be_utf_8(tidemark: Tidemark, tmp_path: Path) -> None:
    odd, copy = tmp_path / "a\udcff.db", tmp_path / "copy\udcff.db"
    assert tidemark("migrate", database=odd).code == 0
    assert tidemark("backup", str(copy), database=odd).code == 0
    assert tidemark("restore", str(copy), database=odd).code == 0
    assert {os.fsencode(odd.name), os.fsencode(copy.name)} < {os.fsencode(file.name) for file in tmp_path.iterdir()}


# -- as a process


def test_the_shell_gets_the_exit_code_and_no_traceback(tmp_path: Path) -> None:
    done = in_process("--database", str(tmp_path / "none.db"), "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tidemark: no history at ")


@pytest.mark.parametrize(
    "arguments",
    [("sql", ENDLESS, "--csv"), ("gaps", "--json"), ("gaps",), ("status", "--watch"), ("config",), ("check",)],
)
def test_a_reader_that_has_gone_is_no_error(path: Path, fill: Fill, now: int, arguments: tuple[str, ...]) -> None:
    fill(now, 1)
    reading, writing = os.pipe()
    os.close(reading)
    done = in_process("--database", str(path), *arguments, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("config",), ("gaps", "--json")])
def test_a_full_disk_behind_stdout_is_one_line(path: Path, arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = in_process("--database", str(path), *arguments, stdout=full.fileno())
    assert (done.returncode, done.stderr) == (1, "tidemark: No space left on device\n")


# -- in a terminal


WITHOUT_TEXTUAL = "import sys; sys.modules['textual'] = None; from service import cli; sys.exit(cli.main())"


class Terminal:
    """A verb in a pseudo-terminal of 80 columns and 40 lines; `shown` is what it has written so far."""

    def __init__(self, *arguments: str, session: bool = False, lines: int = 40, **environment: str) -> None:
        """`session`: the verb is in the terminal's foreground, and so hears its keys; then without textual."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
        clean = {
            key: value
            for key, value in os.environ.items()
            if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
        }
        self.process = subprocess.Popen(
            [sys.executable, *(("-c", WITHOUT_TEXTUAL) if session else ("manage.py",)), *arguments],
            cwd=ROOT,
            env={**clean, "TIDEMARK_NO_BOOTSTRAP": "1", "TERM": "xterm-256color", **environment},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=session,
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if session else None,
        )
        os.close(slave)
        self.shown = ""

    def read_until(self, holds: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + 60
        while not holds(self.shown):
            assert time.monotonic() < deadline, self.shown
            if select.select([self._master], [], [], 0.1)[0]:
                self.shown += self._read()

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    def ended(self) -> int:
        """What it leaves with, all that it wrote being read."""
        while piece := self._read():
            self.shown += piece
        self.echoed_at_the_end = self.echoes()
        os.close(self._master)
        return self.process.wait(30)

    def _read(self) -> str:
        try:
            return os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # Linux says so when the other end is closed
            return ""


def test_a_terminal_gets_colours_by_level(path: Path, fill: Fill, now: int) -> None:
    fill(now - 300, 60, cpu_percent=95, memory_percent=75, disk_percent=10)
    terminal = Terminal("--database", str(path), "status")
    assert terminal.ended() == 0
    for code, value in ((31, "95.0 %"), (33, "75.0 %"), (32, "10.0 %")):
        assert f"\x1b[{code}m{value}" in terminal.shown


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("verb", DRAWN)
def test_a_terminal_without_colour_gets_none(
    path: Path, fill: Fill, now: int, verb: str, variables: dict[str, str]
) -> None:
    fill(now - 300, 60, cpu_percent=95)
    terminal = Terminal("--database", str(path), verb, **variables)
    assert terminal.ended() == 0
    assert terminal.shown
    assert "\x1b" not in terminal.shown


@pytest.mark.parametrize("verb", DRAWN)
def test_a_c_locale_gets_ascii_of_the_same_width(path: Path, hostile: None, verb: str) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = in_process("--database", str(path), verb, **plain)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert widest(done.stdout) <= 80
    # A picture, where the verb draws one.
    assert verb in ("insights", "events", "changes") or re.search(r"[#._]{3}|[.#]+\+|\.-\+\*#", done.stdout)


def test_watching_draws_in_place_until_ctrl_c_and_sees_the_daemon_go(path: Path, fill: Fill, now: int) -> None:
    # The interval of the run is 5 s; the sample is of a daemon that was killed just now.
    fill(now - 6, 1, cpu_percent=95)
    terminal = Terminal("--database", str(path), "status", "--watch")
    terminal.read_until(lambda shown: "recording every 5 s" in shown)
    terminal.read_until(lambda shown: "\x1b[1;31mnothing is being recorded" in shown)
    assert "\x1b[1A" in terminal.shown
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.ended() == 0
    assert "\x1b[?25h" in terminal.shown[-200:]
    assert "Traceback" not in terminal.shown


def test_watching_ends_by_q_and_leaves_the_terminal_as_it_was(path: Path, fill: Fill, now: int) -> None:
    fill(now - 6, 1, cpu_percent=95)
    terminal = Terminal("--database", str(path), "status", "--watch", session=True)
    terminal.read_until(lambda shown: "95.0 %" in shown and "\x1b[?25l" in shown)
    assert not terminal.echoes()
    terminal.press("x")
    terminal.press("q")
    assert terminal.ended() == 0
    assert terminal.echoed_at_the_end


def test_watching_fits_a_terminal_of_few_lines(path: Path, fill: Fill, now: int) -> None:
    fill(now - 6, 1, cpu_percent=95)
    terminal = Terminal("--database", str(path), "status", "--watch", session=True, lines=8)
    terminal.read_until(lambda shown: "95.0 %" in shown)
    # Twice, so that the first is whole.
    terminal.read_until(lambda shown: shown.count(" s ago") == 2)
    first = terminal.shown.split(" s ago")[1]
    assert first.count("\n") < 8
    assert "\x1b[1A" in first
    terminal.press("q")
    assert terminal.ended() == 0


@pytest.mark.parametrize(("lines", "names"), [(24, range(1)), (37, range(6, 14)), (60, range(24, 31))])
def test_watching_fills_a_tall_terminal_with_who_used_the_host(
    path: Path, fill: Fill, record: Record, now: int, lines: int, names: range
) -> None:
    fill(now - 6, 1, cpu_percent=95)
    record(now - 10, 60.0, *((f"worker-{n}", 100 + n, 2.0 - n / 100, 10**6) for n in range(30)))
    terminal = Terminal("--database", str(path), "status", "--watch", session=True, lines=lines)
    terminal.read_until(lambda shown: shown.count(" s ago") == 2)
    first = terminal.shown.split(" s ago")[1]
    terminal.press("q")
    assert terminal.ended() == 0
    assert first.count("\n") < lines
    assert len(re.findall(r"worker-\d+ {2,}", first)) in names


def test_watching_shows_new_samples_and_outlives_a_history_that_is_away(path: Path, store: Store, fill: Fill) -> None:
    begun = int(Clock().now().wall)
    store.begin_run(begun - 100, None, None, "0.1.0", 1)
    fill(begun, 1, interval=1, begins=Break(None, None), cpu_percent=11)
    terminal = Terminal("--database", str(path), "status", "--watch")
    terminal.read_until(lambda shown: "11.0 %" in shown)
    fill(begun + 1, 1, interval=1, cpu_percent=22)
    terminal.read_until(lambda shown: "22.0 %" in shown)
    away = path.rename(path.with_suffix(".away"))
    terminal.read_until(lambda shown: "the history cannot be read" in shown)
    seen = len(terminal.shown)
    away.rename(path)
    terminal.read_until(lambda shown: "22.0 %" in shown[seen:])
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.ended() == 0


def test_watching_without_a_terminal_prints_a_block_each_time(path: Path, store: Store, fill: Fill) -> None:
    begun = int(Clock().now().wall)
    store.begin_run(begun - 100, None, None, "0.1.0", 1)
    fill(begun, 1, interval=1, begins=Break(None, None), cpu_percent=11)
    process = subprocess.Popen(
        [sys.executable, "manage.py", "--database", str(path), "status", "--watch"],
        cwd=ROOT,
        env={**os.environ, "TIDEMARK_NO_BOOTSTRAP": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        heads: list[str] = []
        while len(heads) < 2:
            line = process.stdout.readline()
            heads += [line] if line.startswith("CPU ") else []
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.wait(30) == 0
    assert "\x1b" not in "".join(heads) + rest


def test_the_sql_of_peaks_and_processes_gives_the_shares_that_are_told(
    tidemark: Tidemark, recorded: None, record: Record, path: Path, now: int
) -> None:
    for number in range(1, 60):
        record(now - 10 * number, 10.0, ("web", 1, 3.0, 10**6), ("d'b", 2, number / 30, 10**6), covered=10)
    for verb, key in (("processes", "processes"), ("peaks", "peaks")):
        found = json.loads(tidemark(verb, "--json", *(("--window", "1h") if verb == "peaks" else ())).out)
        out = tidemark(verb, "--sql", *(("--window", "1h") if verb == "peaks" else ())).out
        statements = ["SELECT name" + part.rstrip() for part in out.split("SELECT name")[1:]]
        answers = found[key] if verb == "peaks" else [found]
        assert len(statements) == len(answers) > 0
        if verb == "processes":
            shares = {usage["name"]: pytest.approx(usage["cpu_percent"], abs=0.5) for usage in found["processes"]}
            assert dict(query(path, statements[0])) == shares != {}


def test_prune_reduces_looks_by_the_setting_of_the_daemon(path: Path, record: Record) -> None:
    for hour in (0, 1):
        record(NOW + 3600 * hour + 30, 60.0, *((f"p{n}", n, float(n), n * 10**6) for n in range(1, 20)))
    done = in_process("--database", str(path), "prune", TIDEMARK_SAMPLING_PROCESSES_COUNT="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert query(path, "SELECT name FROM process_hours ORDER BY cpu_seconds DESC") == [("p19",), ("p18",)]


def test_in_a_folder_that_is_gone_a_relative_path_is_one_line_that_says_so(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    words = [sys.executable, str(ROOT / "manage.py"), "--database", "t.db", "status"]
    # Started in the folder, which then removes itself.
    shell = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *words]
    environment = {**os.environ, "TIDEMARK_NO_BOOTSTRAP": "1"}
    done = subprocess.run(shell, cwd=gone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("tidemark: the folder that this was started in is gone; change to one that is there\n")
