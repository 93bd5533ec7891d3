"""The audit: it accepts what happened and finds what was changed, from static files alone."""

import json

import pytest

from oversight.audit.verify import read_mirror, verify_directory
from protocol.aggregation.planning import plan_rho
from protocol.errors import CheckpointInvalid, ConfigurationError, DigestMismatch, ProtocolError
from protocol.history.spending import spending
from protocol.log.note import SignedCheckpoint
from tests.world import PURPOSE, REASON


def audit(world):
    return verify_directory(world.root / "log", genesis=world.roster.digest(), on=world.clock.now().date())


def test_whole_path_is_reported(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    for number in (1, 2):
        world.custodian(number).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    world.investigator().open(warrant.digest(), header.flag_id)
    report = audit(world)
    record = world.record(flagged.plan)
    assert report.openings == 1
    assert report.leaves_by_kind["flag"] == len(flagged.headers)
    assert (report.leaves_by_kind["release"], report.leaves_by_kind["receipt"]) == (4, 4)
    (spent,) = report.spending
    assert (spent.purpose, spent.spent) == (PURPOSE, pytest.approx(plan_rho(record.plan)))
    assert spent == spending(world.appender.history.public, on=world.clock.now().date())[0]
    assert report.burnt == 0
    (plan,) = report.plans
    assert (plan.plan, plan.complete, plan.closed) == (flagged.plan, True, True)
    assert plan.model == record.model().digest()
    assert report.root == world.appender.history.tree.root().hex()


def test_unfinished_plan_has_no_model(world, plan):
    (shown,) = audit(world).plans
    assert (shown.releases, shown.complete, shown.model) == (0, False, None)


def test_another_genesis_is_refused(finished, world):
    with pytest.raises(DigestMismatch):
        verify_directory(world.root / "log", genesis="0" * 64, on=world.clock.now().date())


def test_missing_file_is_named(finished, world):
    (world.root / "log" / "leaf" / "000003.json").unlink()
    with pytest.raises(ConfigurationError, match=r"leaf/000003\.json"):
        audit(world)


def changed_leaf(world, index, change):
    path = world.root / "log" / "leaf" / f"{index:06d}.json"
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("index", range(12))
def test_changed_leaf_is_found_wherever_it_stands(finished, world, index):
    assert world.appender.history.tree.size == 12

    def flip(content):
        fields = json.loads(content)
        digit = "0" if fields["body_hash"][0] != "0" else "1"
        fields["body_hash"] = digit + fields["body_hash"][1:]
        return json.dumps(fields, separators=(",", ":")).encode()

    changed_leaf(world, index, flip)
    with pytest.raises(ProtocolError):
        audit(world)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"body_hash":"zz","skeleton":"{}"}', b'{"body_hash":1,"skeleton":2}']
)
def test_leaf_file_that_is_no_leaf_is_refused(finished, world, content):
    changed_leaf(world, 5, lambda _: content)
    with pytest.raises(ProtocolError):
        audit(world)


@pytest.mark.parametrize("position", [0, 10, 26, 60])
def test_changed_checkpoint_text_is_found(finished, world, position):
    path = world.root / "log" / "checkpoint"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ProtocolError):
        audit(world)


@pytest.mark.parametrize(("kept", "holds"), [(5, True), (4, True), (3, False), (2, False)])
def test_checkpoint_needs_the_logs_signature_and_a_majority_of_witnesses(finished, world, kept, holds):
    """Lines 4 and below are signatures: the log's, then one a witness."""
    path = world.root / "log" / "checkpoint"
    signed = SignedCheckpoint.decode(path.read_bytes())
    assert len(signed.signatures) == 4
    path.write_bytes(SignedCheckpoint(signed.checkpoint, signed.signatures[: kept - 1]).encode())
    if holds:
        assert audit(world).size == signed.checkpoint.size
    else:
        with pytest.raises(CheckpointInvalid):
            audit(world)


def test_checkpoint_without_the_logs_own_signature_is_refused(finished, world):
    path = world.root / "log" / "checkpoint"
    signed = SignedCheckpoint.decode(path.read_bytes())
    path.write_bytes(SignedCheckpoint(signed.checkpoint, signed.signatures[1:]).encode())
    with pytest.raises(CheckpointInvalid):
        audit(world)


def test_changed_tile_is_found(finished, world):
    (path,) = [one for one in (world.root / "log" / "tile" / "0").rglob("12")]
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ProtocolError):
        audit(world)


def test_mirror_of_the_files_is_the_log(finished, world):
    mirror = read_mirror(world.root / "log", genesis=world.roster.digest())
    assert mirror.history.leaves == world.appender.history.leaves
    assert mirror.history.tree.root() == world.appender.history.tree.root()
