"""Whether labels are as often right as they say, on a lake whose truth is known: intents by posterior, spans by slot
posterior, and what users' friction says of a whole answer."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scoring import gold_labels, read_truth
from schemas.lake import Lake
from schemas.normalise import normalise

Values = frozenset[tuple[str, str]]
_LABEL_COLUMNS = ["formulation_id", "locale", "status", "intent", "posterior", "slots", "slot_posterior", "users"]
_TURN_COLUMNS = ["formulation_id", "locale", "interpretation", "response", "friction"]


def by_level(said: Iterable[tuple[float, bool]], levels: int) -> list[dict[str, float]]:
    """How many, their mean, and the share that is right, in equal parts of what was said (0 to 1); empty parts are left
    out."""
    found: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for value, right in said:
        found[min(int(value * levels), levels - 1)].append((value, right))
    return [
        {
            "from": level / levels,
            "count": len(rows),
            "mean": float(np.mean([value for value, _ in rows])),
            "right": float(np.mean([right for _, right in rows])),
        }
        for level, rows in sorted(found.items())
    ]


def calibration_error(rows: Iterable[Mapping[str, float]]) -> float:
    """How far the means of `by_level` lie from the shares that are right, on average over what was said (Naeini et al.
    2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", expected calibration error); 0 of nothing.
    """
    counted = [(row["count"], abs(row["mean"] - row["right"])) for row in rows]
    many = sum(count for count, _ in counted)
    return sum(count * away for count, away in counted) / many if many else 0.0


def label_quality(lake: Lake, truth: Path, locale: str, floor: int) -> dict[str, list[dict[str, float]]]:
    """The tables of one lake.

    Returns:
        `intents`: labels with users enough behind them, by posterior; `intents_of_few`: the others; `spans`: accepted
        labels with the right intent whose slots are settled, by slot posterior, right where all spans are; `answers`:
        distinct answers with the right intent, by their turns' mean friction, right where all slots are.

    Cost: O(turns) time and memory.
    """
    intents, slots, _ = gold_labels(lake, read_truth(truth), locale)
    labels = [row for row in lake.rows("pseudo_labels", _LABEL_COLUMNS) if row["locale"] == locale]
    turns = (row for row in lake.rows("turns", _TURN_COLUMNS) if row["locale"] == locale)
    return tables(labels, turns, intents, slots, floor)


def tables(
    labels: Iterable[Mapping[str, Any]],
    turns: Iterable[Mapping[str, Any]],
    intents: Mapping[str, Counter[str]],
    slots: Mapping[str, Counter[Values]],
    floor: int,
) -> dict[str, list[dict[str, float]]]:
    """As `label_quality`, of rows and what was meant by each formulation."""
    intent_of = {name: max(seen, key=lambda k: (seen[k], k)) for name, seen in intents.items() if seen}
    slots_of = {name: max(seen, key=lambda k: (seen[k], sorted(k))) for name, seen in slots.items() if seen}
    known = [row for row in labels if row["intent"] and row["formulation_id"] in intent_of]

    def right(row: Mapping[str, Any]) -> bool:
        return bool(intent_of[row["formulation_id"]] == row["intent"])

    settled = [row for row in known if row["status"] == "accepted" and row["slots"] is not None and right(row)]
    friction: dict[tuple[str, str], list[float]] = defaultdict(list)
    for turn in turns:
        name, said = turn["formulation_id"], turn["interpretation"]
        if said and turn["response"] == "completed" and intent_of.get(name) == said["intent"]:
            friction[name, json.dumps(sorted(_values(said["slots"])))].append(turn["friction"])
    return {
        "intents": by_level(((row["posterior"], right(row)) for row in known if row["users"] >= floor), 10),
        "intents_of_few": by_level(((row["posterior"], right(row)) for row in known if row["users"] < floor), 10),
        "spans": by_level(
            (
                (row["slot_posterior"], _values(row["slots"]) == slots_of[row["formulation_id"]])
                for row in settled
                if row["slot_posterior"] is not None
            ),
            10,
        ),
        "answers": by_level(
            (
                (float(np.mean(seen)), json.dumps(sorted(slots_of[name])) == values)
                for (name, values), seen in friction.items()
            ),
            5,
        ),
    }


def _values(slots: Iterable[Mapping[str, Any]] | None) -> Values:
    return frozenset((slot["name"], normalise(slot["value"])) for slot in slots or ())
