"""People's verdicts on pairs: `sayagain review` adds them, the next run of `rephrase_pairs` reads them as evidence.

No Spark: they are few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import write_deltalake

from mining.fellegi_sunter import Linkage
from mining.recalibration import Calibration, recalibrated
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.settings import Settings
from schemas.tables import REVIEWS

VERDICTS = ("same_wish", "new_request", "unrelated")


@dataclass(frozen=True)
class Review:
    """The last verdict on one pair, and the comparison levels that the pair had when it was given."""

    source: str
    target: str
    locale: str
    verdict: str
    levels: Mapping[str, str]


def add_review(lake: Lake, pair_id: str, verdict: str, reviewer: str) -> None:
    """Add a verdict on a published pair, or another one on a pair that an earlier verdict took out of the table.

    Raises:
        InputError: no such pair, or no such verdict.
    """
    if verdict not in VERDICTS:
        raise InputError(f"no verdict {verdict!r}: give one of {', '.join(VERDICTS)}")
    columns = ["pair_id", "source", "target", "locale", "features"]
    wanted, judged = pc.field("pair_id") == pair_id, lake.latest(REVIEWS.name)
    found = lake.rows("rephrase_pairs", columns, wanted)
    if not found and judged is not None:
        found = lake.dataset(REVIEWS.name, judged).to_table(columns, filter=wanted).to_pylist()
    if not found:
        raise InputError(f"no pair {pair_id} in {lake.path}: `sayagain inspect` lists them")
    row = found[0] | {"verdict": verdict, "reviewer": reviewer, "reviewed_at": datetime.now(UTC)}
    write_deltalake(lake.table(REVIEWS.name), pa.Table.from_pylist([row], schema=REVIEWS.arrow), mode="append")


def stamp(lake: Lake, settings: Settings) -> int | None:
    """What tells one state of the reviews from another; a step's `also`."""
    return lake.latest(REVIEWS.name)


def read_reviews(lake: Lake) -> list[Review]:
    """The last verdict on each pair."""
    version = lake.latest(REVIEWS.name)
    if version is None:
        return []
    rows = lake.dataset(REVIEWS.name, version).to_table().to_pylist()
    last: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["reviewed_at"], row["verdict"])):
        last[row["pair_id"]] = row
    return [
        Review(r["source"], r["target"], r["locale"], r["verdict"], {f["name"]: f["level"] for f in r["features"]})
        for _, r in sorted(last.items())
    ]


def calibrations(reviews: list[Review], models: Mapping[str, Linkage]) -> tuple[dict[str, Calibration], int]:
    """The calibration of each locale's model, and how many reviews were of comparisons that are no longer made."""
    bits: dict[str, list[float]] = {locale: [] for locale in models}
    right: dict[str, list[bool]] = {locale: [] for locale in models}
    lost = 0
    for review in reviews:
        model = models.get(review.locale)
        levels = [] if model is None else [(c.levels, review.levels.get(c.name, "")) for c in model.comparisons]
        if model is None or any(level not in known for known, level in levels):
            lost += 1
            continue
        pattern = np.array([[known.index(level) for known, level in levels]])
        bits[review.locale].append(float(model.match_weight(pattern)[0]))
        right[review.locale].append(review.verdict == "same_wish")
    found = {at: recalibrated(np.array(bits[at]), np.array(right[at], dtype=bool)) for at in models}
    return found, lost
