"""A sealed flag: dealt to the custodians who may decide, openable by a quorum of them, and silent otherwise."""

from datetime import timedelta

import pytest

from borough_node.flags.sealing import seal_candidate
from borough_node.scoring.candidates import Candidate
from protocol.documents.flags import CategoryRule, FlagPolicy, SealedFlag
from protocol.ids import digest_of
from protocol.sealing.envelope import ShareContext, open_identity, open_share
from protocol.sealing.pseudonym import PseudonymKey, pseudonym
from protocol.signing.dsse import Envelope
from protocol.signing.quorum import verify_signed_by_role
from tests.world import NOW, World

PERSON = "P-borough-1-007"
CANDIDATE = Candidate(PERSON, "first", "high", "medium", ("alpha",))
KEY = PseudonymKey(bytes(32))


def policy(retention_days=60):
    return FlagPolicy(
        policy_id="1" * 32,
        roster="2" * 64,
        plan="3" * 64,
        model="4" * 64,
        scoring_cutoff=2030,
        rules=(
            CategoryRule(category="first", threshold=0.5, cap_per_borough=3, stability_error=0.02, minimum_band=None),
        ),
        min_population=20,
        max_reasons=3,
        retention_days=retention_days,
        control_rate=0.0,
        waivers=(),
        valid_from=NOW,
        valid_until=NOW + timedelta(days=1),
    )


def sealed(world, candidate=CANDIDATE, borough="borough-1", retention_days=60):
    return seal_candidate(
        candidate,
        borough=borough,
        policy=policy(retention_days),
        roster=world.roster,
        pseudonym_key=KEY,
        signing_key=world.keys[borough],
        now=NOW,
    )


def read(world, flag):
    document, signer = verify_signed_by_role(Envelope.decode(flag.envelope), SealedFlag, world.roster, "borough")
    return document, signer.id


def share_of(world, flag, document, index):
    header = document.header
    name = header.custodians[index - 1]
    context = ShareContext(header.digest(), name, index, header.roster_version, header.epoch)
    return open_share(
        flag.sealed_shares[index - 1],
        world.envelope_keys[name],
        context,
        commitment=header.share_commitments[index - 1],
    )


@pytest.mark.parametrize("quorum", [(1, 2), (1, 3), (2, 3), (1, 2, 3)])
def test_every_quorum_of_custodians_recovers_the_identity(world, quorum):
    flag = sealed(world)
    document, _ = read(world, flag)
    header = document.header
    identity = open_identity(
        {index: share_of(world, flag, document, index) for index in quorum},
        threshold=header.threshold,
        share_commitments=header.share_commitments,
        key_commitment=header.key_commitment,
        ciphertext=flag.ciphertext,
        header_digest=header.digest(),
    )
    assert identity.decode() == PERSON


def test_borough_signs_header_ciphertext_and_shares(world):
    flag = sealed(world)
    document, signer = read(world, flag)
    assert signer == document.header.borough == "borough-1"
    assert document.ciphertext == digest_of(flag.ciphertext)
    assert document.sealed_shares == tuple(map(digest_of, flag.sealed_shares))
    assert document.header.flag_id == flag.flag_id


def test_custodian_in_conflict_gets_no_share(tmp_path):
    world = World.create(tmp_path / "conflict", conflicts={"custodian-2": ("borough-1",)})
    assert read(world, sealed(world))[0].header.custodians == ("custodian-1", "custodian-3")
    other = sealed(world, borough="borough-2")
    assert read(world, other)[0].header.custodians == ("custodian-1", "custodian-2", "custodian-3")
    world.close()


def test_header_carries_the_keyed_pseudonym_and_never_the_person(world):
    header = read(world, sealed(world))[0].header
    assert header.pseudonym == pseudonym(KEY, borough="borough-1", plan_digest="3" * 64, person=PERSON)
    assert PERSON.encode() not in header.encode()


def test_ciphertexts_of_short_and_long_identities_are_equally_long(world):
    flags = [sealed(world, Candidate(person, "first", "high", "high", ())) for person in ("P-1", "P-" + "9" * 200)]
    assert len({len(flag.ciphertext) for flag in flags}) == 1


def test_two_flags_of_one_person_share_the_pseudonym_and_nothing_secret(world):
    one, two = (sealed(world) for _ in range(2))
    headers = [read(world, flag)[0].header for flag in (one, two)]
    assert headers[0].pseudonym == headers[1].pseudonym
    for field in ("flag_id", "key_commitment", "share_commitments"):
        assert getattr(headers[0], field) != getattr(headers[1], field)
    assert one.ciphertext != two.ciphertext


@pytest.mark.parametrize(("retention", "expected"), [(60, 60), (100_000, 365)])
def test_retention_never_outlives_the_custodians_keys(world, retention, expected):
    header = read(world, sealed(world, retention_days=retention))[0].header
    assert header.retain_until == NOW + timedelta(days=expected)
    assert header.retain_until <= world.roster.epoch_until
