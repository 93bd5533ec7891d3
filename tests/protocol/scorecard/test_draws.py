"""Public draws: alike for everybody, unlike for every seed, and of the law that they claim."""

from __future__ import annotations

import numpy as np
from scipy.stats import kstest

from protocol.scorecard.draws import normals, uniforms


def test_a_seed_gives_the_same_numbers_to_everybody():
    # Written down once: a reader with another library version must find these.
    np.testing.assert_array_equal(uniforms("seed", 2, 2).ravel(), uniforms("seed", 4))
    np.testing.assert_allclose(uniforms("seed", 3), FIRST, rtol=0, atol=1e-15)


FIRST = [0.7013988787869208, 0.8972851384074874, 0.9180624794576382]


def test_seeds_give_numbers_that_have_nothing_to_do_with_each_other():
    # 20,000 pairs: a correlation beyond 0.035 is a 5 sd event, 6e-7.
    one, other = normals("one", 20_000), normals("other", 20_000)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.035


def test_draws_have_the_law_that_they_claim():
    # Kolmogorov and Smirnov at 20,000 draws; each alarm at 1e-6.
    assert kstest(uniforms("law", 20_000), "uniform").pvalue > 1e-6
    assert kstest(normals("law", 20_000), "norm").pvalue > 1e-6


def test_uniform_draws_are_strictly_inside():
    drawn = uniforms("inside", 100_000)
    assert drawn.min() > 0
    assert drawn.max() < 1
