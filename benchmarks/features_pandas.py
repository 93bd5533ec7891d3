"""The same checks and features in pandas, as one would write them: what ``benchmarks.features`` compares with.

Rules this module keeps: whole-column operations only, no loop over rows; columns are narrowed before joins and sorts,
as somebody who cares about speed would; results equal those of `borough_node.features.extract`, which the benchmark
asserts in every run. The checks are those of ``custodes node check`` on Parquet, so without types and time zones.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from borough_node.sources.contract import TABLES, Table
from borough_node.sources.contract.cutoffs import LABELS, date_of, window_start
from borough_node.sources.contract.people import SENIOR_RANKS
from borough_node.sources.contract.work import WORKED_TYPES

ZONE = "Europe/London"
Frames = dict[str, pd.DataFrame]
UNUSED = {
    "duties": ("duty_id", "operation", "created_by", "booked_by", "swapped_with"),
    "access_events": ("site", "reader", "direction"),
    "lookups": ("lookup_id", "system"),
}
"""Columns of large tables that are checked and that no feature needs."""
HOUR, DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
MONEY = ("roster_or_overtime", "expenses_or_theft", "dishonesty")


def read(folder: Path) -> Frames:
    """Return every table; dates as timestamps without zone, so that they can be compared as columns."""
    frames = {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES if name != "sickness"}
    for name, frame in frames.items():
        for column in TABLES[name].columns:
            if column.kind == "date":
                frame[column.name] = pd.to_datetime(frame[column.name])
            elif column.kind == "time":
                frame[column.name] = frame[column.name].dt.tz_localize(None)
    return frames


def problems(frames: Frames, now: datetime) -> int:
    """Return how many rows break a rule."""
    staff, sites = set(frames["staff"]["staff_no"]), set(frames["sites"]["site"])
    moment, found = pd.Timestamp(now).tz_localize(None), 0
    for name, frame in frames.items():
        table = TABLES[name]
        for column in table.columns:
            values = frame[column.name]
            if not column.optional:
                found += int(values.isna().sum())
            if column.allowed:
                found += int((~values.isin(column.allowed) & values.notna()).sum())
            if column.low is not None:
                found += int((~values.between(column.low, column.high) & values.notna()).sum())
            if column.kind == "time":
                if not column.name.startswith("planned_"):
                    found += int((values > moment).sum())
                midnight = int((values == values.dt.floor("D")).sum())
                found += midnight if midnight > max(95, 0.95 * values.count()) else 0
            if column.name == "staff_no" and name != "staff":
                found += int((~values.isin(staff)).sum())
            if column.refers == "sites":
                found += int((~values.isin(sites) & values.notna()).sum())
        found += int(frame.duplicated(list(table.key)).sum())
        if table.windowed:
            days = frame[table.dated].dt.floor("D").value_counts()
            days.groupby(days.index.strftime("%Y-%m")).sum()
    return found + _row_problems(frames) + _overlaps(frames) + _skew(frames)


def _row_problems(frames: Frames) -> int:
    staff, postings, outages = frames["staff"], frames["postings"], frames["outages"]
    duties, expenses, lookups = frames["duties"], frames["expenses"], frames["lookups"]
    complaints, findings = frames["complaints"], frames["conduct_findings"]
    declarations, reports = frames["declarations"], frames["confidential_reports"]
    booked = duties["booked_start"].notna(), duties["booked_end"].notna()
    length = (duties["booked_end"] - duties["booked_start"]).dt.total_seconds() / 60
    entered, began = postings["recorded_at"], postings["valid_from"]
    half_year = [2 * moment.dt.year + (moment.dt.month > 6) for moment in (entered, began)]
    broken = [
        staff["service_end"] <= staff["service_start"],
        staff["service_end"].notna() & staff["service_end_recorded_at"].isna(),
        postings["valid_to"] <= postings["valid_from"],
        postings["valid_to"].notna() & postings["end_recorded_at"].isna(),
        (postings["kind"] == "home") & (half_year[0] > half_year[1]),
        outages["ended_at"] <= outages["started_at"],
        (duties["planned_end"] <= duties["planned_start"]) | (duties["booked_end"] <= duties["booked_start"]),
        (booked[0] | booked[1]) & duties["booked_at"].isna(),
        booked[0] != booked[1],
        (duties["overtime_minutes"] > 0) & duties["booked_at"].isna(),
        duties["amended_by"].isna() != duties["amended_at"].isna(),
        duties["authorised_by"].isna() != duties["authorised_at"].isna(),
        duties["swapped_with"].isna() != duties["swapped_at"].isna(),
        duties["overtime_minutes"] > length + 1,
        duties["planned_end"] > duties["planned_start"] + 48 * HOUR,
        expenses["incurred_on"] > expenses["submitted_at"] + DAY,
        expenses["approved_by"].isna() != expenses["approved_at"].isna(),
        lookups["case_linked_at"] < lookups["at"],
        lookups["case_linked_at"].notna() & lookups["case_ref"].isna(),
        complaints["outcome"].notna() & complaints["outcome_at"].isna(),
        complaints["outcome_at"] < complaints["received_at"],
        (findings["conduct_to"] < findings["conduct_from"]) | (findings["conduct_from"] > findings["found_at"]),
        declarations["decided_at"] < declarations["declared_at"],
        declarations["decision"].notna() & declarations["decided_at"].isna(),
        reports["assessment"].notna() & reports["assessed_at"].isna(),
        reports["assessed_at"] < reports["received_on"],
    ]
    return sum(int(rows.fillna(False).sum()) for rows in broken)


def _overlaps(frames: Frames) -> int:
    home = frames["postings"].query("kind == 'home'").sort_values(["staff_no", "valid_from"])
    found = home.groupby("staff_no")["valid_from"].shift(-1) < home["valid_to"].fillna(pd.Timestamp.max.floor("s"))
    duties = frames["duties"]
    worked = duties.loc[duties["duty_type"].isin(WORKED_TYPES), ["staff_no", "planned_start", "planned_end"]]
    worked = worked.sort_values(["staff_no", "planned_start"])
    both = worked.groupby("staff_no")["planned_start"].shift(-1) < worked["planned_end"]
    return int(found.sum()) + int(both.sum())


def _skew(frames: Frames) -> int:
    duties, events = frames["duties"], frames["access_events"]
    booked = duties.loc[duties["booked_start"].notna() & duties["site"].notna(), ["staff_no", "booked_start"]]
    few = booked.sample(min(5000, len(booked)), random_state=1)
    entries = events.loc[(events["direction"] == "in") & events["staff_no"].isin(few["staff_no"]), ["staff_no", "at"]]
    first = _asof(
        few.assign(begins=few["booked_start"] - 3 * HOUR), entries, "begins", "at", "staff_no", direction="forward"
    )
    gap = ((first["at"] - first["booked_start"]).dt.total_seconds() / 60).where(lambda minutes: minutes <= 180)
    return int(gap.count()) if abs(gap.median()) >= 48 else 0


def features(frames: Frames, cutoff: int, borough: str) -> pd.DataFrame:
    """Return all features and labels of the borough's members at a cutoff, by staff number."""
    day, start = pd.Timestamp(date_of(cutoff)), pd.Timestamp(window_start(cutoff))
    known = {
        name: _known(frame.drop(columns=list(UNUSED.get(name, ()))), TABLES[name], day, start)
        for name, frame in frames.items()
        if name != "conduct_findings"
    }
    members = _members(known["staff"], known["postings"], borough, day)
    duties = _duty_facts(known)
    leave = _leave_days(known)
    lookups = _lookup_facts(known, duties)
    claims = _claim_facts(known, leave)
    parts = [
        _roster(duties),
        _attendance(claims),
        _expenses(known["expenses"], leave),
        _lookups(lookups),
        _associations(known["declarations"], lookups),
        _conduct(known, frames["conduct_findings"], start),
        _workload(known, duties, members, day, start),
    ]
    result = members[[]].join(parts).astype("float64")
    findings = frames["conduct_findings"]
    about = findings[(findings["conduct_from"] < day) & (findings["conduct_to"] >= start)]
    for label, category in LABELS.items():
        result[label] = result.index.isin(about.loc[about["category"] == category, "staff_no"]).astype(float)
    return result.sort_index()


# --- as of the cutoff -------------------------------------------------------------------------------------------


def _known(frame: pd.DataFrame, table: Table, day: pd.Timestamp, start: pd.Timestamp) -> pd.DataFrame:
    rows = (frame[table.recorded] < day) & (frame[table.dated] < day)
    if table.windowed and table.name != "outages":
        rows &= frame[table.dated] >= start
    kept = frame[rows].copy()
    columns = [column for column in table.columns if column.name in kept]
    later = {name: kept[name] >= day for column in columns for name in column.known_from}
    for column in columns:
        for name in {*column.known_from} | ({column.name} & set(later)):
            kept[column.name] = kept[column.name].mask(later[name])
    return kept


def _members(staff: pd.DataFrame, postings: pd.DataFrame, borough: str, day: pd.Timestamp) -> pd.DataFrame:
    home = postings[(postings["kind"] == "home") & (postings["valid_from"] < day)]
    latest = home.sort_values(["valid_from", "recorded_at", "posting_id"]).groupby("staff_no").tail(1)
    here = latest[(latest["borough"] == borough) & ~(latest["valid_to"] < day)]
    serving = staff[~(staff["service_end"] < day) & (staff["service_start"] < day)]
    return serving.merge(here, on="staff_no", suffixes=("", "_posting")).set_index("staff_no")


def _minutes(local: pd.Series) -> pd.Series:
    return local.astype("datetime64[us]").astype("int64") // 60_000_000


def _local(moment: pd.Series) -> pd.Series:
    return moment.dt.tz_localize("UTC").dt.tz_convert(ZONE).dt.tz_localize(None)


def _within(start: pd.Series, end: pd.Series, low: pd.Series, high: pd.Series) -> pd.Series:
    return (np.minimum(end, high) - np.maximum(start, low)).clip(lower=0)


def _night(start: pd.Series, end: pd.Series) -> pd.Series:
    day = start // 1440 * 1440
    return sum(_within(start, end, day + low, day + high) for low, high in ((-240, 360), (1200, 1800), (2640, 3240)))


def _premium(start: pd.Series, end: pd.Series) -> pd.Series:
    day = start // 1440
    monday = day - (day + 3) % 7
    return _night(start, end) + _within(start, end, (monday + 5) * 1440, (monday + 7) * 1440)


def _reach(frame: pd.DataFrame, start: str, end: str, by: list[str]) -> pd.DataFrame:
    """Sort by start and add the end of the longest begun so far; sorts are stable, so that of equal starts the last has it."""
    ordered = frame.sort_values(start, kind="stable")
    ends = ordered.groupby(by)[end] if by else ordered[end]
    return ordered.assign(reach=ends.cummax())


def _outages(known: Frames, system: str) -> pd.DataFrame:
    outages = known["outages"]
    chosen = outages[outages["system"] == system].copy()
    chosen["ended_at"] = chosen["ended_at"].fillna(pd.Timestamp.max.floor("s"))
    return chosen[["site", "started_at", "ended_at"]]


def _badge_outages(known: Frames) -> pd.DataFrame:
    outages = _outages(known, "badge")
    everywhere = outages[outages["site"].isna()].drop(columns="site").merge(known["sites"][["site"]], how="cross")
    return _reach(pd.concat([outages.dropna(subset="site"), everywhere]), "started_at", "ended_at", ["site"])[
        ["site", "started_at", "reach"]
    ]


def _asof(
    left: pd.DataFrame,
    right: pd.DataFrame,
    left_on: str,
    right_on: str,
    by: str | None,
    *,
    exact: bool = True,
    direction: str = "backward",
) -> pd.DataFrame:
    """The last row of ``right`` before each row of ``left`` (or the first after it), in the order of ``left``."""
    ordered = left.reset_index(names="place").sort_values(left_on)
    for frame, name in ((ordered, left_on), (right := right.copy(), right_on)):
        frame[name] = frame[name].astype("datetime64[us]")
    if by is not None:
        right[by] = right[by].astype(ordered[by].dtype)
    found = pd.merge_asof(
        ordered,
        right.sort_values(right_on, kind="stable"),
        left_on=left_on,
        right_on=right_on,
        by=by,
        allow_exact_matches=exact,
        direction=direction,
    )
    return found.set_index("place").reindex(left.index)


# --- facts ------------------------------------------------------------------------------------------------------


def _duty_facts(known: Frames) -> pd.DataFrame:
    duties = known["duties"].reset_index(drop=True)
    duties["start_at"] = duties["booked_start"].fillna(duties["planned_start"])
    duties["end_at"] = duties["booked_end"].fillna(duties["planned_end"])
    duties["worked"] = duties["duty_type"].isin(WORKED_TYPES)
    duties["overtime"] = duties["overtime_minutes"].fillna(0).astype("int64")
    duties["own_amendment"] = (duties["amended_by"] == duties["staff_no"]) & (duties["amended_at"] > duties["end_at"])
    planned = _minutes(_local(duties["planned_start"]))
    shifts = {
        name: planned + (duties[name] - duties["planned_start"]).dt.total_seconds() // 60
        for name in ("planned_end", "start_at", "end_at")
    }
    duties["night"] = _night(shifts["start_at"], shifts["end_at"]) >= 180
    swaps = duties.index[duties["swapped_at"].notna()]
    planned_end, start, end = (shifts[name][swaps] for name in ("planned_end", "start_at", "end_at"))
    duties["premium_gain"] = 0
    duties.loc[swaps, "premium_gain"] = _premium(start, end) - _premium(planned[swaps], planned_end)
    readers = known["sites"].set_index("site")["badge_readers"]
    outages = _asof(
        duties[["site", "end_at"]].dropna(), _badge_outages(known), "end_at", "started_at", "site", exact=False
    )
    out = (outages["reach"] > duties["start_at"].reindex(outages.index)).reindex(duties.index, fill_value=False)
    begun = known["access_events"]["at"].min()
    has_readers = duties["site"].map(readers).eq(True)
    duties["watched"] = (
        duties["worked"] & duties["booked_end"].notna() & has_readers & ~out & (duties["start_at"] >= begun)
    )
    latest = duties[["staff_no"]].assign(latest=duties["end_at"] + 2 * HOUR)
    badge = _asof(latest, known["access_events"][["staff_no", "at"]], "latest", "at", "staff_no")["at"]
    duties["present"] = badge >= duties["start_at"] - 2 * HOUR
    added = pd.to_timedelta(duties["amended_minutes"].fillna(0) * 30, unit="s")
    duties["present_gain"] = badge >= duties["end_at"] - added
    duties["present_overtime"] = badge >= duties["end_at"] - pd.to_timedelta(duties["overtime"] * 30, unit="s")
    return duties


def _leave_days(known: Frames) -> pd.DataFrame:
    duties = known["duties"]
    off = duties[duties["duty_type"].isin(("annual_leave", "rest_day"))]
    first = _local(off["planned_start"]).dt.floor("D")
    last = _local(off["planned_end"] - pd.Timedelta(seconds=1)).dt.floor("D")
    days = pd.DataFrame({"staff_no": off["staff_no"], "annual": off["duty_type"] == "annual_leave", "day": first})
    days = days.loc[days.index.repeat((last - first).dt.days + 1)]
    days["day"] += pd.to_timedelta(days.groupby(level=0).cumcount(), unit="D")
    days["day"] = days["day"].astype("datetime64[us]")
    asked = (("attendance_claims", "claim_date"), ("expenses", "incurred_on"))
    claimed = pd.concat([known[name][["staff_no", day]].rename(columns={day: "day"}) for name, day in asked])
    claimed["day"] = claimed["day"].astype("datetime64[us]")
    days = days.merge(claimed.drop_duplicates(), on=["staff_no", "day"])
    leave = days.groupby(["staff_no", "day"], as_index=False)["annual"].any()
    work = duties[duties["duty_type"].isin(WORKED_TYPES)]
    worked = pd.DataFrame({"staff_no": work["staff_no"], "day": _local(work["planned_start"]).dt.floor("D")})
    worked["day"] = worked["day"].astype("datetime64[us]")
    both = leave.merge(worked.drop_duplicates(), how="left", on=["staff_no", "day"], indicator=True)
    return both.loc[both["_merge"] == "left_only", ["staff_no", "day", "annual"]]


def _lookup_facts(known: Frames, duties: pd.DataFrame) -> pd.DataFrame:
    lookups = known["lookups"].reset_index(drop=True)
    spans = duties.loc[duties["worked"], ["staff_no", "start_at", "end_at"]].copy()
    spans["begins"], spans["end_at"] = spans["start_at"] - HOUR, spans["end_at"] + HOUR
    spans = _reach(spans, "begins", "end_at", ["staff_no"])[["staff_no", "begins", "reach"]]
    running = _asof(lookups[["staff_no", "at"]], spans, "at", "begins", "staff_no")["reach"]
    lookups["off_duty"] = ~(running >= lookups["at"])
    outages = _reach(_outages(known, "lookups"), "started_at", "ended_at", [])[["started_at", "reach"]]
    out = _asof(lookups[["at"]], outages, "at", "started_at", None)["reach"] > lookups["at"]
    lookups["caseless"] = lookups["case_ref"].isna() & ~out
    return lookups


def _claim_facts(known: Frames, leave: pd.DataFrame) -> pd.DataFrame:
    claims = known["attendance_claims"].reset_index(drop=True)
    claims["day"] = claims["claim_date"].astype("datetime64[us]")
    claims = claims.merge(leave, how="left", on=["staff_no", "day"])
    claims["on_leave"] = claims["annual"].eq(True)
    events = known["access_events"]
    theirs = events.loc[events["staff_no"].isin(claims["staff_no"].unique()), ["staff_no", "at"]]
    theirs = theirs.assign(day=_local(theirs["at"]).dt.floor("D").astype("datetime64[us]"))
    badges = theirs.groupby(["staff_no", "day"])["at"].agg(["min", "max"])
    badges["badge_hours"] = (badges["max"] - badges["min"]).dt.total_seconds() / 3600
    claims = claims.merge(badges[["badge_hours"]].reset_index(), how="left", on=["staff_no", "day"])
    claims["badged"] = claims["badge_hours"].notna()
    claims["office"] = claims["claimed_location"] == "office"
    instants = {
        hour: (claims["day"] + hour * HOUR).dt.tz_localize(ZONE).dt.tz_convert("UTC").dt.tz_localize(None)
        for hour in (6, 20)
    }
    placed = claims[["site"]].assign(day_end=instants[20]).dropna()
    outages = _asof(placed, _badge_outages(known), "day_end", "started_at", "site", exact=False)["reach"]
    out = (outages > instants[6].reindex(outages.index)).reindex(claims.index, fill_value=False)
    readers = known["sites"].set_index("site")["badge_readers"]
    claims["watched"] = claims["site"].map(readers).eq(True) & ~out & (instants[6] >= events["at"].min())
    return claims


# --- features ---------------------------------------------------------------------------------------------------


class _Counter:
    """Counts and sums by person."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame, self.columns = frame, {}
        self.rows = frame.groupby("staff_no").size()

    def count(self, name: str, condition: pd.Series) -> None:
        chosen = self.frame.loc[condition.fillna(False).astype(bool), "staff_no"]
        self.columns[name] = chosen.value_counts().reindex(self.rows.index, fill_value=0)

    def sum(self, name: str, values: pd.Series) -> None:
        self.columns[name] = values.groupby(self.frame["staff_no"]).sum().reindex(self.rows.index, fill_value=0)

    def __getitem__(self, name: str) -> pd.Series:
        return self.columns[name]

    def set(self, name: str, values: pd.Series) -> None:
        self.columns[name] = values

    def table(self, *hidden: str) -> pd.DataFrame:
        return pd.DataFrame(self.columns, index=self.rows.index).drop(columns=list(hidden))


def _roster(duties: pd.DataFrame) -> pd.DataFrame:
    work = duties[duties["worked"]]
    of = _Counter(work)
    own, minutes = work["own_amendment"], work["amended_minutes"]
    overtime, mine = work["overtime"] > 0, work["authorised_by"] == work["staff_no"]
    swapped, gained = work["swapped_at"].notna(), work["premium_gain"] > 0
    unseen = work["watched"] & ~work["present_overtime"]
    of.count("own_amendments", own)
    of.count("own_amendments_gaining", own & (minutes > 0))
    of.sum("own_amendment_hours", minutes.where(own & (minutes > 0), 0).fillna(0) / 60)
    of.count("own_amendments_late", own & ((work["amended_at"] - work["end_at"]) > 7 * DAY))
    of.set("own_amendment_share", of["own_amendments"] / (of.rows + 10.0))
    of.count("amendments_by_others", work["amended_by"].notna() & (work["amended_by"] != work["staff_no"]))
    of.count("self_authorised_overtime", overtime & mine)
    of.sum("self_authorised_hours", work["overtime"].where(mine.fillna(False), 0) / 60)
    of.count("unauthorised_overtime", overtime & work["authorised_by"].isna())
    of.count("overtime_authorised_late", overtime & (work["authorised_at"] > work["end_at"] + 3 * DAY))
    of.count("overtime_without_presence", overtime & unseen)
    of.sum("overtime_hours_without_presence", work["overtime"].where(unseen, 0) / 60)
    of.count("duties_without_presence", work["watched"] & ~work["present"])
    of.count("own_gains_unseen", own & (minutes > 0) & work["watched"] & ~work["present_gain"])
    of.count("self_authorised_unseen", overtime & mine & unseen)
    of.count("watched_overtime", overtime & work["watched"])
    of.count("watched", work["watched"])
    ordinary = of["duties_without_presence"] / (of["watched"] + 20.0)
    of.set("overtime_unseen_excess", of["overtime_without_presence"] / (of["watched_overtime"] + 5.0) - ordinary)
    of.count("swaps_gaining_premium", swapped & gained)
    of.sum("swap_premium_hours", work["premium_gain"].where(swapped, 0))
    of.set("swap_premium_hours", of["swap_premium_hours"].clip(lower=0) / 60)
    of.count("swaps", swapped)
    of.set("swap_gain_share", (of["swaps_gaining_premium"] + 1.0) / (of["swaps"] + 3.0))
    of.count("swaps_short_notice", swapped & (work["swapped_at"] > work["planned_start"] - DAY))
    of.count("overtime_duties", overtime)
    of.sum("overtime_hours", work["overtime"] / 60)
    authorised = duties[(duties["overtime"] > 0) & (duties["authorised_by"] != duties["staff_no"])]
    authorised = authorised.dropna(subset="authorised_by")[["staff_no", "authorised_by"]]
    back = authorised.drop_duplicates().rename(columns={"staff_no": "authorised_by", "authorised_by": "staff_no"})
    pairs = authorised.merge(back, on=["staff_no", "authorised_by"])["staff_no"].value_counts()
    return of.table("watched", "watched_overtime").join(pairs.rename("reciprocal_authorisations"), how="outer")


def _attendance(claims: pd.DataFrame) -> pd.DataFrame:
    of = _Counter(claims)
    office, leave, watched, badged = claims["office"], claims["on_leave"], claims["watched"], claims["badged"]
    unbadged = office & watched & ~badged & ~leave
    of.count("unbadged_office_claims", unbadged)
    of.count("could", office & watched & ~leave)
    of.count("shown", office & ~leave & (badged | ~watched))
    of.count("working", claims["claimed_location"].isin(("office", "home")) & ~leave)
    of.count("claimed", office & ~leave)
    of.set("unbadged_office_share", of["unbadged_office_claims"] / (of["could"] + 5.0))
    due = claims.groupby("staff_no")["policy_office_share"].max()
    of.set("office_shortfall", (due - of["shown"] / (of["working"] + 5.0)).clip(lower=0))
    of.set("claimed_office_share", of["claimed"] / (of["working"] + 5.0))
    of.count("unbadged_edge_days", unbadged & claims["claim_date"].dt.day_of_week.isin((0, 4)))
    of.count("short_office_days", office & watched & badged & ~leave & (claims["badge_hours"] < 4))
    of.count("office_claims_on_leave", office & leave)
    of.count("attendance_claims_late", office & (claims["entered_at"] > claims["claim_date"] + 7 * DAY))
    of.count("attendance_claims_amended", claims["amended_at"].notna())
    of.count("attendance_claims_by_others", claims["entered_by"] != claims["staff_no"])
    of.count("office_days_unwatched", office & ~watched)
    of.count("home_days", claims["claimed_location"] == "home")
    of.count("off_site_duty_days", claims["claimed_location"] == "off_site_duty")
    return of.table("could", "shown", "working", "claimed")


def _expenses(expenses: pd.DataFrame, leave: pd.DataFrame) -> pd.DataFrame:
    frame = expenses.sort_values(["incurred_on", "expense_id"]).reset_index(drop=True)
    frame["day"] = frame["incurred_on"].astype("datetime64[us]")
    frame = frame.merge(leave, how="left", on=["staff_no", "day"])
    of = _Counter(frame)
    amount, mileage = frame["amount_pence"], frame["category"] == "mileage"
    gap = frame["incurred_on"] - frame.groupby(["staff_no", "category", "amount_pence"])["incurred_on"].shift()
    of.count("duplicate_expenses", frame.duplicated(["staff_no", "incurred_on", "category", "amount_pence"]))
    of.count("repeated_expenses", gap.between(DAY, 7 * DAY) & (amount >= 1000) & ~mileage)
    of.count("round_sum_expenses", amount % 500 == 0)
    of.count("below_limit_expenses", (amount <= frame["limit_pence"]) & (amount >= 0.95 * frame["limit_pence"]))
    of.count("expenses_on_leave", frame["annual"].notna())
    of.count("expenses_without_receipt", ~frame["receipt"] & ~mileage)
    of.count("self_approved_expenses", frame["approved_by"] == frame["staff_no"])
    of.count("expenses_late", frame["submitted_at"] > frame["incurred_on"] + 60 * DAY)
    of.set("expense_items", of.rows)
    of.sum("expense_pounds", amount / 100)
    return of.table()


def _lookups(lookups: pd.DataFrame) -> pd.DataFrame:
    of = _Counter(lookups)
    caseless, off, vulnerable = lookups["caseless"], lookups["off_duty"], lookups["subject_vulnerable"]
    of.count("lookups_without_case", caseless)
    of.set("lookups_without_case_share", of["lookups_without_case"] / (of.rows + 20.0))
    of.count("off_duty_lookups", off)
    of.count("off_duty_lookups_without_case", off & caseless)
    of.count("vulnerable_lookups_without_case", caseless & vulnerable)
    of.count("off_duty_vulnerable_lookups", off & vulnerable)
    of.count("lookups_linked_late", lookups["case_linked_at"] > lookups["at"] + 3 * DAY)
    of.count("vulnerable_lookups", vulnerable)
    of.set("lookups", of.rows)
    cases = lookups[caseless & lookups["subject_ref"].notna()]
    monday = cases["at"].dt.floor("D") - pd.to_timedelta(cases["at"].dt.day_of_week, unit="D")
    groups = cases.assign(week=monday).groupby(["staff_no", "subject_ref"])
    one = groups.agg(times=("at", "size"), weeks=("week", "nunique"), vulnerable=("subject_vulnerable", "any"))
    by_person = one.groupby(level=0)
    return of.table().join(
        pd.DataFrame(
            {
                "repeat_lookups_one_subject": by_person["times"].max(),
                "repeat_lookups_vulnerable": one["times"].where(one["vulnerable"], 0).groupby(level=0).max(),
                "subject_weeks": by_person["weeks"].max(),
                "subjects_repeated": (one["times"] >= 3).groupby(level=0).sum(),
            }
        )
    )


def _associations(declarations: pd.DataFrame, lookups: pd.DataFrame) -> pd.DataFrame:
    searched = lookups.dropna(subset="subject_ref")
    associates = declarations.loc[declarations["kind"] == "association", ["staff_no", "subject_ref"]].dropna()
    known = searched.merge(associates.drop_duplicates(), on=["staff_no", "subject_ref"])
    found = known.groupby(["staff_no", "subject_ref"]).agg(searches=("caseless", "sum"), first_search=("at", "min"))
    frame = declarations.merge(found.reset_index(), how="left", on=["staff_no", "subject_ref"])
    frame.loc[frame["kind"] != "association", ["searches", "first_search"]] = None
    of = _Counter(frame)
    of.set("declarations", of.rows)
    of.count("declared_associations", frame["kind"] == "association")
    of.count("refused_interests", frame["decision"] == "refused")
    of.count("late_declarations", frame["since"] < frame["declared_at"] - 90 * DAY)
    of.count("gifts_declared", frame["kind"] == "gift")
    of.sum("associates_searched", frame["searches"].fillna(0).astype("int64"))
    of.count("searched_before_declared", frame["first_search"] < frame["declared_at"])
    strangers = searched[searched["caseless"] & ~searched["subject_vulnerable"]]
    declared = declarations[["staff_no", "subject_ref"]].dropna().drop_duplicates()
    strangers = strangers.merge(declared, how="left", on=["staff_no", "subject_ref"], indicator=True)
    strangers = strangers[strangers["_merge"] == "left_only"]
    groups = strangers.assign(month=strangers["at"].dt.strftime("%Y-%m")).groupby(["staff_no", "subject_ref"])
    one = groups.agg(times=("at", "size"), months=("month", "nunique")).groupby(level=0).max()
    one = one.rename(columns={"times": "undeclared_subject_lookups", "months": "undeclared_subject_months"})
    return of.table().join(one, how="outer")


def _conduct(known: Frames, findings: pd.DataFrame, start: pd.Timestamp) -> pd.DataFrame:
    complaints = known["complaints"]
    of = _Counter(complaints)
    of.set("complaints", of.rows)
    of.count("complaints_internal", complaints["source"] == "internal")
    of.count("complaints_money", complaints["allegation"].isin(MONEY))
    for name, allegation in (
        ("complaints_attendance", "attendance"),
        ("complaints_sexual", "sexual_conduct"),
        ("complaints_data", "data_misuse"),
        ("complaints_association", "undeclared_association"),
    ):
        of.count(name, complaints["allegation"] == allegation)
    of.count("complaints_upheld", complaints["outcome"].isin(("learning", "referred_to_misconduct")))
    earlier = findings[findings["found_at"] < start]
    before = _Counter(earlier)
    before.set("findings_before", before.rows)
    grave = earlier["outcome"].isin(("final_written_warning", "reduction_in_rank"))
    before.count("grave_findings_before", (earlier["level"] == "gross_misconduct") | grave)
    reports = known["confidential_reports"]
    reports = reports[reports["assessment"].fillna("") != "no_substance"]
    told = _Counter(reports)
    told.set("confidential_reports", told.rows)
    told.count("reports_money", reports["theme"].isin((*MONEY, "attendance")))
    told.count("reports_sexual", reports["theme"] == "sexual_conduct")
    told.count("reports_association", reports["theme"] == "undeclared_association")
    return pd.concat([of.table(), before.table(), told.table()], axis=1)


def _workload(
    known: Frames, duties: pd.DataFrame, members: pd.DataFrame, day: pd.Timestamp, start: pd.Timestamp
) -> pd.DataFrame:
    of = _Counter(duties)
    worked, kind = duties["worked"], duties["duty_type"]
    outages = _reach(_outages(known, "duty"), "started_at", "ended_at", [])[["started_at", "reach"]]
    booked = duties[["booked_at"]].dropna()
    reach = _asof(booked, outages, "booked_at", "started_at", None)["reach"]
    of.count("duties", worked)
    of.count("mutual_aid_duties", kind == "mutual_aid")
    of.count("major_incident_duties", kind == "major_incident")
    of.count("rest_days_worked", kind == "rest_day_worked")
    of.count("night_duties", worked & duties["night"])
    of.count("duties_booked_in_outage", worked & (reach.reindex(duties.index) > duties["booked_at"]))
    of.count("duties_unwatched", worked & duties["booked_end"].notna() & ~duties["watched"])
    away = known["postings"].query("kind == 'secondment'")
    away = away[(away["valid_from"] < day) & ~(away["valid_to"] <= start)]
    days = (away["valid_to"].fillna(day).clip(upper=day) - away["valid_from"].clip(lower=start)).dt.days
    seconded = days.groupby(away["staff_no"]).sum().rename("seconded_days")
    searching = ("investigation", "intelligence", "control_room", "custody")
    post = pd.DataFrame(
        {
            "senior_grade": members["rank"].isin(SENIOR_RANKS),
            "supervisor": members["rank"].isin(("sergeant", "inspector")),
            "rotating_shifts": members["shift_pattern"].isin(("rotating", "nights")),
            "public_protection": members["role"] == "public_protection",
            "searching_post": members["role"].isin(searching),
            "tenure_years": (day - members["service_start"]).dt.days / 365.25,
            "years_in_post": (day - members["valid_from"]).dt.days / 365.25,
            "vetting_age_years": (day - members["vetting_renewed_on"]).dt.days / 365.25,
        }
    )
    return post.join([of.table(), seconded], how="left")
