"""Flags opened under warrants, referred to their boroughs, and reviewed there by people who know the planted truth."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from borough_node.ledger.chain import instant_text
from borough_node.ledger.reviews import Outcome
from borough_node.records import Records
from borough_node.reviewing.admission import admit, referred_person
from protocol.documents.flags import FlagHeader
from protocol.signing.dsse import Envelope
from tests.world import BY, REASON, SCORING, World, table

LABELS = {"first": "y_first", "second": "y_second"}


def open_flag(world: World, header: FlagHeader) -> Envelope:
    """Open one flag under a warrant of its own and return the issuer's referral."""
    world.triage(header)
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    for number in (1, 2):
        world.custodian(number).collect_shares()
        world.custodian(number).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    world.investigator().open(warrant.digest(), header.flag_id)
    return world.issuer().refer(warrant.digest(), header.flag_id, by=BY, reason=REASON)


def refer(world: World, borough: str, envelope: Envelope) -> str:
    """Put the person of a referral on a borough's list and return who it is."""
    ledger, reviews = world.ledger(borough), world.reviews(borough)
    try:
        referral, selected = referred_person(
            envelope,
            borough=borough,
            history=world.appender.history,
            ledger=ledger,
            records=Records(lambda _: table(borough, world.people)),
            today=world.clock.now().date(),
        )
        admit(referral, selected, history=world.appender.history, reviews=reviews)
    finally:
        ledger.close()
        reviews.close()
    return selected.person


def truth(world: World, borough: str, category: str, person: str) -> bool:
    """Whether the person is one of those whom the category is about."""
    raw = table(borough, world.people)
    (row,) = np.nonzero((raw.person == person) & (raw.cutoff == SCORING))[0]
    return bool(raw.labels[LABELS[category]][row])


def review_everybody(world: World, borough: str, *, is_wrong: bool = False) -> None:
    """Record the truth about everybody on a borough's list, or its opposite, at the end of the policy's days."""
    on = (world.clock.now() + timedelta(days=400)).date().isoformat()
    reviews = world.reviews(borough)
    for one in reviews.listed(on=on):
        found = truth(world, borough, one.category, one.person) != is_wrong
        outcome = Outcome(found, "reviewer-1", REASON, instant_text(world.clock.now()))
        reviews.record(one.review_id, outcome, on=on, is_correction=False)
    reviews.close()
