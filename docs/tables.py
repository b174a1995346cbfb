"""Writes the tables of metrics in these pages from the lists of them: `python3 docs/tables.py`."""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from service.forward import lines, node, node_devices  # noqa: E402
from service.metrics import HEADLINES, METRICS  # noqa: E402

MARK = "<!-- python3 docs/tables.py writes this table -->"


def tables() -> dict[str, str]:
    """Page -> the table that it shows."""
    metrics = [(f"`{m.name}`", m.unit, m.kind, m.help, f"`{m.exposed_name}`") for m in METRICS]
    changes = [(f"`{m.name}`", _change(m.minimum_change, m.is_counter)) for m in HEADLINES]
    return {
        "reference.md": _table(("metric", "unit", "kind", "meaning", "name in /metrics"), metrics),
        "statistics.md": _table(("metric", "least change"), changes),
        "fleet.md": _table(("series", "of what is stored"), _of_node()),
    }


def _of_node() -> list[tuple[str, str]]:
    """Each series under node_exporter's names, and where it comes from."""
    cpu = {mode: f'`{node.CPU_SECONDS}{{cpu="all",mode="{mode}"}}`' for mode in node.MODES}
    added = "x the time of each sample, added up"
    idle = f"(100 - `cpu_percent` - `cpu_iowait_percent`) x `cpu_count` {added}"
    return [
        *((f"`{name}`", f"`{metric}`") for name, metric in node.SAME.items()),
        *((f"`{name}`", f"`{metric}`, by the size of a page") for name, metric in node.PAGES.items()),
        *((f"`{name}`", f"`{metric}` {added}") for name, metric in node.WAITING.items()),
        *((cpu[mode], f"`cpu_{mode}_percent` x `cpu_count` {added}") for mode in node.MODES[:-1]),
        (cpu["idle"], idle),
        (f"`{node.CPUS}`", "`cpu_count`; node_exporter has no series that says it"),
        ("`node_time_seconds`", "the sample's stamp"),
        ("`node_boot_time_seconds`", "`boot_ts` of the daemon's run"),
        ("`node_uname_info{sysname,nodename,machine}`", "the host that sends; the kernel's release is not stored"),
        (f"`{lines.STAMP_SERIES}`", "the sample's stamp, as under Tidemark's names"),
        *_of_node_devices(),
    ]


def _of_node_devices() -> Iterator[tuple[str, str]]:
    views = {
        "mount": "filesystems",
        "disk": "disks",
        "interface": "interfaces",
        "sensor": "sensors",
        "capture": "captures",
    }
    for family in node_devices.FAMILIES:
        words = f"{{{','.join(family.labels)}}}" if family.labels else ""
        added = {f"{name}{words}": ", added up" for name in family.counted}
        for series, how in {**added, **{f"{name}{words}": "" for name in family.shown}}.items():
            yield f"`{series}`", f"[{views[family.kind]}](sql.md#{views[family.kind]}){how}"


def _change(least: float, is_rate: bool) -> str:
    return f"{least:.0f} a second" if is_rate else f"{least:g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- |", "|---|").replace(" --- |", "---|")


def written(text: str, table: str) -> str:
    """The page with the table after its mark replaced."""
    return re.sub(rf"({re.escape(MARK)}\n\n)(?:\|.*\n)+", lambda found: found[1] + table, text)


def main() -> None:
    for name, table in tables().items():
        page = ROOT / "docs" / name
        page.write_text(written(page.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main()
