"""Writes the tables of metrics in these pages from the one list of metrics: `python3 docs/tables.py`."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from service.metrics import METRICS  # noqa: E402

MARK = "<!-- python3 docs/tables.py writes this table -->"


def tables() -> dict[str, str]:
    """Page -> the table that it shows."""
    metrics = [(f"`{m.name}`", m.unit, m.kind, m.help, f"`{m.exposed_name}`") for m in METRICS]
    changes = [(f"`{m.name}`", _change(m.minimum_change, m.is_counter)) for m in METRICS]
    return {
        "reference.md": _table(("metric", "unit", "kind", "meaning", "name in /metrics"), metrics),
        "statistics.md": _table(("metric", "least change"), changes),
    }


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
