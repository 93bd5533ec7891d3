"""Masks: the keystream against AES itself, keys that agree on both sides only, sums in which every mask cancels."""

from __future__ import annotations

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocol.aggregation.masks import (
    CHUNK_ENTRIES,
    MaskKeyInvalid,
    MaskPrivateKey,
    add_keystreams,
    add_vector,
    from_ring,
    keystream,
    keystream_chunks,
    remove_masks,
    to_ring,
    vector_bytes,
    vector_digest,
    vector_from_bytes,
)
from protocol.errors import ShapeMismatch, VerificationError
from protocol.ids import digest_of
from tests.federation import low_order_points

REQUEST = digest_of(b"request")
UNMASKER = MaskPrivateKey(bytes(range(32)))
vectors = hnp.arrays(np.int64, st.integers(1, 20), elements=st.integers(-(2**63), 2**63 - 1))


def counter_mode(key: bytes, first: int, blocks: int) -> bytes:
    """AES-CTR from its definition: the cipher applied to consecutive counters (NIST SP 800-38A section 6.5)."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the definition of CTR
    return b"".join(encryptor.update(((first + i) % 2**128).to_bytes(16, "big")) for i in range(blocks))


def test_counter_mode_from_its_definition_gives_the_nist_vector():
    # NIST SP 800-38A, F.5.5 CTR-AES256.Encrypt: output blocks 1 to 4.
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    first = int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16)
    assert counter_mode(key, first, 4).hex() == (
        "0bdf7df1591716335e9a8b15c860c5025a6e699d536119065433863c8f657b94"
        "1bc12c9c01610d5d0d8bd6a3378eca622956e1c8693536b1bee99c73a31576b6"
    )


@pytest.mark.parametrize("length", [0, 1, 2, 3, CHUNK_ENTRIES - 1, CHUNK_ENTRIES, CHUNK_ENTRIES + 1, 100_001])
def test_the_keystream_is_aes_256_ctr_from_zero_read_little_endian(length):
    key = bytes(range(100, 132))
    expected = counter_mode(key, 0, (length + 1) // 2)[: 8 * length]
    assert keystream(key, length).astype("<u8").tobytes() == expected


def test_a_shorter_keystream_is_the_beginning_of_a_longer_one():
    np.testing.assert_array_equal(keystream(bytes(32), 10), keystream(bytes(32), 100)[:10])


@pytest.mark.parametrize("start", [0, 1, 2, 7, CHUNK_ENTRIES - 1, CHUNK_ENTRIES, 3 * CHUNK_ENTRIES + 5])
@pytest.mark.parametrize("length", [1, 2, CHUNK_ENTRIES, CHUNK_ENTRIES + 3])
def test_a_keystream_read_from_its_middle_is_the_middle_of_the_keystream(start, length):
    key = bytes(range(32))
    read = np.concatenate([chunk.copy() for chunk in keystream_chunks(key, length, start=start)])
    np.testing.assert_array_equal(read, keystream(key, start + length)[start:])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3 * CHUNK_ENTRIES), st.integers(1, 3))
def test_adding_a_keystream_in_place_adds_all_of_it_and_touches_nothing_else(seed, length, stride):
    random = np.random.default_rng(seed)
    key, surrounding = random.bytes(32), random.integers(0, 2**64, size=stride * length + 2, dtype=np.uint64)
    before, values = surrounding.copy(), surrounding[1 : 1 + stride * length : stride]
    expected = values + keystream(key, length)
    add_keystreams(values, key)
    np.testing.assert_array_equal(values, expected)
    values -= keystream(key, length)
    np.testing.assert_array_equal(surrounding, before)


def test_masking_takes_no_memory_that_grows_with_the_vector():
    values = np.zeros(1_000_000, dtype=np.uint64)
    tracemalloc.start()
    add_keystreams(values, bytes(32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 8 * CHUNK_ENTRIES < values.nbytes / 20


def test_both_sides_agree_on_a_key_that_depends_on_all_of_the_context():
    own = MaskPrivateKey.generate()

    def agreed(**changes):
        context = {"request": REQUEST, "borough": "borough-1", "borough_key": own.public}
        return UNMASKER.agree(own.public, **(context | changes))

    assert own.agree(UNMASKER.public, request=REQUEST, borough="borough-1", borough_key=own.public) == agreed()
    others = [
        agreed(request=digest_of(b"another request")),
        agreed(borough="borough-2"),
        agreed(borough_key=UNMASKER.public),
        MaskPrivateKey.generate().agree(own.public, request=REQUEST, borough="borough-1", borough_key=own.public),
    ]
    assert len({agreed(), *others}) == 5


def test_a_fresh_key_is_another_key_every_time():
    assert MaskPrivateKey.generate().public != MaskPrivateKey.generate().public


@pytest.mark.parametrize("point", low_order_points())
def test_a_point_of_low_order_is_refused(point):
    with pytest.raises(MaskKeyInvalid, match="borough-1"):
        UNMASKER.agree(point, request=REQUEST, borough="borough-1", borough_key=point)


@pytest.mark.parametrize("point", ["", "aa", "aa" * 33])
def test_what_is_not_a_point_is_refused(point):
    with pytest.raises(VerificationError):
        UNMASKER.agree(point, request=REQUEST, borough="borough-1", borough_key=point)


def test_a_mask_key_never_shows_itself():
    assert UNMASKER.private_bytes().hex() not in repr(UNMASKER)
    assert "redacted" in repr(UNMASKER)
    assert MaskPrivateKey(UNMASKER.private_bytes()).public == UNMASKER.public


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_masks_cancel_for_every_subset_of_boroughs(seed, length):
    random = np.random.default_rng(seed)
    plain = [random.integers(-(2**62), 2**62, size=length) for _ in range(4)]
    keys = [random.bytes(32) for _ in plain]
    masked = [vector_bytes(to_ring(x) + keystream(key, length)) for x, key in zip(plain, keys, strict=True)]
    for size in range(1, 5):
        for subset in combinations(range(4), size):
            masked_sum, mask_sum = np.zeros(length, dtype=np.uint64), np.zeros(length, dtype=np.uint64)
            for i in subset:
                add_vector(masked[i], masked_sum, digest=digest_of(masked[i]))
                add_keystreams(mask_sum, keys[i])
            expected = np.sum([plain[i] for i in subset], axis=0, dtype=np.int64)
            np.testing.assert_array_equal(from_ring(remove_masks(masked_sum, mask_sum)), expected)


@given(vectors)
def test_signed_integers_survive_the_ring_and_the_wire(values):
    assert to_ring(values).dtype == np.uint64
    content = vector_bytes(to_ring(values))
    np.testing.assert_array_equal(from_ring(vector_from_bytes(content, length=values.size)), values)
    assert vector_digest(content) == digest_of(content)


def test_the_wire_form_is_little_endian():
    assert vector_bytes(to_ring(np.array([-2]))) == b"\xfe" + b"\xff" * 7


@pytest.mark.parametrize("content", [b"", bytes(7), bytes(15), bytes(17), bytes(24)])
def test_a_vector_of_another_length_is_refused(content):
    with pytest.raises(ShapeMismatch):
        vector_from_bytes(content, length=2)


def test_vectors_of_another_length_are_not_added_to_a_sum():
    with pytest.raises(ShapeMismatch):
        add_vector(bytes(24), np.zeros(2, dtype=np.uint64), digest=digest_of(bytes(24)))


@pytest.mark.parametrize("length", [1, CHUNK_ENTRIES, 2 * CHUNK_ENTRIES + 3])
def test_vector_with_one_bit_flipped_is_taken_away_again(length):
    random = np.random.default_rng(length)
    total = random.integers(0, 2**64, size=length, dtype=np.uint64)
    before, signed = total.copy(), random.bytes(8 * length)
    for place in (0, 8 * length - 1):
        sent = bytearray(signed)
        sent[place] ^= 1
        with pytest.raises(ShapeMismatch, match="statement signs"):
            add_vector(bytes(sent), total, digest=digest_of(signed))
        np.testing.assert_array_equal(total, before)
    add_vector(memoryview(signed), total, digest=digest_of(signed))
    np.testing.assert_array_equal(total - before, np.frombuffer(signed, dtype="<u8"))


@pytest.mark.parametrize("length", [0, 1, CHUNK_ENTRIES + 7])
def test_keystreams_added_together_are_the_sum_of_each(length):
    keys = [bytes([number]) * 32 for number in range(5)]
    values = np.zeros(length, dtype=np.uint64)
    add_keystreams(values, *keys)
    expected = np.sum([keystream(key, length) for key in keys], axis=0, dtype=np.uint64)
    np.testing.assert_array_equal(values, expected)


def test_a_mask_sum_of_another_shape_is_not_taken_off():
    short, long = np.zeros(2, dtype=np.uint64), np.zeros(3, dtype=np.uint64)
    for masked_sum, mask_sum in ((short, long), (long, short), (long, np.zeros((3, 1), dtype=np.uint64))):
        with pytest.raises(ShapeMismatch):
            remove_masks(masked_sum, mask_sum)


def test_a_vector_read_from_the_wire_cannot_be_written_to():
    vector = vector_from_bytes(bytes(16), length=2)
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 1
