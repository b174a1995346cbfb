"""The screen that people see and the keys that they press, by Textual's own pilot."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from rich.cells import cell_len

from service.answers.monitor import ResourceMonitor
from service.clock import parse_time
from service.errors import HistoryUnreadable
from service.terminal.replay.app import ReplayApp
from service.terminal.replay.picture import KEYS
from service.terminal.replay.walker import Walker
from tests.conftest import NOW, FakeClock, Fill, Record
from tests.terminal.replay.conftest import PEAK

# What the kernel lets a process be called: escape codes, line ends, wide letters, markup of two kinds.
HOSTILE = "\x1b[2J\n[red]東京[/red][@click=app.quit]x[/]"

Screens = list[str]
Press = Callable[..., Screens]
Make = Callable[..., ReplayApp]


@pytest.fixture
def app(monitor: ResourceMonitor, clock: FakeClock) -> Make:
    def make(is_live: bool = False) -> ReplayApp:
        walker = Walker(monitor.replay(), monitor.write, is_live=is_live)
        return ReplayApp(walker, "web1", monitor.write, lambda text: parse_time(text, clock.wall), 0.02)

    return make


@pytest.fixture
def press(app: Make) -> Press:
    """The first screen, and that after each of the presses, of which one may be several keys."""

    def run(*presses: str | Iterable[str], size: tuple[int, int] = (80, 24), is_live: bool = False) -> Screens:
        shown = app(is_live)
        screens = asyncio.run(_screens(shown, presses, size))
        assert shown.failure is None
        return screens

    return run


async def _screens(shown: ReplayApp, presses: Iterable[str | Iterable[str]], size: tuple[int, int]) -> Screens:
    screens = []
    async with shown.run_test(size=size) as pilot:
        screens.append(text_of(shown))
        for keys in presses:
            await pilot.press(*([keys] if isinstance(keys, str) else keys))
            screens.append(text_of(shown))
    return screens


def text_of(shown: ReplayApp) -> str:
    lines = (
        "".join(segment.text for segment in widget.render_line(y))
        for widget in shown.screen.children
        if widget.display
        for y in range(widget.size.height)
    )
    return "\n".join(line.rstrip() for line in lines)


def typed(key: str, text: str) -> list[str]:
    return [key, *text, "enter"]


def test_the_first_screen_of_80x24_names_who_made_the_peak(morning: None, press: Press) -> None:
    (screen,) = press()
    lines = screen.splitlines()
    assert lines[0] == "web1   2026-01-05T10:20:30Z   and 30 s before it"
    assert lines[1].startswith("CPU 90.0 %   Memory 52.")
    assert lines[2].startswith("Network in 1 kB/s   out -   Disk read -")
    assert lines[3] == "CPU   a column 1 min   here 83.3 %"
    cursor = lines[10].index("┴")
    assert lines[11].index("▲10:20") == cursor
    assert [line[cursor] for line in lines[5:10]] == ["│"] * 5
    users = [line.split() for line in lines[16:21]]
    assert users[0][:3] == ["restic", "83.3", "%"]
    assert users[0][3].startswith("██")
    assert ["(unattributed)", "4.2", "%"] in [words[:3] for words in users]
    assert len(lines) == 24
    assert lines[-1] == "the busiest minute of the last day; l goes to the newest and follows it"


@pytest.mark.parametrize("is_live", [False, True])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (60, 20), (40, 16), (40, 10), (20, 5)])
def test_it_fits_every_terminal(morning: None, press: Press, size: tuple[int, int], is_live: bool) -> None:
    for screen in press("minus", "n", "question_mark", size=size, is_live=is_live):
        assert all(cell_len(line) <= size[0] for line in screen.splitlines())
        assert screen.isprintable() or "\n" in screen
        assert len(screen.splitlines()) <= size[1]


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        (["right"], "2026-01-05T10:21:00Z   and 30 s before it"),
        (["left"], "2026-01-05T10:20:00Z   and 30 s before it"),
        (["n"], "2026-01-05T10:29:55Z   nothing recorded: suspended"),
        (["home", "n"], "2026-01-05T10:20:30Z"),
        (["home"], "2026-01-05T10:00:30Z"),
        (["end"], "live   2026-01-05T11:09:55Z"),
        (["l"], "live   2026-01-05T11:09:55Z"),
        (["minus"], "a column 2 min"),
        (["plus", "plus"], "a column 10 s"),
        (["m", "m"], "Memory   a column 1 min"),
        (["tab", "m"], "Memory   a column 1 min"),
        (["m", "m", "m", "M", "M"], "Busiest CPU   a column"),
        (["s"], "backup.service  83.3 %"),
        (typed("slash", "rest"), "2026-01-05T10:21:00Z"),
        ([*typed("slash", "cron"), "N", "P"], "2026-01-05T10:21:00Z"),
        (typed("g", "10:05"), "2026-01-05T10:05:00Z"),
        (typed("g", "2026-01-05T10:45"), "suspended"),
        (typed("g", "soon"), "no time: soon; like 03:12"),
        (["full_stop"], "2026-01-05T10:21:30Z"),
        (["question_mark"], "one capture earlier, later"),
        (["question_mark", "x"], "2026-01-05T10:20:30Z"),
        (["g", "1", "escape"], "2026-01-05T10:20:30Z"),
    ],
)
def test_a_key_does_what_the_help_says(morning: None, press: Press, keys: list[str], shown: str) -> None:
    assert shown in press(keys)[-1]


def test_the_smallest_screen_with_a_chart_has_room_for_every_key(morning: None, press: Press) -> None:
    lines = press("question_mark", size=(40, 16))[-1].splitlines()
    assert [line.split()[0] for line in lines[2:15]] == [key.split()[0] for key, _ in KEYS]


def test_in_a_question_every_letter_is_a_letter(morning: None, press: Press) -> None:
    screen = press(["slash", *"nqs", "left", "tab"])[-1]
    assert screen.splitlines()[0].startswith("web1   2026-01-05T10:20:30Z")
    assert screen.splitlines()[-1].startswith("nqs")
    assert "CPU   a column" in screen


def test_a_gap_is_shown_as_one_with_its_reason(morning: None, press: Press) -> None:
    lines = press("n")[-1].splitlines()
    assert "gap: 2026-01-05T10:29:55Z 30 min suspended" in lines
    assert any(line.endswith(" suspended") for line in lines[4:10])
    assert lines[9].count("·") >= 25
    assert "nothing was recorded from 2026-01-05T10:29:55Z to 2026-01-05T10:59:55Z, 30 min" in " ".join(lines)


def test_q_and_control_c_end_it(morning: None, app: Make) -> None:
    for key in ("q", "ctrl+c"):

        async def run(key: str = key) -> None:
            shown = app()
            async with shown.run_test(size=(80, 24)) as pilot:
                await pilot.press(key)
                await pilot.pause()
                assert not shown.is_running
            assert shown.failure is None

        asyncio.run(run())


def test_names_are_no_markup_and_move_no_cursor(fill: Fill, record: Record, press: Press) -> None:
    fill(NOW, 120, cpu_percent=50)
    for ts in range(30, 600, 30):
        record(NOW + ts, 60.0, (HOSTILE, 1, 50.0, 10**6))
    for screen in press("right", typed("slash", "[red]x[/]"), typed("slash", "東京")):
        assert screen.replace("\n", "").isprintable()
        assert "\\x1b[2J\\x0a[red]東京" in screen


def test_a_history_that_goes_away_is_said_in_the_last_line(
    morning: None, app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise HistoryUnreadable("the history cannot be read")

    async def run(shown: ReplayApp) -> str:
        async with shown.run_test(size=(80, 24)) as pilot:
            monkeypatch.setattr("service.answers.replay.newest_of", refuse)
            await pilot.press("right")
            broken = text_of(shown)
            monkeypatch.undo()
            await pilot.press("right")
            assert "the history cannot be read" not in text_of(shown)
        return broken

    assert asyncio.run(run(app())).splitlines()[-1] == "the history cannot be read"


def test_a_peak_elsewhere_is_no_more_than_a_mark(morning: None, press: Press) -> None:
    lines = press("home")[-1].splitlines()
    assert lines[10].index("┴") == 10
    assert lines[11].index("▲10:20") == 10 + PEAK // 60


# -- live


def test_live_stands_at_the_newest_with_who_used_the_machine_last(morning: None, press: Press) -> None:
    (screen,) = press(is_live=True)
    lines = screen.splitlines()
    assert lines[0] == "web1   live   2026-01-05T11:09:55Z   every 5 s"
    assert lines[1].startswith("CPU 10.0 %   Memory 51.")
    assert lines[10].index("┴") == 79  # the window ends with the newest
    assert lines[14].startswith("process, 11:09:30 ")
    assert lines[16].split()[:3] == ["cron", "2.5", "%"]
    assert lines[-1].startswith("left: back in time")


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ([], "live   2026-01-05T11:09:55Z"),
        (["left"], "2026-01-05T11:09:00Z   and 30 s before it"),
        (["comma"], "2026-01-05T11:09:00Z   and 30 s before it"),
        (["left", "l"], "live   2026-01-05T11:09:55Z"),
        (["p", "end"], "live   2026-01-05T11:09:55Z"),
        (["right"], "this is the newest"),
        (["full_stop"], "live   2026-01-05T11:09:55Z"),
        (["minus"], "live   2026-01-05T11:09:55Z"),
        (["m", "m"], "live   2026-01-05T11:09:55Z"),
        (["s"], "live   2026-01-05T11:09:55Z"),
        (["p"], "2026-01-05T10:29:55Z   nothing recorded: suspended"),
        (["n"], "live   2026-01-05T11:09:55Z"),
        (typed("slash", "rest"), "rest: none later; this is the last one before"),
        (typed("g", "10:05"), "2026-01-05T10:05:00Z"),
    ],
)
def test_keys_leave_the_newest_and_come_back(morning: None, press: Press, keys: list[str], shown: str) -> None:
    assert shown in press(keys, is_live=True)[-1]


async def until(shown: ReplayApp, pilot: Any, words: str) -> str:
    for _ in range(250):
        if words in text_of(shown):
            return text_of(shown)
        await pilot.pause(0.02)
    raise AssertionError(f"no {words} in {text_of(shown)}")


def test_live_follows_what_is_recorded_until_one_walks_back(
    morning: None, app: Make, fill: Fill, record: Record, clock: FakeClock
) -> None:
    async def run(shown: ReplayApp) -> None:
        async with shown.run_test(size=(80, 24)) as pilot:
            fill(NOW + 4200, 12, cpu_percent=95)
            record(NOW + 4230, 100.0, ("cc1plus", 9, 90.0, 10**6))
            clock.wall = NOW + 4256
            screen = await until(shown, pilot, "live   2026-01-05T11:10:55Z")
            assert screen.splitlines()[1].startswith("CPU 95.0 %")
            assert screen.splitlines()[16].split()[:3] == ["cc1plus", "75.0", "%"]
            await pilot.press("left")
            back = text_of(shown)
            assert back.startswith("web1   2026-01-05T11:09:30Z   and 30 s before it")
            fill(NOW + 4260, 12, cpu_percent=5)
            clock.wall = NOW + 4316
            await pilot.pause(0.2)
            assert text_of(shown) == back
            await pilot.press("l")
            assert "live   2026-01-05T11:11:55Z" in text_of(shown)
        assert shown.failure is None

    asyncio.run(run(app(is_live=True)))


def test_a_copy_or_a_daemon_that_is_gone_is_not_live(morning: None, press: Press, clock: FakeClock) -> None:
    clock.wall += 7200
    (screen,) = press(is_live=True)
    assert screen.startswith("web1   not live   2026-01-05T11:09:55Z   2 h ago\n")


def test_live_goes_on_by_itself_when_a_history_comes_back(
    morning: None, app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise HistoryUnreadable("the history cannot be read")

    async def run(shown: ReplayApp) -> None:
        async with shown.run_test(size=(80, 24)) as pilot:
            monkeypatch.setattr("service.answers.replay.newest_of", refuse)
            await until(shown, pilot, "the history cannot be read")
            monkeypatch.undo()
            await until(shown, pilot, "left: back in time")
        assert shown.failure is None

    asyncio.run(run(app(is_live=True)))


def test_a_terminal_too_small_for_a_chart_names_who(morning: None, press: Press) -> None:
    lines = press(is_live=True, size=(40, 10))[0].splitlines()
    assert lines[0] == "web1   live   2026-01-05T11:09:55Z   ev…"
    assert [line.split()[0] for line in lines[5:] if line][:-1] == ["cron", "sshd", "(unattributed)"]
