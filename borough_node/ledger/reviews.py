"""The borough's reviews: whom to look at, and what came of it. It names people and stays here; only private sums leave.

Rules this module keeps: nothing in here says who was drawn at random and who was flagged; a policy's sample is drawn once;
an outcome is added, never changed, and of several the last counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from borough_node.ledger.rows import make_guards, refusal
from protocol.durable import DurableDatabase
from protocol.errors import ReviewRecorded, ReviewUnknown
from protocol.ids import Digest, Name, RandomId, random_id

SCHEMA_VERSION = 1

metadata = sa.MetaData()
samples = sa.Table("samples", metadata, sa.Column("policy", sa.String, primary_key=True))
reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("review_id", sa.String, primary_key=True),
    sa.Column("policy", sa.String, nullable=False),
    sa.Column("cutoff", sa.Integer, nullable=False),
    sa.Column("category", sa.String, nullable=False),
    sa.Column("person", sa.String, nullable=False),
    sa.Column("listed_on", sa.String, nullable=False),
    sa.UniqueConstraint("policy", "category", "person"),
)
outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("review_id", sa.String, sa.ForeignKey("reviews.review_id"), nullable=False),
    sa.Column("is_substantiated", sa.Boolean, nullable=False),
    sa.Column("reviewer", sa.String, nullable=False),
    sa.Column("reasons", sa.String, nullable=False),
    sa.Column("recorded_at", sa.String, nullable=False),
)
GUARDS = dict(
    (
        refusal("reviews_stay_as_they_are", "reviews", "UPDATE", "a review is never changed"),
        refusal("outcomes_stay_as_they_are", "outcomes", "UPDATE", "an outcome is never changed; a later one counts"),
    )
)
make_guards(metadata, GUARDS)


@dataclass(frozen=True, slots=True, order=True)
class Selected:
    """One person to review in one category."""

    category: Name
    person: str
    listed_on: str
    """Day from which reviewers see it, ``2031-03-04``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reviewer found."""

    is_substantiated: bool
    reviewer: str
    reasons: str
    recorded_at: str


@dataclass(frozen=True, slots=True)
class Review:
    """One person, one category, one policy; ``outcome`` is None until somebody has recorded one."""

    review_id: RandomId
    policy: Digest
    cutoff: int
    """At which the policy scored the person: the outcome is a label of that row."""
    category: Name
    person: str
    outcome: Outcome | None


class Reviews(DurableDatabase):
    """One borough's reviews."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file. Raises: StorageError if it is of another schema."""
        super().__init__(
            path, tables=metadata, schema_version=SCHEMA_VERSION, journal_mode="DELETE", read_only=read_only
        )

    def store_sample(self, policy: Digest, selected: Iterable[Selected], *, cutoff: int) -> None:
        """Store a policy's random sample, unless one is stored: it is drawn once, whatever happens afterwards."""
        with self.writing() as connection:
            drawn = sqlite.insert(samples).values(policy=policy).on_conflict_do_nothing()
            if connection.execute(drawn).rowcount:
                for one in selected:
                    _add(connection, policy, one, cutoff=cutoff)

    def add(self, policy: Digest, selected: Selected, *, cutoff: int) -> None:
        """Put one more person on the list; somebody who is on it stays where they are."""
        with self.writing() as connection:
            _add(connection, policy, selected, cutoff=cutoff)

    def listed(self, *, on: str) -> tuple[Review, ...]:
        """Return what reviewers may see on a day, in an order that says nothing."""
        return self._reviews(reviews.c.listed_on <= on, order=reviews.c.review_id)

    def finished(self) -> tuple[Review, ...]:
        """Return the reviews with an outcome, the one recorded last at the end."""
        return self._reviews(outcomes.c.number.is_not(None), order=outcomes.c.number)

    def record(
        self, review_id: RandomId, outcome: Outcome, *, on: str, is_correction: bool, dry_run: bool = False
    ) -> None:
        """Add the outcome of a review that is on the list.

        Args:
            is_correction: The review has an outcome, and this one is to count instead.
            dry_run: Check only.
        Raises: ReviewUnknown if it is not on the list; ReviewRecorded if it has an outcome, or none to correct.
        """
        with self.writing() as connection:
            listed = sa.exists().where(reviews.c.review_id == review_id, reviews.c.listed_on <= on)
            if not connection.execute(sa.select(listed)).scalar_one():
                raise ReviewUnknown(f"no review {review_id[:32]} is on the list")
            recorded = connection.execute(sa.select(sa.exists().where(outcomes.c.review_id == review_id))).scalar_one()
            if recorded != is_correction:
                raise ReviewRecorded("it has an outcome" if recorded else "it has no outcome that could be corrected")
            if dry_run:
                return
            connection.execute(
                sa.insert(outcomes).values(
                    review_id=review_id,
                    is_substantiated=outcome.is_substantiated,
                    reviewer=outcome.reviewer,
                    reasons=outcome.reasons,
                    recorded_at=outcome.recorded_at,
                )
            )

    def _reviews(self, condition: sa.ColumnElement[bool], *, order: sa.Column[Any]) -> tuple[Review, ...]:
        last = sa.select(sa.func.max(outcomes.c.number)).group_by(outcomes.c.review_id)
        joined = reviews.outerjoin(
            outcomes, sa.and_(outcomes.c.review_id == reviews.c.review_id, outcomes.c.number.in_(last))
        )
        of_outcome = (outcomes.c.is_substantiated, outcomes.c.reviewer, outcomes.c.reasons, outcomes.c.recorded_at)
        found = sa.select(reviews, *of_outcome)
        with self.transaction() as connection:
            rows = connection.execute(found.select_from(joined).where(condition).order_by(order)).all()
        return tuple(
            Review(
                review_id=row.review_id,
                policy=row.policy,
                cutoff=row.cutoff,
                category=row.category,
                person=row.person,
                outcome=None
                if row.reviewer is None
                else Outcome(row.is_substantiated, row.reviewer, row.reasons, row.recorded_at),
            )
            for row in rows
        )


def _add(connection: sa.Connection, policy: Digest, selected: Selected, *, cutoff: int) -> None:
    connection.execute(
        sqlite.insert(reviews)
        .values(
            review_id=random_id(),
            policy=policy,
            cutoff=cutoff,
            category=selected.category,
            person=selected.person,
            listed_on=selected.listed_on,
        )
        .on_conflict_do_nothing()
    )
