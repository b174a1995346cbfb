"""Mounts that have come and gone, as one look at the kernel's list shows after the one before.

What a mount was at the last look is stored with it, so that also a change while no daemon ran is seen, at the next
look. A file system that does not answer, or is not recorded because there are too many, is still mounted.
"""

from collections.abc import Iterator, Sequence

from service.clock import DAY
from service.records import MountsListed, MountUsage
from service.store.statements import Statements

# In 24 hours: of one mount, which may flap, and of all, of which a host of containers may have hundreds.
MOST_OF_ONE = 10
MOST_A_DAY = 200
_COUNT = "SELECT COUNT(*) FROM mount_event WHERE ts > ?"


def insert(statements: Statements, ts: int, usages: Sequence[MountUsage], listed: MountsListed) -> None:
    """Store what has changed since the look before; the same again changes nothing. Call it before the usages of this
    look are stored."""
    since = _look_before(statements, ts)
    for mount_id, is_mounted, is_news in list(_changed(statements, since, usages, listed)):
        statements.run("UPDATE mount SET is_mounted = ? WHERE mount_id = ?", (is_mounted, mount_id))
        if is_news and since is not None:
            _keep(statements, ts, mount_id, is_mounted, since)


def _look_before(statements: Statements, ts: int) -> int | None:
    """When file systems were last looked at; None before the first time."""
    newest = "SELECT MAX(ts) FROM filesystem AS f WHERE f.mount_id = mount.mount_id AND f.ts < ?"
    return statements.number(f"SELECT MAX(ts) FROM (SELECT ({newest}) AS ts FROM mount)", (ts,))


def _changed(
    statements: Statements, since: int | None, usages: Sequence[MountUsage], listed: MountsListed
) -> Iterator[tuple[int, bool, bool]]:
    """(number, whether it is mounted now, whether that is known to be news) of mounts for which that is not stored."""
    known = set()
    for mount_id, path, was_mounted in statements.rows("SELECT mount_id, path, is_mounted FROM mount"):
        known.add(path)
        if was_mounted is None or bool(was_mounted) != (path in listed.now):
            yield mount_id, path in listed.now, was_mounted is not None
    new = [usage.path for usage in usages if usage.path not in known]
    is_first_whole = bool(new) and listed.before is None and _count_at(statements, since) < listed.most
    for path in new:
        # One that is recorded for the first time may have been there before, among those that are left out.
        is_news = is_first_whole if listed.before is None else path not in listed.before
        ((number,),) = statements.rows("INSERT INTO mount (path) VALUES (?) RETURNING mount_id", (path,))
        yield number, True, is_news


def _count_at(statements: Statements, ts: int | None) -> int:
    """How many mounts were recorded at a look."""
    at = "SELECT 1 FROM filesystem AS f WHERE f.mount_id = mount.mount_id AND f.ts = ?"
    return statements.number(f"SELECT COUNT(*) FROM mount WHERE EXISTS ({at})", (ts,)) or 0


def _keep(statements: Statements, ts: int, mount_id: int, is_mounted: bool, since: int) -> None:
    of_one = statements.number(f"{_COUNT} AND mount_id = ?", (ts - DAY, mount_id)) or 0
    of_all = statements.number(_COUNT, (ts - DAY,)) or 0
    if of_one >= MOST_OF_ONE or of_all >= MOST_A_DAY:
        return
    is_last = of_one == MOST_OF_ONE - 1 or of_all == MOST_A_DAY - 1
    statements.run(
        "INSERT INTO mount_event (ts, mount_id, is_mounted, since_ts, is_last) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (ts, mount_id, is_mounted, since, is_last),
    )
