"""How far the history has been forwarded to each target."""

from alembic import op

revision = "0005"
down_revision = "0004"

FORWARD = (
    "forward (target TEXT NOT NULL PRIMARY KEY, stretch_id INTEGER NOT NULL, ts INTEGER NOT NULL, "
    "flight_stretch_id INTEGER, flight_ts INTEGER, counters TEXT NOT NULL, known TEXT NOT NULL, "
    "sent INTEGER NOT NULL, refused INTEGER NOT NULL, resent INTEGER NOT NULL, skipped INTEGER NOT NULL, "
    "acknowledged_at INTEGER, last_error TEXT, last_error_at INTEGER, resume TEXT)"
)


def upgrade() -> None:
    op.execute(f"CREATE TABLE {FORWARD}")
