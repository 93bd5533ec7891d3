"""A candidate becomes a sealed flag: header, envelope, signature."""

from __future__ import annotations

from datetime import datetime, timedelta

from borough_node.ledger import StoredFlag
from borough_node.scoring.candidates import Candidate
from protocol.documents.flags import FlagHeader, FlagPolicy, SealedFlag
from protocol.documents.roster import Roster
from protocol.ids import PartyId, digest_of, random_id
from protocol.sealing.envelope import ShareContext, deal, seal_identity, seal_share
from protocol.sealing.hpke import HPKEPublicKey
from protocol.sealing.pseudonym import PseudonymKey, pseudonym
from protocol.signing.dsse import sign
from protocol.signing.keys import SigningKey


def seal_candidate(
    candidate: Candidate,
    *,
    borough: PartyId,
    policy: FlagPolicy,
    roster: Roster,
    pseudonym_key: PseudonymKey,
    signing_key: SigningKey,
    now: datetime,
) -> StoredFlag:
    """Return the flag of one candidate, its identity sealed to the custodians who have no conflict here.

    The epoch bounds retention: custodians destroy their envelope keys at its end, so nothing is kept longer.
    """
    custodians = roster.deciding_custodians(borough)
    dealing = deal(threshold=roster.approval_threshold, custodians=len(custodians))
    header = FlagHeader(
        flag_id=random_id(),
        borough=borough,
        plan=policy.plan,
        policy=policy.digest(),
        model=policy.model,
        category=candidate.category,
        pseudonym=pseudonym(pseudonym_key, borough=borough, plan_digest=policy.plan, person=candidate.person),
        score_band=candidate.score_band,
        stability_band=candidate.stability_band,
        reasons=candidate.reasons,
        raised_on=now.strftime("%Y-%m-%d"),
        retain_until=min(now + timedelta(days=policy.retention_days), roster.epoch_until),
        roster_version=roster.version,
        epoch=roster.epoch,
        threshold=roster.approval_threshold,
        custodians=tuple(party.id for party in custodians),
        key_commitment=dealing.key_commitment,
        share_commitments=dealing.share_commitments,
    )
    digest = header.digest()
    ciphertext = seal_identity(dealing, candidate.person.encode(), header_digest=digest)
    shares = []
    for index, (party, share) in enumerate(zip(custodians, dealing.shares, strict=True), start=1):
        context = ShareContext(digest, party.id, index, roster.version, roster.epoch)
        shares.append(seal_share(share, HPKEPublicKey.decode(bytes.fromhex(party.hpke_key or "")), context))
    sealed = SealedFlag(
        header=header,
        ciphertext=digest_of(ciphertext),
        sealed_shares=tuple(digest_of(share) for share in shares),
    )
    return StoredFlag(header.flag_id, sign(sealed, signing_key).encode(), ciphertext, tuple(shares), None)
