"""Mined pairs and labels scored against the simulator's truth. Nothing in the pipeline may import this."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from schemas.lake import Lake
from schemas.normalise import normalise


@dataclass(frozen=True)
class MiningScore:
    """Counts and shares (fractions of 1) of one state of the lake.

    Args:
        pairs: rephrase pairs mined (repeats apart).
        pair_precision: share whose target is a later try of the source's task and goal.
        pair_recall: share of the failed turns that were reworded later for which such a pair was found.
        labels: accepted pseudo-labels.
        label_precision: share with the right intent.
        label_corrections: right labels of formulations that the models which heard them took for something else: what
            the others say, the next model knows already.
        label_coverage: share of the locale's turns whose formulation has an accepted label.
        slot_precision: share of the accepted labels with settled slots whose spans are all right.
        slots_settled: share of the accepted labels whose slots are settled.
    """

    pairs: int
    pair_precision: float
    pair_recall: float
    labels: int
    label_precision: float
    label_corrections: int
    label_coverage: float
    slot_precision: float
    slots_settled: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def read_truth(folder: Path) -> dict[str, dict[str, Any]]:
    """The truth of every simulated turn, by interaction id."""
    return {
        row["interaction_id"]: row
        for path in sorted(folder.glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    }


def _same_goal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one["task_id"] == other["task_id"] and one["goal_id"] is not None and one["goal_id"] == other["goal_id"]


def _rewordable(truth: dict[str, dict[str, Any]]) -> set[str]:
    """Failed turns after which the user tried the same goal again in other words."""
    tries: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in truth.values():
        if row["goal_id"] is not None and row["act"] in ("new", "rephrase", "repeat", "changed_request"):
            tries[row["task_id"], row["goal_id"]].append(row)
    found = set()
    for rows in tries.values():
        later_words: set[str] = set()
        # The files are in order of time, and so is each list.
        for row in reversed(rows):
            if not row["satisfied"] and any(w != row["clean_utterance"] for w in later_words):
                found.add(row["interaction_id"])
            if row["act"] == "rephrase":
                later_words.add(row["clean_utterance"])
    return found


def gold_labels(
    lake: Lake, truth: dict[str, dict[str, Any]], locale: str
) -> tuple[dict[str, Counter[str]], dict[str, Counter[frozenset[tuple[str, str]]]], Counter[str]]:
    """What users meant by each formulation: gold intents, gold slots (type, normalised value), and turns."""
    intents: dict[str, Counter[str]] = defaultdict(Counter)
    slots: dict[str, Counter[frozenset[tuple[str, str]]]] = defaultdict(Counter)
    spoken: Counter[str] = Counter()
    for turn in lake.rows("turns", ["interaction_id", "formulation_id", "locale"]):
        if turn["locale"] != locale:
            continue
        spoken[turn["formulation_id"]] += 1
        meant = truth.get(turn["interaction_id"])
        if meant and meant["gold_intent"] is not None:
            intents[turn["formulation_id"]][meant["gold_intent"]] += 1
            values = frozenset((s["name"], normalise(s["value"])) for s in meant["gold_slots"])
            slots[turn["formulation_id"]][values] += 1
    return intents, slots, spoken


def taken_for(lake: Lake, locale: str) -> dict[str, str]:
    """The intent that the models which heard a formulation most often held for the likeliest, acted on or not."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for turn in lake.rows("turns", ["formulation_id", "locale", "interpretation", "alternatives"]):
        first = turn["interpretation"] or next(iter(turn["alternatives"] or ()), None)
        if turn["locale"] == locale and first is not None:
            counts[turn["formulation_id"]][first["intent"]] += 1
    return {name: top(seen) for name, seen in counts.items()}


def score_mining(lake: Lake, truth: dict[str, dict[str, Any]], locale: str) -> MiningScore:
    """Score the published pairs and labels against `read_truth`. O(turns) time and memory."""
    pairs = [
        p for p in lake.rows("rephrase_pairs", ["source", "target", "kind", "locale"])
        if p["kind"] == "rephrase" and p["locale"] == locale
    ]  # fmt: skip
    right = [p["source"] for p in pairs if _same_goal(truth[p["source"]], truth[p["target"]])]
    rewordable = _rewordable(truth)
    intents, slots, spoken = gold_labels(lake, truth, locale)
    wanted = ["formulation_id", "locale", "status", "intent", "slots"]
    labels = [r for r in lake.rows("pseudo_labels", wanted) if r["status"] == "accepted" and r["locale"] == locale]
    intents_right = [r for r in labels if top(intents[r["formulation_id"]]) == r["intent"]]
    taken = taken_for(lake, locale)
    settled = [r for r in labels if r["slots"] is not None]
    slots_right = sum(
        frozenset((s["name"], normalise(s["value"])) for s in r["slots"]) == top(slots[r["formulation_id"]])
        for r in settled
    )
    return MiningScore(
        len(pairs),
        _share(len(right), len(pairs)),
        _share(len(rewordable & set(right)), len(rewordable)),
        len(labels),
        _share(len(intents_right), len(labels)),
        sum(taken.get(r["formulation_id"]) != r["intent"] for r in intents_right),
        _share(sum(spoken[r["formulation_id"]] for r in labels), sum(spoken.values())),
        _share(slots_right, len(settled)),
        _share(len(settled), len(labels)),
    )


def top(counts: Counter[Any]) -> Any:
    """The most frequent of a counter's keys, of equals the last by the alphabet; None where it is empty."""
    return max(counts, key=lambda key: (counts[key], str(key))) if counts else None


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def example_pairs(lake: Lake, truth: dict[str, dict[str, Any]], most: int = 12) -> list[dict[str, Any]]:
    """A fixed random choice of sure pairs, with what the truth says of them, and of those that it calls wrong."""
    columns = [
        "source",
        "target",
        "kind",
        "source_utterance",
        "target_utterance",
        "target_interpretation",
        "posterior",
    ]
    rows = [r for r in lake.rows("rephrase_pairs", columns) if r["kind"] == "rephrase"]
    seen: set[tuple[str, str]] = set()
    chosen: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for row in sorted(rows, key=lambda r: (r["posterior"] < 0.9, hashlib.blake2b(r["source"].encode()).digest())):
        key = (row["source_utterance"], row["target_utterance"])
        right = _same_goal(truth[row["source"]], truth[row["target"]])
        if key not in seen and len(chosen[right]) < (most if right else most // 3):
            seen.add(key)
            chosen[right].append(
                {
                    "said": row["source_utterance"],
                    "said_again": row["target_utterance"],
                    "understood": (row["target_interpretation"] or {}).get("intent"),
                    "posterior": row["posterior"],
                    "right": right,
                }
            )
    return chosen[True] + chosen[False]
