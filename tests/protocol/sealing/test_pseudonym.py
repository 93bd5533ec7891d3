import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ConfigurationError
from protocol.sealing.pseudonym import PseudonymKey, pseudonym

KEY = PseudonymKey(bytes(range(32)))
PLAN = "11" * 32
FIELDS = st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))


def of(key, borough, plan_digest, person):
    return pseudonym(key, borough=borough, plan_digest=plan_digest, person=person)


def test_pseudonym_is_the_one_that_the_format_says():
    message = b"".join(
        len(part).to_bytes(4, "big") + part
        for part in (b"custodes/pseudonym/v1", b"borough-01", PLAN.encode(), "Ægir 0042".encode())
    )
    expected = hmac.new(bytes(range(32)), message, hashlib.sha256).hexdigest()
    assert of(KEY, "borough-01", PLAN, "Ægir 0042") == expected
    assert expected == "129f6f11b9de6ea979bd498819fbf125852f56514b509c4b087250f6078abd58"


@given(fields=FIELDS, others=FIELDS)
@settings(max_examples=200, deadline=None)
def test_pseudonyms_agree_exactly_when_borough_plan_and_person_do(fields, others):
    assert (of(KEY, *fields) == of(KEY, *others)) == (fields == others)


def test_letters_moved_between_fields_give_another_pseudonym():
    assert len({of(KEY, "ab", "c", "d"), of(KEY, "a", "bc", "d"), of(KEY, "a", "b", "cd")}) == 3


def test_pseudonym_under_another_key_is_another():
    assert of(KEY, "borough-01", PLAN, "1") != of(PseudonymKey.generate(), "borough-01", PLAN, "1")


def test_pseudonym_is_no_bare_hash_of_a_short_number():
    shown = of(KEY, "borough-01", PLAN, "4711")
    assert shown not in {hashlib.sha256(str(number).encode()).hexdigest() for number in range(10_000)}


def test_pseudonym_does_not_normalise_what_the_table_says():
    assert len({of(KEY, "borough-01", PLAN, person) for person in ("7", "07", " 7", "é", "e\u0301", "É")}) == 6


def test_generated_keys_differ_and_print_redacted():
    one, other = PseudonymKey.generate(), PseudonymKey.generate()
    assert one != other
    assert repr(one) == "<redacted>"
    assert PseudonymKey(one.reveal()) == one


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_pseudonym_key_of_another_length_is_a_configuration_error(length):
    with pytest.raises(ConfigurationError):
        PseudonymKey(bytes(length))
