"""What `check` says of each thing: that it is well, worth knowing, or has to be put right."""

import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.config import Settings
from service.host.devices import DevicesRead
from service.host.read import Host
from service.records import Break, DeviceReading, Reading, Sample, SourceResult
from service.store import database
from service.store.reader import View
from service.store.writer import Store
from service.upkeep import checks
from service.upkeep.checks import Check, devices, examine, services
from tests.conftest import NOW, FakeClock, Fill, settings_for


@pytest.fixture(autouse=True)
def _a_host_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "read", lambda _: Reading())
    monkeypatch.setattr(checks, "services", lambda: Check("ok", "services", "cgroup v2"))
    monkeypatch.setattr(checks, "devices", lambda _: Check("ok", "devices", "1 of kind disk"))


@pytest.fixture
def found(settings: Settings, clock: FakeClock) -> "Found":
    return Found(settings, clock)


class Found:
    """Asks anew each time; (level, detail) of one thing."""

    def __init__(self, settings: Settings, clock: FakeClock) -> None:
        self._settings, self._clock = settings, clock

    def all(self) -> dict[str, Check]:
        return {check.what: check for check in examine(self._settings, self._clock)}

    def __getitem__(self, what: str) -> tuple[str, str]:
        check = self.all()[what]
        return check.level, check.detail


def test_of_a_history_that_is_well_all_is_well(found: Found, store: Store, fill: Fill) -> None:
    fill(NOW - 60, 12)
    assert {what: check.level for what, check in found.all().items() if what != "SQLite"} == dict.fromkeys(
        ("schema", "integrity", "history", "host", "services", "devices", "disk"), "ok"
    )
    assert found["history"] == ("ok", "2026-01-05T09:59:00Z to 2026-01-05T09:59:55Z")
    assert found["integrity"] == ("ok", "sound")
    assert found["schema"] == ("ok", database.revisions()[-1])


def test_without_a_database_it_says_how_to_begin_and_goes_on(tmp_path: Path, clock: FakeClock) -> None:
    found = Found(settings_for(tmp_path / "none" / "tidemark.db"), clock)
    assert found["database"][0] == "bad"
    assert "no history at" in found["database"][1]
    assert sorted(found.all()) == ["SQLite", "database", "devices", "host", "services"]


def test_a_database_that_is_not_ours_is_bad_and_says_why(path: Path, found: Found) -> None:
    path.write_bytes(b"dear diary\n" * 1000)
    assert found["database"][0] == "bad"
    assert "is not a Tidemark database" in found["database"][1]


def test_an_older_schema_is_a_note(found: Found, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = database.revisions()[-1]
    monkeypatch.setattr(database, "revisions", lambda: (newest, "9998"))
    assert found["schema"] == ("note", f"{newest}; `migrate` brings it up to date")


def test_what_sqlite_finds_wrong_is_bad(found: Found, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(View, "problems", lambda _: ["row 1 missing", "row 2 missing"])
    assert found["integrity"] == ("bad", "row 1 missing; row 2 missing")


def test_without_a_sample_there_is_a_note(found: Found, path: Path) -> None:
    assert found["history"] == ("note", "no sample yet")
    assert "clock" not in found.all()


@pytest.mark.parametrize(("seconds", "is_bad"), [(60, False), (61, True)])
def test_a_sample_more_than_a_minute_in_the_future_is_the_clocks_fault(
    found: Found, store: Store, seconds: int, is_bad: bool
) -> None:
    store.append([Sample(NOW + seconds, 5.0, {}, Break(None, None))])
    assert ("clock" in found.all()) == is_bad
    if is_bad:
        assert found["clock"] == ("bad", "the newest sample lies 61 s in the future: check the host's clock")


@pytest.mark.parametrize(("hours_until", "is_bad"), [(3600, False), (7200, True)])
def test_hours_beyond_their_minutes_are_bad(found: Found, store: Store, hours_until: int, is_bad: bool) -> None:
    store.append([Sample(NOW, 5.0, {}, Break(None, None))])
    store.write(lambda statements: statements.run(f"UPDATE progress SET minutes_until=3600, hours_until={hours_until}"))
    assert (found.all().get("rollups", Check("ok", "", "")).level == "bad") == is_bad


def test_each_source_that_fails_is_bad_by_name(found: Found, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Reading(sources={"disk": SourceResult(0.1, OSError("gone")), "memory": SourceResult(0.1)})
    monkeypatch.setattr(Host, "read", lambda _: failed)
    assert found["host"] == ("bad", "cannot read disk: OSError: gone")


def test_where_all_sources_answer_the_host_is_well(found: Found, path: Path) -> None:
    assert found["host"] == ("ok", "every source can be read")


@pytest.mark.parametrize(("free", "level"), [(100_000_000, "ok"), (99_999_999, "bad")])
def test_less_than_a_hundred_megabytes_free_is_bad(
    found: Found, path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))
    assert found["disk"] == (level, f"100 MB free in {path.parent}")


def test_free_space_is_counted_in_fragments(found: Found, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=50_000, f_frsize=4096))
    assert found["disk"] == ("ok", f"205 MB free in {path.parent}")


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 44, 5), "note"),
        ((3, 44, 6), "ok"),
        ((3, 45, 9), "note"),
        ((3, 50, 6), "note"),
        ((3, 50, 7), "ok"),
        ((3, 51, 2), "note"),
        ((3, 51, 3), "ok"),
        ((3, 52, 0), "ok"),
        ((4, 0, 0), "ok"),
    ],
)
def test_a_sqlite_with_the_wal_reset_bug_is_a_note(
    found: Found, path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], level: str
) -> None:
    """The versions that sqlite.org/wal.html names."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    assert found["SQLite"][0] == level
    assert found["SQLite"][1].startswith(sqlite3.sqlite_version)
    assert ("WAL-reset bug" in found["SQLite"][1]) == (level == "note")


def test_without_cgroups_there_is_a_note(tmp_path: Path) -> None:
    check = services(str(tmp_path))
    assert (check.level, check.what) == ("note", "services")
    assert "usage is known by process name" in check.detail


class FakeDevices:
    def __init__(self, **more: object) -> None:
        now = FakeClock().now()
        found = {
            "disk": (now, {"sda": DeviceReading(())}),
            "interface": (now, {"veth1": DeviceReading((), None, None)}),
        }
        self.found = DevicesRead(**{"devices": found, "errors": {}, "left_out": {}, **more})  # type: ignore[arg-type]

    def read(self) -> DevicesRead:
        return self.found


def test_devices_that_are_recorded_left_out_or_cannot_be_read_are_said() -> None:
    assert devices(FakeDevices()) == Check("ok", "devices", "1 of kind disk and 1 of kind interface are recorded")
    check = devices(FakeDevices(left_out={"interface": 1200, "disk": 0}))
    assert (check.level, check.detail.partition("; ")[2]) == (
        "note", "1,200 of kind interface are left out, beyond the first 500"
    )  # fmt: skip
    check = devices(FakeDevices(errors={"disk": OSError(5, "Input/output error")}))
    assert check == Check("bad", "devices", "cannot read disk: OSError: [Errno 5] Input/output error")
