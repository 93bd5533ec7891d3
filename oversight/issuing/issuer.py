"""The warrant issuer's desk: reads flags' headers, issues and withdraws warrants."""

from __future__ import annotations

from oversight.desk.connection import Connection, typed_errors
from protocol.clock import Clock
from protocol.documents.cases import ReviewReferral, Warrant, Withdrawal
from protocol.documents.flags import FlagHeader
from protocol.errors import NotLogged
from protocol.history.signers import logged_flag
from protocol.ids import Digest, RandomId
from protocol.rpc.v1 import register_pb2
from protocol.signing.dsse import Envelope, sign


class IssuerDesk:
    """One issuer."""

    def __init__(self, connection: Connection, *, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    @property
    def id(self) -> str:
        """The issuer's id in the roster."""
        return self._connection.party.settings.id

    def flags(self) -> list[FlagHeader]:
        """Return the headers of all flags, each in the log and signed by the borough that it names."""
        with typed_errors():
            shown = list(self._connection.register.Flags(register_pb2.Empty()))
        # Afterwards, so that a flag which was raised meanwhile is found in the log.
        self._connection.reader.sync()
        history = self._connection.reader.history
        return [logged_flag(history, Envelope.decode(flag.envelope))[0].header for flag in shown]

    def issue(self, warrant: Warrant) -> Digest:
        """Sign and log a warrant; return its digest. Raises: what the register refuses."""
        self._connection.submit("warrant", warrant)
        return warrant.digest()

    def withdraw(self, warrant: Digest, *, reason: str) -> None:
        """Take a warrant back, for good. Raises: what the register refuses."""
        withdrawal = Withdrawal(warrant=warrant, issuer=self.id, reason=reason, withdrawn_at=self._clock.now())
        self._connection.submit("withdrawal", withdrawal)

    def refer(self, warrant: Digest, flag_id: RandomId) -> Envelope:
        """Return the signed word to the flag's borough that the person may be reviewed there; the borough checks the log.

        Raises: NotLogged if the register shows no such flag.
        """
        header = next((one for one in self.flags() if one.flag_id == flag_id), None)
        if header is None:
            raise NotLogged(f"no flag {flag_id}")
        referral = ReviewReferral(
            warrant=warrant,
            flag_id=flag_id,
            header=header.digest(),
            policy=header.policy,
            issuer=self.id,
            referred_at=self._clock.now(),
        )
        return sign(referral, self._connection.party.signing_key)
