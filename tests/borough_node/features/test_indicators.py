"""Each indicator counts what its definition says, on rows that a person can follow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from borough_node.features.extract import INDICATORS, LABELS, covered_cutoffs, rows_as_of
from borough_node.sources.personnel.staging import staged
from protocol.errors import ConfigurationError
from tests.personnel import CUTOFF, SmallForce, at

Values = dict[str, float]


def values_of(force: SmallForce, folder: Path, person: str = "S2", *, absent: tuple[str, ...] = ()) -> Values:
    with staged(force.write(folder, absent=absent)) as tables:
        table = rows_as_of(tables, CUTOFF, features=list(INDICATORS), labels=list(LABELS), protected=())
    row = table.person.tolist().index(person)
    return {name: float(column[row]) for name, column in (table.features | table.labels).items()}


def amended(force: SmallForce, *, by: str = "S2", late: timedelta = timedelta(days=1), minutes: int = 90) -> None:
    row = force.duty("S2", "2025-09-01T08:00")
    row |= {"amended_at": row["booked_end"] + late, "amended_by": by, "amended_minutes": minutes}
    force.rows["duties"][-1] = row


def overtime(force: SmallForce, *, badge: str | None, site: str = "yard", minutes: int = 120, by: str = "S3") -> None:
    force.badge("S1", "2025-07-01T07:00")
    force.duty(
        "S2", "2025-09-01T08:00", hours=10, site=site, overtime_minutes=minutes,
        authorised_by=by, authorised_at=at("2025-09-01T12:00"),
    )  # fmt: skip
    if badge is not None:
        force.badge("S2", f"2025-09-01T{badge}", site=site)


def swap(force: SmallForce, planned: str, booked: str) -> None:
    row = force.duty("S2", planned, swapped_at=at("2025-08-20"), swapped_with="S3")
    start = at(booked)
    row |= {"booked_start": start, "booked_end": start + timedelta(hours=8), "booked_at": start + timedelta(hours=9)}
    force.rows["duties"][-1] = row


def searches(force: SmallForce, times: int, **values: object) -> None:
    for day in range(1, times + 1):
        force.lookup("S2", f"2025-09-{day:02d}T09:00", **({"subject_ref": "N1"} | values))


def outage(force: SmallForce, system: str, start: str, end: str | None) -> None:
    force.add("outages", system=system, started_at=at(start), ended_at=end and at(end), recorded_at=at(start))


def mutual(force: SmallForce) -> None:
    overtime(force, badge="17:55")
    force.duty("S3", "2025-09-02T08:00", overtime_minutes=60, authorised_by="S2", authorised_at=at("2025-09-02T16:00"))


def leave(force: SmallForce, day: str) -> None:
    force.duty("S2", f"{day}T00:00", 23, duty_type="annual_leave", booked_start=None, booked_end=None, booked_at=None)


def office(force: SmallForce, day: str, *badges: str) -> None:
    force.badge("S1", "2025-07-01T07:00")
    force.claim("S2", day)
    for badge in badges:
        force.badge("S2", f"{day}T{badge}")


def several(*steps: Callable[[SmallForce], object]) -> Callable[[SmallForce], None]:
    def act(force: SmallForce) -> None:
        for step in steps:
            step(force)

    return act


CASES: list[tuple[str, Callable[[SmallForce], object], Values]] = [
    ("an own change after the duty that adds paid time", lambda f: amended(f),
     {"own_amendments": 1, "own_amendments_gaining": 1, "own_amendment_hours": 1.5, "own_amendments_late": 0,
      "amendments_by_others": 0}),
    ("an own change during the duty is no later change", lambda f: amended(f, late=timedelta(hours=-1)),
     {"own_amendments": 0, "own_amendments_gaining": 0, "own_amendment_hours": 0}),
    ("a change by somebody else", lambda f: amended(f, by="planner", late=timedelta(days=9)),
     {"own_amendments": 0, "own_amendments_late": 0, "amendments_by_others": 1}),
    ("an own change that shortens, after a week", lambda f: amended(f, late=timedelta(days=8), minutes=-30),
     {"own_amendments": 1, "own_amendments_gaining": 0, "own_amendment_hours": 0, "own_amendments_late": 1}),
    ("overtime that a badge shows", lambda f: overtime(f, badge="17:30"),
     {"overtime_without_presence": 0, "overtime_duties": 1, "overtime_hours": 2, "duties_without_presence": 0}),
    ("overtime after the last badge", lambda f: overtime(f, badge="16:30"),
     {"overtime_without_presence": 1, "overtime_hours_without_presence": 2, "duties_without_presence": 0}),
    ("overtime and a duty without any badge", lambda f: overtime(f, badge=None),
     {"overtime_without_presence": 1, "duties_without_presence": 1}),
    ("overtime where no reader is", lambda f: overtime(f, badge=None, site="annex"),
     {"overtime_without_presence": 0, "duties_without_presence": 0, "duties_unwatched": 1}),
    ("overtime while the readers were out",
     several(lambda f: overtime(f, badge=None), lambda f: outage(f, "badge", "2025-09-01T17:00", "2025-09-01T19:00")),
     {"overtime_without_presence": 0, "duties_without_presence": 0}),
    ("overtime in an outage that has not ended",
     several(lambda f: overtime(f, badge=None), lambda f: outage(f, "badge", "2025-08-01", None)),
     {"overtime_without_presence": 0}),
    ("overtime after an outage that was over",
     several(lambda f: overtime(f, badge=None), lambda f: outage(f, "badge", "2025-08-01", "2025-08-02")),
     {"overtime_without_presence": 1}),
    ("overtime authorised by oneself", lambda f: overtime(f, badge="17:30", by="S2"),
     {"self_authorised_overtime": 1, "self_authorised_hours": 2, "reciprocal_authorisations": 0}),
    ("overtime authorised by oneself that no badge shows", lambda f: overtime(f, badge="16:30", by="S2"),
     {"self_authorised_unseen": 1, "overtime_unseen_excess": 1 / 6}),
    ("overtime that no badge shows, as no other duty",
     several(lambda f: overtime(f, badge=None), *[
         lambda f, day=day: f.duty("S2", f"2025-09-{day:02d}T08:00") for day in range(2, 21)]),
     {"overtime_without_presence": 1, "duties_without_presence": 20, "overtime_unseen_excess": 1 / 6 - 20 / 40}),
    ("an own later gain that a badge shows", several(
        lambda f: f.badge("S1", "2025-07-01T07:00"), lambda f: amended(f), lambda f: f.badge("S2", "2025-09-01T15:30")),
     {"own_amendments_gaining": 1, "own_gains_unseen": 0}),
    ("an own later gain after the last badge", several(
        lambda f: f.badge("S1", "2025-07-01T07:00"), lambda f: amended(f), lambda f: f.badge("S2", "2025-09-01T15:00")),
     {"own_amendments_gaining": 1, "own_gains_unseen": 1}),
    ("two who authorise each other", mutual, {"reciprocal_authorisations": 1, "self_authorised_overtime": 0}),
    ("a swap from day to night", lambda f: swap(f, "2025-09-02T08:00", "2025-09-02T21:00"),
     {"swaps": 1, "swaps_gaining_premium": 1, "swap_premium_hours": 8, "swap_gain_share": 0.5}),
    ("a swap from Sunday to Monday", lambda f: swap(f, "2025-09-07T08:00", "2025-09-08T08:00"),
     {"swaps": 1, "swaps_gaining_premium": 0, "swap_premium_hours": 0, "swap_gain_share": 0.25}),
    ("a late shift in winter time: 14:00 to 22:00 are two premium hours",
     lambda f: swap(f, "2025-11-04T08:00", "2025-11-04T14:00"), {"swap_premium_hours": 2}),
    ("the same instants in summer time: 15:00 to 23:00 are three",
     lambda f: swap(f, "2025-09-02T08:00", "2025-09-02T14:00"), {"swap_premium_hours": 3}),
    ("searches without a case for one vulnerable person", lambda f: searches(f, 4, subject_vulnerable=True),
     {"lookups": 4, "lookups_without_case": 4, "repeat_lookups_one_subject": 4, "repeat_lookups_vulnerable": 4,
      "vulnerable_lookups_without_case": 4, "off_duty_lookups": 4, "subjects_repeated": 1, "subject_weeks": 1,
      "undeclared_subject_lookups": 0}),
    ("searches with a case", lambda f: searches(f, 4, case_ref="C1"),
     {"lookups": 4, "lookups_without_case": 0, "repeat_lookups_one_subject": 0, "off_duty_lookups": 4}),
    ("a case stated late", lambda f: searches(f, 1, case_ref="C1", case_linked_at=at("2025-09-09")),
     {"lookups_without_case": 0, "lookups_linked_late": 1}),
    ("a case stated after the cutoff", lambda f: searches(f, 1, case_ref="C1", case_linked_at=at("2026-01-09")),
     {"lookups_without_case": 1, "lookups_linked_late": 0}),
    ("searches while cases could not be linked",
     several(lambda f: searches(f, 4), lambda f: outage(f, "lookups", "2025-08-31", "2025-09-03T12:00")),
     {"lookups_without_case": 1, "off_duty_lookups": 4}),
    ("a search within an hour of a duty",
     several(lambda f: searches(f, 1), lambda f: f.duty("S2", "2025-09-01T09:45")), {"off_duty_lookups": 0}),
    ("a search in the longer of two duties that begin together",
     several(lambda f: searches(f, 1), lambda f: f.duty("S2", "2025-09-01T04:00", 6),
             lambda f: f.duty("S2", "2025-09-01T04:00", 1)), {"off_duty_lookups": 0}),
    ("searches for an associate who was declared afterwards",
     several(lambda f: searches(f, 3), lambda f: f.add(
         "declarations", staff_no="S2", kind="association", declared_at=at("2025-10-01"), subject_ref="N1",
         since=date(2024, 1, 1))),
     {"associates_searched": 3, "searched_before_declared": 1, "late_declarations": 1, "declared_associations": 1,
      "undeclared_subject_lookups": 0}),
    ("searches for somebody who was not declared", lambda f: searches(f, 3),
     {"associates_searched": 0, "undeclared_subject_lookups": 3, "undeclared_subject_months": 1}),
    ("the same expense twice, on a day of leave",
     several(lambda f: leave(f, "2025-09-03"), *[lambda f: f.expense("S2", "2025-09-03", 1500, limit_pence=1550)] * 2),
     {"expense_items": 2, "duplicate_expenses": 1, "expenses_on_leave": 2, "round_sum_expenses": 2,
      "below_limit_expenses": 2, "expense_pounds": 30}),
    ("a day of leave on which one worked after all",
     several(lambda f: leave(f, "2025-09-03"), lambda f: f.duty("S2", "2025-09-03T08:00"),
             lambda f: f.expense("S2", "2025-09-03", 1234)), {"expenses_on_leave": 0, "expense_items": 1}),
    ("a claimed office day without a badge", lambda f: office(f, "2025-09-01"),
     {"unbadged_office_claims": 1, "unbadged_edge_days": 1, "office_shortfall": 0.8, "short_office_days": 0}),
    ("a claimed office day with badges", lambda f: office(f, "2025-09-02", "08:00", "15:00"),
     {"unbadged_office_claims": 0, "short_office_days": 0, "claimed_office_share": 1 / 6}),
    ("a claimed office day of two hours", lambda f: office(f, "2025-09-02", "08:00", "10:00"),
     {"unbadged_office_claims": 0, "short_office_days": 1}),
    ("a claimed office day on leave", several(lambda f: leave(f, "2025-09-03"), lambda f: office(f, "2025-09-03")),
     {"unbadged_office_claims": 0, "office_claims_on_leave": 1}),
    ("a claimed office day while the readers were out",
     several(lambda f: office(f, "2025-09-02"), lambda f: outage(f, "badge", "2025-09-02T09:00", "2025-09-02T11:00")),
     {"unbadged_office_claims": 0, "office_days_unwatched": 1}),
    ("a badge just after midnight of summer time is of the next day", lambda f: office(f, "2025-09-02", "23:30"),
     {"unbadged_office_claims": 1}),
    ("a finding about the window is the label and no feature", lambda f: f.add(
        "conduct_findings", staff_no="S2", category="fraud", level="misconduct", outcome="learning",
        conduct_from=date(2025, 8, 1), conduct_to=date(2025, 8, 2), found_at=at("2026-01-15")),
     {"y_fraud": 1, "y_roster_manipulation": 0, "findings_before": 0}),
    ("a finding before the window is a feature and no label", lambda f: f.add(
        "conduct_findings", staff_no="S2", category="fraud", level="gross_misconduct", outcome="dismissal",
        conduct_from=date(2025, 1, 1), conduct_to=date(2025, 2, 2), found_at=at("2025-06-15")),
     {"y_fraud": 0, "findings_before": 1, "grave_findings_before": 1}),
    ("a complaint and a report in confidence",
     several(
         lambda f: f.add("complaints", staff_no="S2", received_at=at("2025-09-01"), source="internal",
                         allegation="sexual_conduct", outcome="learning", outcome_at=at("2026-01-02")),
         lambda f: f.add("confidential_reports", staff_no="S2", received_on=date(2025, 9, 1), theme="dishonesty")),
     {"complaints": 1, "complaints_internal": 1, "complaints_sexual": 1, "complaints_upheld": 0,
      "confidential_reports": 1, "reports_money": 1, "reports_sexual": 0}),
    ("aid, an incident, a rest day and a night",
     several(
         lambda f: f.duty("S2", "2025-09-01T08:00", duty_type="mutual_aid"),
         lambda f: f.duty("S2", "2025-09-02T08:00", duty_type="major_incident"),
         lambda f: f.duty("S2", "2025-09-03T08:00", duty_type="rest_day_worked"),
         lambda f: f.duty("S2", "2025-09-04T21:00")),
     {"duties": 4, "mutual_aid_duties": 1, "major_incident_duties": 1, "rest_days_worked": 1, "night_duties": 1}),
    ("a secondment that reaches into the window", lambda f: f.add(
        "postings", staff_no="S2", kind="secondment", borough="outside", unit="aid", role="training",
        rank="constable", shift_pattern="days", valid_from=date(2025, 6, 1), valid_to=date(2025, 7, 11),
        end_recorded_at=at("2025-07-11"), recorded_at=at("2025-05-01")), {"seconded_days": 10}),
]  # fmt: skip


@pytest.mark.parametrize(("case", "act", "expected"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_an_indicator_counts(tmp_path: Path, case: str, act: Callable[[SmallForce], object], expected: Values):
    force = SmallForce()
    act(force)
    values = values_of(force, tmp_path)
    assert {name: values[name] for name in expected} == pytest.approx(expected)


def test_a_person_without_events_has_the_defaults(tmp_path: Path):
    values = values_of(SmallForce(), tmp_path)
    events = {name for name, one in INDICATORS.items() if values[name] != one.default}
    assert events <= {"rotating_shifts", "tenure_years", "years_in_post"}


def test_without_badges_no_absence_of_a_badge_counts(tmp_path: Path):
    force = SmallForce()
    overtime(force, badge=None)
    office(force, "2025-09-02")
    values = values_of(force, tmp_path, absent=("access_events",))
    silent = ("overtime_without_presence", "duties_without_presence", "unbadged_office_claims")
    assert [values[name] for name in silent] == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({}, True),
        ({"borough": "borough-02"}, False),
        ({"valid_to": date(2025, 12, 31), "end_recorded_at": at("2025-12-30")}, False),
        # It ends on the cutoff day itself: the last instant before the cutoff was still here.
        ({"valid_to": date(2026, 1, 1), "end_recorded_at": at("2025-12-30")}, True),
        # Not known yet at the cutoff.
        ({"valid_to": date(2025, 12, 31), "end_recorded_at": at("2026-01-02")}, True),
        ({"valid_from": date(2026, 1, 1)}, False),
        ({"kind": "secondment"}, False),
    ],
)
def test_membership_follows_the_home_posting_known_at_the_cutoff(tmp_path: Path, change: dict, member: bool):
    force = SmallForce()
    force.rows["postings"][1].update(change)
    with staged(force.write(tmp_path)) as tables:
        people = rows_as_of(tables, CUTOFF, features=["duties"], labels=(), protected=()).person.tolist()
    assert ("S2" in people) == member
    assert {"S1", "S3"} <= set(people)


def test_who_moves_on_the_cutoff_day_is_in_one_borough_only(tmp_path: Path):
    moved = {"valid_to": date(2026, 1, 1), "end_recorded_at": at("2025-12-01")}
    leaving = SmallForce()
    leaving.rows["postings"][1].update(moved)
    arriving = SmallForce()
    arriving.rows["postings"][1].update(moved | {"borough": "borough-02"})
    after = {"valid_from": date(2026, 1, 1), "posting_id": "next", "recorded_at": at("2025-12-01")}
    arriving.add("postings", **(arriving.rows["postings"][0] | {"staff_no": "S2"} | after))
    found = []
    for name, force in (("leaving", leaving), ("arriving", arriving)):
        with staged(force.write(tmp_path / name)) as tables:
            found += rows_as_of(tables, CUTOFF, features=["duties"], labels=(), protected=()).person.tolist()
    assert found.count("S2") == 1


def test_only_half_years_that_duties_cover_have_a_cutoff(tmp_path: Path):
    force = SmallForce()
    with staged(force.write(tmp_path)) as tables:
        assert covered_cutoffs(tables) == (CUTOFF,)
    force.rows["duties"] = force.rows["duties"][:1]
    with staged(force.write(tmp_path)) as tables:
        assert covered_cutoffs(tables) == ()


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"features": ["shoe_size"], "labels": (), "protected": ()}, "feature shoe_size"),
        ({"features": ["duties"], "labels": ("y_lateness",), "protected": ()}, "label y_lateness"),
        ({"features": ["duties"], "labels": (), "protected": ("religion",)}, "attribute religion"),
    ],
)
def test_a_catalogue_that_asks_for_more_is_refused_by_name(tmp_path: Path, wanted: dict, named: str):
    with staged(SmallForce().write(tmp_path)) as tables, pytest.raises(ConfigurationError, match=named):
        rows_as_of(tables, CUTOFF, **wanted)


def test_the_window_is_half_open(tmp_path: Path):
    force = SmallForce()
    for moment in ("2025-06-30T23:59", "2025-07-01T00:00", "2025-12-31T23:59", "2026-01-01T00:00"):
        force.lookup("S2", moment)
    assert values_of(force, tmp_path)["lookups"] == 2
