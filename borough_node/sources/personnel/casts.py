"""One column of a source as SQL of the contract's type, and when that fails.

Rules this module keeps: a value that is not what the contract says becomes NULL and is counted, never guessed; an
instant is stored as a timestamp in UTC without zone; a time without zone is read in the settings' zone or refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from borough_node.sources.contract import Column
from borough_node.sources.file import CSV_TYPE, literal, quoted
from protocol.errors import TableInvalid

_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_NUMBER = _WHOLE | {"FLOAT", "DOUBLE", "DECIMAL", "UBIGINT", "HUGEINT"}
_TEXT = {"VARCHAR", CSV_TYPE}
_NAIVE = {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
_ZONED = {"TIMESTAMP WITH TIME ZONE"}
_TAKES = {
    "text": _TEXT | _WHOLE | {"UBIGINT", "UUID", "ENUM"},
    "whole": _TEXT | _NUMBER,
    "number": _TEXT | _NUMBER,
    "flag": _TEXT | _WHOLE | {"BOOLEAN"},
    "date": _TEXT | {"DATE"},
    "time": _TEXT | _NAIVE | _ZONED,
}
_HAS_ZONE = "'([Zz]|[+-][0-9]{2}:?([0-9]{2})?)$'"


@dataclass(frozen=True, slots=True)
class Cast:
    """How a column is read."""

    typed: str
    """SQL expression of the contract's type."""
    failed: str | None
    """SQL condition: there was a value, and it is not of this type. None: cannot happen."""
    local: str | None
    """SQL expression of a time as it stood, without zone (NULL if it had one); None: always with zone."""


def cast_of(column: Column, *, source: str, type_name: str, settings: Reading) -> Cast:
    """Return how a source's column is read as the contract's.

    Args:
        source: The source's column name.
        type_name: The database's name of its type; `CSV_TYPE` for a CSV file.
    Raises: TableInvalid if the type can never be read as the contract's.
    """
    base = type_name.split("(")[0]
    if base not in _TAKES[column.kind]:
        raise TableInvalid(f"column {source}: of type {type_name}; export it as {_ADVICE[column.kind]}")
    is_text = base in _TEXT
    text = quoted(source) if base == "VARCHAR" else f"CAST({quoted(source)} AS VARCHAR)"
    # Blanks are an accident of CSV exports; trimming a million texts of a database takes longer than reading them.
    text = f"nullif(trim({text}), '')" if base == CSV_TYPE else f"nullif({text}, '')"
    value = text if is_text else quoted(source)
    match column.kind:
        case "text":
            return Cast(_translated(text, settings.values), None, None)
        case "flag":
            word = _translated(f"lower({text})", {key.lower(): value for key, value in settings.values.items()})
            typed = f"CASE WHEN {word} IN ('true', 't', '1', 'yes', 'y') THEN true"
            typed += f" WHEN {word} IN ('false', 'f', '0', 'no', 'n') THEN false END"
            return Cast(typed, None if base == "BOOLEAN" else _lost(text, typed), None)
        case "whole":
            if base in _WHOLE:
                return Cast(f"CAST({value} AS BIGINT)", None, None)
            number = f"TRY_CAST({value} AS DOUBLE)"
            # A cast alone would round 2.5 minutes.
            typed = f"CASE WHEN {number} = floor({number}) THEN TRY_CAST({number} AS BIGINT) END"
            return Cast(typed, _lost(value, typed), None)
        case "number":
            typed = f"TRY_CAST({value} AS DOUBLE)"
            return Cast(typed, f"({_lost(value, typed)} OR NOT isfinite({typed}))", None)
        case "date":
            if not is_text:
                return Cast(value, None, None)
            typed = _parsed(value, settings.date_format, "DATE")
            return Cast(typed, _lost(value, typed), None)
        case "time":
            return _time(value, base, is_text=is_text, settings=settings)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the settings say about reading one column."""

    time_zone: str | None
    date_format: str | None
    time_format: str | None
    values: dict[str, str]


def in_utc(local: str, zone: str) -> str:
    """Return SQL of the instant of a local time; of the two in an autumn hour the database's choice."""
    return f"make_timestamp(epoch_us(timezone({literal(zone)}, {local})))"


_ADVICE = {
    "text": "text",
    "whole": "a whole number",
    "number": "a number",
    "flag": "true or false",
    "date": "a date",
    "time": "a date with time of day and time zone",
}


def _time(value: str, base: str, *, is_text: bool, settings: Reading) -> Cast:
    if base in _ZONED:
        return Cast(f"make_timestamp(epoch_us({value}))", None, None)
    if not is_text:
        local = f"CAST({value} AS TIMESTAMP)"
        # Without a zone in the settings the check refuses the whole column.
        return Cast(in_utc(local, settings.time_zone) if settings.time_zone else local, None, local)
    naive = f"CASE WHEN NOT regexp_matches({value}, {_HAS_ZONE}) THEN "
    local = f"{naive}{_parsed(value, settings.time_format, 'TIMESTAMP')} END"
    zoned = f"make_timestamp(epoch_us(TRY_CAST({value} AS TIMESTAMPTZ)))"
    if settings.time_format is not None and "%z" in settings.time_format:
        zoned = f"make_timestamp(epoch_us(try_strptime({value}, {literal(settings.time_format)})))"
    # A date alone would be read as midnight.
    plain = in_utc(local, settings.time_zone) if settings.time_zone else local
    typed = f"CASE WHEN regexp_matches({value}, {_HAS_ZONE}) AND contains({value}, ':') THEN {zoned} ELSE {plain} END"
    return Cast(typed, _lost(value, typed), local)


def _parsed(value: str, form: str | None, kind: str) -> str:
    if form is None:
        pattern = r"'^\d{4}-\d{2}-\d{2}$'" if kind == "DATE" else r"'^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}'"
        return f"CASE WHEN regexp_matches({value}, {pattern}) THEN TRY_CAST({value} AS {kind}) END"
    return f"CAST(try_strptime({value}, {literal(form)}) AS {kind})"


def _lost(value: str, typed: str) -> str:
    return f"({value} IS NOT NULL AND ({typed}) IS NULL)"


def _translated(value: str, values: dict[str, str]) -> str:
    if not values:
        return value
    cases = " ".join(f"WHEN {literal(theirs)} THEN {literal(ours)}" for theirs, ours in values.items())
    return f"CASE {value} {cases} ELSE {value} END"
