"""The busiest single CPU, beside the share of all of them; unknown (NULL) in what was recorded before."""

from alembic import op

revision = "0003"
down_revision = "0002"

METRIC = "cpu_busiest_percent"


def upgrade() -> None:
    op.execute(f"ALTER TABLE sample ADD COLUMN {METRIC}_e2 INTEGER")
    for table in ("minute", "hour", "day"):
        for part in ("", "_min", "_max"):
            op.execute(f"ALTER TABLE {table} ADD COLUMN {METRIC}{part}_e2 INTEGER")
