"""A custodian's desk: verifies before it signs, and refuses by itself what no custodian may sign.

A desk holds its shares sealed under its own key of the retention epoch and opens one twice: when it arrives, to check
it, and when a warrant is approved, to seal it again to the warrant's recipient. It never sees a ciphertext. When an
epoch has ended its key is destroyed, and the desk's word about that is logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from oversight.custody.keys import EnvelopeKeys
from oversight.custody.shares import HeldShare, ShareStore
from protocol.clock import Clock
from protocol.documents.base import Document
from protocol.documents.cases import Approval, Warrant
from protocol.documents.casework import Erasure
from protocol.documents.destruction import KeyDestruction
from protocol.documents.flags import FlagPolicy, SealedFlag
from protocol.documents.plan import TrainingPlan
from protocol.documents.reseal import ShareReseal
from protocol.durable import write_durably
from protocol.errors import (
    ConflictOfInterest,
    DigestMismatch,
    EnvelopeInvalid,
    EpochEnded,
    Expired,
    NotLogged,
    ProtocolError,
    WarrantWithdrawn,
)
from protocol.history.leaves import commitment
from protocol.history.public import PublicRecord
from protocol.history.signers import logged_flag
from protocol.ids import Digest, HexKey, RandomId, digest_of
from protocol.rpc.connection import CALL_SECONDS, Connection, typed_errors
from protocol.rpc.v1 import register_pb2
from protocol.scorecard.gates import GateVerdict, gate_verdicts
from protocol.sealing.envelope import ReleaseContext, ShareContext, open_share, reseal_share, seal_share
from protocol.sealing.hpke import HPKEPublicKey
from protocol.sealing.secret import Secret
from protocol.signing.dsse import Envelope, sign
from protocol.signing.quorum import verify_one_of_role

PROPOSABLE: dict[str, type[Document]] = {"plan": TrainingPlan, "policy": FlagPolicy}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A document that waits for this custodian, every number of it recomputed here."""

    kind: str
    digest: Digest
    document: TrainingPlan | FlagPolicy
    problem: ProtocolError | None
    """What does not follow, if anything: such a document cannot be endorsed at this desk."""
    verdicts: tuple[GateVerdict, ...] = ()
    """For a policy: what the plan's fairness gates say about the categories that it flags."""

    def reason(self, verdict: GateVerdict) -> str | None:
        """Return the reason that the policy gives for a verdict, if it gives one: read it before you sign."""
        waivers = self.document.waivers if isinstance(self.document, FlagPolicy) else ()
        found = [
            one.reason for one in waivers if (one.category, one.attribute) == (verdict.category, verdict.attribute)
        ]
        return found[0] if found else None


def _verdicts(public: PublicRecord, policy: FlagPolicy) -> tuple[GateVerdict, ...]:
    """Return the verdicts on the categories that a policy flags. Raises: PlanNotApproved, StateError."""
    flagged = {rule.category for rule in policy.rules}
    return tuple(one for one in gate_verdicts(public.plan(policy.plan).run) if one.category in flagged)


class CustodianDesk:
    """One custodian."""

    def __init__(
        self, connection: Connection, *, shares: ShareStore, keys: EnvelopeKeys, destructions: Path, clock: Clock
    ) -> None:
        """Check that the epoch's envelope key is here.

        Args:
            destructions: Folder for the signed word about each key that was destroyed, until it is logged and after.
        Raises: EnvelopeInvalid if the key that the roster names is not among ``keys``, unless its epoch has ended.
        """
        self._connection = connection
        self._shares = shares
        self._keys = keys
        self._destructions = destructions
        self._clock = clock
        self._id = connection.party.settings.id
        roster = connection.party.roster
        named = roster.party(self._id, "custodian").hpke_key or ""
        if digest_of(bytes.fromhex(named)) not in keys.held() and clock.now() < roster.epoch_until:
            raise EnvelopeInvalid("the envelope key that the roster names for this custodian is not on this desk")

    # --- plans and policies -------------------------------------------------------------------------------------

    def proposals(self) -> list[Proposal]:
        """Return the plans and policies that wait, each signed by the coordinator and recomputed from the log.

        For a plan: noise, sensitivities, statements, budget. For a policy: the model, the thresholds and the verdicts of
        the fairness gates, from the published sums.
        Raises: UnknownSigner, BadSignature, MalformedDocument for one that the coordinator did not sign.
        """
        self._connection.reader.sync()
        public, today = self._connection.reader.public, self._clock.now().date()
        with typed_errors():
            answer = self._connection.register.Proposals(register_pb2.Empty(), timeout=CALL_SECONDS)
        found = []
        for shown in answer.proposals:
            if shown.kind not in PROPOSABLE:
                # A catalogue on its way into the log: the plan that names it is what custodians sign.
                continue
            document, _ = verify_one_of_role(
                Envelope.decode(shown.envelope), PROPOSABLE[shown.kind], public.roster, "coordinator"
            )
            problem, verdicts = None, ()
            try:
                if isinstance(document, TrainingPlan):
                    public.check_new_plan(document, today)
                elif isinstance(document, FlagPolicy):
                    verdicts = _verdicts(public, document)
                    public.check_new_policy(document, today)
            except ProtocolError as error:
                problem = error
            found.append(Proposal(shown.kind, document.digest(), document, problem, verdicts))
        return found

    def endorse(self, proposal: Proposal) -> None:
        """Sign a proposal that ``proposals`` returned. Raises: its problem, if it has one; what the register refuses."""
        if proposal.problem is not None:
            raise proposal.problem
        envelope = sign(proposal.document, self._connection.party.signing_key)
        with typed_errors():
            self._connection.register.Endorse(
                register_pb2.SignedDocument(envelope=envelope.encode()), timeout=CALL_SECONDS
            )

    # --- shares -------------------------------------------------------------------------------------------------

    def collect_shares(self) -> int:
        """Fetch the shares that this desk lacks, check each against its signed, logged header, and store it.

        Returns: how many arrived. Raises: EnvelopeInvalid, NotLogged, DigestMismatch; later shares are not stored then.
        """
        self._connection.reader.sync()
        request = register_pb2.SharesRequest(held=sorted(self._shares.flag_ids()))
        with typed_errors():
            deliveries = list(self._connection.register.Shares(request, timeout=CALL_SECONDS))
        stored = 0
        for delivery in deliveries:
            envelope = Envelope.decode(delivery.envelope)
            self._connection.require_logged("flag", envelope, index=delivery.index, salt=delivery.salt)
            sealed, _ = logged_flag(self._connection.reader.history, envelope)
            if self._clock.now() >= sealed.header.retain_until:
                # Past its retention nobody opens it; its key may be destroyed already.
                continue
            held = HeldShare(envelope=envelope, sealed_share=delivery.sealed_share)
            try:
                self._open(held, sealed)
            except EpochEnded:
                # Sealed to a key that this desk has destroyed: it opens nowhere, and must not hold up the others.
                continue
            self._shares.store(sealed.header.flag_id, held)
            stored += 1
        return stored

    def forget_erased(self) -> int:
        """Delete the shares of flags whose erasure is in the log; return how many there were."""
        erasures = self._connection.cases(lambda kind: kind == "erasure")
        erased = {
            flag.flag_id for case in erasures if isinstance(case.document, Erasure) for flag in case.document.flags
        }
        return sum(self._shares.remove(flag_id) for flag_id in sorted(erased))

    def _open(self, held: HeldShare, sealed: SealedFlag) -> tuple[Secret, int]:
        header = sealed.header
        if self._id not in header.custodians:
            raise EnvelopeInvalid("the flag deals no share to this custodian")
        place = header.custodians.index(self._id)
        version, expected, who = header.roster_version, sealed.sealed_shares[place], "the borough"
        if held.reseal is not None:
            if self._connection.reader.public.reseals.get((self._id, held.reseal.flag)) != held.reseal:
                raise NotLogged("the log shows another word about this share than this desk keeps")
            version, expected, who = held.reseal.roster_version, held.reseal.sealed_share, "this desk"
        if digest_of(held.sealed_share) != expected:
            raise EnvelopeInvalid(f"the sealed share is not the one that {who} signed")
        # Bound to the header, so that no share of another flag opens here, whatever a reseal says.
        context = ShareContext(header.digest(), self._id, place + 1, version, header.epoch)
        private = self._keys.open(self._named_key(version))
        return open_share(held.sealed_share, private, context, commitment=header.share_commitments[place]), place + 1

    def _named_key(self, version: int) -> HexKey:
        """Return the public half of this custodian's envelope key in a version of the roster."""
        rosters = self._connection.reader.public.rosters
        if not 1 <= version <= len(rosters):
            raise EnvelopeInvalid(f"roster {version} is not logged")
        return rosters[version - 1].party(self._id, "custodian").hpke_key or ""

    # --- a new key in the same epoch ----------------------------------------------------------------------------

    def reseal_shares(self) -> int:
        """Seal every share of this epoch to the key that the present roster names; return how many were.

        The share is the one that the header commits to, checked as it is opened. It is logged before the desk lets go of
        the share as the borough sealed it; a desk that was killed in between seals it once more. A share is never
        sealed to a key of a later epoch: it would outlive the flag.
        Raises: EpochEnded if an earlier key is not here any more; what the register refuses.
        """
        self.collect_shares()
        roster, now = self._connection.reader.public.roster, self._clock.now()
        key, done = self._named_key(roster.version), 0
        for flag_id in sorted(self._shares.flag_ids()):
            held = self._shares.get(flag_id)
            if held is None:
                continue
            sealed = held.envelope.document(SealedFlag)
            header = sealed.header
            version = header.roster_version if held.reseal is None else held.reseal.roster_version
            if header.epoch != roster.epoch or now >= header.retain_until or self._named_key(version) == key:
                continue
            share, index = self._open(held, sealed)
            context = ShareContext(header.digest(), self._id, index, roster.version, header.epoch)
            fresh = seal_share(share, HPKEPublicKey.decode(bytes.fromhex(key)), context)
            word = ShareReseal(
                custodian=self._id,
                flag=commitment(header.digest()),
                share_index=index,
                roster_version=roster.version,
                epoch=header.epoch,
                sealed_share=digest_of(fresh),
                resealed_at=now,
            )
            self._connection.submit("reseal", word)
            self._shares.store(flag_id, HeldShare(held.envelope, fresh, word))
            done += 1
        return done

    def replaced_keys(self) -> dict[Digest, int]:
        """Return this desk's envelope keys that the present roster has replaced within its epoch, with its number."""
        self._connection.reader.sync()
        public = self._connection.reader.public
        entries = {
            digest_of(bytes.fromhex(entry.hpke_key or ""))
            for roster in public.rosters
            if roster.epoch == public.roster.epoch and (entry := roster.by_id["custodian"].get(self._id)) is not None
        }
        present = digest_of(bytes.fromhex(self._named_key(public.roster.version)))
        return dict.fromkeys((entries - {present}) & self._keys.held(), public.roster.epoch)

    def destroy_replaced_keys(self) -> tuple[Digest, ...]:
        """Destroy those keys, once every share that is held is sealed to the present one, and log this desk's word.

        Raises: as ``reseal_shares``; nothing is destroyed then.
        """
        self.reseal_shares()
        return self._destroy(self.replaced_keys())

    # --- the end of an epoch ------------------------------------------------------------------------------------

    def ended_keys(self) -> dict[Digest, int]:
        """Return this desk's envelope keys whose retention epoch has ended, with its number, as the log shows it."""
        self._connection.reader.sync()
        now, ended = self._clock.now(), {}
        for roster in self._connection.reader.public.rosters:
            entry = roster.by_id["custodian"].get(self._id)
            if entry is not None and entry.hpke_key is not None and now >= roster.epoch_until:
                ended[digest_of(bytes.fromhex(entry.hpke_key))] = roster.epoch
        return {digest: epoch for digest, epoch in ended.items() if digest in self._keys.held()}

    def destroy_ended_keys(self) -> tuple[Digest, ...]:
        """Destroy the envelope keys of ended epochs, with the shares sealed to them, and log this desk's word about each.

        The word is durable before the key is destroyed and is logged afterwards; a desk that was killed in between goes
        on where it stood.
        Returns: The digests of the keys destroyed now. Raises: what the register refuses; the keys are gone then.
        """
        gone = self._destroy(self.ended_keys())
        for flag_id in self._shares.flag_ids():
            held = self._shares.get(flag_id)
            if held is not None and self._clock.now() >= held.envelope.document(SealedFlag).header.retain_until:
                self._shares.remove(flag_id)
        return gone

    def _destroy(self, keys: Mapping[Digest, int]) -> tuple[Digest, ...]:
        for digest, epoch in keys.items():
            word = KeyDestruction(custodian=self._id, epoch=epoch, hpke_key=digest, destroyed_at=self._clock.now())
            self._destructions.mkdir(parents=True, exist_ok=True)
            write_durably(self._destructions / f"{digest}.json", word.encode())
            self._keys.destroy(digest)
        self._log_destructions()
        return tuple(keys)

    def _log_destructions(self) -> None:
        logged = self._connection.reader.public.destructions
        for path in sorted(self._destructions.glob("*.json")):
            word = KeyDestruction.decode(path.read_bytes())
            if (self._id, word.hpke_key) not in logged:
                self._connection.submit("destruction", word)

    # --- warrants -----------------------------------------------------------------------------------------------

    def warrants(self) -> list[Warrant]:
        """Return the warrants in the log, each verified; live or not."""
        return [
            case.document
            for case in self._connection.cases(lambda kind: kind == "warrant")
            if isinstance(case.document, Warrant)
        ]

    def decide(
        self, warrant_digest: Digest, flag_id: RandomId, *, decision: Literal["approve", "refuse"], reasons: str
    ) -> Digest:
        """Approve or refuse the opening of one flag and return the digest of the logged decision.

        Raises: WarrantExpired, WarrantWithdrawn, NotLogged, ConflictOfInterest, Expired (past retention),
            EnvelopeInvalid: the desk refuses these by itself, whatever the custodian wishes.
        """
        warrant, withdrawn = self._connection.warrant(warrant_digest)
        header, held, sealed = self._check(warrant, withdrawn, flag_id)
        share, index = self._open(held, sealed)
        sealed_share = None
        if decision == "approve":
            context = ReleaseContext(
                warrant_digest, header, self._id, index, self._connection.reader.public.roster.version
            )
            recipient = HPKEPublicKey.decode(bytes.fromhex(warrant.recipient_key))
            sealed_share = reseal_share(share, recipient, context).hex()
        approval = Approval(
            warrant=warrant_digest,
            flag_id=flag_id,
            header=header,
            custodian=self._id,
            roster_version=self._connection.reader.public.roster.version,
            decision=decision,
            reasons=reasons,
            share_index=index,
            sealed_share=sealed_share,
            decided_at=self._clock.now(),
        )
        self._connection.submit("approval" if decision == "approve" else "refusal", approval)
        return approval.digest()

    def _check(self, warrant: Warrant, withdrawn: bool, flag_id: RandomId) -> tuple[Digest, HeldShare, SealedFlag]:
        now = self._clock.now()
        if withdrawn or self._connection.reader.history.cases.warrant(commitment(warrant.digest())).withdrawn:
            raise WarrantWithdrawn("the issuer took the warrant back")
        warrant.require_valid(now)
        header = next((named.header for named in warrant.flags if named.flag_id == flag_id), None)
        held = self._shares.get(flag_id)
        if header is None or held is None:
            raise NotLogged("the warrant does not name this flag, or its share has not arrived here")
        sealed = held.envelope.document(SealedFlag)
        if sealed.header.digest() != header:
            raise DigestMismatch("the warrant names another header for this flag")
        if now >= sealed.header.retain_until:
            raise Expired("the flag is past its retention")
        conflicts = self._connection.reader.public.roster.party(self._id, "custodian").conflicts
        if sealed.header.borough in conflicts:
            raise ConflictOfInterest(f"borough {sealed.header.borough}")
        return header, held, sealed
