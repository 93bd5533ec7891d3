"""People of the force who cheat after an opening, or at an erasure: openings hidden, outcomes without a look, bodies kept."""

from __future__ import annotations

from datetime import timedelta

import pytest

from coordinator.warrants.register import Register
from protocol.documents.cases import Opening
from protocol.documents.casework import ErasedFlag, Erasure, Outcome
from protocol.documents.flags import SealedFlag
from protocol.errors import (
    AlreadyAnswered,
    CaseOutOfOrder,
    ConsultationUnexplained,
    DigestMismatch,
    ErasureRefused,
    MalformedDocument,
    NotLogged,
    OutcomeUnreviewed,
    RoleForbidden,
    UnknownSigner,
    WarrantWithdrawn,
)
from protocol.rpc.connection import consultation_of
from protocol.rpc.v1 import register_pb2
from protocol.signing.dsse import Envelope
from tests.casework import Papers, request
from tests.world import BY, REASON

REVIEWER = "Chief Inspector E. Example"
DAY = timedelta(days=1)


def warranted(world, *headers, approvals=(1, 2)):
    warrant = world.warrant(*headers)
    world.issuer().issue(warrant)
    for header in headers:
        for number in approvals:
            world.custodian(number).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    return warrant


def opened(world, header):
    warrant = warranted(world, header)
    world.investigator().open(warrant.digest(), header.flag_id)
    return warrant


def submit(world, kind, document, name, role):
    return world.register.submit(world.roster.party(name, role), kind, world.signed(document, name))


def decided(world, header):
    """A whole case by its desks, up to an outcome of which the person was told."""
    warrant = opened(world, header)
    papers = Papers(header, warrant)
    at = world.clock.now()
    review, notice = papers.review(REVIEWER, reviewed_at=at), papers.notice(noticed_at=at)
    submit(world, "review", review, "investigator", "investigator")
    submit(world, "notice", notice, "issuer", "issuer")
    submit(world, "notification", papers.notification(notice, told_at=at), header.borough, "borough")
    outcome = papers.outcome(
        review, decided_at=at, contest_until=at + 30 * DAY, retain_until=min(at + 60 * DAY, header.retain_until)
    )
    submit(world, "outcome", outcome, "issuer", "issuer")
    return warrant, outcome


def due(world):
    return world.register.erasure_due("coordinator", legal_basis=REASON)


def erase(world, erasure):
    return submit(world, "erasure", erasure, "coordinator", "coordinator")


def erasure_of(world, header, *leaves, cause="flag_retention"):
    return Erasure(
        erasure_id="9" * 32, coordinator="coordinator", flags=(ErasedFlag(flag_id=header.flag_id, cause=cause),),
        leaves=leaves or world.register.files.leaves_of([header.flag_id], now=world.clock.now()), legal_basis=REASON,
        erased_at=world.clock.now(),
    )  # fmt: skip


# --- between approval and opening -------------------------------------------------------------------------------


def test_warrant_withdrawn_between_approval_and_opening_opens_nothing_and_leads_nowhere(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = warranted(world, header)
    world.issuer().withdraw(warrant.digest(), reason=REASON)
    with pytest.raises(WarrantWithdrawn):
        world.investigator().open(warrant.digest(), header.flag_id)
    papers = Papers(header, warrant)
    review = papers.review(reviewed_at=world.clock.now())
    for kind, document, name, role in (
        ("review", review, "investigator", "investigator"),
        ("notice", papers.notice(noticed_at=world.clock.now()), "issuer", "issuer"),
    ):
        with pytest.raises(CaseOutOfOrder):
            submit(world, kind, document, name, role)
        # A coordinator that logs it all the same is stopped by every reader of the log.
        with pytest.raises(CaseOutOfOrder):
            world.log(kind, document, name)
    with pytest.raises(OutcomeUnreviewed):
        world.log("outcome", papers.outcome(review), "issuer")


# --- outcome without review -------------------------------------------------------------------------------------


def test_outcome_without_a_review_is_refused_by_desk_register_and_every_reader(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = opened(world, header)
    papers = Papers(header, warrant)
    outcome = papers.outcome(papers.review(), decided_at=world.clock.now())
    with pytest.raises(OutcomeUnreviewed):
        world.issuer().decide(warrant.digest(), header.flag_id)
    with pytest.raises(OutcomeUnreviewed):
        submit(world, "outcome", outcome, "issuer", "issuer")
    with pytest.raises(OutcomeUnreviewed):
        world.log("outcome", outcome, "issuer")


def test_review_without_a_name_is_no_review(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = opened(world, header)
    fields = {
        "regime": "UK GDPR", "legal_basis": REASON, "material_seen": (REASON,), "finding": "no_case",
        "override": True, "reasons": REASON,
    }  # fmt: skip
    for name in ("", "  ", "x"):
        with pytest.raises(MalformedDocument, match="reviewer"):
            world.investigator().review(warrant.digest(), header.flag_id, reviewer=name, **fields)


# --- replay across warrants and flags ---------------------------------------------------------------------------


def test_steps_of_one_case_move_no_other_case(flagged):
    world, (header, other) = flagged.world, flagged.headers[:2]
    warrant = warranted(world, header, other)
    world.investigator().open(warrant.digest(), header.flag_id)
    papers = Papers(header, warrant)
    review = papers.review(REVIEWER, reviewed_at=world.clock.now())
    submit(world, "review", review, "investigator", "investigator")
    second = opened(world, other)
    at = world.clock.now()
    replayed = review.model_copy(update={"flag_id": other.flag_id, "header": other.digest()})
    with pytest.raises(CaseOutOfOrder):
        submit(world, "review", replayed, "investigator", "investigator")
    with pytest.raises(DigestMismatch):
        submit(world, "review", review.model_copy(update={"header": other.digest()}), "investigator", "investigator")
    across = Papers(other, second).outcome(review, decided_at=at)
    with pytest.raises(OutcomeUnreviewed):
        submit(world, "outcome", across, "issuer", "issuer")
    with pytest.raises(OutcomeUnreviewed):
        world.log("outcome", across, "issuer")


def test_investigator_reviews_only_under_its_own_warrant_and_name(flagged):
    world, header = flagged.world, flagged.headers[0]
    review = Papers(header, opened(world, header)).review(reviewed_at=world.clock.now())
    with pytest.raises(UnknownSigner):
        submit(world, "review", review, "investigator-2", "investigator")
    with pytest.raises(RoleForbidden):
        submit(world, "review", review, "issuer", "issuer")


# --- consultation -----------------------------------------------------------------------------------------------


def test_nobody_sees_a_flag_without_saying_who_and_why(flagged):
    world = flagged.world
    size = world.appender.history.tree.size
    for by, reason in (("", REASON), (BY, ""), (BY, "curious"), ("  ", REASON)):
        with pytest.raises(ConsultationUnexplained):
            world.issuer().flags(by=by, reason=reason)
    issuer = world.roster.party("issuer", "issuer")
    with pytest.raises(ConsultationUnexplained):
        world.register.consult(issuer, None)
    with pytest.raises(ConsultationUnexplained):
        world.register.consult(issuer, world.signed(world.warrant(flagged.headers[0]), "issuer"))
    assert world.appender.history.tree.size == size


def test_look_is_in_the_log_before_the_first_header_leaves(flagged):
    world, header = flagged.world, flagged.headers[0]
    consultation = consultation_of("issuer", by=BY, reason=REASON, flags=(header.flag_id,), now=world.clock.now())
    asked = register_pb2.FlagsRequest(envelope=world.signed(consultation, "issuer").encode())
    (shown,) = world.connection("issuer").register.Flags(asked)
    assert Envelope.decode(shown.envelope).document(SealedFlag).header == header
    last = world.appender.history.skeletons[-1]
    assert (last.kind, last.subject) == ("consultation", None)
    assert world.publisher.publish().checkpoint.size == world.appender.history.tree.size
    found = [one.document for one in world.connection("coordinator").cases(lambda kind: kind == "consultation")]
    assert found[-1] == consultation


def test_look_in_anothers_name_is_refused_and_so_is_one_repeated(flagged):
    world = flagged.world
    consultation = consultation_of("issuer", by=BY, reason=REASON, flags=(), now=world.clock.now())
    with pytest.raises(UnknownSigner):
        world.register.consult(world.roster.party("coordinator", "coordinator"), world.signed(consultation, "issuer"))
    issuer = world.roster.party("issuer", "issuer")
    world.register.consult(issuer, world.signed(consultation, "issuer"))
    with pytest.raises(AlreadyAnswered):
        world.register.consult(issuer, world.signed(consultation, "issuer"))


# --- erasure ----------------------------------------------------------------------------------------------------


def test_opening_disguised_as_an_erasure_is_refused(flagged):
    """The investigator sends its opening under the name of an erasure; the coordinator logs an opening as one."""
    world, header = flagged.world, flagged.headers[0]
    warrant = warranted(world, header)
    approvals = tuple(
        sorted(
            one.digest() for one in world.register.files.flags[header.flag_id].cases[warrant.digest()].decided.values()
        )
    )
    opening = Opening(
        warrant=warrant.digest(), flag_id=header.flag_id, header=header.digest(), investigator="investigator",
        approvals=approvals, opened_at=world.clock.now(),
    )  # fmt: skip
    with pytest.raises(RoleForbidden):
        submit(world, "erasure", opening, "investigator", "investigator")
    with pytest.raises(MalformedDocument):
        submit(world, "erasure", opening, "coordinator", "coordinator")
    with pytest.raises(MalformedDocument):
        world.log("erasure", opening, "investigator")
    assert world.appender.history.cases.warrants  # the log goes on


def test_opened_flag_is_not_erased_to_hide_the_opening(flagged):
    """Neither while the warrant lives, nor before an outcome, nor before the auditor could see it."""
    world, header = flagged.world, flagged.headers[0]
    opened(world, header)
    for days in (0, 8, 100, 1000):
        world.clock.advance(days * DAY)
        with pytest.raises(ErasureRefused):
            erase(world, erasure_of(world, header))
    assert world.cases.flag(header.flag_id) is not None


def test_live_warrant_or_open_contest_holds_the_erasure(flagged):
    world, (header, contested) = flagged.world, flagged.headers[:2]
    world.clock.advance(header.retain_until - world.clock.now() - DAY)
    warranted(world, header, approvals=())
    asked = request(contested, borough=contested.borough)
    submit(world, "request", asked, contested.borough, "borough")
    world.clock.advance(2 * DAY)
    for flag in (header, contested):
        with pytest.raises(ErasureRefused):
            erase(world, erasure_of(world, flag))
    # A contest is a person's, whatever categories they were flagged in.
    held = {header.flag_id} | {one.flag_id for one in flagged.headers if one.pseudonym == contested.pseudonym}
    assert {one.flag_id for one in due(world).flags} == {one.flag_id for one in flagged.headers} - held


def test_erasure_leaves_nothing_of_a_case_in_the_databases_files(flagged):
    """Bodies, salts, ciphertext and shares are looked for in the bytes of the file and of what SQLite keeps beside it."""
    world, header = flagged.world, flagged.headers[0]
    warrant, outcome = decided(world, header)
    case_leaves = world.register.files.leaves_of([header.flag_id], now=world.clock.now())
    stored = {case.index: case for case in world.cases.case_documents()}
    flag = world.cases.flag(header.flag_id)
    secrets = {name: secret for index in case_leaves for name, secret in _secrets_of(stored[index])}
    secrets |= {"ciphertext": flag.ciphertext}
    secrets |= {f"share {n}": share.hex().encode() for n, share in enumerate(flag.sealed_shares)}
    assert len(secrets) > 20
    assert {name for name, secret in secrets.items() if not _is_on_disk(world, secret)} == set()
    world.clock.advance(outcome.retain_until - world.clock.now())
    world.clock.advance(max(timedelta(), warrant.disclosure_on - world.clock.now()))
    erasure = due(world)
    assert set(case_leaves) < set(erasure.leaves)
    before = world.appender.history.tree.size
    assert erase(world, erasure) == before
    world.publisher.publish()
    assert {name for name, secret in secrets.items() if _is_on_disk(world, secret)} == set()
    # The log still verifies, says that something was erased, and holds the opening for ever.
    reader = world.reader("auditor")
    reader.sync()
    kinds = [skeleton.kind for skeleton in reader.history.skeletons]
    assert (kinds[-1], kinds.count("opening"), kinds.count("outcome")) == ("erasure", 1, 1)
    # A register that starts from this database holds nothing, and takes no step of the case.
    again = Register(world.appender, world.cases)
    assert header.flag_id not in again.files.flags
    with pytest.raises(NotLogged):
        submit(world, "review", Papers(header, warrant).review(), "investigator", "investigator")


def _secrets_of(case):
    """What is unlike anything else in a stored document: its salt, and the signature under its body."""
    yield f"salt of {case.index}", case.salt
    yield f"signature of {case.index}", Envelope.decode(case.envelope).signatures[0].sig.encode()


def _is_on_disk(world, secret):
    """Whether a piece of 16 bytes is there: a page's end may cut a value in two."""
    pieces = [secret[start : start + 16] for start in range(0, len(secret) - 15, 16)]
    files = [path for path in world.root.glob("coordinator.sqlite*") if not path.name.endswith("-shm")]
    content = b"".join(path.read_bytes() for path in files)
    return any(piece in content for piece in pieces)


def test_erasure_that_would_leave_a_body_behind_is_refused(flagged):
    world, header = flagged.world, flagged.headers[0]
    world.clock.advance(header.retain_until - world.clock.now())
    leaves = world.register.files.leaves_of([header.flag_id], now=world.clock.now())
    assert len(leaves) == 2
    with pytest.raises(ErasureRefused):
        erase(world, erasure_of(world, header, leaves[0]))
    erase(world, erasure_of(world, header))


def test_custodian_deletes_the_share_of_an_erased_flag_and_of_no_other(flagged):
    world, header = flagged.world, flagged.headers[0]
    desk, folder = world.custodian(1), world.root / "custodian-1" / "shares"
    before = {path.name for path in folder.iterdir()}
    assert desk.forget_erased() == 0
    world.clock.advance(header.retain_until - world.clock.now())
    erase(world, erasure_of(world, header))
    world.publisher.publish()
    assert desk.forget_erased() == 1
    assert {path.name for path in folder.iterdir()} == before - {f"{header.flag_id}.json"}
    assert desk.collect_shares() == 0


def test_erased_flag_counts_on_against_the_cap_and_cannot_be_raised_again(flagged):
    world, header = flagged.world, flagged.headers[0]
    before = world.cases.count(policy=flagged.policy, borough=header.borough)
    world.clock.advance(header.retain_until - world.clock.now())
    erase(world, due(world))
    assert world.cases.count(policy=flagged.policy, borough=header.borough) == before
    assert world.cases.all_flags() == []


def test_coordinator_alone_gives_no_outcome(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = opened(world, header)
    papers = Papers(header, warrant)
    outcome: Outcome = papers.outcome(papers.review())
    with pytest.raises(RoleForbidden):
        submit(world, "outcome", outcome, "coordinator", "coordinator")
    with pytest.raises(UnknownSigner):
        world.log("outcome", outcome, "coordinator")
