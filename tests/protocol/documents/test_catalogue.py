from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from protocol.documents.catalogue import Bounded, Count, FeatureCatalogue, Scaled
from protocol.errors import ConfigurationError
from tests.federation import attribute, catalogue, feature, head

CATALOGUE = catalogue()
ONE = feature("entries_amended", Count(kind="count", cap=3.0))
TWO = feature("senior_grade", Bounded(kind="bounded", low=0.0, high=1.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": (ONE, ONE)}, "must be unique"),
        ({"heads": (CATALOGUE.heads[0], CATALOGUE.heads[0])}, "must be unique"),
        (
            {"heads": (head("attendance", "y", ("entries_amended", "entries_amended"), prior=0.1),)},
            "names a feature twice",
        ),
        ({"heads": (head("attendance", "y", ("no_such_column",), prior=0.1),)}, "unknown feature no_such_column"),
        ({"heads": (head("attendance", "senior_grade", ("entries_amended",), prior=0.1),)}, "a feature as its label"),
        (
            {"heads": (head("attendance", "y", ("entries_amended",), prior=0.1, eligible="senior_grade"),)},
            "must be one of its features",
        ),
        ({"protected": (attribute("senior_grade", "0", "1"),)}, "senior_grade is protected"),
        ({"protected": (attribute("y_roster", "0", "1"),)}, "y_roster is protected"),
        ({"features": ()}, "at least 1"),
        ({"heads": ()}, "at least 1"),
        ({"version": 0}, "greater than or equal to 1"),
    ],
)
def test_a_catalogue_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        catalogue(**changes)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, float("nan")])
def test_a_prior_is_strictly_between_zero_and_one(prior):
    with pytest.raises(ValidationError):
        head("attendance", "y", ("senior_grade",), prior=prior)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Count(kind="count", cap=0.0),
        lambda: Scaled(kind="scaled", center=0.0, scale=0.0, limit=1.0),
        lambda: Scaled(kind="scaled", center=0.0, scale=1.0, limit=-1.0),
        lambda: Scaled(kind="scaled", center=float("inf"), scale=1.0, limit=1.0),
        lambda: Bounded(kind="bounded", low=1.0, high=1.0),
    ],
)
def test_a_transform_without_a_range_is_refused(build):
    with pytest.raises(ValidationError):
        build()


def test_a_catalogue_comes_from_parsed_toml_and_says_which_field_is_wrong():
    fields = json.loads(CATALOGUE.encode())
    assert FeatureCatalogue.from_fields(fields) == CATALOGUE
    with pytest.raises(ConfigurationError, match=r"field features\.0\.transform\.count\.cap"):
        FeatureCatalogue.from_fields(
            fields | {"features": [fields["features"][0] | {"transform": {"kind": "count", "cap": -1}}]}
        )
    with pytest.raises(ConfigurationError, match="field epsilon"):
        FeatureCatalogue.from_fields(fields | {"epsilon": 1.0})


def test_features_and_heads_are_found_by_name():
    assert CATALOGUE.feature("senior_grade") == TWO
    assert CATALOGUE.head("attendance").label == "y_attendance"


def test_the_digest_changes_with_every_bound():
    narrower = feature("entries_amended", Count(kind="count", cap=2.5))
    assert catalogue(features=(narrower, *CATALOGUE.features[1:])).digest() != CATALOGUE.digest()
