"""Roster manipulation: own entries changed afterwards, overtime that nobody else saw, swaps that always pay.

Sources of the indicators: the duty system's own audit columns; presence only where a badge could have been read.
"""

from __future__ import annotations

import polars as pl
from polars import col

from borough_node.features.events import Facts
from borough_node.features.indicator import COUNT, LARGE, SHARE, Indicator, Subject, counted, rows, summed, workload


def _pairs(facts: Facts) -> pl.LazyFrame:
    """Overtime whose authoriser was authorised by the same person, within the window."""
    overtime = facts.known.tables["duties"].filter(col("overtime_minutes") > 0, col("authorised_by") != col("staff_no"))
    authorised = overtime.select("person", "staff_no", "authorised_by")
    back = ["authorised_by", "staff_no"]
    return authorised.join(authorised, left_on=["staff_no", "authorised_by"], right_on=back, how="semi")


_GAINED = col("own_amendment") & (col("amended_minutes") > 0)
_OVERTIME = col("overtime") > 0
_UNSEEN = _OVERTIME & ~col("present_overtime")
_PAYING_SWAP = col("swapped") & (col("premium_gain") > 0)

AMENDMENTS = Subject(
    name="roster",
    sensitivity="personal",
    legal_note="Duty-management record, kept for pay and working time. Using it for standards needs its own recorded "
    "purpose and a notice to staff.",
    rows=lambda facts: facts.duties.lazy().filter("worked"),
    indicators=(
        Indicator(
            name="own_amendments",
            value=counted(col("own_amendment")),
            definition="Booked duties that the person changed after they had ended.",
            unit="duties",
            reason="You changed entries of your own duties after they had ended.",
        ),
        Indicator(
            name="own_amendments_gaining",
            value=counted(_GAINED),
            definition="Of these, changes that lengthened the paid time.",
            unit="duties",
            # Given the hours that they added, many small changes are late paperwork and few large ones are not.
            direction=0,
            reason="The number of your own later changes that lengthened the paid time was taken into account.",
        ),
        Indicator(
            name="own_amendment_hours",
            value=summed("amended_minutes", _GAINED) / 60,
            definition="Hours of paid time that the person's own later changes added.",
            unit="hours",
            reason="Changes that you made to your own duties afterwards added paid hours.",
        ),
        Indicator(
            name="own_amendments_late",
            value=counted(col("own_amendment") & col("amended_late")),
            definition="Own changes made more than seven days after the duty.",
            unit="duties",
            reason="You changed entries of your own duties more than a week afterwards.",
        ),
        Indicator(
            name="own_amendment_share",
            value=counted(col("own_amendment")) / (rows() + 10.0),
            definition="Own later changes for each duty worked, ten duties added so that few duties do not mislead.",
            unit="share",
            transform=SHARE,
            reason="A large share of your duties was changed by yourself afterwards.",
        ),
        Indicator(
            name="amendments_by_others",
            value=counted(col("others_amendment")),
            definition="Booked duties that somebody else changed.",
            unit="duties",
            direction=0,
            reason="Corrections of your duties by others were taken into account.",
        ),
        Indicator(
            name="self_authorised_overtime",
            value=counted(_OVERTIME & col("self_authorised")),
            definition="Overtime that the person authorised for themselves.",
            unit="duties",
            reason="You authorised your own overtime.",
        ),
        Indicator(
            name="self_authorised_hours",
            value=summed("overtime", col("self_authorised")) / 60,
            definition="Hours of that overtime.",
            unit="hours",
            transform=LARGE,
            reason="You authorised hours of your own overtime.",
        ),
        Indicator(
            name="unauthorised_overtime",
            value=counted(_OVERTIME & ~col("authorised")),
            definition="Overtime that nobody had authorised by the cutoff.",
            unit="duties",
            reason="Overtime was booked that nobody authorised.",
        ),
        Indicator(
            name="overtime_authorised_late",
            value=counted(_OVERTIME & col("authorised_late")),
            definition="Overtime authorised more than three days after it was worked.",
            unit="duties",
            reason="Overtime was authorised only days after it was worked.",
        ),
        Indicator(
            name="swaps_gaining_premium",
            value=counted(_PAYING_SWAP),
            definition="Swapped duties that brought more night and weekend minutes than planned.",
            unit="duties",
            reason="Swaps of duty moved you into better paid hours.",
        ),
        Indicator(
            name="swap_premium_hours",
            value=summed("premium_gain", col("swapped")).clip(lower_bound=0) / 60,
            definition="Night and weekend hours that all swaps together gained.",
            unit="hours",
            reason="All your swaps together gained better paid hours.",
        ),
        Indicator(
            name="swap_gain_share",
            value=(counted(_PAYING_SWAP) + 1.0) / (counted(col("swapped")) + 3.0),
            definition="Share of swaps that gained, with one in three added.",
            unit="share",
            transform=SHARE,
            reason="Nearly all your swaps moved you into better paid hours.",
            default=1 / 3,
        ),
        Indicator(
            name="swaps_short_notice",
            value=counted(col("swapped_shortly")),
            definition="Swaps entered less than a day before the planned start, or after it.",
            unit="duties",
            reason="Swaps were entered at short notice or afterwards.",
        ),
        Indicator(
            name="swaps",
            value=counted(col("swapped")),
            definition="Duties swapped with a colleague.",
            unit="duties",
            direction=0,
            reason="The number of your swaps was taken into account.",
        ),
        workload(
            "overtime_duties",
            counted(_OVERTIME),
            "Duties with overtime.",
            "duties",
            center=10.0,
            scale=10.0,
            reason="How often you worked overtime was taken into account.",
        ),
        workload(
            "overtime_hours",
            col("overtime").sum() / 60,
            "Hours of overtime.",
            "hours",
            center=25.0,
            scale=20.0,
            reason="How much overtime you worked was taken into account.",
        ),
    ),
)

PRESENCE = Subject(
    name="presence",
    sensitivity="personal",
    legal_note="Duty records beside badge logs, which protect premises: comparing the two needs its own recorded purpose and "
    "a notice to staff.",
    rows=lambda facts: facts.presence.lazy(),
    indicators=(
        Indicator(
            name="own_gains_unseen",
            value=counted(_GAINED & ~col("present_gain")),
            definition="Own later changes that lengthened the paid time, with no badge from the middle of the added time "
            "on.",
            unit="duties",
            reason="Time that you added to your own duties afterwards is not shown by any badge.",
        ),
        Indicator(
            name="self_authorised_unseen",
            value=counted(_UNSEEN & col("self_authorised")),
            definition="Overtime that the person authorised for themselves and that no badge shows.",
            unit="duties",
            reason="Overtime that you authorised for yourself is not shown by any badge.",
        ),
        Indicator(
            name="overtime_unseen_excess",
            value=counted(_UNSEEN) / (counted(_OVERTIME) + 5.0) - counted(~col("present")) / (rows() + 20.0),
            definition="Share of overtime that no badge shows, less the share of all duties that no badge shows: who often "
            "passes a door without reading the badge is compared with themselves. Five overtimes and 20 duties are added.",
            unit="share",
            transform=SHARE,
            reason="Badges are missing for your overtime more often than for your other duties.",
        ),
        Indicator(
            name="overtime_without_presence",
            value=counted(_UNSEEN),
            definition="Overtime at a site whose every door has a reader, with no badge from the middle of the overtime "
            "to two hours after it; outages excused.",
            unit="duties",
            reason="For some overtime no badge shows that you were there.",
        ),
        Indicator(
            name="overtime_hours_without_presence",
            value=summed("overtime", ~col("present_overtime")) / 60,
            definition="Hours of that overtime.",
            unit="hours",
            reason="For hours of overtime no badge shows that you were there.",
        ),
        Indicator(
            name="duties_without_presence",
            value=counted(~col("present")),
            definition="Booked duties at such a site with no badge at all from two hours before to two hours after.",
            unit="duties",
            reason="For some booked duties no badge shows that you were there.",
        ),
    ),
)

PAIRS = Subject(
    name="pairs",
    sensitivity="personal",
    legal_note=AMENDMENTS.legal_note,
    rows=_pairs,
    indicators=(
        Indicator(
            name="reciprocal_authorisations",
            value=rows(),
            definition="Overtime authorised by a colleague whose own overtime the person authorised in the same window.",
            unit="duties",
            transform=COUNT,
            reason="You and a colleague authorised each other's overtime.",
        ),
    ),
)

SUBJECTS = (AMENDMENTS, PRESENCE, PAIRS)
