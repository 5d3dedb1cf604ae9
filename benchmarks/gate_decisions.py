"""Whether the gate decides on users' turns as the truth would have it: every model of a simulated launch against every
other, on each of its snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds

from benchmarks.rounds import versions_of
from benchmarks.scoring import read_truth
from retrain import registry
from retrain.data import Example, read_snapshot
from retrain.gate import decide_on_turns, served_if_right
from retrain.served import share_of
from retrain.tables import read_table
from retrain.trial import TRIAL
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.predictor import Interpretation, Prediction
from schemas.settings import Settings
from schemas.training_tables import turn_group


@dataclass(frozen=True)
class Decision:
    """One comparison on the turns of one snapshot. Gains are differences of intent accuracy, fractions of 1.

    Args:
        round: number of the snapshot, from 1.
        gain: what held-out users' turns would tell of the challenger if their meaning were known.
        estimate, bound: what the gate makes of them and of voters' turns; None where that tells nothing.
        passes: the challenger does.
        right: as it would if the gain were known.
        recorded: what the lake's gate decided of the two on this snapshot, None where it was not asked.
    """

    round: int
    champion: str
    challenger: str
    gain: float
    estimate: float | None
    bound: float | None
    passes: bool
    right: bool
    recorded: bool | None


@dataclass(frozen=True)
class Recites:
    """A model's answers, asked once."""

    answers: Mapping[str, str]
    version: str = "recites"

    def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
        return [Prediction(Interpretation(self.answers[text]), 1.0) for text in utterances]


def _judged(rows: Sequence[Example], meant: Mapping[str, str]) -> list[tuple[str, str]]:
    """Text and intent of held-out users' turns whose meaning is known."""
    return [(e.utterance, meant[e.group]) for e in rows if e.source == "held_out" and e.group in meant]


def _gain(judged: Sequence[tuple[str, str]], champion: Recites, challenger: Recites) -> float:
    return float(
        np.mean([(challenger.answers[text] == meant) - (champion.answers[text] == meant) for text, meant in judged])
    )


def gate_decisions(settings: Settings, lake: Lake, truth: Path, locale: str) -> list[Decision]:
    """Every comparison of two of the lake's models on the turns of each of its snapshots, as the gate decides where
    turns are what it has.

    Args:
        settings: margin, confidence and the seed of the bootstrap.
        truth: folder of the simulation's.

    Raises:
        InputError: no truth, fewer than two models, or no snapshot with turns that judge.

    Cost: a prediction an utterance and model, and a bootstrap a comparison: minutes on one core for 20,000 turns.
    """
    reports = [r for r in read_table(lake, "gate_reports") if r["locale"] == locale]
    recorded = {(r["snapshot_id"], r["champion"], r["challenger"]): r["passed"] for r in reports}
    reports.sort(key=lambda r: r["decided_at"])
    versions = versions_of(lake, locale)
    known = {turn_group(name): row["gold_intent"] for name, row in read_truth(truth).items()}
    if not known:
        raise InputError(f"{truth} has no simulated truth")
    names = list(dict.fromkeys(r["snapshot_id"] for r in reports if not r["snapshot_id"].startswith(("gold-", TRIAL))))
    rows_of = {name: [e for e in read_snapshot(lake, name, ("gate",)) if e.locale == locale] for name in names}
    if len(versions) < 2 or not any(_judged(rows, known) for rows in rows_of.values()):
        raise InputError(f"the lake at {lake.path} has not two models of {locale} and a snapshot with turns that judge")
    texts = sorted({e.utterance for rows in rows_of.values() for e in rows})
    models = {}
    for version in versions:
        said = registry.load(lake, version).predict(texts, locale)
        answers = {text: answer.interpretation.intent for text, answer in zip(texts, said, strict=True)}
        models[version] = Recites(answers, version)
    found = []
    for number, (snapshot, rows) in enumerate(rows_of.items(), 1):
        judged, served = _judged(rows, known), served_if_right(lake, snapshot)
        for champion, challenger in permutations(versions, 2) if judged else ():
            verdict = decide_on_turns(models[challenger], models[champion], rows, served, settings.gate, settings.seed)
            gain = _gain(judged, models[champion], models[challenger])
            one, other = verdict.champion_accuracy, verdict.challenger_accuracy
            found.append(
                Decision(
                    number,
                    champion,
                    challenger,
                    gain,
                    None if one is None or other is None else other - one,
                    verdict.lower_bound,
                    verdict.passed,
                    verdict.passed is (gain > -settings.gate.margin),
                    recorded.get((snapshot, champion, challenger)),
                )
            )
    return found


def shares_served(lake: Lake, truth: Path, locale: str) -> list[dict[str, Any]]:
    """How many of each model's turns served, as a trial would say and in truth.

    Cost: two scans of a few columns of `turns` a model.
    """
    served = {name: bool(row["satisfied"]) for name, row in read_truth(truth).items()}
    said = lake.dataset("turns").to_table(["interaction_id", "model_version"], filter=ds.field("heard"))
    of_model: dict[str, list[bool]] = {}
    for name, version in zip(*(column.to_pylist() for column in said.columns), strict=True):
        if version is not None and name in served:
            of_model.setdefault(version, []).append(served[name])
    return [
        {"model": v, "turns": len(turns), "served": float(np.mean(turns)), "estimate": share_of(lake, locale, v)}
        for v, turns in sorted(of_model.items())
    ]


def summary(decisions: Sequence[Decision]) -> dict[str, Any]:
    """How many were decided right, how many of the others passed and were refused, and how the estimates go with the
    gains where there are both: correlation, and slope through 0."""
    told = [(d.gain, d.estimate) for d in decisions if d.estimate is not None]
    gains, estimates = (np.array(column) for column in zip(*told, strict=True)) if told else (np.zeros(0), np.zeros(0))
    spread = len(told) > 1 and float(gains.std() * estimates.std()) > 0
    return {
        "right": sum(d.right for d in decisions),
        "of": len(decisions),
        "passed_wrongly": sum(d.passes and not d.right for d in decisions),
        "correlation": float(np.corrcoef(gains, estimates)[0, 1]) if spread else None,
        "slope": float(gains @ estimates / (gains @ gains)) if gains.any() else None,
        "decisions": [asdict(d) for d in decisions],
    }
