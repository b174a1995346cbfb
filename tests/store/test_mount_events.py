"""Mounts that come and go are events between two looks, whatever the daemon did meanwhile, and nothing else is."""

import shutil
from pathlib import Path

import pytest

from service.clock import DAY
from service.records import MountsListed, MountUsage
from service.store import filesystems, mount_events
from service.store.events import Event
from service.store.reader import History
from service.store.writer import Store
from service.upkeep.salvage import salvage
from tests.conftest import NOW
from tests.running import query

MOST = 4


class Looks:
    """Looks at what is mounted, a minute apart."""

    def __init__(self, store: Store) -> None:
        self.store, self.ts = store, NOW
        self.before: frozenset[str] | None = None

    def at(self, *mounted: str, silent: tuple[str, ...] = (), ts: int | None = None) -> int:
        """`silent`: mounted, and without usage: they do not answer, are left out, or cannot fill up."""
        self.ts = self.ts + 60 if ts is None else ts
        usages = [MountUsage(path, 1000, 10, 990) for path in mounted]
        listed = MountsListed(frozenset((*mounted, *silent)), self.before, MOST)
        self.store.write(lambda statements: filesystems.insert(statements, self.ts, usages, 1, listed))
        self.before = listed.now
        return self.ts

    def restart(self) -> None:
        self.before = None


@pytest.fixture
def looks(store: Store) -> Looks:
    return Looks(store)


def found(history: History, start: int = NOW) -> list[tuple[int, str, str | None, int | None]]:
    with history.view() as view:
        events = view.events(start + 1, 2**40)
    return [(e.ts, e.kind.removeprefix("mount_"), e.mount, e.since_ts) for e in events if e.mount is not None]


def test_a_mount_that_comes_and_goes_is_said_with_the_look_before(looks: Looks, history: History, path: Path) -> None:
    first = looks.at("/")
    come = looks.at("/", "/usb")
    still = looks.at("/", "/usb")
    gone = looks.at("/")
    again = looks.at("/", "/usb")
    assert found(history) == [
        (come, "appeared", "/usb", first),
        (gone, "vanished", "/usb", still),
        (again, "appeared", "/usb", gone),
    ]
    with history.view() as view:
        (event,) = view.events(gone, gone + 1)
    detail = "/usb was unmounted after 2026-01-05T10:03:00Z"
    assert event == Event(gone, "mount_vanished", detail, None, None, None, "/usb", still)
    assert query(path, f"SELECT kind, detail FROM events WHERE ts = {gone}") == [("mount_vanished", detail)]


def test_the_first_look_of_all_says_nothing(looks: Looks, history: History) -> None:
    looks.at("/", "/srv")
    looks.restart()
    looks.at("/", "/srv")
    assert found(history) == []


def test_what_changed_while_no_daemon_ran_is_said_at_the_next_look(looks: Looks, history: History) -> None:
    last = looks.at("/", "/srv")
    looks.restart()
    ts = looks.at("/", "/new", ts=NOW + 3 * DAY)
    assert found(history) == [(ts, "appeared", "/new", last), (ts, "vanished", "/srv", last)]


def test_a_mount_without_an_answer_or_that_is_read_only_now_is_still_there(looks: Looks, history: History) -> None:
    looks.at("/", "/nfs")
    looks.at("/", silent=("/nfs",))
    looks.restart()
    last = looks.at("/", silent=("/nfs",))
    assert found(history) == []
    gone = looks.at("/")
    assert found(history) == [(gone, "vanished", "/nfs", last)]


def test_one_that_is_recorded_for_the_first_time_has_not_appeared_where_it_was_there(
    looks: Looks, history: History
) -> None:
    """Of those beyond the limit another one has less room now."""
    looks.at("/", "/a", "/b", "/c", silent=("/d", "/e"))
    looks.at("/", "/a", "/b", "/d", silent=("/c", "/e"))
    looks.restart()
    looks.at("/", "/a", "/b", "/e", silent=("/c", "/d"))
    assert found(history) == []


def test_a_look_that_is_stored_twice_says_it_once(looks: Looks, history: History) -> None:
    looks.at("/")
    looks.at("/", "/usb")
    before = found(history)
    looks.restart()
    looks.at("/", "/usb", ts=looks.ts)
    assert found(history) == before
    assert len(before) == 1


def test_what_was_mounted_before_this_revision_has_not_just_vanished(
    looks: Looks, history: History, store: Store
) -> None:
    looks.at("/", "/old", "/srv")
    store.write(lambda statements: statements.run("UPDATE mount SET is_mounted = NULL"))
    looks.restart()
    looks.at("/", "/srv")
    last = looks.at("/", "/srv")
    assert found(history) == []
    gone = looks.at("/")
    assert found(history) == [(gone, "vanished", "/srv", last)]


def test_one_that_flaps_is_said_so_often_a_day_and_no_more(looks: Looks, history: History, path: Path) -> None:
    for _ in range(30):
        looks.at("/")
        looks.at("/", "/flaps")
    assert len(found(history)) == mount_events.MOST_OF_ONE
    details = [text for (text,) in query(path, "SELECT detail FROM events WHERE kind LIKE 'mount%' ORDER BY ts")]
    assert [text.endswith("; more of that day are not kept") for text in details] == [False] * 9 + [True]
    looks.ts += DAY
    looks.at("/")
    assert len(found(history)) == mount_events.MOST_OF_ONE + 1


def test_hundreds_that_come_and_go_are_bounded(looks: Looks, history: History) -> None:
    looks.at("/")
    for number in range(150):
        looks.at("/", f"/run/{number}")
    assert len(found(history)) == mount_events.MOST_A_DAY
    looks.ts += DAY
    assert [kind for _, kind, *_ in found(history, looks.at("/") - 1)] == ["vanished"]


def test_a_path_may_be_called_anything(looks: Looks, history: History) -> None:
    looks.at("/")
    ts = looks.at("/", "/it's \x1b[31m %s")
    assert [event[2] for event in found(history)] == ["/it's \x1b[31m %s"]
    assert ts == looks.ts


def test_they_go_with_the_hours_and_salvage_brings_them_back_once(
    looks: Looks, store: Store, path: Path, tmp_path: Path, new_database: Path
) -> None:
    looks.at("/")
    looks.at("/", "/usb")
    kinds = "SELECT ts, kind, detail FROM events WHERE kind LIKE 'mount%'"
    expected = query(path, kinds)
    current = Path(shutil.copy(new_database, tmp_path / "current.db"))
    for added in (1, 0):
        again = Store(current)
        again.open()
        assert salvage(path, again, current, lambda _: None)["mount_event"].added == added
        again.close()
        assert query(current, kinds) == expected
    store.write(lambda statements: filesystems.prune(statements, NOW, looks.ts + 1))
    assert query(path, kinds) == []


def test_what_came_while_no_daemon_ran_is_news_where_the_look_before_was_whole(looks: Looks, history: History) -> None:
    """However many mounts there were at looks before that one."""
    looks.at("/", "/a", "/b", "/c")
    before = looks.at("/")
    looks.restart()
    come = looks.at("/", "/usb")
    assert found(history, before) == [(come, "appeared", "/usb", before)]


def test_after_the_clock_was_set_back_the_look_before_is_the_one_before_in_time(looks: Looks, history: History) -> None:
    before = looks.at("/")
    looks.at("/", ts=NOW + 6000)
    come = looks.at("/", "/usb", ts=NOW + 100)
    assert found(history) == [(come, "appeared", "/usb", before)]
