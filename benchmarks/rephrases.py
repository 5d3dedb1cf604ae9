"""The quality of rephrase mining against a simulated truth, or against gold pairs of real logs.

Simulated users are simulated: read the figures of ours beside those of a classifier that was trained with the truth.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.pair_methods import UNTAUGHT, Log, classifier, outcomes, read_records
from benchmarks.pair_scoring import KINDS, Chosen, Gold, gold_of, score
from benchmarks.synthetic_model import SyntheticModel
from schemas.errors import InputError
from schemas.settings import Settings
from simulator.catalogue import Catalogue
from simulator.logs import simulate
from simulator.massive import MassiveCatalogue
from simulator.phrasebook import Phrasebook
from simulator.population import Attack, Population, population

START = datetime(2026, 1, 5, tzinfo=UTC)
OUTCOMES = ("rephrase", "repeat", "new_request", "nothing")
CEILING = "classifier with truth"
Say = Callable[[str], None]


@dataclass(frozen=True)
class BenchOptions:
    """What the benchmark runs on.

    Args:
        population: name of the users' behaviour.
        massive: a MASSIVE-format folder instead of the phrasebook; only its train partition is spoken.
        locale: what users speak.
        users: their number.
        accuracy: share of the wordings that the synthetic model knows.
        sample: train utterances taken from a MASSIVE folder.
        resamples: of the bootstrap.
        logs, gold: a folder of real logs in the input contract and a JSON Lines file of gold pairs, instead of
            simulated users.
    """

    population: str = "launch"
    massive: Path | None = None
    locale: str = "es-ES"
    users: int = 500
    accuracy: float = 0.4
    sample: int | None = 4000
    resamples: int = 100
    logs: Path | None = None
    gold: Path | None = None


def run_bench(settings: Settings, options: BenchOptions, say: Say) -> dict[str, Any]:
    """Score every method.

    Returns:
        `{population, seed, turns, methods: [{name, kinds: {KIND: {precision, recall, f1, pr_auc, low, high, ...}},
        attack}], friction, ...}`. `low` and `high` bound `pr_auc`; `attack` is empty for methods that see the truth and
        for real logs.

    Raises:
        InputError: bad options, or gold that does not fit the logs.

    About 20 s a 10,000 turns, half of it simulation; memory is that of the turns, a few KB each.
    """
    if (options.logs is None) != (options.gold is None):
        raise InputError("--logs and --gold go together: give both or neither")
    if options.logs is not None and options.gold is not None:
        log, gold, truth = _real(settings, options.logs, options.gold)
        say(f"{len(log.turns):,} turns, {int(gold.is_judged.sum()):,} of them judged")
        crowd = book = None
    else:
        book, crowd = _catalogue(options, settings.seed), _crowd(options)
        say(f"simulating {crowd.users} users of {options.locale}, population {options.population}")
        log, truth = _simulated(settings, options, book, crowd)
        gold = gold_of(truth, log.user, log.texts, log.session)
    methods: list[dict[str, Any]] = []
    for name in (*UNTAUGHT, CEILING):
        say(f"{name}: {len(log.turns):,} turns")
        chosen = classifier(log, gold, settings.seed) if name == CEILING else UNTAUGHT[name](log)
        kinds = score(chosen, gold, seed=settings.seed, resamples=options.resamples)
        methods.append({"name": name, "kinds": kinds, "attack": {}})
    report: dict[str, Any] = {
        "population": options.population if options.logs is None else "real",
        "seed": settings.seed,
        "turns": len(log.turns),
        "methods": methods,
        "locale": options.locale,
        "data": "logs" if options.logs else "massive" if options.massive else "phrasebook",
        "users": int(log.user.max()) + 1 if len(log.user) else 0,
        "sources": {kind: int((gold.kind == kind).sum()) for kind in KINDS[1:]},
        "settings": {
            "min_posterior": settings.rephrase.min_posterior,
            "min_source_friction": settings.rephrase.min_source_friction,
        },
    }
    if truth and book is not None and crowd is not None:
        report |= {"accuracy": options.accuracy, "served": float(np.mean([row["satisfied"] for row in truth]))}
        report["friction"] = calibration(log, truth)
        report["outcomes"] = outcome_table(outcomes(log), gold)
        report["examples"] = _wrong(UNTAUGHT["ours"](log), gold, log, truth)
        for name, found in _attacks(settings, options, book, crowd, say).items():
            for method in methods:
                if method["name"] in found:
                    method["attack"][name] = found[method["name"]]
    return report


def _catalogue(options: BenchOptions, seed: int) -> Catalogue:
    if options.massive is None:
        return Phrasebook(seed, "en-US", options.locale, fillings=1)
    return MassiveCatalogue(options.massive, "en-US", options.locale, options.sample, seed)


def _crowd(options: BenchOptions) -> Population:
    return population(options.population).model_copy(update={"users": options.users})


def _simulated(
    settings: Settings, options: BenchOptions, book: Catalogue, crowd: Population
) -> tuple[Log, list[dict[str, Any]]]:
    model = SyntheticModel(book, options.accuracy, settings.seed)
    with tempfile.TemporaryDirectory() as folder:
        played = simulate(
            book, model, crowd, seed=settings.seed, round=1, start=START,
            out=Path(folder) / "raw", truth=Path(folder) / "truth",
        )  # fmt: skip
        log = Log.of(read_records(played.logs.read_text(encoding="utf-8").splitlines()), settings)
        rows = {row["interaction_id"]: row for row in pq.read_table(played.truth).to_pylist()}
    return log, [rows[name] for name in log.turns.column("interaction_id").to_pylist()]


def _real(settings: Settings, folder: Path, gold_file: Path) -> tuple[Log, Gold, list[dict[str, Any]]]:
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise InputError(f"no *.jsonl in {folder}: give --logs a folder of JSON Lines in the input contract")
    if not gold_file.is_file():
        raise InputError(f"no gold file at {gold_file}")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    try:
        log = Log.of(read_records(lines), settings)
        judged = read_records(gold_file.read_text(encoding="utf-8").splitlines())
    except (ValueError, KeyError, TypeError) as fault:
        raise InputError(f"cannot read {folder} or {gold_file}: {fault!r}; `sayagain ingest` checks logs") from None
    return log, read_gold(judged, log), []


def read_gold(judged: Sequence[Mapping[str, Any]], log: Log) -> Gold:
    """Gold pairs of real logs: rows of `{"source": id, "targets": [ids], "kind": one of `KINDS`}`.

    A source without targets was judged to have none. `kind` may be left out: `one_step` or `chain` by the number of
    targets, `repeat` where all say the source's words again.

    Raises:
        InputError: every row that names an unknown interaction or kind, at once.
    """
    row_of = {name: i for i, name in enumerate(log.turns.column("interaction_id").to_pylist())}
    kind = np.full(len(log.turns), "", dtype="<U13")
    known, targets, faults = np.zeros(len(log.turns), dtype=bool), {}, []
    for number, row in enumerate(judged, start=1):
        names = [row.get("source"), *(row.get("targets") or [])]
        unknown = [str(name) for name in names if name not in row_of]
        named = row.get("kind", "")
        if unknown or named not in ("", *KINDS[1:]):
            faults.append(f"gold row {number}: unknown {', '.join(unknown) or f'kind {named}'}")
            continue
        source, *right = (row_of[name] for name in names)
        known[source] = True
        if right:
            targets[source] = frozenset(right)
            again = all(log.texts[j] == log.texts[source] for j in right)
            kind[source] = named or ("repeat" if again else "one_step" if len(right) == 1 else "chain")
        else:
            kind[source] = named
    if faults:
        raise InputError("\n".join(faults))
    return Gold(kind, targets, log.user, known)


def failed_users(log: Log, truth: Sequence[Mapping[str, Any]]) -> NDArray[np.bool_]:
    """Turns that did not serve their user, by the truth. A fair question for what was left unsaid did."""
    asked = np.asarray(log.turns.column("response").to_pylist(), dtype=object) == "clarification"
    satisfied, perceived = (np.array([row[name] for row in truth], dtype=bool) for name in ("satisfied", "perceived"))
    return np.asarray(~satisfied & ~(asked & ~perceived), dtype=bool)


def calibration(log: Log, truth: Sequence[Mapping[str, Any]], bins: int = 10) -> dict[str, Any]:
    """Friction against the truth: reliability table, Brier score, and that of the base rate of each response.

    Bots are left out: nobody was served or failed there.
    """
    people = np.array([not row["attack"] for row in truth], dtype=bool)
    failed, friction = failed_users(log, truth)[people].astype(float), log.friction[people]
    responses = np.asarray(log.turns.column("response").to_pylist(), dtype=object)[people]
    rate = {name: float(failed[responses == name].mean()) for name in sorted(set(responses))}
    place = np.minimum((friction * bins).astype(int), bins - 1)
    table = [
        {
            "from": b / bins,
            "turns": int((place == b).sum()),
            "said": float(friction[place == b].mean()),
            "failed": float(failed[place == b].mean()),
        }
        for b in range(bins)
        if (place == b).any()
    ]
    return {
        "brier": float(((friction - failed) ** 2).mean()),
        "base_rate": float(failed.mean()),
        "brier_base_rate": float(failed.mean() * (1 - failed.mean())),
        "brier_response_rate": float(((np.array([rate[r] for r in responses]) - failed) ** 2).mean()),
        "reliability": table,
    }


def _attacks(
    settings: Settings, options: BenchOptions, book: Catalogue, crowd: Population, say: Say
) -> dict[str, dict[str, Any]]:
    """What one attacker changes who has one id, ten, or just more than the floor of users behind a label; and ten that
    say other things beside, more than the attack, so that they are heard."""
    quiet = crowd.model_copy(update={"attack": Attack()})
    log, truth = _simulated(settings, options, book, quiet)
    before = {name: _believed(find(log), log) for name, find in UNTAUGHT.items() if not name.startswith("ours without")}
    floor = settings.labels.vote_floor
    found: dict[str, dict[str, Any]] = {}
    attacks = {
        "one_id": Attack(attackers=1, ids=1, repetitions=500),
        "ten_ids": Attack(attackers=1, ids=10, repetitions=500),
        "above_floor": Attack(attackers=1, ids=floor + 1, repetitions=500),
        "ten_covered_ids": Attack(attackers=1, ids=10, repetitions=10, cover=20),
    }
    for name, attack in attacks.items():
        say(f"attack with {attack.ids} ids")
        arm = quiet.model_copy(update={"attack": attack})
        log, truth = _simulated(settings, options, book, arm)
        bots = {row["interaction_id"] for row in truth if row["attack"]}
        accounts = {row["person"] for row in truth if row["attack"]}
        theirs = {row["interaction_id"] for row in truth if row["person"] in accounts}
        found[name] = {}
        for method, pairs in before.items():
            now = _believed(UNTAUGHT[method](log), log)
            false = {pair: said for pair, said in now.items() if pair[0] in bots}
            others = {pair for pair in now if pair[0] not in theirs}
            behind: dict[tuple[str, str], set[str]] = {}
            for (source, _), (one, other, user) in false.items():
                behind.setdefault((one, other), set()).add(user if source else "")
            found[name][method] = {
                "ids": attack.ids,
                "others_changed": len(others ^ set(pairs)),
                "false_pairs": len(false),
                "false_edges": len(behind),
                "edges_past_floor": sum(len(users) >= floor for users in behind.values()),
            }
    return found


def _believed(chosen: Chosen, log: Log) -> dict[tuple[str, str], tuple[str, str, str]]:
    names, said, users = (
        log.turns.column(name).to_pylist() for name in ("interaction_id", "formulation_id", "user_id")
    )
    rows = zip(chosen.source[chosen.believed].tolist(), chosen.target[chosen.believed].tolist(), strict=True)
    return {(names[i], names[j]): (said[i], said[j], users[i]) for i, j in rows if said[i] != said[j]}


def _wrong(chosen: Chosen, gold: Gold, log: Log, truth: Sequence[Mapping[str, Any]], most: int = 12) -> list[Any]:
    """A seeded choice of wrong pairs, with what the truth says of them."""
    taken = chosen.believed & ~chosen.same_words
    rows = zip(chosen.source[taken].tolist(), chosen.target[taken].tolist(), chosen.score[taken].tolist(), strict=True)
    wrong = [(i, j, p) for i, j, p in rows if j not in gold.targets.get(i, ())]
    picked = np.random.default_rng(0).permutation(len(wrong))[:most]
    return [
        {
            "said": log.texts[i],
            "said_next": log.texts[j],
            "posterior": p,
            "truth": truth[j]["change"] or ("attack" if truth[i]["attack"] else "another task"
                if truth[i]["task_id"] != truth[j]["task_id"] else "another goal of the task"),
        }
        for i, j, p in (wrong[n] for n in picked.tolist())
    ]  # fmt: skip


def outcome_table(said: NDArray[np.str_], gold: Gold) -> dict[str, dict[str, int]]:
    """How many turns of each true outcome (said again in other words, in the same, another request, anything else) were
    said to have which."""
    of = {"repeat": "repeat", "hard_negative": "new_request", "": "nothing"}
    true = np.array([of.get(kind, "rephrase") for kind in gold.kind.tolist()])
    return {
        outcome: {name: int(((true == outcome) & (said == name)).sum()) for name in OUTCOMES} for outcome in OUTCOMES
    }


def share_of_ceiling(report: Mapping[str, Any]) -> float:
    """Our area under the precision-recall curve over the ceiling's, for pairs of every kind."""
    area = {m["name"]: m["kinds"]["all"]["pr_auc"] for m in report["methods"]}
    return float(area["ours"] / area[CEILING]) if area[CEILING] else 0.0


def rounded(report: Any) -> Any:
    """The report with its numbers to six decimals."""
    if isinstance(report, Mapping):
        return {name: rounded(value) for name, value in report.items()}
    if isinstance(report, list | tuple):
        return [rounded(value) for value in report]
    return round(report, 6) if isinstance(report, float) else report
