import numpy as np

from borough_node.features.matrix import design_matrix
from borough_node.sources.table import split_by_silo
from protocol.documents.catalogue import FeatureCatalogue
from tests.borough_node.sources.made_table import CATALOGUE, catalogue_fields, columns, read, write


def test_the_matrix_has_the_constant_and_the_transformed_features(tmp_path):
    matrix = design_matrix(read(write(tmp_path, columns())), CATALOGUE)
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix[:, 0], 1)
    np.testing.assert_allclose(matrix[:, 1], np.log1p([0, 3, 7, 1]))
    np.testing.assert_array_equal(matrix[:, 2], [0, 2, 3, 1])
    np.testing.assert_array_equal(matrix[:, 3], [0, 1, 0, 0])


def test_the_columns_follow_the_catalogue_and_not_the_file(tmp_path):
    table = columns()
    reordered = FeatureCatalogue.from_fields(catalogue_fields(features=catalogue_fields()["features"][::-1]))
    path = write(tmp_path, table.select(table.column_names[::-1]))
    there, back = (design_matrix(read(path, catalogue=c), c) for c in (CATALOGUE, reordered))
    np.testing.assert_array_equal(there[:, 1:], back[:, :0:-1])


def test_a_row_does_not_depend_on_other_rows(tmp_path):
    table = read(write(tmp_path, columns()))
    parts = [design_matrix(part, CATALOGUE) for part in split_by_silo(table).values()]
    np.testing.assert_array_equal(np.concatenate(parts), design_matrix(table, CATALOGUE))
