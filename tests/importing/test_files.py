"""Files of sysstat: those that sadc writes here, old ones, and those that are not what they seem."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.clock import DAY
from service.importing import sadf
from tests.conftest import NOW, Start
from tests.importing.conftest import HOST, ImportSar, Rows, Sar, refused
from tests.running import query, until

PAST = NOW - 30 * DAY
NODE = os.uname().nodename
Sadc = Callable[..., None]

# Metric -> by how much it may differ where 2 % are less: two decimals, and half a second at each end.
COMPARED = {
    "cpu_percent": 0.2,
    "memory_percent": 0.05,
    "disk_percent": 0.02,
    "load_1": 0.02,
    "cpu_pressure": 0.5,
    "io_pressure": 0.5,
    "disk_written_bytes": 0,
    "network_sent_bytes": 0,
    "network_received_bytes": 0,
}
GAUGES = [metric for metric in COMPARED if not metric.endswith("_bytes")]
COUNTERS = [metric for metric in COMPARED if metric.endswith("_bytes")]
AVERAGES = ", ".join(f"SUM({metric} * covered_seconds) / SUM(covered_seconds)" for metric in GAUGES)
THEIRS = ", ".join(f"SUM({metric}_increase) / SUM(covered_seconds)" for metric in COUNTERS)
OURS = ", ".join(f"1.0 * (MAX({metric}) - MIN({metric})) / (MAX(ts) - MIN(ts))" for metric in COUNTERS)
# Writes to the disk, and to itself over the network.
WORK = """
import os, socket, sys
a = socket.create_server(("127.0.0.1", 0))
b = socket.create_connection(a.getsockname())
c = a.accept()[0]
while True:
    with open(sys.argv[1], "wb") as file:
        file.write(bytes(4 << 20))
        os.fsync(file.fileno())
    for _ in range(64):
        b.sendall(bytes(1 << 14))
        c.recv(1 << 14, socket.MSG_WAITALL)
"""


# -- what sadc writes here


def test_what_sadc_records_is_imported_across_a_restart(
    sadc: Sadc, import_sar: ImportSar, rows: Rows, tmp_path: Path
) -> None:
    file = tmp_path / "saA"
    sadc(file, 1, 3)
    sadc(file)
    time.sleep(3)
    sadc(file, 1, 4)
    done = import_sar(file, host=None)
    assert (done.code, done.err) == (0, "")
    assert f" of {NODE}, " in done.out
    assert rows("SELECT SUM(samples), SUM(covered_seconds) FROM minutes") == [(5, 5.0)]
    assert rows("SELECT reason, end_ts - start_ts >= 3 FROM gaps") == [("rebooted", 1)]
    assert rows("SELECT version LIKE 'sysstat 1_._%', boot_time IS NULL FROM runs ORDER BY started") == [(1, 1), (1, 0)]
    assert rows("SELECT MIN(cpu_percent_min) >= 0, MIN(memory_percent) > 0, MIN(disk_percent) > 0 FROM minutes") == [
        (1, 1, 1)
    ]
    before = rows("SELECT * FROM minute")
    assert import_sar(file, host=None).code == 0
    assert rows("SELECT * FROM minute") == before


def test_sysstat_and_tidemark_agree_about_the_same_minute(
    sadc: Sadc, import_sar: ImportSar, rows: Rows, start: Start, tmp_path: Path
) -> None:
    """Both record a minute in which this host works; within 2 % where there is more than rounding."""
    daemon = start("--interval", "2")
    daemon.wait_for_samples(2)
    work = subprocess.Popen([sys.executable, "-c", WORK, str(tmp_path / "written")])
    file = tmp_path / "saA"
    try:
        until(lambda: int(time.time()) % 2 == 0)
        began = int(time.time())
        sadc(file, 2, 31)
        ended = int(time.time())
        daemon.wait_for_samples(1)
    finally:
        work.kill()
        work.wait()
        daemon.stop()
    assert import_sar(file, host=None).code == 0
    theirs = rows(f"SELECT {AVERAGES}, {THEIRS} FROM minutes")[0]
    ours = query(daemon.path, f"SELECT {AVERAGES}, {OURS} FROM samples WHERE ts > {began} AND ts <= {ended}")[0]
    compared = dict(zip(COMPARED, zip(theirs, ours, strict=True), strict=True))
    for metric, least in COMPARED.items():
        their, our = compared[metric]
        if metric.endswith("_pressure") and their is our is None:
            continue  # a kernel without PSI
        assert abs(their - our) <= max(least, 0.02 * our), (metric, compared)


# -- files that are not what they seem


def test_a_file_that_ends_too_soon_is_refused_wherever_it_ends(
    sadc: Sadc, import_sar: ImportSar, rows: Rows, tmp_path: Path
) -> None:
    file, part = tmp_path / "saA", tmp_path / "part"
    sadc(file, 1, 4)
    whole = file.read_bytes()
    for length in range(100, len(whole), len(whole) // 12):
        part.write_bytes(whole[:length])
        assert refused(import_sar(part, host=None)), length
    assert rows("SELECT COUNT(*) FROM minute") == [(0,)]


def test_a_file_of_another_version_is_refused_by_its_name(sadc: Sadc, import_sar: ImportSar, tmp_path: Path) -> None:
    file = tmp_path / "saA"
    sadc(file, 1, 2)
    whole = bytearray(file.read_bytes())
    # struct file_magic (sysstat's sa.h): magic, format, then the version as three bytes.
    whole[2:7] = bytes([0x70, 0x21, 9, 1, 5])
    file.write_bytes(whole)
    assert (
        refused(import_sar(file, host=None)) == "sysstat 9.1.5 recorded it, which this sadf neither reads nor converts"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no file of sysstat that sadf can read"),
        (b"Linux 6.1 (vm)   11/26/26  _x86_64_\n", "no file of sysstat that sadf can read"),
        (bytes(range(256)) * 20, "no file of sysstat that sadf can read"),
        (b"\x1f\x8b\x08 and more", "it is compressed; unpack it first (gunzip)"),
        (b"\xfd7zXZ\0 and more", "it is compressed; unpack it first (unxz)"),
        (b"{", "not the whole output of `sadf -j`"),
        (b'{"sysstat": {"hosts": [{"nodename": "the-host", "statistics": [{"timesta', "not the whole output"),
        (b'{"a": 1}', "not the whole output of `sadf -j`: Object missing required field `sysstat`"),
        (b'{"sysstat": {"hosts": []}}', "it holds 0 hosts"),
        (b"{" + b'"a":[' * 100_000, "not the whole output of `sadf -j`"),
        (b'{"sysstat": {"hosts": [{"nodename": 7, "statistics": []}]}}', "not the whole output"),
    ],
)
def test_what_is_no_file_of_sysstat_is_refused_by_one_line(
    sadc: Sadc,
    import_sar: ImportSar,
    tmp_path: Path,
    content: bytes,
    reason: str,
) -> None:
    (tmp_path / "sa").write_bytes(content)
    assert refused(import_sar(tmp_path / "sa")).startswith(reason)


def test_what_cannot_be_opened_is_refused(import_sar: ImportSar, tmp_path: Path) -> None:
    assert refused(import_sar(tmp_path / "none")) == "No such file or directory"
    assert refused(import_sar(tmp_path)) == "Is a directory"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"utc": 0}, "its times are local"),
        ({"utc": None, "tz": "CET"}, "its times are local"),
        ({"date": "2026-02-30"}, "'2026-02-30' '"),
        ({"time": "x"}, "'"),
        ({"date": "1999-12-31"}, "1999-12-31T"),
        ({"date": "2040-05-07"}, "2040-05-07T"),
        ({"interval": 0}, "an interval of 0 seconds"),
        ({"interval": -1}, "an interval of -1 seconds"),
        ({"interval": DAY + 1}, f"an interval of {DAY + 1} seconds"),
        ({"interval": 182740873229952352}, "an interval of 182740873229952352 seconds"),
        ({"interval": "600"}, "not the whole output of `sadf -j`: Expected `int`, got `str`"),
    ],
)
def test_times_that_cannot_be_refuse_the_whole_file(
    sar: Sar, import_sar: ImportSar, rows: Rows, wrong: dict[str, Any], reason: str
) -> None:
    file = sar([PAST, PAST + 600, PAST + 1200])
    whole = json.loads(file.read_text())
    whole["sysstat"]["hosts"][0]["statistics"][2]["timestamp"].update(wrong)
    file.write_text(json.dumps(whole))
    assert refused(import_sar(file)).startswith(reason)
    assert rows("SELECT COUNT(*) FROM minute") == [(0,)]


def test_times_that_do_not_rise_refuse_the_file(sar: Sar, import_sar: ImportSar) -> None:
    assert refused(import_sar(sar([PAST + 600, PAST + 600]))).startswith("its times do not rise at ")
    assert refused(import_sar(sar([PAST + 600, PAST]))).startswith("its times do not rise at ")


def test_a_restart_at_an_impossible_time_refuses_the_file(sar: Sar, import_sar: ImportSar) -> None:
    assert refused(import_sar(sar([PAST], boots=[3_000_000_000]))).startswith("2065-01-24T")


def test_utc_is_taken_as_newer_versions_write_it(sar: Sar, import_sar: ImportSar) -> None:
    file = sar([PAST])
    file.write_text(file.read_text().replace('"utc": 1', '"tz": "UTC"'))
    assert import_sar(file).code == 0


def test_a_file_of_another_host_is_refused_unless_it_is_named(sar: Sar, import_sar: ImportSar) -> None:
    file = sar([PAST], host="other")
    reason = refused(import_sar(file))
    assert reason == f"recorded on 'other', and this is '{HOST}'; --host other imports it all the same"
    assert refused(import_sar(file, host=None)).startswith(f"recorded on 'other', and this is '{NODE}'")
    assert import_sar(file, host="other").code == 0


def test_one_bad_file_among_good_ones_costs_nothing_else(
    sar: Sar, import_sar: ImportSar, rows: Rows, tmp_path: Path
) -> None:
    done = import_sar(sar([PAST]), tmp_path / "none", sar([PAST + 1200]))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"20 minutes of {HOST}, " in done.out
    assert "from 2 files of sysstat" in done.out
    assert rows("SELECT COUNT(*) FROM minutes") == [(20,)]


# -- sadf that is missing, old, stuck, or mad


@pytest.fixture
def fake_sadf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A shell script in place of sadf; returns a file for it."""

    def write(script: str) -> Path:
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "sadf"
        program.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        (tmp_path / "sa").write_bytes(b"\x96\xd5")
        return tmp_path / "sa"

    return write


OLD = 'echo "Invalid file: created by sar/sadc from sysstat version 11.6.5" >&2; exit 3'


def test_without_sysstat_the_line_says_what_to_do(
    import_sar: ImportSar, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sa").write_bytes(b"\x96\xd5")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refused(import_sar(tmp_path / "sa")) == "no sadf here: install sysstat, or give the output of `sadf -j`"


def test_an_old_file_is_converted_first(
    fake_sadf: Callable[[str], Path], sar: Sar, import_sar: ImportSar, rows: Rows
) -> None:
    whole = sar([PAST])
    file = fake_sadf(
        f'case $1 in -c) echo converted ;; -j) if grep -q converted "$2"; then cat {whole}; else {OLD}; fi ;; esac'
    )
    assert import_sar(file).out.endswith("from 1 file of sysstat 11.6.5\n")
    assert rows("SELECT version FROM runs") == [("sysstat 11.6.5",)]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (f"case $1 in -j) {OLD} ;; *) kill -SEGV $$ ;; esac", "sysstat 11.6.5 recorded it, which this sadf neither"),
        (f"case $1 in -j) {OLD} ;; *) echo x ;; esac", "sysstat 11.6.5 recorded it; converted, no file of sysstat"),
        ("kill -SEGV $$", "sadf crashed on it (signal 11)"),
        ('echo "Usage: sadf [ options ]" >&2; exit 1', "this sadf is too old"),
        ("exec sleep 100", "sadf has not come to an end within 1 s"),
        ("exec yes", "more than 1 MB of JSON"),
    ],
)
def test_whatever_sadf_does_is_one_line(
    fake_sadf: Callable[[str], Path],
    import_sar: ImportSar,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    reason: str,
) -> None:
    monkeypatch.setattr(sadf, "SECONDS", 1)
    monkeypatch.setattr(sadf, "MOST_BYTES", 10**6)
    assert refused(import_sar(fake_sadf(script))).startswith(reason)


def test_sadf_is_asked_in_c_and_utc_whatever_the_user_has_set(
    fake_sadf: Callable[[str], Path], sar: Sar, import_sar: ImportSar, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("S_TIME_FORMAT", "ISO")
    file = fake_sadf(f'env > {tmp_path}/env; echo "$@" >> {tmp_path}/said; cat {sar([PAST])}')
    assert import_sar(file).code == 0
    assert {"LC_ALL=C", "TZ=UTC"} <= set((tmp_path / "env").read_text().split())
    assert "S_TIME_FORMAT" not in (tmp_path / "env").read_text()
    assert (tmp_path / "said").read_text().splitlines()[0] == f"-j {file} -- -u ALL -r ALL -S -q ALL -n DEV -b -F MOUNT"
