"""What every closed loop on simulated users is made of: gold files, launch, traffic, retraining, gate, scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.loop_reports import METRICS
from jobs.encoder import encoder_of
from jobs.pseudonym_key import key_file
from retrain import registry
from retrain.data import from_annotated, read_gold
from retrain.evaluate import Outcomes, outcomes
from retrain.gate import gate
from retrain.predictor import TorchPredictor
from retrain.tables import read_table
from retrain.train import supervised, train
from retrain.trial import decide_trial
from schemas.annotated import Annotated, write_annotated
from schemas.lake import Lake
from schemas.predictor import Predictor
from schemas.settings import INTERPRETED, Settings
from simulator.catalogue import Catalogue
from simulator.dialogue import Trial
from simulator.logs import Simulated, simulate
from simulator.population import Population

START = datetime(2026, 1, 5, tzinfo=UTC)
_KEY = "the users are made up"  # of the pseudonyms: one key, so that one seed gives one report
# A round's log is small: compiling each query takes longer than interpreting it, planning it anew after each of its
# stages longer than what the better plan saves, and asking files' statistics longer than reading the files.
_SMALL_QUERIES = INTERPRETED | {
    "spark.sql.adaptive.enabled": "false",
    "spark.databricks.delta.stats.skipping": "false",
}


@dataclass(frozen=True)
class Decision:
    """What became of one challenger: the champion's version after it, and why."""

    challenger: str
    version: str
    promoted: bool
    reason: str


def write_gold(book: Catalogue, folder: Path, source: str, locale: str, seed_labels: int, seed: int) -> list[Path]:
    """The annotated files that a launch has: the source language's, and the launch locale's seed labels if any."""
    mature = folder / f"{source}.jsonl"
    write_annotated(mature, [*book.gold(source, "train"), *book.gold(source, "dev")])
    if not seed_labels:
        return [mature]
    seeds = folder / f"{locale}.jsonl"
    write_annotated(seeds, book.seed_labels(seed_labels, seed))
    return [mature, seeds]


def of_loop(settings: Settings, lake: Path, source: str, locale: str, gold: Sequence[Path]) -> Settings:
    """The settings of a loop: its lake, locales and gold files, and a Spark for small queries."""
    spark = settings.spark.model_copy(update={"conf": _SMALL_QUERIES | settings.spark.conf})
    training = settings.training.model_copy(update={"gold": tuple(gold), "source_locale": source})
    return settings.model_copy(update={"lake": lake, "locale": locale, "spark": spark, "training": training})


def new_lake(path: Path) -> Lake:
    """A lake for simulated users: with one seed the same of them are held out."""
    lake = Lake(path).open(create=True)
    key_file(lake).write_text(_KEY, encoding="ascii")
    return lake


def launch(settings: Settings, lake: Lake) -> str:
    """Train the launch model and promote it: nobody is served otherwise, also where the gate has too little to
    judge it. Returns its version."""
    trained = train(settings, lake)
    registry.register(trained, trained.dev, lake)
    report = gate(settings, lake, trained.snapshot_id)
    return registry.promote(lake, trained.locale, force=not report.passed)


def traffic(
    settings: Settings, lake: Lake, book: Catalogue, crowd: Population, number: int, raw: Path, truth: Path
) -> Simulated:
    """One round of users who talk to the lake's champion, or to the challenger on trial."""
    champion, tried = registry.champion(lake, book.locale), registry.on_trial(lake, book.locale)
    assert champion is not None, "launch promotes one"
    trial = Trial(tried, settings.gate.trial_share) if tried else None
    return spoken(settings.seed, book, crowd, number, raw, truth, champion, trial)


def spoken(
    seed: int,
    book: Catalogue,
    crowd: Population,
    number: int,
    raw: Path,
    truth: Path,
    champion: Predictor,
    trial: Trial | None = None,
) -> Simulated:
    """One round of users, in its place in time, whoever serves them."""
    start = START + timedelta(days=crowd.days * (number - 1))
    return simulate(book, champion, crowd, seed=seed, round=number, start=start, out=raw, truth=truth, trial=trial)


def versions_of(lake: Lake, locale: str) -> list[str]:
    """Every model of a locale that was registered in a lake, in the order of training."""
    runs = read_table(lake, "model_runs", where=[("locale", "=", locale)])
    return sorted({r["model_version"] for r in runs}, key=lambda version: int(version.rpartition("/")[2]))


def trial_of(settings: Settings, lake: Lake) -> dict[str, str] | None:
    """Judge the challenger on trial, if any, by the turns of the lake: what became of it, for a report."""
    outcome = decide_trial(settings, lake)
    return None if outcome is None else vars(outcome)


def retrain_and_gate(settings: Settings, lake: Lake, *, with_encoder: bool = False) -> Decision:
    """Train on the lake's newest snapshot, and promote what the gate lets through."""
    manifest = lake.manifest("training_sets")
    assert manifest is not None, "the step training_sets has run"
    assert settings.locale is not None
    snapshot = str(manifest.details["snapshot_id"])
    encoder = encoder_of(lake)[0] if with_encoder else None
    trained = train(settings, lake, snapshot_id=snapshot, encoder=encoder)
    challenger = registry.register(trained, trained.dev, lake)
    decision = gate(settings, lake, snapshot)
    if decision.passed:
        registry.promote(lake, settings.locale)
    version = registry.version_of(lake, settings.locale, "champion")
    assert version is not None
    return Decision(challenger, version, decision.passed, decision.reason)


def ceiling(settings: Settings, book: Catalogue, cache: Path) -> TorchPredictor:
    """The same model trained on every annotation of the launch locale."""
    return supervised(
        settings,
        [*read_gold(settings.training.gold[:1]), *from_annotated(book.gold(book.locale, "train"))],
        cache=cache,
    )


def figures(found: Outcomes, seed: int) -> dict[str, Any]:
    """The three metrics with their 95% bootstrap intervals."""
    metrics, low_high = found.metrics(), found.interval(seed)
    return {name: getattr(metrics, name) for name in METRICS} | {
        "interval": {name: list(low_high[name]) for name in METRICS}
    }


def scored(predictor: TorchPredictor, test: list[Annotated], seed: int) -> dict[str, Any]:
    """A model's figures on utterances in wordings that no user spoke."""
    return figures(outcomes(predictor, test), seed)
