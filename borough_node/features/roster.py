"""Roster manipulation: own entries changed afterwards, overtime that nobody else saw, swaps that always pay.

Sources of the indicators: the duty system's own audit columns; presence only where a badge could have been read.
"""

from __future__ import annotations

from borough_node.features.indicator import COUNT, LARGE, SHARE, Indicator, Subject, counted, workload

_PAIRS = (
    # Whose overtime a person authorised, and who authorised theirs, both ways within the window.
    "WITH authorised AS (SELECT person, staff_no, authorised_by FROM duties_known"
    " WHERE overtime_minutes > 0 AND authorised_by <> staff_no)"
    " SELECT a.person, count(*) AS reciprocal FROM authorised AS a"
    " SEMI JOIN authorised AS b ON b.staff_no = a.authorised_by AND b.authorised_by = a.staff_no GROUP BY a.person"
)

AMENDMENTS = Subject(
    name="roster",
    sensitivity="personal",
    legal_note="Duty-management record, kept for pay and working time. Using it for standards needs its own recorded "
    "purpose and a notice to staff.",
    rows="SELECT * FROM duty_facts WHERE worked",
    indicators=(
        Indicator(
            name="own_amendments",
            sql=counted("own_amendment"),
            definition="Booked duties that the person changed after they had ended.",
            unit="duties",
            reason="You changed entries of your own duties after they had ended.",
        ),
        Indicator(
            name="own_amendments_gaining",
            sql=counted("own_amendment AND amended_minutes > 0"),
            definition="Of these, changes that lengthened the paid time.",
            unit="duties",
            # Given the hours that they added, many small changes are late paperwork and few large ones are not.
            direction=0,
            reason="The number of your own later changes that lengthened the paid time was taken into account.",
        ),
        Indicator(
            name="own_amendment_hours",
            sql="coalesce(sum(amended_minutes) FILTER (own_amendment AND amended_minutes > 0), 0) / 60",
            definition="Hours of paid time that the person's own later changes added.",
            unit="hours",
            reason="Changes that you made to your own duties afterwards added paid hours.",
        ),
        Indicator(
            name="own_amendments_late",
            sql=counted("own_amendment AND amended_late"),
            definition="Own changes made more than seven days after the duty.",
            unit="duties",
            reason="You changed entries of your own duties more than a week afterwards.",
        ),
        Indicator(
            name="own_amendment_share",
            sql=f"{counted('own_amendment')} / (count(*) + 10.0)",
            definition="Own later changes for each duty worked, ten duties added so that few duties do not mislead.",
            unit="share",
            transform=SHARE,
            reason="A large share of your duties was changed by yourself afterwards.",
        ),
        Indicator(
            name="amendments_by_others",
            sql=counted("others_amendment"),
            definition="Booked duties that somebody else changed.",
            unit="duties",
            direction=0,
            reason="Corrections of your duties by others were taken into account.",
        ),
        Indicator(
            name="self_authorised_overtime",
            sql=counted("overtime > 0 AND self_authorised"),
            definition="Overtime that the person authorised for themselves.",
            unit="duties",
            reason="You authorised your own overtime.",
        ),
        Indicator(
            name="self_authorised_hours",
            sql="coalesce(sum(overtime) FILTER (self_authorised), 0) / 60",
            definition="Hours of that overtime.",
            unit="hours",
            transform=LARGE,
            reason="You authorised hours of your own overtime.",
        ),
        Indicator(
            name="unauthorised_overtime",
            sql=counted("overtime > 0 AND NOT authorised"),
            definition="Overtime that nobody had authorised by the cutoff.",
            unit="duties",
            reason="Overtime was booked that nobody authorised.",
        ),
        Indicator(
            name="overtime_authorised_late",
            sql=counted("overtime > 0 AND authorised_late"),
            definition="Overtime authorised more than three days after it was worked.",
            unit="duties",
            reason="Overtime was authorised only days after it was worked.",
        ),
        Indicator(
            name="swaps_gaining_premium",
            sql=counted("swapped AND premium_gain > 0"),
            definition="Swapped duties that brought more night and weekend minutes than planned.",
            unit="duties",
            reason="Swaps of duty moved you into better paid hours.",
        ),
        Indicator(
            name="swap_premium_hours",
            sql="greatest(coalesce(sum(premium_gain) FILTER (swapped), 0), 0) / 60",
            definition="Night and weekend hours that all swaps together gained.",
            unit="hours",
            reason="All your swaps together gained better paid hours.",
        ),
        Indicator(
            name="swap_gain_share",
            sql=f"({counted('swapped AND premium_gain > 0')} + 1.0) / ({counted('swapped')} + 3.0)",
            definition="Share of swaps that gained, with one in three added.",
            unit="share",
            transform=SHARE,
            reason="Nearly all your swaps moved you into better paid hours.",
            default=1 / 3,
        ),
        Indicator(
            name="swaps_short_notice",
            sql=counted("swapped_shortly"),
            definition="Swaps entered less than a day before the planned start, or after it.",
            unit="duties",
            reason="Swaps were entered at short notice or afterwards.",
        ),
        Indicator(
            name="swaps",
            sql=counted("swapped"),
            definition="Duties swapped with a colleague.",
            unit="duties",
            direction=0,
            reason="The number of your swaps was taken into account.",
        ),
        workload(
            "overtime_duties",
            counted("overtime > 0"),
            "Duties with overtime.",
            "duties",
            center=10.0,
            scale=10.0,
            reason="How often you worked overtime was taken into account.",
        ),
        workload(
            "overtime_hours",
            "sum(overtime) / 60",
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
    rows="SELECT * FROM duty_presence",
    indicators=(
        Indicator(
            name="own_gains_unseen",
            sql=counted("own_amendment AND amended_minutes > 0 AND NOT present_gain"),
            definition="Own later changes that lengthened the paid time, with no badge from the middle of the added time "
            "on.",
            unit="duties",
            reason="Time that you added to your own duties afterwards is not shown by any badge.",
        ),
        Indicator(
            name="self_authorised_unseen",
            sql=counted("overtime > 0 AND self_authorised AND NOT present_overtime"),
            definition="Overtime that the person authorised for themselves and that no badge shows.",
            unit="duties",
            reason="Overtime that you authorised for yourself is not shown by any badge.",
        ),
        Indicator(
            name="overtime_unseen_excess",
            sql=f"{counted('overtime > 0 AND NOT present_overtime')} / ({counted('overtime > 0')} + 5.0)"
            f" - {counted('NOT present')} / (count(*) + 20.0)",
            definition="Share of overtime that no badge shows, less the share of all duties that no badge shows: who often "
            "passes a door without reading the badge is compared with themselves. Five overtimes and 20 duties are added.",
            unit="share",
            transform=SHARE,
            reason="Badges are missing for your overtime more often than for your other duties.",
        ),
        Indicator(
            name="overtime_without_presence",
            sql=counted("overtime > 0 AND NOT present_overtime"),
            definition="Overtime at a site whose every door has a reader, with no badge from the middle of the overtime "
            "to two hours after it; outages excused.",
            unit="duties",
            reason="For some overtime no badge shows that you were there.",
        ),
        Indicator(
            name="overtime_hours_without_presence",
            sql="coalesce(sum(overtime) FILTER (NOT present_overtime), 0) / 60",
            definition="Hours of that overtime.",
            unit="hours",
            reason="For hours of overtime no badge shows that you were there.",
        ),
        Indicator(
            name="duties_without_presence",
            sql=counted("NOT present"),
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
    rows=_PAIRS,
    indicators=(
        Indicator(
            name="reciprocal_authorisations",
            sql="max(reciprocal)",
            definition="Overtime authorised by a colleague whose own overtime the person authorised in the same window.",
            unit="duties",
            transform=COUNT,
            reason="You and a colleague authorised each other's overtime.",
        ),
    ),
)

SUBJECTS = (AMENDMENTS, PRESENCE, PAIRS)
