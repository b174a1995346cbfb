"""The verbs: what they print, for people and for programs, and how they fail: one line and the contract's exit code."""

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from service import cli
from service.clock import Clock
from service.config import Settings
from service.history import History
from service.metrics import METRICS, Break
from service.monitor import ResourceMonitor
from service.store import Store
from tests.conftest import Fill, client_for

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
    values = {"memory_percent": 62.06, "process_count": 1560, "load_1": 1.25, "load_5": 1.5, "load_15": 0}
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
        ((), "Missing command; --help"),
        (("nonsense",), "No such command 'nonsense'; --help"),
        (("status", "--foo"), "No such option"),
        (("sql",), "Missing argument 'STATEMENT'"),
        (("summary", "--window", "abc"), "'abc': a duration is a number with s, m, h, d or y"),
        (("gaps", "--start", "yesterday"), "'yesterday': a time is RFC 3339"),
        (("peaks", "--count", "0"), "0 is not in the range"),
        (("peaks", "--metric", "luck"), "metric = 'luck': takes one of cpu_percent"),
        (("run", "--port", "http"), "'http' is not a valid integer"),
    ],
)
def test_bad_usage_is_exit_code_2_and_says_what_is_wrong(
    tidemark: Tidemark, arguments: tuple[str, ...], text: str
) -> None:
    assert text in failed(tidemark(*arguments), 2)


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
    ],
)
def test_json_is_the_answer_of_http(
    tidemark: Tidemark, history: History, settings: Settings, recorded: None, verb: str, url: str
) -> None:
    client = client_for(ResourceMonitor(history, settings, Clock()), settings, Clock())
    done = tidemark(verb, "--json")
    assert (done.code, done.err) == (0, "")
    assert json.dumps(shape(json.loads(done.out))) == json.dumps(shape(client.get(url).json))


def test_status_draws_the_newest_sample_and_the_last_hour(tidemark: Tidemark, recorded: None) -> None:
    done = tidemark("status")
    assert (done.code, done.err) == (0, "")
    assert " s ago)" in done.out
    assert "CPU     19.0%  ████░░░░░░░░░░░░░░░░" in done.out
    assert "Memory  62.1%" in done.out
    assert "Disk        -  ░░░░░░░░░░░░░░░░░░░░" in done.out
    assert "load 1.25 1.5 0   processes 1,560" in done.out


def test_status_says_when_nothing_is_being_recorded(tidemark: Tidemark, fill: Fill, now: int) -> None:
    fill(now - 7200, 1, cpu_percent=5)
    assert "(120 minutes ago; nothing is being recorded)" in tidemark("status").out


def test_status_of_a_daemon_that_samples_each_hour_knows_its_interval(
    tidemark: Tidemark, store: Store, fill: Fill, now: int
) -> None:
    store.begin_run(now - 9000, None, None, "0.1.0", 3600)
    fill(now - 3000, 1, cpu_percent=5)
    assert "(50 minutes ago)" in tidemark("status").out


@pytest.mark.parametrize("verb", ["summary", "peaks", "processes", "insights", "gaps", "check"])
def test_a_verb_has_an_answer_over_an_empty_history(tidemark: Tidemark, verb: str) -> None:
    done = tidemark(verb)
    assert (done.code, done.err) == (0, "")
    assert done.out


@pytest.mark.parametrize("verb", ["status", "summary", "peaks", "processes", "insights", "gaps", "check"])
def test_a_verb_has_an_answer_over_one_sample(tidemark: Tidemark, fill: Fill, now: int, verb: str) -> None:
    fill(now, 1)
    done = tidemark(verb)
    assert (done.code, done.err) == (0, "")
    assert done.out
    assert max(map(len, done.out.splitlines())) <= 80 or verb == "check"


def test_status_over_an_empty_history_says_that_nothing_is_stored(tidemark: Tidemark) -> None:
    assert failed(tidemark("status"), 1) == "no sample has been stored yet"


def test_a_summary_of_a_busy_host_stays_within_80_columns(tidemark: Tidemark, fill: Fill, now: int) -> None:
    fill(now - 900, 150, **{m.name: (lambda i: i * 4e9) if m.is_counter else (lambda i: i % 100) for m in METRICS})
    out = tidemark("summary").out
    assert max(map(len, out.splitlines())) <= 80
    assert "network_received_bytes  kB/s  800,000" in out


def test_summary_peaks_and_gaps_are_tables(tidemark: Tidemark, recorded: None) -> None:
    assert "% recorded" in tidemark("summary").out.splitlines()[0]
    assert "memory_percent          %       62.06  62.06  62.06  62.06" in tidemark("summary").out
    assert tidemark("peaks").out.split()[:3] == ["peak", "from", "average"]
    assert tidemark("gaps").out.split()[-1] == "killed"
    assert tidemark("gaps", "--end", "-1h").out == "no gaps\n"


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


# -- the other verbs


def test_config_tells_each_setting_with_its_value_and_origin(
    tidemark: Tidemark, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "t.toml"
    file.write_text("[server]\nallowed_hosts = ['a.example', 'b']\n")
    monkeypatch.setenv("TIDEMARK_LOG_LEVEL", "DEBUG")
    rows = {row["key"]: row for row in json.loads(tidemark("--config", str(file), "config", "--json").out)}
    told = {key: (rows[key]["value"], rows[key]["origin"]) for key in rows}
    assert told["storage.path"] == (str(path), "option")
    assert told["log.level"] == ("DEBUG", "environment TIDEMARK_LOG_LEVEL")
    assert told["server.allowed_hosts"] == (["a.example", "b"], str(file))
    assert told["retention.hours"] == ("5y", "default")
    assert all(row["takes"] for row in rows.values())


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


# -- as a process


def test_the_shell_gets_the_exit_code_and_no_traceback(tmp_path: Path) -> None:
    done = in_process("--database", str(tmp_path / "none.db"), "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tidemark: no history at ")


@pytest.mark.parametrize("arguments", [("sql", ENDLESS, "--csv"), ("gaps", "--json"), ("config",), ("check",)])
def test_a_reader_that_has_gone_is_no_error(path: Path, arguments: tuple[str, ...]) -> None:
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
