"""The register's benchmark: what it lays out is what it says, and what cannot be measured is refused."""

import pytest

from benchmarks.register import laid_out, main, warrant
from coordinator.settings import CoordinatorSettings
from coordinator.store.place import database_place
from protocol.clock import SystemClock


def test_the_coordinator_that_is_measured_keeps_its_register_where_it_is_told(tmp_path):
    for name, url in (("sqlite", None), ("postgresql", "postgresql://postgres:@/postgres?host=/run/synthetic")):
        (tmp_path / name).mkdir()
        layout, establishment = laid_out(tmp_path / name, url, people=160)
        place = database_place(CoordinatorSettings.load(layout.settings("coordinator")))
        assert str(place).startswith(name) or (url is None and str(place).endswith("coordinator.sqlite"))
        assert len(establishment) == 8


def test_a_warrant_names_the_flags_of_its_order():
    flags = [("1" * 32, "2" * 64), ("3" * 32, "4" * 64)]
    assert [(one.flag_id, one.header) for one in warrant(flags, "5" * 64, SystemClock()).flags] == flags


@pytest.mark.parametrize("options", [["--warrants", "0"], ["--flags", "3", "--warrants", "4"]])
def test_warrants_that_would_name_no_flag_are_refused(options, capsys):
    with pytest.raises(SystemExit):
        main(options)
    assert "--warrants" in capsys.readouterr().err
