"""The error tree: every class that any party can raise says what it is and what to do."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter

import pytest

import protocol.errors
from protocol.errors import MalformedDocument, ProtocolError, TooManyCalls, VerificationError, WarrantExpired
from protocol.rpc.status import TABLE, error_classes, status_of

PARTIES = ("protocol", "borough_node", "coordinator", "oversight")
BRANCHES = [one for one in TABLE if one.__base__ is ProtocolError]
NEEDS_A_COMPILER = {"protocol.rpc.generate"}


@pytest.fixture(scope="module")
def classes() -> list[type[ProtocolError]]:
    for name in PARTIES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            runs_alone = module.name.endswith("__main__") or ".migrations." in module.name  # Alembic loads its steps
            if module.name not in NEEDS_A_COMPILER and not runs_alone:
                importlib.import_module(module.name)
    found = [ProtocolError, *error_classes()]
    product = [one for one in dict.fromkeys(found) if one.__module__.split(".")[0] in PARTIES]
    assert len(product) > 40
    return product


def test_every_error_class_has_its_own_code(classes):
    repeated = [code for code, times in Counter(one.code for one in classes).items() if times > 1]
    assert repeated == []


def test_every_error_class_has_a_public_message_a_remedy_and_a_docstring(classes):
    for one in classes:
        assert one.public_message.strip(), one
        assert one().remedy().strip(), one
        assert (one.__doc__ or "").strip(), one


def test_every_error_class_below_the_root_belongs_to_exactly_one_branch(classes):
    for one in classes:
        if one is not ProtocolError:
            assert sum(issubclass(one, branch) for branch in BRANCHES) == 1, one


def test_class_with_a_status_of_its_own_is_found_before_its_branch():
    """One that says when to call again: gRPC and HTTP have a status for that."""
    own = [one for one in TABLE if one not in BRANCHES]
    assert own == [TooManyCalls]
    assert status_of(TooManyCalls()) is TABLE[TooManyCalls]
    assert (status_of(TooManyCalls()).http, status_of(TooManyCalls()).exit) == (429, 5)


def test_exit_codes_are_those_of_the_house_style():
    codes = {branch.__name__: TABLE[branch].exit for branch in BRANCHES}
    assert codes == {
        "ConfigurationError": 3,
        "VerificationError": 4,
        "RefusalError": 5,
        "StateError": 5,
        "TransportError": 6,
        "StorageError": 7,
    }


def test_the_tree_at_the_top_of_the_file_names_every_branch():
    for branch in BRANCHES:
        assert branch.__name__ in (protocol.errors.__doc__ or "")


def test_a_subclass_gets_the_status_of_its_branch():
    assert status_of(WarrantExpired("valid until yesterday")) is TABLE[protocol.errors.RefusalError]
    assert status_of(MalformedDocument()) is TABLE[VerificationError]


def test_the_text_of_an_error_is_the_public_message_and_the_detail():
    assert str(MalformedDocument("field shape")) == "The document is malformed. field shape"
    assert str(MalformedDocument()) == "The document is malformed."
    assert MalformedDocument("field shape").detail == "field shape"
