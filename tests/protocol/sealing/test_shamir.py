import math
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import EnvelopeInvalid
from protocol.sealing.secret import Secret
from protocol.sealing.shamir import MAX_SHARES, PRIME, SHARE_BYTES, combine, split

KEYS = st.binary(min_size=32, max_size=32)


@st.composite
def quorums(draw, most=9):
    count = draw(st.integers(2, most))
    return draw(st.integers(2, count)), count


def as_share(value):
    return Secret(value.to_bytes(SHARE_BYTES, "big"))


def as_number(share):
    return int.from_bytes(share.reveal(), "big")


def lagrange_at(points, x):
    """Lagrange's form, where the code under test uses Newton's."""
    total = 0
    for own, value in points.items():
        others = [other for other in points if other != own]
        top, bottom = math.prod(x - other for other in others), math.prod(own - other for other in others)
        total += value * top * pow(bottom, -1, PRIME)
    return total % PRIME


@given(key=KEYS, quorum=quorums(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_threshold_of_shares_opens_and_tells_all_others(key, quorum, data):
    threshold, count = quorum
    shares = split(Secret(key), threshold=threshold, shares=count)
    chosen = data.draw(st.lists(st.integers(1, count), min_size=threshold, max_size=count, unique=True))
    recovered = combine({x: shares[x - 1] for x in chosen}, threshold=threshold, count=count)
    assert recovered.secret == Secret(key)
    assert recovered.all_shares == shares


@given(key=KEYS, other_key=KEYS, quorum=quorums(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_one_share_less_is_consistent_with_every_secret(key, other_key, quorum, data):
    """For every other key there is exactly one polynomial of degree t - 1 through the t - 1 shares and that key.

    All polynomials are dealt with the same probability, so the t - 1 shares say nothing of the key: the completed
    dealing is one that `combine` takes, with the other key and the same t - 1 shares.
    """
    threshold, count = quorum
    shares = split(Secret(key), threshold=threshold, shares=count)
    seen = data.draw(st.lists(st.integers(1, count), min_size=threshold - 1, max_size=threshold - 1, unique=True))
    points = {0: int.from_bytes(other_key, "big")} | {x: as_number(shares[x - 1]) for x in seen}
    completed = {x: as_share(lagrange_at(points, x)) for x in range(1, count + 1)}
    assert combine(completed, threshold=threshold, count=count).secret == Secret(other_key)
    assert all(completed[x] == shares[x - 1] for x in seen)


@given(key=KEYS, quorum=quorums())
@settings(max_examples=20, deadline=None)
def test_one_share_less_is_refused(key, quorum):
    threshold, count = quorum
    shares = split(Secret(key), threshold=threshold, shares=count)
    with pytest.raises(EnvelopeInvalid, match="are needed"):
        combine(dict(enumerate(shares[: threshold - 1], start=1)), threshold=threshold, count=count)


@given(key=KEYS, quorum=quorums(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_one_changed_share_among_more_than_the_threshold_is_found(key, quorum, data):
    threshold, count = quorum
    shares = dict(enumerate(split(Secret(key), threshold=threshold, shares=count), start=1))
    x = data.draw(st.integers(1, count))
    shift = data.draw(st.integers(1, PRIME - 1))
    shares[x] = as_share((as_number(shares[x]) + shift) % PRIME)
    if count > threshold:
        with pytest.raises(EnvelopeInvalid):
            combine(shares, threshold=threshold, count=count)


def test_shares_under_swapped_numbers_do_not_open():
    shares = split(Secret(bytes(32)), threshold=2, shares=2)
    with pytest.raises(EnvelopeInvalid, match="not combine to a key"):
        combine({1: shares[1], 2: shares[0]}, threshold=2, count=2)


@pytest.mark.parametrize(
    ("threshold", "count"), [(1, 1), (1, 3), (0, 3), (-1, 3), (4, 3), (2, 256), (256, 256), (2, 0)]
)
def test_impossible_quorum_is_refused_by_dealer_and_opener(threshold, count):
    with pytest.raises(EnvelopeInvalid, match="2 <= t <= n <= 255"):
        split(Secret(bytes(32)), threshold=threshold, shares=count)
    with pytest.raises(EnvelopeInvalid, match="2 <= t <= n <= 255"):
        combine({1: as_share(1), 2: as_share(2)}, threshold=threshold, count=count)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_secret_of_another_length_is_not_shared(length):
    with pytest.raises(EnvelopeInvalid, match="32 bytes"):
        split(Secret(bytes(length)), threshold=2, shares=3)


@pytest.mark.parametrize("share", [b"", bytes(65), bytes(67), b"\x00" + bytes(66)])
def test_share_of_another_length_is_refused(share):
    good = split(Secret(bytes(32)), threshold=2, shares=3)
    with pytest.raises(EnvelopeInvalid, match="share 2 has"):
        combine({1: good[0], 2: Secret(share)}, threshold=2, count=3)


@pytest.mark.parametrize("value", [PRIME, PRIME + 1, 2 ** (8 * SHARE_BYTES) - 1])
def test_share_outside_the_field_is_refused(value):
    good = split(Secret(bytes(32)), threshold=2, shares=3)
    with pytest.raises(EnvelopeInvalid, match="share 2 is not an element"):
        combine({1: good[0], 2: as_share(value)}, threshold=2, count=3)


@pytest.mark.parametrize("x", [0, -1, 4, 255, PRIME, PRIME + 1])
def test_share_with_a_number_outside_the_dealing_is_refused(x):
    """x = 0 would be the secret itself, and x = p + 1 a second name of x = 1."""
    good = split(Secret(bytes(32)), threshold=2, shares=3)
    with pytest.raises(EnvelopeInvalid, match="number"):
        combine({1: good[0], x: good[1]}, threshold=2, count=3)


def test_one_share_under_two_numbers_is_refused():
    good = split(Secret(bytes(32)), threshold=2, shares=3)
    with pytest.raises(EnvelopeInvalid, match="two numbers"):
        combine({1: good[0], 2: good[0]}, threshold=2, count=3)


def test_value_beyond_256_bits_is_no_key():
    slope = 7
    largest = {x: as_share(2**256 - 1 + slope * x) for x in (1, 2)}
    assert combine(largest, threshold=2, count=2).secret == Secret(b"\xff" * 32)
    beyond = {x: as_share(2**256 + slope * x) for x in (1, 2)}
    with pytest.raises(EnvelopeInvalid, match="not combine to a key"):
        combine(beyond, threshold=2, count=2)


def test_dealing_that_fewer_could_have_opened_is_refused():
    line = {x: as_share(1 + 5 * x) for x in range(1, 6)}
    with pytest.raises(EnvelopeInvalid, match="fewer custodians"):
        combine(line, threshold=3, count=5)


def test_largest_dealing_opens():
    key = Secret(secrets.token_bytes(32))
    shares = split(key, threshold=MAX_SHARES, shares=MAX_SHARES)
    assert combine(dict(enumerate(shares, start=1)), threshold=MAX_SHARES, count=MAX_SHARES).secret == key


def test_two_dealings_of_one_secret_have_no_share_in_common():
    key = Secret(bytes(32))
    one, other = (split(key, threshold=2, shares=5) for _ in range(2))
    assert not {share.reveal() for share in one} & {share.reveal() for share in other}


def test_recovered_key_prints_redacted():
    shares = split(Secret(bytes(32)), threshold=2, shares=2)
    shown = repr(combine({1: shares[0], 2: shares[1]}, threshold=2, count=2))
    assert shown == "Recovered(secret=<redacted>, all_shares=(<redacted>, <redacted>))"
