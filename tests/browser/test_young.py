"""The first minute of a history: what there is, and from when on there will be more."""

import re
from pathlib import Path

from tests.browser.conftest import Visits, ended, until
from tests.browser.test_page import colours, plot, seconds, text
from tests.faults.kit import verb
from tests.running import Running


def test_a_young_history_fills_the_view_and_says_what_comes_when(
    visits: Visits, tmp_path: Path, new_database: Path
) -> None:
    daemon = Running(tmp_path / "data" / "tidemark.db", tmp_path / "stderr")
    try:
        daemon.wait_for_samples(2)
        page = visits(daemon.url).open()
        name = daemon.get("/api/v1/host")["name"]
        until(page, lambda: page.title() == f"{name} - Tidemark")
        assert text(page, "#host") == name
        assert re.match(r"\d+ CPUs? · [\d.]+ GB · .+ · up \d+ ", text(page, "#facts"))
        # A minute, of which what is before the history is hatched.
        until(page, lambda: len(colours(page, "stack", 0.1, 0.8)) > 100)
        at = plot(page, "stack")
        page.mouse.move(at["left"] + 2, at["y"])
        until(page, lambda: "history begins" in text(page, "#readout"))
        until(page, lambda: "First capture in at most" in text(page, "#chart-stack .note"))
        # The same beside it, as it runs down.
        first = text(page, "#who .waiting")
        until(page, lambda: text(page, "#who .waiting") not in ("", first))
        until(page, lambda: "from when on it can be found: tcp retransmits (" in text(page, "#insights"))
        host = daemon.get("/api/v1/host")
        longest = seconds(host["first_capture"]) - seconds(host["recording_since"])
        assert 1 <= int(re.search(r"\d+", first)[0]) <= longest
        # What happened stands in a line, as a flag below the charts, and beside the cursor.
        assert verb(daemon.path, "note", "deployed <b>4.2</b>").returncode == 0
        page.reload()
        until(page, lambda: "note: deployed <b>4.2</b>" in text(page, "#events"))
        assert "started: Tidemark" in text(page, "#events")
        until(page, lambda: page.locator("#chart-cpu canvas").count() == 1)
        at = plot(page, "cpu")
        for step in range(60):
            page.mouse.move(at["right"] - 2 * step, at["y"])
            if "note: deployed" in text(page, "#readout"):
                break
        assert "note: deployed" in text(page, "#readout")
    finally:
        ended(daemon)
