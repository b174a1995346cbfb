"""What devices did, out of a damaged database: rows and hours, under the numbers that the devices have here."""

from collections.abc import Callable

from service import clock
from service.store.device_schema import HOURS, ROWS
from service.store.statements import Statements
from service.upkeep.damaged import Damaged, Values

# In place of a device whose name could not be read, and of what kind it is.
_LOST = "(lost)"
_KINDS = {"disk": "disk", "interface": "interface", "device": "sensor"}
# Of which hours are looked for where the devices cannot be read.
_MOST_DEVICES = 200

Insert = Callable[[Statements, str, Values], int]


def merge_devices(target: Statements, damaged: Damaged, stretch_of: Callable[[Values], int], insert: Insert) -> None:
    """Insert what is not here. `stretch_of`: the stretch here of a row there. `insert`: 1 where a row was not there."""
    numbers = _Numbers(target, damaged, insert)
    for table in HOURS:
        for there in numbers.there or range(1, _MOST_DEVICES):
            for row in damaged.rows(table, clock.HOUR, f"device_id = {there}"):
                values = {**row, "device_id": numbers.of(row, table)}
                damaged.tables[table].added += insert(target, table, values)
    first: int | None = None
    for table in ROWS:
        for row in damaged.rows(table, 30.0):
            values = {**row, "stretch_id": stretch_of(row), "device_id": numbers.of(row, table)}
            damaged.tables[table].added += insert(target, table, values)
            first = row["ts"] if first is None else min(first, row["ts"])
    if first is not None:
        hour = (first - 1) // clock.HOUR * clock.HOUR
        target.run("UPDATE device_progress SET hours_until = MIN(hours_until, ?)", (hour,))


class _Numbers:
    """The number here of each device there, added where it is not known yet."""

    def __init__(self, target: Statements, damaged: Damaged, insert: Insert) -> None:
        self._target, self._insert = target, insert
        self._here: dict[int, int] = {}
        for row in damaged.rows("device", step=1):
            values = {name: value for name, value in row.items() if name != "device_id"}
            damaged.tables["device"].added += insert(target, "device", values)
            self._here[row["device_id"]] = self._known(row["kind"], row["name"])

    @property
    def there(self) -> list[int]:
        """The numbers that were read."""
        return sorted(self._here)

    def of(self, row: Values, table: str) -> int:
        there = row["device_id"]
        if there not in self._here:
            kind = _KINDS[table.partition("_")[0]]
            self._insert(self._target, "device", {"kind": kind, "name": _LOST, "is_virtual": 0, "last_ts": row["ts"]})
            self._here[there] = self._known(kind, _LOST)
        return self._here[there]

    def _known(self, kind: str, name: str) -> int:
        known = self._target.number("SELECT device_id FROM device WHERE kind = ? AND name = ?", (kind, name))
        assert known is not None
        return known
