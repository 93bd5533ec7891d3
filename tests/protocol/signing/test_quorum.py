from __future__ import annotations

import pytest

from protocol.documents.plan import Closure
from protocol.errors import BadSignature, MalformedDocument, QuorumNotMet, UnknownSigner
from protocol.signing.dsse import Signature
from protocol.signing.quorum import custodian_quorum, verify_one_of_role, verify_signed_by_role
from tests.federation import Federation

FORCE = Federation()
CLOSURE = FORCE.closure(FORCE.plan())


def test_a_quorum_says_who_approved_and_who_has_not_decided():
    result = custodian_quorum(FORCE.sign(CLOSURE, "custodian-3", "custodian-1"), FORCE.roster)
    assert (result.approved, result.undecided) == (("custodian-1", "custodian-3"), ("custodian-2",))
    assert (result.met, result.missing) == (True, 0)
    result.require()


def test_a_quorum_that_is_not_met_names_who_is_missing():
    result = custodian_quorum(FORCE.sign(CLOSURE, "custodian-2"), FORCE.roster)
    assert (result.met, result.missing) == (False, 1)
    with pytest.raises(QuorumNotMet, match="custodian-1, custodian-3"):
        result.require()


@pytest.mark.parametrize(
    "signers", [(), ("borough-1", "borough-2", "issuer"), ("witness-1", "coordinator", "unmasker")]
)
def test_signatures_of_other_roles_do_not_count(signers):
    assert custodian_quorum(FORCE.sign(CLOSURE, *signers), FORCE.roster).approved == ()


def test_one_custodian_under_several_key_ids_is_one_approval():
    # CVE-2020-6174
    envelope = FORCE.sign(CLOSURE, "custodian-1")
    copies = tuple(Signature(keyid=f"{n:064x}", sig=envelope.signatures[0].sig) for n in range(5))
    spread = envelope.model_copy(update={"signatures": envelope.signatures + copies})
    assert custodian_quorum(spread, FORCE.roster).approved == ("custodian-1",)


def test_a_document_needs_exactly_one_signature_of_its_role():
    document, party = verify_signed_by_role(FORCE.sign(CLOSURE, "borough-2"), Closure, FORCE.roster, "borough")
    assert (document, party.id) == (CLOSURE, "borough-2")
    for signers in ((), ("borough-1", "borough-2"), ("custodian-1",), ("stranger",)):
        with pytest.raises(UnknownSigner):
            verify_signed_by_role(FORCE.sign(CLOSURE, *signers), Closure, FORCE.roster, "borough")


def test_a_document_of_one_signer_carries_no_other_signature():
    """Such a document stands in the log for ever, and whatever else its envelope carries would stand there too."""
    signed = FORCE.sign(CLOSURE, "unmasker")
    noise = Signature(keyid="0" * 64, sig="not even base64")
    for padded in (
        FORCE.sign(CLOSURE, "unmasker", "borough-1"),
        signed.model_copy(update={"signatures": (*signed.signatures, noise)}),
    ):
        with pytest.raises(UnknownSigner):
            verify_signed_by_role(padded, Closure, FORCE.roster, "unmasker")
        assert verify_one_of_role(padded, Closure, FORCE.roster, "unmasker")[1].id == "unmasker"


def test_a_document_of_another_kind_or_with_a_forged_signature_is_refused():
    envelope = FORCE.sign(FORCE.catalogue, "coordinator")
    with pytest.raises(MalformedDocument):
        verify_signed_by_role(envelope, Closure, FORCE.roster, "coordinator")
    forged = FORCE.sign(CLOSURE, "unmasker").model_copy(update={"signatures": envelope.signatures})
    with pytest.raises(BadSignature):
        verify_signed_by_role(forged, Closure, FORCE.roster, "coordinator")
