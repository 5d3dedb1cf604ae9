"""The closed loop on simulated users: traffic -> mine -> retrain -> gate -> promote, round by round.

Simulated users are simulated: what this shows is that the pipeline learns, and how much of the distance to a model
trained on all annotations. Test wordings are read once, after the last round.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from benchmarks.rehearsal import rehearse
from benchmarks.rounds import (
    ceiling,
    launch,
    new_lake,
    of_loop,
    retrain_and_gate,
    scored,
    traffic,
    trial_of,
    write_gold,
)
from benchmarks.scoring import MiningScore, example_pairs, read_truth, score_mining
from jobs.ingest import ingest
from jobs.pipeline import mine
from retrain import registry
from retrain.predictor import TorchPredictor
from retrain.second_guesses import guess_again
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.settings import Settings
from simulator.catalogue import Catalogue
from simulator.logs import Simulated
from simulator.massive import MassiveCatalogue
from simulator.phrasebook import Phrasebook
from simulator.population import Population, population

_MARK = ".sayagain-demo"
# A demo is waited for. The phrasebook needs less than real utterances do: launch and ceiling are no lower.
_BRIEF = {"max_seen": 40_000}
_PHRASEBOOK = {"pretrain_epochs": 3, "hidden": 96}
Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoOptions:
    """What the demo runs on.

    Args:
        out: folder for everything it makes; an earlier demo there is replaced.
        massive: a MASSIVE-format folder instead of the phrasebook.
        source, locale: the mature language and the launch locale.
        seed_labels: annotated utterances of the launch locale at launch.
        rounds: of traffic, at least one.
        users: of a round.
        sample: train utterances of each locale taken from a MASSIVE folder.
    """

    out: Path
    massive: Path | None = None
    source: str = "en-US"
    locale: str = "es-ES"
    seed_labels: int = 40
    rounds: int = 3
    users: int = 200
    sample: int | None = 4000
    population: str = "launch"


@dataclass
class _Round:
    simulated: Simulated
    score: MiningScore
    version: str
    promoted: bool
    gate: str
    trial: dict[str, str] | None
    seconds: float
    metrics: dict[str, Any] = field(default_factory=dict)


def _prepare(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        if not (out / _MARK).exists():
            raise InputError(f"{out} is not empty and holds no earlier demo: give --out another folder")
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _MARK).touch()
    except OSError as fault:
        raise InputError(f"cannot write to {out} ({fault.strerror}): give --out another folder") from None


def catalogue(options: DemoOptions, seed: int) -> Catalogue:
    """What the simulated users want and say."""
    if options.massive is None:
        return Phrasebook(seed, options.source, options.locale, fillings=30)
    return MassiveCatalogue(options.massive, options.source, options.locale, options.sample, seed)


def run_demo(settings: Settings, options: DemoOptions, say: Say) -> dict[str, Any]:
    """Run the loop and write report.json and report.html under `options.out`.

    Args:
        settings: of the pipeline; lake, locale and gold are set from the options.
        say: told in one line what is being done.

    Returns:
        The report, as in report.json: rounds, launch, ceiling, seed and what they were run on.

    Raises:
        InputError: bad options.
    """
    began = time.monotonic()
    _prepare(options.out)
    book = catalogue(options, settings.seed)
    crowd: Population = population(options.population).model_copy(update={"users": options.users})
    gold = write_gold(book, options.out / "gold", options.source, options.locale, options.seed_labels, settings.seed)
    settings = of_loop(settings, options.out / "lake", options.source, options.locale, gold)
    wanted = _BRIEF if options.massive else _BRIEF | _PHRASEBOOK
    brief = {name: value for name, value in wanted.items() if name not in settings.training.model_fields_set}
    settings = settings.model_copy(update={"training": settings.training.model_copy(update=brief)})
    lake = new_lake(settings.lake)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent) as beside:
        say(f"launch: training on {options.source} and {options.seed_labels} seed labels of {options.locale}")
        launching = beside.submit(_launch, settings.model_dump())
        rehearse(settings, options.out / "rehearsal", launching.done)
        launched = launching.result()
        say(f"ceiling: training on every annotation of {options.locale}, beside the rounds")
        best = beside.submit(_train_ceiling, settings.model_dump(), options, options.out / "ceiling")
        rounds = [_round(number, settings, options, lake, book, crowd, say) for number in range(1, options.rounds + 1)]
        best.result()
    say("scoring the launch model, every round's champion and the ceiling on wordings that no user spoke")
    test = book.gold(options.locale, "test")
    report: dict[str, Any] = {
        "locale": options.locale,
        "source": options.source,
        "data": "phrasebook" if options.massive is None else "massive",
        "population": options.population,
        "users": options.users,
        "seed": settings.seed,
        "seed_labels": options.seed_labels,
        "test_utterances": len(test),
        "launch": scored(registry.load(lake, launched), test, settings.seed),
        "rounds": [],
        "ceiling": scored(TorchPredictor.load(options.out / "ceiling"), test, settings.seed),
    }
    scores: dict[str, dict[str, Any]] = {}
    for number, done in enumerate(rounds, start=1):
        if done.version not in scores:
            scores[done.version] = scored(registry.load(lake, done.version), test, settings.seed)
        report["rounds"].append(
            {
                "round": number,
                "turns": done.simulated.turns,
                "tasks": done.simulated.tasks,
                "success_rate": done.simulated.success_rate,
                "rephrase_rate": done.simulated.rephrase_rate,
                **done.score.to_json(),
                **scores[done.version],
                "champion": done.version,
                "promoted": done.promoted,
                "gate": done.gate,
                "trial": done.trial,
                "seconds": round(done.seconds, 1),
            }
        )
    report["examples"] = example_pairs(lake, read_truth(options.out / "truth"))
    report["seconds"] = round(time.monotonic() - began, 1)
    from benchmarks.report import write_report

    (options.out / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
    write_report(report, options.out / "report.html")
    return report


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, killed or not: a pool's worker would wait on."""

    def watch() -> None:
        parent = parent_process()
        assert parent is not None, "for processes that multiprocessing has started"
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _launch(plain: dict[str, Any]) -> str:
    """In a process of its own, so that a rehearsal beside it draws nothing from its random numbers."""
    settings = Settings(**plain)
    return launch(settings, Lake(settings.lake))


def _train_ceiling(plain: dict[str, Any], options: DemoOptions, folder: Path) -> None:
    """In a process of its own: it needs nothing of the rounds, and Spark plans on one core."""
    settings = Settings(**plain)
    ceiling(settings, catalogue(options, settings.seed), Lake(settings.lake).registry).save(folder)


def _round(
    number: int,
    settings: Settings,
    options: DemoOptions,
    lake: Lake,
    book: Catalogue,
    crowd: Population,
    say: Say,
) -> _Round:
    began = time.monotonic()
    champion = registry.champion(lake, options.locale)
    assert champion is not None  # _launch promoted one
    say(f"round {number}: {options.users} users speak to {champion.version}")
    found = traffic(settings, lake, book, crowd, number, options.out / "raw", options.out / "truth")
    say(f"round {number}: ingesting {found.turns} turns")
    ingest(lake, settings, [str(found.logs)])
    trial = None
    for result in mine(lake, settings):
        say(f"round {number}: mined {result.step}")
        if result.step == "turns":
            trial = trial_of(settings, lake)
            guess_again(settings, lake)
    say(f"round {number}: training the challenger")
    decision = retrain_and_gate(settings, lake)
    score = score_mining(lake, read_truth(options.out / "truth"), options.locale)
    seconds = time.monotonic() - began
    return _Round(found, score, decision.version, decision.promoted, decision.reason, trial, seconds)
