"""The data-protection office's unmasker: it sees who stated what, never a vector, and reveals one mask sum an index.

Rules this module keeps: everything that ARCHITECTURE.md, private sums, step 4 names is checked first; the receipt is
durable before it is returned; the mask sum leaves only when the receipt is in the witnessed log; a plan's key dies
with the plan, at the latest when its validity ends; a state directory older than the log does not start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from oversight.unmasker.store import StoredReceipt, UnmaskerStore
from protocol.aggregation import masks
from protocol.aggregation.exchange import check_statements, sum_of_masks
from protocol.aggregation.masks import MaskPrivateKey
from protocol.clock import Clock
from protocol.documents.plan import Closure, Receipt, ReleaseRequest, TrainingPlan
from protocol.errors import AlreadyAnswered, BehindLog, NotLogged, StateError
from protocol.history.public import PublicRecord
from protocol.ids import Digest, HexKey, digest_of
from protocol.rpc.log_reader import LogReader
from protocol.signing.dsse import Envelope, sign
from protocol.signing.keys import SigningKey


class KeyDestroyed(StateError):
    """The plan's key is not here: destroyed at the plan's close, or never made by this unmasker."""

    code = "unmasker.key_destroyed"
    public_message = "The unmasker holds no key for this plan."
    remedy_text = "A closed plan stays closed; a new plan needs a new key and the quorum."


class Unmasker:
    """The helper of every private sum."""

    def __init__(
        self, *, store: UnmaskerStore, connect: Callable[[], LogReader], key: SigningKey, clock: Clock
    ) -> None:
        """Start without the log: ``connect`` is called when the coordinator can first be reached, which starts later."""
        self._store = store
        self._connect = connect
        self._key = key
        self._clock = clock
        self._lock = threading.Lock()
        self._current: LogReader | None = None

    def check_state(self) -> None:
        """Return if every receipt that the log shows is stored here too. Raises: BehindLog, PeerUnreachable."""
        reader = self._connect()
        reader.sync()
        for digest, record in reader.public.plans.items():
            for index, (receipt, _) in record.receipts.items():
                stored = self._store.receipt(digest, index)
                if stored is None or Envelope.decode(stored.envelope).document(Receipt).digest() != receipt.digest():
                    raise BehindLog(f"the log shows a receipt for index {index} of plan {digest[:16]} that is not here")
            if record.closed and self._store.closure(digest) is None:
                raise BehindLog(f"the log shows plan {digest[:16]} closed and its key is still here")
        self._current = reader

    def _public(self) -> PublicRecord:
        """Return the log's public record, read anew; the first time after checking our own state against it."""
        if self._current is None:
            self.check_state()
        else:
            self._current.sync()
        assert self._current is not None  # noqa: S101 - set by check_state, for the type checker
        return self._current.public

    def new_plan_key(self, plan_id: str) -> HexKey:
        """Return the public key for a plan, the same one if asked again; the private half is stored and stays here."""
        fresh = MaskPrivateKey.generate()
        return self._store.plan_key(plan_id, public=fresh.public, private=fresh.private_bytes())

    def commit(self, request_bytes: bytes, statements: Sequence[Envelope]) -> Envelope:
        """Return the signed receipt for one index and one set of statements, durable before it is returned.

        Raises: each check's own error; AlreadyAnswered if the index has a receipt for other statements.
        """
        with self._lock:
            public = self._public()
            request = ReleaseRequest.decode(request_bytes)
            texts = tuple(envelope.encode().decode() for envelope in statements)
            stored = self._store.receipt(request.plan, request.index)
            if stored is not None:
                envelope = Envelope.decode(stored.envelope)
                receipt = envelope.document(Receipt)
                if (receipt.request, receipt.statements) != (request.digest(), texts):
                    raise AlreadyAnswered(f"index {request.index} has a receipt for other statements")
                return envelope
            return self._commit(public, request, statements, texts)

    def _commit(
        self, public: PublicRecord, request: ReleaseRequest, statements: Sequence[Envelope], texts: tuple[str, ...]
    ) -> Envelope:
        record = public.plan(request.plan)
        plan = record.plan
        public.require_live(record, now=self._clock.now())
        spec = record.check_request(request)
        checked = check_statements(
            statements, request=request.digest(), index=request.index, plan=plan, roster=record.roster
        )
        public.ledgers.check(checked, record.roster)
        private = self._store.private_key(plan.unmasker_key)
        if private is None:
            raise KeyDestroyed(f"plan {request.plan[:16]}")
        total = sum_of_masks(checked, key=MaskPrivateKey(private), length=spec.length)
        mask_sum = masks.vector_bytes(total)
        receipt = Receipt(
            plan=request.plan,
            index=request.index,
            request=request.digest(),
            statements=texts,
            mask_sum=digest_of(mask_sum),
        )
        envelope = sign(receipt, self._key)
        self._store.store_receipt(request.plan, request.index, StoredReceipt(envelope.encode(), mask_sum))
        return envelope

    def reveal(self, plan: Digest, index: int) -> bytes:
        """Return the mask sum of an index whose receipt the witnessed log shows.

        Raises: NotLogged if it does not, or if no receipt was made; KeyDestroyed after the plan's close.
        """
        with self._lock:
            public = self._public()
            stored = self._store.receipt(plan, index)
            logged = public.plan(plan).receipts.get(index)
            if stored is None or logged is None:
                raise NotLogged(f"the witnessed log shows no receipt for index {index}")
            if Envelope.decode(stored.envelope).document(Receipt).digest() != logged[0].digest():
                raise NotLogged("the logged receipt is not the one made here")
            if stored.mask_sum is None:
                raise KeyDestroyed(f"plan {plan[:16]}")
            return stored.mask_sum

    def close_plan(self, plan: Digest) -> Envelope:
        """Destroy a plan's key and mask sums and return the signed closure; asked again it returns the same.

        Raises: PlanNotApproved if the log does not show the plan.
        """
        with self._lock:
            public = self._public()
            stored = self._store.closure(plan)
            if stored is None:
                return self._close(public.plan(plan).plan)
            # Signed anew, the same bytes unless the roster has given the unmasker another key since.
            return sign(Envelope.decode(stored).document(Closure), self._key)

    def close_expired(self) -> tuple[Digest, ...]:
        """Close the plans whose validity has ended, as far as the log was read, and return their digests.

        Nobody need ask: a coordinator that never does would otherwise keep the key of recorded traffic alive.
        Raises: as ``check_state``, if the log was never read yet.
        """
        with self._lock:
            plans = (self._public() if self._current is None else self._current.public).plans
            expired = [
                digest
                for digest, record in plans.items()
                if self._clock.now() >= record.plan.valid_until and self._store.closure(digest) is None
            ]
            for digest in expired:
                self._close(plans[digest].plan)
            return tuple(expired)

    def _close(self, plan: TrainingPlan) -> Envelope:
        digest, key = plan.digest(), plan.unmasker_key
        envelope = sign(Closure(plan=digest, unmasker_key=key, closed_at=self._clock.now()), self._key)
        self._store.destroy(digest, key, envelope.encode())
        return envelope
