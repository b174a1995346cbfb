"""Copies of the history: exports and backups are whole or not made, also while the daemon writes."""

import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.errors import TidemarkError
from service.metrics import METRICS
from service.place import CHECKOUT as ROOT
from service.records import Break, Sample
from service.store import durable
from service.store.reader import History
from service.store.tiers import HOURS, MINUTES, SAMPLES
from service.store.writer import Store
from service.upkeep import archive
from service.upkeep.archive import CopyFailed
from tests.conftest import NOW, Fill


def test_the_next_backup_removes_what_a_killed_one_left(store: Store, path: Path, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 3, cpu_percent=1)
    gone = subprocess.Popen(["true"])
    gone.wait()
    mine, other, living = (tmp_path / f".{name}.part" for name in (f"b.db.{gone.pid}", f"c.db.{gone.pid}", "b.db.1"))
    for odd in ("b.db.x", f"b.db.{10**30}", "b.db."):
        (tmp_path / f".{odd}.part").write_bytes(b"")
    for part in (mine, other, living):
        part.write_bytes(b"half")
    archive.backup(path, tmp_path / "b.db")
    assert [part.exists() for part in (mine, other, living)] == [False, True, True]


def exported(history: History, form: str, out: Path, tier: object = SAMPLES) -> str:
    archive.export(history, tier, 0, NOW + 10**6, form, out, lambda _: None)  # type: ignore[arg-type]
    return out.read_text()


def test_csv_has_every_row_under_the_columns_of_the_view(history: History, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 30, cpu_percent=lambda i: i + 0.5)
    rows = list(csv.DictReader(io.StringIO(exported(history, "csv", tmp_path / "out.csv"))))
    assert [float(row["cpu_percent"]) for row in rows] == [i + 0.5 for i in range(30)]
    assert list(rows[0]) == ["ts", "time", "covered_seconds", *(metric.name for metric in METRICS)]
    assert rows[0]["swap_percent"] == ""


def test_json_lines_have_null_where_nothing_is_known(history: History, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 3, cpu_percent=1)
    lines = [json.loads(line) for line in exported(history, "jsonl", tmp_path / "out").splitlines()]
    assert [line["ts"] for line in lines] == [NOW, NOW + 5, NOW + 10]
    assert lines[0]["swap_percent"] is None


@pytest.mark.parametrize(("tier", "rows"), [(MINUTES, 120), (HOURS, 2)])
def test_any_tier_can_be_exported(
    store: Store, history: History, fill: Fill, tmp_path: Path, tier: object, rows: int
) -> None:
    fill(NOW, 1445)
    while store.roll_up():
        pass
    assert len(exported(history, "csv", tmp_path / "out", tier).splitlines()) == 1 + rows


def test_an_empty_history_is_a_header(store: Store, history: History, tmp_path: Path) -> None:
    del store
    assert exported(history, "csv", tmp_path / "out").startswith("ts,time,")


def test_pieces_join_without_seam(
    history: History, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.reader.ROWS_AT_ONCE", 33)
    fill(NOW, 200)
    done: list[float] = []
    assert archive.export(history, SAMPLES, NOW, NOW + 1000, "csv", tmp_path / "out", done.append) == 200
    assert sum(done) == 1000


def test_an_export_that_fails_leaves_nothing(history: History, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 3)
    with pytest.raises(CopyFailed, match="cannot write"):
        archive.export(history, SAMPLES, 0, NOW + 99, "csv", tmp_path / "missing" / "out.csv", lambda _: None)
    assert not (tmp_path / "missing").exists()


def test_an_export_cut_off_keeps_the_old_file(history: History, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 3)
    (tmp_path / "out").write_text("old")

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.export(history, SAMPLES, 0, NOW + 99, "csv", tmp_path / "out", stop)
    assert (tmp_path / "out").read_text() == "old"
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob(".*.part"))


def test_an_export_to_a_fifo_goes_through_it(history: History, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 3)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE, text=True)
    archive.export(history, SAMPLES, 0, NOW + 99, "csv", fifo, lambda _: None)
    assert len(reader.communicate(timeout=10)[0].splitlines()) == 4
    assert fifo.is_fifo()
    assert os.listdir(tmp_path).count("fifo") == 1


def test_an_export_to_a_device_goes_through_it(history: History, fill: Fill) -> None:
    fill(NOW, 3)
    # In its file system nothing can be made or renamed, unlike in /dev.
    terminal, device = os.openpty()
    archive.export(history, SAMPLES, 0, NOW + 99, "csv", Path(os.ttyname(device)), lambda _: None)
    assert os.read(terminal, 1000).startswith(b"ts,time,")


def test_an_export_that_a_fifo_takes_no_more_of_says_so(history: History, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 3)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = subprocess.Popen([sys.executable, "-c", f"open({str(fifo)!r})"])
    with pytest.raises(CopyFailed, match="fifo: Broken pipe"):
        archive.export(history, SAMPLES, 0, NOW + 99, "csv", fifo, lambda _: reader.wait())
    assert fifo.is_fifo()


@pytest.mark.parametrize("is_there", [True, False])
def test_an_export_to_a_symlink_replaces_its_target_and_keeps_the_link(
    history: History, fill: Fill, tmp_path: Path, is_there: bool
) -> None:
    fill(NOW, 3)
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "out.csv", tmp_path / "link.csv"
    if is_there:
        target.write_text("old")
    link.symlink_to(Path("there", "out.csv"))
    assert len(exported(history, "csv", link).splitlines()) == 4
    assert link.is_symlink()
    assert os.listdir(target.parent) == ["out.csv"]


@pytest.mark.parametrize("suffix", ["", "-wal", ".lock", "link"])
def test_an_export_over_the_history_itself_is_refused(path: Path, fill: Fill, suffix: str) -> None:
    fill(NOW, 3)
    out = Path(f"{path}{suffix}")
    if suffix == "link":
        out.symlink_to(path)
    before = path.stat().st_ino
    done = subprocess.run(
        [sys.executable, ROOT / "manage.py", "--database", path, "export", "--start", "-1h", "--out", out],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"tidemark: {out} belongs to the history itself; name another file\n"
    assert path.stat().st_ino == before


def test_a_backup_does_not_replace_a_link_that_leads_nowhere(path: Path, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 1)
    (tmp_path / "link.db").symlink_to("nowhere.db")
    with pytest.raises(CopyFailed, match="exists"):
        archive.backup(path, tmp_path / "link.db")
    assert (tmp_path / "link.db").is_symlink()


def test_a_backup_made_while_the_daemon_writes_is_whole(store: Store, path: Path, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 5000, **{metric.name: 777 for metric in METRICS})
    stop = threading.Event()

    def write() -> None:
        ts = NOW + 25_000
        while not stop.is_set():
            ts += 5
            store.append([Sample(ts, 5.0, {"cpu_percent": 1})])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            archive.backup(path, tmp_path / f"copy-{number}.db")
    finally:
        stop.set()
        writer.join()
    for number in range(5):
        copy = sqlite3.connect(tmp_path / f"copy-{number}.db")
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM samples").fetchone()[0] >= 5000
        copy.close()


def test_a_backup_is_a_database_that_the_daemon_goes_on_with(path: Path, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 10)
    archive.backup(path, tmp_path / "copy.db")
    restored = Store(tmp_path / "copy.db")
    restored.open()
    assert restored.begin_run(NOW + 60, None, None, "0.1.0", 5) == Break(NOW + 45, "killed")
    restored.close()


def test_a_backup_does_not_replace_a_file(path: Path, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 1)
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(CopyFailed, match="exists"):
        archive.backup(path, tmp_path / "precious")
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_backup_that_fails_leaves_nothing(path: Path, tmp_path: Path) -> None:
    with pytest.raises(CopyFailed):
        archive.backup(path, tmp_path / "missing" / "copy.db")
    assert not list(tmp_path.glob("**/*.part"))


def test_a_copy_that_is_not_sound_is_not_kept(
    path: Path, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(NOW, 1)
    monkeypatch.setattr("service.store.reader.View.problems", lambda _: ["row 1 missing"])
    with pytest.raises(CopyFailed, match="not sound"):
        archive.backup(path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def inodes_synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of every file and folder that is fsynced from now on."""
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_ino), fsync(descriptor)))
    return synced


def test_a_backup_is_on_the_disk_with_its_name_when_it_is_reported(
    path: Path, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(NOW, 3)
    synced = inodes_synced(monkeypatch)
    (tmp_path / "elsewhere").mkdir()
    archive.backup(path, tmp_path / "elsewhere" / "copy.db")
    assert synced == [file.stat().st_ino for file in (tmp_path / "elsewhere" / "copy.db", tmp_path / "elsewhere")]


def test_an_export_is_on_the_disk_with_its_name_when_it_is_reported(
    history: History, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(NOW, 3)
    synced = inodes_synced(monkeypatch)
    exported(history, "csv", tmp_path / "out")
    assert synced == [(tmp_path / "out").stat().st_ino, tmp_path.stat().st_ino]


# -- restore


def samples(path: Path) -> int:
    connection = sqlite3.connect(path)
    (count,) = connection.execute("SELECT COUNT(*) FROM samples").fetchone()
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    return int(count)


@pytest.fixture
def copy(store: Store, path: Path, fill: Fill, tmp_path: Path) -> Path:
    """A backup of ten samples; the database has ninety more since, in its log."""
    fill(NOW, 10)
    archive.backup(path, tmp_path / "copy.db")
    fill(NOW + 50, 90)
    return tmp_path / "copy.db"


def killed(path: Path, tmp_path: Path) -> Path:
    """What `kill -9` leaves of the database: the file and its log, which is not applied yet."""
    (tmp_path / "killed").mkdir()
    for part in (path, Path(f"{path}-wal")):
        assert part.stat().st_size
        shutil.copy(part, tmp_path / "killed" / part.name)
    return tmp_path / "killed" / path.name


def test_a_restored_copy_is_whole_though_a_log_of_another_stood_there(copy: Path, path: Path, tmp_path: Path) -> None:
    left = killed(path, tmp_path)
    before = copy.read_bytes()
    size, aside = archive.restore(left, copy, NOW)
    assert aside is not None
    assert (size, samples(left), copy.read_bytes()) == (left.stat().st_size, 10, before)
    assert samples(aside / left.name) == 100
    assert sorted(part.name for part in left.parent.iterdir()) == ["replaced", "tidemark.db"]
    assert left.stat().st_mode & 0o777 == 0o640


def test_a_copy_is_restored_where_nothing_stood(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert archive.restore(tmp_path / "new" / "t.db", copy, NOW)[1] is None
    assert samples(tmp_path / "new" / "t.db") == 10


def test_a_history_is_restored_any_number_of_times(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    folders = {archive.restore(tmp_path / "new" / "t.db", copy, NOW + number)[1] for number in range(8)}
    assert len(folders) == 8


def test_what_stood_there_stays_where_the_copy_is_no_good(copy: Path, path: Path, tmp_path: Path) -> None:
    left, whole = killed(path, tmp_path), copy.read_bytes()
    (tmp_path / "torn").write_bytes(whole[:4096] + b"\xaa" * 4096 + whole[8192:])
    (tmp_path / "notes").write_text("dear diary\n" * 100)
    (tmp_path / "empty").touch()
    newer = sqlite3.connect(shutil.copy(copy, tmp_path / "newer"))
    with newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.close()
    for name in ("torn", "notes", "empty", "newer", "missing"):
        with pytest.raises(TidemarkError):
            archive.restore(left, tmp_path / name, NOW)
    with pytest.raises(CopyFailed, match="the database itself"):
        archive.restore(left, left, NOW)
    assert sorted(part.name for part in left.parent.iterdir()) == ["tidemark.db", "tidemark.db-wal"]
    assert samples(left) == 100


def test_a_copy_is_on_the_disk_before_what_stood_there_goes(
    copy: Path, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, order = killed(path, tmp_path), []
    move, replace, sync = Path.rename, os.replace, durable.sync
    monkeypatch.setattr(Path, "rename", lambda one, to: order.append("moved") or move(one, to))
    monkeypatch.setattr(os, "replace", lambda one, to: order.append("replaced") or replace(one, to))
    monkeypatch.setattr(durable, "sync", lambda *paths: order.append("synced") or sync(*paths))
    archive.restore(left, copy, NOW)
    assert order == ["synced", "moved", "moved", "synced", "replaced", "synced"]


# -- what the copies are


def test_without_a_file_an_export_goes_to_stdout(
    history: History, fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(NOW, 3)
    assert archive.export(history, SAMPLES, 0, NOW + 99, "csv", None, lambda _: None) == 3
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_each_copy_is_for_the_owner_to_write_and_for_the_group_to_read(
    history: History, path: Path, fill: Fill, tmp_path: Path
) -> None:
    fill(NOW, 3)
    exported(history, "csv", tmp_path / "out")
    archive.backup(path, tmp_path / "copy.db")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("out", "copy.db")] == [0o640] * 2


def test_a_backup_reports_its_size_and_holds_no_file_open(path: Path, fill: Fill, tmp_path: Path) -> None:
    fill(NOW, 3)
    assert archive.backup(path, tmp_path / "copy.db") == (tmp_path / "copy.db").stat().st_size
    assert not [target for target in map(os.path.realpath, Path("/proc/self/fd").iterdir()) if "copy.db" in target]


def test_only_where_stdout_goes_is_stdout(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    asked = "from pathlib import Path; from service.upkeep import archive; print(archive.is_stdout(Path({!r})))"
    for name, expected in (("out", "True"), ("other", "False")):
        with (tmp_path / "out").open("w") as out:
            program = asked.format(str(tmp_path / name))
            subprocess.run([sys.executable, "-c", program], stdout=out, cwd=ROOT, check=True)
        assert (tmp_path / "out").read_text().strip() == expected


def test_a_copy_that_is_not_sound_is_not_restored(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source is sound, and what the disk made of it is not."""
    found = [[], ["row 1 missing"]]
    monkeypatch.setattr("service.store.reader.View.problems", lambda _: found.pop(0))
    (tmp_path / "new").mkdir()
    with pytest.raises(CopyFailed, match="not sound, so it is not used: row 1 missing"):
        archive.restore(tmp_path / "new" / "t.db", copy, NOW)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(("account", "owners"), [(0, [(123, 456)]), (1000, [])])
def test_where_root_restores_the_daemon_owns_the_file(
    copy: Path, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: int, owners: list[tuple[int, int]]
) -> None:
    left, given = killed(path, tmp_path), []
    stat = Path.stat

    def owned(one: Path, **how: bool) -> os.stat_result:
        found = list(stat(one, **how))
        return os.stat_result([*found[:4], 123, 456, *found[6:]])

    monkeypatch.setattr(os, "geteuid", lambda: account)
    monkeypatch.setattr(os, "chown", lambda _, user, group: given.append((user, group)))
    monkeypatch.setattr(Path, "stat", owned)
    archive.restore(left, copy, NOW)
    assert given == owners
