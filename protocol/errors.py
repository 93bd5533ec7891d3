"""Every error of Custodes, in one tree.

    ProtocolError
    ├── VerificationError    the peer's bytes are wrong
    ├── RefusalError         policy says no: warrant, quorum, budget, cohort
    ├── StateError           right request, wrong moment
    ├── TransportError       the peer cannot be reached or is not who it should be
    ├── StorageError         our own disk or database failed
    └── ConfigurationError   our own settings or tables are wrong

Rules this module keeps: a class has a stable ``code``, a ``public_message`` that may be shown to a peer, and a
``remedy_text`` that tells the operator what to do next. ``detail`` is for the operator's own screen and log: it may
name a field, a document or a party, never a person, a pseudonym or a feature value.
"""

from __future__ import annotations

from typing import ClassVar


class ProtocolError(Exception):
    """Something that Custodes foresaw and can explain; catch a branch, never this root, outside a service."""

    code: ClassVar[str] = "error"
    public_message: ClassVar[str] = "The request failed."
    remedy_text: ClassVar[str] = "Read the party's own log for the cause."

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.public_message} {self.detail}".strip()

    def remedy(self) -> str:
        """Say what the operator does next."""
        return self.remedy_text


class VerificationError(ProtocolError):
    """The peer's bytes are wrong: a signature, a proof, a digest or a shape does not hold."""

    code = "verification"
    public_message = "Verification failed."
    remedy_text = "Do not retry. Keep the bytes as evidence and ask the sender's office what it sent."


class RefusalError(ProtocolError):
    """Policy says no: the request is well formed and is not allowed."""

    code = "refusal"
    public_message = "Refused."
    remedy_text = "Read which rule refused, and whether the signed documents should say otherwise."


class StateError(ProtocolError):
    """Right request, wrong moment."""

    code = "state"
    public_message = "Not possible in the present state."
    remedy_text = "Wait for the state named in the detail, then repeat the request."


class TransportError(ProtocolError):
    """The peer cannot be reached, or is not who it should be."""

    code = "transport"
    public_message = "The peer could not be reached."
    remedy_text = "Check the address, that the peer runs, and that both use certificates named by the same roster."


class StorageError(ProtocolError):
    """Our own disk or database failed or holds something impossible."""

    code = "storage"
    public_message = "Stored state cannot be used."
    remedy_text = "Stop this party, keep its state directory as it is, and restore a backup that the log confirms."


class ConfigurationError(ProtocolError):
    """Our own settings, keys or tables are wrong."""

    code = "configuration"
    public_message = "The configuration is not usable."
    remedy_text = "Correct the setting named in the detail and start again."


# --- verification -----------------------------------------------------------------------------------------------


class MalformedDocument(VerificationError):
    """Bytes do not parse as the document they claim to be, or are not in canonical form."""

    code = "document.malformed"
    public_message = "The document is malformed."
    remedy_text = "Correct the field named in the detail and have the document signed again."


class BadSignature(VerificationError):
    """A signature does not verify under the key it should."""

    code = "signature.bad"
    public_message = "A signature does not verify."


class UnknownSigner(VerificationError):
    """A signature is by a key that the roster does not give the role."""

    code = "signature.unknown_signer"
    public_message = "The signer is not in the roster with the role this document needs."
    remedy_text = "Compare the signer's key with the current roster; a revoked key must be replaced by roster rotation."


class OperatorUnknown(VerificationError):
    """A request for an explanation is signed by a key that the node's settings do not name as an operator's."""

    code = "operator.unknown"
    public_message = "The signer is no operator of this node."
    remedy_text = "Compare the operators' keys in the node's settings with those that signed; have the right ones sign."


class DigestMismatch(VerificationError):
    """A digest differs from the one that a signed document states."""

    code = "digest.mismatch"
    public_message = "A digest does not match the signed one."


class ShapeMismatch(VerificationError):
    """An array or list has the wrong length."""

    code = "shape.mismatch"
    public_message = "A vector or list has the wrong length."


class StreamInvalid(VerificationError):
    """A borough's stream does not keep to the protocol: another version, or an answer to what was not asked."""

    code = "stream.invalid"
    public_message = "The stream does not keep to the protocol."
    remedy_text = "Compare the versions of node and coordinator. If they agree, ask the borough what its node sends."


class ProofInvalid(VerificationError):
    """A Merkle proof does not connect what it should connect."""

    code = "log.proof_invalid"
    public_message = "A log proof is invalid."


class CheckpointInvalid(VerificationError):
    """A checkpoint is unsigned, unwitnessed or malformed."""

    code = "log.checkpoint_invalid"
    public_message = "A log checkpoint is invalid."
    remedy_text = "Ask the coordinator for the current checkpoint; without a majority of witnesses nothing proceeds."


class DatedAhead(VerificationError):
    """A leaf is dated later than the witnesses saw it."""

    code = "log.dated_ahead"
    public_message = "The log holds a leaf that is dated after its witnesses' time."
    remedy_text = (
        "Stop. Keep the checkpoint and ask the coordinator why: a later date frees budget that is still spent."
    )


class ForkDetected(VerificationError):
    """Two checkpoints of one log contradict each other: both are kept as evidence and the party stops."""

    code = "log.fork"
    public_message = "The log shows two histories."
    remedy_text = "Stop. Send both kept checkpoints to the auditor and the other witnesses; do not delete either."


class EnvelopeInvalid(VerificationError):
    """An identity envelope, a share or a commitment does not hold together."""

    code = "envelope.invalid"
    public_message = "The sealed envelope is not consistent with its signed commitments."
    remedy_text = "Refuse the flag; the borough's signature over it shows who dealt it."


class SumInvalid(VerificationError):
    """An unmasked sum fails its range check or its tags."""

    code = "sum.invalid"
    public_message = "The unmasked sum fails its range or tag check."
    remedy_text = (
        "The release index is burnt and stays charged. Find which statement and mask sum disagree before any new plan."
    )


class BackupAltered(VerificationError):
    """A copy of the coordinator's database is not what the log committed to."""

    code = "backup.altered"
    public_message = "The backup is not what the log holds."
    remedy_text = "Do not use it and keep it as evidence: find who could write to it. Take another backup."


class ModelMismatch(VerificationError):
    """A model, or a step towards it, does not follow from the plan and the published sums."""

    code = "model.mismatch"
    public_message = "The model does not follow from the plan and the published sums."
    remedy_text = "Do not sign. Send both digests to the auditor: a model made otherwise can single a person out."


class DisclosureIncomplete(VerificationError):
    """A leaf that should be disclosed to the auditor is neither disclosed nor named by an erasure."""

    code = "disclosure.incomplete"
    public_message = "The disclosure lacks a leaf that it should hold."
    remedy_text = "Ask the coordinator for the body and salt of the leaf in the detail, and why they are missing."


# --- refusal ----------------------------------------------------------------------------------------------------


class QuorumNotMet(RefusalError):
    """Too few distinct keys have signed."""

    code = "quorum.not_met"
    public_message = "The quorum of custodians is not met."
    remedy_text = "Ask the custodians named as missing in the detail to decide."


class KeyReused(RefusalError):
    """A roster gives a party a key that was another's, or that an earlier version dropped."""

    code = "roster.key_reused"
    public_message = "A key in the roster was another party's, or was dropped before."
    remedy_text = "Have the party named in the detail make new keys; whoever had the old one may still have it."


class RoleForbidden(RefusalError):
    """The caller's certificate does not carry a role that may do this."""

    code = "access.role_forbidden"
    public_message = "This role may not do this."


class TooManyCalls(RefusalError):
    """One caller calls one method more often, or more times at once, than a server allows."""

    code = "access.too_many_calls"
    public_message = "Too many calls."
    remedy_text = "Wait a minute. If this party works as it should, raise calls_per_minute at the server."


class Expired(RefusalError):
    """A document is used outside its validity."""

    code = "document.expired"
    public_message = "The document is outside its validity."
    remedy_text = "Have a new document issued and approved; validity is never extended in place."


class PlanClosed(Expired):
    """The plan is closed: its key is destroyed."""

    code = "plan.closed"
    public_message = "The plan is closed."
    remedy_text = "A closed plan stays closed; draft a new plan and show it to the quorum."


class PlanOutsideValidity(Expired):
    """The plan is used before or after its validity."""

    code = "plan.outside_validity"
    public_message = "The plan is outside its validity."
    remedy_text = "Check this machine's clock; if it is right, draft a new plan: validity is never extended in place."


class RosterChanged(Expired):
    """The plan was approved under an earlier roster."""

    code = "plan.roster_changed"
    public_message = "The plan was approved under another roster."
    remedy_text = "A plan ends when the roster changes. Draft a new one under the current roster."


class EpochEnded(Expired):
    """The retention epoch under which a flag would be sealed has ended, or its envelope key is destroyed."""

    code = "roster.epoch_ended"
    public_message = "The retention epoch has ended."
    remedy_text = "Nothing sealed in it opens any more. Rotate the roster into a new epoch before flags are raised."


class WarrantExpired(Expired):
    """A warrant is used outside its validity."""

    code = "warrant.expired"
    public_message = "The warrant is outside its validity."
    remedy_text = "Ask the issuer for a new warrant if the necessity still holds."


class WarrantWithdrawn(RefusalError):
    """The issuer has withdrawn the warrant."""

    code = "warrant.withdrawn"
    public_message = "The warrant has been withdrawn."
    remedy_text = "Nothing further may be opened under it; ask the issuer for the reason."


class NotLogged(RefusalError):
    """A document is not in the log under a checkpoint that a majority of witnesses cosigned."""

    code = "document.not_logged"
    public_message = "The document is not in the witnessed log."
    remedy_text = "Submit it to the coordinator and wait for the next cosigned checkpoint."


class ConflictOfInterest(RefusalError):
    """The custodian is in conflict for this borough."""

    code = "custodian.conflict"
    public_message = "This custodian has a declared conflict for the borough."
    remedy_text = "Another custodian decides; the roster names who has no conflict."


class PlanNotApproved(RefusalError):
    """A plan or policy lacks its quorum."""

    code = "plan.not_approved"
    public_message = "The plan is not approved."
    remedy_text = "Show the plan to the custodians; a node acts only on what the quorum has signed and the log shows."


class BudgetExceeded(RefusalError):
    """The privacy budget does not cover the plan."""

    code = "budget.exceeded"
    public_message = "The privacy budget does not cover this plan."
    remedy_text = (
        "Lower the plan's epsilon, wait until earlier spending leaves the 365-day window, or have the quorum change "
        "the roster's budget."
    )


class CohortTooSmall(RefusalError):
    """Fewer boroughs answered than the plan requires."""

    code = "cohort.too_small"
    public_message = "Too few boroughs answered."
    remedy_text = "See which boroughs are offline; the release can be repeated only while the index is unanswered."


class ReleaseRefused(RefusalError):
    """A release request is not the one that the plan allows next."""

    code = "release.refused"
    public_message = "The release request is not allowed by the plan."
    remedy_text = "Compare the request with the approved plan; a request is computed once and resent unchanged."


class IndexOutOfTurn(ReleaseRefused):
    """An index was asked for that is not the next one of the plan."""

    code = "release.index_out_of_turn"
    public_message = "The index is not the next one of the plan."
    remedy_text = "Ask for the index after the last release or burn in the log; no index is skipped or repeated."


class SparesSpent(ReleaseRefused):
    """More indices are burnt than the plan has spares."""

    code = "plan.spares_spent"
    public_message = "The plan has no spare index left."
    remedy_text = (
        "The plan is closed. Find why its sums failed before a new plan is drafted, with more spares if need be."
    )


class LedgerRewound(RefusalError):
    """A borough's statement contradicts what it said earlier about its own ledger."""

    code = "ledger.rewound"
    public_message = "A borough's ledger does not continue the one that its earlier statements anchored."
    remedy_text = (
        "The borough runs on a restored or edited ledger. It must restore the newer one, or get a new key by roster "
        "rotation."
    )


class FairnessGateMissed(RefusalError):
    """A policy flags a category whose fairness gate was missed, or may not stay hidden, and gives no reason for it."""

    code = "fairness.gate_missed"
    public_message = "The policy misses a fairness gate of its plan without a waiver."
    remedy_text = (
        "Leave the category out of the policy (--without CATEGORY), give the quorum a reason to sign (--waive "
        "CATEGORY:ATTRIBUTE=REASON), or draft a plan that mitigates the difference."
    )


class WaiverUnfounded(RefusalError):
    """A policy waives a gate that was not missed, or that the plan does not have."""

    code = "fairness.waiver_unfounded"
    public_message = "The policy has a waiver that no fairness gate needs."
    remedy_text = "Draft the policy without this waiver; custodians sign reasons only where a gate needs one."


class FlagCapReached(RefusalError):
    """The policy's cap on flags is reached."""

    code = "flag.cap_reached"
    public_message = "The policy's cap on flags is reached."
    remedy_text = "Raise no further flags under this policy; a new policy needs the quorum."


class OneOperator(RefusalError):
    """An explanation needs two operators, that is two keys."""

    code = "explanation.one_operator"
    public_message = "One operator alone may not see an explanation."
    remedy_text = "Have another operator, with a key of their own that the settings name, agree to the request."


class ExplanationExpired(Expired):
    """A request for an explanation is used outside its validity."""

    code = "explanation.expired"
    public_message = "The request for an explanation is outside its validity."
    remedy_text = "Check this machine's clock; if it is right, ask anew and have the second operator agree again."


class ExplanationOutOfPolicy(RefusalError):
    """A request for an explanation names what no approved policy of this borough covers."""

    code = "explanation.out_of_policy"
    public_message = "No approved policy covers what the request asks for."
    remedy_text = "Compare the request's borough, policy and category with the log; use a newer copy of it if need be."


class ExplanationReplayed(RefusalError):
    """A request for an explanation was used before: one request, one look, one row of the journal."""

    code = "explanation.replayed"
    public_message = "The request for an explanation was used before."
    remedy_text = "Ask anew and have the second operator agree again: each look needs its own reason."


class PersonNotScored(RefusalError):
    """Nobody of the identifier in a request has a row at the policy's cutoff."""

    code = "explanation.not_scored"
    public_message = "The person was not scored under this policy."
    remedy_text = (
        "Write the identifier as the table has it; who was not in the borough at the cutoff has no score here."
    )


class FlagNotOpened(RefusalError):
    """A flagged person is to be reviewed in the borough, and nothing shows that the flag was opened."""

    code = "review.not_opened"
    public_message = "The flag is not one of this borough's that the log shows as opened."
    remedy_text = (
        "Use a newer copy of the log. If it shows no opening either, the person stays off the reviewers' list."
    )


class ConsultationUnexplained(RefusalError):
    """Somebody asks to see flags and does not say who they are and why."""

    code = "consultation.unexplained"
    public_message = "Flags are shown only to who says why."
    remedy_text = "Ask again with --by and --reason; both are kept, and the auditor reads them."


class OutcomeUnreviewed(RefusalError):
    """An outcome does not rest on a human review, or not on the last one."""

    code = "outcome.unreviewed"
    public_message = "The outcome rests on no review, or not on the last one."
    remedy_text = "Have a named person review the case, and name the digest of that review in the outcome."


class SamePerson(RefusalError):
    """One person did what two must do: reviewed and decided, or reviewed again what they had reviewed."""

    code = "review.same_person"
    public_message = "Two steps that need two people name one."
    remedy_text = "Let another person take this step."


class NoticeDue(RefusalError):
    """An outcome before the person was told and heard, or under a deferral that has ended."""

    code = "notice.due"
    public_message = "The person must be told and heard first."
    remedy_text = "Give notice and wait for the answer or the end of its time, or defer again with reasons and an end."


class RetentionTooLong(RefusalError):
    """A case without a finding would be kept longer than its flag was to be."""

    code = "retention.too_long"
    public_message = "The case would be kept longer than it may be."
    remedy_text = "Set retain_until no later than the detail says."


class ErasureRefused(RefusalError):
    """A case may not be erased yet."""

    code = "erasure.refused"
    public_message = "The case may not be erased now."
    remedy_text = "Wait for what the detail names: the warrant's end, its disclosure, an outcome, an answer, a date."


# --- state ------------------------------------------------------------------------------------------------------


class ReleaseUnavailable(StateError):
    """All that a node says to peers when it does not answer a release."""

    code = "release.unavailable"
    public_message = "release.unavailable"
    remedy_text = "Ask the borough's operator; the cause is in the node's own log only."


class BehindLog(StateError):
    """Own state is older than what the log shows: a restored backup or a rolled-back disk."""

    code = "state.behind_log"
    public_message = "This party's state is behind the log."
    remedy_text = "Do not start from this backup. Restore the newer state, or retire this key by roster rotation."


class ClockSkewed(StateError):
    """This machine's clock is behind the time at which the witnesses cosigned the log."""

    code = "clock.skewed"
    public_message = "This party's clock is behind the witnesses' time."
    remedy_text = "Set this machine's clock from a trusted source, then start again; validity cannot be judged without."


class ReviewUnknown(StateError):
    """No review of this id is on the reviewers' list."""

    code = "review.unknown"
    public_message = "No such review is on the list."
    remedy_text = "Take the id from the list of today."


class ReviewRecorded(StateError):
    """A review has an outcome and is recorded anew, or has none and is corrected."""

    code = "review.recorded"
    public_message = "The review is not in the state for this."
    remedy_text = "Look at the list with the finished reviews; an outcome is replaced with --correct, and why is kept."


class CaseOutOfOrder(StateError):
    """A step does not follow from where its case stands."""

    code = "case.out_of_order"
    public_message = "The case is not at a stage that takes this step."
    remedy_text = "Look where the case stands and take the step that is missing in between."


class NotReady(StateError):
    """The party has not finished starting."""

    code = "state.not_ready"
    public_message = "This party is not ready yet."


class AlreadyAnswered(StateError):
    """The index was answered for another set of statements."""

    code = "release.already_answered"
    public_message = "This plan and index were already answered for other statements."
    remedy_text = "Use the stored set; a sum is never recomputed over another set of boroughs."


class ConcurrentChange(StateError):
    """Somebody else changed the same row first; nothing of this request was kept, and nothing of theirs was lost."""

    code = "state.changed_meanwhile"
    public_message = "Another request changed this first."
    remedy_text = "Look at what stands there now, then repeat the request."


# --- storage ----------------------------------------------------------------------------------------------------


class SchemaOutdated(StorageError):
    """The coordinator's database is of an earlier version."""

    code = "storage.schema_outdated"
    public_message = "The database is of an earlier schema."
    remedy_text = (
        "Stop every process of the coordinator, make a backup with the version that ran last, then run "
        "custodes coordinator migrate."
    )


class SchemaUnknown(StorageError):
    """The coordinator's database is of a later version, or holds somebody else's tables."""

    code = "storage.schema_unknown"
    public_message = "The database has a schema that this version does not know."
    remedy_text = (
        "Nothing was changed. Install the version of Custodes that wrote it; if none did, name another database."
    )


# --- transport --------------------------------------------------------------------------------------------------


class PeerUnreachable(TransportError):
    """No answer from the address."""

    code = "peer.unreachable"


class PeerNotInRoster(TransportError):
    """The peer's certificate is not the one that the roster names."""

    code = "peer.not_in_roster"
    public_message = "The peer's certificate is not named by the roster."
    remedy_text = (
        "Check that the certificate comes from this force's CA and that its key hash stands in the current roster."
    )


# --- configuration ----------------------------------------------------------------------------------------------


class TableInvalid(ConfigurationError):
    """A personnel table cannot be used as it is; nothing of it was used."""

    code = "table.invalid"
    public_message = "The personnel table was refused whole."
    remedy_text = "Correct the column named in the detail at its source, export again, and rerun the check."


class PlanInvalid(ConfigurationError):
    """A plan contradicts itself, its catalogue or its roster."""

    code = "plan.invalid"
    public_message = "The plan is not valid."
    remedy_text = "Correct the field named in the detail before the plan is shown to custodians."


class KeyCustodyUnsupported(ConfigurationError):
    """A key is named by a URI of a kind that this version cannot open."""

    code = "key.custody_unsupported"
    public_message = "Keys of this custody cannot be opened."
    remedy_text = "Name the key by file:PATH. Tokens (pkcs11:) are not built in this version."


class WrongPassphrase(ConfigurationError):
    """A key file does not open with the passphrase."""

    code = "key.wrong_passphrase"
    public_message = "The key file does not open with this passphrase."
    remedy_text = "Give the passphrase again. A forgotten one cannot be recovered: make new keys and rotate the roster."


class RosterInvalid(ConfigurationError):
    """A roster contradicts itself or the versions before it."""

    code = "roster.invalid"
    public_message = "The roster is not valid."
    remedy_text = "Correct the field named in the detail and have the roster drafted and signed anew."


class MessageTooLarge(ConfigurationError):
    """A message is larger than the wire carries."""

    code = "message.too_large"
    public_message = "A message is too large for the wire."
    remedy_text = "Propose a plan with shorter vectors."
