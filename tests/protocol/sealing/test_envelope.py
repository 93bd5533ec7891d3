import dataclasses
from functools import cache
from itertools import combinations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import EnvelopeInvalid
from protocol.sealing.envelope import (
    IDENTITY_CIPHERTEXT_BYTES,
    IDENTITY_TAG,
    MAX_IDENTITY_BYTES,
    RELEASE_TAG,
    SHARE_TAG,
    ReleaseContext,
    ShareContext,
    commit_key,
    commit_share,
    deal,
    open_identity,
    open_released_share,
    open_share,
    seal_identity,
    verify_share,
)
from protocol.sealing.framing import frame
from protocol.sealing.secret import Secret
from protocol.sealing.shamir import SHARE_BYTES
from tests.protocol.sealing.sealed_flag import HEADER, IDENTITY, OTHER_HEADER, SealedFlag, private_key
from tests.vectors import make_envelope


@cache
def flag() -> SealedFlag:
    return SealedFlag.raise_one(threshold=3, custodians=5)


@cache
def sealed_share() -> bytes:
    return flag().sealed_share(2)


def open_sealed_share(sealed=None, context=None, commitment=None):
    return open_share(
        sealed or sealed_share(),
        private_key("custodian-2"),
        context or flag().context(2),
        commitment=commitment or flag().commitment(2),
    )


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_name_comes_back_by_way_of_custodians_and_recipient():
    shares = {index: flag().opened_share(index) for index in (1, 3, 4)}
    opened = open_identity(
        shares,
        threshold=3,
        share_commitments=flag().dealing.share_commitments,
        key_commitment=flag().dealing.key_commitment,
        ciphertext=flag().ciphertext,
        header_digest=HEADER,
    )
    assert opened == IDENTITY


@given(data=st.data(), identity=st.binary(max_size=MAX_IDENTITY_BYTES))
@settings(max_examples=40, deadline=None)
def test_any_quorum_opens_any_identity(data, identity):
    custodians = data.draw(st.integers(2, 7))
    threshold = data.draw(st.integers(2, custodians))
    raised = SealedFlag.raise_one(threshold=threshold, custodians=custodians, identity=identity)
    indices = st.lists(st.integers(1, custodians), min_size=threshold, max_size=custodians, unique=True)
    assert raised.open(data.draw(indices)) == identity
    assert len(raised.ciphertext) == IDENTITY_CIPHERTEXT_BYTES


@pytest.mark.parametrize("few", [pair for size in (0, 1, 2) for pair in combinations(range(1, 6), size)], ids=str)
def test_fewer_than_the_threshold_never_open(few):
    with pytest.raises(EnvelopeInvalid, match="3 are needed"):
        flag().open(few)


def test_lowering_the_threshold_at_the_opener_does_not_help():
    with pytest.raises(EnvelopeInvalid):
        flag().open((1, 2), threshold=2)


@given(bit=st.integers(0, 8 * IDENTITY_CIPHERTEXT_BYTES - 1))
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_of_the_ciphertext_is_refused(bit):
    with pytest.raises(EnvelopeInvalid, match="does not decrypt"):
        flag().open((1, 2, 3), ciphertext=flipped(flag().ciphertext, bit))


@given(bit=st.integers(0, 8 * 1202 - 1))
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_of_a_sealed_share_is_refused(bit):
    with pytest.raises(EnvelopeInvalid, match="do not open"):
        open_sealed_share(sealed=flipped(sealed_share(), bit))


@given(bit=st.integers(0, 8 * SHARE_BYTES - 1), index=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_of_a_share_is_laid_at_its_custodian(bit, index):
    shares = dict(enumerate(flag().dealing.shares, start=1))
    shares[index] = Secret(flipped(shares[index].reveal(), bit))
    dealing = flag().dealing
    with pytest.raises(EnvelopeInvalid, match=f"share {index} "):
        open_identity(
            shares,
            threshold=3,
            share_commitments=dealing.share_commitments,
            key_commitment=dealing.key_commitment,
            ciphertext=flag().ciphertext,
            header_digest=HEADER,
        )


CHANGES = {
    "header_digest": OTHER_HEADER,
    "custodian": "custodian-3",
    "index": 3,
    "roster_version": 4,
    "epoch": 8,
}


@pytest.mark.parametrize("field", CHANGES)
def test_sealed_share_does_not_open_when_one_field_of_its_context_differs(field):
    changed = dataclasses.replace(flag().context(2), **{field: CHANGES[field]})
    with pytest.raises(EnvelopeInvalid, match="do not open"):
        open_sealed_share(context=changed)


RELEASE_CHANGES = {"warrant_digest": OTHER_HEADER} | {name: CHANGES[name] for name in list(CHANGES)[:4]}


@pytest.mark.parametrize("field", RELEASE_CHANGES)
def test_released_share_does_not_open_when_one_field_of_its_context_differs(field):
    changed = dataclasses.replace(flag().release_context(2), **{field: RELEASE_CHANGES[field]})
    with pytest.raises(EnvelopeInvalid, match="do not open"):
        open_released_share(
            flag().released_share(2), private_key("recipient"), changed, commitment=flag().commitment(2)
        )


CONTEXTS = st.builds(
    ShareContext,
    header_digest=st.text(max_size=4),
    custodian=st.text(max_size=4),
    index=st.integers(1, 255),
    roster_version=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 2**64 - 1),
)


@given(one=CONTEXTS, other=CONTEXTS)
@settings(max_examples=100, deadline=None)
def test_contexts_have_one_encoding_each(one, other):
    assert (one.info() == other.info()) == (one == other)


def test_share_and_release_contexts_never_coincide():
    assert ShareContext(HEADER, "c", 1, 1, 1).info().startswith(frame(SHARE_TAG))
    assert ReleaseContext(HEADER, HEADER, "c", 1, 1).info().startswith(frame(RELEASE_TAG))
    assert frame(SHARE_TAG) != frame(RELEASE_TAG)


@pytest.mark.parametrize(
    ("field", "value"),
    [("index", 0), ("index", 256), ("index", -1), ("roster_version", -1), ("roster_version", 2**64), ("epoch", -1)],
)
def test_context_number_out_of_range_is_refused(field, value):
    with pytest.raises(EnvelopeInvalid, match=field.replace("_", " ")):
        dataclasses.replace(flag().context(1), **{field: value}).info()


def test_share_that_is_not_the_committed_one_is_refused_on_receipt():
    with pytest.raises(EnvelopeInvalid, match="share 2 is not the one"):
        open_sealed_share(commitment=flag().commitment(3))


def test_commitment_binds_the_index_and_the_kind():
    share = flag().dealing.shares[0]
    assert commit_share(share, index=1) == flag().commitment(1)
    assert commit_share(share, index=2) != flag().commitment(1)
    assert commit_key(share) != commit_share(share, index=1)
    verify_share(share, index=1, commitment=flag().commitment(1))
    with pytest.raises(EnvelopeInvalid, match="share 2 is not"):
        verify_share(share, index=2, commitment=flag().commitment(1))


def test_key_other_than_the_committed_one_is_refused():
    with pytest.raises(EnvelopeInvalid, match="another key"):
        flag().open((1, 2, 3), key_commitment=commit_key(Secret(bytes(32))))


def test_given_shares_must_be_within_the_dealing():
    shares = {9: flag().dealing.shares[0]}
    with pytest.raises(EnvelopeInvalid, match="number is not within 1 to 5"):
        open_identity(
            shares,
            threshold=3,
            share_commitments=flag().dealing.share_commitments,
            key_commitment=flag().dealing.key_commitment,
            ciphertext=flag().ciphertext,
            header_digest=HEADER,
        )


@pytest.mark.parametrize("commitment", ["", "zz", "é" * 64, "0" * 64])
def test_commitment_that_is_no_digest_is_refused(commitment):
    with pytest.raises(EnvelopeInvalid, match="share 2 is not the one"):
        verify_share(flag().dealing.shares[1], index=2, commitment=commitment)


@pytest.mark.parametrize("length", [0, 11, 12, 28, IDENTITY_CIPHERTEXT_BYTES - 1, IDENTITY_CIPHERTEXT_BYTES + 1])
def test_ciphertext_of_another_length_is_refused(length):
    with pytest.raises(EnvelopeInvalid, match="an identity ciphertext has"):
        flag().open((1, 2, 3), ciphertext=bytes(length))


def test_short_and_long_names_have_ciphertexts_of_one_length():
    assert {len(seal_identity(flag().dealing, bytes(n), header_digest=HEADER)) for n in (0, 1, 509, 510)} == {540}


def test_two_sealings_under_one_dealing_do_not_show_the_difference_of_two_names():
    one, other = (seal_identity(flag().dealing, name, header_digest=HEADER) for name in (b"one", b"two"))
    assert one[:12] != other[:12]


def test_identity_too_long_is_refused_without_repeating_it():
    with pytest.raises(EnvelopeInvalid, match="longer than 510 bytes") as refusal:
        seal_identity(flag().dealing, b"N" * 511, header_digest=HEADER)
    assert "N" * 4 not in str(refusal.value)
    assert "511" not in str(refusal.value)


@pytest.mark.parametrize(
    "padded",
    [
        (3).to_bytes(2, "big") + b"abc" + bytes(506) + b"x",
        (2).to_bytes(2, "big") + b"abc" + bytes(507),
        (511).to_bytes(2, "big") + bytes(510),
        b"\xff" * 512,
    ],
    ids=["last byte set", "longer than it says", "one too long", "all ones"],
)
def test_identity_with_wrong_padding_is_refused_even_under_the_right_key(padded):
    aad = frame(IDENTITY_TAG, HEADER.encode())
    ciphertext = bytes(12) + ChaCha20Poly1305(flag().dealing.key.reveal()).encrypt(bytes(12), padded, aad)
    with pytest.raises(EnvelopeInvalid, match="not padded as the format says"):
        flag().open((1, 2, 3), ciphertext=ciphertext)


def test_two_dealings_share_nothing():
    one, other = deal(threshold=2, custodians=3), deal(threshold=2, custodians=3)
    assert one.key != other.key
    assert not set(one.share_commitments) & set(other.share_commitments)
    assert one.key_commitment != other.key_commitment


def test_dealing_prints_no_secret():
    shown = repr(flag().dealing)
    assert shown.count("<redacted>") == 6
    for secret in (flag().dealing.key, *flag().dealing.shares):
        assert secret.reveal().hex() not in shown
        assert repr(secret.reveal()) not in shown


def test_golden_envelope_states_what_the_format_derives():
    vector = make_envelope.load()
    for field, value in make_envelope.fixed_part().items():
        assert vector[field] == value, field


def test_golden_shares_open_for_custodian_and_recipient():
    vector = make_envelope.load()
    for index, party in enumerate(vector["custodians"], start=1):
        shares = make_envelope.open_both(vector, index)
        assert [share.reveal().hex() for share in shares] == [party["share"], party["share"]]


@pytest.mark.parametrize("case", make_envelope.load()["cases"], ids=lambda case: case["name"].replace(" ", "-"))
def test_golden_case_ends_as_the_vector_says(case):
    vector = make_envelope.load()
    if case["error"] is None:
        assert make_envelope.open_case(vector, case).hex() == vector["identity"]
    else:
        with pytest.raises(EnvelopeInvalid) as refusal:
            make_envelope.open_case(vector, case)
        assert refusal.value.code == case["error"]
