"""What a loop is compared with: other ways to label the same log, published in place of the step's labels.

Every baseline sees the pipeline's own turns, pairs and floor of users, so that only the labelling differs; but
self-training knows no floor, and trains on what a single user said. No baseline has clusters, slot evidence or
friction-weighted votes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from jobs.lake import digest
from mining.slots import project
from retrain import registry
from schemas.lake import Lake, Manifest
from schemas.predictor import Slot
from schemas.settings import Settings
from schemas.tables import PSEUDO_LABELS
from schemas.training_tables import TRANSLATIONS

_ACCEPTED = 0.5  # friction below which a turn counts as accepted
_SEEN, _AGREED = 10, 0.8  # MARUPA's filter (Falke et al. 2020): seen so often, and agreed on by so many
_CONFIDENT = 0.8  # of self-training

Values = tuple[tuple[str, str], ...]
Reading = tuple[str, Values]  # intent and slot values


@dataclass(frozen=True)
class _Text:
    """A formulation: its most frequent spelling and how often it was spoken, held-out users left out."""

    utterance: str
    events: int
    users: int


@dataclass(frozen=True)
class Log:
    """What the baselines read: turns and mined rephrases of users who vote."""

    locale: str
    turns: list[dict[str, Any]]
    pairs: list[dict[str, Any]]

    @classmethod
    def of(cls, lake: Lake, locale: str) -> Log:
        """Read a lake."""
        columns = ["formulation_id", "user_id", "utterance", "text", "interpretation", "response", "friction"]
        turns = lake.rows("turns", [*columns, "held_out", "locale"])
        columns = ["source_formulation", "user_id", "target_interpretation", "kind", "held_out", "locale"]
        pairs = lake.rows("rephrase_pairs", columns)
        return cls(
            locale,
            [t for t in turns if t["locale"] == locale and t["text"] and not t["held_out"]],
            [p for p in pairs if p["locale"] == locale and _votes_by_rephrase(p)],
        )

    def texts(self) -> dict[str, _Text]:
        """Formulations."""
        spelt: dict[str, Counter[str]] = defaultdict(Counter)
        users: dict[str, set[str]] = defaultdict(set)
        for t in self.turns:
            spelt[t["formulation_id"]][t["utterance"]] += 1
            users[t["formulation_id"]].add(t["user_id"])
        return {
            name: _Text(max(seen, key=lambda u: (seen[u], u)), sum(seen.values()), len(users[name]))
            for name, seen in spelt.items()
        }


def _votes_by_rephrase(pair: dict[str, Any]) -> bool:
    return not pair["held_out"] and pair["kind"] == "rephrase" and pair["target_interpretation"] is not None


def _reading(interpretation: dict[str, Any]) -> Reading:
    return interpretation["intent"], tuple((s["name"], s["value"]) for s in interpretation["slots"] or ())


def _bare(turn: dict[str, Any]) -> bool:
    slots = (turn["interpretation"] or {}).get("slots") or ()
    return any(s["start"] == 0 and s["end"] == len(turn["utterance"]) for s in slots)


def _votes(log: Log, *, own: bool, rephrases: bool) -> dict[str, dict[tuple[str, str], list[Reading]]]:
    """Formulation -> (user, source) -> readings."""
    votes: dict[str, dict[tuple[str, str], list[Reading]]] = defaultdict(lambda: defaultdict(list))
    for t in log.turns if own else ():
        if t["response"] == "completed" and t["interpretation"] and t["friction"] < _ACCEPTED and not _bare(t):
            votes[t["formulation_id"]][t["user_id"], "own"].append(_reading(t["interpretation"]))
    for p in log.pairs if rephrases else ():
        votes[p["source_formulation"]][p["user_id"], "rephrase"].append(_reading(p["target_interpretation"]))
    return votes


def _majority(votes: dict[str, dict[tuple[str, str], list[Reading]]], settings: Settings) -> dict[str, Reading]:
    chosen = {}
    for name, voters in votes.items():
        per_user: dict[str, set[str]] = defaultdict(set)
        readings: Counter[Reading] = Counter()
        for (user, _), said in voters.items():
            per_user[user].update(intent for intent, _ in said)
            readings.update(said)
        counts = Counter(intent for intents in per_user.values() for intent in intents)
        intent, most = max(counts.items(), key=lambda item: (item[1], item[0]))
        if most >= settings.labels.vote_floor and most >= settings.labels.min_posterior * sum(counts.values()):
            chosen[name] = max((r for r in readings if r[0] == intent), key=lambda r: (readings[r], r))
    return chosen


def majority(log: Log, settings: Settings) -> dict[str, Reading]:
    """Majority vote of a formulation's own accepted turns and rephrase targets, one vote a user; no clusters."""
    return _majority(_votes(log, own=True, rephrases=True), settings)


def accepted_only(log: Log, settings: Settings) -> dict[str, Reading]:
    """Only what the model understood and nobody complained about."""
    return _majority(_votes(log, own=True, rephrases=False), settings)


def marupa(log: Log, settings: Settings) -> dict[str, Reading]:
    """Labels projected from rephrase targets, kept where seen at least 10 times and agreed on by 80%.

    Source: Falke et al. 2020, "Leveraging User Paraphrasing Behavior In Dialog Systems To Automatically Collect
    Annotations For Long-Tail Utterances" (COLING, Industry Track): its filter, on our pairs.
    """
    chosen = {}
    for name, voters in _votes(log, own=False, rephrases=True).items():
        said = Counter(reading for readings in voters.values() for reading in readings)
        reading, most = max(said.items(), key=lambda item: (item[1], item[0]))
        if said.total() >= _SEEN and most >= _AGREED * said.total():
            chosen[name] = reading
    return chosen


def label(lake: Lake, locale: str, settings: Settings, name: str) -> int:
    """Publish a baseline's labels as `pseudo_labels`; returns how many. O(turns) time and memory.

    Args:
        name: of `LABELLERS`, or self-training.
    """
    log = Log.of(lake, locale)
    texts = log.texts()
    rows = []
    if name == "self-training":
        champion = registry.champion(lake, locale)
        assert champion is not None, "launch promotes one"
        names = sorted(texts)
        for found, answer in zip(names, champion.predict([texts[n].utterance for n in names], locale), strict=True):
            if answer.confidence >= _CONFIDENT:
                said = answer.interpretation
                rows.append(
                    _row(
                        found,
                        texts[found],
                        locale,
                        said.intent,
                        said.slots,
                        answer.confidence,
                        "the model is confident",
                    )
                )
    else:
        for found, (intent, values) in sorted(LABELLERS[name](log, settings).items()):
            slots = project(values, texts[found].utterance)
            rows.append(_row(found, texts[found], locale, intent, slots, 1.0, name))
    publish_labels(lake, rows)
    return len(rows)


LABELLERS: dict[str, Callable[[Log, Settings], dict[str, Reading]]] = {
    "majority": majority,
    "accepted-only": accepted_only,
    "marupa": marupa,
}


def _row(
    name: str, text: _Text, locale: str, intent: str, slots: Sequence[Slot] | None, posterior: float, why: str
) -> dict[str, Any]:
    return {
        "formulation_id": name,
        "locale": locale,
        "utterance": text.utterance,
        "cluster_id": name,
        "status": "accepted",
        "why": why,
        "intent": intent,
        "posterior": posterior,
        "intents": [{"intent": intent, "probability": posterior}],
        "slots": None if slots is None else [vars(s) for s in slots],
        "slot_posterior": None,
        "users": text.users,
        "own_users": text.users,
        "events": text.events,
        "sources": [],
        "pair_ids": [],
    }


def publish_labels(lake: Lake, rows: Sequence[dict[str, Any]]) -> None:
    """Publish labels in place of the step's and no translations, in a benchmark's lake: the next step reads both."""
    run_id = digest("substituted", list(rows))
    versions = {}
    for table, of_it in ((PSEUDO_LABELS, rows), (TRANSLATIONS, ())):
        filled = [dict.fromkeys(table.names) | row | {"run_id": run_id} for row in of_it]
        made, path = pa.Table.from_pylist(filled, schema=table.arrow), lake.table(table.name)
        write_deltalake(path, made, mode="overwrite", schema_mode="overwrite", partition_by=list(table.partition_by))
        versions[table.name] = DeltaTable(path).version()
    lake.publish(Manifest("pseudo_labels", run_id, {}, versions, {"accepted": len(rows)}))
