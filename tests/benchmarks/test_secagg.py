from __future__ import annotations

import numpy as np
import pytest
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.supercore.primitives.asymmetric import generate_key_pairs

from benchmarks import secagg
from benchmarks.meter import Meter
from benchmarks.round import WrongSum, vectors

INPUTS = vectors(4, 20)
COMPLETE = secagg.graph_of("complete", 4)
TOP_BITS = 0x80808080


def mask(secret: bytes) -> list[int]:
    return pseudo_rand_gen(secret, 2**32, [(50,)])[0].tolist()


# --- the sum ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", ["complete", "log", "example"])
def test_a_round_gives_the_right_sum_in_four_exchanges(graph):
    done = secagg.one_round(INPUTS, graph=secagg.graph_of(graph, 4))
    assert done.exchanges == 4
    assert done.bytes_up > 8 * 20
    assert done.bytes_down > 0
    assert done.noise_cpu_s == 0
    assert done.client_cpu_s > 0
    assert done.server_cpu_s > 0
    assert list(done.parts) == [secagg.QUANTISATION]


def test_a_client_that_quantises_otherwise_ends_the_run(monkeypatch):
    honest = secagg.MOD_MODULE.quantize

    def shifted(*args):
        values = honest(*args)
        values[0][7] += len(INPUTS) + 1
        return values

    monkeypatch.setattr(secagg.MOD_MODULE, "quantize", shifted)
    with pytest.raises(WrongSum, match="another sum"):
        secagg.one_round(INPUTS, graph=COMPLETE)


def test_the_tolerance_is_a_step_of_quantisation_a_client():
    exact = np.sum(INPUTS, axis=0, dtype=np.float64)
    assert secagg.is_sum_of(exact, INPUTS)
    assert secagg.is_sum_of(exact + 0.9 * len(INPUTS) * secagg.STEP, INPUTS)
    assert not secagg.is_sum_of(exact + 1.1 * len(INPUTS) * secagg.STEP, INPUTS)
    assert not secagg.is_sum_of(exact, INPUTS[1:])


@pytest.mark.parametrize(
    ("clients", "shares", "threshold"), [(4, 4, 3), (8, 7, 5), (16, 9, 6), (32, 11, 7), (1024, 21, 14)]
)
def test_the_sparse_graph_grows_with_the_logarithm(clients, shares, threshold):
    assert secagg.graph_of("log", clients) == secagg.Graph(shares, threshold)


def test_flowers_log_is_left_as_it_was():
    import logging

    logger = logging.getLogger("flwr")
    before = (list(logger.handlers), logger.level, logger.propagate)
    secagg.aggregate(INPUTS, graph=COMPLETE, meter=Meter(), leaver=0, leaves_at="setup")
    assert (logger.handlers, logger.level, logger.propagate) == before


# --- the entropy of a mask ----------------------------------------------------------------------------------------


def test_thirty_two_bits_of_a_secret_reach_the_generator():
    assert secagg.seed_bits() == 32


def test_secrets_whose_words_xor_to_the_same_give_the_same_mask():
    secret = bytes(range(32))
    swapped = secret[4:8] + secret[:4] + secret[8:]
    cancelled = bytes([secret[0] ^ 1]) + secret[1:4] + bytes([secret[4] ^ 1]) + secret[5:]
    assert mask(secret) == mask(swapped) == mask(cancelled)
    assert mask(secret) != mask(bytes([secret[0] ^ 1]) + secret[1:])


def test_the_generator_takes_no_longer_seed():
    with pytest.raises(ValueError, match="Seed must be between"):
        np.random.RandomState(2**32)


def test_seeds_of_a_real_round_fit_thirty_two_bits_and_pairwise_ones_twenty_eight():
    with secagg.seeds_reaching_the_generator() as seeds:
        secagg.one_round(INPUTS, graph=COMPLETE)
    # Each client: its private mask and one for each other; then the server: every private mask.
    assert len(seeds) == 4 * 4 + 4
    private = set(seeds[16:])
    assert len(private) == 4
    pairwise = [seed for seed in seeds[:16] if seed not in private]
    assert sorted(pairwise) == sorted(2 * sorted(set(pairwise)))  # both ends of each of six pairs
    assert len(set(pairwise)) == 6
    assert all(seed < 2**32 for seed in seeds)
    assert all(seed & TOP_BITS == 0 for seed in pairwise)


def test_pairwise_seeds_use_every_bit_but_the_four_top_ones():
    with secagg.seeds_reaching_the_generator() as seeds:
        for _ in range(60):
            (private, _), (_, public) = generate_key_pairs(), generate_key_pairs()
            mask(generate_shared_key(private, public))
    # A bit that is random stays 0 or 1 in all of 60 seeds with chance 2**-59; 28 of them with less than 2**-54.
    assert np.bitwise_or.reduce(np.array(seeds)) == 0xFFFFFFFF ^ TOP_BITS
    assert np.bitwise_and.reduce(np.array(seeds)) == 0
    assert 27.9 < secagg.pairwise_seed_bits() < 28
