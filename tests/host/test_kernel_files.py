"""The kernel's own files, read a page at a time from where they are open, give what psutil makes of them."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.host.counts import OpenFileCounter
from service.host.cpu import Cpus
from service.host.disks import Disks
from service.host.memory import Memory, Paging
from service.host.network import Network, Tcp
from service.host.read import Host
from service.host.source import READ_ERRORS, KeptOpen
from service.records import OpenFiles, Reading

if not psutil.LINUX:
    pytest.skip("only Linux has these files", allow_module_level=True)


# psutil warns of what it does not find in meminfo.
pytestmark = pytest.mark.filterwarnings("ignore:.*couldn't be determined:RuntimeWarning")


# -- hosts, as the files of a /proc; `block` has the whole devices of /sys/block, `online` the CPUs

HEAD = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|"
    "bytes    packets errs drop fifo colls carrier compressed\n"
)


TASKS = "processes 71\nprocs_running 3\nprocs_blocked 2\nsoftirq 9 1 8\n"
# psutil knows none of these, or counts another thing under that name.
UNKNOWN_TO_PSUTIL = {"memory_buffers_bytes", "memory_cached_bytes", "memory_dirty_bytes", "major_faults", "oom_kills"}
UNKNOWN_TO_PSUTIL |= {"forks", "processes_running", "processes_blocked"}


def stat(*cpus: int, states: str = "7 401 90210 33 0 12 55 0 0") -> str:
    lines = [f"cpu{number} {1000 + number} {states}\n" for number in cpus]
    return f"cpu  {len(cpus) * 1000} {states}\n{''.join(lines)}intr 32979424{' 0' * 8000}\nctxt 1\nbtime 1\n{TASKS}"


def meminfo(**kilobytes: int) -> str:
    return "".join(f"{name + ':':15} {count:8} kB\n" for name, count in kilobytes.items())


def interface(name: str, received: int, sent: int) -> str:
    return f"{name:>6}: {received:7} 12 0 0 0 0 0 3 {sent:8} 9 0 0 0 0 0 0\n"


def device(name: str, major: int, minor: int, columns: int = 20) -> str:
    numbers = " ".join(str(major * 1000 + minor * 10 + place) for place in range(columns - 3))
    return f"{major:4} {minor:7} {name} {numbers}\n"


USUAL = {
    "stat": stat(0, 1),
    "meminfo": meminfo(MemTotal=16368, MemFree=1000, MemAvailable=9000, Buffers=5, Cached=7, SwapTotal=99, SwapFree=33),
    "net/dev": HEAD + interface("lo", 700, 700) + interface("eth0", 2**41, 5),
    "diskstats": device("vda", 252, 0) + device("vda1", 252, 1) + device("vdb", 252, 16),
    "block": "vda vdb",
    "online": "0-1\n",
}
OLD = meminfo(MemTotal=16368, MemFree=1000, Buffers=5, Cached=700, SwapCached=0, **{"Active(file)": 50})
OLD += meminfo(**{"Inactive(file)": 60}, SwapTotal=0, SwapFree=0, Slab=9, SReclaimable=4)
# Those that the kernel's way can read by itself.
READ_DIRECTLY: Mapping[str, Mapping[str, str]] = {
    "usual": {},
    "hundreds of CPUs": {"stat": stat(*range(384)), "online": "0-383\n"},
    "a CPU offline": {"stat": stat(0, 2, 3), "online": "0,2-3\n"},
    "lxcfs with 2 of 32 CPUs": {"stat": stat(0, 1), "online": "0-31\n"},
    "300 veths": {"net/dev": HEAD + "".join(interface(f"veth{n:08x}", n, 2 * n) for n in range(300))},
    "no space behind the colon": {"net/dev": HEAD + "eth0:4294967295 1 0 0 0 0 0 0 77 1 0 0 0 0 0 0\n"},
    "an alias": {"net/dev": HEAD + interface("eth0:1", 5, 6)},
    "a name that is no text": {"net/dev": HEAD + interface("w\udcff\u00fc", 5, 6)},
    "no interface": {"net/dev": HEAD},
    "60 loops and rams": {
        "diskstats": "".join(device(f"loop{n}", 7, n) + device(f"ram{n}", 1, n) for n in range(60))
        + device("sda", 8, 0),
        "block": " ".join([*(f"loop{n} ram{n}" for n in range(60)), "sda"]),
    },
    "only loops": {"diskstats": device("loop0", 7, 0), "block": "loop0"},
    "no disk": {"diskstats": ""},
    "NVMe with paths": {
        "diskstats": "".join(device(name, 259, n) for n, name in enumerate(["nvme0n1", "nvme0c0n1", "nvme0n1p1"])),
        "block": "nvme0n1 nvme0c0n1",
    },
    "a slash in a name": {"diskstats": device("cciss/c0d0", 104, 0), "block": "cciss!c0d0"},
    "a name that is a number": {"diskstats": device("7", 252, 7), "block": "7"},
    "without discards, before 4.18": {"diskstats": device("sda", 8, 0, 14) + device("sda1", 8, 1, 14), "block": "sda"},
    "short partitions, before 2.6.25": {"diskstats": device("hda", 3, 0, 14) + device("hda1", 3, 1, 7), "block": "hda"},
    "lxcfs's devices": {"diskstats": "252       0 vda" + " 7" * 15 + "\n", "block": "vda"},
    "no swap": {"meminfo": meminfo(MemTotal=9, MemFree=1, MemAvailable=5, Buffers=0, SwapTotal=0, SwapFree=0)},
    "all of swap in use": {"meminfo": meminfo(MemTotal=9, MemFree=1, MemAvailable=9, SwapTotal=7, SwapFree=0)},
}
# Those of which psutil makes something, or says what is wrong.
LEFT_TO_PSUTIL: Mapping[str, Mapping[str, str]] = {
    "no MemAvailable, before 3.14": {"meminfo": OLD},
    "MemAvailable is 0": {"meminfo": OLD.replace("Buffers:", "MemAvailable:    0 kB\nBuffers:")},
    "more available than there is": {"meminfo": OLD.replace("Buffers:", "MemAvailable: 99999 kB\nBuffers:")},
    "memory in another order": {"meminfo": meminfo(MemFree=1, MemAvailable=5, MemTotal=9, SwapFree=2, SwapTotal=4)},
    "no MemTotal": {"meminfo": meminfo(MemFree=1, MemAvailable=5)},
    "no memory": {"meminfo": meminfo(MemTotal=0, MemFree=0, MemAvailable=0)},
    "impossible swap": {"meminfo": meminfo(MemTotal=9, MemFree=1, MemAvailable=9, SwapTotal=7, SwapFree=8)},
    "no interrupts": {"stat": stat(0, 1).replace("intr", "other")},
    "other lines among the CPUs": {"stat": stat(0, 1).replace("intr", "page 1 2 3 4 5 6 7 8 9\nintr")},
    "no CPU": {"stat": "intr 5\nctxt 1\n"},
    "no single CPU": {"stat": stat()},
    "CPUs without steal": {"stat": stat(0, 1, states="7 401 90210 33 0 12")},
    "a negative state": {"stat": stat(0, 1, states="7 401 -5 33 0 12 5 0 0")},
    "words for numbers": {"stat": stat(0, states="a b c d e f g h i"), "net/dev": HEAD + "eth0: a b\n"},
    "an interface with fewer columns": {"net/dev": HEAD + "eth0: 5 6 7\n"},
    "an interface with 12 columns": {"net/dev": HEAD + "eth0:" + " 5" * 12 + "\n"},
    "a network without head": {"net/dev": ""},
    "devices of 16 columns": {"diskstats": device("sda", 8, 0, 16), "block": "sda"},
    "an empty line": {"diskstats": "\n", "net/dev": HEAD + "\n", "meminfo": "\n", "stat": "\n"},
    "nothing": dict.fromkeys(("stat", "meminfo", "net/dev", "diskstats"), ""),
}


def lay_out(folder: Path, files: Mapping[str, str | bytes]) -> None:
    (folder / "net").mkdir(exist_ok=True)
    for name, text in {
        **USUAL,
        "zoneinfo": "    low  3\n",
        "vmstat": "nr_free_pages 5\npswpin 1\npswpout 2\n",
        **files,
    }.items():
        if name == "block":
            for whole in str(text).split():
                (folder / "block" / whole / "slaves").mkdir(parents=True, exist_ok=True)
        else:
            (folder / name).write_bytes(text if isinstance(text, bytes) else os.fsencode(text))


Readers = Mapping[str, Callable[[], Reading]]


def readers(proc: Path, monkeypatch: pytest.MonkeyPatch, by_psutil: bool = False) -> Readers:
    """By what they read. `by_psutil`: they find no file of the kernel, and psutil does."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/missing" if by_psutil else str(proc))
    cpus, memory, network, disks = Cpus(str(proc / "online")), Memory(), Network(), Disks(str(proc / "block"))
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(proc))
    return {
        "cpu": cpus.all,
        "each_cpu": cpus.each,
        "activity": cpus.activity,
        "memory": memory.memory,
        "swap": memory.swap,
        "network": network.read,
        "disk_io": disks.read,
    }


def outcome(read: Callable[[], Reading]) -> Reading | type[Exception]:
    """Of what psutil knows too."""
    try:
        reading = read()
        gauges = {name: value for name, value in reading.gauges.items() if name not in UNKNOWN_TO_PSUTIL}
        counters = {name: value for name, value in reading.counters.items() if name not in UNKNOWN_TO_PSUTIL}
        return reading._replace(gauges=gauges, counters=counters)
    except READ_ERRORS as error:
        return type(error)


def outcomes(given: Readers) -> dict[str, Reading | type[Exception]]:
    return {name: outcome(read) for name, read in given.items()}


def without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("psutil was asked")

    for call in ("cpu_times", "cpu_stats", "virtual_memory", "swap_memory", "net_io_counters", "disk_io_counters"):
        monkeypatch.setattr(psutil, call, fail)


# -- both ways


@pytest.mark.parametrize("host", READ_DIRECTLY)
def test_what_the_kernel_writes_is_read_without_psutil_and_as_psutil_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    lay_out(tmp_path, READ_DIRECTLY[host])
    expected = outcomes(readers(tmp_path, monkeypatch, by_psutil=True))
    without_psutil(monkeypatch)
    kernels = readers(tmp_path, monkeypatch)
    assert [outcomes(kernels), outcomes(kernels)] == [expected, expected]


@pytest.mark.parametrize("host", LEFT_TO_PSUTIL)
def test_of_what_is_not_as_the_kernel_writes_it_the_result_is_psutils(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    lay_out(tmp_path, LEFT_TO_PSUTIL[host])
    expected = outcomes(readers(tmp_path, monkeypatch, by_psutil=True))
    assert outcomes(readers(tmp_path, monkeypatch)) == expected


def test_of_this_host_both_ways_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, str | bytes] = {}
    for name in ("stat", "meminfo", "net/dev", "diskstats", "zoneinfo", "vmstat"):
        files[name] = Path("/proc", name).read_bytes()
    files["block"] = " ".join(os.listdir("/sys/block"))
    files["online"] = Path("/sys/devices/system/cpu/online").read_bytes()
    lay_out(tmp_path, files)
    expected = outcomes(readers(tmp_path, monkeypatch, by_psutil=True))
    assert all(isinstance(reading, Reading) for reading in expected.values())
    without_psutil(monkeypatch)
    assert outcomes(readers(tmp_path, monkeypatch)) == expected


def test_where_proc_is_not_linuxs_psutil_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, {})
    monkeypatch.setattr(psutil, "LINUX", False)
    kernels = readers(tmp_path, monkeypatch)
    without_psutil(monkeypatch)
    for read in kernels.values():
        with pytest.raises(RuntimeError, match="psutil was asked"):
            read()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["stat", "meminfo", "net/dev", "diskstats"]), st.floats(0, 1))
def test_a_file_that_is_cut_short_anywhere_is_never_taken_for_more_than_psutil_takes_it_for(
    tmp_path_factory: pytest.TempPathFactory, file: str, share: float
) -> None:
    folder = tmp_path_factory.mktemp("proc")
    text = USUAL[file].replace(" 0" * 8000, " 0 0")
    lay_out(folder, {file: text[: round(share * len(text))]})
    with pytest.MonkeyPatch.context() as monkeypatch:
        expected = outcomes(readers(folder, monkeypatch, by_psutil=True))
        found = outcomes(readers(folder, monkeypatch))
    for name, reading in expected.items():
        # psutil also fails for a line that is cut short and of no use.
        assert found[name] == reading or isinstance(reading, type)


def test_what_psutil_does_not_know_is_what_the_kernel_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = meminfo(
        MemTotal=9000, MemFree=1000, MemAvailable=5000, Buffers=5, Cached=7, SwapTotal=0, SwapFree=0, Dirty=3
    )
    counted = "nr_x 1\npswpin 3\npswpout 4\npgmajfault 55\npgsteal 6\noom_kill 2\nother 1\n"
    tcp = "Icmp: 1 2\nTcp: RtoMin CurrEstab InSegs RetransSegs\nTcp: 200 17 9 41\nUdp: a\n"
    lay_out(tmp_path, {"meminfo": size, "vmstat": counted, "net/snmp": tcp})
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    cpus = Cpus()
    cpus.all()
    readings = [cpus.activity(), Memory().memory(), Paging().read(), Tcp().read()]
    assert readings[0].gauges == {"processes_running": 3, "processes_blocked": 2}
    assert readings[0].counters == {"context_switches": 1, "forks": 71}
    held = {name: size / 1024 for name, size in readings[1].gauges.items() if name.endswith("_bytes")}
    assert held == {
        "memory_total_bytes": 9000, "memory_free_bytes": 1000, "memory_available_bytes": 5000,
        "memory_buffers_bytes": 5, "memory_cached_bytes": 7, "memory_dirty_bytes": 3,
    }  # fmt: skip
    page = os.sysconf("SC_PAGE_SIZE")
    moved = {"swap_in_bytes": 3 * page, "swap_out_bytes": 4 * page, "major_faults": 55, "oom_kills": 2}
    assert readings[2].counters == moved
    assert (readings[3].gauges, readings[3].counters) == ({"tcp_established": 17}, {"tcp_retransmits": 41})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1149\t0\t2466193\n", OpenFiles(1149, 2466193)),
        (f"1149\t0\t{2**63 - 1}\n", OpenFiles(1149, None)),
        (None, None),
    ],
)
def test_open_files_are_counted_with_the_limit_that_there_is(
    tmp_path: Path, text: str | None, found: OpenFiles | None
) -> None:
    if text is not None:
        (tmp_path / "file-nr").write_text(text)
    assert OpenFileCounter(str(tmp_path / "file-nr")).read() == found


def test_what_is_no_count_of_open_files_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file-nr").write_text("many\n")
    host = Host(str(tmp_path))
    host._open_files = OpenFileCounter(str(tmp_path / "file-nr"))
    assert host.open_files() is None


def test_what_an_odd_kernel_does_not_count_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, {"vmstat": "x 1\npgmajfault 55\n"})  # without swap; before 4.13
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert Paging().read() == Reading(counters={"major_faults": 55})


def test_a_kernel_without_a_file_of_details_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert [Paging().read(), Tcp().read()] == [Reading(), Reading()]


def test_a_vmstat_that_makes_no_sense_is_no_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, {"vmstat": "x 1\n"})
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert isinstance(outcome(Paging().read), type)


@pytest.mark.parametrize(
    "text", ["", "Ip: 1\n", "Tcp: CurrEstab\n", "Tcp: CurrEstab RetransSegs\nTcp: 1\n", "Tcp: A B\nTcp: 1 2\n"]
)
def test_lines_of_tcp_that_do_not_belong_together_are_no_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    lay_out(tmp_path, {"net/snmp": text})
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert isinstance(outcome(Tcp().read), type)


# -- how a file is read


@pytest.mark.parametrize("most", [1, 7, 4000])
def test_a_file_that_comes_in_small_parts_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    lay_out(tmp_path, READ_DIRECTLY["a CPU offline"])
    expected = outcomes(readers(tmp_path, monkeypatch, by_psutil=True))
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, at: whole(descriptor, min(size, most), at))
    without_psutil(monkeypatch)
    assert outcomes(readers(tmp_path, monkeypatch)) == expected


def test_what_breaks_off_as_it_is_read_is_left_to_psutil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, {})
    expected = outcomes(readers(tmp_path, monkeypatch, by_psutil=True))
    whole = os.pread
    for least in range(12, 240, 3):  # from where there is something to misread; a list that ends with a line is whole

        def pread(descriptor: int, size: int, at: int, least: int = least) -> bytes:
            text = b"" if at else whole(descriptor, least, 0)
            return text + b"0" if len(text) == least and text.endswith(b"\n") else text

        monkeypatch.setattr(os, "pread", pread)
        assert outcomes(readers(tmp_path, monkeypatch)) == expected


def test_lines_of_what_is_no_disk_are_not_taken_apart_once_they_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, READ_DIRECTLY["60 loops and rams"])
    read = readers(tmp_path, monkeypatch)["disk_io"]
    before = read()
    without_psutil(monkeypatch)
    text = READ_DIRECTLY["60 loops and rams"]["diskstats"]
    (tmp_path / "diskstats").write_text(text.replace("loop5 ", "loop5 x x "))
    assert read() == before


def test_a_disk_that_comes_or_goes_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, {"block": "vda vdb nvme0n1 nvme1n1 loop0 loop1"})
    read, reference = (readers(tmp_path, monkeypatch, by_psutil=way)["disk_io"] for way in (False, True))
    seen: list[list[str]] = [["vda"], ["vda", "vdb"], ["vdb", "vda"], ["vdb"], ["vda"], ["nvme0n1"], ["nvme1n1"]]
    seen += [["nvme1n1", "loop0"], ["loop1", "nvme1n1"], ["nvme0n1", "loop1"], []]
    for moved in range(2 * len(seen)):
        names = seen[moved // 2]
        lines = [f"252 {7 * place} {name} {f'{1000 + moved} ' * 17}\n" for place, name in enumerate(names)]
        (tmp_path / "diskstats").write_text("".join(lines))
        expected = reference()
        with pytest.MonkeyPatch.context() as patch:
            without_psutil(patch)
            assert read() == expected


def test_a_cpu_that_goes_offline_does_not_give_its_number_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, {"stat": stat(0, 1, 2), "online": "0-2\n"})
    without_psutil(monkeypatch)
    each = readers(tmp_path, monkeypatch)["each_cpu"]
    assert list(each().seconds_by_cpu) == ["0", "1", "2"]
    lay_out(tmp_path, {"stat": stat(0, 2), "online": "0,2\n"})
    assert list(each().seconds_by_cpu) == ["0", "2"]
    lay_out(tmp_path, {"stat": stat(0, 1), "online": "0,2\n"})
    assert list(each().seconds_by_cpu) == ["0", "2"]  # a container's own file counts its CPUs from 0


def test_a_file_whose_server_is_gone_is_opened_again_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with lxcfs: it restarts, and what was open says ENOTCONN from then on."""
    (tmp_path / "file").write_text("one\n")
    kept, whole, dead = KeptOpen(str(tmp_path / "file")), os.pread, set[int]()

    def pread(descriptor: int, size: int, at: int) -> bytes:
        if os.fstat(descriptor).st_ino in dead:
            raise OSError(errno.ENOTCONN, "not connected")
        return whole(descriptor, size, at)

    monkeypatch.setattr(os, "pread", pread)
    assert kept.read() == b"one\n"
    dead.add((tmp_path / "file").stat().st_ino)
    with pytest.raises(OSError, match="not connected"):
        kept.read()
    (tmp_path / "new").write_text("two\n")
    (tmp_path / "new").replace(tmp_path / "file")
    assert kept.read() == b"two\n"


def test_a_file_that_is_open_and_has_become_empty_is_opened_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one\n")
    kept = KeptOpen(str(file))
    kept.read()
    (tmp_path / "new").write_text("two\n")
    with file.open("w"):
        (tmp_path / "new").replace(file)
    assert kept.read() == b"two\n"


@pytest.mark.parametrize("how", ["replaced", "missing"])
def test_what_comes_to_stand_at_the_path_is_seen_within_four_readings(tmp_path: Path, how: str) -> None:
    file = tmp_path / "file"
    file.write_text("one\n")
    kept = KeptOpen(str(file))
    assert [kept.read() for _ in range(5)] == [b"one\n"] * 5
    if how == "missing":
        file.unlink()
    else:
        (tmp_path / "new").write_text("two\n")
        (tmp_path / "new").replace(file)
    assert [kept.read() for _ in range(4)][-1] == (b"two\n" if how == "replaced" else None)


def test_no_file_is_left_open_by_failures(tmp_path: Path) -> None:
    file = tmp_path / "file"
    kept = KeptOpen(str(file))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        file.write_text("one\n")
        kept.read()
        file.unlink()
        for _ in range(5):
            kept.read()
    assert len(os.listdir("/proc/self/fd")) == before
