"""What a container may use, by the files of either version of control groups."""

from pathlib import Path

import pytest

from service.clock import Instant
from service.host import limits
from service.host.limits import Limited, Limits
from service.host.source import READ_ERRORS
from service.recording.meaning import Observation, next_sample
from service.records import Reading

MIB = 2**20
V2 = {
    "cpu.max": "150000 100000\n",
    "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
    "memory.max": f"{512 * MIB}\n",
    "memory.current": f"{300 * MIB}\n",
    "memory.stat": f"anon 5\ninactive_file {44 * MIB}\n",
}
V1 = {
    "cpu/cpu.cfs_quota_us": "150000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "cpuacct/cpuacct.usage": "2500000000\n",
    "memory/memory.limit_in_bytes": f"{512 * MIB}\n",
    "memory/memory.usage_in_bytes": f"{300 * MIB}\n",
    "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {44 * MIB}\n",
}
NO_LIMITS_1 = {**V1, "cpu/cpu.cfs_quota_us": "-1\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"}


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="ascii")
    return root


@pytest.mark.parametrize("files", [V2, V1], ids=["version 2", "version 1"])
def test_a_container_is_told_what_it_uses_of_its_limits(tmp_path: Path, files: dict[str, str]) -> None:
    root = lay_out(tmp_path, files)
    assert limits.limits(root) == Limits(1.5, 512 * MIB)
    assert Limited(root).read() == Reading({"memory_limit_percent": 50.0}, limited_cpu=(2.5, 1.5))


@pytest.mark.parametrize(
    "files", [{}, {"cpu.max": "max 100000\n", "memory.max": "max\n"}, NO_LIMITS_1], ids=["host", "none", "version 1"]
)
def test_without_limits_there_are_no_shares_of_them(tmp_path: Path, files: dict[str, str]) -> None:
    root = lay_out(tmp_path, files)
    assert limits.limits(root) == Limits(None, None)
    assert Limited(root).read() == Reading()


@pytest.mark.parametrize("nonsense", ["x 1\n", "5\n"])
def test_nonsense_in_a_limit_is_an_error_of_the_host(tmp_path: Path, nonsense: str) -> None:
    limited = Limited(lay_out(tmp_path, {**V2, "cpu.max": nonsense}))
    with pytest.raises(READ_ERRORS):
        limited.read()


def test_a_limit_that_is_lowered_beneath_what_is_in_use_gives_no_share_that_cannot_be(tmp_path: Path) -> None:
    assert (
        "memory_limit_percent" not in Limited(lay_out(tmp_path, {**V2, "memory.max": f"{100 * MIB}\n"})).read().gauges
    )


@pytest.mark.parametrize(("used", "share"), [(3.75, 50.0), (7.6, 100.0), (20.0, None), (-1.0, None)])
def test_the_share_of_cpu_is_of_what_the_limit_allows_in_the_time(used: float, share: float | None) -> None:
    then, now = Reading(limited_cpu=(2.5, 1.5)), Reading(limited_cpu=(2.5 + used, 1.5))
    at = [Instant(1e9 + t, t, t) for t in (0.0, 5.0)]
    sample = next_sample(Observation(at[0], then), Observation(at[1], now), 5)
    assert sample.values["cpu_limit_percent"] == share


def test_a_container_is_known_by_what_its_manager_leaves_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_SIGNS", (str(tmp_path / "sign"),))
    assert limits.scope() == "host"
    (tmp_path / "sign").touch()
    assert limits.scope() == "container"
