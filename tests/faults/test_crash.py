"""Rows 1 to 5, 54 by power: kill -9 and power cuts at any moment lose nothing that was acknowledged."""

import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.conftest import MakeDisk, MakeSite
from tests.faults.kit import (
    KILLS,
    POWER_CUTS,
    Site,
    ask,
    begin,
    minutes_of,
    missing,
    near_a_tick,
    needs_root,
    old_history,
    problems,
    reader,
    verb,
)
from tests.faults.kit_disk import Disk
from tests.running import RUN


def _pause(chance: random.Random) -> None:
    """Half of the faults come in the few ms in which a tick stores, the others at any moment."""
    if chance.random() < 0.5:
        near_a_tick(chance.uniform(0.0, 0.02))
    else:
        time.sleep(chance.uniform(0.0, 2.0))


def _kill_again_and_again(site: Site, times: int) -> None:
    chance = random.Random(1)
    starts = []
    for _ in range(times):
        begun = time.monotonic()
        site.start()
        starts.append(time.monotonic() - begun)
        _pause(chance)
        site.kill()
        site.holds_all()
    site.start(samples=2)
    site.standard_check()
    middle, slowest = statistics.median(starts), max(starts)
    print(
        f"{times} kills, {site.stored()} samples acknowledged, 0 missing; start to stored sample: "
        f"median {middle:.2f} s, slowest {slowest:.2f} s"
    )
    # No more than a bound on hanging: how fast depends on what else this machine is doing, and is in benchmarks/.
    assert middle < 20
    assert slowest < 10


def test_kill_9_loses_nothing_acknowledged_and_the_gap_says_killed(site: Site) -> None:
    _kill_again_and_again(site, 3)
    site.kill()
    time.sleep(3)
    site.start()
    _, answer = ask(site.daemon, "/api/v1/gaps?start=-1h")
    assert answer["gaps"][-1]["reason"] == "killed"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kill_9_many_times_loses_nothing_acknowledged(site: Site) -> None:
    _kill_again_and_again(site, KILLS)


def _cut_again_and_again(site: Site, disk: Disk, times: int) -> None:
    chance = random.Random(2)
    for _ in range(times):
        site.start()
        _pause(chance)
        site.cut_power(disk)
        site.holds_all()
    site.start(samples=2)
    site.standard_check()
    print(f"{times} power cuts, {site.stored()} samples acknowledged, 0 missing, integrity ok each time")


def _cut_power(disk: Disk, process: "subprocess.Popen[bytes]") -> None:
    """Cut the power of a disk and of a process that uses it, and mount the disk again."""
    disk.cut_power()
    process.kill()
    process.wait()
    disk.unmount()
    disk.mount()


class TestPowerCut:
    pytestmark = needs_root

    def test_loses_nothing_acknowledged(self, make_disk: MakeDisk, make_site: MakeSite) -> None:
        disk = make_disk()
        _cut_again_and_again(make_site(disk.folder / "data" / "tidemark.db"), disk, 2)

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    def test_many_times_loses_nothing_acknowledged(self, make_disk: MakeDisk, make_site: MakeSite) -> None:
        disk = make_disk()
        _cut_again_and_again(make_site(disk.folder / "data" / "tidemark.db"), disk, POWER_CUTS)

    @pytest.mark.parametrize("after_ms", [250, 350, 450, 550])
    def test_while_the_database_is_being_made_is_no_reason_not_to_start(
        self, make_disk: MakeDisk, make_site: MakeSite, after_ms: int
    ) -> None:
        disk = make_disk()
        site = make_site(disk.folder / "data" / "tidemark.db")
        process = begin(site.path, *RUN)
        time.sleep(after_ms / 1000)
        _cut_power(disk, process)
        site.start(samples=2)
        site.standard_check()
        assert not (site.path.parent / "quarantine").exists()

    @pytest.mark.parametrize("work", ["prune", "backup"])
    def test_amid_rollups_pruning_or_a_backup_leaves_before_or_after(
        self, make_disk: MakeDisk, make_site: MakeSite, new_database: Path, work: str
    ) -> None:
        disk = make_disk()
        site = make_site(disk.folder / "data" / "tidemark.db")
        old_history(site.path, new_database, days=3)
        whole = _summary(site.path)
        for pause in (0.4, 0.6, 0.8):
            process = begin(site.path, "prune") if work == "prune" else _backup(site.path)
            time.sleep(pause)
            _cut_power(disk, process)
            assert problems(site.path) == []
            assert _summary(site.path) == whole
        done = verb(site.path, "prune")
        assert done.returncode == 0, done.stderr
        assert _summary(site.path) == whole
        assert minutes_of(site.path) == whole
        site.start(samples=1)
        site.standard_check()


def test_a_migration_that_was_killed_half_way_is_rolled_back_and_not_taken_for_damage(site: Site) -> None:
    site.start(samples=2)
    assert site.stop() == 0
    before = missing([site.path], site.acked())
    _leave_a_hot_journal(site.path)
    site.start(samples=1)
    site.standard_check()
    assert before == []
    assert not (site.path.parent / "quarantine").exists()


def _backup(path: Path) -> "subprocess.Popen[bytes]":
    target = path.parent / "copy.db"
    target.unlink(missing_ok=True)
    return begin(path, "backup", str(target))


def _summary(path: Path) -> tuple[int, int]:
    """Samples in the history, in whichever tier, and their covered milliseconds: neither may ever change."""
    with reader(path) as connection:
        (until,) = connection.execute("SELECT minutes_until FROM progress").fetchone()
        rolled = connection.execute(
            "SELECT COALESCE(SUM(samples), 0), COALESCE(SUM(covered_ms), 0) FROM minute WHERE ts < ?", (until,)
        ).fetchone()
        raw = connection.execute(
            "SELECT COUNT(*), COALESCE(SUM(covered_ms), 0) FROM sample WHERE ts >= ?", (until,)
        ).fetchone()
    return rolled[0] + raw[0], rolled[1] + raw[1]


def _leave_a_hot_journal(path: Path) -> None:
    """Kill a process amid a large change in rollback mode, such as a migration."""
    code = (
        "import sqlite3, sys, os\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size=1')\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "c.execute('UPDATE alembic_version SET version_num = \"half\"')\n"
        "c.execute('CREATE TABLE half (x)')\n"
        "c.execute('INSERT INTO half WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
        "SELECT randomblob(900) FROM n')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, path], check=False)
    assert Path(f"{path}-journal").stat().st_size > 0
