"""Tags: those of a sum are the sum of the tags, and a changed sum loses them."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from protocol.aggregation import tags
from protocol.aggregation.encoding import CAPACITY, check_range
from protocol.aggregation.masks import CHUNK_ENTRIES, from_ring, keystream, to_ring
from protocol.errors import DigestMismatch, SumInvalid
from protocol.ids import digest_of

SEED = digest_of(b"a fixed seed")
BOUND = 2.0**40
"""Above the range of every honest sum of these tests, and far below the ring."""


def values_of(seed: int, length: int) -> np.ndarray:
    return to_ring(np.random.default_rng(seed).integers(-(2**30), 2**30, size=length))


@pytest.mark.parametrize("length", [1, 2, 3, 8, CHUNK_ENTRIES, CHUNK_ENTRIES + 1, 2 * CHUNK_ENTRIES + 7])
def test_tags_are_the_products_with_three_rows_of_one_keystream(length):
    values = np.random.default_rng(length).integers(0, 2**64, size=length, dtype=np.uint64)
    key = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"custodes/tag/v1").derive(bytes.fromhex(SEED))
    rows = keystream(key, 3 * length).tolist()
    expected = [
        sum(r * x for r, x in zip(rows[k * length : (k + 1) * length], values.tolist(), strict=True)) % 2**64
        for k in range(3)
    ]
    assert tags.with_tags(values, SEED).tolist() == [*values.tolist(), *expected]


def test_tags_take_no_memory_that_grows_with_the_vector():
    values = np.zeros(1_000_000, dtype=np.uint64)
    tracemalloc.start()
    tags.tags_of(values, SEED)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 8 * CHUNK_ENTRIES < values.nbytes / 10


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6), st.integers(1, 20))
def test_the_sum_of_tagged_vectors_is_a_tagged_vector(seeds, length):
    plain = [values_of(seed, length) for seed in seeds]
    tagged_sum = np.sum([tags.with_tags(values, SEED) for values in plain], axis=0, dtype=np.uint64)
    np.testing.assert_array_equal(tags.without_tags(tagged_sum, SEED), np.sum(plain, axis=0, dtype=np.uint64))


@pytest.mark.parametrize("length", [1, 2, 9])
def test_every_flipped_bit_is_found_by_the_tags_or_by_the_range(length):
    tagged = tags.with_tags(values_of(1, length), SEED)
    check_range(from_ring(tags.without_tags(tagged, SEED)), bound=BOUND)
    for bit in range(64 * tagged.size):
        changed = tagged.copy()
        changed[bit // 64] ^= np.uint64(1 << (bit % 64))
        with pytest.raises(SumInvalid):
            check_range(from_ring(tags.without_tags(changed, SEED)), bound=BOUND)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 8))
def test_an_error_in_several_entries_is_found(data, length):
    # The error is chosen without the seed; one passes by chance once in 2**72 draws.
    errors = data.draw(st.lists(st.integers(-(2**39), 2**39), min_size=length + 3, max_size=length + 3).filter(any))
    changed = tags.with_tags(values_of(2, length), SEED) + to_ring(np.array(errors))
    with pytest.raises(SumInvalid):
        tags.without_tags(changed, SEED)


@pytest.mark.parametrize("valuation", [62, 63])
@pytest.mark.parametrize("odd", [[1], [0, 0, 3], [5, 6, 7]])
def test_an_error_passes_the_tags_as_often_as_derived(valuation, odd):
    # Of 3,000 seeds 375 pass at 63 and 47 at 62. A factor of 2 is ten sd away at 63, and upwards seven at 62. The seeds
    # are fixed; were they random, the exact binomial test would raise a false alarm once in 1e7 cases.
    chance, seeds = 2.0 ** (-3 * (64 - valuation)), 3_000
    error = to_ring(np.array(odd)) << np.uint64(valuation)
    passed = 0
    for number in range(seeds):
        passed += not tags.tags_of(error, digest_of(f"{valuation} {odd} {number}".encode())).any()
    assert stats.binomtest(passed, seeds, chance).pvalue > 1e-7


def test_a_changed_tag_is_found_however_few_bits_changed():
    tagged = tags.with_tags(values_of(4, 3), SEED)
    for place in (-1, -2, -3):
        changed = tagged.copy()
        changed[place] ^= np.uint64(2**63)
        with pytest.raises(SumInvalid):
            tags.without_tags(changed, SEED)


def test_the_claimed_chance_follows_from_the_largest_range_that_a_plan_may_have():
    # |error| <= 2 B < 2 CAPACITY; the largest power of two that can divide it is 2**v <= 2 B.
    largest_valuation = math.ceil(math.log2(2 * CAPACITY)) - 1
    assert tags.TAGS * (64 - largest_valuation) == 72


def test_tags_under_another_seed_do_not_match():
    with pytest.raises(SumInvalid):
        tags.without_tags(tags.with_tags(values_of(3, 5), SEED), digest_of(b"another seed"))


def test_a_seed_is_fresh_and_its_commitment_binds_it():
    one, other = tags.new_seed(), tags.new_seed()
    assert one != other
    tags.check_seed(one, tags.commit(one))
    with pytest.raises(DigestMismatch):
        tags.check_seed(other, tags.commit(one))


def test_a_commitment_is_not_the_bare_hash_of_the_seed():
    assert tags.commit(SEED) != digest_of(bytes.fromhex(SEED))
