"""What people note, and mounts that come and go."""

from alembic import op

revision = "0008"
down_revision = "0007"

NOTE = (
    "note (ts INTEGER NOT NULL, note_id INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (ts, note_id)) WITHOUT ROWID"
)
MOUNT_EVENT = (
    "mount_event (ts INTEGER NOT NULL, mount_id INTEGER NOT NULL, is_mounted INTEGER NOT NULL, "
    "since_ts INTEGER NOT NULL, is_last INTEGER NOT NULL, PRIMARY KEY (ts, mount_id)) WITHOUT ROWID"
)


def upgrade() -> None:
    op.execute(f"CREATE TABLE {NOTE}")
    op.execute(f"CREATE TABLE {MOUNT_EVENT}")
    op.execute("ALTER TABLE mount ADD COLUMN is_mounted INTEGER")
