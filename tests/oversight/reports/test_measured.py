"""Parts of the card that rest on figures of their own: each says what the statistics say."""

from oversight.reports.measured import stability_card
from protocol.scorecard.reliability import reliability


def test_stability_is_what_reruns_showed(measured):
    world, card = measured
    record = world.record(card.plan)
    shown = stability_card(record)
    for card, found in zip(shown.heads, reliability(record.run), strict=True):
        assert (card.category, card.error, card.shown) == (found.category, found.error, found.shown)
        assert [(row.band, row.seen, row.people) for row in card.rows] == [
            (row.band, row.seen, row.people) for row in found.rows
        ]
