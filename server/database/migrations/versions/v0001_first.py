"""The tables of 0.1: runs and events, the registry, whose database it is, and who holds a lock."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "runs",
        sa.Column("run", sa.Integer, primary_key=True),
        sa.Column("plan", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("run", sa.Integer, nullable=False, index=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "members",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("folded", sa.Text, nullable=False, unique=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("authority", sa.LargeBinary, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("invited", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("joining", sa.LargeBinary),
        sa.Column("joined", sa.Float, nullable=False),
        sa.Column("seen", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("leaving", sa.LargeBinary),
        sa.Column("rotation", sa.LargeBinary),
        sa.Column("rekeyed", sa.LargeBinary),
        sa.Column("former", sa.LargeBinary),
    )
    op.create_table(
        "certificates",
        sa.Column("fingerprint", sa.LargeBinary, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, index=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("ends", sa.Float, nullable=False),
        sa.Column("pem", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "bearers",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("barred", sa.Boolean, nullable=False),
    )
    op.create_table(
        "incidents",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, index=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table("consortium", sa.Column("authority", sa.LargeBinary, primary_key=True))
    op.create_table(
        "holders",
        sa.Column("lock", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
    )
