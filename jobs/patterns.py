"""Pattern counts to the linkage model, and a small table of posteriors back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.fellegi_sunter import Linkage, from_pattern_key, pattern_key, to_probability
from mining.recalibration import Calibration
from schemas.columns import EVIDENCE

Counts = dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]


def counted(counts: pa.Table, sizes: tuple[int, ...]) -> Counts:
    """Patterns and counts of each locale, from a table of `locale, pattern, count`.

    The table is bounded by locales x possible patterns, whatever the number of turns, so it may be on the driver.
    """
    table = counts.sort_by([("locale", "ascending"), ("pattern", "ascending")])
    found: Counts = {}
    locales = np.asarray(table.column("locale").to_pylist())
    keys = table.column("pattern").to_numpy()
    n = table.column("count").to_numpy()
    for locale in dict.fromkeys(locales.tolist()):
        mine = locales == locale
        found[locale] = (from_pattern_key(keys[mine], sizes), n[mine])
    return found


def score(
    counts: Counts,
    models: dict[str, Linkage],
    sizes: tuple[int, ...],
    *,
    name: str,
    evidence: str,
    calibrations: Mapping[str, Calibration] | None = None,
) -> pa.Table:
    """`locale, pattern, <name> (posterior), new_request, match_weight (bits), <evidence> (levels and weights)` of every
    pattern; `new_request` is the posterior of the class that only looks alike.

    `calibrations` of locales put the weights right by what people said; that is a weight of its own, `reviews`.

    Posteriors are rounded to 1e-9, so that no sum's order shows through a threshold.
    """
    rows: list[tuple[Any, ...]] = []
    for locale, (patterns, _) in counts.items():
        model = models[locale]
        weights = model.weights()
        calibration = (calibrations or {}).get(locale, Calibration())
        plain = model.match_weight(patterns)
        put_right = calibration.bits(plain)
        posteriors = np.round(to_probability(put_right), 9)
        bits = np.round(put_right, 9)
        alike = model.alike_weight(patterns)
        changed = np.round(model.alike_posterior(patterns, posteriors), 9)
        keys = pattern_key(patterns, sizes)
        for i, pattern in enumerate(patterns):
            explained = [{"name": "prior", "level": f"{model.prior:.3f}", "weight": model.prior_weight}]
            explained += [
                {"name": c.name, "level": c.levels[level], "weight": float(w[level])}
                for c, w, level in zip(model.comparisons, weights, pattern, strict=True)
            ]
            if model.alike_prior:
                explained.append({"name": "changed_request", "level": f"{1 - 2 ** alike[i]:.3f}", "weight": alike[i]})
            if calibration.reviews:
                moved = float(put_right[i] - plain[i])
                explained.append({"name": "reviews", "level": f"{calibration.reviews} verdicts", "weight": moved})
            known = locale, int(keys[i]), float(posteriors[i]), float(changed[i]), float(bits[i])
            rows.append((*known, explained))
    schema = pa.schema(
        [
            ("locale", pa.string()),
            ("pattern", pa.int64()),
            (name, pa.float64()),
            ("new_request", pa.float64()),
            ("match_weight", pa.float64()),
            (evidence, EVIDENCE),
        ]
    )
    columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    return pa.table([pa.array(column, f.type) for column, f in zip(columns, schema, strict=True)], schema=schema)
