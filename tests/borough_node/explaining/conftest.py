"""A borough with a flag, and its two operators."""

import pytest

from tests.borough_node.explaining.desk import Desk


@pytest.fixture
def desk(flagged):
    return Desk(flagged.world, flagged.policy, flagged.headers[0].borough)
