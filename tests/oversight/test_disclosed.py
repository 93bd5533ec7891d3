"""The audit of disclosed bodies: a whole case holds, and whatever the register hides, changes or logs out of order is found."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from oversight.audit.disclosed import DisclosedLeaf, Disclosure, verify_disclosed
from oversight.audit.fetching import fetch_disclosure
from oversight.audit_cli import audit_app
from protocol.documents.cases import Approval, Opening, Withdrawal
from protocol.documents.casework import ErasedFlag, Erasure
from protocol.errors import (
    CaseOutOfOrder,
    DigestMismatch,
    DisclosureIncomplete,
    ErasureRefused,
    Expired,
    ProtocolError,
    QuorumNotMet,
    UnknownSigner,
    WarrantExpired,
)
from tests.adversaries.test_casework_attacks import decided, due, erase, opened
from tests.casework import Papers, consultation, triage
from tests.world import REASON


def fetched(world) -> Disclosure:
    world.publisher.publish()
    return fetch_disclosure(world.connection("auditor"))


def verified(world, *disclosures):
    world.publisher.publish()
    return verify_disclosed(world.appender.history, disclosures or [fetched(world)])


def everything(world) -> Disclosure:
    """What the register holds, whether it may be disclosed or not: a corrupt one has logged it all the same."""
    world.publisher.publish()
    leaves = [
        DisclosedLeaf(index=one.index, kind=one.kind, salt=one.salt.hex(), body=one.envelope.decode())
        for one in world.cases.case_documents()
    ]
    return Disclosure(format="custodes/disclosure/v1", leaves=tuple(leaves))


def without(disclosure, *indices):
    left = tuple(one for one in disclosure.leaves if one.index not in indices)
    return disclosure.model_copy(update={"leaves": left})


def to_disclosure(world, warrant):
    world.clock.advance(max(timedelta(), warrant.disclosure_on - world.clock.now()))


@pytest.fixture
def closed(flagged):
    """A force with one case that is decided and disclosed."""
    warrant, outcome = decided(flagged.world, flagged.headers[0])
    to_disclosure(flagged.world, warrant)
    return flagged.world, flagged.headers[0], warrant, outcome


def test_auditor_gets_nothing_of_a_case_before_its_disclosure_date(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = opened(world, header)
    assert fetched(world).leaves == ()
    report = verified(world)
    assert (report.openings, report.openings_checked) == (1, 0)
    assert report.openings_not_disclosed == (world.clock.now().date().isoformat(),)
    to_disclosure(world, warrant)
    report = verified(world)
    assert (report.openings_checked, report.openings_not_disclosed) == (1, ())
    assert report.stages == {"opened": 1}


def test_whole_case_holds_by_command_too(closed, tmp_path):
    world, header, _, _ = closed
    report = verified(world)
    kinds = ("flag", "triage", "warrant", "opening", "review", "notice", "notification", "outcome")
    assert {kind: report.bodies_by_kind[kind] for kind in kinds} == dict.fromkeys(kinds, 1)
    assert (report.bodies_by_kind["approval"], report.stages) == (2, {"outcome": 1})
    file = tmp_path / "disclosed.json"
    file.write_bytes(fetched(world).encode())
    command = ["verify", str(world.root / "log"), "--genesis", world.roster.digest(), "--disclosed", str(file)]
    done = CliRunner().invoke(audit_app, [*command, "--json"])
    assert json.loads(done.stdout)["disclosed"]["openings_checked"] == 1
    told = CliRunner().invoke(audit_app, command).stdout
    assert "openings: 1 of 1 checked with their bodies, 0 erased, 0 not disclosed yet" in told
    assert header.pseudonym not in told
    file.write_bytes(b"{}")
    assert CliRunner().invoke(audit_app, command).exit_code == 4


def test_any_leaf_of_a_disclosed_warrant_that_is_left_out_is_missed(closed):
    world, _, _, _ = closed
    whole = fetched(world)
    for leaf in whole.leaves:
        if leaf.kind == "consultation":
            continue  # Nothing in public ties a look to a flag: one that is kept back is missed by nobody.
        with pytest.raises(ProtocolError):
            verified(world, without(whole, leaf.index))


def test_last_step_that_is_left_out_is_named(closed):
    world, _, _, _ = closed
    whole = fetched(world)
    last = next(one for one in whole.leaves if one.kind == "outcome")
    with pytest.raises(DisclosureIncomplete, match=f"leaf {last.index}: a outcome"):
        verified(world, without(whole, last.index))


def test_body_or_salt_that_is_not_the_logged_one_is_found(closed):
    world, _, _, _ = closed
    whole = fetched(world)
    for place, leaf in enumerate(whole.leaves):
        other = whole.leaves[place - 1]
        for change in ({"salt": other.salt}, {"body": other.body}):
            damaged = list(whole.leaves)
            damaged[place] = leaf.model_copy(update=change)
            with pytest.raises(ProtocolError):
                verified(world, whole.model_copy(update={"leaves": tuple(damaged)}))


# --- what a corrupt register logged -----------------------------------------------------------------------------


def test_opening_after_the_second_in_which_the_warrant_ended_is_found(flagged):
    """In public the day is right; the body's own instant is not."""
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header).model_copy(update={"valid_until": world.clock.now() + timedelta(hours=1)})
    world.issuer().issue(warrant)
    for number in (1, 2):
        world.custodian(number).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    world.clock.advance(timedelta(hours=2))
    opening = opening_under(world, warrant, header)
    world.log("opening", opening, "investigator")
    with pytest.raises(WarrantExpired):
        verified(world, everything(world))


def opening_under(world, warrant, header, **changes):
    case = world.register.files.flags[header.flag_id].cases[warrant.digest()]
    fields = {
        "warrant": warrant.digest(), "flag_id": header.flag_id, "header": header.digest(), "investigator": "investigator",
        "approvals": tuple(sorted(one.digest() for one in case.decided.values())), "opened_at": world.clock.now(),
    }  # fmt: skip
    return Opening(**(fields | changes))


def test_opening_that_states_a_day_on_which_it_was_not_logged_is_found(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header, days=30)
    world.issuer().issue(warrant)
    for number in (1, 2):
        world.custodian(number).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    stated = world.clock.now()
    world.clock.advance(timedelta(days=5))
    world.log("opening", opening_under(world, warrant, header, opened_at=stated), "investigator")
    with pytest.raises(Expired, match="opened_at"):
        verified(world, everything(world))


def test_opening_that_names_approvals_which_were_not_given_is_found(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    for number in (1, 2):
        world.custodian(number).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    world.log("opening", opening_under(world, warrant, header, approvals=("1" * 64, "2" * 64)), "investigator")
    with pytest.raises(QuorumNotMet):
        verified(world, everything(world))


def test_opening_by_another_investigator_than_the_warrants_is_found(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    for number in (1, 2):
        world.custodian(number).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    world.log("opening", opening_under(world, warrant, header, investigator="investigator-2"), "investigator-2")
    with pytest.raises(UnknownSigner):
        verified(world, everything(world))


def test_warrant_without_triage_is_found(flagged):
    world, header = flagged.world, flagged.headers[0]
    world.log("triage", triage_aside(world, header), "coordinator")
    world.log("warrant", world.warrant(header), "issuer")
    with pytest.raises(CaseOutOfOrder):
        verified(world, everything(world))


def triage_aside(world, header):
    return triage(header, "set_aside", number=99).model_copy(update={"triaged_at": world.clock.now()})


def test_withdrawal_by_another_issuer_or_approval_in_anothers_name_is_found(flagged):
    """The public checks who signed; only the body says whom it names."""
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    taken = Withdrawal(warrant=warrant.digest(), issuer="issuer-9", reason=REASON, withdrawn_at=world.clock.now())
    world.log("withdrawal", taken, "issuer")
    with pytest.raises(UnknownSigner):
        verified(world, everything(world))


def test_approval_with_a_share_index_of_another_custodian_is_found(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    forged = Approval(
        warrant=warrant.digest(), flag_id=header.flag_id, header=header.digest(), custodian="custodian-1",
        roster_version=1, decision="approve", reasons=REASON, share_index=2, sealed_share="00",
        decided_at=world.clock.now(),
    )  # fmt: skip
    world.log("approval", forged, "custodian-1")
    with pytest.raises(ProtocolError) as caught:
        verified(world, everything(world))
    assert caught.value.code == "envelope.invalid"


def test_outcome_by_the_reviewer_is_found(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = opened(world, header)
    papers, at = Papers(header, warrant), world.clock.now()
    review, notice = papers.review(reviewed_at=at), papers.notice(noticed_at=at)
    for kind, document, signer in (
        ("review", review, "investigator"),
        ("notice", notice, "issuer"),
        ("notification", papers.notification(notice, told_at=at), header.borough),
        ("outcome", papers.outcome(review, decided_by=review.reviewer, decided_at=at), "issuer"),
    ):
        world.log(kind, document, signer)
    with pytest.raises(ProtocolError) as caught:
        verified(world, everything(world))
    assert caught.value.code == "review.same_person"


# --- erasure ----------------------------------------------------------------------------------------------------


def test_erased_case_is_accounted_for_and_an_earlier_disclosure_still_proves_it(closed):
    world, _, _, outcome = closed
    earlier = fetched(world)
    world.clock.advance(max(timedelta(), outcome.retain_until - world.clock.now()))
    erase(world, due(world))
    report = verified(world)
    assert (report.openings, report.openings_checked, report.openings_erased) == (1, 0, 1)
    assert report.leaves_erased > len(earlier.leaves)
    both = verified(world, earlier, fetched(world))
    assert (both.openings_checked, both.openings_erased) == (1, 0)
    assert both.stages == {}


def test_opening_that_a_corrupt_register_erased_early_is_found_by_who_kept_the_disclosure(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = opened(world, header)
    to_disclosure(world, warrant)
    earlier = fetched(world)
    erasure = Erasure(
        erasure_id="9" * 32, coordinator="coordinator",
        flags=(ErasedFlag(flag_id=header.flag_id, cause="flag_retention"),),
        leaves=world.register.files.leaves_of([header.flag_id], now=world.clock.now()), legal_basis=REASON,
        erased_at=world.clock.now(),
    )  # fmt: skip
    world.log("erasure", erasure, "coordinator")
    with pytest.raises(ErasureRefused):
        verified(world, earlier, everything(world))


def test_erasure_that_is_kept_back_is_missed_and_so_is_one_of_other_leaves(closed):
    world, header, _, outcome = closed
    world.clock.advance(max(timedelta(), outcome.retain_until - world.clock.now()))
    look = consultation(number=7).model_copy(update={"consulted_at": world.clock.now()})
    index = world.log("consultation", look, "issuer")
    erase(world, due(world))
    whole = fetched(world)
    last = whole.leaves[-1]
    assert last.kind == "erasure"
    with pytest.raises(DisclosureIncomplete, match="every erasure"):
        verified(world, without(whole, last.index))
    forged = Erasure(
        erasure_id="8" * 32, coordinator="coordinator",
        flags=(ErasedFlag(flag_id=header.flag_id, cause="flag_retention"),), leaves=(index,), legal_basis=REASON,
        erased_at=world.clock.now(),
    )  # fmt: skip
    world.log("erasure", forged, "coordinator")
    with pytest.raises(CaseOutOfOrder, match="the whole list"):
        verified(world, everything(world))


@pytest.mark.parametrize("target", ["a roster", "itself", "an erasure"])
def test_erasure_of_what_is_never_erased_is_found(closed, target):
    world, _, _, _ = closed
    size = world.appender.history.tree.size
    leaves = {"a roster": (0,), "itself": (size,), "an erasure": (size,)}[target]
    for number in range(2 if target == "an erasure" else 1):
        forged = Erasure(
            erasure_id=f"{number:032x}", coordinator="coordinator",
            flags=(ErasedFlag(flag_id="0" * 32, cause="flag_retention"),), leaves=leaves if number or target != "an erasure"
            else (), legal_basis=REASON, erased_at=world.clock.now(),
        )  # fmt: skip
        world.log("erasure", forged, "coordinator")
    with pytest.raises(CaseOutOfOrder, match="it erases leaf"):
        verified(world, everything(world))


def test_disclosure_of_what_the_log_does_not_hold_is_refused(closed):
    world, _, _, _ = closed
    whole = fetched(world)
    beyond = whole.leaves[0].model_copy(update={"index": 10_000})
    with pytest.raises(ProtocolError, match="leaf 10000"):
        verified(world, whole.model_copy(update={"leaves": (beyond,)}))
    misnamed = whole.leaves[0].model_copy(update={"kind": "review"})
    with pytest.raises(DigestMismatch):
        verified(world, whole.model_copy(update={"leaves": (misnamed,)}))
