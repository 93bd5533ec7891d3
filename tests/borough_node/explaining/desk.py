"""Two operators of a made-up borough, their keys, and what they sign; tests reach into it as attackers do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from borough_node.explaining.consultation import Consulting
from borough_node.explaining.request import ExplanationRequest, agree, ask
from borough_node.ledger.journal import Journal
from borough_node.records import Records
from protocol.ids import random_id
from protocol.sealing.pseudonym import pseudonym
from protocol.signing.keys import SigningKey
from tests.world import SCORING, World, table

WHY = "The officer contests the flag and asked for the reasons."


@dataclass
class Desk:
    """One borough's operators."""

    world: World
    policy: str
    borough: str
    keys: dict[str, SigningKey] = field(
        default_factory=lambda: {"first": SigningKey.generate(), "second": SigningKey.generate()}
    )

    def operators(self):
        return {name: key.public for name, key in self.keys.items()}

    def person(self, place=0):
        """Return somebody who was scored."""
        raw = table(self.borough, self.world.people)
        return str(raw.person[raw.cutoff == SCORING][place])

    def request(self, **changed):
        now = self.world.clock.now()
        fields = {
            "request_id": random_id(),
            "borough": self.borough,
            "policy": self.policy,
            "category": "first",
            "person": self.person(),
            "reason": WHY,
            "asked_by": "first",
            "asked_at": now,
            "valid_until": now + timedelta(hours=8),
        }
        return ExplanationRequest(**fields | changed)

    def asked(self, **changed):
        request = self.request(**changed)
        return ask(request, self.keys[request.asked_by], self.operators())

    def agreed(self, **changed):
        return agree(self.asked(**changed), self.keys["second"], self.operators(), now=self.world.clock.now())

    def journal_path(self):
        return self.world.root / self.borough / "journal.sqlite"

    def show(self, envelope, *, operators=None):
        """Have the borough answer, as a command that opens and closes its files."""
        ledger, journal = self.world.ledger(self.borough), Journal(self.journal_path())
        consulting = Consulting(
            borough=self.borough,
            operators=operators or self.operators(),
            public=self.world.appender.history.public,
            records=Records(lambda _: table(self.borough, self.world.people)),
            ledger=ledger,
            journal=journal,
            clock=self.world.clock,
        )
        try:
            return consulting.show(envelope)
        finally:
            ledger.close()
            journal.close()

    def rows(self):
        journal = Journal(self.journal_path())
        try:
            return [entry.content for entry in journal.entries()]
        finally:
            journal.close()

    def name_behind(self, header):
        """Return the person whom a flag of this borough is about: the borough can, it has the key."""
        ledger = self.world.ledger(self.borough)
        key = ledger.pseudonym_key(header.plan)
        ledger.close()
        names = {
            pseudonym(key, borough=self.borough, plan_digest=header.plan, person=person): person
            for person in set(table(self.borough, self.world.people).person.tolist())
        }
        return names[header.pseudonym]

    @property
    def plan(self):
        return self.world.appender.history.public.policy(self.policy).plan
