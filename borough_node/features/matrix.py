"""From a personnel table to the matrix that heads weigh: the catalogue's order, the catalogue's public bounds.

Rules this module keeps: nothing is estimated from the table (no mean, no quantile), so a row of the matrix depends
on that row of the table alone; column 0 is the constant 1, whose weight is the intercept.
"""

from __future__ import annotations

import numpy as np

from borough_node.sources.table import PersonnelTable
from protocol.documents.catalogue import FeatureCatalogue
from protocol.scorecard.transforms import Float64Array, apply


def design_matrix(table: PersonnelTable, catalogue: FeatureCatalogue) -> Float64Array:
    """Return the transformed features of every row.

    Args:
        table: Read with this same catalogue, so it has every feature, filled and checked.
        catalogue: Fixes the order of the columns and their transforms.
    Returns: Shape (rows, 1 + features), float64, C order; column 0 is 1, column j + 1 is ``catalogue.features[j]``.
    """
    matrix = np.empty((table.rows, 1 + len(catalogue.features)), dtype=np.float64)
    matrix[:, 0] = 1.0
    for column, feature in enumerate(catalogue.features, start=1):
        matrix[:, column] = apply(feature.transform, table.features[feature.name])
    return matrix
