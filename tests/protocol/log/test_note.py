"""Checkpoints as signed notes: published examples verify, every second reading is refused, quorums count keys."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import CheckpointInvalid
from protocol.log.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Checkpoint,
    SignedCheckpoint,
    cosign,
    cosignature_times,
    require_witnesses,
    sign_checkpoint,
    split_note,
    verify_cosignatures,
    verify_log_signature,
)
from protocol.log.vkey import COSIGNATURE, LOG_SIGNATURE, NoteSignature, VerifierKey, cosigned_at

ORIGIN = "log.custodes.example/force"
CHECKPOINT = Checkpoint(ORIGIN, 20, bytes(range(32)))
TIME = 1_700_000_000


def key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))


def public(private_key: Ed25519PrivateKey) -> bytes:
    return private_key.public_key().public_bytes_raw()


LOG_KEY = key(1)
SIGNED = sign_checkpoint(CHECKPOINT, ORIGIN, private_key=LOG_KEY)
WITNESS_KEYS = {"council": key(2), "ombudsman": key(3), "university": key(4)}
WITNESSES = {name: public(private_key) for name, private_key in WITNESS_KEYS.items()}


def cosigned_by(*names: str) -> SignedCheckpoint:
    signed = SIGNED
    for name in names:
        signed = cosign(signed, name, private_key=WITNESS_KEYS[name], time_seconds=TIME)
    return signed


# From the documentation of golang.org/x/mod/sumdb/note, where the format was first written down.
NEUMANN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_NOTE = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""

# A checkpoint of the Go checksum database, whose size, root and signature C2SP tlog-checkpoint shows as its example.
GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_NOTE = """\
go.sum database tree
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— sum.golang.org Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""


def test_the_published_example_note_verifies() -> None:
    text, (line,) = split_note(NEUMANN_NOTE.encode())
    neumann = VerifierKey.decode(NEUMANN_KEY)
    assert neumann.made(line)
    neumann.verify(text.encode(), line.signature)
    with pytest.raises(CheckpointInvalid):
        neumann.verify(text.encode() + b"\n", line.signature)


def test_a_checkpoint_of_the_go_checksum_database_verifies() -> None:
    signed = SignedCheckpoint.decode(GO_NOTE.encode())
    assert signed.checkpoint.size == 20_852_163
    assert signed.encode() == GO_NOTE.encode()
    verify_log_signature(signed, "sum.golang.org", public_key=VerifierKey.decode(GO_KEY).public_key)


def test_a_published_cosignature_line_yields_its_key_id_and_time() -> None:
    line = NoteSignature.decode(
        "— witness.example.com/w1 "
        "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="
    )
    assert line.key_id.hex() == "8d66cf3f"
    assert cosigned_at(line.signature) == 1_679_315_147


@pytest.mark.parametrize("vkey", [NEUMANN_KEY, GO_KEY])
def test_a_published_vkey_decodes_and_encodes_to_itself(vkey: str) -> None:
    assert VerifierKey.decode(vkey).encode() == vkey


@pytest.mark.parametrize("signature_type", [LOG_SIGNATURE, COSIGNATURE])
def test_a_vkey_of_ours_decodes_to_the_same_key(signature_type: int) -> None:
    ours = VerifierKey("council", signature_type, WITNESSES["council"])
    assert VerifierKey.decode(ours.encode()) == ours


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        NEUMANN_KEY.replace("c74f20a3", "C74F20A3"),
        NEUMANN_KEY.replace("c74f20a3", "c74f20a4"),
        NEUMANN_KEY.replace("Peter", "Petra"),
        NEUMANN_KEY.replace("Peter", "Peter "),
        NEUMANN_KEY[:-4],
        NEUMANN_KEY + "\n",
        "PeterNeumann+c74f20a3+",
        "PeterNeumann+c74f20a3+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
    ],
)
def test_a_vkey_that_is_not_exactly_right_is_refused(vkey: str) -> None:
    with pytest.raises(CheckpointInvalid):
        VerifierKey.decode(vkey)


origins = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)
names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="+"), min_size=1, max_size=30)
checkpoints = st.builds(Checkpoint, origins, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
lines = st.builds(NoteSignature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=72))


@given(checkpoints, st.lists(lines, min_size=1, max_size=20).map(tuple))
def test_decoding_an_encoded_checkpoint_gives_it_back(
    checkpoint: Checkpoint, signatures: tuple[NoteSignature, ...]
) -> None:
    signed = SignedCheckpoint(checkpoint, signatures)
    assert SignedCheckpoint.decode(signed.encode()) == signed


@given(checkpoints, st.integers(1, 2**64), st.integers(0, 2**63 - 1))
def test_what_the_log_and_a_witness_sign_verifies(checkpoint: Checkpoint, seed: int, time_seconds: int) -> None:
    signed = sign_checkpoint(checkpoint, "log", private_key=key(seed))
    signed = cosign(signed, "witness", private_key=key(seed + 1), time_seconds=time_seconds)
    signed = SignedCheckpoint.decode(signed.encode())
    verify_log_signature(signed, "log", public_key=public(key(seed)))
    assert cosignature_times(signed, {"witness": public(key(seed + 1))}) == {"witness": time_seconds}


@given(st.integers(0, len(cosigned_by("council").encode()) * 8 - 1))
def test_any_flipped_bit_of_a_cosigned_checkpoint_is_noticed(bit: int) -> None:
    content = bytearray(cosigned_by("council").encode())
    content[bit // 8] ^= 1 << bit % 8

    def judge() -> None:
        signed = SignedCheckpoint.decode(bytes(content))
        verify_log_signature(signed, ORIGIN, public_key=public(LOG_KEY))
        require_witnesses(signed, WITNESSES, threshold=1)

    with pytest.raises(CheckpointInvalid):
        judge()


def test_signing_twice_gives_the_same_bytes() -> None:
    assert sign_checkpoint(CHECKPOINT, ORIGIN, private_key=LOG_KEY).encode() == SIGNED.encode()
    assert cosigned_by("council") == cosigned_by("council")


NOTE = SIGNED.encode().decode()
SIGNATURE_LINE = NOTE.partition("\n\n")[2]


def edits() -> list[tuple[str, Callable[[str], str]]]:
    return [
        ("empty", lambda note: ""),
        ("no_signature", lambda note: note.removesuffix(SIGNATURE_LINE)),
        ("no_blank_line", lambda note: note.replace("\n\n", "\n")),
        ("no_last_newline", lambda note: note[:-1]),
        ("text_after_the_signatures", lambda note: note + "more\n"),
        ("blank_line_after_the_signatures", lambda note: note + "\n"),
        ("carriage_returns", lambda note: note.replace("\n", "\r\n")),
        ("a_control_character", lambda note: note.replace("force", "for\x00ce")),
        ("a_delete_character", lambda note: note.replace("force", "for\x7fce")),
        ("no_origin", lambda note: note.replace(ORIGIN, "", 1)),
        ("a_leading_zero", lambda note: note.replace("\n20\n", "\n020\n")),
        ("a_signed_size", lambda note: note.replace("\n20\n", "\n+20\n")),
        ("a_negative_size", lambda note: note.replace("\n20\n", "\n-20\n")),
        ("an_empty_size", lambda note: note.replace("\n20\n", "\n \n")),
        ("digits_of_another_script", lambda note: note.replace("\n20\n", "\n٢٠\n")),
        ("an_underscore", lambda note: note.replace("\n20\n", "\n2_0\n")),
        ("a_size_beyond_the_range", lambda note: note.replace("\n20\n", f"\n{2**63}\n")),
        ("a_very_long_size", lambda note: note.replace("\n20\n", "\n" + "9" * 5000 + "\n")),
        ("a_short_root", lambda note: note.replace("AAEC", "", 1)),
        ("a_root_without_padding", lambda note: note.replace("=\n\n", "\n\n")),
        ("a_root_spelled_otherwise", lambda note: note.replace("8=\n\n", "9=\n\n")),
        ("an_extension_line", lambda note: note.replace("\n\n", "\nextension\n\n")),
        ("a_hyphen_for_the_dash", lambda note: note.replace("— ", "- ")),
        ("a_name_with_a_plus", lambda note: note.replace("— log", "— l+g")),
        ("a_name_with_a_no_break_space", lambda note: note.replace("— log", "— l\u00a0g")),
        ("two_spaces", lambda note: note.replace("— ", "—  ")),
        ("a_space_at_the_end", lambda note: note[:-1] + " \n"),
        ("no_name", lambda note: note.replace(f"— {ORIGIN} ", "— ")),
        ("only_a_key_id", lambda note: note.replace(SIGNATURE_LINE, f"— {ORIGIN} AAAAAA==\n")),
        ("a_signature_without_padding", lambda note: note.rstrip("=\n") + "\n"),
        ("too_many_signatures", lambda note: note + SIGNATURE_LINE * MAX_SIGNATURES),
        ("too_many_bytes", lambda note: note.replace("force", "f" * MAX_NOTE_BYTES)),
    ]


@pytest.mark.parametrize("edit", [pytest.param(edit, id=name) for name, edit in edits()])
def test_a_note_that_is_not_exactly_right_is_refused(edit: Callable[[str], str]) -> None:
    assert edit(NOTE) != NOTE
    with pytest.raises(CheckpointInvalid):
        SignedCheckpoint.decode(edit(NOTE).encode())


def test_a_note_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(CheckpointInvalid):
        SignedCheckpoint.decode(SIGNED.encode().replace(b"force", b"for\xff"))


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [("", 0, bytes(32)), ("a\nb", 0, bytes(32)), ("\ud800", 0, bytes(32)), ("a", -1, bytes(32)), ("a", 0, bytes(31))],
)
def test_a_checkpoint_that_could_not_be_encoded_does_not_come_to_exist(origin: str, size: int, root: bytes) -> None:
    with pytest.raises(CheckpointInvalid):
        Checkpoint(origin, size, root)


def test_a_checkpoint_that_the_log_did_not_sign_is_refused() -> None:
    with pytest.raises(CheckpointInvalid, match="not signed by"):
        verify_log_signature(SIGNED, ORIGIN, public_key=public(key(9)))
    with pytest.raises(CheckpointInvalid, match="not signed by"):
        verify_log_signature(SIGNED, "other.example", public_key=public(LOG_KEY))
    with pytest.raises(CheckpointInvalid, match="does not verify"):
        verify_log_signature(
            SignedCheckpoint(replace(CHECKPOINT, size=21), SIGNED.signatures), ORIGIN, public_key=public(LOG_KEY)
        )
    with pytest.raises(CheckpointInvalid, match="32 bytes"):
        verify_log_signature(SIGNED, ORIGIN, public_key=b"short")


def test_a_log_signature_does_not_pass_for_a_cosignature() -> None:
    signed = sign_checkpoint(CHECKPOINT, "council", private_key=WITNESS_KEYS["council"])
    assert verify_cosignatures(signed, WITNESSES) == frozenset()
    plain = signed.signatures[0]
    key_id = VerifierKey("council", COSIGNATURE, WITNESSES["council"]).key_id
    dressed = NoteSignature("council", key_id, TIME.to_bytes(8, "big") + plain.signature)
    assert verify_cosignatures(signed.with_signature(dressed), WITNESSES) == frozenset()


def test_a_cosignature_does_not_pass_for_a_log_signature() -> None:
    with pytest.raises(CheckpointInvalid):
        verify_log_signature(cosigned_by("council"), "council", public_key=WITNESSES["council"])


def test_a_majority_of_witnesses_suffices() -> None:
    signed = cosigned_by("council", "university")
    assert verify_cosignatures(signed, WITNESSES) == {"council", "university"}
    require_witnesses(signed, WITNESSES, threshold=2)


def test_too_few_witnesses_are_refused_and_the_missing_ones_named() -> None:
    with pytest.raises(CheckpointInvalid, match="1 of 2 witnesses have cosigned; missing: ombudsman, university"):
        require_witnesses(cosigned_by("council"), WITNESSES, threshold=2)


def test_a_cosignature_that_does_not_verify_is_not_counted_and_does_not_spoil_the_others() -> None:
    signed = cosigned_by("council", "university")
    forged = replace(signed.signatures[1], signature=bytes(72))
    assert verify_cosignatures(signed.with_signature(forged), WITNESSES) == {"university"}


def test_a_cosignature_of_another_checkpoint_is_not_counted() -> None:
    moved = SignedCheckpoint(replace(CHECKPOINT, root=bytes(32)), cosigned_by("council").signatures)
    assert verify_cosignatures(moved, WITNESSES) == frozenset()


@pytest.mark.parametrize("length", [1, 7, 8, 71, 73])
def test_a_cosignature_of_the_wrong_length_is_not_counted(length: int) -> None:
    line = cosigned_by("council").signatures[1]
    cut = replace(line, signature=(line.signature + b"\x00")[:length])
    assert verify_cosignatures(SIGNED.with_signature(cut), WITNESSES) == frozenset()


def test_one_witness_under_two_names_is_one_witness() -> None:
    twins = {"council": WITNESSES["council"], "town-hall": WITNESSES["council"]}
    signed = cosigned_by("council")
    signed = cosign(signed, "town-hall", private_key=WITNESS_KEYS["council"], time_seconds=TIME)
    assert verify_cosignatures(signed, twins) == {"council", "town-hall"}
    with pytest.raises(CheckpointInvalid, match="1 of 2"):
        require_witnesses(signed, twins, threshold=2)


def test_one_cosignature_twice_is_one_witness() -> None:
    signed = cosigned_by("council")
    doubled = SignedCheckpoint(CHECKPOINT, (*signed.signatures, signed.signatures[1]))
    with pytest.raises(CheckpointInvalid):
        require_witnesses(doubled, WITNESSES, threshold=2)


def test_a_threshold_of_zero_is_refused() -> None:
    with pytest.raises(CheckpointInvalid):
        require_witnesses(SIGNED, WITNESSES, threshold=0)


def test_a_new_cosignature_replaces_the_earlier_one_by_the_same_key() -> None:
    signed = cosigned_by("council", "university")
    renewed = cosign(signed, "council", private_key=WITNESS_KEYS["council"], time_seconds=TIME + 60)
    assert len(renewed.signatures) == len(signed.signatures)
    assert cosignature_times(renewed, WITNESSES) == {"council": TIME + 60, "university": TIME}


@pytest.mark.parametrize("time_seconds", [-1, 2**63])
def test_a_cosignature_outside_the_range_of_time_is_neither_made_nor_counted(time_seconds: int) -> None:
    with pytest.raises(CheckpointInvalid):
        cosign(SIGNED, "council", private_key=WITNESS_KEYS["council"], time_seconds=time_seconds)
    late = (2**63).to_bytes(8, "big")
    message = b"cosignature/v1\ntime 9223372036854775808\n" + CHECKPOINT.body()
    key_id = VerifierKey("council", COSIGNATURE, WITNESSES["council"]).key_id
    line = NoteSignature("council", key_id, late + WITNESS_KEYS["council"].sign(message))
    assert verify_cosignatures(SIGNED.with_signature(line), WITNESSES) == frozenset()
