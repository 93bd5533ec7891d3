"""One private sum from statements to sums, with boroughs, an unmasker and a coordinator that lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.aggregation.exchange import (
    DuplicateSigner,
    InconsistentRequests,
    NotOfPlan,
    StatementReplayed,
    StatementsUnordered,
    check_request,
    check_statements,
    plan_range,
    reveal_sum,
)
from protocol.aggregation.masks import CHUNK_ENTRIES, vector_bytes, vector_from_bytes
from protocol.aggregation.tags import TAGS, with_tags
from protocol.documents.arrays import Array
from protocol.errors import (
    BadSignature,
    CohortTooSmall,
    IndexOutOfTurn,
    ReleaseRefused,
    ShapeMismatch,
    SumInvalid,
    UnknownSigner,
)
from protocol.ids import digest_of
from tests.federation import PRIVACY, Federation, masked_sum

FORCE = Federation()
FORCE.begin()
PLAN = FORCE.plan()
FORCE.log("plan", PLAN)
REQUEST, SEED = FORCE.ask(PLAN)
SPEC = PLAN.releases[0]
PLAIN = {name: FORCE.encoded(name, PLAN, REQUEST) for name in FORCE.boroughs}


def answer(name: str, **lies):
    return FORCE.answer(name, PLAN, REQUEST, SEED, values=PLAIN[name], **lies)


ANSWERS = [answer(name) for name in FORCE.boroughs]


def checked(answers, *, request=None, index=0, plan=PLAN, roster=None):
    return check_statements(
        [one.envelope for one in answers],
        request=request or REQUEST.digest(),
        index=index,
        plan=plan,
        roster=roster or FORCE.roster,
    )


def revealed(answers, *, vectors=None, mask_sum=None):
    return reveal_sum(
        masked_sum((vectors or {one.borough: one.vector for one in answers}).values()),
        FORCE.mask_sum(PLAN, REQUEST, answers) if mask_sum is None else mask_sum,
        spec=SPEC,
        plan=PLAN,
        tag_seed=SEED,
    )


@pytest.mark.parametrize("missing", [None, 0, 3, 5])
def test_the_sum_of_those_who_answered_is_revealed_exactly(missing):
    answers = [one for place, one in enumerate(ANSWERS) if place != missing]
    assert [one.borough for one in checked(answers)] == [one.borough for one in answers]
    np.testing.assert_array_equal(revealed(answers), sum(PLAIN[one.borough] for one in answers))


def test_a_masked_vector_looks_like_noise_and_not_like_the_vector():
    # 64 * (length + tags) fair bits: a deviation of six sd has a false-alarm rate of 2e-9.
    bits = np.unpackbits(np.frombuffer(ANSWERS[0].vector, dtype=np.uint8))
    assert abs(bits.mean() - 0.5) < 6 * 0.5 / np.sqrt(bits.size)
    assert answer("borough-1").vector != ANSWERS[0].vector  # fresh key, same values


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        ({"borough": "borough-2"}, NotOfPlan),
        ({"plan": digest_of(b"another plan")}, StatementReplayed),
        ({"index": 1}, StatementReplayed),
        ({"request": digest_of(b"another request")}, InconsistentRequests),
        ({"public_key": ANSWERS[1].statement.public_key}, DuplicateSigner),
        ({"vector": ANSWERS[1].statement.vector}, DuplicateSigner),
        ({"signer": "custodian-1"}, UnknownSigner),
        ({"signer": "stranger"}, UnknownSigner),
    ],
)
def test_a_statement_that_lies_is_refused(lie, error):
    with pytest.raises(error):
        checked([answer("borough-1", **lie), *ANSWERS[1:]])


def test_a_borough_outside_the_plan_is_refused():
    smaller = FORCE.plan(2, boroughs=PLAN.boroughs[:5], privacy=PRIVACY.model_copy(update={"min_boroughs": 5}))
    answers = [FORCE.answer(n, smaller, REQUEST, SEED, values=PLAIN[n], plan=smaller.digest()) for n in FORCE.boroughs]
    assert len(checked(answers[:5], plan=smaller)) == 5
    with pytest.raises(NotOfPlan, match="borough-6"):
        checked(answers, plan=smaller)


def test_one_borough_with_two_statements_is_refused():
    with pytest.raises(DuplicateSigner, match="borough"):
        checked([ANSWERS[0], answer("borough-1"), *ANSWERS[1:]])


def test_the_same_statement_twice_does_not_reach_the_minimum():
    with pytest.raises(DuplicateSigner):
        checked([*ANSWERS[:4], ANSWERS[3]])


def test_a_statement_signed_by_two_boroughs_is_refused():
    two = ANSWERS[0].envelope.merged(FORCE.sign(ANSWERS[0].statement, "borough-2"))
    with pytest.raises(UnknownSigner):
        check_statements([two], request=REQUEST.digest(), index=0, plan=PLAN, roster=FORCE.roster)


def test_a_damaged_signature_is_refused():
    signature = ANSWERS[0].envelope.signatures[0]
    bent = signature.model_copy(update={"sig": ("A" if signature.sig[0] != "A" else "B") + signature.sig[1:]})
    envelope = ANSWERS[0].envelope.model_copy(update={"signatures": (bent,)})
    with pytest.raises(BadSignature):
        check_statements([envelope], request=REQUEST.digest(), index=0, plan=PLAN, roster=FORCE.roster)


def test_a_key_that_the_roster_has_retired_no_longer_signs():
    from tests.federation import party

    parties = tuple(
        party("borough-1", "borough", signing_key=digest_of(b"new key")) if one.id == "borough-1" else one
        for one in FORCE.roster.parties
    )
    with pytest.raises(UnknownSigner):
        checked(ANSWERS, roster=FORCE.next_roster(parties=parties))


def test_statements_in_another_order_are_refused():
    with pytest.raises(StatementsUnordered):
        checked(list(reversed(ANSWERS)))


def test_too_few_boroughs_are_refused():
    assert len(checked(ANSWERS[:5])) == 5
    for few in (0, 1, 4):
        with pytest.raises(CohortTooSmall, match=f"{few} of 5"):
            checked(ANSWERS[:few])


@pytest.mark.parametrize(
    ("lie", "field"),
    [
        ({"plan": digest_of(b"another plan")}, "plan"),
        ({"roster": digest_of(b"another roster")}, "roster"),
        ({"index": 1}, "index"),
        ({"function": "gradient"}, "function"),
        ({"length": SPEC.length + 1}, "length"),
    ],
)
def test_a_request_that_the_plan_does_not_allow_next_is_refused(lie, field):
    assert check_request(REQUEST, plan=PLAN, roster=FORCE.roster, index=0, step=0) == SPEC
    with pytest.raises(ReleaseRefused, match=f"field .*{field}"):
        check_request(REQUEST.model_copy(update=lie), plan=PLAN, roster=FORCE.roster, index=0, step=0)


@pytest.mark.parametrize("index", [1, 4, 5])
def test_a_request_is_refused_once_its_index_is_answered(index):
    with pytest.raises(IndexOutOfTurn, match="field index"):
        check_request(REQUEST, plan=PLAN, roster=FORCE.roster, index=index, step=0)


def test_a_spare_index_asks_for_the_release_that_is_still_missing():
    again = REQUEST.model_copy(update={"index": 1})
    assert check_request(again, plan=PLAN, roster=FORCE.roster, index=1, step=0) == SPEC
    with pytest.raises(ReleaseRefused, match="field function"):
        check_request(again, plan=PLAN, roster=FORCE.roster, index=1, step=1)


def test_no_index_lies_beyond_the_plan():
    beyond = REQUEST.model_copy(update={"index": len(PLAN.releases)})
    with pytest.raises(IndexOutOfTurn, match="field index"):
        check_request(beyond, plan=PLAN, roster=FORCE.roster, index=beyond.index, step=len(PLAN.releases))


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# Vectors of more than one chunk, so that positions in the first, the last and a middle one are reached.
LONG = SPEC.model_copy(update={"length": 2 * CHUNK_ENTRIES + 5})
LONG_SIZE = LONG.length + TAGS
LONG_PLAIN = {
    name: np.random.default_rng(place).integers(-(2**20), 2**20, size=LONG.length)
    for place, name in enumerate(FORCE.boroughs)
}
LONG_ANSWERS = [FORCE.answer(name, PLAN, REQUEST, SEED, values=LONG_PLAIN[name]) for name in FORCE.boroughs]
LONG_VECTORS = {one.borough: one.vector for one in LONG_ANSWERS}


def long_mask_sum(answers) -> bytes:
    return FORCE.mask_sum(PLAN, REQUEST.model_copy(update={"length": LONG.length}), answers)


LONG_MASK_SUM = long_mask_sum(LONG_ANSWERS)


def long_revealed(vectors, mask_sum):
    return reveal_sum(masked_sum(vectors.values()), mask_sum, spec=LONG, plan=PLAN, tag_seed=SEED)


def test_a_sum_over_several_chunks_is_revealed_exactly():
    np.testing.assert_array_equal(long_revealed(LONG_VECTORS, LONG_MASK_SUM), sum(LONG_PLAIN.values()))


bits = st.integers(0, 64 * LONG_SIZE - 1) | st.integers(64 * LONG.length, 64 * LONG_SIZE - 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(FORCE.boroughs)), bits), min_size=1, max_size=3, unique=True))
def test_flipped_bits_in_any_vectors_at_any_positions_are_found(flips):
    # Flips in two boroughs may cancel; the sum is then the true one and is revealed as such.
    changed = dict(LONG_VECTORS)
    for borough, bit in flips:
        changed[borough] = flipped(changed[borough], bit)
    true, false = (masked_sum(v.values()) for v in (LONG_VECTORS, changed))
    if true == false:
        np.testing.assert_array_equal(long_revealed(changed, LONG_MASK_SUM), sum(LONG_PLAIN.values()))
    else:
        with pytest.raises(SumInvalid):
            long_revealed(changed, LONG_MASK_SUM)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, LONG_SIZE - 1),
        st.builds(lambda odd, power: (2 * odd + 1) << power, st.integers(0, 2**63), st.integers(0, 63)),
        min_size=1,
        max_size=4,
    )
)
def test_a_wrong_mask_sum_is_found(errors):
    # By the tags, or where the error is a multiple of a high power of two by the range. Each error is an odd multiple
    # of a power below 2**64, so none is zero; one passes by chance at most once in 2**72.
    error = np.zeros(LONG_SIZE, dtype=np.uint64)
    for place, value in errors.items():
        error[place] = value % 2**64
    wrong = vector_from_bytes(LONG_MASK_SUM, length=LONG_SIZE) + error
    with pytest.raises(SumInvalid):
        long_revealed(LONG_VECTORS, vector_bytes(wrong))


@pytest.mark.parametrize("power", [40, 48, 56, 60, 61, 62, 63])
def test_an_error_that_the_tags_let_pass_too_often_is_out_of_range(power):
    # Errors that keep their tags: what is left is the range. Taken off the mask sum, they come on top of the sum.
    bound = plan_range(PLAN, SPEC)
    assert 2**power > 2 * bound
    error = np.zeros(SPEC.length, dtype=np.uint64)
    error[3] = np.uint64(2**power)
    mask_sum = vector_from_bytes(FORCE.mask_sum(PLAN, REQUEST, ANSWERS), length=SPEC.length + TAGS)
    with pytest.raises(SumInvalid, match=f"1 of {SPEC.length} entries lie outside the range"):
        revealed(ANSWERS, mask_sum=vector_bytes(mask_sum - with_tags(error, SEED)))


subsets = st.sets(st.sampled_from(range(len(FORCE.boroughs))), min_size=1)


@settings(max_examples=60, deadline=None)
@given(subsets, subsets)
def test_vectors_of_one_set_and_masks_of_another_are_never_taken_for_a_sum(answered, unmasked):
    vectors = {ANSWERS[place].borough: ANSWERS[place].vector for place in answered}
    mask_sum = FORCE.mask_sum(PLAN, REQUEST, [ANSWERS[place] for place in sorted(unmasked)])
    if answered == unmasked:
        expected = sum(PLAIN[borough] for borough in vectors)
        np.testing.assert_array_equal(revealed(ANSWERS, vectors=vectors, mask_sum=mask_sum), expected)
    else:
        with pytest.raises(SumInvalid):
            revealed(ANSWERS, vectors=vectors, mask_sum=mask_sum)


def test_every_flipped_bit_of_a_vector_or_of_the_mask_sum_is_found():
    mask_sum = FORCE.mask_sum(PLAN, REQUEST, ANSWERS)
    vectors = {one.borough: one.vector for one in ANSWERS}
    for bit in range(8 * len(mask_sum)):
        with pytest.raises(SumInvalid):
            revealed(ANSWERS, mask_sum=flipped(mask_sum, bit))
        with pytest.raises(SumInvalid):
            revealed(ANSWERS, vectors=vectors | {"borough-4": flipped(vectors["borough-4"], bit)})


def test_a_mask_sum_for_another_set_is_found():
    with pytest.raises(SumInvalid):
        revealed(ANSWERS, mask_sum=FORCE.mask_sum(PLAN, REQUEST, ANSWERS[:5]))


def test_a_vector_left_out_or_added_is_found():
    for vectors in (
        {one.borough: one.vector for one in ANSWERS[:5]},
        {one.borough: one.vector for one in ANSWERS} | {"borough-7": ANSWERS[0].vector},
    ):
        with pytest.raises(SumInvalid):
            revealed(ANSWERS, vectors=vectors)


def test_a_borough_whose_vector_leaves_the_range_is_found_although_its_tags_match():
    bound = plan_range(PLAN, SPEC)
    wild = FORCE.answer("borough-1", PLAN, REQUEST, SEED, values=np.full(SPEC.length, int(bound * 1.5)))
    with pytest.raises(SumInvalid, match="range"):
        revealed([wild, *ANSWERS[1:]])


@pytest.mark.parametrize("size", [0, 8, 8 * SPEC.length, 8 * (SPEC.length + TAGS) + 8])
def test_a_mask_sum_or_vector_of_another_length_is_refused(size):
    with pytest.raises(ShapeMismatch):
        revealed(ANSWERS, mask_sum=bytes(size))
    with pytest.raises(ShapeMismatch):
        revealed(ANSWERS, vectors={"borough-1": bytes(size)})


def test_masks_of_one_request_do_not_open_another():
    other = REQUEST.model_copy(update={"inputs": {"note": Array.of(np.zeros(1))}})
    answers = [FORCE.answer(n, PLAN, other, SEED, values=PLAIN[n]) for n in FORCE.boroughs]
    lying = [one.statement.model_copy(update={"request": REQUEST.digest()}) for one in answers]
    from protocol.aggregation.exchange import sum_of_masks
    from protocol.aggregation.masks import vector_bytes
    from tests.federation import plan_key

    wrong = vector_bytes(sum_of_masks(lying, key=plan_key(PLAN.plan_id), length=SPEC.length))
    with pytest.raises(SumInvalid):
        revealed(answers, mask_sum=wrong)
