"""Flower's own secure aggregation in the harness: ``SecAggPlusWorkflow`` and ``secaggplus_mod`` as flwr ships them.

What runs is Flower's: workflow, client mod, Shamir shares, quantisation, message types, and FedAvg as the strategy, as
in Flower's example of SecAgg+. Ours is the ``Grid`` (benchmarks/wire.py) and a client that returns a vector it has.

Chosen in SecAgg+'s favour: no model travels to the clients, no training, a client's state is not serialised between the
stages (Flower does), nothing is stored, the clipping range is exactly that of the vectors, every client has weight 1.
Its stochastic quantisation is left out of the client's seconds, since ours starts from integers too; it is in ``parts``.

The graph of who shares masks with whom decides the cost. Three are known here:

- ``complete``: every client with every other (``num_shares=1.0``), two thirds reconstruct: Flower's ``SecAggWorkflow``.
  The figures to compare with: it alone stands up to a server together with any clients fewer than two thirds, which
  comes nearest to two servers, where all clients but one may collude with the coordinator and its mask stays a mask.
- ``log``: 2 ceil(log2 N) neighbours, two thirds reconstruct; what the "+" is for, at a weaker guarantee.
- ``example``: 2 neighbours, 2 of 3 reconstruct: the numbers in Flower's example app. Two neighbours and the server
  read a client's vector.

The seeds of the masks are in ``seed_bits`` and ``pairwise_seed_bits``.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from benchmarks.meter import Meter
from benchmarks.round import Float32Array, Round, WrongSum
from benchmarks.wire import CLIENT, Wire  # first: sets Flower's environment

# isort: split
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.constant import ErrorCode
from flwr.common.secure_aggregation import secaggplus_utils
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.compat.common import recorddict_compat as compat
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.server import LegacyContext
from flwr.server.client_manager import SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

# The package names the function like its module, which hides the module.
MOD_MODULE = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")

SYSTEM = "flower-secagg+"
SERVER, QUANTISATION = "server", "client: quantisation (not in its seconds)"

CLIPPING_RANGE = 1.0
QUANTIZATION_RANGE = 2**22  # Flower's default
STEP = 2 * CLIPPING_RANGE / QUANTIZATION_RANGE

STAGES = Stage.all()
BASE64_URL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Graph:
    """Who shares masks with whom: Flower's two parameters."""

    num_shares: int | float
    reconstruction_threshold: int | float


def graph_of(name: str, clients: int) -> Graph:
    """Return the parameters of a graph for so many clients."""
    if name == "complete":
        return Graph(1.0, 2 / 3)
    if name == "example":
        return Graph(3, 2)
    shares = min(2 * math.ceil(math.log2(clients)) + 1, clients)
    return Graph(shares, max(2, round(shares * 2 / 3)))


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What the workflow left behind."""

    total: Float64Array | None
    """The sum over the clients it counted, or None if the workflow gave none."""
    reason: str
    """Why there is none."""


class InProcessGrid(Grid):
    """Flower's Grid over ``Wire``.

    The base class is abstract and the workflow calls ``send_and_receive`` only; a version of Flower that calls more must
    end the benchmark and not be measured halfway.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._run = Run.create_empty(1)

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Deliver and return the replies; a client that is gone has none, as after a timeout.

        All at once, as Flower's own grid does: the workflow goes through them several times.
        """
        answers = self._wire.exchange(messages)
        return [message_from_proto(ProtoMessage.FromString(content)) for _, content in answers]

    def get_node_ids(self) -> Iterable[int]:
        """Not used: the clients are registered by hand."""
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Not used: the workflow makes its messages itself."""
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Not used."""
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Not used."""
        raise NotImplementedError


class Client:
    """A client that holds a vector, behind Flower's mod."""

    def __init__(self, node: int, vector: Float32Array, *, leaves_at: str | None = None) -> None:
        """Prepare the result of a training that is not part of the benchmark.

        Args:
            leaves_at: The stage whose request this client no longer answers.
        """
        self._context = Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
        self._leaves_at = leaves_at
        result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([vector]), 1, {})
        self._content = compat.fitres_to_recorddict(result, False)

    def _fit(self, message: Message, context: Context) -> Message:
        return Message(self._content, reply_to=message)

    def answer(self, content: bytes) -> bytes:
        """Return the serialised reply; an exception becomes an error message, as Flower's ClientApp process does it."""
        message = message_from_proto(ProtoMessage.FromString(content))
        if message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE] == self._leaves_at:
            return b""
        try:
            reply = secaggplus_mod(message, self._context, self._fit)
        except Exception as error:  # noqa: BLE001 - whatever Flower raises is the outcome
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, type(error).__name__), reply_to=message)
            logging.getLogger("flwr").error("client raised %s", type(error).__name__)
        return bytes(message_to_proto(reply).SerializeToString())


class _Complaints(logging.Handler):
    """Keeps what Flower logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextmanager
def _complaints() -> Iterator[_Complaints]:
    """Collect Flower's error messages and keep its log off the terminal."""
    logger, handler = logging.getLogger("flwr"), _Complaints()
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.ERROR)
    try:
        yield handler
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def aggregate(
    inputs: Sequence[Float32Array],
    *,
    graph: Graph,
    meter: Meter,
    leaver: int | None = None,
    leaves_at: str | None = None,
) -> tuple[Aggregate, Wire]:
    """Run the workflow once over these vectors, the ``leaver``-th client gone from a stage on."""
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    clients = {
        place + 2: Client(place + 2, vector, leaves_at=leaves_at if place == leaver else None)
        for place, vector in enumerate(inputs)
    }
    wire = Wire({node: client.answer for node, client in clients.items()}, meter)
    grid, manager = InProcessGrid(wire), SimpleClientManager()
    for node in clients:
        manager.register(GridClientProxy(node, grid, 1))
    strategy = FedAvg(min_fit_clients=len(inputs), min_available_clients=len(inputs))
    bare = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
    context = LegacyContext(bare, strategy=strategy, client_manager=manager)
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    context.state.array_records[MAIN_PARAMS_RECORD] = ArrayRecord()
    workflow = SecAggPlusWorkflow(
        graph.num_shares,
        graph.reconstruction_threshold,
        max_weight=1.0,
        clipping_range=CLIPPING_RANGE,
        quantization_range=QUANTIZATION_RANGE,
    )
    quantise = meter.metered(MOD_MODULE.quantize, QUANTISATION)
    with _complaints() as complaints, patch.object(MOD_MODULE, "quantize", quantise), meter.account(SERVER):
        workflow(grid, context)
    record = context.state.array_records[MAIN_PARAMS_RECORD]
    if not record:
        return Aggregate(None, "; ".join(dict.fromkeys(complaints.texts)) or "no reason given"), wire
    mean = parameters_to_ndarrays(compat.arrayrecord_to_parameters(record, keep_input=True))[0]
    counted = len(inputs) - (
        leaves_at is not None and STAGES.index(leaves_at) <= STAGES.index(Stage.COLLECT_MASKED_VECTORS)
    )
    return Aggregate(mean * counted, ""), wire


def is_sum_of(total: Float64Array, inputs: Sequence[Float32Array]) -> bool:
    """Whether ``total`` is the sum of the inputs but for quantisation: less than one step a client."""
    expected = np.sum(inputs, axis=0, dtype=np.float64)
    return bool(np.abs(total - expected).max() <= len(inputs) * STEP * (1 + 1e-6))


def one_round(inputs: Sequence[Float32Array], *, graph: Graph) -> Round:
    """Return the figures of one round. Raises: WrongSum."""
    meter, clients = Meter(), len(inputs)
    result, wire = aggregate(inputs, graph=graph, meter=meter)
    if result.total is None or not is_sum_of(result.total, inputs):
        raise WrongSum(f"{SYSTEM}: {clients} clients, {inputs[0].size} entries: {result.reason or 'another sum'}")
    return Round(
        client_cpu_s=meter.seconds[CLIENT] / clients,
        server_cpu_s=meter.seconds[SERVER],
        noise_cpu_s=0.0,
        bytes_up=wire.up / clients,
        bytes_down=wire.down / clients,
        exchanges=wire.exchanges,
        parts={QUANTISATION: meter.seconds[QUANTISATION] / clients},
    )


# --- how many bits a mask hangs on --------------------------------------------------------------------------------


@contextmanager
def seeds_reaching_the_generator() -> Iterator[list[int]]:
    """Collect the seeds that Flower's ``pseudo_rand_gen`` hands to its generator."""
    seen: list[int] = []
    generator: Callable[[int], Any] = np.random.RandomState

    def spy(seed: int) -> Any:
        seen.append(seed)
        return generator(seed)

    with patch.object(np.random, "RandomState", spy):
        yield seen


def seed_bits(secret_bytes: int = 32) -> int:
    """Return how many bits of a secret reach the generator of the masks: the rank of Flower's seed map.

    ``pseudo_rand_gen`` (flwr/common/secure_aggregation/secaggplus_utils.py) XORs the secret's four-byte words. That map
    is linear over GF(2), so its rank, from the images of all one-bit secrets, is the number of seed bits: 32.
    """
    with seeds_reaching_the_generator() as images:
        for bit in range(8 * secret_bytes):
            secaggplus_utils.pseudo_rand_gen((1 << bit).to_bytes(secret_bytes, "little"), 2**32, [(1,)])
    rank, rows = 0, list(images)
    while rows:
        pivot = rows.pop()
        if pivot:
            rank, top = rank + 1, pivot.bit_length()
            rows = [row ^ pivot if row.bit_length() == top else row for row in rows]
    return rank


def pairwise_seed_bits() -> float:
    """Return the Shannon entropy of a pairwise mask's seed, below 28 bits.

    A pairwise secret is not 32 random bytes: ``generate_shared_key`` returns their base64 text, 44 characters of which
    the last is "=" and the one before carries 4 bits. No character has bit 7 set, so four of the 32 seed bits are
    always 0. Characters of uniform bytes are independent, hence so are the four bytes of the seed.
    """
    length, bits = 44, 0.0
    for place in range(4):
        chances = np.zeros(256)
        chances[0] = 1
        for position in range(place, length, 4):
            letters = b"=" if position == length - 1 else BASE64_URL[::4] if position == length - 2 else BASE64_URL
            following = np.zeros(256)
            for letter in letters:
                following += chances[np.arange(256) ^ letter] / len(letters)
            chances = following
        positive = chances[chances > 0]
        bits -= float((positive * np.log2(positive)).sum())
    return bits
