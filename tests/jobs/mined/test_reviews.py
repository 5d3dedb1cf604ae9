"""What people say of pairs is read by the next run: the pair itself, and all pairs of its locale."""

from __future__ import annotations

import numpy as np
import pytest
from mined_lake import Mined
from planted_log import LOCALE

from jobs.pipeline import mine
from jobs.reviews import Review, add_review, calibrations, read_reviews
from mining.comparisons import COMPARISONS
from mining.fellegi_sunter import Linkage
from schemas.lake import Lake

MODEL = Linkage(COMPARISONS, 0.3, 1, 0.1)


def test_verdicts_overrule_a_pair_and_move_the_others(mined: Mined, copy: Lake) -> None:
    before = {p["pair_id"]: p for p in mined.rows("rephrase_pairs")}
    ordered = sorted(before.values(), key=lambda p: (p["posterior"], p["pair_id"]))
    believed = [p for p in ordered if p["kind"] == "rephrase"]
    wrong, right = believed[:5], believed[-1]
    for pair in wrong:
        add_review(copy, pair["pair_id"], "unrelated", "ana")
    add_review(copy, wrong[0]["pair_id"], "new_request", "ana")
    add_review(copy, right["pair_id"], "same_wish", "ben")
    again = next(iter(mine(copy, mined.settings, only="rephrase_pairs")))
    assert again.status == "done"
    assert again.counts["reviews"] == 6
    assert again.counts["reviews_no_longer_comparable"] == 0
    after = {p["pair_id"]: p for p in copy.rows("rephrase_pairs")}
    assert not {p["pair_id"] for p in wrong[1:]} & after.keys()
    changed = after[wrong[0]["pair_id"]]
    assert (changed["kind"], changed["review"], changed["new_request"]) == ("new_request", "new_request", 1.0)
    assert (after[right["pair_id"]]["posterior"], after[right["pair_id"]]["review"]) == (1.0, "same_wish")
    others = [p for name, p in after.items() if name in before and p["review"] is None]
    assert len(others) > 300
    # Five of the six said no: every other pair is believed less, and its waterfall says why.
    assert all(p["posterior"] <= before[p["pair_id"]]["posterior"] for p in others if p["posterior"] > 0.5)
    assert all(p["features"][-1]["name"] == "reviews" for p in others)
    assert all(p["match_weight"] == pytest.approx(sum(f["weight"] for f in p["features"]), abs=1e-6) for p in others)
    unchanged = next(iter(mine(copy, mined.settings, only="rephrase_pairs")))
    assert unchanged.status == "unchanged"


def test_nobody_has_judged(mined: Mined) -> None:
    assert read_reviews(mined.lake) == []
    assert calibrations([], {LOCALE: MODEL})[0][LOCALE].slope == 1


def test_a_review_of_comparisons_that_are_no_longer_made_is_counted() -> None:
    levels = {c.name: c.levels[0] for c in COMPARISONS}
    kept = Review("a", "b", LOCALE, "same_wish", levels)
    reviews = [kept, Review("a", "c", LOCALE, "unrelated", levels | {"wording": "of old"}),
               Review("a", "d", "xx-XX", "unrelated", levels)]  # fmt: skip
    found, lost = calibrations(reviews, {LOCALE: MODEL})
    assert lost == 2
    assert found[LOCALE].reviews == 1
    assert np.isfinite(found[LOCALE].offset)
