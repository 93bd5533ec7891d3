"""Peers without privacy: what the features can tell when all rows lie on one table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.task import Fitted, Task
from protocol.scorecard.columns import Float64Array


def logistic(task: Task, *, seed: int) -> Fitted:
    """Return scikit-learn's logistic regression, one a label, as it comes (L2, C = 1)."""
    from sklearn.linear_model import LogisticRegression

    return _fitted(task, lambda: LogisticRegression(max_iter=2000), seed=seed)


def lightgbm(task: Task, *, seed: int) -> Fitted:
    """Return LightGBM, one a label: 200 small trees, which is what holds up at such rates of positives."""
    from lightgbm import LGBMClassifier

    return _fitted(
        task,
        lambda: LGBMClassifier(
            n_estimators=200,
            learning_rate=0.03,
            num_leaves=15,
            min_child_samples=100,
            random_state=seed,
            n_jobs=1,
            verbose=-1,
        ),
        seed=seed,
    )


def ebm(task: Task, *, seed: int) -> Fitted:
    """Return an explainable boosting machine, one a label, without interactions: additive, as a scorecard is."""
    from interpret.glassbox import ExplainableBoostingClassifier

    return _fitted(
        task,
        lambda: ExplainableBoostingClassifier(interactions=0, outer_bags=4, random_state=seed, n_jobs=1),
        seed=seed,
    )


def _fitted(task: Task, make: Callable[[], object], *, seed: int) -> Fitted:
    rows, labels = task.rows, task.labels
    models = []
    for head, where in enumerate(task.columns.heads):
        model = make()
        # The models have intercepts of their own.
        model.fit(rows[:, list(where)[1:]], labels[:, head].astype(int))
        models.append(model)

    def score(given: Float64Array) -> Float64Array:
        return np.column_stack(
            [
                model.predict_proba(given[:, list(where)[1:]])[:, 1]
                for model, where in zip(models, task.columns.heads, strict=True)
            ]
        )

    return Fitted(score=score, rounds=None, mechanisms=())
