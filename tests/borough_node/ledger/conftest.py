"""An empty ledger in its own folder."""

import pytest

from borough_node.ledger import Ledger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    opened = Ledger(path)
    yield opened
    opened.close()
