"""RFC 8785: its published examples, and that one value has one sequence of bytes."""

from __future__ import annotations

import json
import struct

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from protocol.documents.canonical import canonical_bytes, parse_canonical
from protocol.errors import MalformedDocument

MAX_INTEGER = 2**53 - 1

# RFC 8785 section 3.2.2, input, and section 3.2.4, output as published in hex.
SAMPLE = r"""{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}"""
SAMPLE_HEX = """
7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c 73 65 5d 2c 22 6e 75 6d 62 65 72 73 22 3a
5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31 65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31 65 2d 32 37
5d 2c 22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d
"""

# RFC 8785 section 3.2.3: names sort by UTF-16 code units, so the emoji precedes the Hebrew letter.
UNSORTED = {
    "€": "Euro Sign",
    "\r": "Carriage Return",
    "\ufb33": "Hebrew Letter Dalet With Dagesh",
    "1": "One",
    "\U0001f600": "Emoji: Grinning Face",
    "\u0080": "Control",
    "ö": "Latin Small Letter O With Diaeresis",
}
SORTED_VALUES = [
    "Carriage Return",
    "One",
    "Control",
    "Latin Small Letter O With Diaeresis",
    "Euro Sign",
    "Emoji: Grinning Face",
    "Hebrew Letter Dalet With Dagesh",
]

# RFC 8785 appendix B: IEEE 754 bits and their text.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


def test_the_sample_of_the_rfc_gives_the_published_bytes():
    assert canonical_bytes(json.loads(SAMPLE)) == bytes.fromhex(SAMPLE_HEX)


def test_names_sort_as_the_rfc_publishes():
    assert list(json.loads(canonical_bytes(UNSORTED)).values()) == SORTED_VALUES


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_in_appendix_b(bits, text):
    assert canonical_bytes(struct.unpack(">d", bytes.fromhex(bits))[0]) == text.encode()


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), 2**53, -(2**53), b"bytes", "\ud800", {1: 2}]
)
def test_what_json_cannot_carry_exactly_is_refused(value):
    with pytest.raises(MalformedDocument):
        canonical_bytes(value)


@pytest.mark.parametrize(
    "content",
    [
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b"-0",
        b'"\\u0041"',
        b'{"a":1}\n',
        b"NaN",
        b"1e400",
        b"9007199254740993",
        b'"\\ud800"',
        b"\xff",
        b"",
        b"{",
        '{"a":1}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b"1" * 6000,
    ],
)
def test_bytes_in_any_other_form_are_refused(content):
    with pytest.raises(MalformedDocument):
        parse_canonical(content)


@pytest.mark.parametrize("depth", [990, 2_000, 100_000])
def test_deep_nesting_is_refused_or_read_and_never_anything_else(depth):
    content = b"[" * depth + b"]" * depth
    try:
        read = canonical_bytes(parse_canonical(content))
    except MalformedDocument as error:
        read = error.detail.encode()
    assert read == content or b"nested" in read or b"RecursionError" in read


def test_a_value_nested_too_deeply_to_write_is_refused():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(MalformedDocument, match="nested"):
        canonical_bytes(value)
    while value:  # unwound by hand: freeing it in one go would recurse
        value = value.pop()  # type: ignore[assignment]


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(-1e15, 1e15, allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))


@given(values)
def test_what_is_written_is_read_back_and_written_the_same(value):
    content = canonical_bytes(value)
    assert parse_canonical(content) == value
    assert canonical_bytes(parse_canonical(content)) == content


@given(st.dictionaries(texts, scalars, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_the_order_in_which_fields_were_set_does_not_matter(fields, random):
    shuffled = list(fields.items())
    random.shuffle(shuffled)
    assert canonical_bytes(dict(shuffled)) == canonical_bytes(fields)


without_floats = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | st.text('ab"\\\x00\x7f'), inner, max_size=4),
)


@given(without_floats | values)
def test_python_s_own_encoder_is_used_only_where_it_writes_what_the_rfc_s_does(value):
    assert canonical_bytes(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", ["\ud800", {"key": ["\udfff"]}, {"\ud800": 1}])
def test_half_of_a_surrogate_pair_is_refused(value):
    with pytest.raises(MalformedDocument):
        canonical_bytes(value)
