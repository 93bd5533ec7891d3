"""A dealer, a custodian, a coordinator and a recipient who cheat with envelopes.

Each attack is first shown to work on what it attacks, and then to fail here: a test of a defence against an attack that
would not have worked proves nothing.
"""

import dataclasses
import secrets
from functools import cache
from itertools import combinations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol.errors import EnvelopeInvalid
from protocol.sealing.envelope import (
    IDENTITY_TAG,
    Dealing,
    ReleaseContext,
    commit_key,
    commit_share,
    deal,
    open_released_share,
    open_share,
    reseal_share,
    seal_identity,
    seal_share,
    verify_share,
)
from protocol.sealing.framing import frame
from protocol.sealing.secret import Secret
from protocol.sealing.shamir import PRIME, SHARE_BYTES, combine
from tests.protocol.sealing.sealed_flag import (
    HEADER,
    IDENTITY,
    OTHER_HEADER,
    OTHER_WARRANT,
    WARRANT,
    SealedFlag,
    dealing_of,
    private_key,
    shares_of,
)

KEY = bytes(range(32))
OTHER_KEY = bytes(range(32, 64))
POLY1305_PRIME = 2**130 - 5
CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF


def quorums(threshold, custodians):
    return [q for size in range(threshold, custodians + 1) for q in combinations(range(1, custodians + 1), size)]


@cache
def flag(header=HEADER) -> SealedFlag:
    return SealedFlag.raise_one(threshold=3, custodians=5, header=header)


# --- the dealer -------------------------------------------------------------------------------------------------


def with_bad_share(threshold, custodians, victim) -> SealedFlag:
    """A dealer gives one custodian a share off the polynomial and commits to it, as honestly as to the others."""
    honest = deal(threshold=threshold, custodians=custodians)
    shares = list(honest.shares)
    value = int.from_bytes(shares[victim - 1].reveal(), "big")
    shares[victim - 1] = Secret(((value + 1) % PRIME).to_bytes(SHARE_BYTES, "big"))
    dealing = dealing_of(honest.key.reveal(), shares)
    return SealedFlag(threshold, dealing, HEADER, seal_identity(dealing, IDENTITY, header_digest=HEADER))


@pytest.mark.parametrize("victim", range(1, 6))
def test_off_polynomial_share_is_found_by_every_quorum(victim):
    bad = with_bad_share(3, 5, victim)
    bad.received_share(victim)  # the victim cannot see it: the share is the committed one
    for quorum in quorums(3, 5):
        with pytest.raises(EnvelopeInvalid):
            bad.open(quorum)


@pytest.mark.parametrize("victim", range(1, 6))
def test_quorum_without_the_cheated_custodian_names_the_share(victim):
    bad = with_bad_share(3, 5, victim)
    without = [quorum for quorum in quorums(3, 5) if victim not in quorum]
    assert len(without) == 5
    for quorum in without:
        naive = combine({x: bad.dealing.shares[x - 1] for x in quorum}, threshold=3, count=5)
        assert naive.secret == bad.dealing.key  # without the recomputation this quorum would notice nothing
        with pytest.raises(EnvelopeInvalid, match=f"committed to a share {victim} that is not on the polynomial"):
            bad.open(quorum)


@pytest.mark.parametrize("victim", [1, 2, 3])
def test_off_polynomial_share_is_found_when_all_custodians_are_needed(victim):
    with pytest.raises(EnvelopeInvalid):
        with_bad_share(3, 3, victim).open((1, 2, 3))


def test_dealer_that_commits_to_one_key_and_encrypts_under_another_is_found_by_every_quorum():
    committed = flag().dealing
    other = dataclasses.replace(committed, key=Secret(OTHER_KEY))
    cheating = dataclasses.replace(flag(), ciphertext=seal_identity(other, IDENTITY, header_digest=HEADER))
    for quorum in quorums(3, 5):
        with pytest.raises(EnvelopeInvalid, match="does not decrypt under the committed key"):
            cheating.open(quorum)


def test_dealer_that_commits_to_the_key_of_the_ciphertext_and_shares_another_is_found_by_every_quorum():
    dealing = dataclasses.replace(flag().dealing, key=Secret(OTHER_KEY), key_commitment=commit_key(Secret(OTHER_KEY)))
    cheating = SealedFlag(3, dealing, HEADER, seal_identity(dealing, IDENTITY, header_digest=HEADER))
    for quorum in quorums(3, 5):
        with pytest.raises(EnvelopeInvalid, match="another key than the header commits to"):
            cheating.open(quorum)


def test_dealer_that_lets_fewer_open_than_it_says_is_found_by_every_quorum():
    dealing = dealing_of(KEY, shares_of(int.from_bytes(KEY, "big"), 5, custodians=5))
    cheating = SealedFlag(3, dealing, HEADER, seal_identity(dealing, IDENTITY, header_digest=HEADER))
    early = combine({1: dealing.shares[0], 2: dealing.shares[1]}, threshold=2, count=5)
    assert early.secret == Secret(KEY)
    for quorum in quorums(3, 5):
        with pytest.raises(EnvelopeInvalid, match="fewer custodians than the threshold"):
            cheating.open(quorum)


def test_dealer_that_needs_more_than_it_says_is_found_by_every_quorum():
    dealing = dealing_of(KEY, shares_of(int.from_bytes(KEY, "big"), 5, 6, 7, custodians=5))
    cheating = SealedFlag(3, dealing, HEADER, seal_identity(dealing, IDENTITY, header_digest=HEADER))
    for quorum in quorums(3, 5):
        with pytest.raises(EnvelopeInvalid):
            cheating.open(quorum)


def test_dealer_cannot_commit_to_a_second_encoding_of_a_share():
    """The same field element as value + p: equal in arithmetic, another commitment."""
    twin = Secret((5 + PRIME).to_bytes(SHARE_BYTES, "big"))
    with pytest.raises(EnvelopeInvalid, match="share 1 is not an element of the field"):
        verify_share(twin, index=1, commitment=commit_share(twin, index=1))


@pytest.mark.parametrize(("threshold", "custodians"), [(4, 3), (3, 2), (256, 255), (1, 3), (0, 3)])
def test_threshold_beyond_the_custodians_or_of_one_is_refused(threshold, custodians):
    """pycryptodome's Shamir.split(4, 3, ...) deals three shares that nobody can ever combine."""
    with pytest.raises(EnvelopeInvalid, match="2 <= t <= n <= 255"):
        deal(threshold=threshold, custodians=custodians)


# --- the dealer, with one ciphertext for two names --------------------------------------------------------------


def chacha20(key: bytes, nonce: bytes, content: bytes, *, counter: int) -> bytes:
    return Cipher(algorithms.ChaCha20(key, counter.to_bytes(4, "little") + nonce), None).encryptor().update(content)


def poly1305_terms(content: bytes, r: int, blank: int) -> tuple[int, int]:
    """Return the Poly1305 sum without block ``blank``, and the power of r which that block is multiplied by."""
    total, blocks = 0, [content[at : at + 16] for at in range(0, len(content), 16)]
    for number, block in enumerate(blocks):
        total = total * r % POLY1305_PRIME
        if number != blank:
            total = (total + (int.from_bytes(block, "little") + (1 << 128)) * r) % POLY1305_PRIME
    return total, pow(r, len(blocks) - blank, POLY1305_PRIME)


def two_names_in_one_ciphertext(keys, names, aad) -> bytes:
    """Return ``nonce || ciphertext || tag`` that is authentic under both keys and holds a name under each.

    Poly1305 is linear in each block, so one free block makes the tags of both keys meet. The padding wants two equal
    length prefixes, which about one nonce in 2**16 gives.

    Source: Len, Grubbs, Ristenpart 2021, Partitioning Oracle Attacks, section 3; Dodis, Grubbs, Ristenpart, Woodage
    2018, Fast Message Franking, for the invisible salamanders.
    """
    for number in range(1 << 20):
        nonce = number.to_bytes(12, "big")
        if len({chacha20(key, nonce, bytes(2), counter=1) for key in keys}) == 1:
            break
    streams = [chacha20(key, nonce, bytes(512), counter=1) for key in keys]
    body = bytearray(streams[0])
    body[:2] = xor(streams[0][:2], (510).to_bytes(2, "big"))
    body[2 : 2 + len(names[0])] = xor(streams[0][2:], names[0])
    body[256 : 256 + len(names[1])] = xor(streams[1][256:], names[1])

    macs = [chacha20(key, nonce, bytes(32), counter=0) for key in keys]
    rs = [int.from_bytes(mac[:16], "little") & CLAMP for mac in macs]
    ss = [int.from_bytes(mac[16:], "little") for mac in macs]
    padded_aad = aad + bytes(-len(aad) % 16)
    lengths = len(aad).to_bytes(8, "little") + (512).to_bytes(8, "little")
    free = len(padded_aad) // 16 + 31
    for attempt in range(1000):
        body[480:496] = attempt.to_bytes(16, "little")
        (sum_a, power_a), (sum_b, power_b) = (poly1305_terms(padded_aad + body + lengths, r, free) for r in rs)
        for carry in range(-4, 5):
            gap = ss[1] - ss[0] + sum_b - sum_a + (carry << 128)
            block = gap * pow(power_a - power_b, -1, POLY1305_PRIME) % POLY1305_PRIME
            tags = {
                ((total + block * power) % POLY1305_PRIME + s) % 2**128
                for total, power, s in ((sum_a, power_a, ss[0]), (sum_b, power_b, ss[1]))
            }
            if block >> 128 == 1 and len(tags) == 1:
                body[496:512] = (block - (1 << 128)).to_bytes(16, "little")
                return nonce + bytes(body) + tags.pop().to_bytes(16, "little")
    raise AssertionError("no free block makes the tags meet")


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))


@cache
def salamander() -> bytes:
    aad = frame(IDENTITY_TAG, HEADER.encode())
    sealed = two_names_in_one_ciphertext((KEY, OTHER_KEY), (b"<name: Innocent>", b"<name: Guilty>"), aad)
    for key, name in ((KEY, b"<name: Innocent>"), (OTHER_KEY, b"<name: Guilty>")):
        assert name in ChaCha20Poly1305(key).decrypt(sealed[:12], sealed[12:], aad)  # the cipher alone is fooled
    return sealed


def test_ciphertext_with_two_names_opens_only_to_the_committed_one():
    for key, own, other in ((KEY, b"Innocent", b"Guilty"), (OTHER_KEY, b"Guilty", b"Innocent")):
        dealing = dealing_of(key, shares_of(int.from_bytes(key, "big"), 12345, custodians=4))
        opened = [SealedFlag(2, dealing, HEADER, salamander()).open(quorum) for quorum in quorums(2, 4)]
        assert all(own in identity and other not in identity for identity in opened)


@pytest.mark.parametrize("committed", [KEY, OTHER_KEY])
def test_quorums_cannot_be_dealt_two_keys_to_see_two_names(committed):
    """Custodians 1 and 2 hold one line, 3 and 4 another: without recomputation the quorum chooses the name."""
    lines = [shares_of(int.from_bytes(key, "big"), 12345, custodians=4) for key in (KEY, OTHER_KEY)]
    shares = (*lines[0][:2], *lines[1][2:])
    cheating = SealedFlag(2, dealing_of(committed, shares), HEADER, salamander())
    for quorum, key in (((1, 2), KEY), ((3, 4), OTHER_KEY)):
        naive = combine({x: shares[x - 1] for x in quorum}, threshold=2, count=4)
        assert naive.secret == Secret(key)
        for index in quorum:
            cheating.received_share(index)
    for quorum in quorums(2, 4):
        with pytest.raises(EnvelopeInvalid):
            cheating.open(quorum)


# --- the coordinator --------------------------------------------------------------------------------------------


def test_ciphertext_of_one_flag_under_the_header_of_another_is_refused():
    for quorum in quorums(3, 5):
        with pytest.raises(EnvelopeInvalid, match="does not decrypt under the committed key and this header"):
            flag().open(quorum, ciphertext=flag(OTHER_HEADER).ciphertext)


def test_ciphertext_is_bound_to_its_header_even_under_the_same_key():
    with pytest.raises(EnvelopeInvalid, match="this header"):
        flag().open((1, 2, 3), header_digest=OTHER_HEADER)


def test_whole_envelope_of_one_flag_under_the_header_of_another_is_refused():
    moved = dataclasses.replace(flag(), header=OTHER_HEADER)
    assert moved.dealing == flag().dealing
    with pytest.raises(EnvelopeInvalid, match="this header"):
        moved.open((1, 2, 3))


# --- shares in the wrong place ----------------------------------------------------------------------------------


def test_share_sealed_to_one_custodian_does_not_open_for_another():
    for holder in (1, 3, 4, 5):
        with pytest.raises(EnvelopeInvalid):
            open_share(
                flag().sealed_share(2),
                private_key(f"custodian-{holder}"),
                flag().context(2),
                commitment=flag().commitment(2),
            )


@pytest.mark.parametrize(
    "moved",
    [
        {"index": 4},
        {"custodian": "custodian-4"},
        {"header_digest": OTHER_HEADER},
        {"roster_version": 2},
        {"roster_version": 4},
        {"epoch": 6},
        {"epoch": 8},
    ],
    ids=str,
)
def test_share_replayed_to_another_place_or_time_does_not_open_even_with_the_same_key(moved):
    context = dataclasses.replace(flag().context(2), **moved)
    with pytest.raises(EnvelopeInvalid, match="do not open"):
        open_share(
            flag().sealed_share(2), private_key("custodian-2"), context, commitment=flag().commitment(context.index)
        )


def test_share_of_another_flag_resealed_in_this_ones_context_is_no_committed_share():
    """Anyone can seal to a custodian: base mode authenticates nobody. The commitment does."""
    stray = flag(OTHER_HEADER).dealing.shares[1]
    sealed = seal_share(stray, private_key("custodian-2").public_key(), flag().context(2))
    with pytest.raises(EnvelopeInvalid, match="share 2 is not the one that the header commits to"):
        open_share(sealed, private_key("custodian-2"), flag().context(2), commitment=flag().commitment(2))


def test_share_of_one_custodian_under_the_number_of_another_is_no_committed_share():
    sealed = seal_share(flag().dealing.shares[0], private_key("custodian-2").public_key(), flag().context(2))
    with pytest.raises(EnvelopeInvalid, match="share 2 is not the one that the header commits to"):
        open_share(sealed, private_key("custodian-2"), flag().context(2), commitment=flag().commitment(2))


@pytest.mark.parametrize(
    "moved",
    [
        {"warrant_digest": OTHER_WARRANT},
        {"header_digest": OTHER_HEADER},
        {"custodian": "custodian-4"},
        {"index": 4},
        {"roster_version": 4},
    ],
    ids=str,
)
def test_released_share_replayed_under_another_warrant_or_flag_does_not_open(moved):
    context = dataclasses.replace(flag().release_context(2), **moved)
    commitment = flag().commitment(context.index)
    with pytest.raises(EnvelopeInvalid, match="do not open"):
        open_released_share(flag().released_share(2), private_key("recipient"), context, commitment=commitment)


def test_released_share_does_not_open_for_another_recipient():
    context, commitment = flag().release_context(2), flag().commitment(2)
    with pytest.raises(EnvelopeInvalid, match="do not open"):
        open_released_share(flag().released_share(2), private_key("custodian-2"), context, commitment=commitment)


def test_custodian_that_releases_a_made_up_share_is_named():
    made_up = Secret(secrets.token_bytes(SHARE_BYTES - 1).rjust(SHARE_BYTES, b"\x00"))
    context = flag().release_context(4)
    sealed = reseal_share(made_up, private_key("recipient").public_key(), context)
    with pytest.raises(EnvelopeInvalid, match="share 4 is not the one"):
        open_released_share(sealed, private_key("recipient"), context, commitment=flag().commitment(4))


def test_dealt_share_does_not_open_as_a_released_one_nor_the_reverse():
    """A custodian's key used as recipient key by mistake: the tags still keep the two apart."""
    key, commitment = private_key("custodian-2"), flag().commitment(2)
    with pytest.raises(EnvelopeInvalid, match="do not open"):
        open_released_share(flag().sealed_share(2), key, flag().release_context(2), commitment=commitment)
    released = reseal_share(flag().dealing.shares[1], key.public_key(), flag().release_context(2))
    with pytest.raises(EnvelopeInvalid, match="do not open"):
        open_share(released, key, flag().context(2), commitment=commitment)


def test_letters_moved_between_fields_of_a_context_give_another_context():
    one = ReleaseContext(WARRANT, HEADER, "ab", 1, 1)
    assert one.info() != ReleaseContext(WARRANT, HEADER + "a", "b", 1, 1).info()


def test_no_error_repeats_a_secret():
    bad = with_bad_share(3, 5, 2)
    material = [bad.dealing.key.reveal(), *(share.reveal() for share in bad.dealing.shares), IDENTITY]
    for quorum in [(1, 2), *quorums(3, 5)]:
        with pytest.raises(EnvelopeInvalid) as refusal:
            bad.open(quorum)
        shown = repr(refusal.value) + str(refusal.value)
        assert not any(secret.hex() in shown or repr(secret)[2:-1] in shown for secret in material)
        assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_dealing_with_commitments_in_another_order_is_refused():
    swapped = flag().dealing.share_commitments[::-1]
    dealing = Dealing(flag().dealing.key, flag().dealing.shares[::-1], flag().dealing.key_commitment, swapped)
    with pytest.raises(EnvelopeInvalid, match="is not the one that the header commits to"):
        dataclasses.replace(flag(), dealing=dealing).open((1, 2, 3))
