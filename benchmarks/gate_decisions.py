"""Whether the gate decides on users' turns as the truth would have it: every model of a simulated launch against every
other, on each of its snapshots."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scoring import read_truth
from retrain import registry
from retrain.data import Example, read_snapshot
from retrain.gate import decide_on_turns
from retrain.tables import read_table
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.predictor import Interpretation, Prediction
from schemas.settings import Settings


@dataclass(frozen=True)
class Decision:
    """One comparison on the turns of one snapshot. Gains are differences of intent accuracy, fractions of 1.

    Args:
        round: number of the snapshot, from 1.
        played: the two are what the gate compared then.
        gain: what held-out users' turns would tell of the challenger if their meaning were known.
        estimate, bound: what the gate makes of them and of voters' turns.
        passes: the challenger does.
        right: as it would if the gain were known.
    """

    round: int
    champion: str
    challenger: str
    played: bool
    gain: float
    estimate: float
    bound: float
    passes: bool
    right: bool


@dataclass(frozen=True)
class _Recites:
    """A model's answers, asked once."""

    answers: Mapping[str, str]
    version: str

    def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
        return [Prediction(Interpretation(self.answers[text]), 1.0) for text in utterances]


def _judged(rows: Sequence[Example], meant: Mapping[str, str]) -> list[tuple[str, str]]:
    """Text and intent of held-out users' turns whose meaning is known."""
    return [(e.utterance, meant[e.group]) for e in rows if e.source == "held_out" and e.group in meant]


def _gain(judged: Sequence[tuple[str, str]], champion: _Recites, challenger: _Recites) -> float:
    right = [
        (challenger.answers[text] == intent) - (champion.answers[text] == intent) for text, intent in judged
    ]  # fmt: skip
    return float(np.mean(right))


def gate_decisions(settings: Settings, lake: Lake, truth: Path, locale: str) -> list[Decision]:
    """Every comparison of two of the lake's models on the turns of each of its snapshots.

    Args:
        settings: margin, confidence and the seed of the bootstrap.
        truth: folder of the simulation's.

    Raises:
        InputError: fewer than two models, or no snapshot with turns that judge.

    Cost: a prediction an utterance and model, and a bootstrap a comparison: minutes on one core for 20,000 turns.
    """
    reports = [r for r in read_table(lake, "gate_reports") if r["locale"] == locale]
    reports.sort(key=lambda r: r["decided_at"])
    versions = sorted({r["model_version"] for r in read_table(lake, "model_runs") if r["locale"] == locale},
                      key=lambda v: int(v.rpartition("/")[2]))  # fmt: skip
    known = {hashlib.sha256(name.encode()).hexdigest()[:16]: row["gold_intent"]
             for name, row in read_truth(truth).items()}  # fmt: skip
    snapshots = {r["snapshot_id"]: read_snapshot(lake, r["snapshot_id"], ("gate",)) for r in reports
                 if not r["snapshot_id"].startswith("gold-")}  # fmt: skip
    turns = {name: [e for e in rows if e.locale == locale] for name, rows in snapshots.items()}
    turns = {name: rows for name, rows in turns.items() if _judged(rows, known)}
    if len(versions) < 2 or not turns:
        raise InputError(f"the lake at {lake.path} has not two models of {locale} and a snapshot with turns that judge")
    texts = sorted({e.utterance for rows in turns.values() for e in rows})
    models = {}
    for version in versions:
        said = registry.load(lake, version).predict(texts, locale)
        answers = {text: answer.interpretation.intent for text, answer in zip(texts, said, strict=True)}
        models[version] = _Recites(answers, version)
    played = {(r["snapshot_id"], r["champion"], r["challenger"]) for r in reports}
    found = []
    for number, (snapshot, rows) in enumerate(turns.items(), 1):
        manifest = json.loads((lake.snapshots / snapshot / "manifest.json").read_text(encoding="utf-8"))
        for champion, challenger in permutations(versions, 2):
            one, other = models[champion], models[challenger]
            said_of = decide_on_turns(other, one, rows, manifest["served_if_right"], settings.gate, settings.seed)
            gain = _gain(_judged(rows, known), one, other)
            found.append(
                Decision(
                    number,
                    champion,
                    challenger,
                    (snapshot, champion, challenger) in played,
                    gain,
                    said_of.challenger_accuracy - said_of.champion_accuracy,
                    said_of.lower_bound,
                    said_of.passed,
                    said_of.passed is (gain > -settings.gate.margin),
                )
            )
    return found


def summary(decisions: Sequence[Decision]) -> dict[str, Any]:
    """How many were decided right, and how the estimates go with the gains: correlation, and slope through 0."""
    gains, estimates = (np.array([getattr(d, name) for d in decisions]) for name in ("gain", "estimate"))
    spread = float(gains.std() * estimates.std())
    return {
        "right": sum(d.right for d in decisions),
        "of": len(decisions),
        "correlation": float(np.corrcoef(gains, estimates)[0, 1]) if spread else None,
        "slope": float(gains @ estimates / (gains @ gains)) if gains.any() else None,
        "decisions": [asdict(d) for d in decisions],
    }
