"""Which devices are disks, and what they have moved."""

from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from service.host.disks import Disks, disk_usage
from service.records import Reading


@pytest.fixture(autouse=True)
def by_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the kernel's own file the devices are those that psutil lists; what counts is the same."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/missing")


io = namedtuple("io", "read_bytes write_bytes")
GIB = 2**30


def block(folder: Path, **devices: list[str]) -> str:
    """A /sys/block: device -> the devices on which it stands."""
    for name, slaves in devices.items():
        (folder / name.replace("_", "-") / "slaves").mkdir(parents=True)
        for slave in slaves:
            (folder / name.replace("_", "-") / "slaves" / slave).mkdir()
    return str(folder)


def show(monkeypatch: pytest.MonkeyPatch, **written: int) -> None:
    counters = {name.replace("_", "-"): io(0, count) for name, count in written.items()}
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: counters)
    monkeypatch.setattr(psutil, "LINUX", True)


def written(disks: Disks) -> int | None:
    return disks.read().counters.get("disk_written_bytes")


def test_of_a_raid_with_volumes_only_its_disks_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The figures of the issue: 7 GiB were counted where the hardware wrote 2."""
    show(monkeypatch, sda=GIB, sda1=GIB, sdb=GIB, sdb1=GIB, md0=GIB, dm_0=GIB, zram0=3 * GIB)
    folder = block(tmp_path, sda=[], sdb=[], md0=["sda1", "sdb1"], dm_0=["md0"], zram0=[])
    assert written(Disks(folder)) == 2 * GIB


VIRTUAL = ["loop0", "ram3", "zram0", "md127", "md_d0", "dm-3", "zd16", "drbd1"]
VIRTUAL += ["bcache0", "nbd0", "ublkb2", "zloop1", "nullb0", "cas1-12", "emcpoweraa", "VxDMP3"]


@pytest.mark.parametrize("name", VIRTUAL)
def test_what_stands_on_memory_a_file_or_other_devices_is_no_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    counters = {"vda": io(0, 420), name: io(0, 400)}
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: counters)
    for folder in ("vda", name):
        (tmp_path / folder).mkdir()
    assert written(Disks(str(tmp_path))) == 420


def test_a_device_of_any_name_that_stands_on_another_is_no_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show(monkeypatch, sda=7, bcache0=7)
    assert written(Disks(block(tmp_path, sda=[], bcache0=["sda"]))) == 7


def test_of_nvme_with_several_paths_the_paths_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    show(monkeypatch, nvme0n1=30, nvme0c0n1=10, nvme0c1n1=20, nvme1n1=5)
    assert written(Disks(block(tmp_path, nvme0n1=[], nvme0c0n1=[], nvme0c1n1=[], nvme1n1=[]))) == 35


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "missing"])
def test_where_sys_does_not_say_which_are_disks_nothing_is_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_empty: bool
) -> None:
    show(monkeypatch, sda=GIB, sda1=GIB)
    with pytest.raises(FileNotFoundError):
        Disks(str(tmp_path if is_empty else tmp_path / "block")).read()


def test_a_disk_whose_folder_cannot_be_opened_leaves_nothing_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show(monkeypatch, sda=GIB, sdb=GIB)
    (tmp_path / "sdb").symlink_to("../devices/gone")
    with pytest.raises(FileNotFoundError, match="sdb"):
        Disks(block(tmp_path, sda=[])).read()


def test_a_host_that_has_only_virtual_devices_has_nothing_to_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show(monkeypatch, loop0=GIB)
    assert Disks(block(tmp_path, loop0=[])).read() == Reading()


def test_off_linux_every_device_that_psutil_lists_is_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, disk0=5, disk1=6)
    monkeypatch.setattr(psutil, "LINUX", False)
    assert written(Disks("/missing")) == 11


def test_a_disk_that_is_pulled_out_takes_nothing_along_and_a_new_one_counts_from_its_first_reading(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disks = Disks(block(tmp_path, sda=[], sdb=[], sdc=[]))
    found = []
    for shown in ({"sda": 10, "sdb": 900}, {"sda": 15}, {"sda": 20, "sdc": 700}, {"sda": 20, "sdc": 703}):
        show(monkeypatch, **shown)
        found.append(written(disks))
    assert found == [910, 915, 920, 923]


def test_a_slash_in_a_name_is_an_exclamation_mark_in_sys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: {"cciss/c0d0": io(1, 4), "cciss/c0d0p1": io(1, 4)})
    assert written(Disks(block(tmp_path, **{"cciss!c0d0": []}))) == 4


def test_disk_usage_is_by_the_rule_of_df(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(psutil, "disk_usage", lambda _: usage(1000, 450, 450))  # 100 are kept for root
    assert disk_usage("/") == Reading(gauges={"disk_percent": 50.0})
