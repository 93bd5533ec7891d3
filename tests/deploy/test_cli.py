"""``custodes``: every party's commands are there, and each loads no more than it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from deploy.cli import COMMANDS, app, load


@pytest.mark.parametrize("name", COMMANDS)
def test_list_says_of_each_name_what_its_own_help_says(name):
    command = load(name)
    assert (command.help or "").split("\n\n")[0].replace("\n", " ") == COMMANDS[name][1]
    assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


def test_name_that_is_none_is_refused_and_the_nearest_one_said():
    answer = CliRunner().invoke(app, ["witnes"])
    assert answer.exit_code == 2
    assert "Did you mean 'witness'" in answer.output


@pytest.mark.parametrize("name", ["custodian", "issuer", "investigator", "unmasker", "witness", "coordinator"])
def test_desk_loads_no_learning_framework_and_no_tables(name):
    script = "import sys; from deploy.cli import app; app([sys.argv[1], '--help'], standalone_mode=False)\n"
    script += (
        "print(*sorted({'torch', 'flwr', 'opacus', 'polars', 'duckdb', 'pandas'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.strip() == ""
