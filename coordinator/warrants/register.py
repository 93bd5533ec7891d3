"""The register's decisions: which documents it takes, when a ciphertext leaves, and what is erased.

The history's public rules (quorum, validity, withdrawal, the table of steps) are checked again when a leaf is applied; here
stands what needs the bodies: who is who, that the digests meet, that a conflict does not decide, what the case allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from coordinator.log.appender import AlsoWrite, Appender
from coordinator.store.cases import CaseStore, StoredCase, StoredFlag
from coordinator.warrants.visibility import visible
from protocol.documents.cases import Approval, Opening, Warrant, Withdrawal
from protocol.documents.casework import CaseDocument, Consultation, ErasedFlag, Erasure
from protocol.documents.flags import FlagPolicy, SealedFlag
from protocol.documents.roster import Party, Roster
from protocol.errors import (
    ConflictOfInterest,
    ConsultationUnexplained,
    DigestMismatch,
    EnvelopeInvalid,
    EpochEnded,
    Expired,
    FlagCapReached,
    MalformedDocument,
    NotLogged,
    QuorumNotMet,
    RoleForbidden,
    UnknownSigner,
    WarrantWithdrawn,
)
from protocol.history.casefile import CaseFiles
from protocol.history.cases import signer_of
from protocol.history.leaves import CASE, PUBLIC, commitment
from protocol.ids import Digest, PartyId, RandomId, digest_of, random_id
from protocol.signing.dsse import Envelope
from protocol.signing.quorum import verify_signed_by_role

SUBMITTABLE = {
    "coordinator": ("triage", "erasure"),
    "issuer": ("warrant", "withdrawal", "deferral", "notice", "outcome", "answer"),
    "custodian": ("approval", "refusal", "destruction", "reseal"),
    "investigator": ("review",),
    "borough": ("notification", "representation", "request"),
}


class Register:
    """Sealed flags and case documents."""

    def __init__(self, appender: Appender, store: CaseStore) -> None:
        self._appender = appender
        self._store = store
        self._files = CaseFiles()
        self._folded = 0
        """Leaves of the log that ``_files`` holds."""
        self._signers: dict[Digest, Digest] = {}
        """Key id under each approval, by its digest."""

    @property
    def files(self) -> CaseFiles:
        """What the stored documents add up to now."""
        with self._appender.held():
            size = self._appender.history.tree.size
            for case in self._store.case_documents(start=self._folded) if size != self._folded else ():
                envelope = Envelope.decode(case.envelope)
                document = envelope.document(CASE[case.kind])
                if isinstance(document, Approval):
                    self._signers[document.digest()] = envelope.signatures[0].keyid
                self._files.add(case.index, document)
            self._folded = size
            return self._files

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

    # --- reading ------------------------------------------------------------------------------------------------

    def consult(
        self, reader: Party, envelope: Envelope | None, *, after: RandomId | None = None, limit: int | None = None
    ) -> list[bytes]:
        """Log who looks at which flags' headers and why, then return them, each as its borough signed it, in log order.

        Args:
            after: The last flag of the page before.
            limit: Of this page.
        Raises: ConsultationUnexplained without a document that says so; UnknownSigner; NotLogged if a flag is not held.
        """
        if envelope is None:
            raise ConsultationUnexplained("the request carries no consultation")
        try:
            consultation = envelope.document(Consultation)
        except MalformedDocument as error:
            raise ConsultationUnexplained(error.detail) from None
        _, signer = signer_of("consultation", envelope, self._appender.history.public.roster)
        _require_self(reader, signer, consultation.reader)
        start = 0 if after is None else self._store.leaf_of(after) + 1
        with self._appender.held():
            if not self.files.flags.keys() >= set(consultation.flags):
                raise NotLogged("no flag of this id is held")
            self._appender.append("consultation", envelope)
        return self._store.headers(consultation.flags, start=start, limit=limit)

    def cases(self, party: Party, *, warrant: Digest | None = None) -> Iterator[StoredCase]:
        """Yield the case documents that a party may read now, of one warrant or of all, in log order."""
        # Flags are the most, and only an auditor reads them as case documents.
        kinds = CASE.keys() - (set() if party.role == "auditor" else {"flag"})
        with self._appender.held():
            may_read = visible(self.files, party, now=self._appender.now())
            indices = None if warrant is None else self.files.leaves_under(warrant)
        for case in self._store.case_documents(kinds=kinds, indices=indices):
            if may_read(Envelope.decode(case.envelope).document(CASE[case.kind])):
                yield case

    # --- steps of cases -----------------------------------------------------------------------------------------

    def submit(self, party: Party, kind: str, envelope: Envelope) -> int:
        """Log a document of a case and return its index; an erasure also destroys what it names.

        Raises: RoleForbidden, UnknownSigner, NotLogged, DigestMismatch, ConflictOfInterest; what the case files and the
            history refuse.
        """
        if kind not in SUBMITTABLE.get(party.role, ()):
            raise RoleForbidden(f"{party.role} {party.id} submits a {kind}")
        roster = self._appender.history.public.roster
        if kind in PUBLIC:
            word, signer = verify_signed_by_role(envelope, PUBLIC[kind], roster, "custodian")
            _require_self(party, signer, getattr(word, "custodian", ""))
            return self._appender.append(kind, envelope)
        document, signer = signer_of(kind, envelope, roster)
        _require_self(party, signer, getattr(document, party.role))
        with self._appender.held():
            if party.role in ("issuer", "investigator") and isinstance(document, Withdrawal | CaseDocument):
                self._own_warrant(document.warrant, party)
            self.files.check(document, now=self._appender.now())
            if isinstance(document, Warrant):
                roster.party(document.investigator, "investigator")
            elif isinstance(document, Approval):
                self._check_decision(document, signer)
            also = self._eraser(document) if isinstance(document, Erasure) else None
            index = self._appender.append(kind, envelope, also=also)
        if isinstance(document, Erasure):
            self._store.scrub()
        return index

    def _eraser(self, erasure: Erasure) -> AlsoWrite:
        gone = tuple(flag.flag_id for flag in erasure.flags)
        return lambda connection, index: self._store.erase(connection, gone, erasure.leaves)

    def erasure_due(self, coordinator: PartyId, *, legal_basis: str) -> Erasure | None:
        """Return the erasure of all that may be erased now, for the coordinator to sign; None if nothing may."""
        now = self._appender.now()
        with self._appender.held():
            files = self.files
            due = files.due(now=now)
            if not due:
                return None
            return Erasure(
                erasure_id=random_id(),
                coordinator=coordinator,
                flags=tuple(ErasedFlag(flag_id=flag_id, cause=cause) for flag_id, cause in sorted(due.items())),
                leaves=files.leaves_of(due, now=now),
                legal_basis=legal_basis,
                erased_at=now,
            )

    def _check_decision(self, approval: Approval, custodian: Party) -> None:
        files = self.files
        warrant = files.warrant(approval.warrant)
        case = files.case(approval.warrant, approval.flag_id, approval.header)
        header = case.header
        if header.borough in custodian.conflicts:
            raise ConflictOfInterest(f"custodian {custodian.id}, borough {header.borough}")
        warrant.require_valid(self._appender.now())
        if header.custodians[approval.share_index - 1 : approval.share_index] != (custodian.id,):
            raise EnvelopeInvalid("the share index is not this custodian's")
        if case.withdrawn:
            raise WarrantWithdrawn("nothing more is decided under it")
        case.then(approval)

    def _own_warrant(self, digest: Digest, party: Party) -> Warrant:
        """Return a warrant that this party issued or was given. Raises: NotLogged, also if it is somebody else's."""
        warrant = self.files.warrant(digest)
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
        with self._appender.held():
            files = self.files
            warrant = self._own_warrant(opening.warrant, investigator)
            case = files.case(opening.warrant, opening.flag_id, opening.header)
            now = self._appender.now()
            warrant.require_valid(now)
            if case.withdrawn or self._appender.history.cases.warrant(commitment(opening.warrant)).withdrawn:
                raise WarrantWithdrawn("nothing more is opened under it")
            # Those by keys of the present roster: a custodian who was revoked opens nothing any more.
            deciding = roster.by_key_id["custodian"]
            approvals = {one.digest() for one in case.decided.values() if one.decision == "approve"}
            approvals = {digest for digest in approvals if self._signers[digest] in deciding}
            # The shares were dealt for the threshold of the roster at that time; fewer would open nothing.
            required = max(roster.approval_threshold, case.header.threshold)
            if len(approvals) < required or not set(opening.approvals) <= approvals:
                raise QuorumNotMet(f"{len(approvals)} of {required} custodians approved")
            if now >= case.header.retain_until:
                raise Expired("the flag is past its retention")
            flag = self._store.flag(opening.flag_id)
            if flag is None:
                raise NotLogged("no flag of this id and header is held")
            earlier = files.openings.get((opening.warrant, opening.flag_id))
            if earlier is not None:
                return earlier, flag
            case.then(opening)
            return self._appender.append("opening", envelope), flag


def _require_self(party: Party, signer: Party, named: str) -> None:
    if party != signer or named != party.id:
        raise UnknownSigner(f"{party.id} submits a document in another party's name")
