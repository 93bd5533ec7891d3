"""What one release reads of a borough: rows, labels, persons and groups, one array each, all of one length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from borough_node.sources.table import PersonnelTable
from protocol.documents.catalogue import FeatureCatalogue
from protocol.scorecard.columns import Float64Array


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Cohort:
    """A borough's rows at some cutoffs."""

    rows: Float64Array
    """Design matrix of the plan, shape (rows, width)."""
    labels: Float64Array
    """0 or 1, shape (rows, heads)."""
    persons: npt.NDArray[np.object_]
    """Shape (rows,)."""
    groups: npt.NDArray[np.int64]
    """Place among the groups of each protected attribute of the catalogue, shape (rows, attributes); -1: in none."""
    outcomes: npt.NDArray[np.int64] | None = None
    """Of a cohort of reviewed people, one row each: the cell of their review in each category, shape (rows, heads); -1:
    none is finished. None in any other cohort."""

    def __repr__(self) -> str:
        # The default would print the first persons into a traceback.
        return "Cohort(<redacted>)"


def group_codes(table: PersonnelTable, catalogue: FeatureCatalogue) -> npt.NDArray[np.int64]:
    """Return each row's place among the groups of each protected attribute, -1 where it is in none."""
    codes = np.full((table.rows, len(catalogue.protected)), -1, dtype=np.int64)
    for place, attribute in enumerate(catalogue.protected):
        values = table.protected[attribute.name]
        for code, group in enumerate(attribute.groups):
            codes[values == group, place] = code
    return codes
