"""Tags: those of a sum are the sum of the tags, and a changed sum loses them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.aggregation import tags
from protocol.aggregation.encoding import check_range
from protocol.aggregation.masks import from_ring, to_ring
from protocol.errors import DigestMismatch, SumInvalid
from protocol.ids import digest_of

SEED = digest_of(b"a fixed seed")
BOUND = 2.0**40
"""Above the range of every honest sum of these tests, and far below the ring."""


def values_of(seed: int, length: int) -> np.ndarray:
    return to_ring(np.random.default_rng(seed).integers(-(2**30), 2**30, size=length))


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
