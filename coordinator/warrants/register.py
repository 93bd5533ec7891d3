"""The register's decisions: which flags, warrants, approvals and openings it takes, and when a ciphertext leaves.

The history's public rules (quorum, validity, withdrawal) are checked again when a leaf is applied; here stands what
needs the bodies: who is who, that the digests meet, that a conflict does not decide.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from coordinator.log.appender import AlsoWrite, Appender
from coordinator.store.cases import CaseStore, StoredFlag
from protocol.documents.base import Document
from protocol.documents.cases import Approval, Opening, Warrant, Withdrawal
from protocol.documents.destruction import KeyDestruction
from protocol.documents.flags import FlagPolicy, SealedFlag
from protocol.documents.reseal import ShareReseal
from protocol.documents.roster import Party, Roster
from protocol.errors import (
    ConflictOfInterest,
    DigestMismatch,
    EnvelopeInvalid,
    EpochEnded,
    Expired,
    FlagCapReached,
    NotLogged,
    QuorumNotMet,
    RoleForbidden,
    UnknownSigner,
    WarrantExpired,
    WarrantWithdrawn,
)
from protocol.history.leaves import commitment
from protocol.ids import Digest, PartyId, RandomId, digest_of
from protocol.signing.dsse import Envelope
from protocol.signing.quorum import verify_signed_by_role

SUBMITTABLE = {"issuer": ("warrant", "withdrawal"), "custodian": ("approval", "refusal", "destruction", "reseal")}


class Register:
    """Sealed flags and case documents."""

    def __init__(self, appender: Appender, store: CaseStore) -> None:
        self._appender = appender
        self._store = store

    # --- flags --------------------------------------------------------------------------------------------------

    def raise_flags(self, borough: Party, flags: list[tuple[Envelope, bytes, tuple[bytes, ...]]]) -> list[int]:
        """Log and store a borough's flags, all or none, and return their indices; flags held already keep theirs.

        Args:
            flags: (signed SealedFlag, ciphertext, sealed shares) each.
        Raises: UnknownSigner, DigestMismatch, PlanNotApproved, FlagCapReached, Expired.
        """
        sealed = [envelope.document(SealedFlag) for envelope, _, _ in flags]
        if any(one.header.borough != borough.id for one in sealed):
            raise UnknownSigner("a borough raises its own flags only")
        # Two calls at once would both find room below the cap.
        with self._appender.held():
            held = {one.header.flag_id: stored.leaf for one in sealed if (stored := self._same_flag(one)) is not None}
            fresh = [(one, flag) for one, flag in zip(sealed, flags, strict=True) if one.header.flag_id not in held]
            for _, flag in fresh:
                self._check_flag(borough, *flag)
            self._check_caps(borough, [one for one, _ in fresh])
            batch: list[tuple[str, Envelope, AlsoWrite | None]] = [
                ("flag", envelope, self._writer(one, ciphertext, shares))
                for one, (envelope, ciphertext, shares) in fresh
            ]
            indices = iter(self._appender.append_all(batch))
        return [held[one.header.flag_id] if one.header.flag_id in held else next(indices) for one in sealed]

    def _writer(self, sealed: SealedFlag, ciphertext: bytes, shares: tuple[bytes, ...]) -> AlsoWrite:
        return lambda connection, index: self._store.add_flag(
            connection, sealed, leaf=index, ciphertext=ciphertext, sealed_shares=shares
        )

    def _same_flag(self, sealed: SealedFlag) -> StoredFlag | None:
        stored = self._store.flag(sealed.header.flag_id)
        if stored is not None and stored.header != sealed.header.digest():
            raise DigestMismatch("a flag of this id is held with another header")
        return stored

    def _check_flag(
        self, borough: Party, envelope: Envelope, ciphertext: bytes, shares: tuple[bytes, ...]
    ) -> SealedFlag:
        public = self._appender.history.public
        sealed, signer = verify_signed_by_role(envelope, SealedFlag, public.roster, "borough")
        header, policy = sealed.header, public.policy(sealed.header.policy)
        if signer != borough:
            raise UnknownSigner("a borough raises its own flags only")
        if digest_of(ciphertext) != sealed.ciphertext or tuple(map(digest_of, shares)) != sealed.sealed_shares:
            raise DigestMismatch("the sealed parts are not those that the borough signed")
        if (header.plan, header.model) != (policy.plan, policy.model):
            raise DigestMismatch("the header names another plan or model than its policy")
        if header.category not in {rule.category for rule in policy.rules}:
            raise DigestMismatch("the header names a category that the policy does not")
        if not 1 <= header.roster_version <= len(public.rosters):
            raise DigestMismatch("the header names a roster version that is not logged")
        # A node seals once: the roster may have been rotated since, and it returns the flags that it has.
        roster = public.rosters[header.roster_version - 1]
        custodians = tuple(party.id for party in roster.deciding_custodians(borough.id))
        if (header.custodians, header.threshold) != (custodians, roster.approval_threshold):
            raise EnvelopeInvalid("the shares are not dealt to the roster's unconflicted custodians")
        self._check_bounds(sealed, policy, roster)
        return sealed

    def _check_bounds(self, sealed: SealedFlag, policy: FlagPolicy, roster: Roster) -> None:
        """Return if the header says no more, and is kept no longer, than the policy and the roster allow."""
        public, header, now = self._appender.history.public, sealed.header, self._appender.now()
        if not policy.valid_from <= now < policy.valid_until:
            raise Expired("the policy is outside its validity")
        if header.epoch != roster.epoch:
            raise DigestMismatch("the header names another epoch than its roster version")
        if now >= roster.epoch_until:
            raise EpochEnded(f"epoch {roster.epoch} ended at {roster.epoch_until}")
        latest = min(now + timedelta(days=policy.retention_days), roster.epoch_until)
        if header.retain_until > latest:
            raise DigestMismatch("field retain_until: longer than the policy or the epoch allows")
        features = public.plan(policy.plan).catalogue.head(header.category).features
        if len(header.reasons) > policy.max_reasons or not set(header.reasons) <= set(features):
            raise DigestMismatch("field reasons: more than the policy allows, or not features of the category")

    def _check_caps(self, borough: Party, fresh: list[SealedFlag]) -> None:
        for digest in {one.header.policy for one in fresh}:
            policy = self._appender.history.public.policy(digest)
            counts = self._store.count(policy=digest, borough=borough.id)
            for rule in policy.rules:
                added = sum((one.header.policy, one.header.category) == (digest, rule.category) for one in fresh)
                if counts.get(rule.category, 0) + added > rule.cap_per_borough:
                    raise FlagCapReached(f"borough {borough.id}, category {rule.category}: cap {rule.cap_per_borough}")

    def shares_for(self, custodian: Party, *, held: frozenset[RandomId]) -> list[tuple[StoredFlag, bytes]]:
        """Return each flag whose share this custodian lacks, with its own sealed share."""
        result = []
        for flag in self._store.all_flags():
            custodians = Envelope.decode(flag.envelope).document(SealedFlag).header.custodians
            if flag.flag_id not in held and custodian.id in custodians:
                result.append((flag, flag.sealed_shares[custodians.index(custodian.id)]))
        return result

    # --- warrants, decisions, openings --------------------------------------------------------------------------

    def submit(self, party: Party, kind: str, envelope: Envelope) -> int:
        """Log a warrant, withdrawal, approval or refusal and return its index.

        Raises: RoleForbidden, UnknownSigner, NotLogged, DigestMismatch, ConflictOfInterest; the history's own rules.
        """
        if kind not in SUBMITTABLE.get(party.role, ()):
            raise RoleForbidden(f"{party.role} {party.id} submits a {kind}")
        roster = self._appender.history.public.roster
        if kind == "warrant":
            warrant, signer = verify_signed_by_role(envelope, Warrant, roster, "issuer")
            _require_self(party, signer, warrant.issuer)
            roster.party(warrant.investigator, "investigator")
            for named in warrant.flags:
                self._flag(named.flag_id, named.header)
        elif kind == "withdrawal":
            withdrawal, signer = verify_signed_by_role(envelope, Withdrawal, roster, "issuer")
            _require_self(party, signer, withdrawal.issuer)
            self._own_warrant(withdrawal.warrant, party)
        elif kind == "destruction":
            word, signer = verify_signed_by_role(envelope, KeyDestruction, roster, "custodian")
            _require_self(party, signer, word.custodian)
        elif kind == "reseal":
            reseal, signer = verify_signed_by_role(envelope, ShareReseal, roster, "custodian")
            _require_self(party, signer, reseal.custodian)
        else:
            approval, signer = verify_signed_by_role(envelope, Approval, roster, "custodian")
            _require_self(party, signer, approval.custodian)
            self._check_decision(approval, signer)
        return self._appender.append(kind, envelope)

    def _check_decision(self, approval: Approval, custodian: Party) -> None:
        warrant = self._warrant(approval.warrant)
        if (approval.flag_id, approval.header) not in {(named.flag_id, named.header) for named in warrant.flags}:
            raise DigestMismatch("the decision is on a flag that the warrant does not name")
        flag = self._flag(approval.flag_id, approval.header)
        if flag.borough in custodian.conflicts:
            raise ConflictOfInterest(f"custodian {custodian.id}, borough {flag.borough}")
        _require_live(warrant, self._appender.now())
        header = Envelope.decode(flag.envelope).document(SealedFlag).header
        if header.custodians[approval.share_index - 1 : approval.share_index] != (custodian.id,):
            raise EnvelopeInvalid("the share index is not this custodian's")

    def _flag(self, flag_id: RandomId, header: Digest) -> StoredFlag:
        flag = self._store.flag(flag_id)
        if flag is None or flag.header != header:
            raise NotLogged("no flag of this id and header is held")
        return flag

    def _cases(self, *kinds: str) -> list[Document]:
        classes = {"warrant": Warrant, "withdrawal": Withdrawal, "approval": Approval, "opening": Opening}
        stored = [case for case in self._store.case_documents() if case.kind in kinds]
        return [Envelope.decode(case.envelope).document(classes[case.kind]) for case in stored]

    def _warrant(self, digest: Digest) -> Warrant:
        for warrant in self._cases("warrant"):
            if isinstance(warrant, Warrant) and warrant.digest() == digest:
                return warrant
        raise NotLogged("no warrant of this digest is held")

    def _approvals(self, opening: Opening, roster: Roster) -> dict[PartyId, Digest]:
        """Return the approvals of an opening that count: those by keys of the present roster, one a custodian."""
        found = {}
        for case in self._store.case_documents():
            if case.kind == "approval":
                envelope = Envelope.decode(case.envelope)
                approval = envelope.document(Approval)
                counts = envelope.signatures[0].keyid in roster.by_key_id["custodian"]
                if counts and (approval.warrant, approval.flag_id) == (opening.warrant, opening.flag_id):
                    found[approval.custodian] = approval.digest()
        return found

    def _own_warrant(self, digest: Digest, party: Party) -> Warrant:
        """Return a warrant that this party issued or was given. Raises: NotLogged, also if it is somebody else's."""
        warrant = self._warrant(digest)
        if party.id != (warrant.issuer if party.role == "issuer" else warrant.investigator):
            # In the same words as for one that does not exist: who may not know of it learns nothing by asking.
            raise NotLogged(f"the warrant is not {party.id}'s")
        return warrant

    def open(self, investigator: Party, envelope: Envelope) -> tuple[int, StoredFlag]:
        """Log an opening and return its index and the flag whose ciphertext may now leave.

        Asked again after a lost answer it returns the logged opening; a warrant that ended meanwhile gives nothing.
        Raises: NotLogged, WarrantExpired, WarrantWithdrawn, QuorumNotMet, DigestMismatch.
        """
        roster = self._appender.history.public.roster
        opening, signer = verify_signed_by_role(envelope, Opening, roster, "investigator")
        _require_self(investigator, signer, opening.investigator)
        warrant = self._own_warrant(opening.warrant, investigator)
        if (opening.flag_id, opening.header) not in {(named.flag_id, named.header) for named in warrant.flags}:
            raise DigestMismatch("the warrant does not name this flag")
        flag = self._flag(opening.flag_id, opening.header)
        _require_live(warrant, self._appender.now())
        if self._appender.history.cases.warrant(commitment(opening.warrant)).withdrawn:
            raise WarrantWithdrawn("nothing more is opened under it")
        header = Envelope.decode(flag.envelope).document(SealedFlag).header
        approvals = self._approvals(opening, roster)
        # The shares were dealt for the threshold of the roster at that time; fewer would open nothing.
        required = max(roster.approval_threshold, header.threshold)
        if len(approvals) < required or not set(opening.approvals) <= set(approvals.values()):
            raise QuorumNotMet(f"{len(approvals)} of {required} custodians approved")
        if self._appender.now() >= header.retain_until:
            raise Expired("the flag is past its retention")
        for case in self._store.case_documents():
            if case.kind == "opening":
                earlier = Envelope.decode(case.envelope).document(Opening)
                if (earlier.warrant, earlier.flag_id) == (opening.warrant, opening.flag_id):
                    return case.index, flag
        return self._appender.append("opening", envelope), flag


def _require_self(party: Party, signer: Party, named: str) -> None:
    if party != signer or named != party.id:
        raise UnknownSigner(f"{party.id} submits a document in another party's name")


def _require_live(warrant: Warrant, now: datetime) -> None:
    if not warrant.valid_from <= now < warrant.valid_until:
        raise WarrantExpired(
            f"valid from {warrant.valid_from:%Y-%m-%d %H:%M} until {warrant.valid_until:%Y-%m-%d %H:%M}"
        )
