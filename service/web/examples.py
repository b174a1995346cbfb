"""An example of each answer for the API's description, made of the answers' own Structs, so that none can be stale."""

from typing import Any

import msgspec

from service import clock
from service.answers.answer import Answer
from service.answers.changes import Change, Changes
from service.answers.devices import Device, Devices
from service.answers.events import Event, Events
from service.answers.gaps import Gap, Gaps
from service.answers.health import Health
from service.answers.host import Host
from service.answers.insights.found import Insights, Later
from service.answers.insights.rules import Finding
from service.answers.metrics import MetricList, metrics
from service.answers.moments import Date, Moment, TimeOfDay, writer
from service.answers.peaks import Peak, Peaks
from service.answers.processes import Processes, ProcessShare
from service.answers.rows import Rows
from service.answers.series import Series, SeriesColumns
from service.answers.summary import MetricSummary, MetricTrend, Summary
from service.answers.usage import CurrentUsage, NetworkIo, ResourceUsage, UsageTrends
from service.answers.who import Who
from service.store import change_sql

# 2026-01-05T10:00:00Z
_NOW = 1_767_607_200
_START = Moment(_NOW - clock.HOUR)
_BACKUP = ProcessShare(
    name="backup",
    pids=[4711],
    process_count=2,
    cpu_percent=41.5,
    children_cpu_percent=3.2,
    cpu_seconds=1494.0,
    memory_bytes=268_435_456,
)


def _examples() -> tuple[Answer, ...]:
    return (
        _usage(),
        _series(),
        _summary(),
        _peaks(),
        _processes(),
        _who(),
        _changes(),
        _insights(),
        _gaps(),
        _events(),
        _metrics(),
        _devices(),
        _host(),
        _rows(),
        _health(),
    )


def _usage() -> ResourceUsage:
    return ResourceUsage(
        success=True,
        current_usage=CurrentUsage(
            cpu_percent=45.2,
            memory_percent=62.1,
            disk_percent=78.5,
            network_io=NetworkIo(bytes_sent=1_024_000, bytes_recv=2_048_000),
            process_count=156,
            load_average=[1.2, 1.5, 1.8],
        ),
        usage_trends=UsageTrends(
            cpu_trend="stable",
            memory_trend="increasing",
            disk_trend="stable",
            peak_usage_times=[TimeOfDay(_NOW + 4 * clock.HOUR)],
            average_cpu_last_hour=42.8,
            average_memory_last_hour=58.3,
        ),
        timestamp=Moment(_NOW),
    )


def _series() -> Series:
    columns = SeriesColumns(unit="percent", average=[12.5, None], minimum=[3.0, None], maximum=[41.0, None])
    return Series(
        start=_START,
        end=Moment(_NOW),
        step=1800,
        source="minutes",
        ts=[int(_START), _START + 1800],
        series={"cpu_percent": columns},
    )


def _summary() -> Summary:
    cpu = MetricSummary(
        unit="percent",
        average=42.8,
        minimum=3.1,
        maximum=97.4,
        maximum_at=Moment(_START + 720),
        p95=88.8,
        trend=MetricTrend(word="stable", change_per_hour=0.4, p_value=0.61),
    )
    return Summary(start=_START, end=Moment(_NOW), coverage=1.0, metrics={"cpu_percent": cpu})


def _peaks() -> Peaks:
    peak = Peak(
        label=TimeOfDay(_START),
        date=Date(_START),
        start=_START,
        end=Moment(_START + 1800),
        average=61.0,
        maximum=97.4,
        maximum_at=Moment(_START + 720),
        prominence=48.5,
        processes_start=Moment(_START + 690),
        processes_end=Moment(_START + 720),
        processes=[_BACKUP],
        services=[],
    )
    return Peaks(start=Moment(_NOW - clock.DAY), end=Moment(_NOW), metric="cpu_percent", peaks=[peak])


def _processes() -> Processes:
    return Processes(
        start=_START,
        end=Moment(_NOW),
        by="name",
        covered_seconds=3600.0,
        cpu_percent=42.8,
        unattributed_cpu_percent=1.3,
        processes=[_BACKUP],
        sql="SELECT name, ... FROM process_names ...",
    )


def _who() -> Who:
    return Who(
        start=_START,
        end=Moment(_NOW),
        step=1800,
        by="name",
        metric="cpu",
        unit="percent",
        ts=[int(_START), _START + 1800],
        series={"restic": [38.5, None]},
        other=[2.1, None],
        unattributed=[0.4, None],
        total=[41.0, None],
    )


def _changes() -> Changes:
    after, before = int(_START), int(_START) - clock.HOUR
    sql = change_sql.of_user("name", "backup", "percent", (before, after), (after, _NOW))
    return Changes(
        start=_START,
        end=Moment(_NOW),
        against_start=Moment(before),
        against_end=_START,
        changes=[Change("name", "backup", "cpu_percent", "percent", 0.0, 41.5, 41.5, 23.4, sql)],
        abstains=None,
        speaks_from=None,
    )


def _insights() -> Insights:
    finding = Finding(
        code="disk_full",
        severity="warning",
        title="/srv is 97.1 % full",
        detail="29.0 GB of 1.0 TB are left for anyone but root.",
        evidence={"used_percent": 97.1},
        sql="SELECT ... FROM mounts ...",
    )
    return Insights(insights=[finding], later=[Later(rule="oversized", speaks_from=Moment(_NOW + 9 * clock.DAY))])


def _gaps() -> Gaps:
    return Gaps(gaps=[Gap(start=_START, end=Moment(_START + 90), seconds=90, reason="rebooted")])


def _events() -> Events:
    detail = "the kernel ended 1 of batch.service for lack of memory"
    evidence: dict[str, int | str] = {"service": "batch.service", "kills": 1}
    return Events(events=[Event(time=_START, ts=int(_START), kind="oom_kill", detail=detail, evidence=evidence)])


def _metrics() -> MetricList:
    return MetricList(metrics=metrics().metrics[:1], device_metrics=metrics().device_metrics[:1])


def _devices() -> Devices:
    sda = Device(
        device="disk:sda",
        kind="disk",
        name="sda",
        ts=_NOW,
        time=Moment(_NOW),
        covered_seconds=30.0,
        state=None,
        figures={"read_bytes": 0.0, "written_bytes": 40_960.0, "busy_percent": 0.4},
    )
    return Devices(devices=[sda], left_out=0)


def _host() -> Host:
    return Host(
        name="db1.example",
        cpus=4,
        memory_bytes=8_255_242_240,
        kernel="6.1.0-18-amd64",
        os="Debian GNU/Linux 12 (bookworm)",
        booted=Moment(_NOW - 41 * clock.DAY),
        recording_since=Moment(_NOW - 30 * clock.DAY),
        first_capture=Moment(_NOW - 30 * clock.DAY + 65),
        version="0.1.0",
        scope="host",
        cpu_limit=None,
        memory_limit_bytes=None,
    )


def _rows() -> Rows:
    return Rows(columns=["time", "cpu_percent"], rows=[["2026-01-05 10:00:00", 45.2]], is_cut=False)


def _health() -> Health:
    return Health(
        status="ok",
        newest_sample_age_seconds=0.14,
        interval=5,
        last_error=None,
        database_bytes=156_256,
        spooled_samples=0,
    )


def examples() -> dict[str, Any]:
    """By the name of the answer's class, as JSON has it."""
    write = writer(clock.zone("UTC"))
    return {type(answer).__name__: msgspec.to_builtins(answer, enc_hook=write) for answer in _examples()}
