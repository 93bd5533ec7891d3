"""The demo's own yardsticks, held against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from deploy.demo.truth import average_precision, roc_auc


@pytest.mark.parametrize("seed", range(5))
def test_area_under_the_curve_equals_scikit_learn_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = np.round(rng.normal(size=400), 1), (rng.random(400) < 0.2).astype(float)
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_scikit_learn_without_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=400), (rng.random(400) < 0.2).astype(float)
    assert average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
