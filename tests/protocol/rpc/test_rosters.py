"""The rosters that a party knows: verified before they count, kept over a restart, one document for each version."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.documents.roster import Budget, Roster
from protocol.errors import DigestMismatch, QuorumNotMet, RosterInvalid
from protocol.rpc.rosters import RosterBook
from protocol.signing.dsse import Envelope
from tests.federation import PURPOSE, START, Federation, party


def signed(force: Federation, roster: Roster, *names: str) -> Envelope:
    return force.sign(roster, *(names or force.quorum()))


class Desk:
    """A party's book, and versions that a force could log."""

    def __init__(self, folder: Path) -> None:
        self.force = Federation()
        self.folder = folder / "rosters"
        self.first = signed(self.force, self.force.roster)
        self.second = signed(self.force, self.force.next_roster())
        self.rival = signed(self.force, self.force.next_roster(budgets=(Budget(purpose=PURPOSE, rho=9.0),)))

    def book(self) -> RosterBook:
        return RosterBook(self.folder, first=self.first, genesis=self.force.roster.digest())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_version_that_was_accepted_counts_at_once_and_after_a_restart(desk):
    book = desk.book()
    assert book.accept(desk.second, day=START.date()).version == 2
    assert book.current.version == desk.book().current.version == 2
    assert book.accept(desk.second, day=START.date()).version == 2


def test_version_that_the_log_shows_is_learned_once(desk):
    book = desk.book()
    for _ in range(2):
        book.learn([desk.first, desk.second])
        assert book.current.version == 2
    # A log that ends earlier takes nothing back.
    book.learn([desk.first])
    assert desk.book().current.version == 2


def test_second_roster_of_one_version_stops_whoever_meets_it(desk):
    book = desk.book()
    book.accept(desk.second, day=START.date())
    with pytest.raises(DigestMismatch, match="roster 2 is another one than is known here"):
        book.learn([desk.first, desk.rival])
    with pytest.raises(DigestMismatch):
        book.accept(desk.rival, day=START.date())
    assert book.current.digest() == desk.second.document(Roster).digest()


@pytest.mark.parametrize("names", [("custodian-1",), ("coordinator", "unmasker"), ("custodian-1", "stranger")])
def test_version_without_the_quorum_of_the_one_before_is_neither_accepted_nor_stored(desk, names):
    book = desk.book()
    wanting = signed(desk.force, desk.second.document(Roster), *names)
    with pytest.raises(QuorumNotMet):
        book.accept(wanting, day=START.date())
    with pytest.raises(QuorumNotMet):
        book.learn([desk.first, wanting])
    assert book.current.version == 1
    assert not desk.folder.exists()


def test_version_counts_not_before_its_day_when_it_comes_by_hand(desk):
    later = START.replace(year=START.year + 1)
    envelope = signed(desk.force, desk.force.next_roster(valid_from=later))
    with pytest.raises(RosterInvalid, match="not yet on"):
        desk.book().accept(envelope, day=START.date())
    assert desk.book().accept(envelope, day=later.date()).version == 2


def test_stored_version_that_was_changed_is_not_believed(desk):
    desk.book().accept(desk.second, day=START.date())
    stolen = tuple(
        party(one.id, one.role, signing_key=party("stranger", "auditor").signing_key)
        if one.id == "coordinator"
        else one
        for one in desk.force.parties()
    )
    changed = desk.force.next_roster(parties=stolen)
    (desk.folder / "2.json").write_bytes(signed(desk.force, changed, "custodian-1").encode())
    with pytest.raises(QuorumNotMet):
        desk.book()
