"""One release of ours in the harness: the product's own classes from the request to the published sum.

What runs is the product: ``run_plan`` and ``PlanRunner`` of the coordinator, ``answer_bytes``, ``build_app`` and ``Gate``
with a ``Ledger`` on disk of each borough, ``Unmasker`` behind its gRPC service class with its store on disk, ``Runs`` on
disk, and the rules that a reader of the log applies to receipt and release (``PublicRecord``).

What does not run: the network and TLS (benchmarks/wire.py), the queue of messages on the coordinator's disk, the log's
Merkle tree, files, witnesses and their cosignatures, the check of a new plan (its release has a length of our choice,
which no catalogue implies), reading a table and summing rows: a borough starts with an integer vector.

Who pays for what:

- ``client_cpu_s``: parse the request, check it against plan and roster, tags, mask, SHA-256, signed statement, reply.
- ``noise_cpu_s``: drawing the discrete Gaussian noise, from the operating system's source.
- ``server_cpu_s``: coordinator (make and send the request, parse replies, verify statements and digests, fix the set,
  sum, remove the masks, tags, range) and unmasker (decode and verify the statements, one X25519 and one keystream a
  borough, sum, receipt, mask sum over its service). It ends with the sum in hand.
- ``parts``: coordinator and unmasker one by one; and, **not** in the figures above, what each disk costs (SQLAlchemy,
  SQLite, synced writes) and what logging costs (encode and sign the release, apply the log's rules to receipt, release
  and closure, destroy the plan's key). SecAgg+ stores and logs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher

from benchmarks.made_up import NOW, SCALE, made_up_catalogue, made_up_plan, made_up_roster
from benchmarks.meter import Meter, Metered
from benchmarks.round import Float32Array, Round, WrongSum
from benchmarks.wire import CLIENT, Wire

# isort: split
from flwr.app import Message

from borough_node.app import system_noise
from borough_node.client_app import answer_bytes, build_app
from borough_node.gate import Gate
from borough_node.ledger import Ledger
from coordinator import rounds as rounds_module
from coordinator.grid import GrpcGrid, node_id
from coordinator.rounds import PlanRunner, UnmaskerClient
from coordinator.server_app import run_plan
from coordinator.store.database import Database
from coordinator.store.mail import Reply
from coordinator.store.runs import Runs
from oversight.unmasker.service import UnmaskerService
from oversight.unmasker.store import UnmaskerStore
from oversight.unmasker.unmasker import Unmasker
from protocol.aggregation import masks
from protocol.aggregation.encoding import Int64Array
from protocol.aggregation.exchange import mask_contribution
from protocol.clock import FixedClock
from protocol.documents.arrays import Array
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.plan import TrainingPlan
from protocol.documents.roster import Roster
from protocol.errors import ProtocolError
from protocol.history.public import PlanRecord, PublicRecord
from protocol.ids import Digest, PartyId, digest_of, random_id
from protocol.rpc.v1 import unmasker_pb2
from protocol.scorecard.run import Run
from protocol.signing import dsse
from protocol.signing.dsse import Envelope, sign
from protocol.signing.keys import SigningKey

SYSTEM = "custodes"
COORDINATOR, UNMASKER, NOISE = "coordinator", "unmasker", "noise"
LEDGER, DISK, LOG = "client: ledger on disk", "servers: disk", "servers: log"
BETWEEN = "bytes between coordinator and unmasker"


class Log:
    """Appender and reader of a log that is a list of rules and nothing else."""

    def __init__(self, roster: Roster, catalogue: FeatureCatalogue, clock: FixedClock, meter: Meter) -> None:
        self.public = PublicRecord(genesis=roster.digest())
        self.public.rosters.append(roster)
        self.public.catalogues[catalogue.digest()] = catalogue
        self.history = SimpleNamespace(public=self.public)
        self._clock, self._meter = clock, meter

    def approve(self, plan: TrainingPlan) -> Digest:
        """Let a plan in, whatever its length; the plans before it leave."""
        digest, public = plan.digest(), self.public
        public.plans = {
            digest: PlanRecord(Run.begin(plan, public.catalogues[plan.catalogue]), public.roster, NOW.date())
        }
        return digest

    def append(self, kind: str, envelope: Envelope) -> None:
        """Apply the rules of the log's readers."""
        with self._meter.account(LOG):
            self.public.apply(kind, envelope, NOW.date())

    def now(self) -> datetime:
        """Return the log's time."""
        return self._clock.now()

    def sync(self) -> None:
        """Everything is read already."""


class InProcessGrid(GrpcGrid):
    """The coordinator's Grid, its stream and its queue replaced by ``Wire``."""

    def __init__(self, wire: Wire, boroughs: Iterable[PartyId]) -> None:
        super().__init__(None, boroughs, on_progress=lambda done, asked: None)
        self._wire = wire

    def receive_each(
        self, messages: Iterable[Message], *, timeout: float
    ) -> Iterator[tuple[Message, memoryview | None]]:
        """Deliver and yield the replies; a borough that is gone has none, as after the deadline."""
        for node, content in self._wire.exchange(messages):
            parsed = self._parsed(Reply(f"to {node}", self.borough_of(node), content))
            if parsed is None:
                raise WrongSum("a reply is no message")
            yield parsed

    def forget(self, group_id: str, message_type: str) -> None:
        """There is no queue."""


@dataclass(slots=True)
class Borough:
    """A borough's gate and what goes into it."""

    gate: Gate
    ledger: Ledger
    vector: Int64Array
    drawn: Int64Array | None = None
    gone: bool = False


Moment = Callable[[str], None]
"""Called when a round reaches a moment: a borough may be killed there."""


class Force:
    """So many boroughs, a coordinator and an unmasker, each with its own keys and files under ``root``."""

    def __init__(self, boroughs: int, *, root: Path) -> None:
        self.meter, self._root, self._clock = Meter(), root, FixedClock(NOW)
        self.names = [f"borough-{place:04d}" for place in range(1, boroughs + 1)]
        self._keys = {name: SigningKey.generate() for name in (*self.names, "coordinator", "unmasker")}
        self._catalogue = made_up_catalogue()
        self._log = Log(made_up_roster(self._keys, self.names), self._catalogue, self._clock, self.meter)
        self._store = UnmaskerStore(root / "unmasker.sqlite")
        unmasker = Unmasker(
            store=Metered(self._store, self.meter, DISK),
            connect=lambda: self._log,
            key=self._keys["unmasker"],
            clock=self._clock,
        )
        self._unmasker = UnmaskerService(unmasker)
        self._database = Database(root / "coordinator.sqlite")
        self._complaints: list[str] = []
        self.between_servers = 0
        self.boroughs = {name: self._borough(name) for name in self.names}
        self._apps = {name: build_app(borough.gate, lambda policy: None) for name, borough in self.boroughs.items()}

    # --- the parties --------------------------------------------------------------------------------------------

    def _borough(self, name: PartyId) -> Borough:
        ledger = Ledger(self._root / f"{name}.sqlite")

        def noise(length: int, sigma: float) -> Int64Array:
            with self.meter.account(NOISE):
                drawn = system_noise(length, sigma)
            with self.meter.account("harness"):
                borough.drawn = borough.vector + drawn
            return borough.drawn

        gate = Gate(
            borough=name,
            signing_key=self._keys[name],
            ledger=Metered(ledger, self.meter, LEDGER),
            records=SimpleNamespace(cohort_for=lambda *args: (None, SimpleNamespace(rows=None, labels=None))),
            reviews=SimpleNamespace(),
            reader=self._log,
            clock=self._clock,
            noise=noise,
        )
        # ``noise`` is called after this line and sees what it needs.
        borough = Borough(gate, ledger, np.zeros(0, dtype=np.int64))
        return borough

    def _node(self, name: PartyId, moment: Moment) -> Callable[[bytes], bytes]:
        borough = self.boroughs[name]

        def answer(content: bytes) -> bytes:
            if borough.gone:
                return b""
            reply = answer_bytes(self._apps[name], content, report=self._report)
            moment(f"answered {name}")
            return b"" if borough.gone else reply

        return answer

    def _report(self, code: str, detail: str) -> None:
        self._complaints.append(f"{code}: {detail}")

    def _unmasker_client(self, moment: Moment) -> UnmaskerClient:
        """Return the unmasker as the coordinator calls it: messages serialised both ways, no channel."""

        def call(method: str, request: Any) -> Any:
            content = request.SerializeToString()
            # The unmasker is another process: what the coordinator has parsed and remembers is nothing to it.
            dsse._decoded.cache_clear()
            with self.meter.account(UNMASKER):
                answer = getattr(self._unmasker, method)(type(request).FromString(content), None)
                returned = answer.SerializeToString()
            self.between_servers += len(content) + len(returned)
            return type(answer).FromString(returned)

        def commit(request: bytes, statements: Sequence[bytes]) -> bytes:
            moment("set fixed")
            answer = call("Commit", unmasker_pb2.CommitRequest(request=request, statements=list(statements)))
            return bytes(answer.envelope)

        def reveal(plan: Digest, index: int) -> bytes:
            moment("unmask")
            return bytes(call("Reveal", unmasker_pb2.RevealRequest(plan=plan, index=index)).mask_sum)

        def close(plan: Digest) -> bytes:
            with self.meter.account(LOG):
                answer = self._unmasker.ClosePlan(unmasker_pb2.ClosePlanRequest(plan=plan), None)
            return bytes(answer.envelope)

        return UnmaskerClient(commit, reveal, close)

    def _plan(self, dimension: int) -> TrainingPlan:
        plan_id = random_id()
        key = self._unmasker.NewPlanKey(unmasker_pb2.NewPlanKeyRequest(plan_id=plan_id), None)
        return made_up_plan(
            plan_id,
            roster=self._log.public.roster.digest(),
            catalogue=self._catalogue.digest(),
            boroughs=self.names,
            length=dimension,
            unmasker_key=bytes(key.public_key).hex(),
        )

    # --- a round ------------------------------------------------------------------------------------------------

    def release(
        self, inputs: Sequence[Float32Array], *, moment: Moment = lambda reached: None
    ) -> tuple[PlanRecord, Wire]:
        """Run a plan of one release over these vectors and return what the log shows of it, and the wire.

        Raises: WrongSum for any complaint of a borough or about one; what the coordinator raises otherwise.
        """
        for name, vector in zip(self.names, inputs, strict=True):
            borough = self.boroughs[name]
            borough.vector, borough.drawn = np.rint(vector.astype(np.float64) * SCALE).astype(np.int64), None
        plan = self._log.approve(self._plan(inputs[0].size))
        wire = Wire({node_id(name): self._node(name, moment) for name in self.names}, self.meter)
        self.meter.seconds.clear()
        self._complaints.clear()
        self.between_servers = 0
        runner = PlanRunner(
            appender=self._log,
            publish=lambda: None,
            runs=Metered(Runs(self._database), self.meter, DISK),
            unmasker=self._unmasker_client(moment),
            key=self._keys["coordinator"],
            report=self._report,
        )
        # The gate sums no rows: its vector arrives with the noise, where the harness can add it up.
        no_rows = patch.dict("borough_node.gate.FUNCTIONS", {"second_moment": lambda *args: ()})
        signed = patch.object(rounds_module, "sign", self.meter.metered(sign, LOG))
        encoded = patch.object(rounds_module, "Array", Metered(Array, self.meter, LOG))
        try:
            with no_rows, signed, encoded, self.meter.account(COORDINATOR):
                run_plan(plan, InProcessGrid(wire, self.names), runner)
        except ProtocolError as error:
            if self._complaints:
                raise WrongSum("; ".join(self._complaints)) from error
            raise
        finally:
            for borough in self.boroughs.values():
                borough.ledger.forget_vectors(plan)
        if self._complaints:
            raise WrongSum("; ".join(self._complaints))
        return self._log.public.plan(plan), wire

    def is_exact(self, record: PlanRecord) -> bool:
        """Whether the published sum is the sum of what its boroughs put in, noise included, to the last bit."""
        published = record.releases[0]
        expected = sum(self._drawn(name) for name in published.boroughs)
        return bool(np.array_equal(published.sums.integers(), expected))

    def _drawn(self, name: PartyId) -> Int64Array:
        drawn = self.boroughs[name].drawn
        if drawn is None:
            raise WrongSum(f"{name} is in the sum and drew nothing")
        return drawn

    def one_round(self, inputs: Sequence[Float32Array]) -> Round:
        """Return the figures of one round with every borough. Raises: WrongSum."""
        record, wire = self.release(inputs)
        clients = len(inputs)
        if not self.is_exact(record) or len(record.releases[0].boroughs) != clients:
            raise WrongSum(f"{SYSTEM}: {clients} clients, {inputs[0].size} entries: another sum")
        seconds = self.meter.seconds
        return Round(
            client_cpu_s=seconds[CLIENT] / clients,
            server_cpu_s=seconds[COORDINATOR] + seconds[UNMASKER],
            noise_cpu_s=seconds[NOISE] / clients,
            bytes_up=wire.up / clients,
            bytes_down=wire.down / clients,
            exchanges=wire.exchanges,
            parts={
                COORDINATOR: seconds[COORDINATOR],
                UNMASKER: seconds[UNMASKER],
                LEDGER: seconds[LEDGER] / clients,
                DISK: seconds[DISK],
                LOG: seconds[LOG],
                BETWEEN: float(self.between_servers),
            },
        )

    def close(self) -> None:
        """Release the files."""
        for borough in self.boroughs.values():
            borough.ledger.close()
        self._store.close()
        self._database.close()


def mask_bits() -> int:
    """Return the length of the shortest key that a borough's tags and mask give to their cipher."""
    seen: list[int] = []

    def spy(algorithm: Any, mode: Any) -> Any:
        seen.append(8 * len(algorithm.key))
        return Cipher(algorithm, mode)

    with patch("protocol.aggregation.masks.Cipher", spy):
        mask_contribution(
            np.zeros(1, dtype=np.int64),
            request=digest_of(b"request"),
            tag_seed=digest_of(b"seed"),
            borough="borough-0001",
            unmasker_key=masks.MaskPrivateKey.generate().public,
        )
    return min(seen)
