"""Count the changes of a proposal, so that one which was changed meanwhile is noticed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Every proposal that waits begins at zero."""
    op.add_column("proposals", sa.Column("changes", sa.Integer, nullable=False, server_default="0"))
