"""Facts about single duties, searches and days that several subjects share, as of a cutoff.

Rules this module keeps: where a badge could not have been read (no reader, an outage, nothing recorded yet), its absence
proves nothing. Sickness hides behind `other_absence`; no indicator asks who was absent for that. Whole columns at a
time, each large table sorted once and by one number: sorts by two cost ten times as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
from polars import col

from borough_node.sources.contract.column import DTYPES
from borough_node.sources.contract.work import WORKED_TYPES
from borough_node.sources.personnel.asof import Known

LEAVE = ("annual_leave", "rest_day")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Facts:
    """What subjects count, one row per event; every frame has ``person``."""

    known: Known
    members: pl.DataFrame
    duties: pl.DataFrame
    """Duties in the window: what was booked, and whether a badge could show it."""
    presence: pl.DataFrame
    """Of these, the duties that a badge could show: whether one does."""
    leave_days: pl.DataFrame
    """Whole days of leave or rest on which no worked duty begins, as far as something was claimed for them; ``annual``."""
    lookups: pl.DataFrame
    """Searches: without a case (outages of the linking excused), off duty."""
    claims: pl.DataFrame
    """Attendance claims: what a badge shows on that day."""

    def __repr__(self) -> str:
        return "Facts(<redacted>)"


def facts_of(known: Known) -> Facts:
    """Return the facts as of a cutoff."""
    badges = known.tables["access_events"].select("person", "at").sort("at").collect()
    duties, presence = _watched(known, _duties(known), badges)
    claims = known.tables["attendance_claims"].collect()
    claimed = [claims.lazy().select("person", day="claim_date")]
    claimed += [known.tables["expenses"].select("person", day="incurred_on")]
    leave_days = _leave_days(known, duties, pl.concat(claimed))
    return Facts(
        known,
        known.members(),
        duties,
        presence,
        leave_days,
        _lookups(known, duties),
        _claims(known, claims, leave_days, badges),
    )


def _duties(known: Known) -> pl.DataFrame:
    start, end = pl.coalesce("booked_start", "planned_start"), pl.coalesce("booked_end", "planned_end")
    own = col("amended_by") == col("staff_no")
    frame = known.tables["duties"].select(
        "person",
        "duty_type",
        "site",
        "amended_minutes",
        start_at=start,
        end_at=end,
        worked=col("duty_type").is_in(WORKED_TYPES),
        booked=col("booked_end").is_not_null(),
        overtime=col("overtime_minutes").fill_null(0),
        own_amendment=own & (col("amended_at") > end),
        others_amendment=~own,
        amended_late=col("amended_at") > end + 7 * DAY,
        authorised=col("authorised_by").is_not_null(),
        self_authorised=col("authorised_by") == col("staff_no"),
        authorised_late=col("authorised_at") > end + 3 * DAY,
        swapped=col("swapped_at").is_not_null(),
        swapped_shortly=col("swapped_at") > col("planned_start") - DAY,
        in_outage=_during(col("booked_at"), _outages(known, "duty")),
        local_start=known.local_minutes(col("planned_start")),
        local_end=known.local_minutes(col("planned_start")) + _minutes(col("planned_end") - col("planned_start")),
        local_booked_start=known.local_minutes(col("planned_start")) + _minutes(start - col("planned_start")),
        local_booked_end=known.local_minutes(col("planned_start")) + _minutes(end - col("planned_start")),
    )
    booked = col("local_booked_start"), col("local_booked_end")
    return _with_premium_gain(frame.with_columns(night=_night_minutes(*booked) >= 180).collect())


def _with_premium_gain(duties: pl.DataFrame) -> pl.DataFrame:
    """Add by how many night and weekend minutes a swap gained; other duties, the great many, are not looked at."""
    swapped = duties["swapped"].arg_true()
    planned, booked = (col("local_start"), col("local_end")), (col("local_booked_start"), col("local_booked_end"))
    gained = duties[swapped].select(_premium_minutes(*booked) - _premium_minutes(*planned)).to_series()
    gain = np.zeros(duties.height, dtype=np.int64)
    gain[swapped.to_numpy()] = gained.to_numpy()
    return duties.with_columns(premium_gain=pl.Series(gain))


def _date(days: pl.Expr) -> pl.Expr:
    """Return the date of a number of days since 1970."""
    return days.cast(pl.Int32).cast(pl.Date)


def _minutes(span: pl.Expr) -> pl.Expr:
    return span.to_physical() // 60_000_000


def _within(start: pl.Expr, end: pl.Expr, low: pl.Expr, high: pl.Expr) -> pl.Expr:
    """Minutes of [start, end) within [low, high); all in minutes since 1970, local time."""
    return pl.max_horizontal(pl.lit(0, pl.Int64), pl.min_horizontal(end, high) - pl.max_horizontal(start, low))


def _night_minutes(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    # Nights are 20:00 to 06:00 local; a duty begins on one day, and ends on it or on one of the two days after.
    day = start // DAY_MINUTES * DAY_MINUTES
    nights = ((-240, 360), (1200, 1800), (2640, 3240))
    return pl.sum_horizontal(_within(start, end, day + low, day + high) for low, high in nights)


def _premium_minutes(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    # The first of January 1970 was a Thursday: a day is (day + 3) mod 7 days after a Monday.
    day = start // DAY_MINUTES
    monday = day - (day + 3) % 7
    return _night_minutes(start, end) + _within(start, end, (monday + 5) * DAY_MINUTES, (monday + 7) * DAY_MINUTES)


def _outages(known: Known, system: str) -> pl.DataFrame:
    """Outages in order, each with the end of the longest begun so far: one look back tells whether one runs."""
    end = col("ended_at").fill_null(pl.lit(known.day).cast(DTYPES["time"]))
    outages = known.tables["outages"].filter(col("system") == system).sort("started_at")
    return outages.select("site", "started_at", end=end).with_columns(reach=col("end").cum_max()).collect()


def _during(moment: pl.Expr, outages: pl.DataFrame) -> pl.Expr:
    """Say whether a moment lies in one of a few outages; one that is not known lies in none."""
    starts, reach = outages["started_at"], outages["reach"]
    # Before the first there is none: nothing reaches further than the empty value.
    reached = pl.lit(pl.concat([reach.clear(1), reach]))
    place = pl.lit(starts).search_sorted(moment, side="right")
    return (reached.gather(place) > moment).fill_null(value=False)


def _badge_outages(known: Known) -> pl.DataFrame:
    """As `_outages`, by site; one without a site is one of every site."""
    outages = _outages(known, "badge").drop("reach")
    sites = known.tables["sites"].select("site").collect()
    everywhere = outages.filter(col("site").is_null()).drop("site").join(sites, how="cross")
    there = pl.concat([outages.filter(col("site").is_in(sites["site"].implode())), everywhere.select(outages.columns)])
    return there.sort("started_at").select("site", "started_at", reach=col("end").cum_max().over("site"))


def _readers(known: Known) -> pl.Series:
    """Sites whose every door has a reader."""
    return known.tables["sites"].filter("badge_readers").select("site").collect()["site"]


def _watched(known: Known, duties: pl.DataFrame, badges: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the duties with ``watched``, and those that are, with ``present``, ``present_overtime``, ``present_gain``."""
    begun = badges["at"].min()
    duties = duties.with_row_index("row")
    # A badge is evidence only where every door has a reader, none was out, and readers had begun to record.
    could = duties.lazy().filter(
        "worked", "booked", col("site").is_in(_readers(known).implode()), col("start_at") >= pl.lit(begun, DTYPES["time"])
    ).select("row", "person", "site", "start_at", "end_at", "overtime", "own_amendment", "amended_minutes",
             "self_authorised").sort("end_at")  # fmt: skip
    could = could.join_asof(
        _badge_outages(known).lazy(), left_on="end_at", right_on="started_at", by="site",
        allow_exact_matches=False, check_sortedness=False,
    )  # fmt: skip
    if not known.sees_badges:
        could = could.clear()
    watched = could.filter((col("reach") > col("start_at")).fill_null(value=False).not_())
    # The last badge up to two hours after the end.
    latest = watched.with_columns(latest=col("end_at") + 2 * HOUR).join_asof(
        badges.lazy(), left_on="latest", right_on="at", by="person", check_sortedness=False
    )
    half = pl.duration(seconds=30 * col("overtime")), pl.duration(seconds=30 * col("amended_minutes"))
    presence = latest.with_columns(
        present=(col("at") >= col("start_at") - 2 * HOUR).fill_null(value=False),
        present_overtime=(col("at") >= col("end_at") - half[0]).fill_null(value=False),
        present_gain=(col("at") >= col("end_at") - half[1]).fill_null(value=False),
    ).collect()
    seen = np.zeros(duties.height, dtype=bool)
    seen[presence["row"].to_numpy()] = True
    return duties.with_columns(watched=pl.Series(seen)), presence


def _leave_days(known: Known, duties: pl.DataFrame, claimed: pl.LazyFrame) -> pl.DataFrame:
    off = known.tables["duties"].filter(col("duty_type").is_in(LEAVE))
    first, last = (
        known.local_minutes(col("planned_start")) // DAY_MINUTES,
        known.local_minutes(col("planned_end") - timedelta(seconds=1)) // DAY_MINUTES,
    )
    days = off.select("person", annual=col("duty_type") == "annual_leave", day=pl.int_ranges(first, last + 1))
    days = days.explode("day").drop_nulls("day").with_columns(_date(col("day")))
    worked = duties.lazy().filter("worked").select("person", day=_date(col("local_start") // DAY_MINUTES))
    return (
        days.join(claimed, on=["person", "day"], how="semi")
        .join(worked, on=["person", "day"], how="anti")
        .group_by("person", "day")
        .agg(col("annual").any())
        .collect()
    )


def _lookups(known: Known, duties: pl.DataFrame) -> pl.DataFrame:
    searches = (
        known.tables["lookups"]
        .select("person", "at", "case_ref", "case_linked_at", "subject_ref", "subject_vulnerable")
        .sort("at")
    )
    # Whether a duty runs at the search, an hour around it allowed: the end of the longest duty begun so far.
    spans = duties.lazy().filter("worked").select("person", begins=col("start_at") - HOUR, end=col("end_at") + HOUR)
    spans = spans.sort("begins").select("person", "begins", reach=col("end").cum_max().over("person"))
    running = searches.join_asof(spans, left_on="at", right_on="begins", by="person", check_sortedness=False)
    return running.select(
        "person",
        "at",
        "case_linked_at",
        "subject_ref",
        "subject_vulnerable",
        off_duty=(col("reach") >= col("at")).fill_null(value=False).not_(),
        caseless=col("case_ref").is_null() & ~_during(col("at"), _outages(known, "lookups")),
    ).collect()


def _claims(known: Known, claims: pl.DataFrame, leave_days: pl.DataFrame, badges: pl.DataFrame) -> pl.DataFrame:
    people = claims["person"].unique().implode()
    theirs = (
        badges.lazy()
        .filter(col("person").is_in(people))
        .select("person", "at", claim_date=_date(known.local_minutes(col("at")) // DAY_MINUTES))
    )
    hours = theirs.group_by("person", "claim_date").agg(
        badge_hours=(col("at").max() - col("at").min()).dt.total_microseconds() / 3_600_000_000
    )
    begun = pl.lit(badges["at"].min(), DTYPES["time"])
    placed = claims.lazy().with_columns(
        office=col("claimed_location") == "office",
        edge_of_week=col("claim_date").dt.weekday().is_in((1, 5)),
        day_start=known.instant_of(col("claim_date"), 6),
        day_end=known.instant_of(col("claim_date"), 20),
    )
    on_leave = leave_days.lazy().select("person", claim_date="day", on_leave="annual")
    joined = placed.join(on_leave, on=["person", "claim_date"], how="left").join(
        hours, on=["person", "claim_date"], how="left"
    )
    joined = joined.sort("day_end").join_asof(
        _badge_outages(known).lazy(),
        left_on="day_end",
        right_on="started_at",
        by="site",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    watched = col("site").is_in(_readers(known).implode()) & ~(col("reach") > col("day_start")).fill_null(value=False)
    return joined.with_columns(
        col("on_leave").fill_null(value=False),
        watched=(watched & (col("day_start") >= begun)).fill_null(value=False) & known.sees_badges,
        badged=col("badge_hours").is_not_null() & known.sees_badges,
        badge_hours=col("badge_hours").fill_null(0.0),
    ).collect()
