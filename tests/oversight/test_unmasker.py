"""The unmasker: one key a plan, one receipt an index, one sum after the log has seen the receipt."""

from datetime import timedelta

import numpy as np
import pytest

from oversight.unmasker.store import StoredReceipt
from oversight.unmasker.unmasker import KeyDestroyed
from protocol.aggregation import masks
from protocol.documents.plan import Closure, Receipt
from protocol.errors import MalformedDocument, NotLogged, PlanNotApproved, StorageError
from protocol.ids import digest_of
from protocol.signing.dsse import Envelope
from protocol.signing.keys import SigningKey
from protocol.signing.quorum import verify_signed_by_role


@pytest.fixture
def statements(world, plan):
    request, seed = world.begun(plan)
    replies = world.ask(world.record(plan).plan, 0, request, seed)
    return request, [Envelope.decode(replies[name].statement) for name in sorted(replies)]


def test_plan_key_is_made_once_and_differs_between_plans(world):
    first, again, other = (world.unmasker.new_plan_key(name * 32) for name in ("1", "1", "2"))
    assert first == again != other


def test_receipt_is_signed_and_binds_statements_and_mask_sum(world, plan, statements):
    request, texts = statements
    receipt, signer = verify_signed_by_role(world.unmasker.commit(request, texts), Receipt, world.roster, "unmasker")
    assert signer.id == "unmasker"
    assert receipt.statements == tuple(text.encode().decode() for text in texts)
    assert receipt.mask_sum == digest_of(world.unmasker._store.receipt(plan, 0).mask_sum)


def test_same_statements_again_give_the_same_receipt(world, statements):
    assert world.unmasker.commit(*statements) == world.unmasker.commit(*statements)


def test_receipt_is_durable_before_it_is_returned(world, plan, statements):
    envelope = world.unmasker.commit(*statements)
    restarted = world.new_unmasker(world.root / "unmasker" / "unmasker.sqlite")
    assert restarted.commit(*statements) == envelope
    world.log("receipt", envelope.document(Receipt), "unmasker")
    assert digest_of(restarted.reveal(plan, 0)) == envelope.document(Receipt).mask_sum


def test_revealed_sum_removes_the_masks_of_the_set(world, plan):
    """The whole exchange once more, by hand: masked vectors minus mask sum are small numbers."""
    request, seed = world.begun(plan)
    replies = world.ask(world.record(plan).plan, 0, request, seed)
    texts = [Envelope.decode(replies[name].statement) for name in sorted(replies)]
    world.log("receipt", world.unmasker.commit(request, texts).document(Receipt), "unmasker")
    mask_sum = masks.vector_from_bytes(world.unmasker.reveal(plan, 0), length=18)
    masked = sum(masks.vector_from_bytes(reply.vector, length=18) for reply in replies.values())
    plain = masks.from_ring(masked - mask_sum)[:15]
    assert np.abs(plain.astype(float)).max() < 2**45


def test_index_without_a_receipt_is_not_revealed(world, plan):
    with pytest.raises(NotLogged):
        world.unmasker.reveal(plan, 0)
    with pytest.raises(PlanNotApproved):
        world.unmasker.reveal("0" * 64, 0)


def test_malformed_request_is_refused(world, plan):
    with pytest.raises(MalformedDocument):
        world.unmasker.commit(b"{}", [])


def test_close_destroys_key_and_sums_and_says_so(world, finished):
    store, record = world.unmasker._store, world.record(finished)
    assert store.private_key(record.plan.unmasker_key) is None
    assert [store.receipt(finished, index).mask_sum for index in range(4)] == [None] * 4
    closure, _ = verify_signed_by_role(world.unmasker.close_plan(finished), Closure, world.roster, "unmasker")
    assert closure.unmasker_key == record.plan.unmasker_key
    with pytest.raises(KeyDestroyed):
        world.unmasker.reveal(finished, 0)


def test_closure_is_signed_with_the_key_that_the_unmasker_has_by_then(world, finished):
    """Otherwise a plan that was closed, and whose closure was not logged before a rotation, would never be closed."""
    first = world.unmasker.close_plan(finished)
    world.keys["unmasker"] = SigningKey.generate()
    again = world.new_unmasker(world.root / "unmasker" / "unmasker.sqlite").close_plan(finished)
    assert again.document(Closure) == first.document(Closure)
    assert [one.keyid for one in again.signatures] == [world.keys["unmasker"].key_id]


def test_close_that_is_repeated_later_returns_the_first_closure(world, plan):
    first = world.unmasker.close_plan(plan)
    world.clock.advance(timedelta(days=1))
    assert world.unmasker.close_plan(plan) == first


def test_key_of_an_expired_plan_is_destroyed_although_nobody_asks(world, plan):
    """The coordinator never closes the plan, so that the key of what it has recorded lives on."""
    later = world.approve()
    world.unmasker.check_state()
    world.clock.advance(world.record(plan).plan.valid_until - world.clock.now() - timedelta(seconds=1))
    assert world.unmasker.close_expired() == ()
    world.clock.advance(timedelta(seconds=1))
    assert set(world.unmasker.close_expired()) == {plan, later}
    assert world.unmasker.close_expired() == ()
    for digest in (plan, later):
        assert world.unmasker._store.private_key(world.record(digest).plan.unmasker_key) is None
        world.log("closure", world.unmasker.close_plan(digest).document(Closure), "unmasker")
    world.new_unmasker(world.root / "unmasker" / "unmasker.sqlite").check_state()


def test_unmasker_that_has_not_read_the_log_reads_it_before_it_closes_plans(world, plan):
    world.clock.advance(world.record(plan).plan.valid_until - world.clock.now())
    restarted = world.new_unmasker(world.root / "unmasker" / "unmasker.sqlite")
    assert restarted.close_expired() == (plan,)


def test_destroyed_key_leaves_no_bytes_in_the_file(world, plan):
    path = world.root / "unmasker" / "unmasker.sqlite"
    private = world.unmasker._store.private_key(world.record(plan).plan.unmasker_key)

    def files():
        return b"".join(file.read_bytes() for file in path.parent.glob("unmasker.sqlite*"))

    assert private in files()
    world.unmasker.close_plan(plan)
    assert private not in files()


def test_plan_that_the_log_does_not_show_is_not_closed(world, plan):
    with pytest.raises(PlanNotApproved):
        world.unmasker.close_plan("0" * 64)


def test_receipt_of_an_index_is_stored_once(world, plan):
    store = world.unmasker._store
    store.store_receipt(plan, 0, StoredReceipt(b"one", b"sum"))
    with pytest.raises(StorageError):
        store.store_receipt(plan, 0, StoredReceipt(b"two", b"other"))
    assert store.receipt(plan, 0) == StoredReceipt(b"one", b"sum")


def test_key_of_another_unmasker_is_not_here(world):
    """A plan drafted with a key that this unmasker never made cannot be unmasked by it."""
    foreign = masks.MaskPrivateKey.generate().public
    plan = world.draft().model_copy(update={"unmasker_key": foreign})
    world.log("plan", plan, *world.custodian_ids[:2])
    request, seed = world.begun(plan.digest())
    replies = world.ask(plan, 0, request, seed)
    with pytest.raises(KeyDestroyed):
        world.unmasker.commit(request, [Envelope.decode(replies[name].statement) for name in sorted(replies)])
