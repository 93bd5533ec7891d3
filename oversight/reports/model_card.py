"""The model card: what a model is, what it guarantees and what it does not, from the public log alone."""

from __future__ import annotations

from dataclasses import asdict
from importlib import resources
from typing import Any

import jinja2

from protocol.aggregation.planning import plan_rho
from protocol.history.public import PlanRecord
from protocol.scorecard.evaluation import area_under_curve, evaluate

NOT_COVERED = (
    "A flag is a deliberate disclosure about one person, outside epsilon; it is bounded by the policy's cap and header.",
    "A borough that lies about its own numbers is not detected; its statement is signed, so the lie is attributable.",
    "The coordinator together with a quorum of custodians could open an envelope without a log entry.",
    "Stability bands leave out the noise of the second moment and of selection; they have not been held against reruns yet.",
    "A flag is never a decision: a person reviews every one, with reasons.",
)


def model_card(record: PlanRecord) -> dict[str, Any]:
    """Return the card of a finished plan as plain values.

    Raises: StateError while releases are missing.
    """
    plan, model = record.plan, record.model()
    heads = []
    for head in evaluate(record.run):
        card, described = model.scorecard(head.category), record.catalogue.head(head.category)
        heads.append(
            {
                "category": head.category,
                "title": described.title,
                "auc": asdict(area_under_curve(head)),
                "noise_people_per_cell": round(head.sigma, 1),
                "intercept": card.intercept,
                "weights": [
                    {
                        "feature": weight.feature,
                        "weight": weight.weight,
                        "mean": weight.mean,
                        "reason": record.catalogue.feature(weight.feature).reason,
                    }
                    for weight in sorted(card.weights, key=lambda entry: -abs(entry.weight))
                ],
            }
        )
    return {
        "model": model.digest(),
        "plan": plan.digest(),
        "purpose": plan.purpose,
        "catalogue": record.catalogue.catalogue_id,
        "catalogue_digest": plan.catalogue,
        "approved_on": record.day.isoformat(),
        "people": plan.people,
        "boroughs": len(plan.boroughs),
        "train_from": plan.train_from,
        "train_until": plan.train_until,
        "evaluation_cutoff": plan.evaluation_cutoff,
        "epsilon": plan.privacy.epsilon,
        "delta": plan.privacy.delta,
        "unit": plan.privacy.unit,
        "rho": plan_rho(plan),
        "releases": len(record.releases),
        "statements": [statement.model_dump(mode="json") for statement in plan.statements],
        "not_covered": list(NOT_COVERED),
        "heads": heads,
    }


def render_html(card: dict[str, Any]) -> str:
    """Return the card as one self-contained HTML page without JavaScript."""
    template = (resources.files("oversight.reports") / "model_card.html").read_text()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(card=card)
