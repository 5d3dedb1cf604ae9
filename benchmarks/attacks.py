"""What attackers change of the labels: one launch's first round with them and without, all else equal.

People's turns come first and do not depend on the attackers', the launch model answers alike, and the encoder is that
of the log without attackers, so every label that differs between the two lakes differs for what the attackers said.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.loop import SHARED, Loop, LoopOptions, Say
from benchmarks.loop_reports import METRICS
from benchmarks.rounds import retrain_and_gate
from benchmarks.scoring import gold_labels, read_truth, top
from jobs.encoder import encoder_of
from jobs.pipeline import STEPS
from retrain import registry
from retrain.evaluate import outcomes
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.settings import Settings
from simulator.population import Attack

KINDS = ("pair", "alike", "vouch", "denounce")
_TURN_COLUMNS = ["interaction_id", "user_id", "occurred_at", "formulation_id", "interpretation"]


@dataclass(frozen=True)
class Changes:
    """Accepted labels with attackers against those without, counted in formulations.

    Args:
        attacked: formulations of which attackers want something believed.
        false_pushed: of these, with the wrong label that attackers want and that they did not have.
        true_suppressed: of these, whose right label is lost.
        others_false, others_suppressed, others_right: of all other labels, newly wrong, no longer right, newly right.
            What moves the fitted weights moves labels near the threshold, both ways; and what attackers say is now and
            then mistaken as anybody's would be.
    """

    attacked: int
    false_pushed: int
    true_suppressed: int
    others_false: int
    others_suppressed: int
    others_right: int


def changes(
    before: Mapping[str, str], after: Mapping[str, str], meant: Mapping[str, str], wanted: Mapping[str, str]
) -> Changes:
    """Compare the labels (formulation -> intent) of two lakes.

    Args:
        meant: the true intent of each formulation.
        wanted: of the formulations that are attacked, the intent that attackers want believed.
    """
    pushed = suppressed = false = lost = right = 0
    for name in before.keys() | after.keys():
        truth, was, now = meant.get(name), before.get(name), after.get(name)
        if was == now:
            continue
        if now is not None and now != truth:
            pushed += now == wanted.get(name)
            false += now != wanted.get(name)
        if was is not None and was == truth:
            suppressed += name in wanted
            lost += name not in wanted
        right += now is not None and now == truth
    return Changes(len(wanted), pushed, suppressed, false, lost, right)


@dataclass(frozen=True)
class _Played:
    told: dict[str, Any]
    lake: Lake
    truth: dict[str, dict[str, Any]]
    meant: dict[str, str]
    labels: dict[str, str]


def _labels(lake: Lake, locale: str) -> dict[str, str]:
    rows = lake.rows("pseudo_labels", ["formulation_id", "locale", "status", "intent"])
    return {r["formulation_id"]: r["intent"] for r in rows if r["locale"] == locale and r["status"] == "accepted"}


def wanted_by_attackers(
    turns: Iterable[Mapping[str, Any]], truth: Mapping[str, Mapping[str, Any]], kind: str
) -> dict[str, str]:
    """What attackers want believed of their wordings, formulation -> intent: of the first of two the answer to the
    second, of a single one its own answer (which `denounce` wants gone). Nothing where nothing was understood.

    Args:
        turns: with `interaction_id, user_id, occurred_at, formulation_id, interpretation`.
    """
    said: dict[str, list[Mapping[str, Any]]] = {}
    for turn in turns:
        if truth[turn["interaction_id"]]["attack"]:
            said.setdefault(turn["user_id"], []).append(turn)
    wanted = {}
    for own in said.values():
        own.sort(key=lambda turn: (turn["occurred_at"], turn["interaction_id"]))
        last = own[1] if kind in ("pair", "alike") else own[0]
        if last["interpretation"]:
            wanted[own[0]["formulation_id"]] = last["interpretation"]["intent"]
    return wanted


def run_attacks(
    settings: Settings,
    options: LoopOptions,
    say: Say,
    *,
    kinds: Sequence[str] = KINDS,
    ids: Sequence[int] = (),
    attackers: int = 5,
    repetitions: int = 20,
    cover: int = 0,
    retrained: bool = False,
) -> dict[str, Any]:
    """Mine one round of a launch without attackers, and with each kind of them.

    Args:
        options: of a loop; its population speaks without attackers of its own.
        kinds: what they push, and how; see `simulator.population.Attack`.
        ids: of each attacker; 1, just under the floor of users, 10 and twice the floor by default.
        attackers: each with texts of their own.
        repetitions: of each id.
        cover: other wishes that each id says once, so as to be taken for a person.
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

    def played(name: str, attack: Attack) -> _Played:
        crowd = loop.crowd.model_copy(update={"attack": attack})
        lake = loop.first_lake(f"attacks/{name}", crowd)
        say(f"{name}: labelling")
        loop.mine(lake, [step for step in STEPS if step not in SHARED and (retrained or step != "training_sets")])
        truth = read_truth(lake.path.parent / "truth")
        intents, _, _ = gold_labels(lake, truth, locale)
        meant, labels = {name: top(seen) for name, seen in intents.items()}, _labels(lake, locale)
        right = sum(meant.get(name) == intent for name, intent in labels.items())
        told: dict[str, Any] = {
            "turns": lake.dataset("turns").count_rows(),
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
        return _Played(told, lake, truth, meant, labels)

    quiet = played("quiet", Attack())
    # Trained anew on one more wording, the encoder is another one, and labels near the threshold change places.
    encoder = loop.settings.encoder.model_copy(update={"model": encoder_of(quiet.lake)[0]})
    loop.settings = loop.settings.model_copy(update={"encoder": encoder})
    rows = []
    for kind in kinds:
        for many in ids:
            size = {"attackers": attackers, "ids": many, "repetitions": repetitions, "cover": cover}
            attack = Attack.model_validate(size | {"kind": kind})
            hidden = f"-cover-{cover}" if cover else ""
            now = played(f"{kind}-{attackers}x{many}x{repetitions}{hidden}", attack)
            wanted = wanted_by_attackers(now.lake.rows("turns", _TURN_COLUMNS), now.truth, kind)
            found = changes(quiet.labels, now.labels, now.meant, wanted)
            rows.append({"kind": kind, "ids": many} | now.told | asdict(found))
    return {
        "locale": locale,
        "seed": settings.seed,
        "population": options.population,
        "floor": floor,
        "attackers": attackers,
        "repetitions": repetitions,
        "cover": cover,
        **quiet.told,
        "attacks": rows,
    }
