"""Renders docs/utility.md and its plot from measured files: ``python -m benchmarks.utility_page --help``.

Like benchmarks/report.py: every figure and verdict on the page is computed here from the rows. A part whose file is not
given says so. The plot needs altair and vl-convert-python: ``pip install -e '.[bench]'``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import fairness, synthetic
from benchmarks.markdown import markdown_table, plot
from benchmarks.report import machine
from benchmarks.utility import FIELDS, METHODS

Row = dict[str, Any]

OUT = Path(__file__).resolve().parents[1] / "docs" / "utility.md"
LIBRARIES = ("numpy", "torch", "opacus", "flwr", "scikit-learn", "lightgbm", "interpret-core", "fairlearn")
OURS, LOCAL, FROM_PRIOR = "custodes", "local-dp-fedavg", "local-dp-fedavg-prior"
REFERENCE = {
    (1.0, "y_3plus"): 0.834,
    (1.0, "y_5plus"): 0.887,
    (1.0, "y_sust"): 0.652,
    (0.5, "y_3plus"): 0.832,
    (0.5, "y_5plus"): 0.882,
    (0.5, "y_sust"): 0.629,
}
"""AUC of the prototype at this epsilon and label (docs/spec/training.md, findings)."""
WITHIN, MARGIN, MARGIN_LABEL = 0.01, 0.04, "y_5plus"
LEAST_MEAN, LEAST_LOW = 0.9, 0.85


def short(value: float) -> str:
    """Return a share with three digits and no zero before the point."""
    return f"{value:.3f}".removeprefix("0")


def mean(rows: Sequence[Row], figure: str, **which: Any) -> float:
    """Return the mean of a figure over the rows with these values."""
    return statistics.fmean(row[figure] for row in rows if all(row[name] == value for name, value in which.items()))


# --- methods ------------------------------------------------------------------------------------------------------


def methods(rows: Sequence[Row]) -> str:
    """Return the section on methods, from ``benchmarks.utility --json``."""
    title = "## Methods at the same joint epsilon"
    if not rows:
        return f"{title}\n\nNot measured for this page: `python -m benchmarks.utility`."
    labels = list(dict.fromkeys(row["label"] for row in rows))
    body = []
    for method, epsilon in dict.fromkeys((row["method"], row["epsilon"]) for row in rows):
        own = [row for row in rows if (row["method"], row["epsilon"]) == (method, epsilon)]
        cells = ["/".join(short(mean(own, figure, label=label)) for figure in ("auc", "ap", "p13")) for label in labels]
        rounds = "-" if own[0]["rounds"] is None else f"{own[0]['rounds']}"
        shown = "none" if epsilon is None else f"{epsilon:g}"
        body.append([method, shown, rounds, *cells, f"{statistics.median(row['seconds'] for row in own):.1f}"])
    seeds = len({row["seed"] for row in rows if row["method"] == OURS})
    text = (
        f"AUC/average precision/precision in the top 1.3 %, means over {seeds} draws of the noise. Epsilon is that of one "
        "person with all rows, over all labels and all that is released; how each method is accounted for stands at the "
        "top of its file in `benchmarks/methods`. Ours pays evaluation, fairness and drift from it too; the others spend "
        "all on training. adassp and dp-sgd need a curator who sees everything; local-dp-fedavg trusts nobody, and with "
        "`-prior` it starts where ours does, at the catalogue's public priors, instead of at zero. Seconds "
        "are wall time of one training of all labels, median, on a machine shared with other work."
    )
    header = ["method", "epsilon", "rounds", *labels, "seconds"]
    return "\n\n".join(
        [title, text, markdown_table(header, body), _spread(rows), _goals(rows), plot("utility-auc", _plot_text(rows))]
    )


def _spread(rows: Sequence[Row]) -> str:
    """Say how far the draws of ours lie apart."""
    parts = []
    for epsilon, label in dict.fromkeys((row["epsilon"], row["label"]) for row in rows if row["method"] == OURS):
        areas = [row["auc"] for row in rows if (row["method"], row["epsilon"], row["label"]) == (OURS, epsilon, label)]
        parts.append(f"{label} at {epsilon:g}: {short(min(areas))} to {short(max(areas))}")
    return f"Lowest to highest AUC of ours over the draws: {'; '.join(parts)}."


def _goals(rows: Sequence[Row]) -> str:
    body = []
    for (epsilon, label), reference in REFERENCE.items():
        own = [r for r in rows if (r["method"], r["epsilon"], r["label"]) == (OURS, epsilon, label)]
        if own:
            found = mean(own, "auc")
            text = f"AUC of {label} at {epsilon:g} at least {short(reference)} less {WITHIN:g}, in three releases"
            met = found >= reference - WITHIN and own[0]["rounds"] == 3
            body.append([text, short(found), "met" if met else "**missed**"])
    ours = [r for r in rows if (r["method"], r["epsilon"], r["label"]) == (OURS, 1.0, MARGIN_LABEL)]
    for local, is_goal in ((LOCAL, True), (FROM_PRIOR, False)):
        theirs = [r for r in rows if (r["method"], r["epsilon"], r["label"]) == (local, 1.0, MARGIN_LABEL)]
        if ours and theirs:
            margin = mean(ours, "auc") - mean(theirs, "auc")
            verdict = "met" if margin >= MARGIN else "**missed**"
            if is_goal:
                text = f"AUC of {MARGIN_LABEL} at 1 at least {MARGIN:g} above {local}, the naive federation"
            else:
                text, verdict = f"the same against {local}, which is handed our public priors", "no goal"
            body.append([text, short(margin), verdict])
    return markdown_table(["goal", "measured", ""], body) if body else ""


def _plot_text(rows: Sequence[Row]) -> str:
    names = ", ".join(dict.fromkeys(row["method"] for row in rows if row["epsilon"] is not None))
    return f"AUC against the joint epsilon of {names}; dotted, the best without privacy. The numbers are above."


def draw(rows: Sequence[Row], folder: Path) -> None:
    """Write the plot."""
    from benchmarks import plots

    private = [row for row in rows if row["epsilon"] is not None]
    keys = dict.fromkeys((row["label"], row["method"], row["epsilon"]) for row in private)
    points = [
        {
            "label": label,
            "series": method,
            "epsilon": epsilon,
            "auc": mean(private, "auc", label=label, method=method, epsilon=epsilon),
        }
        for label, method, epsilon in keys
    ]
    ceilings = []
    for label in dict.fromkeys(row["label"] for row in private):
        bare = [row for row in rows if row["epsilon"] is None and row["label"] == label]
        if bare:
            best = max(bare, key=lambda row: row["auc"])
            ceilings.append({"label": label, "auc": best["auc"], "text": f"{best['method']}, not private"})
    plots.plot_utility(points, ceilings, folder / "utility-auc.svg")


# --- groups -------------------------------------------------------------------------------------------------------


def groups(rows: Sequence[Row]) -> str:
    """Return the section on the mitigation, from ``benchmarks.fairness --json``."""
    title = "## Mitigating differences between groups"
    if not rows:
        return f"{title}\n\nNot measured for this page: `python -m benchmarks.fairness`."
    body = []
    for label, attribute, mitigated, strength in sorted(
        dict.fromkeys((row["label"], row["attribute"], row["mitigated"], row["strength"]) for row in rows), key=str
    ):
        if attribute not in mitigated.split("+"):
            continue
        key = {"label": label, "attribute": attribute, "mitigated": mitigated, "strength": strength}
        own = [row for row in rows if all(row[name] == value for name, value in key.items())]
        ratios = [fairness.lowest_over_highest(own, rate) for rate in fairness.RATES]
        cells = ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        body.append(
            [label, attribute, mitigated, f"{strength:g}" if strength else "before", *cells, short(mean(own, "auc"))]
        )
    runs = len({row["run"] for row in rows})
    text = (
        f"The lowest group's rate over the highest group's among the top 1.3 % of the test cohort, rates as means over {runs} "
        "draws of the noise, and AUC over everybody. Before and after follow from the same published sums. The attribute is "
        "never read when people are scored."
    )
    header = ["label", "attribute", "mitigated", "strength", "selected", "true pos.", "false pos.", "AUC"]
    return "\n\n".join([title, text, markdown_table(header, body), _by_group(rows)])


def _by_group(rows: Sequence[Row]) -> str:
    """Return each group's rates before and at full strength, of the plans that mitigate its attribute alone."""
    full = max(row["strength"] for row in rows)
    body = []
    for label, attribute, group in dict.fromkeys((row["label"], row["attribute"], row["group"]) for row in rows):
        own = [
            row
            for row in rows
            if (row["label"], row["attribute"], row["group"], row["mitigated"]) == (label, attribute, group, attribute)
        ]
        cells = [
            " to ".join(
                "-"
                if (found := [row[rate] for row in own if row["strength"] == strength])[0] is None
                else short(statistics.fmean(found))
                for strength in (0.0, full)
            )
            for rate in fairness.RATES
        ]
        share = own[0]["positives"] / own[0]["people"] if own[0]["people"] else 0.0
        body.append([label, attribute, group.lower(), f"{own[0]['people']:,}", short(share), *cells])
    text = f"By group, before and at strength {full:g}, each attribute mitigated alone:"
    header = ["label", "attribute", "group", "people", "with the label", "selected", "true positive", "false positive"]
    return f"{text}\n\n{markdown_table(header, body)}"


# --- the synthetic force ------------------------------------------------------------------------------------------


def planted(rows: Sequence[Row]) -> str:
    """Return the section on the synthetic force, from ``benchmarks.synthetic --json``."""
    title = "## A synthetic force at feature level"
    if not rows:
        return f"{title}\n\nNot measured for this page: `python -m benchmarks.synthetic`."
    found = synthetic.summary(rows)
    body = [
        [
            row["category"],
            f"{row['positives']}",
            *(short(row[f]) for f in ("auc_mean", "auc_low", "auc_high", "ap_mean")),
        ]
        for row in found
    ]
    text = (
        f"The sample plan, whose epsilon of 1 is for every category and release, {found[0]['runs']} draws of the noise over "
        "one force; AUC against what was planted."
    )
    met = all(row["auc_mean"] >= LEAST_MEAN and row["auc_low"] >= LEAST_LOW for row in found)
    verdict = (
        f"Goal, each category's mean at least {LEAST_MEAN:g} and lowest at least {LEAST_LOW:g}: "
        f"{'met' if met else '**missed**'}."
    )
    header = ["category", "planted", "AUC, mean", "lowest", "highest", "average precision"]
    return "\n\n".join([title, text, markdown_table(header, body), verdict])


# --- the page -----------------------------------------------------------------------------------------------------


def page(
    utility_rows: Sequence[Row], group_rows: Sequence[Row], planted_rows: Sequence[Row], *, today: datetime
) -> str:
    """Return the whole page."""
    commands = "\n".join(
        f"    {command}"
        for command in (
            "python -m benchmarks.utility --train TABLE --train-until 2010 --test 2012 --catalogue CATALOGUE \\",
            "    --labels y_3plus,y_5plus,y_sust --epsilon 0.5,1,2 --seeds 5 --json > utility.json",
            "(the same with --methods local-dp-fedavg-prior --json > prior.json)",
            "python -m benchmarks.fairness --table TABLE --train-until 2010 --test 2012 --catalogue CATALOGUE \\",
            "    --attribute sex race --strengths 0.25,0.5,0.75,1 --runs 10 --json > fairness.json",
            "python -m benchmarks.synthetic --runs 10 --json > synthetic.json",
            "python -m benchmarks.utility_page --utility utility.json --utility prior.json --fairness fairness.json \\",
            "    --synthetic synthetic.json",
        )
    )
    parts = [
        "# Utility and fairness",
        f"Rendered on {today:%Y-%m-%d} by `benchmarks/utility_page.py` from measured files; no figure on this page is typed "
        "by hand. What the figures mean, and what else was measured, stands in [measurements](measurements.md).",
        markdown_table(["machine", ""], machine(LIBRARIES)),
        "To repeat; TABLE is a real table that is not part of the project, CATALOGUE is "
        f"`deploy/samples/chicago.catalogue.toml`:\n\n{commands}",
        methods(utility_rows),
        groups(group_rows),
        planted(planted_rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _read(path: Path | None, required: Sequence[str]) -> list[Row]:
    if path is None:
        return []
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    if missing := [name for row in rows for name in required if name not in row]:
        raise SystemExit(f"{path}: no field {missing[0]}")
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utility", type=Path, action="append", default=[], help="of utility --json; may be repeated")
    parser.add_argument("--fairness", type=Path, help="of fairness --json")
    parser.add_argument("--synthetic", type=Path, help="of synthetic --json")
    parser.add_argument("--out", type=Path, default=OUT, help="the page; its plot goes to plots/ beside it")
    options = parser.parse_args(argv)
    utility_rows = [row for path in options.utility for row in _read(path, FIELDS)]
    utility_rows.sort(key=lambda row: (list(METHODS).index(row["method"]), row["epsilon"] or 0.0))
    group_rows = _read(
        options.fairness, ("mitigated", "strength", "run", "label", "attribute", "group", *fairness.RATES)
    )
    planted_rows = _read(options.synthetic, ("category", "positives", "run", "auc", "ap"))
    text = page(utility_rows, group_rows, planted_rows, today=datetime.now(UTC))
    if utility_rows:
        draw(utility_rows, options.out.parent / "plots")
    options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
