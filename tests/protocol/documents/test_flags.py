from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from protocol.documents.flags import CategoryRule, FlagHeader, FlagPolicy, SealedFlag
from protocol.ids import digest_of
from tests.federation import Federation, number

FORCE = Federation()
RULE = CategoryRule(category="attendance", threshold=0.5, cap_per_borough=3, stability_error=0.02, minimum_band=None)
POLICY_FIELDS = {
    "policy_id": number(1),
    "roster": FORCE.roster.digest(),
    "plan": digest_of(b"plan"),
    "model": digest_of(b"model"),
    "scoring_cutoff": 2024,
    "rules": (RULE,),
    "min_population": 20,
    "max_reasons": 2,
    "retention_days": 180,
    "control_rate": 0.0,
    "waivers": (),
    "valid_from": FORCE.clock.now(),
    "valid_until": FORCE.clock.now() + timedelta(days=60),
}
FLAG = FORCE.flag(FlagPolicy(**POLICY_FIELDS), "borough-1")


def test_a_sealed_flag_reads_back_as_itself():
    assert SealedFlag.decode(FLAG.sealed.encode()) == FLAG.sealed


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": (RULE, RULE)},
        {"rules": ()},
        {"min_population": 19},
        {"max_reasons": 9},
        {"retention_days": 0},
        {"valid_until": FORCE.clock.now()},
        {"rules": (dict(RULE) | {"threshold": float("nan")},)},
    ],
)
def test_a_policy_outside_its_limits_is_refused(changes):
    with pytest.raises(ValidationError):
        FlagPolicy(**(POLICY_FIELDS | changes))


@pytest.mark.parametrize(("error", "shown"), [(0.0, True), (0.05, True), (0.0501, False), (1.0, False)])
def test_a_category_shows_stability_where_predictions_are_off_by_a_twentieth_at_most(error, shown):
    fields = dict(RULE) | {"stability_error": error}
    assert CategoryRule(**fields).shows_stability == shown
    for demanded in ("medium", "high"):
        if shown:
            assert CategoryRule(**fields | {"minimum_band": demanded}).minimum_band == demanded
        else:
            with pytest.raises(ValidationError, match="too far off"):
                CategoryRule(**fields | {"minimum_band": demanded})


@pytest.mark.parametrize("demanded", ["low", "withheld", ""])
def test_a_policy_demands_a_medium_or_a_high_band_or_none(demanded):
    with pytest.raises(ValidationError):
        CategoryRule(**dict(RULE) | {"minimum_band": demanded})


@pytest.mark.parametrize(
    "changes",
    [
        {"sealed_shares": FLAG.sealed.sealed_shares[:2]},
        {"header": FLAG.header.model_copy(update={"custodians": FLAG.header.custodians[:2]})},
        {"header": FLAG.header.model_copy(update={"share_commitments": FLAG.header.share_commitments[:2]})},
        {"header": FLAG.header.model_copy(update={"threshold": 4})},
    ],
)
def test_lists_that_differ_in_number_or_miss_the_threshold_are_refused(changes):
    with pytest.raises(ValidationError, match="differ in number or miss the threshold"):
        SealedFlag(**(dict(FLAG.sealed) | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"raised_on": "5 January 2026"},
        {"raised_on": "٢٠٢٦-٠١-٠٥"},
        {"raised_on": "2026-01-05T09:00:00Z"},
        {"score_band": "0.93"},
        {"threshold": 1},
        {"flag_id": "X-0001"},
        {"pseudonym": "X-0001"},
        {"staff_number": "X-0001"},
    ],
)
def test_a_header_has_no_room_for_a_name_an_hour_or_a_score(changes):
    with pytest.raises(ValidationError):
        FlagHeader(**(dict(FLAG.header) | changes))


def test_no_part_of_the_identity_stands_in_what_the_borough_signs():
    assert b"X-0001" not in FLAG.sealed.encode()
    assert b"X-0001" not in FLAG.ciphertext
