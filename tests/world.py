"""A small force in memory: every party's own code and state, no network, one clock, two heads over made-up features.

Tests reach into it freely: they are the attackers. Names of people are synthetic, ``P-borough-1-001`` and so on.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from borough_node.app import system_noise
from borough_node.gate import Gate
from borough_node.ledger import Ledger
from borough_node.ledger.reviews import Reviews
from borough_node.records import Records
from borough_node.sources.table import PersonnelTable
from coordinator.log.appender import Appender
from coordinator.log.publisher import Publisher
from coordinator.registry.drafting import PlanChoices, draft_plan, draft_policy
from coordinator.registry.proposals import Proposals
from coordinator.rounds import Ask, PlanRunner, Reply, UnmaskerClient
from coordinator.services.log import LogService
from coordinator.services.register import RegisterService
from coordinator.store.cases import CaseStore
from coordinator.store.copying import copy_rows
from coordinator.store.database import Database, metadata
from coordinator.store.runs import Runs
from coordinator.warrants.register import Register
from coordinator.warrants.team import TeamDesk
from deploy.certificates import ForceCA
from oversight.custody.desk import CustodianDesk
from oversight.custody.keys import EnvelopeKeys
from oversight.custody.shares import ShareStore
from oversight.issuing.issuer import IssuerDesk
from oversight.opening.investigator import InvestigatorDesk
from oversight.unmasker.store import UnmaskerStore
from oversight.unmasker.unmasker import Unmasker
from oversight.witness.witness import Witness, WitnessService
from protocol.clock import FixedClock
from protocol.documents.base import Document
from protocol.documents.cases import Warrant, WarrantFlag
from protocol.documents.casework import Triage
from protocol.documents.catalogue import Bounded, Feature, FeatureCatalogue, Head, ProtectedAttribute, Scaled
from protocol.documents.flags import FlagHeader, FlagPolicy, SealedFlag, Waiver
from protocol.documents.plan import (
    Descent,
    Fairness,
    FairnessGate,
    Histogram,
    Mitigation,
    Shares,
    TrainingPlan,
)
from protocol.documents.roster import Budget, Party, Roster
from protocol.history.public import PlanRecord
from protocol.ids import Digest, PartyId, Role, digest_of, random_id
from protocol.keys.keyfile import write_key
from protocol.keys.passphrase import passphrase_source
from protocol.rpc.connection import Connection
from protocol.rpc.identity import Identity
from protocol.rpc.log_reader import LogReader
from protocol.rpc.party import CheckpointFile
from protocol.rpc.rosters import RosterBook
from protocol.rpc.v1 import register_pb2_grpc
from protocol.scorecard.gates import gate_verdicts
from protocol.sealing.hpke import HPKEPrivateKey
from protocol.signing.dsse import Envelope, sign
from protocol.signing.keys import SigningKey
from tests.loopback import Loopback

FORCE = "testforce"
PURPOSE = "misconduct_detection"
NOW = datetime(2031, 3, 4, 12, 0, 0, tzinfo=UTC)
TRAINING, SCORING = 2029, 2030
BY = "Inspector A. Example"
REASON = "a made-up reason of sufficient length"


def feature(name: str, *, bounded: bool = False) -> Feature:
    """Return a made-up feature: an indicator, or a value around zero."""
    transform = (
        Bounded(kind="bounded", low=0.0, high=1.0)
        if bounded
        else Scaled(kind="scaled", center=0.0, scale=1.0, limit=4.0)
    )
    return Feature(
        name=name,
        definition=f"Made-up value {name}.",
        unit="none",
        transform=transform,
        missing=None,
        direction=0,
        reason=f"The made-up value {name} was taken into account.",
        legal_note="Synthetic.",
    )


AskAll = Callable[[TrainingPlan, int, bytes, Digest], Mapping[PartyId, Reply]]
"""Like ``Ask``, with all replies at once: tests look at them and change them before the runner sees them."""


def one_by_one(ask: AskAll) -> Ask:
    """Return an ``Ask`` of the same replies."""
    return lambda *asked: ask(*asked).items()


CATALOGUE = FeatureCatalogue(
    catalogue_id="made-up",
    version=1,
    features=(feature("alpha"), feature("beta"), feature("gamma"), feature("senior", bounded=True), feature("unused")),
    heads=(
        Head(
            category="first",
            title="First",
            label="y_first",
            features=("alpha", "beta"),
            prior=0.1,
            eligible=None,
            start={},
        ),
        Head(
            category="second",
            title="Second",
            label="y_second",
            features=("gamma", "senior"),
            prior=0.1,
            eligible="senior",
            start={},
        ),
    ),
    protected=(
        ProtectedAttribute(name="sex", title="Sex", groups=("f", "m")),
        ProtectedAttribute(name="origin", title="Origin", groups=("a", "b", "c")),
    ),
)

CHOICES = PlanChoices(
    purpose=PURPOSE,
    epsilon=6.0,
    delta=1e-6,
    spares=0,
    shares=Shares(
        second_moment=0.2, gradients=0.5, evaluation=0.3, group_moments=0.0, fairness=0.0, drift=0.0, outcomes=0.0
    ),
    min_boroughs_share=0.75,
    colluding=1,
    descent=Descent(steps=2, learning_rate=4.0, momentum=0.5, row_norm=4.0, ridge_factor=0.5, clip_factor=0.8),
    histogram=Histogram(bins=8, low=-2.0, high=4.0),
    fairness=None,
    capacity_share={"any": 0.1},
    minimum_band={},
    cap_factor=2.0,
    scale_bits=30,
    reply_slot_seconds=0.01,
    deadline_seconds=5.0,
    validity_days=30,
    min_population=20,
    max_reasons=2,
    retention_days=60,
    control_rate=0.0,
)

EVERYTHING = CHOICES.model_copy(
    update={
        "shares": Shares(
            second_moment=0.1,
            gradients=0.4,
            group_moments=0.1,
            evaluation=0.2,
            fairness=0.1,
            drift=0.1,
            outcomes=0.0,
        ),
        "fairness": Fairness(
            attributes=("sex", "origin"),
            bins=4,
            min_cell=5.0,
            mitigations=(Mitigation(attribute="origin", strength=1.0),),
            gates=(FairnessGate(attribute="sex", minimum=0.8, when_hidden="refuse"),),
        ),
    }
)
"""A plan with every kind of release but outcomes."""


def table(borough: PartyId, people: int) -> PersonnelTable:
    """Return one borough's rows at both cutoffs; the same arguments give the same rows."""
    rng = np.random.default_rng([people, *borough.encode()])
    rows = 2 * people
    values = {name: rng.normal(size=rows) for name in ("alpha", "beta", "gamma", "unused")}
    values["senior"] = np.tile((np.arange(people) % 2).astype(float), 2)
    first = (values["alpha"] + 0.5 * values["beta"] + 0.3 * rng.normal(size=rows) > 1.3).astype(float)
    second = ((values["gamma"] > 1.0) & (values["senior"] > 0)).astype(float)
    return PersonnelTable(
        person=np.array([f"P-{borough}-{n:03d}" for n in range(people)] * 2, dtype=object),
        cutoff=np.repeat(np.array([TRAINING, SCORING]), people),
        silo=None,
        features={name: values[name] for name in ("alpha", "beta", "gamma", "senior", "unused")},
        labels={"y_first": first, "y_second": second},
        protected={
            "sex": np.array(["f", "m"], dtype=object)[rng.integers(2, size=rows)],
            "origin": np.array(["a", "b", "c", ""], dtype=object)[rng.integers(4, size=rows)],
        },
    )


@dataclass
class PartyClock:
    """One party's clock: the world's, and how far it is off."""

    world: FixedClock
    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        """Return what this party takes for the present instant."""
        return self.world.now() + self.ahead


@dataclass(repr=False)
class World:
    """All parties of one made-up force; make one with ``World.create``."""

    root: Path
    clock: FixedClock
    people: int
    roster: Roster
    keys: dict[PartyId, SigningKey]
    envelope_keys: dict[PartyId, HPKEPrivateKey]
    ca: ForceCA
    certificates: dict[PartyId, bytes]
    tls_keys: dict[PartyId, bytes]
    place: sa.URL | None = None
    """Where the coordinator's database is, if not in a SQLite file below ``root``."""
    reports: list[tuple[str, str]] = field(default_factory=list)
    _first: Digest | None = None
    """Digest of the first roster, once there are others."""
    _gates: dict[PartyId, Gate] = field(default_factory=dict)
    _clocks: dict[PartyId, PartyClock] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        root: Path,
        *,
        boroughs: int = 4,
        people: int = 60,
        budget: float = 50.0,
        conflicts: Mapping[PartyId, tuple[PartyId, ...]] | None = None,
        epoch_days: int = 365,
        place: sa.URL | None = None,
    ) -> World:
        """Return a force with a logged roster and catalogue and no plan.

        Args:
            people: In each borough.
            budget: rho of the one purpose.
            conflicts: Boroughs that a custodian must not decide on, by custodian.
        """
        names: dict[PartyId, Role] = {"coordinator": "coordinator", "unmasker": "unmasker"}
        names |= {f"custodian-{n}": "custodian" for n in (1, 2, 3)} | {f"witness-{n}": "witness" for n in (1, 2, 3)}
        names |= {"issuer": "issuer", "issuer-2": "issuer"}
        names |= {"investigator": "investigator", "investigator-2": "investigator"}
        names |= {"auditor": "auditor"} | {f"borough-{n}": "borough" for n in range(1, boroughs + 1)}
        keys = {name: SigningKey.generate() for name in names}
        envelope_keys = {name: HPKEPrivateKey.generate() for name, role in names.items() if role == "custodian"}
        # TLS looks at the machine's clock and not at the world's.
        ca = ForceCA(FORCE, now=datetime.now(UTC).replace(microsecond=0))
        certificates, tls_keys, parties = {}, {}, []
        for name, role in names.items():
            certificates[name], tls_keys[name], tls_key = ca.issue(Identity(FORCE, role, name))
            envelope_key = envelope_keys.get(name)
            parties.append(
                Party(
                    id=name,
                    role=role,
                    signing_key=keys[name].public,
                    tls_key=tls_key,
                    hpke_key=None if envelope_key is None else envelope_key.public_key().encode().hex(),
                    conflicts=(conflicts or {}).get(name, ()),
                )
            )
        roster = Roster(
            force=FORCE,
            version=1,
            previous=None,
            valid_from=NOW,
            epoch=1,
            epoch_until=NOW + timedelta(days=epoch_days),
            approval_threshold=2,
            parties=tuple(parties),
            budgets=(Budget(purpose=PURPOSE, rho=budget),),
        )
        root.mkdir(parents=True, exist_ok=True)
        world = cls(root, FixedClock(NOW), people, roster, keys, envelope_keys, ca, certificates, tls_keys, place)
        world.log("roster", roster, *world.custodian_ids)
        world.log("catalogue", CATALOGUE, "coordinator")
        return world

    @property
    def custodian_ids(self) -> tuple[PartyId, ...]:
        """All custodians."""
        return tuple(party.id for party in self.roster.with_role("custodian"))

    @property
    def borough_ids(self) -> tuple[PartyId, ...]:
        """All boroughs, in order."""
        return tuple(party.id for party in self.roster.with_role("borough"))

    @property
    def genesis(self) -> Digest:
        """Digest of the first roster."""
        return self._first or self.roster.digest()

    def next_roster(self, **changes: Any) -> Roster:
        """Return the version after the present one; nobody has signed it."""
        fields = {name: getattr(self.roster, name) for name in Roster.model_fields}
        fields |= {"version": self.roster.version + 1, "previous": self.roster.digest()}
        return Roster(**(fields | changes))

    def rotate(self, *signers: PartyId, **changes: Any) -> Roster:
        """Log the next version of the roster, signed by two custodians unless told otherwise, and return it."""
        self._first = self.genesis
        self.log("roster", self.next_roster(**changes), *(signers or self.custodian_ids[:2]))
        self.roster = self.appender.history.public.roster
        return self.roster

    def clock_of(self, name: PartyId) -> PartyClock:
        """Return a party's own clock."""
        return self._clocks.setdefault(name, PartyClock(self.clock))

    def report(self, code: str, detail: str) -> None:
        """Keep what a party tells its own operator."""
        self.reports.append((code, detail))

    # --- the coordinator --------------------------------------------------------------------------------------------

    @cached_property
    def database(self) -> Database:
        """The coordinator's database."""
        return Database(self.place or self.root / "coordinator.sqlite")

    @cached_property
    def appender(self) -> Appender:
        """The log's writer."""
        return Appender(self.database, genesis=self.genesis, clock=self.clock_of("coordinator"))

    @cached_property
    def witnesses(self) -> dict[PartyId, Witness]:
        """The witnesses."""
        return {party.id: self.witness(party.id) for party in self.roster.with_role("witness")}

    def witness(self, name: PartyId) -> Witness:
        """Return a witness that starts from its folder."""
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        memory = CheckpointFile(folder)
        return Witness(
            witness=name, key=self.keys[name], rosters=self.rosters(name), memory=memory, clock=self.clock_of(name)
        )

    def rosters(self, name: PartyId) -> RosterBook:
        """Return the rosters that a party knows, from its folder."""
        first = self.appender.history.public.roster_envelopes[0]
        return RosterBook(self.root / name / "rosters", first=first, genesis=first.document(Roster).digest())

    @cached_property
    def publisher(self) -> Publisher:
        """The log's publisher."""
        return Publisher(
            self.appender,
            key=self.keys["coordinator"],
            directory=self.root / "log",
            connect=lambda name: Loopback(WitnessService(self.witnesses[name])),
            report=self.report,
        )

    @cached_property
    def cases(self) -> CaseStore:
        """What the register stores."""
        return CaseStore(self.database)

    @cached_property
    def register(self) -> Register:
        """The register."""
        return Register(self.appender, self.cases)

    @cached_property
    def proposals(self) -> Proposals:
        """What waits for a quorum."""
        return Proposals(self.appender, self.cases)

    @cached_property
    def runs(self) -> Runs:
        """Where releases stand."""
        return Runs(self.database)

    def signed(self, document: Document, *signers: PartyId) -> Envelope:
        """Return a document signed by parties."""
        return sign(document, *(self.keys[name] for name in signers))

    def log(self, kind: str, document: Document, *signers: PartyId) -> int:
        """Log a document under a witnessed checkpoint."""
        index = self.appender.append(kind, self.signed(document, *signers))
        self.publisher.publish()
        return index

    # --- readers ----------------------------------------------------------------------------------------------------

    def reader(self, name: PartyId, *, appender: Appender | None = None) -> LogReader:
        """Return a party's reader of the log; its memory is the party's folder."""
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        memory = CheckpointFile(folder)
        return LogReader(
            lambda: Loopback(LogService(appender or self.appender)),  # type: ignore[arg-type, return-value]
            genesis=self.genesis,
            remembered=memory.load(),
            remember=memory.remember,
            keep_evidence=memory.keep_evidence,
            learn=self.rosters(name).learn,
            clock=self.clock_of(name),
        )

    # --- boroughs and unmasker --------------------------------------------------------------------------------------

    def gate(self, borough: PartyId) -> Gate:
        """Return a borough's running gate."""
        if borough not in self._gates:
            self._gates[borough] = self.new_gate(borough, ledger=self.ledger(borough))
        return self._gates[borough]

    def ledger_path(self, borough: PartyId) -> Path:
        """Where a borough's ledger is."""
        return self.root / borough / "ledger.sqlite"

    def ledger(self, borough: PartyId) -> Ledger:
        """Open a borough's ledger."""
        return Ledger(self.ledger_path(borough))

    def reviews(self, borough: PartyId) -> Reviews:
        """Open a borough's reviews."""
        return Reviews(self.root / borough / "reviews.sqlite")

    def new_gate(self, borough: PartyId, *, ledger: Ledger, people: int | None = None) -> Gate:
        """Return a gate that starts from a ledger."""
        reviews = self.reviews(borough)
        return Gate(
            borough=borough,
            signing_key=self.keys[borough],
            ledger=ledger,
            records=Records(lambda catalogue: table(borough, people or self.people), reviews),
            reviews=reviews,
            reader=self.reader(borough),
            clock=self.clock_of(borough),
            noise=system_noise,
        )

    @cached_property
    def unmasker(self) -> Unmasker:
        """The running unmasker."""
        return self.new_unmasker(self.root / "unmasker" / "unmasker.sqlite")

    def new_unmasker(self, path: Path) -> Unmasker:
        """Return an unmasker that starts from a file."""
        return Unmasker(
            store=UnmaskerStore(path),
            connect=lambda: self.reader("unmasker"),
            key=self.keys["unmasker"],
            clock=self.clock_of("unmasker"),
        )

    # --- plans ------------------------------------------------------------------------------------------------------

    def draft(
        self,
        choices: PlanChoices = CHOICES,
        *,
        boroughs: Iterable[PartyId] | None = None,
        catalogue: FeatureCatalogue = CATALOGUE,
        training: int = TRAINING,
        **named: Digest,
    ) -> TrainingPlan:
        """Return a plan that nobody has signed; ``named`` are the earlier documents that it draws on.

        It is evaluated at the cutoff after its one training cutoff.
        """
        plan_id = random_id()
        return draft_plan(
            choices,
            plan_id=plan_id,
            roster=self.roster,
            catalogue=catalogue,
            establishment=dict.fromkeys(boroughs or self.borough_ids, self.people),
            train_from=training,
            train_until=training,
            evaluation_cutoff=training + 1,
            unmasker_key=self.unmasker.new_plan_key(plan_id),
            now=self.clock.now(),
            **named,
        )

    def approve(self, choices: PlanChoices = CHOICES, **drafted: Any) -> Digest:
        """Draft a plan, have two custodians sign it, log it, and return its digest."""
        plan = self.draft(choices, **drafted)
        self.log("plan", plan, *self.custodian_ids[:2])
        return plan.digest()

    def record(self, plan: Digest) -> PlanRecord:
        """Return what the log shows of a plan."""
        return self.appender.history.public.plan(plan)

    def unmasker_client(self) -> UnmaskerClient:
        """Return the unmasker as the coordinator calls it."""
        return UnmaskerClient(
            commit=lambda request, texts: self.unmasker.commit(
                request, [Envelope.decode(text) for text in texts]
            ).encode(),
            reveal=lambda plan, index: self.unmasker.reveal(plan, index),
            close=lambda plan: self.unmasker.close_plan(plan).encode(),
        )

    def runner(self, unmasker: UnmaskerClient | None = None) -> PlanRunner:
        """Return a runner that starts from the database."""
        return PlanRunner(
            appender=self.appender,
            publish=self.publisher.publish,
            runs=self.runs,
            unmasker=unmasker or self.unmasker_client(),
            key=self.keys["coordinator"],
            report=self.report,
        )

    def ask(self, plan: TrainingPlan, index: int, request: bytes, tag_seed: Digest) -> dict[PartyId, Reply]:
        """Ask every borough of a plan, all of them honest and reachable."""
        answers = {name: self.gate(name).release(request, tag_seed) for name in plan.borough_ids()}
        return {name: Reply(answer.statement, answer.vector or b"") for name, answer in answers.items()}

    def run(self, plan: Digest, ask: AskAll | None = None) -> None:
        """Run a plan to its end."""
        self.runner().run(plan, one_by_one(ask or self.ask), forget=lambda index: None)

    def begun(self, plan: Digest) -> tuple[bytes, Digest]:
        """Have the coordinator make the next request of a plan; return it and its tag seed."""

        class Stop(Exception):
            """Ends the run where a test wants to go on by hand."""

        seen: list[tuple[bytes, Digest]] = []

        def ask(_: TrainingPlan, __: int, request: bytes, tag_seed: Digest) -> dict[PartyId, Reply]:
            seen.append((request, tag_seed))
            raise Stop

        with contextlib.suppress(Stop):
            self.run(plan, ask)
        return seen[0]

    # --- flags and cases --------------------------------------------------------------------------------------------

    def approve_policy(
        self, plan: Digest, change: Callable[[FlagPolicy], FlagPolicy] = lambda policy: policy
    ) -> Digest:
        """Log a policy for a finished plan, with a waiver for each fairness gate that needs one; return its digest."""
        record = self.record(plan)
        waivers = tuple(
            Waiver(category=one.category, attribute=one.attribute, reason=REASON)
            for one in gate_verdicts(record.run)
            if one.needs_waiver
        )
        policy = draft_policy(CHOICES, record=record, roster=self.roster, now=self.clock.now(), waivers=waivers)
        self.log("policy", change(policy), *self.custodian_ids[:2])
        return change(policy).digest()

    def raise_flags(self, policy: Digest) -> list[FlagHeader]:
        """Have every borough raise its flags; return the headers in log order."""
        headers = []
        for borough in self.borough_ids:
            stored = self.gate(borough).flags(policy)
            batch = [(Envelope.decode(flag.envelope), flag.ciphertext, flag.sealed_shares) for flag in stored]
            positions = self.register.raise_flags(self.roster.party(borough, "borough"), batch)
            self.publisher.publish()
            self.gate(borough).confirm_flags(policy, tuple(positions))
            headers += [envelope.document(SealedFlag).header for envelope, _, _ in batch]
        return headers

    @cached_property
    def register_service(self) -> RegisterService:
        """The register as parties call it."""
        return RegisterService(
            register=self.register,
            proposals=self.proposals,
            publish=self.publisher.publish,
            roster=lambda: self.roster,
            on_logged=lambda kind: None,
        )

    def connection(self, name: PartyId) -> Connection:
        """Return a desk's side of the wire."""
        return LoopbackConnection(self, name)

    def custodian(self, number: int) -> CustodianDesk:
        """Return a custodian's desk."""
        name = f"custodian-{number}"
        return CustodianDesk(
            self.connection(name),
            shares=ShareStore(self.root / name / "shares"),
            keys=self.envelope_folder(name),
            destructions=self.root / name / "destructions",
            clock=self.clock,
        )

    def envelope_folder(self, name: PartyId) -> EnvelopeKeys:
        """Return a custodian's folder of envelope keys, with its present one in it."""
        folder, private = self.root / name / "envelope", self.envelope_keys[name]
        public = private.public_key().encode()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / digest_of(public)).exists():
            write_key(
                folder / digest_of(public), private.encode(), kind="envelope", public=public.hex(), passphrase=None
            )
        return EnvelopeKeys(folder, passphrase=passphrase_source(file=None, descriptor=None))

    def issuer(self) -> IssuerDesk:
        """Return the issuer's desk."""
        return IssuerDesk(self.connection("issuer"), clock=self.clock)

    def team(self) -> TeamDesk:
        """Return the desk of the coordinator's team."""
        return TeamDesk(self.connection("coordinator"), clock=self.clock)

    def triage(self, *headers: FlagHeader) -> None:
        """Have the coordinator's team find flags worth a warrant."""
        coordinator = self.roster.party("coordinator", "coordinator")
        for header in headers:
            triage = Triage(
                triage_id=random_id(),
                flag_id=header.flag_id,
                header=header.digest(),
                coordinator="coordinator",
                triaged_by="Analyst A. Example",
                decision="pursue",
                reasons=REASON,
                triaged_at=self.clock.now(),
            )
            self.register.submit(coordinator, "triage", self.signed(triage, "coordinator"))
        self.publisher.publish()

    def investigator(self, name: PartyId = "investigator") -> InvestigatorDesk:
        """Return an investigator's desk."""
        return InvestigatorDesk(self.connection(name), keys=self.root / name / "keys", clock=self.clock)

    def warrant(self, *headers: FlagHeader, investigator: PartyId = "investigator", days: int = 7) -> Warrant:
        """Return a warrant for flags that nobody has signed, with a fresh recipient key of the investigator."""
        now = self.clock.now()
        return Warrant(
            warrant_id=random_id(),
            issuer="issuer",
            investigator=investigator,
            flags=tuple(WarrantFlag(flag_id=header.flag_id, header=header.digest()) for header in headers),
            purpose=REASON,
            regime="UK GDPR",
            legal_basis=REASON,
            necessity=REASON,
            proportionality=REASON,
            recipient_key=self.investigator(investigator).new_recipient_key(),
            issued_at=now,
            valid_from=now,
            valid_until=now + timedelta(days=days),
            disclosure_on=now + timedelta(days=90),
        )

    def become(self, other: World) -> None:
        """Take over another force's keys and files as they are now; whatever ran here is gone."""
        self.close()
        for kind in type(self).__mro__:
            for name in [name for name, value in vars(kind).items() if isinstance(value, cached_property)]:
                self.__dict__.pop(name, None)
        shutil.rmtree(self.root)
        # SQLite rebuilds its shared-memory files from the write-ahead logs.
        shutil.copytree(other.root, self.root, ignore=shutil.ignore_patterns("*-shm"))
        self.roster, self._first = other.roster, other._first
        self.keys, self.envelope_keys = dict(other.keys), dict(other.envelope_keys)
        self.ca, self.certificates, self.tls_keys = other.ca, dict(other.certificates), dict(other.tls_keys)
        self.people, self._gates = other.people, {}
        self.clock, self._clocks = FixedClock(other.clock.now()), {}
        if self.place is not None:
            self._take_over_rows(Database(self.root / "coordinator.sqlite"))

    def _take_over_rows(self, source: Database) -> None:
        with source.transaction() as reading, self.database.transaction() as writing:
            for table in reversed(metadata.sorted_tables):
                writing.execute(sa.delete(table))
            copy_rows(reading, writing)
        source.close()

    def close(self) -> None:
        """Release files."""
        self.database.close()


@dataclass(frozen=True)
class _Opened:
    """What ``Party.open`` returns, as far as desks read it."""

    settings: _Settings
    signing_key: SigningKey
    roster: Roster


@dataclass(frozen=True)
class _Settings:
    id: PartyId


class LoopbackConnection(Connection):
    """A desk's connection to the services of a ``World``."""

    def __init__(self, world: World, name: PartyId) -> None:
        self._clock = world.clock
        self.party = _Opened(_Settings(name), world.keys[name], world.roster)  # type: ignore[assignment]
        self._channel = Loopback(world.register_service, certificate=world.certificates[name])  # type: ignore[assignment]
        self.reader = world.reader(name)
        self.register = register_pb2_grpc.RegisterStub(self._channel)
