"""A personnel file, read in place and checked whole: what leaves this module can be computed with.

Rules this module keeps: a table is used as a whole or refused as a whole, because a row silently dropped is a person
silently treated differently; a refusal names the column and what to do, never a value, because the detail of an
error reaches logs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from borough_node.sources.file import CSV_TYPE, OpenFile, listed, opened, quoted
from borough_node.sources.layout import TableLayout
from protocol.documents.catalogue import Count, Feature, FeatureCatalogue
from protocol.errors import TableInvalid
from protocol.scorecard.transforms import Float64Array

TextArray = NDArray[np.object_]
"""Python strings."""

_WHOLE_TYPES = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_NUMBER_TYPES = _WHOLE_TYPES | {"UBIGINT", "HUGEINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN"}
_TEXT_TYPES = _WHOLE_TYPES | {"UBIGINT", "BOOLEAN", "VARCHAR", "UUID"}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PersonnelTable:
    """Rows of (person, cutoff), column by column; the arrays are read-only and of one length."""

    person: TextArray
    cutoff: NDArray[np.int64]
    silo: TextArray | None
    """The borough of each row; None if the table was read as one borough's."""
    features: dict[str, Float64Array]
    """Raw values in catalogue order, finite, missing ones filled with the catalogue's public constants."""
    labels: dict[str, Float64Array]
    """0, 1, or NaN where nobody knows yet, one array per label column."""
    protected: dict[str, TextArray]
    """For fairness releases only; the empty string where nothing is stated."""
    known_from: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Per label, the first cutoff at which its 1 was known, 0 where the label is 0; empty if the table does not say."""

    def __post_init__(self) -> None:
        arrays = [self.person, self.cutoff, *([self.silo] if self.silo is not None else [])]
        for columns in (self.features, self.labels, self.protected, self.known_from):
            arrays += columns.values()
        for array in arrays:
            array.setflags(write=False)

    def __repr__(self) -> str:
        # The default would print the first persons into a traceback.
        return "PersonnelTable(<redacted>)"

    @property
    def rows(self) -> int:
        """Number of rows, that is of (person, cutoff)."""
        return len(self.person)

    def select(self, chosen: NDArray[np.bool_]) -> PersonnelTable:
        """Return the rows where ``chosen`` is true, in the same order."""
        return PersonnelTable(
            person=self.person[chosen],
            cutoff=self.cutoff[chosen],
            silo=None if self.silo is None else self.silo[chosen],
            features={name: values[chosen] for name, values in self.features.items()},
            labels={name: values[chosen] for name, values in self.labels.items()},
            protected={name: values[chosen] for name, values in self.protected.items()},
            known_from={name: values[chosen] for name, values in self.known_from.items()},
        )


def read_table(path: Path, *, layout: TableLayout, catalogue: FeatureCatalogue, with_silo: bool) -> PersonnelTable:
    """Return the whole table of a CSV or Parquet file, checked against the catalogue.

    Args:
        path: As `borough_node.sources.file.opened` takes it.
        with_silo: True: the table holds the whole force and ``layout.silo`` must be there. False: it holds one
            borough; a silo column may be there, and must then name one borough only.
    Raises: TableInvalid naming the column and what to do; ConfigurationError if layout and catalogue disagree.
    """
    layout.check_against(catalogue)
    labels = list(dict.fromkeys(head.label for head in catalogue.heads))
    numbers = [*(feature.name for feature in catalogue.features), *labels]
    with opened(path) as file:
        silo = _silo_column(layout, file.types, with_silo=with_silo)
        texts = [layout.person, *([silo] if silo else []), *catalogue.protected_names()]
        _check_columns([*texts, layout.cutoff, *numbers], file.types, layout)
        _check_types(file.types, texts=texts, cutoff=layout.cutoff, numbers=numbers)
        _stage(file, texts=texts, cutoff=layout.cutoff, numbers=numbers)
        _check_rows(file, layout, silo=silo, with_silo=with_silo)
        columns = file.columns(f"SELECT {listed([*texts, layout.cutoff])} FROM staged")
        # A null becomes NaN here, so that both kinds of missing value meet one rule.
        filled = ", ".join(f"coalesce({quoted(name)}, 'nan') AS {quoted(name)}" for name in numbers)
        columns |= file.columns(f"SELECT {filled} FROM staged")
    eligible = {head.eligible for head in catalogue.heads}
    return PersonnelTable(
        person=np.asarray(columns[layout.person], dtype=object),
        cutoff=np.asarray(columns[layout.cutoff], dtype=np.int64),
        silo=np.asarray(columns[silo], dtype=object) if silo and with_silo else None,
        features={f.name: _checked_feature(f, columns[f.name], f.name in eligible) for f in catalogue.features},
        labels={name: _checked_label(name, columns[name]) for name in labels},
        protected={name: np.asarray(columns[name], dtype=object) for name in catalogue.protected_names()},
    )


def rows_at(table: PersonnelTable, *, first_cutoff: int, last_cutoff: int) -> PersonnelTable:
    """Return the rows whose cutoff lies between the two, both included."""
    return table.select((table.cutoff >= first_cutoff) & (table.cutoff <= last_cutoff))


def split_by_silo(table: PersonnelTable) -> dict[str, PersonnelTable]:
    """Return each borough's rows, by borough in alphabetical order.

    Raises: TableInvalid if the table was read as one borough's.
    """
    if table.silo is None:
        raise TableInvalid("silo: the table was read as one borough's; read it with its silo column")
    return {silo: table.select(table.silo == silo) for silo in sorted(set(table.silo.tolist()))}


def split_table(source_path: Path, layout: TableLayout, directory: Path) -> dict[str, Path]:
    """Write each borough's rows, with all their columns, to a Parquet file of its own; return the files by silo.

    Args:
        directory: Made if absent; a file in it is named after the silo's `party_id`, readable by its owner only.
    Raises: TableInvalid for a missing silo or two silos with one file name, before anything is written.
    """
    with opened(source_path) as file:
        silo = _silo_column(layout, file.types, with_silo=True) or ""
        _check_columns([silo], file.types, None)
        _check_types(file.types, texts=[silo], cutoff=None, numbers=[])
        file.run(f"CREATE TEMP TABLE raw AS SELECT * FROM {file.relation}")
        trimmed = f"coalesce(trim(CAST({quoted(silo)} AS VARCHAR)), '')"
        found = [str(row[0]) for row in file.rows(f"SELECT DISTINCT {trimmed} FROM raw ORDER BY 1")]
        if not found:
            raise TableInvalid(f"{source_path.name}: the table has no rows; export it again")
        files = {name: directory / f"{party_id(name)}.parquet" for name in found}
        if len(set(files.values())) != len(files):
            raise TableInvalid(f"column {silo}: two silos give one file name; rename one of them")
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, target in files.items():
            file.run(f"COPY (SELECT * FROM raw WHERE {trimmed} = ?) TO ? (FORMAT parquet)", [name, str(target)])
            target.chmod(0o600)
    return files


def party_id(silo: str) -> str:
    """Return the DNS label of a silo: lower case, every other character a hyphen.

    Raises: TableInvalid if that is no DNS label (empty, over 63 characters, or it begins with a hyphen).
    """
    label = re.sub(r"[^a-z0-9]", "-", silo.lower())
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", label):
        raise TableInvalid("the silo column: a silo is missing or cannot be written as a DNS label; rename it")
    return label


# --- columns ----------------------------------------------------------------------------------------------------


def _silo_column(layout: TableLayout, types: dict[str, str], *, with_silo: bool) -> str | None:
    if with_silo and layout.silo is None:
        raise TableInvalid("silo: the layout names no silo column, and this table must have one; name it in [table]")
    return layout.silo if with_silo or layout.silo in types else None


def _check_columns(wanted: list[str], types: dict[str, str], layout: TableLayout | None) -> None:
    # Missing before unknown: of a file without a header line, the "unknown columns" would be a person's values.
    if missing := [name for name in wanted if name not in types]:
        raise TableInvalid(f"column {missing[0]}: missing; add it to the export")
    if layout is not None and (unknown := [n for n in types if n not in {*wanted, *layout.named_columns()}]):
        raise TableInvalid(f"column {unknown[0]}: unknown; drop it from the export or list it under ignored")


def _check_types(types: dict[str, str], *, texts: list[str], cutoff: str | None, numbers: list[str]) -> None:
    kinds = [(name, _TEXT_TYPES, "text") for name in texts]
    kinds += [(cutoff, _WHOLE_TYPES, "whole numbers")] if cutoff else []
    kinds += [(name, _NUMBER_TYPES, "numbers") for name in numbers]
    for name, allowed, advice in kinds:
        # Parameters of a type, as in DECIMAL(5,2), do not change what it is.
        if types[name].split("(")[0] not in {*allowed, CSV_TYPE}:
            raise TableInvalid(f"column {name}: of type {types[name]}; export it as {advice}")


# --- rows -------------------------------------------------------------------------------------------------------


def _stage(file: OpenFile, *, texts: list[str], cutoff: str, numbers: list[str]) -> None:
    """Read the file once into table ``staged``: text trimmed and never null, the rest numbers or null."""
    file.run(f"CREATE TEMP TABLE raw AS SELECT {listed([*texts, cutoff, *numbers])} FROM {file.relation}")
    # Trimmed, or a person could have two rows at one cutoff that differ in a blank.
    chosen = [f"coalesce(trim(CAST({q} AS VARCHAR)), '') AS {q}" for q in map(quoted, texts)]
    # A cast alone would round 2024.5 to a year.
    whole = f"regexp_extract({quoted(cutoff)}, '^ *(-?[0-9]+) *$', 1)" if file.is_csv else quoted(cutoff)
    chosen += [f"TRY_CAST({whole} AS BIGINT) AS {quoted(cutoff)}"]
    chosen += [f"TRY_CAST({q} AS DOUBLE) AS {q}" for q in map(quoted, numbers)]
    file.run(f"CREATE TEMP TABLE staged AS SELECT {', '.join(chosen)} FROM raw")
    lost = [f"count(*) FILTER (raw.{q} IS NOT NULL AND staged.{q} IS NULL)" for q in map(quoted, numbers)]
    counts = file.rows(f"SELECT {', '.join(lost)} FROM raw POSITIONAL JOIN staged")[0]
    for name, count in zip(numbers, counts, strict=True):
        if count:
            raise TableInvalid(f"column {name}: holds text that is no number; export it as numbers")


def _check_rows(file: OpenFile, layout: TableLayout, *, silo: str | None, with_silo: bool) -> None:
    person, cutoff = quoted(layout.person), quoted(layout.cutoff)
    rows, nobody, no_cutoff, distinct = file.rows(
        f"SELECT count(*), count(*) FILTER ({person} = ''), count(*) FILTER ({cutoff} IS NULL),"
        f" count(DISTINCT ({person}, {cutoff})) FROM staged"
    )[0]
    if not rows:
        raise TableInvalid("the table has no rows; export it again")
    if nobody:
        raise TableInvalid(f"column {layout.person}: has missing values; every row must name its person")
    if no_cutoff:
        raise TableInvalid(f"column {layout.cutoff}: missing or no whole number in some rows; state every cutoff")
    if distinct != rows:
        # Two rows would double what one person can move in every release.
        raise TableInvalid(
            f"columns {layout.person}, {layout.cutoff}: {rows - distinct} rows repeat a person at one cutoff;"
            " keep one row, in the borough of the posting on the cutoff date"
        )
    if silo:
        named = quoted(silo)
        unnamed, boroughs = file.rows(f"SELECT count(*) FILTER ({named} = ''), count(DISTINCT {named}) FROM staged")[0]
        if unnamed:
            raise TableInvalid(f"column {silo}: has missing values; every row must name its borough")
        if boroughs > 1 and not with_silo:
            raise TableInvalid(f"column {silo}: names {boroughs} boroughs; split the table, a borough reads its own")


# --- values -----------------------------------------------------------------------------------------------------


def _checked_feature(feature: Feature, values: Any, decides_eligibility: bool) -> Float64Array:
    column = np.array(values, dtype=np.float64)
    missing = np.isnan(column)
    if missing.any():
        if feature.missing is None:
            raise TableInvalid(f"column {feature.name}: has missing values and the catalogue fills none; complete it")
        column[missing] = feature.missing
    if np.isinf(column).any():
        raise TableInvalid(f"column {feature.name}: has infinite values; correct them at their source")
    if isinstance(feature.transform, Count) and (column < 0).any():
        raise TableInvalid(f"column {feature.name}: is a count and has values below 0; correct them at their source")
    if decides_eligibility and not np.isin(column, (0.0, 1.0)).all():
        raise TableInvalid(f"column {feature.name}: decides who is eligible and must be 0 or 1 in every row")
    return column


def _checked_label(name: str, values: Any) -> Float64Array:
    """A row may lack its label, as the newest ones do: whoever uses the row asks for it (`borough_node.records`)."""
    column = np.array(values, dtype=np.float64)
    if not (np.isin(column, (0.0, 1.0)) | np.isnan(column)).all():
        raise TableInvalid(f"column {name}: a label must be 0, 1, or missing while it is not known; correct the others")
    return column
