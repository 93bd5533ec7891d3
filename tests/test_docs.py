"""The documents say what the code does: settings, access table, kinds, error codes, links and cited tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import oversight.app
import oversight.audit.privacy  # noqa: F401 - and those of an audit
from borough_node.settings import NodeSettings
from borough_node.sources.personnel.settings import PersonnelSettings
from coordinator.registry.drafting import PlanChoices
from coordinator.registry.rosters import Terms
from coordinator.settings import CoordinatorSettings
from oversight.settings import (
    AuditorSettings,
    CustodianSettings,
    InvestigatorSettings,
    IssuerSettings,
    UnmaskerSettings,
    WitnessSettings,
)
from protocol.history.leaves import CASE, PUBLIC
from protocol.rpc.access import ACCESS
from protocol.rpc.status import TABLE, error_classes, status_of

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md")) + [path for path in [ROOT / "README.md"] if path.exists()]
SETTINGS = [
    NodeSettings,
    CoordinatorSettings,
    UnmaskerSettings,
    WitnessSettings,
    CustodianSettings,
    IssuerSettings,
    InvestigatorSettings,
    AuditorSettings,
    PersonnelSettings,
    PlanChoices,
    Terms,
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CITED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
CITED_FILE = re.compile(
    r"`((?:tests|deploy|protocol|borough_node|coordinator|oversight)/[\w/.]+\.(?:py|toml|proto|md))`"
)


def _page(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.__name__)
def test_every_setting_has_a_heading(settings):
    headings = set(re.findall(r"^### `(\w+)`", _page(DOCS / "settings.md"), flags=re.MULTILINE))
    assert set(settings.model_fields) <= headings


def test_every_heading_of_settings_is_a_setting():
    headings = set(re.findall(r"^### `(\w+)`", _page(DOCS / "settings.md"), flags=re.MULTILINE))
    assert headings == set().union(*(settings.model_fields for settings in SETTINGS))


def test_environment_prefixes_are_stated():
    text = _page(DOCS / "settings.md")
    for settings in set(SETTINGS) - {PersonnelSettings, PlanChoices, Terms}:
        assert f"`{settings.model_config['env_prefix']}`" in text


def test_access_table_equals_the_code():
    rows = re.findall(r"^\| `(/[\w.]+/\w+)` \| ([a-z, ]+) \|$", _page(DOCS / "spec" / "rpc.md"), flags=re.MULTILINE)
    assert len(rows) == len(dict(rows))
    assert {method: frozenset(roles.split(", ")) for method, roles in rows} == ACCESS


def test_status_table_equals_the_code():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\d+) \| (\d) \|$", _page(DOCS / "spec" / "rpc.md"), flags=re.MULTILINE)
    expected = {
        (branch.__name__, status.grpc.name, str(status.http), str(status.exit)) for branch, status in TABLE.items()
    }
    assert set(rows) == expected


def test_every_kind_of_leaf_has_a_row():
    text = _page(DOCS / "spec" / "documents.md")
    for kinds, where in ((PUBLIC, "public"), (CASE, "skeleton")):
        for kind, document in kinds.items():
            row = re.search(rf"^\| `{kind}` \| `([\w-]+)`.*\| ([^|]+) \|$", text, flags=re.MULTILINE)
            assert row is not None, f"{kind} has no row"
            assert document.payload_type == f"application/vnd.custodes.{row.group(1)}.v1+json"
            assert row.group(2).startswith(where)


def test_every_error_code_has_a_row_with_its_remedy_and_exit_code():
    text = _page(DOCS / "operations.md")
    for error in error_classes():
        if error.__module__.split(".")[0] == "tests":
            continue
        row = re.search(rf"^\| `{re.escape(error.code)}` \| .+ \| (.+) \| (\d) \|$", text, flags=re.MULTILINE)
        assert row is not None, f"{error.code} has no row"
        assert row.groups() == (error.remedy_text, str(status_of(error()).exit)), error.code


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_resolve(page):
    targets = [target for target in LINK.findall(_page(page)) if not re.match(r"[a-z]+:|#", target)]
    dead = [target for target in targets if not (page.parent / target.split("#")[0]).exists()]
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_cited_files_and_tests_exist(page):
    text = _page(page)
    missing = [path for path in CITED_FILE.findall(text) if not (ROOT / path).exists()]
    for path, test in CITED_TEST.findall(text):
        if not (ROOT / path).exists() or test not in _functions(ROOT / path):
            missing.append(f"{path}::{test}")
    assert not missing


def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_index_names_every_page():
    index = _page(DOCS / "README.md")
    for page in DOCS.rglob("*.md"):
        if page != DOCS / "README.md":
            assert f"({page.relative_to(DOCS)})" in index, _name(page)


@pytest.mark.parametrize("record", sorted((DOCS / "adr").glob("*.md")), ids=_name)
def test_decision_records_have_their_parts_and_a_cost(record):
    text = _page(record)
    parts = re.findall(r"^## (\w+)$", text, flags=re.MULTILINE)
    assert parts == ["Status", "Context", "Options", "Decision", "Consequences"]
    assert "- Cost: " in text.split("## Consequences")[1]
    assert re.fullmatch(r"\d{4}(-[a-z0-9]+)+\.md", record.name)
