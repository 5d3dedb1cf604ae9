"""The gate: a challenger becomes champion only where it is, with confidence, not worse than the champion.

Evidence, in this order: gold dev rows of the target locale; gate rows of the snapshot (turns which the challenger could
not have learnt by heart: of users kept out of the votes, and of all users where a wording has no label); where these
are too few, gold dev rows of the source locale, and the report says so. No test partition is ever read.

A challenger that none of this passes, nor shows to be worse, goes on trial (`retrain.trial`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from retrain import registry
from retrain.data import Example, read_gold, read_snapshot
from retrain.held_out import estimate
from retrain.interval import paired_lower_bound
from retrain.tables import append_rows
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.predictor import Predictor
from schemas.settings import GateSettings, Settings


@dataclass(frozen=True)
class Report:
    """One decision, as it stands in `gate_reports`. Differences and accuracies are fractions of 1."""

    locale: str
    challenger: str
    champion: str | None
    snapshot_id: str
    passed: bool
    reason: str
    examples: int
    challenger_accuracy: float | None
    champion_accuracy: float | None
    lower_bound: float | None
    margin: float


@dataclass(frozen=True)
class Verdict:
    """What the figures say, before anyone has names; None where nothing is known. `examples`: that judged; `open`: not
    passed, and not shown to be worse by the margin either."""

    passed: bool
    reason: str
    challenger_accuracy: float | None
    champion_accuracy: float | None
    lower_bound: float | None
    examples: int
    open: bool = False


def _answers(predictor: Predictor, rows: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
    """bool (n,), (n,): intent right; intent and slots right (False where the slots are unknown)."""
    found: dict[int, tuple[bool, bool]] = {}
    for locale in sorted({e.locale for e in rows}):
        chosen = [i for i, e in enumerate(rows) if e.locale == locale]
        for i, answer in zip(chosen, predictor.predict([rows[i].utterance for i in chosen], locale), strict=True):
            said, gold = answer.interpretation, rows[i]
            right = said.intent == gold.intent
            spans = {(s.name, s.start, s.end) for s in said.slots}
            exact = right and gold.slots is not None and spans == {(s.name, s.start, s.end) for s in gold.slots}
            found[i] = right, exact
    table = np.array([found[i] for i in range(len(rows))], bool).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _bound(challenger: np.ndarray, champion: np.ndarray, confidence: float) -> float:
    gained, lost = int((challenger & ~champion).sum()), int((~challenger & champion).sum())
    return paired_lower_bound(gained, lost, len(challenger), confidence)


def decide(
    challenger: Predictor, champion: Predictor | None, rows: Sequence[Example], settings: GateSettings
) -> Verdict:
    """Compare two models on labelled rows.

    Passes if the one-sided lower bound of the difference in intent accuracy lies above -margin, and, where
    at least `min_examples` rows have known slots, that of exact match too. With no champion the opponent is
    the majority class of the rows, margin 0, intents only: a launch model has to know something.

    Cost: two predictions a row.
    """
    intents, exact = _answers(challenger, rows)
    sure = f"{settings.confidence:.0%} bound"
    if champion is None:
        majority = Counter(e.intent for e in rows).most_common(1)[0][0]
        other = np.array([e.intent == majority for e in rows])
        bound = _bound(intents, other, settings.confidence)
        passed = bound > 0
        reason = (
            f"no champion: {'beats' if passed else 'does not beat'} the majority class ({majority}) "
            f"by {intents.mean() - other.mean():+.3f} ({sure} {bound:+.3f})"
        )
        return Verdict(passed, reason, float(intents.mean()), float(other.mean()), bound, len(rows))
    other, other_exact = _answers(champion, rows)
    bound = _bound(intents, other, settings.confidence)
    said = f"intent accuracy {intents.mean() - other.mean():+.3f} ({sure} {bound:+.3f})"
    faults = [] if bound > -settings.margin else [said]
    worse = -_bound(other, intents, settings.confidence) <= -settings.margin
    known = np.array([e.slots is not None for e in rows])
    if known.sum() >= settings.min_examples:
        exact_bound = _bound(exact[known], other_exact[known], settings.confidence)
        gain = f"exact match {exact[known].mean() - other_exact[known].mean():+.3f} ({sure} {exact_bound:+.3f})"
        said += f", {gain}"
        if exact_bound <= -settings.margin:
            faults.append(gain)
        worse |= -_bound(other_exact[known], exact[known], settings.confidence) <= -settings.margin
    reason = f"not worse by {settings.margin}: {said}"
    if faults:
        reason = f"may be worse by {settings.margin}: {', '.join(faults)}"
    open_ = bool(faults) and not worse
    return Verdict(not faults, reason, float(intents.mean()), float(other.mean()), bound, len(rows), open_)


def decide_on_turns(
    challenger: Predictor,
    champion: Predictor,
    rows: Sequence[Example],
    served_if_right: float,
    settings: GateSettings,
    seed: int,
) -> Verdict:
    """Compare two models on users' turns, without a label; see `retrain.held_out.estimate`.

    Passes if the one-sided bootstrap bound of the difference in intent accuracy lies above -margin.

    Cost: two predictions an utterance.
    """
    texts = sorted({row.utterance for row in rows})
    said = [
        {text: answer.interpretation.intent
         for text, answer in zip(texts, model.predict(texts, rows[0].locale), strict=True)}
        for model in (champion, challenger)
    ]  # fmt: skip
    found = estimate(rows, said[0], said[1], served_if_right, seed)
    if not found.turns:
        return Verdict(False, "nothing is known of the two models where they differ", None, None, None, 0, open=True)
    bound, above = (float(np.quantile(found.resampled, q)) for q in (1 - settings.confidence, settings.confidence))
    passed = bound > -settings.margin
    reason = (
        f"{'not worse' if passed else 'may be worse'} by {settings.margin}: expected intent accuracy "
        f"{found.gain:+.3f} ({settings.confidence:.0%} bound {bound:+.3f})"
    )
    open_ = not passed and above > -settings.margin
    return Verdict(passed, reason, found.champion + found.gain, found.champion, bound, found.turns, open_)


def served_if_right(lake: Lake, snapshot_id: str) -> float:
    """How often an answer with the right intent served, by the manifest of a snapshot; 1 where it does not say."""
    path = lake.snapshots / snapshot_id / "manifest.json"
    if not path.is_file():
        return 1.0
    return float(json.loads(path.read_text(encoding="utf-8")).get("served_if_right", 1.0))


def _verdict(
    settings: Settings, contender: Predictor, incumbent: Predictor | None, lake: Lake, locale: str, snapshot_id: str
) -> tuple[Verdict | None, str]:
    """The verdict, and what it is from: the best evidence that there is enough of."""
    # A launch model has no snapshot: it was trained on gold files alone.
    rows = [] if snapshot_id.startswith("gold-") else read_snapshot(lake, snapshot_id, ("dev", "gate"))
    gold = [*rows, *read_gold(settings.training.gold, ("dev",))]

    def dev(wanted: str) -> list[Example]:
        of_locale = (e for e in gold if e.split == "dev" and e.source == "gold" and e.locale == wanted)
        return list({e.utterance: e for e in of_locale}.values())

    least, source = settings.gate.min_examples, settings.training.source_locale
    judged = [e for e in rows if e.split == "gate" and e.locale == locale]
    turns = len({e.group or e.utterance for e in judged if e.source == "held_out"})
    target = dev(locale)
    if len(target) >= least:
        return decide(contender, incumbent, target, settings.gate), f"{len(target)} gold dev rows of {locale}"
    if turns >= least and incumbent is not None:
        served = served_if_right(lake, snapshot_id)
        verdict = decide_on_turns(contender, incumbent, judged, served, settings.gate, settings.seed)
        voters = len({e.group for e in judged if e.source == "voter"})
        judges = f"{turns} of held-out users and {voters} of others in wordings without a label"
        return verdict, f"{verdict.examples} of {turns + voters} turns, {judges}"
    said = f"only {turns} turns of held-out users and {len(target)} gold dev rows of {locale}"
    spare = dev(source)
    if len(spare) < least:
        return None, f"too few examples to decide: {said}; gate.min_examples is {least}"
    origin = f"{len(spare)} gold dev rows of {source}, since there are {said}"
    return decide(contender, incumbent, spare, settings.gate), origin


def write_report(lake: Lake, report: Report) -> None:
    """Append a decision to `gate_reports`."""
    append_rows(lake, "gate_reports", [{**vars(report), "decided_at": datetime.now(UTC)}])


def gate(settings: Settings, lake: Lake, snapshot_id: str) -> Report:
    """Decide whether the challenger of `settings.locale` may become champion; append the decision to
    `gate_reports`. One that is neither passed nor shown to be worse goes on trial, where `gate.trial_share` allows it,
    none is on trial against this champion and it was never champion.

    Raises:
        InputError: no launch locale, no challenger, no such snapshot. A refusal is a report that did not
        pass.
    """
    locale = settings.locale
    if locale is None:
        raise InputError("no launch locale: set `locale` in sayagain.toml, or give --locale")
    contender = registry.challenger(lake, locale)
    if contender is None:
        raise InputError(f"no challenger for {locale}: run `sayagain train` first")
    incumbent = registry.champion(lake, locale)
    verdict, origin = _verdict(settings, contender, incumbent, lake, locale, snapshot_id)
    reason = f"{verdict.reason} on {origin}" if verdict else origin
    report = Report(
        locale,
        contender.version,
        incumbent.version if incumbent else None,
        snapshot_id,
        verdict is not None and verdict.passed,
        reason,
        verdict.examples if verdict else 0,
        verdict.challenger_accuracy if verdict else None,
        verdict.champion_accuracy if verdict else None,
        verdict.lower_bound if verdict else None,
        settings.gate.margin,
    )
    write_report(lake, report)
    undecided = verdict is not None and verdict.open and incumbent is not None and settings.gate.trial_share > 0
    free = registry.version_of(lake, locale, registry.TRIAL) is None
    if undecided and free and not registry.was_champion(lake, contender.version):
        registry.begin_trial(lake, locale)
    return report
