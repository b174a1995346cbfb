"""Each failure of the store has its answer; what is set aside is whole, safe from a power cut, and never too much."""

import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from service.clock import DAY
from service.errors import StartFailed, StoreFailed, StoreFailureKind, TidemarkError
from service.store import database
from service.upkeep import recovery
from service.upkeep.recovery import BALLAST_BYTES, Ballast, Examination, Recovery
from tests.conftest import NOW, FakeClock
from tests.running import query, until

FULL = StoreFailed("full", "database or disk is full")
CORRUPT = StoreFailed("corrupt", "database disk image is malformed")


class Surroundings:
    """What recovery acts on: notes each call in `done`, and refuses or fails as the test says."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.given_up: list[TidemarkError] = []
        self.can_write_again = True
        self.refusal: StoreFailed | None = None
        self.has_damage = False

    def drop(self) -> None:
        self.done.append("drop")

    def write_again(self, path: Path) -> bool:
        self.done.append("write again")
        if self.refusal is not None:
            raise self.refusal
        if self.can_write_again:
            path.write_bytes(b"the history")
        return self.can_write_again

    def checkpoint(self) -> None:
        self.done.append("checkpoint")

    def forget(self) -> None:
        self.done.append("forget")

    def was_damaged(self) -> bool:
        return self.has_damage

    def make_room(self) -> None:
        self.done.append("make room")
        if self.refusal is not None:
            raise self.refusal

    def begin_anew(self) -> None:
        self.done.append("begin anew")


class Answer:
    """An examination with a verdict that the test gives."""

    def __init__(self) -> None:
        self.verdict: str | None = None
        self.found = "row 7 missing"
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Case(NamedTuple):
    recovery: Recovery
    around: Surroundings
    examinations: list[Answer]
    path: Path
    clock: FakeClock


@pytest.fixture
def case(path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Case:
    around, examinations = Surroundings(), []

    def examination(examined: Path) -> Answer:
        assert examined == path
        examinations.append(Answer())
        return examinations[-1]

    monkeypatch.setattr(recovery, "Examination", examination)
    made = Recovery(
        path, around, clock, around.make_room, around.begin_anew, around, around.given_up.append, ["at the start"]
    )
    return Case(made, around, examinations, path, clock)


def ballast_of(path: Path) -> Path:
    return Path(f"{path}.ballast")


def set_aside_of(path: Path) -> list[Path]:
    return sorted((path.parent / "quarantine").glob("*"))


def with_free(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    """As if the disk had so many bytes left for us."""
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free_bytes // 512, f_frsize=512))


# -- the ballast


@pytest.mark.parametrize(("missing", "holds"), [(0, True), (512, False)])
def test_ballast_is_held_where_four_times_its_size_is_free(
    path: Path, monkeypatch: pytest.MonkeyPatch, missing: int, holds: bool
) -> None:
    with_free(monkeypatch, 4 * BALLAST_BYTES - missing)
    Ballast(path).hold()
    assert ballast_of(path).exists() == holds


def test_the_ballast_is_on_the_disk_whole_and_no_file_system_makes_it_smaller(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    Ballast(path).hold()
    content = ballast_of(path).read_bytes()
    assert (len(content), synced) == (BALLAST_BYTES, [BALLAST_BYTES])
    assert ballast_of(path).stat().st_mode & 0o777 == 0o640
    assert len(zlib.compress(content[: 128 * 1024], 1)) > 127 * 1024


def test_ballast_that_is_held_is_not_written_again(path: Path) -> None:
    ballast = Ballast(path)
    ballast.hold()
    before = ballast_of(path).stat()
    ballast.hold()
    assert ballast_of(path).stat() == before


def test_ballast_that_cannot_be_written_whole_is_not_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    Ballast(path).hold()
    assert not ballast_of(path).exists()


def test_a_folder_that_may_not_be_looked_into_is_no_defect(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = os.stat

    def refuse(path: object, *rest: object, **named: object) -> os.stat_result:
        if str(path).startswith(str(case.path.parent)):
            raise PermissionError(13, "Permission denied", path)
        return stat(path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "statvfs", refuse)
    case.recovery.check_file()
    assert case.around.given_up == []


def test_ballast_is_given_back_once(path: Path) -> None:
    ballast = Ballast(path)
    ballast.hold()
    assert [ballast.release(), ballast.release()] == [True, False]
    assert not ballast_of(path).exists()


@pytest.mark.parametrize(("free", "is_kept"), [(BALLAST_BYTES // 8, True), (BALLAST_BYTES // 8 - 512, False)])
def test_a_start_gives_ballast_back_where_less_than_a_megabyte_is_free(
    path: Path, monkeypatch: pytest.MonkeyPatch, free: int, is_kept: bool
) -> None:
    ballast = Ballast(path)
    ballast.hold()
    with_free(monkeypatch, free)
    ballast.release_if_needed()
    assert ballast_of(path).exists() == is_kept


def test_a_disk_that_does_not_say_what_is_free_gets_no_ballast(tmp_path: Path) -> None:
    Ballast(tmp_path / "missing" / "tidemark.db").hold()
    assert not (tmp_path / "missing").exists()


# -- each kind of failure


def test_a_full_disk_gets_the_ballast_back_and_room_is_made_before_the_next_try(case: Case) -> None:
    case.recovery.check_file()
    assert ballast_of(case.path).exists()
    case.around.done.clear()
    assert case.recovery.mend(FULL) is True
    assert not ballast_of(case.path).exists()
    assert case.around.done == ["make room"]
    assert "the ballast is given back" in case.recovery.episodes[-1]


def test_a_disk_that_stays_full_is_reported_once_and_room_is_made_at_each_try(case: Case) -> None:
    case.recovery.check_file()
    case.around.done.clear()
    assert [case.recovery.mend(FULL) for _ in range(3)] == [True] * 3
    assert case.around.done == ["make room"] * 3
    assert len(case.recovery.episodes) == 2


def test_a_disk_so_full_that_nothing_can_be_pruned_is_tried_all_the_same(case: Case) -> None:
    case.around.refusal = FULL
    assert case.recovery.mend(FULL) is True
    assert case.around.given_up == []


@pytest.mark.parametrize("kind", ["busy", "io", "poison"])
def test_a_failure_that_is_not_of_the_file_is_waited_for_with_all_as_it_is(case: Case, kind: StoreFailureKind) -> None:
    case.recovery.check_file()
    case.around.done.clear()
    assert case.recovery.mend(StoreFailed(kind, "no")) is False
    assert (case.around.done, case.examinations, case.recovery.episodes) == ([], [], ["at the start"])
    assert ballast_of(case.path).exists()
    assert case.path.exists()


# -- damage


def test_a_file_called_damaged_is_let_go_of_and_examined_once_while_samples_wait(case: Case) -> None:
    assert [case.recovery.mend(CORRUPT) for _ in range(3)] == [False] * 3
    assert case.around.done == ["drop"]
    assert len(case.examinations) == 1
    assert set_aside_of(case.path) == []


def test_a_file_that_is_found_sound_is_written_to_at_once(case: Case) -> None:
    case.recovery.mend(CORRUPT)
    case.examinations[0].verdict = "sound"
    assert case.recovery.mend(CORRUPT) is True
    assert set_aside_of(case.path) == []
    assert case.recovery.mend(CORRUPT) is False
    assert len(case.examinations) == 2


def test_a_file_that_cannot_be_read_stays_and_is_examined_again(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.recovery.mend(CORRUPT)
    case.examinations[0].verdict = "unreadable"
    assert case.recovery.mend(CORRUPT) is False
    assert "cannot be read through, so it stays where it is: row 7 missing" in caplog.text
    assert (set_aside_of(case.path), case.recovery.episodes) == ([], ["at the start"])
    case.recovery.mend(CORRUPT)
    assert len(case.examinations) == 2


def test_a_file_that_is_found_damaged_is_set_aside_and_a_new_one_begins(case: Case) -> None:
    before = case.path.read_bytes()
    case.recovery.mend(CORRUPT)
    case.examinations[0].verdict = "corrupt"
    assert case.recovery.mend(CORRUPT) is True
    (folder,) = set_aside_of(case.path)
    assert (folder / case.path.name).read_bytes() == before
    assert json.loads((folder / "reason.json").read_text()) == {
        "database": str(case.path),
        "found": "row 7 missing",
        "set_aside": "2026-01-05T10:00:00Z",
    }
    # The writer lets go before the file moves; readers before the new run.
    assert case.around.done == ["drop", "drop", "forget", "begin anew"]
    assert database.is_current(case.path)
    assert query(case.path, "SELECT count(*) FROM runs") == [(0,)]
    assert case.recovery.episodes[-1] == (
        f"2026-01-05T10:00:00Z the database is corrupt; it is set aside in quarantine/{folder.name}, a new one begins"
    )
    assert not case.recovery.is_elsewhere()


def test_a_sixth_damaged_file_stays_and_ends_the_daemon(case: Case) -> None:
    for _ in range(recovery.MOST_SET_ASIDE):
        recovery.set_aside(case.path, "malformed", NOW)
        case.path.touch()
    made = Recovery(
        case.path,
        case.around,
        case.clock,
        case.around.make_room,
        case.around.begin_anew,
        case.around,
        case.around.given_up.append,
    )
    made.mend(CORRUPT)
    case.examinations[0].verdict = "corrupt"
    assert made.mend(CORRUPT) is False
    assert [type(error) for error in case.around.given_up] == [StartFailed]
    assert case.path.exists()
    assert "begin anew" not in case.around.done


# -- once a minute


def test_each_minute_without_a_log_the_writer_looks_for_its_own(case: Case) -> None:
    case.recovery.check_file()
    assert case.around.done == ["checkpoint"]
    Path(f"{case.path}-wal").touch()
    case.recovery.check_file()
    assert case.around.done == ["checkpoint"]


@pytest.mark.parametrize(("seconds", "examined"), [(DAY, 0), (DAY + 1, 1)])
def test_the_whole_file_is_examined_a_day_after_the_last_time(case: Case, seconds: int, examined: int) -> None:
    case.clock.pass_seconds(seconds)
    case.recovery.check_file()
    assert len(case.examinations) == examined


def test_a_sound_file_is_not_examined_again_before_another_day(case: Case) -> None:
    case.clock.pass_seconds(DAY + 1)
    case.recovery.check_file()
    case.examinations[0].verdict = "sound"
    for _ in range(3):
        case.recovery.check_file()
    assert len(case.examinations) == 1
    case.clock.pass_seconds(DAY + 1)
    case.recovery.check_file()
    assert len(case.examinations) == 2


def test_what_a_reader_met_is_examined_at_the_next_check_and_acted_on_at_the_one_after(case: Case) -> None:
    case.around.has_damage = True
    case.recovery.check_file()
    assert len(case.examinations) == 1
    case.recovery.check_file()
    assert set_aside_of(case.path) == []
    case.examinations[0].verdict = "corrupt"
    case.recovery.check_file()
    assert len(set_aside_of(case.path)) == 1


def test_a_stop_breaks_an_examination_off(case: Case) -> None:
    case.recovery.close()
    case.recovery.examine()
    case.recovery.close()
    assert [one.is_cancelled for one in case.examinations] == [True]


# -- removed, renamed, replaced


def test_a_file_that_stands_where_it_stood_is_let_be(case: Case) -> None:
    assert not case.recovery.check_path()
    assert case.around.done == []


def test_a_disk_that_does_not_say_what_stands_at_the_path_changes_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(database, "identity", refuse)
    assert not case.recovery.check_path()
    assert case.around.done == []


def test_a_removed_file_is_written_again_and_its_name_is_on_the_disk(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.path.unlink()
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    assert case.recovery.mend(StoreFailed("io", "no")) is True
    assert case.around.done == ["write again", "forget"]
    assert synced == [case.path.parent.stat().st_ino]
    assert "was removed or renamed while in use; the history is written there again" in case.recovery.episodes[-1]
    assert not case.recovery.check_path()
    assert case.around.done == ["write again", "forget"]


def test_a_removed_file_that_cannot_be_written_again_yet_is_tried_at_the_next_check(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    case.path.unlink()
    case.around.refusal = FULL
    assert case.recovery.mend(FULL) is False
    assert "cannot be written again yet: database or disk is full" in caplog.text
    assert (case.around.given_up, case.around.done) == ([], ["write again"])
    case.around.refusal = None
    assert case.recovery.check_path()
    assert case.around.done == ["write again", "write again", "forget"]


def test_where_nobody_has_the_removed_file_a_new_one_begins_and_its_log_is_set_aside(case: Case) -> None:
    case.path.unlink()
    Path(f"{case.path}-wal").write_bytes(b"log")
    case.around.can_write_again = False
    assert case.recovery.mend(StoreFailed("io", "no")) is True
    assert case.around.done == ["write again", "drop", "forget", "begin anew"]
    (folder,) = set_aside_of(case.path)
    assert (folder / f"{case.path.name}-wal").read_bytes() == b"log"
    assert database.is_current(case.path)
    assert "was removed while in use; a new one begins" in case.recovery.episodes[-1]


def test_in_another_history_that_was_put_in_its_place_the_next_samples_go_on(case: Case, new_database: Path) -> None:
    replace(case.path, new_database)
    Path(f"{case.path}-shm").write_bytes(b"index")
    assert case.recovery.check_path()
    assert case.around.done == ["drop", "forget", "begin anew"]
    (folder,) = set_aside_of(case.path)
    assert sorted(part.name for part in folder.iterdir()) == ["reason.json", f"{case.path.name}-shm"]
    assert case.path.exists()
    assert "was replaced while in use; the history goes on in the new one" in case.recovery.episodes[-1]
    assert not case.recovery.check_path()


def test_a_file_that_is_replaced_without_a_log_leaves_nothing_in_quarantine(case: Case, new_database: Path) -> None:
    replace(case.path, new_database)
    case.recovery.check_path()
    assert not (case.path.parent / "quarantine").exists()


def replace(path: Path, other: Path) -> None:
    Path(shutil.copy(other, path.with_name("other.db"))).rename(path)


def test_a_file_of_somebody_else_in_its_place_is_not_written_to(case: Case) -> None:
    notes = case.path.with_name("notes")
    notes.write_bytes(b"dear diary\n" * 1000)
    notes.rename(case.path)
    assert case.recovery.mend(FULL) is False
    assert case.around.given_up == []
    assert "begin anew" not in case.around.done
    assert case.path.read_bytes().startswith(b"dear diary")


# -- the examination


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [([[]], "sound"), ([["row 1"], []], "sound"), ([["row 1"], ["a", "b", "c", "d"]], "corrupt")],
)
def test_what_is_found_must_be_found_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch, checks: list[list[str]], verdict: str
) -> None:
    left = list(checks)
    monkeypatch.setattr(database, "quick_check", lambda _, is_cancelled: left.pop(0))
    examination = Examination(path, pause_seconds=0)
    until(lambda: examination.verdict is not None)
    assert (examination.verdict, left) == (verdict, [])
    assert examination.found == ("a; b; c" if verdict == "corrupt" else "")


@pytest.mark.parametrize(("checks", "waits"), [([[]], 0), ([["row 1"], []], 1)])
def test_the_disk_is_given_two_seconds_to_recover_before_the_second_check(
    path: Path, monkeypatch: pytest.MonkeyPatch, checks: list[list[str]], waits: int
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(database, "quick_check", lambda _, is_cancelled: checks.pop(0))
    monkeypatch.setattr(recovery.threading.Event, "wait", _noting(waited))
    examination = Examination(path)
    until(lambda: examination.verdict is not None)
    assert [seconds for seconds in waited if seconds] == [2.0] * waits


def _noting(waited: list[float]) -> Callable[..., bool]:
    wait = threading.Event.wait

    def note(event: threading.Event, timeout: float | None = None) -> bool:
        if timeout is None:
            return wait(event)  # threading's own: a thread has begun
        waited.append(timeout)
        return False

    return note


def test_what_the_disk_refuses_is_unreadable_and_not_checked_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []

    def refuse(read: Path) -> None:
        reads.append(read)
        raise OSError("Input/output error")

    monkeypatch.setattr(database, "read_through", refuse)
    examination = Examination(path, pause_seconds=0)
    until(lambda: examination.verdict is not None)
    assert (examination.verdict, examination.found, reads) == ("unreadable", "Input/output error", [path])


def test_an_examination_without_memory_says_so_and_leaves_no_trace(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> list[str]:
        raise MemoryError

    monkeypatch.setattr(database, "quick_check", refuse)
    examination = Examination(path, pause_seconds=0)
    until(lambda: examination.verdict is not None)
    assert (examination.verdict, examination.found) == ("unreadable", "out of memory")


def test_a_cancelled_examination_has_no_connection_when_cancel_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, connected = threading.Event(), threading.Event()

    def check(_: Path, is_cancelled: Callable[[], bool]) -> list[str]:
        connected.set()
        begun.set()
        until(is_cancelled)
        connected.clear()
        raise OSError("interrupted")

    monkeypatch.setattr(database, "quick_check", check)
    examination = Examination(path)
    begun.wait(20)
    examination.cancel()
    assert not connected.is_set()
    until(lambda: examination.verdict == "unreadable")


def test_an_examination_cancelled_while_it_reads_never_connects(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, checks = threading.Event(), []
    monkeypatch.setattr(database, "read_through", lambda _: go.wait(20))
    monkeypatch.setattr(database, "quick_check", lambda *_, **__: checks.append(1) or [])
    examination = Examination(path)
    examination.cancel()
    go.set()
    until(lambda: examination.verdict == "unreadable")
    assert checks == []


# -- set aside


def test_what_is_set_aside_is_on_the_disk_under_its_new_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(f"{path}-wal").write_bytes(b"log")
    synced: list[tuple[int, bool]] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append((os.fstat(fd).st_ino, path.exists())), fsync(fd)))
    folder = recovery.set_aside(path, "malformed", NOW)
    assert sorted(part.name for part in folder.iterdir()) == ["reason.json", path.name, f"{path.name}-wal"]
    assert not path.exists()
    assert {(folder.stat().st_ino, False), (path.parent.stat().st_ino, False)} <= set(synced)
    assert [one.stat().st_mode & 0o777 for one in (folder.parent, folder)] == [0o750, 0o750]


def test_five_databases_are_set_aside_and_not_one_more(path: Path) -> None:
    for number in range(recovery.MOST_SET_ASIDE):
        path.touch()
        assert recovery.set_aside(path, "malformed", NOW).name.endswith(f"-{number + 1}")
    path.touch()
    with pytest.raises(StartFailed, match="holds 5 such files"):
        recovery.set_aside(path, "malformed", NOW)
    assert path.exists()


def test_a_disk_that_refuses_to_set_a_file_aside_is_named_and_the_file_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path, __: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StartFailed, match=r"cannot be set aside.*Read-only file system"):
        recovery.set_aside(path, "malformed", NOW)
    assert path.exists()
