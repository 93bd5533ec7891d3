"""Whoever recorded all traffic of a plan and takes every disk after its close: there is nothing left to unmask it with.

Databases keep what was deleted (Stahlberg, Miklau, Levine 2007). Searches look for a secret in all files of a state
directory, free pages and write-ahead logs included, as bytes, hex and base64. Each has a control that finds the secret
where it may still be.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from borough_node.app import system_noise
from coordinator.rounds import Reply
from coordinator.server_app import RELEASE, _group
from oversight.unmasker.store import UnmaskerStore
from oversight.unmasker.unmasker import KeyDestroyed
from protocol.aggregation import masks
from protocol.aggregation.encoding import Int64Array
from protocol.aggregation.masks import MaskPrivateKey
from protocol.aggregation.tags import TAGS
from protocol.documents.plan import Statement, TrainingPlan
from protocol.ids import Digest, PartyId
from protocol.signing.dsse import Envelope
from tests.wire import Wire, refused
from tests.world import one_by_one

PIECE = 16
"""Bytes of a secret that a search looks for at once: a half-overwritten page is found too."""


# --- the attacker's tools ---------------------------------------------------------------------------------------


def spellings(secret: bytes) -> Iterator[bytes]:
    """Every piece of a secret as bytes, hex, and base64 at each of its three alignments."""
    for start in range(0, len(secret) - PIECE + 1, PIECE):
        piece = secret[start : start + PIECE]
        yield piece
        yield piece.hex().encode()
        for shift in range(3):
            # Only the characters that depend on the piece alone.
            yield base64.b64encode(bytes(shift) + piece)[4 if shift else 0 : -4]


def content(*directories: Path) -> bytes:
    """All bytes of all files in directories."""
    files = [file for directory in directories for file in sorted(directory.rglob("*")) if file.is_file()]
    return b"\n".join(file.read_bytes() for file in files)


def holds(disk: bytes, *secrets: bytes) -> bool:
    """Whether a piece of one of the secrets is there."""
    return any(spelling in disk for secret in secrets for spelling in spellings(secret))


def attempt(key: bytes, reply: Reply) -> Int64Array:
    """Take the mask off one borough's vector with a key that may be the unmasker's; tags stay on."""
    statement = Envelope.decode(reply.statement).document(Statement)
    mask_key = MaskPrivateKey(key).agree(
        statement.public_key,
        request=statement.request,
        borough=statement.borough,
        borough_key=statement.public_key,
    )
    masked = masks.vector_from_bytes(reply.vector, length=len(reply.vector) // 8)
    return masks.from_ring(masked - masks.keystream(mask_key, masked.size))


def is_unmasked(values: Int64Array) -> bool:
    """Whether numbers are a borough's sum: below 2**50 each, where masked ones fill 2**64 (false alarm below 2**-150)."""
    return bool(np.abs(values[:-TAGS].astype(float)).max() < 2**50)


# --- what was recorded ------------------------------------------------------------------------------------------


@dataclass
class Recorded:
    """A plan that ran to its end, and everything that anybody sent, copied on its way."""

    wire: Wire
    plan: Digest
    key: bytes
    """The unmasker's private key for the plan: what the attacker looks for."""
    replies: dict[int, dict[PartyId, Reply]] = field(default_factory=dict)
    mask_sums: dict[int, bytes] = field(default_factory=dict)
    noises: dict[PartyId, list[tuple[float, Int64Array]]] = field(default_factory=dict)
    """Each borough's (sigma, noise), release by release."""
    borough_keys: list[bytes] = field(default_factory=list)
    """Private halves of the keys that boroughs made for one release each."""
    before: Path = Path()
    """Every state directory as it was before the close."""

    @property
    def vectors(self) -> list[bytes]:
        """All masked vectors."""
        return [reply.vector for replies in self.replies.values() for reply in replies.values()]

    @property
    def unmasked(self) -> list[bytes]:
        """What the boroughs masked: sums with their noise and tags."""
        plain = [attempt(self.key, reply) for replies in self.replies.values() for reply in replies.values()]
        return [values.tobytes() for values in plain]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """A finished plan whose traffic somebody recorded; no borough has read the log since."""
    root = tmp_path_factory.mktemp("recorded")
    wire = Wire.create(root / "force")
    plan = wire.approve()
    key = wire.unmasker._store.private_key(wire.record(plan).plan.unmasker_key)
    assert key is not None
    found = Recorded(wire, plan, key, before=root / "before")
    real, generate = wire.unmasker_client(), MaskPrivateKey.generate

    def reveal(digest: Digest, index: int) -> bytes:
        found.mask_sums[index] = real.reveal(digest, index)
        return found.mask_sums[index]

    def close(digest: Digest) -> bytes:
        shutil.copytree(wire.root, found.before)
        return real.close(digest)

    def ask(document: TrainingPlan, index: int, request: bytes, seed: Digest) -> dict[PartyId, Reply]:
        found.replies[index] = wire.ask(document, index, request, seed)
        return found.replies[index]

    def recording() -> MaskPrivateKey:
        made = generate()
        found.borough_keys.append(made.private_bytes())
        return made

    for name in wire.borough_ids:
        drawn = found.noises.setdefault(name, [])

        def noise(length: int, sigma: float, drawn: list[tuple[float, Int64Array]] = drawn) -> Int64Array:
            drawn.append((sigma, system_noise(length, sigma)))
            return drawn[-1][1]

        wire.gate(name)._noise = noise
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MaskPrivateKey, "generate", recording)
        client = type(real)(commit=real.commit, reveal=reveal, close=close)
        grid = wire.grid(plan, wire.borough_ids)
        wire.runner(client).run(plan, one_by_one(ask), forget=lambda index: grid.forget(_group(index), RELEASE))
    assert (len(found.vectors), len(found.mask_sums), len(found.borough_keys)) == (16, 4, 16)
    yield found
    wire.close()


# --- after the close --------------------------------------------------------------------------------------------


def test_recorder_with_the_key_reads_every_vector(recorded):
    """The control of everything below: this is the attack, with the one thing that it lacks afterwards."""
    for replies in recorded.replies.values():
        for reply in replies.values():
            assert is_unmasked(attempt(recorded.key, reply))


def test_unmaskers_disk_after_the_close_holds_no_key_and_no_mask_sum(recorded):
    before, after = content(recorded.before / "unmasker"), content(recorded.wire.root / "unmasker")
    for secret in (recorded.key, *recorded.mask_sums.values()):
        assert holds(before, secret)
        assert not holds(after, secret)


def test_no_disk_after_the_close_holds_the_plans_key_or_a_mask_sum(recorded):
    """Unmasker, coordinator, boroughs, witnesses and the public log together."""
    assert not holds(content(recorded.wire.root), recorded.key, *recorded.mask_sums.values())


def test_coordinators_disk_holds_no_vector_of_a_published_release(recorded):
    own = [recorded.wire.root / name for name in ("coordinator.sqlite", "coordinator.sqlite-wal")]
    disk = b"".join(path.read_bytes() for path in own if path.exists()) + content(recorded.wire.root / "log")
    statements = [Envelope.decode(reply.statement).payload_bytes() for reply in recorded.replies[0].values()]
    assert all(holds(disk, statement) for statement in statements)
    assert not holds(disk, *recorded.vectors)


def test_boroughs_disks_lose_their_vectors_when_they_read_of_the_close(recorded, tmp_path):
    """A borough that has not read the log since keeps them: they are of no use without the key (docs/threat-model)."""
    for name in recorded.wire.borough_ids:
        own = [replies[name].vector for replies in recorded.replies.values()]
        assert all(holds(content(recorded.before / name), vector) for vector in own)
        recorded.wire.gate(name).check_state()
        assert not holds(content(recorded.wire.root / name), *own)


def test_no_disk_ever_holds_what_a_borough_masked_or_the_key_it_masked_with(recorded):
    """Neither before the close nor after: sums leave the borough's memory masked, and its key for one release dies there."""
    for disk in (content(recorded.before), content(recorded.wire.root)):
        assert not holds(disk, *recorded.unmasked, *recorded.borough_keys)


def test_no_key_that_any_party_still_has_unmasks_stored_traffic(recorded):
    """All disks and all parties' keys together, after the close."""
    wire = recorded.wire
    other = wire.unmasker._store.private_key(wire.draft().unmasker_key)
    tls = [load_pem_private_key(pem, None).private_numbers().private_value for pem in wire.tls_keys.values()]
    keys = [key.seed() for key in wire.keys.values()] + [value.to_bytes(32, "big") for value in tls]
    for key in (other, recorded.key[::-1], bytes(32), *keys):
        for reply in recorded.replies[0].values():
            assert not is_unmasked(attempt(key, reply))


def test_unmasker_reveals_nothing_of_a_closed_plan(recorded):
    for index in recorded.mask_sums:
        with refused(KeyDestroyed):
            recorded.wire.reveal(recorded.plan, index)


def test_backup_of_the_unmasker_from_before_the_close_still_unmasks(recorded):
    """What remains: a copy of the disk keeps the key (docs/threat-model). Its own process would refuse to start."""
    store = UnmaskerStore(recorded.before / "unmasker" / "unmasker.sqlite")
    key = store.private_key(recorded.wire.record(recorded.plan).plan.unmasker_key)
    store.close()
    assert all(is_unmasked(attempt(key, reply)) for reply in recorded.replies[0].values())


# --- a stolen key -----------------------------------------------------------------------------------------------


def test_stolen_key_of_another_plan_reads_nothing_of_this_one(recorded):
    """Statistically, as any random mask would leave it; and no entry is the borough's own."""
    wire = recorded.wire
    theirs, plan = wire.approve(), wire.approve()
    stolen = wire.unmasker._store.private_key(wire.record(theirs).plan.unmasker_key)
    right = wire.unmasker._store.private_key(wire.record(plan).plan.unmasker_key)
    _, replies = wire.answers(plan)
    leftover = b""
    for reply in replies.values():
        guessed, true = attempt(stolen, reply), attempt(right, reply)
        assert is_unmasked(true)
        assert not is_unmasked(guessed)
        assert not np.equal(guessed, true).any()
        leftover += guessed.tobytes()
    counts = np.bincount(np.frombuffer(leftover, dtype=np.uint8), minlength=256)
    statistic = float(((counts - len(leftover) / 256) ** 2 / (len(leftover) / 256)).sum())
    # Chi-square of 255 degrees of freedom: six standard deviations, false alarm about 1e-8.
    assert statistic < 255 + 6 * np.sqrt(2 * 255)


def test_stolen_key_reads_its_own_plans_vectors_with_their_local_noise(recorded):
    """What remains: both servers together see each borough's vector, but never without its own noise."""
    squares, plan = [], recorded.wire.record(recorded.plan).plan
    for name, drawn in recorded.noises.items():
        for spec, (sigma, noise) in zip(plan.releases, drawn, strict=False):
            seen = attempt(recorded.key, recorded.replies[spec.index][name])[:-TAGS]
            assert np.abs(seen - noise).max() <= recorded.wire.people * (spec.l2 * plan.scale + 1)
            squares += list((noise / sigma) ** 2)
    # Mean of n squares of standard normals: 1, with sd sqrt(2/n); six of them.
    assert abs(np.mean(squares) - 1) < 6 * np.sqrt(2 / len(squares))


def test_mask_sum_alone_reads_no_vector(recorded):
    """The coordinator has it by right. From each single vector it takes off three masks too many."""
    for index, replies in recorded.replies.items():
        total = masks.vector_from_bytes(recorded.mask_sums[index], length=len(recorded.mask_sums[index]) // 8)
        for reply in replies.values():
            masked = masks.vector_from_bytes(reply.vector, length=total.size)
            assert not is_unmasked(masks.from_ring(masked - total))
