"""Callers at the wire: wrong certificates, wrong roles, wrong servers and bytes that are nothing."""

from __future__ import annotations

import datetime
import importlib
import pkgutil
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from coordinator.services.federation import FederationService
from coordinator.services.log import LogService
from coordinator.store.mail import Mailbox
from deploy.certificates import ForceCA
from oversight.unmasker.service import UnmaskerService
from oversight.witness.witness import WitnessService
from protocol.errors import MalformedDocument, PeerNotInRoster, PeerUnreachable, RoleForbidden, VerificationError
from protocol.ids import PartyId
from protocol.rpc import v1
from protocol.rpc.access import ACCESS, EVERYBODY
from protocol.rpc.channel import TLSFiles, open_channel
from protocol.rpc.identity import Identity, tls_key_digest
from protocol.rpc.server import serve
from protocol.rpc.status import CODE_KEY, from_rpc_error
from protocol.rpc.v1 import (
    federation_pb2_grpc,
    log_pb2_grpc,
    register_pb2,
    register_pb2_grpc,
    unmasker_pb2,
    unmasker_pb2_grpc,
    witness_pb2,
    witness_pb2_grpc,
)
from tests.world import FORCE, NOW, World

STREAMED_RESPONSES = {"Connect", "Read", "Shares", "Flags", "Cases", "Watch"}
SERVERS = {"coordinator": "coordinator", "unmasker": "unmasker", "witness-1": "witness"}
GARBAGE = (b"\xff\xff\xff\xff", b"{}", b"null", b"[]", b'{"payload":1}', bytes(300), '{"payload":"é"}'.encode())


class Wire:
    """All services behind one real door, and TLS material of every party."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digests: dict[PartyId, str] = {}
        # TLS looks at the machine's clock, so these certificates are of today and the roster names their keys.
        self.now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        self.ca = ForceCA(FORCE, now=self.now)
        self.world = World.create(folder / "world")
        parties = []
        for party in self.world.roster.parties:
            self.issue(self.ca, party.id, Identity(FORCE, party.role, party.id))
            parties.append(party.model_copy(update={"tls_key": self.digests[party.id]}))
        self.roster = self.world.roster.model_copy(update={"parties": tuple(parties)})
        self.said: list[tuple[str, str, str]] = []

    def issue(self, ca: ForceCA, name: str, identity: Identity) -> TLSFiles:
        """Write a certificate of a CA under a file name of its own."""
        target = self.folder / "tls" / name
        target.mkdir(parents=True)
        certificate, key, digest = ca.issue(identity)
        (target / "ca.pem").write_bytes(self.ca.certificate)
        (target / "tls.pem").write_bytes(certificate)
        (target / "tls.key").write_bytes(key)
        self.digests[name] = digest
        return TLSFiles(target / "ca.pem", target / "tls.pem", target / "tls.key")

    def files(self, name: str) -> TLSFiles:
        """Return a party's TLS material."""
        target = self.folder / "tls" / name
        return TLSFiles(target / "ca.pem", target / "tls.pem", target / "tls.key")

    def start(self, name: str = "coordinator") -> tuple[grpc.Server, str]:
        """Serve everything with one party's certificate."""
        world = self.world

        def register(server: grpc.Server) -> None:
            mailbox = Mailbox(world.database)
            federation = FederationService(mailbox, lambda: self.roster)
            federation_pb2_grpc.add_FederationServicer_to_server(federation, server)
            log_pb2_grpc.add_LogServicer_to_server(LogService(world.appender), server)
            register_pb2_grpc.add_RegisterServicer_to_server(world.register_service, server)
            unmasker_pb2_grpc.add_UnmaskerServicer_to_server(UnmaskerService(world.unmasker), server)
            witness_pb2_grpc.add_WitnessServicer_to_server(WitnessService(world.witnesses["witness-1"]), server)

        server, port = serve(
            "127.0.0.1:0",
            files=self.files(name),
            roster=lambda: self.roster,
            report=lambda *said: self.said.append(said),
            register=register,
            threads=16,
        )
        return server, f"127.0.0.1:{port}"

    def channel(self, address: str, name: str, *, server: str = "coordinator") -> grpc.Channel:
        """Return a channel as a party, or as whoever holds the files of this name."""
        wanted = self.roster.party(server, SERVERS[server])
        return open_channel(address, server=wanted, roster=self.roster, files=self.files(name))


@pytest.fixture(scope="module")
def wire(tmp_path_factory):
    made = Wire(tmp_path_factory.mktemp("wire"))
    # Desks compare the caller with the roster that the service is given.
    made.world.roster = made.roster
    yield made
    made.world.close()


@pytest.fixture(scope="module")
def address(wire):
    server, address = wire.start()
    yield address
    server.stop(1).wait()


def outcome(channel, method, request=b""):
    """Call a method with raw bytes and return our error code, the gRPC status, or None for an answer."""
    call = (
        channel.unary_stream(method) if method.rsplit("/", 1)[1] in STREAMED_RESPONSES else channel.unary_unary(method)
    )
    if method.endswith("/Connect"):
        call = channel.stream_stream(method)
        request = iter([request])
    try:
        answer = call(request, timeout=10)
        if method.rsplit("/", 1)[1] in STREAMED_RESPONSES:
            list(answer)
    except grpc.RpcError as error:
        metadata = dict(error.trailing_metadata() or ())
        return metadata.get(CODE_KEY) or error.code().name
    return None


ROLES = {
    "borough": "borough-1",
    "coordinator": "coordinator",
    "unmasker": "unmasker",
    "custodian": "custodian-1",
    "issuer": "issuer",
    "investigator": "investigator",
    "witness": "witness-1",
    "auditor": "auditor",
}


def test_table_knows_every_rpc_that_is_served(wire):
    modules = [importlib.import_module(f"{v1.__name__}.{one.name}") for one in pkgutil.iter_modules(v1.__path__)]
    served = {
        f"/{service.full_name}/{method.name}"
        for module in modules
        if hasattr(module, "DESCRIPTOR")
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert served == set(ACCESS) - {"/grpc.health.v1.Health/Check"}
    assert set(ROLES) == set(EVERYBODY)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_role_passes_the_door_of_its_own_rpcs_and_of_no_other(wire, address, role):
    """Every row of the access table over real mutual TLS; an admitted call may fail later, but not at the door."""
    channel = wire.channel(address, ROLES[role])
    for method, admitted in ACCESS.items():
        code = outcome(channel, method)
        at_the_door = code in (RoleForbidden.code, PeerNotInRoster.code)
        assert at_the_door == (role not in admitted), (method, role, code)
    channel.close()


def test_rpc_that_the_table_does_not_name_is_refused_to_everybody(wire, address, monkeypatch):
    monkeypatch.delitem(ACCESS, "/custodes.rpc.v1.Log/Read")
    channel = wire.channel(address, "auditor")
    assert outcome(channel, "/custodes.rpc.v1.Log/Read") == RoleForbidden.code
    assert outcome(channel, "/grpc.health.v1.Health/Watch") == RoleForbidden.code
    channel.close()


def test_refused_caller_learns_a_code_and_the_operator_learns_who(wire, address):
    wire.said.clear()
    channel = wire.channel(address, "investigator")
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/custodes.rpc.v1.Unmasker/Reveal")(b"", timeout=10)
    channel.close()
    assert raised.value.details() == RoleForbidden.public_message
    assert [(code, "investigator" in detail) for _, code, detail in wire.said] == [(RoleForbidden.code, True)]


# --- certificates -----------------------------------------------------------------------------------------------


def raw_channel(wire, address, files):
    """A client that skips our own checks of the server: what an attacker would write. Without files it shows nothing."""
    shown = () if files is None else (files.key.read_bytes(), files.certificate.read_bytes())
    credentials = grpc.ssl_channel_credentials(wire.ca.certificate, *shown)
    name = Identity(FORCE, "coordinator", "coordinator").hostname
    return grpc.secure_channel(address, credentials, options=(("grpc.ssl_target_name_override", name),))


def no_certificate(wire):
    return None


def of_another_ca(wire):
    return wire.issue(ForceCA(FORCE, now=wire.now), "other-ca", Identity(FORCE, "custodian", "custodian-1"))


def expired(wire):
    past = wire.now - datetime.timedelta(days=366)
    old = ForceCA(FORCE, now=past)
    # The CA's own key, a year ago: it is the certificate that has expired and not its issuer.
    old._key, old._certificate, old._name = wire.ca._key, wire.ca._certificate, wire.ca._name
    return wire.issue(old, "expired", Identity(FORCE, "custodian", "custodian-1"))


@pytest.mark.parametrize("stranger", [no_certificate, of_another_ca, expired])
def test_stranger_reaches_no_rpc_of_the_table(wire, address, stranger):
    """TLS ends it: to the stranger nobody is there."""
    wire.said.clear()
    with raw_channel(wire, address, stranger(wire)) as channel:
        assert {outcome(channel, method) for method in ACCESS} == {"UNAVAILABLE"}
    assert wire.said == []


@pytest.mark.parametrize(
    ("label", "identity"),
    [
        ("second-certificate", Identity(FORCE, "custodian", "custodian-1")),
        ("unknown-party", Identity(FORCE, "custodian", "custodian-9")),
        ("other-role", Identity(FORCE, "coordinator", "custodian-1")),
        ("other-force", Identity("otherforce", "custodian", "custodian-1")),
    ],
)
def test_certificate_of_our_ca_that_the_roster_does_not_name_reaches_no_rpc_of_the_table(
    wire, address, label, identity
):
    """A second certificate, also for a right name, has another key than the roster pins."""
    with raw_channel(wire, address, wire.issue(wire.ca, label, identity)) as channel:
        assert {outcome(channel, method) for method in ACCESS} == {PeerNotInRoster.code}


@pytest.mark.parametrize("pretender", ["borough-1", "unmasker", "custodian-1"])
def test_other_party_that_pretends_to_be_the_coordinator_is_not_spoken_to(wire, pretender):
    """A borough with a valid certificate of our CA listens where the coordinator should."""
    server, address = wire.start(pretender)
    try:
        with pytest.raises(PeerNotInRoster):
            wire.channel(address, "custodian-1")
    finally:
        server.stop(0).wait()


def test_second_certificate_in_the_coordinators_name_is_not_spoken_to(wire):
    """The CA was made to issue once more: the name is right, the key is not the roster's."""
    wire.issue(wire.ca, "coordinator-again", Identity(FORCE, "coordinator", "coordinator"))
    server, address = wire.start("coordinator-again")
    try:
        with pytest.raises(PeerNotInRoster):
            wire.channel(address, "custodian-1")
    finally:
        server.stop(0).wait()


def test_server_of_another_ca_is_not_spoken_to(wire):
    other = ForceCA(FORCE, now=wire.now)
    wire.issue(other, "coordinator-other-ca", Identity(FORCE, "coordinator", "coordinator"))
    server, address = wire.start("coordinator-other-ca")
    try:
        with pytest.raises(PeerNotInRoster):
            wire.channel(address, "custodian-1")
    finally:
        server.stop(0).wait()


def test_nobody_who_listens_is_unreachable(wire):
    with pytest.raises(PeerUnreachable):
        wire.channel("127.0.0.1:1", "custodian-1")


# --- malformed bytes --------------------------------------------------------------------------------------------


def requests_with(content):
    """Every request of every service whose fields are bytes or text of the caller's choosing."""
    text = content.decode("utf-8", "replace")
    yield "custodian-1", "Register/Endorse", register_pb2.SignedDocument(envelope=content)
    yield (
        "borough-1",
        "Register/RaiseFlags",
        register_pb2.FlagBatch(
            flags=[register_pb2.Flag(envelope=content, ciphertext=content, sealed_shares=[content])]
        ),
    )
    yield "issuer", "Register/Submit", register_pb2.Submission(kind="warrant", envelope=content)
    yield "custodian-1", "Register/Submit", register_pb2.Submission(kind="approval", envelope=content)
    yield "investigator", "Register/Open", register_pb2.SignedDocument(envelope=content)
    yield "coordinator", "Unmasker/Commit", unmasker_pb2.CommitRequest(request=content, statements=[content])
    yield "coordinator", "Unmasker/Reveal", unmasker_pb2.RevealRequest(plan=text, index=7)
    yield "coordinator", "Unmasker/ClosePlan", unmasker_pb2.ClosePlanRequest(plan=text)
    yield (
        "coordinator",
        "Witness/AddCheckpoint",
        witness_pb2.AddCheckpointRequest(old_size=2**63, consistency_proof=[content], checkpoint=content),
    )


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_malformed_bytes_are_answered_with_a_code_of_ours_by_every_service(wire, address, content):
    """A status UNKNOWN would mean that an exception nobody foresaw left a service."""
    size = wire.world.appender.history.tree.size
    for name, method, request in requests_with(content):
        channel = wire.channel(address, name)
        code = outcome(channel, f"/custodes.rpc.v1.{method}", request.SerializeToString())
        channel.close()
        assert code is not None, method
        assert code.islower(), (method, code)
    assert wire.world.appender.history.tree.size == size


def test_protobuf_that_does_not_parse_ends_one_call_and_not_the_service(wire, address):
    channel = wire.channel(address, "custodian-1")
    assert outcome(channel, "/custodes.rpc.v1.Register/Endorse", b"\xff\xff\xff") is not None
    assert outcome(channel, "/custodes.rpc.v1.Register/Proposals") is None
    channel.close()


def test_errors_cross_the_wire_as_their_own_class(wire, address):
    channel = wire.channel(address, "custodian-1")
    stub = register_pb2_grpc.RegisterStub(channel)
    with pytest.raises(grpc.RpcError) as raised:
        stub.Endorse(register_pb2.SignedDocument(envelope=b"{"), timeout=10)
    channel.close()
    error = from_rpc_error(raised.value)
    assert isinstance(error, MalformedDocument)
    assert isinstance(error, VerificationError)


def test_certificates_pin_the_key_and_not_the_file(wire):
    certificate = x509.load_pem_x509_certificate(wire.files("issuer").certificate.read_bytes())
    assert tls_key_digest(certificate) == wire.roster.party("issuer", "issuer").tls_key
    assert certificate.not_valid_before_utc < wire.now
    assert wire.now != NOW
