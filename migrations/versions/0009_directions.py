"""Errors and drops of interfaces by direction, and packets; NULL in what was recorded before, whose sums stay.

A column that is added is only a line of the schema: no row is written, however long the history.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

COLUMNS = ("sent_errors", "sent_drops", "received_packets", "sent_packets")


def upgrade() -> None:
    for table in ("interface_usage", "interface_hour"):
        for column in COLUMNS:
            op.execute(f"ALTER TABLE {table} ADD COLUMN {column} INTEGER")
