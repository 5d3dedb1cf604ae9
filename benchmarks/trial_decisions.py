"""Whether trials decide as the truth would have it: every model of a played loop on trial against every other, on one
more round of simulated users."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.loop import played_loop
from benchmarks.rounds import new_lake, spoken, versions_of
from benchmarks.scoring import read_truth
from jobs.ingest import ingest
from jobs.lake import run_step
from jobs.pipeline import STEPS
from retrain import registry
from retrain.gate import served_if_right
from retrain.served import compare
from retrain.trial import judged
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.predictor import Predictor
from schemas.settings import Settings
from simulator.dialogue import Trial
from simulator.logs import Simulated


@dataclass(frozen=True)
class TrialDecision:
    """One trial. Gains are differences in the share of turns that served, fractions of 1.

    Args:
        gain: where each of the two serves everybody.
        estimate, bound: what the trial makes of it; None where users were too few.
        result: passed, worse or open.
        wrong: passed although worse by more than the margin, or taken off although better.
    """

    champion: str
    challenger: str
    gain: float
    estimate: float | None
    bound: float | None
    result: str
    wrong: bool


def _served(played: Simulated) -> float:
    """Share of a round's turns that served, of those that a model was asked in."""
    truth = read_truth(played.truth.parent)
    with played.logs.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return float(np.mean([truth[r["interaction_id"]]["satisfied"] for r in rows if r["model_version"] is not None]))


def trial_decisions(
    settings: Settings, work: Path, say: Callable[[str], None], arm: str = "ours"
) -> tuple[str, list[TrialDecision]]:
    """The loop's locale, and a trial of every model that one of its arms trained against every other, the round after
    the last, with as many users.

    Args:
        settings: `gate` among them.
        work: the loop's folder.

    Raises:
        InputError: no such loop, or fewer than two models.

    Cost: a round of traffic a model, and one with ingest and the step `turns` a comparison: half a minute each for 500
    users on one core.
    """
    loop = played_loop(settings, work, arm, say)
    locale, lake = loop.options.locale, Lake(work / "arms" / arm / "lake").open()
    number = 1 + len(json.loads((work / "arms" / arm / "rounds.json").read_text(encoding="utf-8")))
    versions, manifest = versions_of(lake, locale), lake.manifest("training_sets")
    if len(versions) < 2 or manifest is None:
        raise InputError(f"the loop in {work} has not two models to compare")
    serves = served_if_right(lake, str(manifest.details["snapshot_id"]))
    models = {version: registry.load(lake, version) for version in versions}
    share, margin, served, found = settings.gate.trial_share, settings.gate.margin * serves, {}, []

    def played(folder: Path, model: Predictor, trial: Trial | None = None) -> Simulated:
        return spoken(loop.seed, loop.book, loop.crowd, number, folder / "raw", folder / "truth", model, trial)

    for version, model in models.items():
        say(f"{version} serves everybody")
        with TemporaryDirectory() as name:
            served[version] = _served(played(Path(name), model))
    for champion, challenger in permutations(versions, 2):
        say(f"{challenger} on trial against {champion}")
        with TemporaryDirectory() as name:
            log = played(Path(name), models[champion], Trial(models[challenger], share)).logs
            scratch = new_lake(Path(name) / "lake")
            ingest(scratch, loop.of(scratch.path), [str(log)])
            run_step(STEPS["turns"], scratch, loop.of(scratch.path))
            heard = compare(scratch, locale, models[champion], models[challenger], loop.seed)
        result, figures = judged(heard, settings.gate, serves)
        gain = served[challenger] - served[champion]
        estimate = figures["challenger_accuracy"] - figures["champion_accuracy"] if "lower_bound" in figures else None
        wrong = (result == "passed" and gain <= -margin) or (result == "worse" and gain > 0)
        found.append(TrialDecision(champion, challenger, gain, estimate, figures.get("lower_bound"), result, wrong))
    return locale, found


def summary(decisions: Sequence[TrialDecision]) -> dict[str, Any]:
    """How many trials passed, ended and stayed open, how many of the first two wrongly, and how far the estimates are
    from the gains: mean and root mean square of the difference."""
    by = {result: [d for d in decisions if d.result == result] for result in ("passed", "worse", "open")}
    off = np.array([d.estimate - d.gain for d in decisions if d.estimate is not None])
    return {
        **{result: len(of) for result, of in by.items()},
        "passed_wrongly": sum(d.wrong for d in by["passed"]),
        "worse_wrongly": sum(d.wrong for d in by["worse"]),
        "mean_error": float(off.mean()) if len(off) else None,
        "rms_error": float(np.sqrt((off**2).mean())) if len(off) else None,
        "decisions": [asdict(d) for d in decisions],
    }
