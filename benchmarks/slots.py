"""Span precision and recall of the labels' slots against gold, beside values copied from rephrase targets alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loop import Loop, LoopOptions
from benchmarks.scoring import gold_labels, read_truth
from jobs.lake import run_step
from jobs.pipeline import STEPS
from schemas.lake import Lake
from schemas.normalise import normalise, squash
from schemas.settings import Settings

Span = tuple[str, str]  # slot type and value, normalised and without white space


@dataclass(frozen=True)
class SlotScore:
    """Fractions of 1 over accepted labels; spans are those of labels whose slots are settled.

    Args:
        labels: accepted.
        settled: share with settled slots.
        precision, recall, f1: of their spans, micro.
        exact: share of the settled labels whose spans are all right.
        recall_of_all: spans found, over the gold spans of all accepted labels, open ones included.
        interval: 95% bootstrap of f1 over labels.
    """

    labels: int
    settled: float
    precision: float
    recall: float
    f1: float
    exact: float
    recall_of_all: float
    interval: tuple[float, float]


def score_slots(
    found: Sequence[set[Span] | frozenset[Span] | None], gold: Sequence[frozenset[Span]], seed: int
) -> SlotScore:
    """Score spans; None where a label leaves them open."""
    pairs = [(set(f), g) for f, g in zip(found, gold, strict=True) if f is not None]
    table = np.array([(len(f & g), len(f), len(g), f == g) for f, g in pairs], np.int64).reshape(-1, 4)

    def f1(rows: np.ndarray) -> float:
        total = rows[:, 1].sum() + rows[:, 2].sum()
        return float(2 * rows[:, 0].sum() / total) if total else 1.0

    random, n = np.random.default_rng(seed), len(table)
    draws = [f1(table[random.integers(0, n, n)]) for _ in range(1000)] if n else [0.0]
    right, said, wanted, exact = (int(column) for column in table.sum(0))
    everywhere = sum(len(g) for g in gold)
    return SlotScore(
        len(gold), n / max(len(gold), 1), right / max(said, 1), right / max(wanted, 1), f1(table) if n else 0.0,
        exact / max(n, 1), right / max(everywhere, 1),
        (float(np.percentile(draws, 2.5)), float(np.percentile(draws, 97.5))),
    )  # fmt: skip


def _spans(slots: Iterable[dict[str, Any]]) -> frozenset[Span]:
    return frozenset((s["name"], squash(normalise(s["value"]))) for s in slots)


def slots_of_lake(lake: Lake, truth: Path, locale: str, seed: int) -> SlotScore:
    """Score the published labels of a lake against the truth. O(turns)."""
    _, gold, _ = gold_labels(lake, read_truth(truth), locale)
    rows = [
        r for r in lake.rows("pseudo_labels", ["formulation_id", "locale", "status", "slots"])
        if r["status"] == "accepted" and r["locale"] == locale and gold[r["formulation_id"]]
    ]  # fmt: skip
    best = [max(gold[r["formulation_id"]].items(), key=lambda item: (item[1], str(item[0])))[0] for r in rows]
    return score_slots(
        [None if r["slots"] is None else _spans(r["slots"]) for r in rows],
        [frozenset((name, squash(value)) for name, value in g) for g in best],
        seed,
    )


def run_slots(settings: Settings, options: LoopOptions, say: Callable[[str], None]) -> dict[str, Any]:
    """One round of traffic with the launch model, mined twice: with all slot evidence, and with projection alone.

    Returns:
        locale, seed, and the scores of both.

    Raises:
        InputError: bad options, or a folder that holds another experiment.
    """
    loop = Loop(settings, options, say)
    lake = loop.first_lake()
    told: dict[str, Any] = {"locale": options.locale, "seed": settings.seed, "seed_labels": options.seed_labels}
    for name in ("evidence", "projection"):
        labels = settings.labels.model_copy(update={"slots": name})
        chosen = loop.settings.model_copy(update={"lake": lake.path, "labels": labels})
        steps = [step for step in STEPS if step != "training_sets"]
        for step in steps:
            say(f"{options.locale}, {name}: {step}")
            run_step(STEPS[step], lake, chosen)
        score = slots_of_lake(lake, lake.path.parent / "truth", options.locale, settings.seed)
        told[name] = asdict(score)
    return told
