"""A small personnel table and its catalogue, made in the test; no real data."""

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from borough_node.sources.layout import TableLayout
from borough_node.sources.table import read_table
from protocol.documents.catalogue import FeatureCatalogue

LAYOUT = TableLayout(person="officer", silo="area", cutoff="year", ignored=("note",))


def feature(name, transform, **other):
    texts = {"definition": "A number.", "unit": "pieces", "reason": "It was high.", "legal_note": ""}
    return {"name": name, "transform": transform, "missing": None, "direction": 0, **texts, **other}


def head(category="fraud", **other):
    fields = {"category": category, "title": "Fraud", "label": "y_fraud", "prior": 0.01, "eligible": None, "start": {}}
    return {**fields, "features": ["claims", "hours", "senior"], **other}


def catalogue_fields(**other):
    return {
        "catalogue_id": "test",
        "version": 1,
        "protected": [{"name": "sex", "title": "Sex", "groups": ["a", "b"]}],
        "features": [
            feature("claims", {"kind": "count", "cap": 3.0}),
            feature("hours", {"kind": "scaled", "center": 10.0, "scale": 2.0, "limit": 3.0}, missing=12.0),
            feature("senior", {"kind": "bounded", "low": 0.0, "high": 1.0}),
        ],
        "heads": [head(), head("senior_fraud", eligible="senior")],
        **other,
    }


CATALOGUE = FeatureCatalogue.from_fields(catalogue_fields())


def columns(**changed):
    """Four rows of three people in two areas; a column changed to None is left out."""
    fields = {
        "officer": ["SECRET-A", "SECRET-B", "SECRET-C", "SECRET-A"],
        "area": ["North 1", "North 1", "South", "South"],
        "year": [2024, 2024, 2024, 2025],
        "sex": ["a", "b", "a", "a"],
        "claims": [0, 3, 7, 1],
        "hours": [10.0, 14.0, 31.0, None],
        "senior": [0, 1, 0, 0],
        "y_fraud": [0, 1, 0, 0],
        **changed,
    }
    return pa.table({name: values for name, values in fields.items() if values is not None})


def write(directory, table, suffix="parquet"):
    path = directory / f"table.{suffix}"
    {"parquet": pa.parquet.write_table, "csv": pa.csv.write_csv}[suffix](table, path)
    return path


def read(path, *, with_silo=True, catalogue=CATALOGUE, layout=LAYOUT):
    return read_table(path, layout=layout, catalogue=catalogue, with_silo=with_silo)
