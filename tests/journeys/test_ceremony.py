"""A key ceremony by commands alone, then rotation and revocation over the real log, each party in its own folder."""

from __future__ import annotations

import json
import shutil

import grpc
import pytest

from coordinator.settings import CoordinatorSettings
from oversight.audit.verify import read_mirror
from protocol.errors import PeerNotInRoster
from protocol.rpc.channel import open_channel
from protocol.rpc.status import from_rpc_error
from protocol.rpc.v1 import unmasker_pb2, unmasker_pb2_grpc, witness_pb2, witness_pb2_grpc
from tests.ceremony import CUSTODIANS, Ceremony, eventually

NOT_IN_ROSTER = "peer.not_in_roster"


def new_plan_key(channel: grpc.Channel) -> None:
    unmasker_pb2_grpc.UnmaskerStub(channel).NewPlanKey(unmasker_pb2.NewPlanKeyRequest(plan_id="ab" * 16), timeout=20)


def add_checkpoint(channel: grpc.Channel) -> None:
    witness_pb2_grpc.WitnessStub(channel).AddCheckpoint(witness_pb2.AddCheckpointRequest(checkpoint=b""), timeout=20)


@pytest.fixture
def running(ceremony: Ceremony) -> Ceremony:
    """The force after its first ceremony, with its servers running and both boroughs connected."""
    force = ceremony
    for party in ("witness-1", "unmasker", "coordinator", "borough-01", "borough-02"):
        force.start(party)
    eventually(lambda: force.connected("borough-01") and force.connected("borough-02"), "both boroughs connect")
    return force


def test_ceremony_then_rotation_and_revocation_by_commands(running: Ceremony) -> None:
    force = running
    shown = json.loads(force.do("roster", "show", force.draft(1), "--genesis", force.genesis, "--json"))
    assert (shown["digest"], shown["signed"], shown["missing"]) == (force.genesis, list(CUSTODIANS[:2]), 0)
    assert force.do("custodian", "proposals", force.settings("custodian-2")) == ""

    # Custodian 2 lost a laptop, borough 02 is merged away: one gets new keys, the other is revoked.
    force.make_keys("custodian-2", folder="custodian-2-new")
    force.do(
        "roster", "rotate", force.settings("coordinator"), "--enrolment", force.enrolment("custodian-2-new"),
        "--out", force.draft(2),
    )  # fmt: skip
    force.sign(2, "custodian-1", "custodian-3")
    force.publish(2)
    force.do("roster", "revoke", force.settings("coordinator"), "--party", "borough-02", "--out", force.draft(3))
    shown = json.loads(force.do("roster", "show", force.draft(3), *force.earlier(3), "--json"))
    assert "borough borough-02 is REVOKED" in shown["changes"]
    late = ("roster", "sign", force.draft(3), force.settings("custodian-3"), "--digest", shown["digest"])
    force.refused("configuration", 3, *late)
    for custodian in ("custodian-1", "custodian-3"):
        force.do("custodian", "proposals", force.settings(custodian))
    force.sign(3, "custodian-1", "custodian-3")
    force.publish(3)

    # The stream of the revoked borough ends, and it does not come back; the other's goes on.
    eventually(lambda: not force.connected("borough-02"), "the revoked borough's stream ends")
    eventually(lambda: NOT_IN_ROSTER in force.codes("borough-02"), "the revoked borough is refused")
    assert force.connected("borough-01")
    assert not force.connected("borough-02")

    # The lost key is let in nowhere; the new one works once its desk knows the roster that names it.
    force.refused(NOT_IN_ROSTER, 6, "custodian", "proposals", force.settings("custodian-2"))
    force.write_settings("custodian-2", folder="custodian-2-new")
    shutil.copy(force.draft(1), force.folder("custodian-2-new") / "roster.json")
    force.refused("configuration", 3, "custodian", "proposals", force.settings("custodian-2-new"))
    for version in (2, 3):
        force.do("roster", "accept", force.settings("custodian-2-new"), force.draft(version))
    assert force.do("custodian", "proposals", force.settings("custodian-2-new")) == ""

    # Witness and unmasker follow: the one was shown the rosters, the other reads them in the log.
    assert force.servers["witness-1"].party.roster.version == 3
    force.servers["unmasker"].unmasker.check_state()
    assert force.servers["unmasker"].party.roster.version == 3
    log = force.folder("coordinator") / "log"
    assert [one.version for one in read_mirror(log, genesis=force.genesis).history.public.rosters] == [1, 2, 3]


def test_coordinator_with_new_keys_is_followed_by_whoever_accepted_its_roster(running: Ceremony) -> None:
    force = running
    force.make_keys("coordinator", folder="coordinator-new")
    force.do(
        "roster", "rotate", force.settings("coordinator"), "--enrolment", force.enrolment("coordinator-new"),
        "--out", force.draft(2),
    )  # fmt: skip
    force.sign(2, "custodian-1", "custodian-2")
    force.publish(2, witnessed=False)
    eventually(lambda: "log.checkpoint_invalid" in force.codes("coordinator"), "the old key is not believed any more")
    force.stop("coordinator")
    shutil.copytree(force.folder("coordinator"), force.folder("coordinator-old"))
    for name in ("signing.key", "tls.key", "tls.pem"):
        shutil.copy(force.folder("coordinator-new") / name, force.folder("coordinator") / name)
    for party in ("witness-1", "unmasker"):
        force.stop(party)
        force.do("roster", "accept", force.settings(party), force.draft(2))
        force.start(party)
    force.start("coordinator")
    for party in ("borough-01", "borough-02"):
        eventually(lambda party=party: NOT_IN_ROSTER in force.codes(party), f"{party} does not know this coordinator")
        assert not force.connected(party)
    force.stop("borough-01")
    force.do("roster", "accept", force.settings("borough-01"), force.draft(2))
    force.start("borough-01")
    eventually(lambda: force.connected("borough-01"), "the borough that accepted the roster connects")
    assert not force.connected("borough-02")
    # The old coordinator's certificate, of the force's own authority and valid for a year, opens no door any more.
    old = CoordinatorSettings.load(force.settings("coordinator-old"))
    roster = force.servers["unmasker"].party.roster
    for role, name, call in (("unmasker", "unmasker", new_plan_key), ("witness", "witness-1", add_checkpoint)):
        address = f"127.0.0.1:{force.ports[name]}"
        with (
            open_channel(address, server=roster.party(name, role), roster=roster, files=old.tls()) as channel,
            pytest.raises(grpc.RpcError) as refused,
        ):
            call(channel)
        assert type(from_rpc_error(refused.value)) is PeerNotInRoster


def test_next_epoch_begins_with_new_envelope_keys_and_keeps_the_old_ones_until_their_end(running: Ceremony) -> None:
    force = running
    again = []
    for custodian in CUSTODIANS:
        out = force.folder(custodian) / "enrolment-2.json"
        force.do(
            "custodian", "key", "epoch", force.settings(custodian), "--enrolment", force.enrolment(custodian),
            "--out", out,
        )  # fmt: skip
        again += ["--enrolment", out]
    (force.root / "terms.toml").write_text((force.root / "terms.toml").read_text().replace("365", "700"))
    begin = ("roster", "rotate", force.settings("coordinator"), "--terms", force.root / "terms.toml", "--new-epoch")
    # One custodian without a new key would keep the old epoch's flags alive.
    force.refused("roster.invalid", 3, *begin, *again[:4], "--out", force.draft(2))
    force.do(*begin, *again, "--out", force.draft(2))
    force.sign(2, "custodian-1", "custodian-2")
    force.publish(2)
    assert force.servers["coordinator"]._coordinator.roster().epoch == 2
    for custodian in CUSTODIANS:
        for command in ("destroy", "replace"):
            assert force.do("custodian", "key", command, force.settings(custodian)) == ""
        assert len(list((force.folder(custodian) / "envelope").iterdir())) == 2
