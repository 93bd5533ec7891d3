"""A head that is not linear goes the same way: Opacus' per-row gradients, the quantised sum, its noise, its accountant.

No plan offers one: additive heads do as well on this data and can be explained. What is shown is that nothing behind the
gradients knows that heads are linear.
"""

import numpy as np
import pytest
import torch
from opacus import GradSampleModule

from deploy.demo.truth import roc_auc
from protocol.aggregation.accounting import compose, epsilon_of, local_sigma, mu_of, sensitivity_ring_units
from protocol.aggregation.encoding import decode, quantised_sum
from protocol.aggregation.noise import discrete_gaussian
from protocol.aggregation.planning import DELTA_RESERVE, events
from protocol.documents.plan import Privacy, ReleaseSpec
from tests.world import CHOICES

SEED, STEPS, SCALE, CLIP = 7, 60, 2**20, 0.5
BOROUGHS, PEOPLE, COLLUDING = 4, 600, 1
EPSILON, DELTA = 8.0, 1e-6


def people(seed, count):
    """Two features and a label that no linear head can tell: whether both have the same sign."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 2))
    return rows, (rows[:, 0] * rows[:, 1] > 0).astype(float)


def network():
    torch.manual_seed(SEED)
    return torch.nn.Sequential(
        torch.nn.Linear(2, 12, dtype=torch.float64), torch.nn.Tanh(), torch.nn.Linear(12, 1, dtype=torch.float64)
    )


def gradients(model, rows, labels):
    """Return each row's gradient over all weights, in units of the clip, shape (rows, weights)."""
    watched = GradSampleModule(model, loss_reduction="sum")
    scores = watched(torch.from_numpy(rows).requires_grad_())
    torch.nn.functional.binary_cross_entropy_with_logits(
        scores[:, 0], torch.from_numpy(labels), reduction="sum"
    ).backward()
    found = [part.grad_sample.flatten(1).numpy().copy() for part in model.parameters()]
    watched.remove_hooks()
    model.zero_grad()
    return np.concatenate(found, axis=1) / CLIP


def test_small_network_learns_through_the_same_sums_at_its_stated_epsilon():
    model = network()
    length = sum(part.numel() for part in model.parameters())
    mu = mu_of(epsilon=EPSILON, delta=DELTA * (1 - DELTA_RESERVE))
    sensitivity = sensitivity_ring_units(l2=1.0, scale=SCALE, rows_per_person=1, length=length)
    sigma = sensitivity / SCALE * np.sqrt(STEPS) / mu
    privacy = Privacy(
        epsilon=EPSILON,
        delta=DELTA,
        unit="one person in one plan",
        adjacency="add or remove one person's rows",
        shares=CHOICES.shares,
        rows_per_person=1,
        min_boroughs=BOROUGHS,
        colluding=COLLUDING,
        spares=0,
    )
    releases = tuple(
        ReleaseSpec(index=index, function="gradient", length=length, l2=1.0, sigma=sigma) for index in range(STEPS)
    )
    spent = compose([event.mu for event in events(releases, privacy=privacy, scale=SCALE)])
    assert epsilon_of(mu=spent, delta=DELTA * (1 - DELTA_RESERVE)) == pytest.approx(EPSILON, rel=1e-6)

    tables = [people(seed, PEOPLE) for seed in range(BOROUGHS)]
    entropy = np.random.default_rng(SEED).bytes
    own_sigma = SCALE * local_sigma(sigma=sigma, min_boroughs=BOROUGHS, colluding=COLLUDING)
    velocity = np.zeros(length)
    for spec in releases:
        total = np.zeros(length, dtype=np.int64)
        for rows, labels in tables:
            blocks = [gradients(model, rows, labels)]
            total += quantised_sum(blocks, length=length, l2=spec.l2, scale=SCALE, rows_per_person=1)
            total += discrete_gaussian(length, sigma=own_sigma, entropy=entropy)
        velocity = 0.8 * velocity - 1.5 * decode(total, scale=SCALE) / (BOROUGHS * PEOPLE)
        weights = torch.nn.utils.parameters_to_vector(model.parameters()).detach() + torch.from_numpy(velocity)
        torch.nn.utils.vector_to_parameters(weights, model.parameters())

    rows, labels = people(99, 2000)
    with torch.no_grad():
        scores = model(torch.from_numpy(rows))[:, 0].numpy()
    assert roc_auc(scores, labels) > 0.9
    # What the best linear head could do.
    design = np.column_stack([np.ones(2000), rows])
    fitted = design @ np.linalg.lstsq(design, labels, rcond=None)[0]
    assert roc_auc(fitted, labels) < 0.6
