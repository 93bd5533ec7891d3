"""The shape of the tree: who may import whom, and each framework in its one place.

``.importlinter`` holds who imports whom, directly or not. Here stands what it cannot say: which single module may name
a framework. A new place for a framework is a decision, made by changing this table.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("protocol", "borough_node", "coordinator", "oversight", "deploy")
GENERATED = "protocol/rpc/v1"

ALLOWED = {
    "flwr": {"borough_node.client_app", "coordinator.grid", "coordinator.server_app"},
    # The node's app only sets how many threads torch may use.
    "torch": {"borough_node.training", "borough_node.app"},
    "opacus": {"borough_node.training"},
    "sqlalchemy": {
        # How every party opens its SQLite file so that a committed row survives a power cut.
        "protocol.durable",
        "borough_node.ledger",
        "coordinator.store",
        "oversight.unmasker.store",
    },
    "alembic": {"coordinator.store"},
    "duckdb": {"borough_node.sources"},
    "grpc": {
        "protocol.rpc",
        "borough_node.agent",
        "borough_node.app",
        "coordinator.app",
        "coordinator.services",
        "coordinator.log.publisher",
        "oversight.app",
        "oversight.unmasker.service",
        "oversight.witness.witness",
    },
    # Development dependencies: no party needs them to run.
    "grpc_tools": {"protocol.rpc.generate"},
    "sklearn": set(),
    "dp_accounting": set(),
    "pandas": set(),
    "pymerkle": set(),
    "hypothesis": set(),
    "pytest": set(),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if not relative.as_posix().startswith(GENERATED):
                name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
                yield name, ast.parse(path.read_text(), filename=str(path))


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return names


IMPORTS = {name: imported(tree) for name, tree in modules()}


def test_the_import_contracts_are_kept():
    run = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


@pytest.mark.parametrize("framework", sorted(ALLOWED))
def test_a_framework_is_named_in_its_own_place_only(framework):
    users = {name for name, names in IMPORTS.items() if any(one.split(".")[0] == framework for one in names)}
    places = ALLOWED[framework]
    strays = {user for user in users if not any(user == place or user.startswith(f"{place}.") for place in places)}
    assert strays == set()
    # A place that no longer needs the framework leaves the table.
    assert all(any(user == place or user.startswith(f"{place}.") for user in users) for place in places)


def test_imports_are_absolute():
    relative = [
        name for name, tree in modules() for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_noise_and_keys_never_come_from_a_seeded_generator():
    # ``random`` and ``numpy.random`` are predictable from their output; the synthetic force of deploy may use them.
    for name, tree in modules():
        if name.startswith("deploy"):
            continue
        assert "random" not in IMPORTS[name], name
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not attributes & {"default_rng", "RandomState", "manual_seed"}, name
        assert "random" not in attributes, name


@pytest.mark.parametrize("module", ["borough_node.client_app", "coordinator.server_app"])
def test_flowers_telemetry_and_update_check_are_off_before_flower_is_imported(module):
    # The hook looks at the environment at the very moment when something first asks for flwr.
    program = f"""
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "flwr":
            print(os.environ.get("FLWR_TELEMETRY_ENABLED"), os.environ.get("FLWR_DISABLE_UPDATE_CHECK"))
sys.meta_path.insert(0, Watch())
import {module}
assert "flwr" in sys.modules
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLWR_")}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, env=clean
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["0 1"]


def test_oversight_and_protocol_load_no_learning_framework():
    entries = "oversight.app, oversight.audit.verify, protocol.history.mirror, protocol.rpc.log_reader"
    program = f"import sys, {entries}; print(sorted({{'torch', 'flwr', 'opacus', 'duckdb'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
