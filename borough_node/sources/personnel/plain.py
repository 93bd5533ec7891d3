"""A Parquet table whose columns are of the contract's types already: read in one go, its values taken as they stand.

Rules this module keeps: what it returns is what `borough_node.sources.personnel.casts` would have made of the same file (a
test compares them); a table with a single column of another type, or with codes to translate, is left to those.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from borough_node.sources.contract import Column, Table
from borough_node.sources.contract.column import DTYPES
from borough_node.sources.personnel.settings import PersonnelSettings
from protocol.errors import TableInvalid


def read_plain(path: Path, table: Table, settings: PersonnelSettings) -> pl.DataFrame | None:
    """Return the table with the contract's columns and types; None: some column is not plain, or is not there.

    Raises: TableInvalid if the file cannot be read whole.
    """
    try:
        schema = pl.read_parquet_schema(path)
        columns: list[pl.Expr] = []
        sources: list[str] = []
        for column in table.columns:
            source = settings.source_column(table.name, column.name)
            if not source:
                columns.append(pl.lit(None, column.dtype).alias(column.name))
                continue
            if source not in schema or settings.values.get(table.name, {}).get(column.name):
                return None
            typed = _plain(pl.col(source), column, schema[source])
            if typed is None:
                return None
            columns.append(typed.alias(column.name))
            sources.append(source)
        # Without the options, a folder named "a=1" on the way to the file would become a column.
        frame = pl.read_parquet(path, columns=sources, glob=False, hive_partitioning=False)
        return frame.select(columns)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        # A damaged file can also make the reader panic, which is no bug of ours and ends nothing.
        reason = f"unreadable or truncated ({type(error).__name__})"
        raise TableInvalid(f"{path.name}: {reason}; export it again") from None


def _plain(value: pl.Expr, column: Column, dtype: pl.DataType) -> pl.Expr | None:
    """Return the column as the contract has it; None: its type is another."""
    match column.kind:
        case "text" if dtype == pl.String:
            return pl.when(value != "").then(value)
        case "whole" if dtype.is_integer() and dtype not in (pl.UInt64, pl.Int128):
            return value.cast(pl.Int64)
        case "number" if dtype.is_integer() or dtype in (pl.Float32, pl.Float64):
            return value.cast(pl.Float64)
        case "flag" if dtype == pl.Boolean:
            return value
        case "date" if dtype == pl.Date:
            return value
        case "time" if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
            return value.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
        case _ if dtype == pl.Null:
            return value.cast(DTYPES[column.kind])
    return None
