"""Copies of the history: exports and backups are whole or not made, also while the daemon writes."""

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.metrics import METRICS
from service.records import Break, Sample
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
