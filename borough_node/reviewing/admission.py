"""A flagged person comes on the reviewers' list: on the issuer's word, and only if the log shows that the flag was opened.

Before that nobody in the borough reviews anybody because of a flag, nor learns here that one is pursued; decided in
docs/adr/0011-review-controls-blind.md.
"""

from __future__ import annotations

from datetime import date

from borough_node.ledger import Ledger
from borough_node.ledger.reviews import Reviews, Selected
from borough_node.records import Records
from borough_node.reviewing.outcomes import raised_headers
from protocol.documents.cases import ReviewReferral
from protocol.documents.flags import FlagHeader
from protocol.errors import FlagNotOpened, PersonNotScored
from protocol.history.leaves import commitment, subject_of
from protocol.history.mirror import History
from protocol.history.public import PublicRecord
from protocol.ids import PartyId
from protocol.sealing.pseudonym import pseudonym
from protocol.signing.dsse import Envelope
from protocol.signing.quorum import verify_signed_by_role


def referred_person(
    envelope: Envelope, *, borough: PartyId, history: History, ledger: Ledger, records: Records, today: date
) -> tuple[ReviewReferral, Selected]:
    """Return a referral and whom it puts on the list.

    Raises: UnknownSigner, BadSignature; FlagNotOpened if the log shows no opening of the flag under the warrant, or this
        borough raised no such flag; PersonNotScored if the table no longer holds the person.
    """
    public = history.public
    referral, signer = verify_signed_by_role(envelope, ReviewReferral, public.roster, "issuer")
    if signer.id != referral.issuer:
        raise FlagNotOpened(f"the referral names issuer {referral.issuer} and is signed by {signer.id}")
    warrant = history.cases.warrants.get(commitment(referral.warrant))
    if warrant is None or subject_of(referral.warrant, referral.flag_id) not in warrant.opened:
        raise FlagNotOpened("the witnessed log shows no opening of this flag under this warrant")
    header = next((one for one in raised_headers(ledger, referral.policy) if one.digest() == referral.header), None)
    if header is None or header.flag_id != referral.flag_id:
        raise FlagNotOpened("this borough raised no such flag under the policy")
    person = person_of(header, borough=borough, public=public, ledger=ledger, records=records)
    return referral, Selected(header.category, person, today.isoformat())


def person_of(header: FlagHeader, *, borough: PartyId, public: PublicRecord, ledger: Ledger, records: Records) -> str:
    """Return whom a flag of this borough is about. Raises: PersonNotScored if the table no longer holds the person."""
    policy, record = public.policy(header.policy), public.plan(header.plan)
    _, cohort = records.cohort(
        record.plan, record.catalogue, first_cutoff=policy.scoring_cutoff, last_cutoff=policy.scoring_cutoff
    )
    key = ledger.pseudonym_key(header.plan)
    for person in map(str, cohort.persons.tolist()):
        if pseudonym(key, borough=borough, plan_digest=header.plan, person=person) == header.pseudonym:
            return person
    raise PersonNotScored(f"the table no longer has the row at cutoff {policy.scoring_cutoff}")


def admit(referral: ReviewReferral, selected: Selected, *, history: History, reviews: Reviews) -> None:
    """Put a referred person on the list; nothing of the referral is stored."""
    reviews.add(referral.policy, selected, cutoff=history.public.policy(referral.policy).scoring_cutoff)
