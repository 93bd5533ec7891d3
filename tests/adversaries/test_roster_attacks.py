"""Somebody tries to change the root of trust, or to go on after it was changed against them."""

from __future__ import annotations

import pytest

from oversight.witness.witness import RosterProof
from protocol.documents.cases import Approval
from protocol.documents.enrolment import Enrolment
from protocol.documents.flags import SealedFlag
from protocol.documents.roster import Party, Roster
from protocol.errors import CheckpointInvalid, PeerNotInRoster, ProofInvalid, QuorumNotMet, UnknownSigner
from protocol.rpc.identity import Identity
from protocol.rpc.party import read_signing_key
from protocol.sealing.secret import Secret
from protocol.signing.dsse import Envelope, sign
from protocol.signing.keys import SigningKey
from tests.ceremony import CUSTODIANS, PASSPHRASE, Ceremony
from tests.world import BY, REASON, World


def signing_key(force: Ceremony, folder: str) -> SigningKey:
    return read_signing_key(force.folder(folder) / "signing.key", lambda: Secret(PASSPHRASE.encode()))


# --- the ceremony -----------------------------------------------------------------------------------------------


def test_roster_signed_by_a_minority_is_not_published_nor_accepted(ceremony: Ceremony) -> None:
    force = ceremony
    force.do("roster", "revoke", force.settings("coordinator"), "--party", "borough-02", "--out", force.draft(2))
    force.sign(2, "custodian-1")
    force.refused("quorum.not_met", 5, "roster", "publish", force.settings("coordinator"), force.draft(2))
    force.refused("quorum.not_met", 5, "roster", "accept", force.settings("witness-1"), force.draft(2))
    assert not (force.folder("witness-1") / "state" / "rosters").exists()
    force.sign(2, "custodian-3")
    force.do("roster", "accept", force.settings("witness-1"), force.draft(2))


def test_custodian_who_was_revoked_signs_no_later_roster(ceremony: Ceremony) -> None:
    force = ceremony
    coordinator = force.settings("coordinator")
    force.make_keys("custodian-2", folder="custodian-2-new")
    enrolment = force.enrolment("custodian-2-new")
    force.do("roster", "rotate", coordinator, "--enrolment", enrolment, "--out", force.draft(2))
    force.sign(2, "custodian-1", "custodian-3")
    for party in ("coordinator", "custodian-1", "custodian-2"):
        force.do("roster", "accept", force.settings(party), force.draft(2))
    force.do("roster", "revoke", coordinator, "--party", "borough-02", "--out", force.draft(3))
    digest = Envelope.decode(force.draft(3).read_bytes()).document(Roster).digest()
    old = force.settings("custodian-2")
    force.refused("signature.unknown_signer", 4, "roster", "sign", force.draft(3), old, "--digest", digest)
    # By a program of its own, then: the signature is there and does not count.
    force.sign(3, "custodian-1")
    envelope = Envelope.decode(force.draft(3).read_bytes())
    forged = envelope.merged(sign(envelope.document(Roster), signing_key(force, "custodian-2")))
    force.draft(3).write_bytes(forged.encode())
    assert len(forged.signatures) == 2
    force.refused("quorum.not_met", 5, "roster", "publish", coordinator, force.draft(3))


def test_old_roster_is_not_published_again_and_a_rival_is_not_accepted(ceremony: Ceremony) -> None:
    force = ceremony
    coordinator = force.settings("coordinator")
    for version in (2, 3):
        # Two drafts, both signed by the quorum: the second names the same predecessor as the first.
        party = "borough-02" if version == 2 else "issuer"
        force.do("roster", "revoke", coordinator, "--party", party, "--out", force.draft(version))
        digest = Envelope.decode(force.draft(version).read_bytes()).document(Roster).digest()
        for custodian in CUSTODIANS[:2]:
            force.do("roster", "sign", force.draft(version), force.settings(custodian), "--digest", digest)
    force.do("roster", "accept", coordinator, force.draft(2))
    force.refused("digest.mismatch", 4, "roster", "publish", coordinator, force.draft(3))
    force.refused("digest.mismatch", 4, "roster", "publish", coordinator, force.draft(2))
    force.refused("configuration", 3, "roster", "publish", coordinator, force.draft(1))
    force.refused("digest.mismatch", 4, "roster", "accept", coordinator, force.draft(1))


def test_of_two_published_rivals_one_is_logged_and_the_other_holds_nothing_up(ceremony: Ceremony) -> None:
    """Custodians who sign two rosters of one version do not stop the coordinator."""
    force = ceremony
    coordinator = force.settings("coordinator")
    for version, party in ((2, "borough-02"), (3, "issuer")):
        force.do("roster", "revoke", coordinator, "--party", party, "--out", force.draft(version))
        digest = Envelope.decode(force.draft(version).read_bytes()).document(Roster).digest()
        for custodian in CUSTODIANS[:2]:
            force.do("roster", "sign", force.draft(version), force.settings(custodian), "--digest", digest)
        force.do("roster", "publish", coordinator, force.draft(version))
    for party in ("witness-1", "coordinator"):
        force.start(party)
    assert force.logged == 2
    assert {"roster.logged", "digest.mismatch"} <= set(force.codes("coordinator"))
    assert force.servers["coordinator"]._coordinator.proposals.waiting() == []
    assert force.servers["witness-1"].party.roster.version == 2


def test_key_of_one_custodian_does_not_enrol_a_second(ceremony: Ceremony) -> None:
    """Two seats, one key: a quorum of two would be one person."""
    force = ceremony
    honest = Envelope.decode(force.enrolment("custodian-3").read_bytes())
    seat = honest.document(Enrolment).model_copy(update={"id": "custodian-4"})
    second = force.root / "second-seat.json"
    second.write_bytes(sign(seat, signing_key(force, "custodian-3")).encode())
    arguments = ("roster", "rotate", force.settings("coordinator"), "--enrolment", second, "--out", force.draft(2))
    force.refused("roster.invalid", 3, *arguments)
    # Nor somebody else's key under one's own name: the enrolment is not signed with it.
    second.write_bytes(sign(seat, signing_key(force, "custodian-2")).encode())
    force.refused("signature.unknown_signer", 4, *arguments)
    assert not force.draft(2).exists()


def test_draft_that_was_changed_after_it_was_read_out_is_not_signed(ceremony: Ceremony) -> None:
    force = ceremony
    force.do("roster", "revoke", force.settings("coordinator"), "--party", "borough-02", "--out", force.draft(2))
    read_out = Envelope.decode(force.draft(2).read_bytes()).document(Roster)
    force.draft(2).write_bytes(sign(read_out.model_copy(update={"approval_threshold": 3})).encode())
    arguments = ("roster", "sign", force.draft(2), force.settings("custodian-1"), "--digest", read_out.digest())
    force.refused("digest.mismatch", 4, *arguments)
    assert Envelope.decode(force.draft(2).read_bytes()).signatures == ()


# --- after it ---------------------------------------------------------------------------------------------------


def replaced(world: World, name: str) -> tuple[Party, ...]:
    """Give a party new signing and TLS keys, which it uses from now on; return the roster's parties with them."""
    world.keys[name] = SigningKey.generate()
    role = next(party.role for party in world.roster.parties if party.id == name)
    world.certificates[name], world.tls_keys[name], tls_key = world.ca.issue(Identity(world.roster.force, role, name))
    changes = {"signing_key": world.keys[name].public, "tls_key": tls_key}
    return tuple(one.model_copy(update=changes) if one.id == name else one for one in world.roster.parties)


def test_custodian_who_was_revoked_decides_nothing_and_its_earlier_approval_opens_nothing(flagged):
    world = flagged.world
    header = next(one for one in flagged.headers if len(one.custodians) == 3)
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    digest = warrant.digest()
    decide = {"decision": "approve", "reasons": REASON}
    for number in (1, 3):
        world.custodian(number).decide(digest, header.flag_id, **decide)
    thief, old_desk = world.keys["custodian-3"], world.custodian(3)
    world.rotate(parties=replaced(world, "custodian-3"))
    # One approval counts, of the two that are in the log; the investigator sees that before anything is logged.
    with pytest.raises(QuorumNotMet, match="1 of 2"):
        world.investigator().open(digest, header.flag_id)
    # The old certificate is not let in, whatever its holder signs.
    with pytest.raises(PeerNotInRoster):
        old_desk.decide(digest, header.flag_id, **decide)
    approval = next(
        envelope.document(Approval)
        for case in world.cases.case_documents()
        if case.kind == "approval"
        and (envelope := Envelope.decode(case.envelope)).document(Approval).custodian == "custodian-3"
    )
    with pytest.raises(UnknownSigner):
        world.register.submit(world.roster.party("custodian-3", "custodian"), "approval", sign(approval, thief))
    # The same person with the new key decides again, and the flag, of before the rotation, opens.
    world.custodian(3).decide(digest, header.flag_id, **decide)
    assert world.investigator().open(digest, header.flag_id).identity.startswith(f"P-{header.borough}")


def test_what_a_borough_signed_before_its_key_was_replaced_stays_and_its_old_key_raises_nothing_more(flagged):
    world, borough = flagged.world, flagged.headers[0].borough
    stolen = world.keys[borough]
    world.rotate(parties=replaced(world, borough))
    assert {one.flag_id for one in world.issuer().flags(by=BY, reason=REASON)} == {
        one.flag_id for one in flagged.headers
    }
    assert world.custodian(1).collect_shares() == 0
    stored = world.gate(borough).flags(flagged.policy)
    held = [(Envelope.decode(flag.envelope), flag.ciphertext, flag.sealed_shares) for flag in stored]
    entry = world.roster.party(borough, "borough")
    # Asked again it gets the places of the flags that are held; a new one under the stolen key is refused.
    assert world.register.raise_flags(entry, held) == [
        flag.leaf for flag in world.cases.all_flags() if flag.borough == borough
    ]
    sealed = held[0][0].document(SealedFlag)
    header = sealed.header.model_copy(update={"flag_id": "ab" * 16})
    fresh = sign(sealed.model_copy(update={"header": header}), stolen)
    with pytest.raises(UnknownSigner):
        world.register.raise_flags(entry, [(fresh, *held[0][1:])])


# --- the witness's door -----------------------------------------------------------------------------------------


def shown(world: World, index: int, size: int) -> RosterProof:
    history = world.appender.history
    return RosterProof(index, history.leaves[index], history.tree.inclusion_proof(index, size))


@pytest.fixture
def lagging(world: World):
    """A witness that stands before the rotation, and what the coordinator has to show it."""
    late = world.witness("witness-3")
    late._memory.remember = lambda signed: None
    old = late._latest.checkpoint.size
    thief = world.keys["coordinator"]
    following = world.next_roster(parties=replaced(world, "coordinator"))
    index = world.appender.append("roster", world.signed(following, *CUSTODIANS[:2]))
    tree = world.appender.history.tree
    return (
        late,
        thief,
        shown(world, index, tree.size),
        {"old_size": old, "proof": tree.consistency_proof(old, tree.size)},
    )


def test_witness_takes_a_roster_only_from_the_tree_that_it_cosigns(world, lagging):
    late, _, proof, extends = lagging
    signed = world.appender.checkpoint(world.keys["coordinator"])
    for wrong in (
        RosterProof(proof.index, proof.leaf, (bytes(32), *proof.proof[1:])),
        RosterProof(proof.index + 1, proof.leaf, proof.proof),
        RosterProof(proof.index, proof.leaf, ()),
    ):
        with pytest.raises(ProofInvalid):
            late.add_checkpoint(signed, **extends, rosters=[wrong])
    with pytest.raises(CheckpointInvalid, match="not a roster"):
        late.add_checkpoint(signed, **extends, rosters=[shown(world, 1, signed.checkpoint.size)])
    assert late.roster_version == 1
    assert late.add_checkpoint(signed, **extends, rosters=[proof])[0] is not None
    assert late.roster_version == 2


def test_coordinator_key_that_was_replaced_gets_no_cosignature_once_the_witness_knows(world, lagging):
    late, thief, proof, extends = lagging
    with pytest.raises(CheckpointInvalid):
        late.add_checkpoint(world.appender.checkpoint(thief), **extends, rosters=[proof])
    assert late.roster_version == 1
    signed = world.appender.checkpoint(world.keys["coordinator"])
    late.add_checkpoint(signed, **extends, rosters=[proof])
    size = signed.checkpoint.size
    with pytest.raises(CheckpointInvalid):
        late.add_checkpoint(world.appender.checkpoint(thief), old_size=size, proof=[])
    # It stays so after a restart: the roster is on the witness's disk.
    assert world.witness("witness-3").roster_version == 2
