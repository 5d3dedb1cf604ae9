"""What attackers change of the labels: one launch's first round with them and without, all else equal.

People's turns come first and do not depend on the attackers', the launch model answers alike, and the encoder is that
of the log without attackers, so every label that differs between the two lakes differs for what the attackers said.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.loop import SHARED, Loop, LoopOptions, Say
from benchmarks.rounds import METRICS, retrain_and_gate
from benchmarks.scoring import gold_labels, read_truth
from jobs.encoder import encoder_of
from jobs.pipeline import STEPS
from retrain import registry
from retrain.evaluate import outcomes
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.settings import Settings
from simulator.population import Attack

KINDS = ("pair", "alike", "vouch", "denounce")


@dataclass(frozen=True)
class Changes:
    """Accepted labels with attackers against those without, counted in formulations.

    Args:
        attacked: formulations that attackers say.
        false_pushed: of these, with a wrong label that they did not have.
        true_suppressed: of these, whose right label is lost.
        others_false, others_suppressed, others_right: of all other formulations, newly wrong, no longer right, newly
            right. What moves the fitted weights moves labels near the threshold, both ways.
    """

    attacked: int
    false_pushed: int
    true_suppressed: int
    others_false: int
    others_suppressed: int
    others_right: int


def changes(
    before: Mapping[str, str], after: Mapping[str, str], meant: Mapping[str, str], attacked: set[str]
) -> Changes:
    """Compare the labels (formulation -> intent) of two lakes.

    Args:
        meant: the true intent of each formulation.
        attacked: formulations that attackers say.
    """
    counts = Counter[tuple[str, str]]()
    for name in before.keys() | after.keys():
        truth, was, now = meant.get(name), before.get(name), after.get(name)
        if was == now:
            continue
        whose = "attacked" if name in attacked else "others"
        counts[whose, "false"] += now is not None and now != truth
        counts[whose, "lost"] += was is not None and was == truth
        counts[whose, "right"] += now is not None and now == truth
    return Changes(
        len(attacked),
        counts["attacked", "false"], counts["attacked", "lost"],
        counts["others", "false"], counts["others", "lost"], counts["others", "right"],
    )  # fmt: skip


def _labels(lake: Lake, locale: str) -> dict[str, str]:
    rows = lake.rows("pseudo_labels", ["formulation_id", "locale", "status", "intent"])
    return {r["formulation_id"]: r["intent"] for r in rows if r["locale"] == locale and r["status"] == "accepted"}


def _said_by_bots(lake: Lake, truth: Mapping[str, Mapping[str, Any]]) -> set[str]:
    rows = lake.rows("turns", ["interaction_id", "formulation_id"])
    return {r["formulation_id"] for r in rows if truth[r["interaction_id"]]["attack"]}


def run_attacks(
    settings: Settings,
    options: LoopOptions,
    say: Say,
    *,
    kinds: Sequence[str] = KINDS,
    ids: Sequence[int] = (),
    attackers: int = 5,
    repetitions: int = 20,
    retrained: bool = False,
) -> dict[str, Any]:
    """Mine one round of a launch without attackers, and with each kind of them.

    Args:
        options: of a loop; its population speaks without attackers of its own.
        kinds: what they push, and how; see `simulator.population.Attack`.
        ids: of each attacker; 1, just under the floor of users, 10 and twice the floor by default.
        attackers: each with texts of their own.
        repetitions: of each id.
        retrained: train on each lake's labels as well, and tell the champion's figures on dev.

    Returns:
        locale, seed, population, turns, labels, label_precision and dev (null unless retrained) without attackers, and
        attacks: [{kind, ids, turns, labels, label_precision, dev, and the fields of `Changes`}].

    Raises:
        InputError: bad options, or a folder that holds another experiment.

    Cost: a round of traffic and mining for each kind and number of ids, a minute or two on two cores; training more.
    """
    floor = settings.labels.vote_floor
    ids = tuple(ids) or tuple(sorted({1, max(1, floor - 1), 10, 2 * floor}))
    faults = [f"no attack {kind!r}; there are {', '.join(KINDS)}" for kind in kinds if kind not in KINDS]
    faults += [f"{n} ids: at least one" for n in ids if n < 1]
    if faults:
        raise InputError("\n".join(faults))
    loop = Loop(settings, options, say)
    locale = options.locale

    def played(name: str, attack: Attack) -> tuple[dict[str, Any], Lake, Path]:
        crowd = loop.crowd.model_copy(update={"attack": attack})
        lake = loop.first_lake(f"attacks/{name}", crowd)
        say(f"{name}: labelling")
        steps = [step for step in STEPS if step not in SHARED and (retrained or step != "training_sets")]
        loop.mine(lake, steps)
        truth = lake.path.parent / "truth"
        meant = _meant(lake, truth, locale)
        labels = _labels(lake, locale)
        right = sum(meant.get(name) == intent for name, intent in labels.items())
        told: dict[str, Any] = {
            "turns": sum(1 for _ in lake.rows("turns", ["interaction_id"])),
            "labels": len(labels),
            "label_precision": right / len(labels) if labels else 0.0,
            "dev": None,
        }
        if retrained:
            say(f"{name}: training")
            shutil.rmtree(lake.registry, ignore_errors=True)
            loop.serve(lake)
            decision = retrain_and_gate(loop.of(lake.path), lake)
            found = outcomes(registry.load(lake, decision.version), loop.book.gold(locale, "dev")).metrics()
            told["dev"] = {m: getattr(found, m) for m in METRICS} | {"promoted": decision.promoted}
        return told, lake, truth

    quiet, lake, _ = played("quiet", Attack())
    before = _labels(lake, locale)
    # Trained anew on one more wording, the encoder is another one, and labels near the threshold change places.
    encoder = loop.settings.encoder.model_copy(update={"model": encoder_of(lake)[0]})
    loop.settings = loop.settings.model_copy(update={"encoder": encoder})
    rows = []
    for kind in kinds:
        for many in ids:
            size = {"attackers": attackers, "ids": many, "repetitions": repetitions}
            attack = Attack.model_validate(size | {"kind": kind})
            told, lake, truth = played(f"{kind}-{attackers}x{many}x{repetitions}", attack)
            said = _said_by_bots(lake, read_truth(truth))
            found = changes(before, _labels(lake, locale), _meant(lake, truth, locale), said)
            rows.append({"kind": kind, "ids": many} | told | asdict(found))
    return {
        "locale": locale,
        "seed": settings.seed,
        "population": options.population,
        "floor": floor,
        "attackers": attackers,
        "repetitions": repetitions,
        **quiet,
        "attacks": rows,
    }


def _meant(lake: Lake, truth: Path, locale: str) -> dict[str, str]:
    """The most frequent meaning of each formulation."""
    intents, _, _ = gold_labels(lake, read_truth(truth), locale)
    return {name: max(seen, key=lambda k: (seen[k], k)) for name, seen in intents.items() if seen}
