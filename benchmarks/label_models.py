"""The pipeline's posterior beside a weighted majority and a label model, on one lake and its truth: which ranks and
calibrates better?

The pipeline used the weighted majority until this showed the posterior to be better (docs/labels.md).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.label_quality import by_level, calibration_error
from benchmarks.scoring import gold_labels, read_truth, top
from mining.label_model import fit_label_model
from schemas.lake import Lake

_MATES, _UNKNOWN = 2.0, 0.5  # votes that all cluster mates count for, and "something else"
WAYS = ("posterior", "majority", "pooled", "apart")


def _judged(found: dict[str, tuple[str, float]], gold: dict[str, str], most: int) -> dict[str, float]:
    """Precision of the `most` surest labels, and expected calibration error of all."""
    rows = sorted(((p, gold[name] == intent, name) for name, (intent, p) in found.items()), key=lambda r: (-r[0], r[2]))
    right = np.array([r[1] for r in rows], bool)
    return {
        "precision": float(right[:most].mean()) if len(right) else float("nan"),
        "precision_of_all": float(right.mean()) if len(right) else float("nan"),
        "calibration_error": calibration_error(by_level(((p, told) for p, told, _ in rows), 10)),
    }


def compare_label_models(lake: Lake, truth: Path, locale: str, floor: int) -> dict[str, Any]:
    """The posterior, the weighted majority, and the label model with sources pooled and apart, on formulations with
    `floor` users.

    Returns:
        compared and accepted (numbers of formulations), the fitted reliabilities, and for each way `precision` (of as
        many of its surest labels as the pipeline accepts), `precision_of_all` and `calibration_error`.

    Cost: O(votes x iterations).
    """
    intents, _, _ = gold_labels(lake, read_truth(truth), locale)
    gold = {name: top(seen) for name, seen in intents.items()}
    columns = ["formulation_id", "locale", "cluster_id", "status", "intent", "posterior", "users", "sources"]
    rows = [r for r in lake.rows("pseudo_labels", columns) if r["locale"] == locale]
    own: dict[str, dict[str, dict[str, float]]] = {}
    clusters: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in rows:
        mine: dict[str, dict[str, float]] = defaultdict(dict)
        for s in row["sources"]:
            if s["source"] in ("annotated", "absorption", "wish"):
                continue  # nobody's vote
            mine[s["source"]][s["intent"]] = s["weight"]
            clusters[row["cluster_id"]][s["intent"]] += s["weight"]
        own[row["formulation_id"]] = mine
    chosen = [r for r in rows if r["intent"] and r["users"] >= floor and r["formulation_id"] in gold]
    most = sum(r["status"] == "accepted" for r in chosen)
    told: dict[str, Any] = {
        "compared": len(chosen),
        "accepted": most,
        "posterior": _judged({r["formulation_id"]: (r["intent"], r["posterior"]) for r in chosen}, gold, most),
    }
    voted = {
        r["formulation_id"]: _majority(_witnesses(own[r["formulation_id"]], clusters[r["cluster_id"]], "pooled"))
        for r in chosen
    }
    told["majority"] = _judged({name: best for name, best in voted.items() if best}, gold, most)
    for name in ("pooled", "apart"):
        items = {
            r["formulation_id"]: _witnesses(own[r["formulation_id"]], clusters[r["cluster_id"]], name) for r in rows
        }
        model = fit_label_model([items[key] for key in sorted(items) if items[key]])
        found = {r["formulation_id"]: model.label(items[r["formulation_id"]]) for r in chosen}
        best = {key: labels[0] for key, labels in found.items() if labels}
        told[name] = _judged(best, gold, most) | {"reliability": dict(model.reliability)}
    return told


def _majority(said: dict[str, dict[str, float]]) -> tuple[str, float] | None:
    """The intent with most votes and its share: own votes, shrunk towards the mates' (a Dirichlet prior)."""
    own, mates = said.get("behaviour", {}), said.get("text", {})
    strength = min(_MATES, sum(mates.values()))
    scale = sum(own.values()) + strength + _UNKNOWN
    mass = max(sum(mates.values()), 1e-12)
    shares = {i: (own.get(i, 0.0) + strength * mates.get(i, 0.0) / mass) / scale for i in {*own, *mates}}
    return max(((i, p) for i, p in shares.items()), key=lambda pair: (pair[1], pair[0]), default=None)


def _witnesses(mine: dict[str, dict[str, float]], cluster: dict[str, float], name: str) -> dict[str, dict[str, float]]:
    """A formulation's votes by group; its mates' are the cluster's less its own."""
    behaviour: dict[str, float] = defaultdict(float)
    for said in mine.values():
        for intent, weight in said.items():
            behaviour[intent] += weight
    mates = {i: w - behaviour.get(i, 0.0) for i, w in cluster.items() if w - behaviour.get(i, 0.0) > 1e-9}
    groups = {"behaviour": dict(behaviour)} if name == "pooled" else dict(mine)
    return {group: said for group, said in (groups | {"text": mates}).items() if said}
