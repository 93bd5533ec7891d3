"""Proposals: custodians' signatures gather until the quorum is met, and then the document is logged once."""

import pytest

from coordinator.registry.proposals import Proposals
from protocol.errors import BadSignature, ConcurrentChange, PlanInvalid, StateError, UnknownSigner
from protocol.signing.dsse import Envelope
from protocol.signing.quorum import custodian_quorum

pytestmark = pytest.mark.parametrize("world", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def document(world):
    return world.draft()


@pytest.fixture
def proposed(world, document):
    return world.proposals.propose("plan", world.signed(document, "coordinator"))


def test_quorum_logs_the_document_and_settles_the_proposal(world, document, proposed):
    assert proposed == document.digest()
    assert world.proposals.endorse(world.signed(document, "custodian-1")) is None
    index = world.proposals.endorse(world.signed(document, "custodian-3"))
    assert world.appender.history.skeletons[index].kind == "plan"
    assert world.proposals.waiting() == []


def test_one_custodian_twice_is_no_quorum(world, document, proposed):
    for _ in range(3):
        assert world.proposals.endorse(world.signed(document, "custodian-1")) is None
    assert proposed not in world.appender.history.public.plans


def test_signatures_survive_a_restart(world, document, proposed):
    world.proposals.endorse(world.signed(document, "custodian-1"))
    again = Proposals(world.appender, world.cases)
    assert again.endorse(world.signed(document, "custodian-2")) is not None


@pytest.mark.parametrize("signer", ["issuer", "coordinator", "borough-1"])
def test_signature_of_nobody_who_may_decide_is_refused(world, document, proposed, signer):
    with pytest.raises(UnknownSigner):
        world.proposals.endorse(world.signed(document, signer))


def test_damaged_signature_is_refused(world, document, proposed):
    good = world.signed(document, "custodian-1")
    other = world.signed(document, "custodian-2")
    bad = good.model_copy(
        update={"signatures": (good.signatures[0].model_copy(update={"sig": other.signatures[0].sig}),)}
    )
    with pytest.raises(BadSignature):
        world.proposals.endorse(bad)


def test_document_that_was_not_proposed_is_refused(world, document):
    with pytest.raises(StateError):
        world.proposals.endorse(world.signed(document, "custodian-1"))


def test_logged_document_is_not_endorsed_again(world, document, proposed):
    world.proposals.endorse(world.signed(document, "custodian-1"))
    world.proposals.endorse(world.signed(document, "custodian-2"))
    with pytest.raises(StateError):
        world.proposals.endorse(world.signed(document, "custodian-3"))


def test_quorum_does_not_log_what_the_rules_forbid(world, document):
    quiet = tuple(spec.model_copy(update={"sigma": spec.sigma / 2}) for spec in document.releases)
    loud = document.model_copy(update={"releases": quiet})
    world.proposals.propose("plan", world.signed(loud, "coordinator"))
    world.proposals.endorse(world.signed(loud, "custodian-1"))
    with pytest.raises(PlanInvalid):
        world.proposals.endorse(world.signed(loud, "custodian-2"))
    assert loud.digest() not in world.appender.history.public.plans


def test_case_document_is_not_proposed(flagged):
    world = flagged.world
    warrant = world.warrant(flagged.headers[0])
    with pytest.raises(StateError):
        world.proposals.propose("warrant", world.signed(warrant, "coordinator"))


def test_a_signature_that_arrives_while_another_is_added_does_not_replace_it(world, document, proposed):
    """Both custodians read the proposal before either signature is stored; a lost one would have to be missed by a person."""
    read = world.cases.proposal

    def read_then_let_the_other_sign(digest):
        seen = read(digest)
        world.cases.proposal = read
        assert world.proposals.endorse(world.signed(document, "custodian-2")) is None
        return seen

    world.cases.proposal = read_then_let_the_other_sign

    with pytest.raises(ConcurrentChange):
        world.proposals.endorse(world.signed(document, "custodian-1"))
    ((_, _, envelope),) = world.proposals.waiting()
    assert custodian_quorum(Envelope.decode(envelope), world.roster).approved == ("custodian-2",)
    assert world.proposals.endorse(world.signed(document, "custodian-1")) is not None


def test_a_document_that_is_proposed_again_keeps_its_signatures(world, document, proposed):
    world.proposals.endorse(world.signed(document, "custodian-1"))
    world.proposals.propose("plan", world.signed(document, "coordinator"))
    assert world.proposals.endorse(world.signed(document, "custodian-2")) is not None
