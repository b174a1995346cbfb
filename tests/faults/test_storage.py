"""Rows 6 to 24: full, sick, frozen and vanished disks; damaged, removed and replaced files."""

import contextlib
import hashlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.daemon import startup
from service.errors import HistoryUnreadable, StartFailed, StoreFailed
from service.recording.sampler import Sampler
from service.records import Break, Reading, Sample
from service.store import database
from service.store.reader import History
from service.store.writer import Store
from service.upkeep.recovery import MOST_SET_ASIDE, Ballast, Recovery
from tests.conftest import NOW, FakeClock, FakeHost, Fill
from tests.faults.conftest import MakeDisk, MakeSite
from tests.faults.kit import (
    DISK_FULL_SECONDS,
    USAGE,
    Site,
    ask,
    gaps,
    needs_root,
    old_history,
    problems,
    quarantined,
    rarely,
    reader,
    verb,
)
from tests.faults.kit_disk import Disk, failing, overwrite
from tests.running import RUN, until

root, as_root = needs_root


def on_a_disk(
    make_disk: MakeDisk, make_site: MakeSite, kind: str = "ext4", megabytes: float = 400
) -> tuple[Disk, Site]:
    disk = make_disk(kind, megabytes)
    return disk, make_site(disk.folder / "data" / "tidemark.db")


# -- rows 6 to 9: full


def _fill_for(seconds: float, disk: Disk, site: Site) -> None:
    site.start(samples=2)
    # A reader keeps SQLite from using the log's space again; otherwise the daemon would need no more for a long time.
    with reader(site.path) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sample").fetchone()
        disk.fill()
        until(lambda: site.health()["spooled_samples"] > 2)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status, answer = ask(site.daemon, USAGE)
            assert (status, answer["success"]) == (200, True)
            assert site.health()["status"] != "ok"
            time.sleep(0.5)
        waiting = site.health()["spooled_samples"]
    lines = site.logged().count("cannot store")
    disk.resize(200)
    site.wait_for(waiting)
    until(lambda: site.health()["spooled_samples"] <= 1)
    site.standard_check()
    assert gaps(site.path) == []
    assert 1 <= lines <= 1 + seconds / 60 + 1
    print(f"{seconds} s full, {waiting} samples waited, 0 of {site.stored()} missing, {lines} lines of log")


@root
@as_root
def test_a_disk_that_is_full_delays_samples_and_loses_none(make_disk: MakeDisk, make_site: MakeSite) -> None:
    disk, site = on_a_disk(make_disk, make_site, "tmpfs", 4)
    _fill_for(3, disk, site)


@root
@as_root
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_on_a_full_disk_of_any_kind_the_daemon_lives_and_a_start_says_that_it_is_full(
    make_disk: MakeDisk, make_site: MakeSite, kind: str
) -> None:
    """Where a file system copies on write, a first write to a mapped page takes space: without it the kernel ends the
    process. Pages are written to the disk meanwhile, so that there are first writes."""
    disk, site = on_a_disk(make_disk, make_site, kind, 320)
    site.start(samples=2)

    def is_pressed() -> bool:
        disk.fill()
        subprocess.run(["sync", "-f", disk.folder], check=False)
        return bool(site.health()["spooled_samples"] > 4)

    until(is_pressed, 60)
    assert "full" in site.health()["last_error"] or "No space" in site.health()["last_error"]
    site.kill()
    disk.fill()
    done = verb(site.path, *RUN)
    assert done.returncode == 74
    assert "full" in done.stderr.splitlines()[-1]
    disk.empty()
    site.start(samples=1)
    site.standard_check()


@pytest.mark.slow
@pytest.mark.timeout(DISK_FULL_SECONDS + 300)
@root
@as_root
def test_a_disk_that_is_full_for_long_loses_none(make_disk: MakeDisk, make_site: MakeSite) -> None:
    disk, site = on_a_disk(make_disk, make_site, "tmpfs", 4)
    _fill_for(DISK_FULL_SECONDS, disk, site)


@root
@as_root
def test_on_a_full_disk_the_ballast_makes_pruning_possible(
    make_disk: MakeDisk, make_site: MakeSite, new_database: Path
) -> None:
    disk, site = on_a_disk(make_disk, make_site, "tmpfs", 100)
    old_history(site.path, new_database, days=3)
    store = Store(site.path)
    while store.roll_up():
        pass
    store.close()
    Ballast(site.path).hold()
    before = _oldest(site.path)
    site.start(samples=1, TIDEMARK_RETENTION_SAMPLES="2h")
    disk.fill()
    until(lambda: "the ballast is given back" in site.logged())
    site.wait_for(3)
    assert _oldest(site.path) > before
    assert (disk.folder / "filler").stat().st_size > 50 * 2**20
    disk.resize(300)
    site.standard_check()


@pytest.mark.parametrize("limit", ["file size", pytest.param("quota", marks=needs_root)])
def test_a_quota_or_a_limit_of_file_size_is_a_full_disk_and_loses_no_sample(site: Site, limit: str) -> None:
    site.path.parent.mkdir(exist_ok=True)
    Ballast(site.path).hold()
    site.start(samples=2)
    with contextlib.ExitStack() as stack:
        if limit == "quota":
            stack.enter_context(failing(site.daemon, "pwrite64", "error=EDQUOT"))
        else:
            pid, most = site.daemon.process.pid, Path(f"{site.path}-wal").stat().st_size
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
            stack.callback(resource.prlimit, pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        until(lambda: site.health()["spooled_samples"] >= 2)
        reason = "Disk quota exceeded" if limit == "quota" else "File too large"
        assert f"cannot store (full): disk I/O error: {reason}" in site.logged()
        assert f"the disk is full (disk I/O error: {reason}): the ballast is given back" in site.logged()
        assert not Path(f"{site.path}.ballast").exists()
    until(lambda: site.health()["spooled_samples"] == 0)
    site.standard_check()
    assert gaps(site.path) == []


def _oldest(path: Path) -> int:
    with reader(path) as connection:
        return int(connection.execute("SELECT MIN(ts) FROM sample").fetchone()[0])


@root
@as_root
def test_a_start_on_a_full_disk_gives_the_ballast_back(make_disk: MakeDisk, make_site: MakeSite) -> None:
    disk, site = on_a_disk(make_disk, make_site, "tmpfs", 100)
    site.start(samples=1)
    site.stop()
    Ballast(site.path).hold()
    disk.fill()
    site.start(samples=2)
    disk.resize(300)
    site.standard_check()


class Sampling:
    """A sampler over a real store whose database a test can limit to so many pages: SQLITE_FULL without root."""

    def __init__(self, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, interval: int = 5) -> None:
        self._monkeypatch, self._connect = monkeypatch, sqlite3.connect
        self.clock, self.interval = clock, interval
        self.store = Store(path)
        self.store.open()
        self.store.begin_run(NOW, None, "boot", "0.1.0", interval)
        self.sampler = Sampler(FakeHost(Reading({"cpu_percent": 1.0})), self.store, clock, interval, Break(None, None))

    def limit(self, pages: int) -> None:
        def limited(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = self._connect(*arguments, **options)
            connection.execute(f"PRAGMA max_page_count={pages}")
            return connection

        self.connect_by(limited)

    def connect_by(self, connect: Callable[..., sqlite3.Connection]) -> None:
        """Let the store's next connection come from there."""
        self.store.drop()
        self._monkeypatch.setattr(sqlite3, "connect", connect)

    def tick(self, times: int) -> None:
        for _ in range(times):
            self.clock.pass_seconds(self.interval)
            self.sampler.tick()


def test_a_database_that_may_not_grow_delays_samples_and_loses_none(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = Sampling(path, clock, monkeypatch)
    sampling.limit(1)
    sampling.tick(500)
    assert sampling.sampler.health().spooled > 300
    sampling.limit(100_000)
    sampling.tick(1)
    sampling.store.close()
    with reader(path) as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT stretch_id) FROM sample").fetchone() == (501, 1)
    assert problems(path) == []


def test_a_disk_that_is_full_for_longer_than_a_day_drops_the_oldest_and_the_gap_says_storage(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = Sampling(path, clock, monkeypatch, interval=3600)
    sampling.tick(2)
    sampling.connect_by(_refuse_as_full)
    sampling.tick(24 + 10)
    assert sampling.sampler.health().spooled == 24
    assert sampling.sampler.counts["dropped"] == 10
    monkeypatch.undo()
    sampling.tick(1)
    sampling.store.close()
    with reader(path) as connection:
        found = connection.execute("SELECT end_ts - start_ts, reason FROM gaps").fetchall()
        stored = connection.execute("SELECT count(*) FROM sample").fetchone()[0]
    # The sample of the last tick pushes out one more before the others are stored.
    assert sum(seconds for seconds, _ in found) == 11 * 3600
    assert {reason for _, reason in found} == {"storage"}
    assert stored == 2 + 24


def _refuse_as_full(*_: Any, **__: Any) -> sqlite3.Connection:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


# -- rows 10 to 15: the disk fails


@root
@as_root
def test_a_commit_that_fails_is_done_again_and_stored_once(site: Site) -> None:
    site.start(samples=2)
    with failing(site.daemon, "fdatasync", "error=EIO:when=1+3"):
        time.sleep(7)
    site.wait_for(3)
    assert "cannot store (io)" in site.logged()
    site.standard_check()
    assert gaps(site.path) == []


@root
@as_root
def test_a_first_commit_that_fails_begins_one_stretch(site: Site, tmp_path: Path) -> None:
    site.start(samples=2)
    site.kill()
    time.sleep(3)
    site.start(samples=0)
    with failing(site.daemon, "fdatasync,pwrite64", "error=EIO:when=1+2", site.path, Path(f"{site.path}-wal")):
        time.sleep(5)
    site.wait_for(3)
    site.standard_check()
    with reader(site.path) as connection:
        assert connection.execute("SELECT count(*) FROM gaps").fetchone()[0] == 1


def test_a_commit_that_reached_the_disk_though_it_raised_is_stored_once(path: Path, store: Store) -> None:
    batch = [
        Sample(NOW, 5.0, {}, Break(NOW - 100, "killed")),
        Sample(NOW + 5, 5.0, {}),
        Sample(NOW + 100, 5.0, {}, Break(NOW + 5, "overload")),
        Sample(NOW + 105, 5.0, {}),
    ]
    store.append(batch)
    store.drop()
    store.append(batch)
    assert problems(path) == []
    with reader(path) as connection:
        assert connection.execute("SELECT count(*) FROM sample").fetchone() == (4,)
        assert connection.execute("SELECT count(*) FROM stretch").fetchone() == (2,)


@root
@as_root
def test_a_read_error_is_never_taken_for_damage(site: Site) -> None:
    site.start(samples=3)
    log = Path(f"{site.path}-wal")
    # The failing write makes the store connect anew, and then read.
    with failing(site.daemon, "pread64,read,fdatasync", "error=EIO", site.path, log):
        time.sleep(8)
        assert site.health()["spooled_samples"] > 2
        status, answer = ask(site.daemon, USAGE)
        assert status == 200 or (status == 500 and answer["error"])
    site.wait_for(6)
    site.standard_check()
    assert gaps(site.path) == []
    assert quarantined(site.path) == []


@root
@as_root
def test_a_read_error_at_the_start_is_never_taken_for_damage(site: Site) -> None:
    site.start(samples=2)
    site.kill()
    site.start(samples=0)
    digest = hashlib.sha256(site.path.read_bytes()).hexdigest()
    site.kill()
    tracer = [
        "strace", "-f", "-o", "/dev/null", "-P", str(site.path), "-e", "trace=pread64,read",
        "-e", "inject=pread64,read:error=EIO",
    ]  # fmt: skip
    done = verb(site.path, *RUN, under=tracer)
    assert done.returncode == 74, done.stderr
    assert quarantined(site.path) == []
    assert hashlib.sha256(site.path.read_bytes()).hexdigest() == digest
    site.start(samples=1)
    site.standard_check()


@root
@as_root
@pytest.mark.parametrize("how", ["gone", "read-only"])
def test_a_disk_that_fails_for_good_leaves_the_daemon_answering(
    make_disk: MakeDisk, make_site: MakeSite, how: str
) -> None:
    disk, site = on_a_disk(make_disk, make_site)
    site.start(samples=3)
    if how == "gone":
        disk.cut_power()
    else:
        name = disk.device().removeprefix("/dev/")
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("1")
    time.sleep(6)
    status, health = ask(site.daemon, "/healthz")
    assert status == 503
    assert health["spooled_samples"] > 2
    assert health["last_error"]
    status, answer = ask(site.daemon, USAGE)
    assert status in (200, 500)
    assert isinstance(answer["success"] if status == 200 else answer["error"], (bool, str))
    assert sum("ERROR" in line for line in site.logged().splitlines()) < 6
    site.kill()
    disk.unmount()
    disk.mount()
    site.start(samples=2)
    site.standard_check()
    assert quarantined(site.path) == []


@root
@as_root
def test_a_start_on_a_read_only_disk_says_so_and_verbs_still_read(make_disk: MakeDisk, make_site: MakeSite) -> None:
    disk, site = on_a_disk(make_disk, make_site)
    site.start(samples=2)
    assert site.stop() == 0
    subprocess.run(["mount", "-o", "remount,ro", disk.folder], check=True)
    done = verb(site.path, *RUN)
    assert done.returncode in (73, 74)
    assert done.stderr.count("\n") == 1
    assert str(site.path.parent) in done.stderr
    assert verb(site.path, "status").returncode == 0


@root
@as_root
def test_a_frozen_disk_delays_samples_and_loses_none(make_disk: MakeDisk, make_site: MakeSite) -> None:
    disk, site = on_a_disk(make_disk, make_site)
    site.start(samples=3)
    disk.freeze()
    try:
        for _ in range(8):
            begun = time.monotonic()
            status, answer = ask(site.daemon, USAGE)
            # On a frozen file system a reader waits as well; it must get an error soon, not be left hanging.
            assert status == 200 or (status == 500 and answer["error"])
            assert time.monotonic() - begun < 5
            assert ask(site.daemon, "/healthz")[0] in (200, 503)
            time.sleep(1)
    finally:
        disk.thaw()
    site.wait_for(8)
    site.standard_check()
    assert gaps(site.path) == []


# -- rows 16 to 19, 21: damaged files


def _harm(path: Path, how: str) -> None:
    if how == "header":
        overwrite(path, 0, 100)
    elif how == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif how == "text":
        path.write_text("not a database\n" * 1000)
    elif how == "empty":
        os.truncate(path, 0)
    elif how == "gone":
        path.unlink()
    else:
        pages = path.stat().st_size // 4096
        overwrite(path, 4096, 4096 * (pages - 1))


@pytest.mark.parametrize("how", ["header", "gone", "pages", *rarely("truncated", "text", "empty")])
def test_a_damaged_file_is_set_aside_whole_and_sampling_goes_on(site: Site, how: str) -> None:
    site.start(samples=3)
    site.kill()
    log = Path(f"{site.path}-wal")
    digest = hashlib.sha256(log.read_bytes()).hexdigest()
    _harm(site.path, how)
    harmed = site.path.read_bytes() if site.path.exists() else None
    begun = time.monotonic()
    site.start(samples=2)
    assert time.monotonic() - begun < 15
    _begin_log_anew(site)
    site.standard_check()
    (folder,) = (site.path.parent / "quarantine").iterdir()
    names = {file.name for file in folder.iterdir()}
    assert hashlib.sha256((folder / log.name).read_bytes()).hexdigest() == digest
    assert ("tidemark.db" in names) == (harmed is not None)
    assert harmed is None or (folder / "tidemark.db").read_bytes() == harmed
    assert "reason.json" in names
    assert "set aside" in site.logged()
    health = site.health()
    assert (health["status"], f"quarantine/{folder.name}" in health["last_error"]) == ("degraded", True)
    assert str(site.path.parent) not in health["last_error"]


def _begin_log_anew(site: Site) -> None:
    """Forget the acknowledgements from before the damage: those samples are in what was set aside or damaged."""
    last = site.acked()[-2:]
    lines = "".join(f"x stored {ack.samples} samples, the last of {ack.last_ts}\n" for ack in last)
    site.log.write_text("set aside\n" * ("set aside" in site.logged()) + lines)


def test_a_machine_that_damages_each_database_is_stopped_before_the_disk_is_full(site: Site) -> None:
    site.start(samples=1)
    site.stop()
    for number in range(MOST_SET_ASIDE - 1):
        site.path.with_name("quarantine").mkdir(exist_ok=True)
        (site.path.parent / "quarantine" / f"earlier-{number}").mkdir()
    _harm(site.path, "header")
    site.start(samples=1)
    site.stop()
    assert len(quarantined(site.path)) == 1
    _harm(site.path, "header")
    harmed = site.path.read_bytes()
    done = verb(site.path, *RUN)
    assert done.returncode == 74
    assert "quarantine" in done.stderr
    assert site.path.read_bytes() == harmed


@pytest.mark.parametrize("how", ["half", "flipped", *rarely("removed", "no -shm", "-shm garbage")])
def test_a_damaged_log_leaves_a_sound_database_with_the_first_of_its_samples(site: Site, how: str) -> None:
    site.start(samples=4)
    site.kill()
    log, index = Path(f"{site.path}-wal"), Path(f"{site.path}-shm")
    if how == "half":
        os.truncate(log, log.stat().st_size // 2)
    elif how == "flipped":
        overwrite(log, log.stat().st_size // 2, 1)
    elif how == "removed":
        log.unlink()
    elif how == "no -shm":
        index.unlink()
    else:
        overwrite(index, 0, index.stat().st_size)
    before = [ack.last_ts for ack in site.acked()]
    time.sleep(2)
    site.start(samples=2)
    with reader(site.path) as connection:
        kept = {ts for (ts,) in connection.execute("SELECT ts FROM sample")}
    survived = [ts for ts in before if ts in kept]
    assert survived == before[: len(survived)]
    if "shm" in how:
        assert survived == before
    _begin_log_anew(site)
    site.standard_check()
    assert quarantined(site.path) == []


def _flip_bits(site: Site, new_database: Path, times: int) -> None:
    chance = random.Random(3)
    old_history(site.path, new_database, days=1)
    sound = site.path.read_bytes()
    seen = {"served": 0, "set aside": 0, "refused": 0}
    for _ in range(times):
        harmed = bytearray(sound)
        harmed[chance.randrange(len(harmed))] ^= 1 << chance.randrange(8)
        shutil.rmtree(site.path.parent)
        site.path.parent.mkdir()
        site.path.write_bytes(harmed)
        site.path.with_name(f"{site.path.name}.lock").touch()
        site.start(samples=1)
        for question in (USAGE, "/api/v1/gaps?start=-1y", f"/api/v1/series?start={NOW}&end={NOW + 86400}"):
            status, answer = ask(site.daemon, question)
            assert status in (200, 400, 500)
            seen["refused"] += status == 500
            assert isinstance(answer, dict)
        seen["set aside" if quarantined(site.path) else "served"] += 1
        site.kill()
    print(f"{times} bit flips: {seen}")


def test_a_flipped_bit_makes_no_crash_and_no_answer_but_json(site: Site, new_database: Path) -> None:
    _flip_bits(site, new_database, 3)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sixty_flipped_bits_make_no_crash_and_no_answer_but_json(site: Site, new_database: Path) -> None:
    _flip_bits(site, new_database, 60)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pages_overwritten_while_it_runs_are_found_and_can_be_salvaged(site: Site, new_database: Path) -> None:
    old_history(site.path, new_database, days=3)
    site.start(samples=2)
    overwrite(site.path, 4096 * 300, 5 * 4096)
    site.kill()
    site.start(samples=2)
    until(lambda: quarantined(site.path) != [], 120)
    site.wait_for(2)
    assert site.health()["status"] == "degraded"
    (aside,) = quarantined(site.path)
    site.stop()
    done = verb(site.path, "salvage", str(aside))
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    with reader(site.path) as connection:
        (count,) = connection.execute("SELECT count(*) FROM sample").fetchone()
    assert count > 0.97 * 3 * 17280 * 600 / 720
    site.start(samples=1)
    site.standard_check()


# -- row 20: removed, renamed, replaced


class Recovering:
    """A store, readers with open connections, and a recovery over both, as the daemon puts them together."""

    def __init__(self, path: Path, store: Store, clock: FakeClock) -> None:
        self.path, self.history, self.failures = path, History(path, pooled=True), []
        self.recovery = Recovery(path, store, clock, lambda: None, self._begin_anew, self.history, self.failures.append)
        self._store = store
        self.ask()

    def _begin_anew(self) -> None:
        self._store.begin_run(NOW, None, "boot-1", "0.1.0", 5)

    def ask(self) -> int | None:
        with self.history.view() as view:
            newest = view.newest()
        return newest.ts if newest else None


@pytest.fixture
def recovering(path: Path, store: Store, clock: FakeClock, fill: Fill) -> Any:
    fill(NOW, 300, begins=Break(None, None), cpu_percent=1.0)
    recovering = Recovering(path, store, clock)
    yield recovering
    recovering.history.close()


def test_what_is_sound_at_the_second_check_is_not_set_aside(
    recovering: Recovering, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [["database disk image is malformed"], []]
    monkeypatch.setattr(database, "quick_check", lambda _, is_cancelled: found.pop(0))
    failure = StoreFailed("corrupt", "database disk image is malformed")
    assert not recovering.recovery.mend(failure)
    until(lambda: recovering.recovery.mend(failure))
    assert (found, quarantined(path), recovering.recovery.episodes) == ([], [], [])


def test_a_stop_while_the_file_is_examined_leaves_an_ordinary_file(site: Site, new_database: Path) -> None:
    old_history(site.path, new_database, days=30)
    site.start(samples=1)
    site.kill()
    site.start(samples=1)
    assert site.stop() == 0
    assert "another program" not in site.logged()
    assert [file.name for file in sorted(site.path.parent.glob("tidemark.db-*"))] == []


def test_damage_that_only_a_reader_meets_is_examined_and_set_aside(recovering: Recovering, path: Path) -> None:
    recovering.recovery.check_file()
    assert recovering.recovery.episodes == []
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _harm(path, "pages")
    recovering.history.forget()
    with pytest.raises(HistoryUnreadable):
        recovering.ask()
    until(lambda: recovering.recovery.check_file() or recovering.recovery.episodes)
    assert len(quarantined(path)) == 1
    assert not recovering.history.was_damaged()


def test_what_the_disk_does_not_give_whole_is_not_set_aside(
    recovering: Recovering, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: Path) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(database, "read_through", refuse)
    failure = StoreFailed("corrupt", "database disk image is malformed")
    until(lambda: recovering.recovery.mend(failure) or "stays where it is" in caplog.text)
    assert (quarantined(path), recovering.failures) == ([], [])


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_a_file_that_loses_its_name_is_written_again_whole(
    recovering: Recovering, fill: Fill, path: Path, how: str
) -> None:
    path.unlink() if how == "removed" else path.rename(path.with_name("moved.db"))
    fill(NOW + 1500, 100, cpu_percent=2.0)
    recovering.recovery.check_file()
    fill(NOW + 2000, 1, cpu_percent=3.0)
    assert problems(path) == []
    with reader(path) as connection:
        assert connection.execute("SELECT count(*), max(ts) FROM sample").fetchone() == (401, NOW + 2000)
    assert recovering.ask() == NOW + 2000
    assert len(recovering.recovery.episodes) == 1


def test_a_log_that_is_removed_is_noticed_at_the_next_check(recovering: Recovering, fill: Fill, path: Path) -> None:
    Path(f"{path}-wal").unlink()
    fill(NOW + 1500, 1, begins=Break(NOW + 1495, None), cpu_percent=2.0)
    recovering.recovery.check_file()
    fill(NOW + 1505, 1, begins=Break(NOW + 1500, None), cpu_percent=2.0)
    with reader(path) as connection:
        assert connection.execute("SELECT count(*), max(ts) FROM sample").fetchone() == (302, NOW + 1505)


def test_a_file_that_loses_its_name_on_a_full_disk_is_kept_in_hand_until_it_can_be_written(
    recovering: Recovering, fill: Fill, path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.unlink()
    blocker = path.with_name(f".{path.name}.part")
    blocker.mkdir()
    recovering.recovery.check_file()
    assert not path.exists()
    fill(NOW + 1500, 1, cpu_percent=2.0)
    blocker.rmdir()
    recovering.recovery.check_file()
    assert problems(path) == []
    with reader(path) as connection:
        assert connection.execute("SELECT count(*) FROM sample").fetchone() == (301,)


def test_a_folder_that_is_removed_comes_back_with_the_history(recovering: Recovering, fill: Fill, path: Path) -> None:
    shutil.rmtree(path.parent)
    fill(NOW + 1500, 1, cpu_percent=2.0)
    recovering.recovery.check_file()
    with reader(path) as connection:
        assert connection.execute("SELECT count(*) FROM sample").fetchone() == (301,)


def test_a_file_that_is_replaced_gets_the_history_from_then_on_and_no_strangers_log(
    recovering: Recovering, fill: Fill, path: Path, new_database: Path
) -> None:
    other = path.with_name("other.db")
    shutil.copy(new_database, other)
    other.rename(path)
    recovering.recovery.check_file()
    fill(NOW + 1500, 2, begins=Break(None, None), cpu_percent=2.0)
    assert problems(path) == []
    with reader(path) as connection:
        assert connection.execute("SELECT count(*) FROM sample").fetchone() == (2,)
    assert recovering.ask() == NOW + 1505


def test_a_log_that_is_removed_is_begun_anew_and_a_crash_after_that_loses_nothing(
    recovering: Recovering, fill: Fill, path: Path, store: Store, tmp_path: Path
) -> None:
    Path(f"{path}-wal").unlink()
    fill(NOW + 1500, 10, cpu_percent=2.0)
    store.checkpoint()
    fill(NOW + 1550, 10, cpu_percent=2.0)
    # What a crash would leave: the files as they have names now.
    after = tmp_path / "after"
    after.mkdir()
    for file in path.parent.glob("tidemark.db*"):
        shutil.copy(file, after)
    assert problems(after / path.name) == []
    with reader(after / path.name) as connection:
        assert connection.execute("SELECT count(*) FROM sample").fetchone() == (320,)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_daemon_notices_within_a_minute_that_its_file_was_removed(site: Site) -> None:
    site.start(samples=3)
    site.path.unlink()
    begun = time.monotonic()
    until(site.path.exists, 75)
    print(f"removed; written again after {time.monotonic() - begun:.0f} s")
    site.wait_for(2)
    site.standard_check()
    assert gaps(site.path) == []
    site.kill()
    site.start(samples=1)
    site.standard_check()


# -- rows 22 to 24: backups, restores, no WAL


def test_each_backup_while_it_writes_is_sound(site: Site, tmp_path: Path) -> None:
    site.start(samples=2)
    for number in range(20):
        at_least = site.stored()
        copy = tmp_path / f"copy-{number}.db"
        assert verb(site.path, "backup", str(copy)).returncode == 0
        assert problems(copy) == []
        with reader(copy) as connection:
            assert connection.execute("SELECT count(*) FROM sample").fetchone()[0] >= at_least
    site.standard_check()
    assert gaps(site.path) == []


@pytest.mark.parametrize("what", [("prune",), ("salvage", "other.db")])
def test_a_verb_that_writes_is_refused_while_a_daemon_has_the_database(site: Site, what: tuple[str, ...]) -> None:
    site.start(samples=1)
    done = verb(site.path, *what)
    assert done.returncode == 75
    assert str(site.daemon.process.pid) in done.stderr
    site.standard_check()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_database_that_is_removed_just_before_the_stop_is_written_again(site: Site, what: str) -> None:
    site.start(samples=3)
    if what == "file":
        site.path.unlink()
    else:
        site.path.parent.rename(site.path.parent.with_name("moved"))
    assert site.stop() == 0
    site.holds_all()
    assert sorted(file.name for file in site.path.parent.iterdir() if "ballast" not in file.name) == [
        "tidemark.db",
        "tidemark.db.lock",
    ]


@pytest.mark.parametrize("made_by", ["backup", "sqlite"])
def test_a_copy_put_over_the_database_of_a_killed_daemon_is_kept_and_its_log_set_aside(
    site: Site, new_database: Path, tmp_path: Path, made_by: str
) -> None:
    other, copy = tmp_path / "other" / "tidemark.db", tmp_path / "copy.db"
    old_history(other, new_database, days=2)
    if made_by == "backup":
        assert verb(other, "backup", str(copy)).returncode == 0
    else:
        # Page by page, as `.backup` of the sqlite3 shell does from a running daemon: the copy is in WAL mode too.
        with contextlib.closing(sqlite3.connect(other)) as source, contextlib.closing(sqlite3.connect(copy)) as target:
            source.execute("PRAGMA journal_mode=WAL")
            source.backup(target)
    site.start(samples=3)
    site.kill()
    shutil.copyfile(copy, site.path)
    site.start(samples=2)
    with reader(site.path) as connection:
        assert connection.execute("SELECT count(*) FROM sample WHERE ts < ?", (NOW + 2 * 86400,)).fetchone()[0] == 28800
    assert problems(site.path) == []
    assert "a log " in site.health()["last_error"]
    (log,) = site.path.parent.glob("quarantine/*/tidemark.db-wal")
    assert log.stat().st_size > 0
    assert quarantined(site.path) == []


def test_a_file_that_was_only_touched_after_a_kill_keeps_its_log(site: Site) -> None:
    site.start(samples=3)
    site.kill()
    time.sleep(0.05)
    site.path.chmod(0o600)
    site.start(samples=1)
    site.standard_check()
    assert not (site.path.parent / "quarantine").exists()


def test_a_file_system_without_wal_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    class NoWal:
        def __init__(self, connection: sqlite3.Connection) -> None:
            self._connection = connection

        def execute(self, statement: str, *parameters: Any) -> Any:
            return self._connection.execute(statement.replace("journal_mode=WAL", "journal_mode"), *parameters)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

    monkeypatch.setattr(sqlite3, "connect", lambda *arguments, **options: NoWal(connect(*arguments, **options)))
    with pytest.raises(StoreFailed, match="refuses SQLite's WAL mode"):
        startup.open_store(path, True, NOW)


def test_a_file_that_only_now_and_then_cannot_be_read_stays_where_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(path: Path) -> str:
        raise database.CorruptDatabase(f"{path}: database disk image is malformed")

    monkeypatch.setattr(database, "revision", stumble)
    with pytest.raises(StartFailed, match="cannot read"):
        startup.open_store(path, True, NOW)
    assert quarantined(path) == []


def test_sigterm_on_a_full_or_dead_disk_ends_it_all_the_same(site: Site) -> None:
    site.start(samples=1)
    site.path.unlink()
    assert site.daemon.stop(signal.SIGTERM) in (0, 1)
