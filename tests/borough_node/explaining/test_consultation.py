"""One look: two operators, one row in the journal before anything is shown, and no name in it."""

import pytest

from borough_node.ledger.journal import Journal
from protocol.errors import MalformedDocument, PersonNotScored, StorageError
from protocol.ids import key_id
from protocol.signing.dsse import Envelope
from tests.borough_node.explaining.desk import WHY


def test_look_leaves_a_row_that_says_who_agreed_when_and_why(desk):
    envelope = desk.agreed()
    found = desk.show(envelope)
    assert (found.category, found.policy) == ("first", desk.policy)
    (row,) = desk.rows()
    assert (row["asked_by"], row["agreed_by"], row["reason"]) == ("first", "second", WHY)
    assert (row["asked_key"], row["agreed_key"]) == tuple(key_id(key.public) for key in desk.keys.values())
    assert (row["at"], row["category"], row["policy"]) == ("2031-03-04T12:00:00Z", "first", desk.policy)


def test_journal_names_a_person_by_the_pseudonym_of_their_flag(desk, flagged):
    header = flagged.headers[0]
    person = desk.name_behind(header)
    desk.show(desk.agreed(person=person, category=header.category))
    (row,) = desk.rows()
    assert row["pseudonym"] == header.pseudonym
    assert person.encode() not in desk.journal_path().read_bytes()


def test_explanation_names_nobody(desk):
    person = desk.person(5)
    assert person not in repr(desk.show(desk.agreed(person=person)))


def test_row_is_written_before_anything_is_computed(desk, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("borough_node.explaining.consultation.explain", stopped)
    with pytest.raises(KeyboardInterrupt):
        desk.show(desk.agreed())
    assert len(desk.rows()) == 1


def test_nobody_of_that_identifier_is_refused_and_leaves_no_row(desk):
    with pytest.raises(PersonNotScored):
        desk.show(desk.agreed(person="P-borough-9-001"))
    assert desk.rows() == []


def test_reason_that_names_the_person_is_refused(desk):
    request = desk.request()
    named = request.encode().replace(WHY.encode(), f"{WHY} ({request.person.lower()})".encode())
    with pytest.raises(MalformedDocument, match="names the person"):
        type(request).decode(named)


def test_request_survives_as_a_file(desk):
    assert desk.show(Envelope.decode(desk.agreed().encode())).category == "first"


def test_journal_is_the_owners_alone(desk):
    desk.show(desk.agreed())
    assert desk.journal_path().stat().st_mode & 0o077 == 0


def test_journal_whose_last_row_is_gone_misses_the_head_that_was_noted(desk):
    desk.show(desk.agreed())
    desk.show(desk.agreed())
    journal = Journal(desk.journal_path())
    _, noted = journal.head()
    assert journal.require_head(noted) == 2
    assert journal.require_head(journal.entries()[0].hash) == 1
    journal.close()
    desk.journal_path().unlink()
    desk.show(desk.agreed())
    again = Journal(desk.journal_path())
    with pytest.raises(StorageError, match="rows are gone"):
        again.require_head(noted)
    again.close()
