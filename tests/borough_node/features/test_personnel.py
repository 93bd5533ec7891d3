"""The node's reader: good tables are kept, bad ones are refused whole, and the last good ones are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from borough_node.features.matrix import design_matrix
from borough_node.features.personnel import PersonnelReader
from borough_node.settings import NodeSettings
from borough_node.sources.contract import TABLES
from borough_node.sources.layout import load_catalogue
from deploy.demo.scenario import SAMPLES
from protocol.clock import FixedClock
from protocol.errors import ConfigurationError, StorageError, TableInvalid
from tests.personnel import BOROUGH, CUTOFF, NOW, SmallForce

CATALOGUE = load_catalogue(SAMPLES / "personnel.catalogue.toml")[1]


class Operator:
    """A borough's folder, its reader, and what the reader said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.force = SmallForce()
        self.force.expense("S2", "2025-09-01", 1234)
        self.said: list[tuple[str, str]] = []
        tables = "".join(f'{name} = "exports/{name}.parquet"\n' for name in TABLES)
        (root / "personnel.toml").write_text(f'borough = "{BOROUGH}"\ntime_zone = "Europe/London"\n[tables]\n{tables}')
        self.snapshots = root / "state" / "personnel"

    def export(self) -> None:
        self.force.write(self.root / "exports")

    def read(self):
        reader = PersonnelReader(
            self.root / "personnel.toml",
            self.snapshots,
            FixedClock(NOW),
            lambda event, detail: self.said.append((event, detail)),
        )
        return reader(CATALOGUE)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def test_good_tables_give_rows_of_the_catalogue_and_a_snapshot(operator: Operator):
    operator.export()
    table = operator.read()
    assert table.person.tolist() == ["S1", "S2", "S3"]
    assert set(table.cutoff.tolist()) == {CUTOFF}
    assert table.features["expense_items"].tolist() == [0, 1, 0]
    assert design_matrix(table, CATALOGUE).shape == (3, 1 + len(CATALOGUE.features))
    assert table.protected["sex"].tolist() == ["f", "f", "f"]
    assert operator.said == []
    (folder,) = operator.snapshots.glob("snapshot-*")
    assert {path.stem for path in folder.iterdir()} == set(TABLES) - {"sickness"}
    assert folder.stat().st_mode & 0o077 == 0


def test_a_bad_table_is_refused_whole_and_the_last_good_snapshot_stays(operator: Operator):
    operator.export()
    before = operator.read()
    operator.force.expense("S2", "2025-09-02", 999)
    operator.force.duty("nobody", "2025-09-02T08:00")
    operator.export()
    after = operator.read()
    # Not even the good tables of the refused set are taken.
    assert after.features["expense_items"].tolist() == [0, 1, 0]
    assert {name: column.tolist() for name, column in after.features.items()} == {
        name: column.tolist() for name, column in before.features.items()
    }
    ((event, detail),) = operator.said
    assert event == "personnel.refused"
    assert "duties" in detail
    assert "nobody" not in detail
    operator.force.rows["duties"].pop()
    operator.export()
    assert operator.read().features["expense_items"].tolist() == [0, 2, 0]
    assert len(list(operator.snapshots.glob("snapshot-*"))) == 1


def test_without_a_snapshot_a_bad_table_stops_the_node(operator: Operator):
    operator.force.duty("nobody", "2025-09-02T08:00")
    operator.export()
    with pytest.raises(TableInvalid, match="duties"):
        operator.read()
    assert not operator.snapshots.exists()


@pytest.mark.parametrize("damage", ["pointer", "table"])
def test_a_damaged_snapshot_is_told(operator: Operator, damage: str):
    operator.export()
    operator.read()
    if damage == "pointer":
        (operator.snapshots / "current.json").write_text("{")
    else:
        next(operator.snapshots.glob("snapshot-*/postings.parquet")).unlink()
    (operator.root / "exports" / "duties.parquet").unlink()
    with pytest.raises(StorageError, match="snapshot"):
        operator.read()


def test_duties_that_cover_no_half_year_are_refused(operator: Operator):
    operator.force.rows["duties"] = operator.force.rows["duties"][:1]
    operator.export()
    with pytest.raises(TableInvalid, match="half-year"):
        operator.read()


@pytest.mark.parametrize("given", [{}, {"table": "a.csv", "personnel": "b.toml"}])
def test_a_nodes_rows_come_from_one_place(tmp_path: Path, given: dict[str, str]):
    path = tmp_path / "settings.toml"
    paths = ("state", "roster", "signing_key", "tls_ca", "tls_certificate", "tls_key", "catalogue")
    fields = (
        dict.fromkeys(paths, "x")
        | {"signing_key": "file:x", "tls_key": "file:x", "id": BOROUGH, "genesis": "0" * 64, "coordinator": "c:1"}
        | given
    )
    path.write_text("\n".join(f'{name} = "{value}"' for name, value in fields.items()) + "\nreply_slot_seconds = 1.0\n")
    with pytest.raises(ConfigurationError, match="table, personnel"):
        NodeSettings.load(path)
