"""Files that are open, and how many may be, at each capture; NULL in what was recorded before.

A column that is added is only a line of the schema: no row is written, however long the history.
"""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    for column in ("open_files", "open_files_limit"):
        op.execute(f"ALTER TABLE capture ADD COLUMN {column} INTEGER")
