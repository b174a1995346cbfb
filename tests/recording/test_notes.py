"""What people note is in the history once, whoever is up or killed meanwhile, and harms nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from service.clock import DAY, HOUR, Clock, rfc3339
from service.recording.notes import NoteTaker
from service.recording.retention import Keeper
from service.store import notes
from service.store.reader import History, Probe
from service.store.writer import Store
from service.upkeep.salvage import salvage
from tests.conftest import NOW, FakeClock, Start, settings_for
from tests.running import command, environment, query, until
from tests.test_cli import Tidemark, failed, tidemark  # noqa: F401 - a fixture

STORED = "SELECT time, detail FROM events WHERE kind = 'note' ORDER BY ts, detail"


def files(path: Path) -> list[str]:
    folder = notes.folder_of(path)
    return sorted(os.listdir(folder)) if folder.exists() else []


def shown(tidemark: Tidemark, *options: str) -> list[tuple[str, str]]:  # noqa: F811
    answer = json.loads(tidemark("events", "--json", *options).out)
    return [(event["time"], event["detail"]) for event in answer["events"] if event["kind"] == "note"]


@pytest.fixture
def taker(path: Path, store: Store) -> NoteTaker:
    return NoteTaker(path, store)


def test_a_note_is_an_event_at_once_and_in_the_history_after_the_next_tick(
    tidemark: Tidemark,  # noqa: F811
    path: Path,
    taker: NoteTaker,
) -> None:
    done = tidemark("note", "  deployed 4.2 – ✓ ", "--at", str(NOW))
    assert (done.code, done.out) == (0, "noted at 2026-01-05T10:00:00Z; SQL has it once the daemon has run\n")
    expected = [("2026-01-05T10:00:00Z", "deployed 4.2 – ✓")]
    assert shown(tidemark, "--start", str(NOW)) == expected
    assert query(path, STORED) == []
    taker.look()
    assert query(path, STORED) == shown(tidemark, "--start", str(NOW)) == expected
    assert files(path) == []
    assert shown(tidemark, "--start", str(NOW + 1)) == []


def test_a_note_may_lie_before_the_first_sample_and_not_in_the_future(
    tidemark: Tidemark,  # noqa: F811
    path: Path,
    taker: NoteTaker,
) -> None:
    now = int(Clock().now().wall)
    assert tidemark("note", "built", "--at", "2001-02-03T04:05:06Z").code == 0
    assert "is to come" in failed(tidemark("note", "later", "--at", rfc3339(now + 3600)), 2)
    taker.look()
    assert query(path, STORED) == [("2001-02-03T04:05:06Z", "built")]


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\x1b[31m", "a\u202eb", "a\x00b", "x" * 501, "a\udcff", "a\tb"])
def test_a_note_is_one_line_of_letters(tidemark: Tidemark, path: Path, text: str) -> None:  # noqa: F811
    assert "takes one line of 1 to 500 letters" in failed(tidemark("note", text), 2)
    assert files(path) == []


@pytest.mark.parametrize("text", ["x" * 500, "é" * 500, "'); DROP TABLE note; --", "=1+1", "-", "<b>"])
def test_whatever_a_line_says_is_kept(tidemark: Tidemark, path: Path, taker: NoteTaker, text: str) -> None:  # noqa: F811
    assert tidemark("note", "--", text).code == 0
    taker.look()
    assert [detail for _, detail in query(path, STORED)] == [text]


def test_without_a_history_nothing_is_noted(tidemark: Tidemark, tmp_path: Path) -> None:  # noqa: F811
    assert "no history at" in failed(tidemark("note", "x", database=tmp_path / "none.db"), 1)
    assert list(tmp_path.glob("none.db*")) == []


def test_a_writer_that_was_killed_before_it_removed_the_file_does_not_double_it(
    path: Path,
    store: Store,
    history: History,
    taker: NoteTaker,
) -> None:
    new = notes.note("once", NOW)
    notes.leave(path, new)
    store.write(lambda statements: notes.insert(statements, [new]))
    waiting = history.waiting_notes()
    with history.view() as view:
        assert [event.detail for event in view.events(NOW, NOW + 1, waiting) if event.kind == "note"] == ["once"]
    taker.look()
    assert (query(path, STORED), files(path)) == ([("2026-01-05T10:00:00Z", "once")], [])


def test_where_the_disk_refuses_a_note_waits(path: Path, store: Store) -> None:
    taker = NoteTaker(path, Store(path.with_name("gone.db")))
    notes.leave(path, notes.note("kept", NOW))
    taker.look()
    assert len(files(path)) == 1
    shutil.copy(path, path.with_name("gone.db"))
    taker.look()
    assert files(path) == []
    assert query(path.with_name("gone.db"), STORED) == [("2026-01-05T10:00:00Z", "kept")]


def test_nothing_is_listed_while_the_folder_has_not_changed_but_each_minute(
    path: Path, taker: NoteTaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes.leave(path, notes.note("a", NOW))
    taker.look()
    taker.look()  # its own removal has changed the folder
    listed: list[Path] = []
    monkeypatch.setattr(notes, "waiting", lambda database: listed.append(database) or notes.Waiting([], [], False))
    taker.look()
    assert listed == []
    taker.take()
    assert listed == [path]


def test_while_the_disk_is_stuck_nobody_looks_for_notes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each who did would hold one of the server's threads."""
    notes.leave(path, notes.note("a", NOW))
    history = History(path, pooled=True)
    assert [note.text for note in history.waiting_notes()] == ["a"]
    monkeypatch.setattr(Probe, "comes_back", lambda _: False)
    assert history.waiting_notes() == ()
    history.close()


def test_more_notes_than_one_step_takes_are_taken_by_the_next(path: Path, taker: NoteTaker) -> None:
    for number in range(notes.MOST_AT_ONCE + 1):
        notes.leave(path, notes.note(str(number), NOW + number))
    taker.look()
    assert len(files(path)) == 1
    taker.look()
    assert files(path) == []
    assert len(query(path, STORED)) == notes.MOST_AT_ONCE + 1


def test_what_somebody_else_puts_into_the_folder_is_put_aside_or_left_alone(
    path: Path, store: Store, taker: NoteTaker, caplog: pytest.LogCaptureFixture
) -> None:
    notes.leave(path, notes.note("good", NOW))
    folder = notes.folder_of(path)
    secret = path.with_name("secret")
    secret.write_text("of somebody else")
    name = f"{NOW}-000000000000000"
    os.mkfifo(folder / f"{name}1.note")
    (folder / f"{name}2.note").symlink_to(secret)
    (folder / f"{name}3.note").write_bytes(b"\xff")
    (folder / f"{name}4.note").write_bytes(b"two\nlines")
    (folder / f"{name}5.note").write_bytes(b"x" * 5000)
    (folder / f"{name}6.note").mkdir()
    (folder / "README").write_text("stays")
    (folder / f"{NOW}-f000000000000000.note").write_text("no number of SQLite")
    for _ in range(3):
        taker.take()
    assert query(path, STORED) == [("2026-01-05T10:00:00Z", "good")]
    refused = [f"{name}{number}.note.refused" for number in range(1, 7)]
    assert files(path) == [*refused, f"{NOW}-f000000000000000.note", "README"]
    assert caplog.text.count("is not taken in as a note") == len(refused)
    assert secret.read_text() == "of somebody else"


def test_notes_are_kept_as_long_as_hours(path: Path, store: Store, clock: FakeClock) -> None:
    for days in (0, 400, 402):
        store.write(lambda s, at=NOW - days * DAY: notes.insert(s, [notes.note("n", at)]))  # type: ignore[misc]
    with store.transaction() as statements:
        for ts in range(NOW - 401 * DAY, NOW, HOUR):
            statements.run("INSERT INTO hour (ts, samples, covered_ms) VALUES (?, 1, 3600000)", (ts,))
        statements.run("UPDATE progress SET days_until = ?", (NOW,))
    keeper = Keeper.by(settings_for(path, retention__hours="401d"), store, clock)
    while keeper.prune():
        pass
    assert len(query(path, STORED)) == 2


def test_a_backup_has_the_notes_and_salvage_brings_them_back_once(
    tidemark: Tidemark,  # noqa: F811
    path: Path,
    store: Store,
    taker: NoteTaker,
    tmp_path: Path,
    new_database: Path,
) -> None:
    for text in ("one", "two"):
        notes.leave(path, notes.note(text, NOW))
    taker.look()
    store.close()
    assert tidemark("backup", str(tmp_path / "copy.db")).code == 0
    expected = query(path, STORED)
    assert query(tmp_path / "copy.db", STORED) == expected
    current = Path(shutil.copy(new_database, tmp_path / "current.db"))
    for added in (2, 0):
        again = Store(current)
        again.open()
        found = salvage(tmp_path / "copy.db", again, current, lambda _: None)
        again.close()
        assert (found["note"].read, found["note"].added) == (2, added)
        assert query(current, STORED) == expected


def note_at(path: Path, *texts: str) -> list[subprocess.CompletedProcess[str]]:
    """The verb as processes, all at once."""
    begun = [
        subprocess.Popen(
            command(path, "note", text),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for text in texts
    ]
    return [subprocess.CompletedProcess(one.args, one.wait(60), *one.communicate()) for one in begun]


def details(path: Path) -> list[str]:
    return sorted(detail for _, detail in query(path, STORED))


def test_notes_reach_a_running_daemon_outlive_a_kill_and_come_once(start: Start) -> None:
    daemon = start()
    path = daemon.path
    assert [(done.returncode, done.stderr) for done in note_at(path, "a", "b")] == [(0, ""), (0, "")]
    until(lambda: details(path) == ["a", "b"])
    until(lambda: files(path) == [])
    daemon.kill()
    assert "SQL has it once the daemon has run" in note_at(path, "c")[0].stdout
    again = start()
    until(lambda: details(path) == ["a", "b", "c"])
    events = again.get("/api/v1/events")["events"]
    assert sorted(event["detail"] for event in events if event["kind"] == "note") == ["a", "b", "c"]
    assert again.stop() == 0
    assert files(path) == []


NOTER = """
import os, sys
import service.cli, service.daemon.running, service.store.notes, service.store.reader
os.setgid(65534); os.setuid(65534)
sys.argv = ["manage.py", "--database", sys.argv[1], "note", sys.argv[2]]
sys.exit(service.cli.main())
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another account")
def test_an_account_that_may_not_write_there_is_told_so_and_one_that_may_is_served(new_database: Path) -> None:
    # Not below pytest's own folder, which another run may close meanwhile.
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        _let_accounts_note(Path(shutil.copy(new_database, folder)))


def _let_accounts_note(path: Path) -> None:
    path.chmod(0o644)

    def as_another(text: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", NOTER, path, text], capture_output=True, text=True, check=False, env=environment()
        )

    done = as_another("x")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "cannot write to" in done.stderr
    assert files(path) == []
    # Root notes for the account that the database belongs to.
    os.chown(path, 65534, 65534)
    assert note_at(path, "y")[0].returncode == 0
    for file in (notes.folder_of(path), *notes.folder_of(path).iterdir()):
        assert file.stat().st_uid == 65534
    assert as_another("z").returncode == 0
