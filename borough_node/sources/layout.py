"""What the columns of a personnel file mean: the operator's layout and the signed catalogue, from one TOML file.

Rules this module keeps: every key is known or the file is refused; absent ``silo``, ``missing`` and ``eligible``
mean None, because TOML cannot write it, and absent ``start`` that a head starts at 0; a column has exactly one meaning.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from protocol.documents.base import Value, describe
from protocol.documents.catalogue import FeatureCatalogue
from protocol.errors import ConfigurationError

Column = Annotated[str, Field(min_length=1, max_length=200)]


class TableLayout(Value):
    """The names of the columns that are neither features nor labels."""

    person: Column
    """Identifies the data subject; only ever leaves a borough inside a sealed envelope or under a keyed hash."""
    silo: Column | None
    """Names the borough of a row; None: the file holds one borough only."""
    cutoff: Column
    """The date, as a whole number, before which features and after which labels were counted."""
    ignored: tuple[Column, ...]
    """Columns that may be there and are never read."""

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        names = self.named_columns()
        if len(set(names)) != len(names):
            raise ValueError("person, silo, cutoff and ignored must name different columns")
        return self

    def named_columns(self) -> list[str]:
        """Return every column that the layout names."""
        return [self.person, *([self.silo] if self.silo is not None else []), self.cutoff, *self.ignored]

    def check_against(self, catalogue: FeatureCatalogue) -> None:
        """Make sure that no column has two meanings.

        Raises: ConfigurationError naming a column that the layout and the catalogue both claim.
        """
        claimed = {feature.name for feature in catalogue.features}
        claimed |= {head.label for head in catalogue.heads} | set(catalogue.protected_names())
        if twice := sorted(claimed & set(self.named_columns())):
            raise ConfigurationError(f"column {twice[0]}: named in the table layout and in the catalogue; keep one")


def load_catalogue(path: Path) -> tuple[TableLayout, FeatureCatalogue]:
    """Return the layout and the catalogue of a TOML file with the tables ``[table]`` and ``[catalogue]``.

    Raises: ConfigurationError naming the file and the first wrong field.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: not a readable TOML file: {error}") from None
    if unknown := sorted(set(content) - {"table", "catalogue"}):
        raise ConfigurationError(f"{path}: unknown key {unknown[0]}; a catalogue file has [table] and [catalogue]")
    for name in ("table", "catalogue"):
        if not isinstance(content.get(name), dict):
            raise ConfigurationError(f"{path}: [{name}] is missing")
    try:
        layout = TableLayout.model_validate(_layout_fields(content["table"]))
        catalogue = FeatureCatalogue.from_fields(_catalogue_fields(content["catalogue"]))
        layout.check_against(catalogue)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: table: {describe(error)}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.detail}") from None
    except TypeError:
        # TOML has dates, JSON has not, and no field of a catalogue is one.
        raise ConfigurationError(f"{path}: catalogue: a date or time stands where text or a number belongs") from None
    return layout, catalogue


def _layout_fields(table: dict[str, Any]) -> dict[str, Any]:
    fields = {"silo": None, "ignored": [], **table}
    if isinstance(fields["ignored"], list):
        # A strict model wants the tuple that TOML cannot write.
        fields["ignored"] = tuple(fields["ignored"])
    return fields


def _catalogue_fields(catalogue: dict[str, Any]) -> dict[str, Any]:
    filled = dict(catalogue)
    for part, absent in (("features", {"missing": None}), ("heads", {"eligible": None, "start": {}})):
        entries = filled.get(part)
        if isinstance(entries, list):
            filled[part] = [{**absent, **entry} if isinstance(entry, dict) else entry for entry in entries]
    return filled
