"""Raw logs as a product would write them, and the truth about every turn, kept apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import SLOTS
from schemas.errors import InputError
from schemas.predictor import Interpretation, Predictor, Slot
from simulator.catalogue import Catalogue
from simulator.dialogue import Trial, converse
from simulator.population import Population
from simulator.turn import Turn

ACTS = ("new", "rephrase", "repeat", "changed_request", "other")
TRUTH = pa.schema(
    [
        pa.field("interaction_id", pa.string(), False),
        pa.field("task_id", pa.string(), False),
        pa.field("goal_id", pa.string()),  # null where the wish is out of scope, and of attacks
        pa.field("act", pa.string(), False),  # of ACTS; other: an answer to a question, or calling something off
        pa.field("rewords", pa.string()),  # the previous try of the same task and goal
        pa.field("gold_intent", pa.string()),  # null where the turn only calls something off
        pa.field("gold_slots", SLOTS, False),  # offsets into the utterance as logged
        pa.field("clean_utterance", pa.string(), False),  # before recogniser noise
        pa.field("satisfied", pa.bool_(), False),  # completed, with the right intent and values
        pa.field("perceived", pa.bool_(), False),  # the user noticed that it was not what they wanted
        pa.field("person", pa.string(), False),  # who spoke; two people may share a user id
        pa.field("change", pa.string()),  # of a changed request: value, opposite, or explore
        pa.field("hyperarticulated", pa.bool_(), False),
        pa.field("attack", pa.bool_(), False),  # said by a bot or an abuser, as half of a false pairing
    ]
)


@dataclass(frozen=True)
class Simulated:
    """Counts of one simulated round. `success_rate` is over tasks that some intent serves."""

    turns: int
    tasks: int
    users: int
    success_rate: float
    rephrase_rate: float
    logs: Path
    truth: Path


def _interpretation(found: Interpretation) -> dict[str, Any]:
    return {"intent": found.intent, "slots": _slots(found.slots)}


def _slots(slots: tuple[Slot, ...]) -> list[dict[str, Any]]:
    return [{"name": s.name, "value": s.value, "start": s.start, "end": s.end} for s in slots]


def record(turn: Turn, locale: str, start: datetime) -> dict[str, Any]:
    """One turn in the input contract (schemas/record.py)."""
    reply = turn.reply
    at = start + timedelta(milliseconds=round(turn.seconds * 1000))
    return {
        "interaction_id": turn.interaction_id,
        "user_id": turn.user_id,
        "locale": locale,
        "occurred_at": at.isoformat(timespec="milliseconds"),
        "utterance": turn.utterance,
        "asr_confidence": turn.asr_confidence,
        "asr_alternatives": [],
        "interpretation": _interpretation(reply.interpretation) if reply.interpretation else None,
        "confidence": None if reply.confidence is None else round(reply.confidence, 6),
        "alternatives": [{**_interpretation(i), "confidence": round(c, 6)} for i, c in reply.alternatives],
        "model_version": turn.model_version,
        "rewritten_from": None,
        "response": reply.response,
        "requested_slot": reply.requested_slot,
        "feedback": list(turn.feedback),
        "channel": turn.channel,
    }


def _truth(turns: list[Turn]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        name: [getattr(turn, name) for turn in turns] for name in TRUTH.names if name != "gold_slots"
    }
    columns["gold_slots"] = [_slots(turn.gold_slots) for turn in turns]
    return pa.Table.from_pydict({name: columns[name] for name in TRUTH.names}, schema=TRUTH)


def simulate(
    catalogue: Catalogue,
    predictor: Predictor,
    population: Population,
    *,
    seed: int,
    round: int,
    start: datetime,
    out: Path | str,
    truth: Path | str,
    locale: str | None = None,
    trial: Trial | None = None,
) -> Simulated:
    """Simulate one round of traffic and write its logs and its truth. Same arguments, same bytes.

    Args:
        catalogue: what users want and how they say it.
        predictor: the model that serves them (`simulator.assistant.NoModel` for none).
        population: how they behave.
        seed: of everything random; users of two rounds differ in what they want, not in their ids.
        round: number of the round, part of every id and file name.
        start: when the round begins; aware.
        out: folder for `<locale>-<round>.jsonl`.
        truth: folder for `<locale>-<round>.parquet`; never `out` or below it, lest it be ingested.
        locale: what the logs say; the catalogue's own by default.
        trial: of a challenger, which serves a share of the users.

    Raises:
        InputError: the truth would lie inside `out`, `start` has no time zone, `seed` or `round` is negative,
            the locale is not the catalogue's, or a folder cannot be written.

    Beside the predictor's own time about 10,000 turns a second on one core, and 2 KB of memory a turn.
    """
    out, truth, locale = Path(out), Path(truth), locale or catalogue.locale
    faults = []
    if truth.resolve().is_relative_to(out.resolve()):
        faults.append(f"the truth would be written to {truth}, inside the logs' folder {out}: give another folder")
    if start.tzinfo is None:
        faults.append(f"start {start.isoformat()} has no time zone: give an offset")
    if seed < 0 or round < 0:
        faults.append(f"seed {seed} and round {round} must not be negative")
    if locale != catalogue.locale:
        faults.append(f"users of this catalogue speak {catalogue.locale}, not {locale}")
    if faults:
        raise InputError("\n".join(faults))
    outcome = converse(catalogue, predictor, population, seed=seed, round=round, name=f"{locale}-{round}", trial=trial)
    turns = sorted(outcome.turns, key=lambda turn: (turn.seconds, turn.interaction_id))
    logs_file, truth_file = out / f"{locale}-{round}.jsonl", truth / f"{locale}-{round}.parquet"
    try:
        out.mkdir(parents=True, exist_ok=True)
        truth.mkdir(parents=True, exist_ok=True)
        with logs_file.open("w", encoding="utf-8") as lines:
            for turn in turns:
                lines.write(json.dumps(record(turn, locale, start), ensure_ascii=False) + "\n")
        pq.write_table(_truth(turns), truth_file)
    except OSError as fault:
        raise InputError(f"cannot write a simulated round ({fault}): give folders that can be written") from None
    return Simulated(
        turns=len(turns),
        tasks=outcome.tasks,
        users=population.users,
        success_rate=outcome.succeeded / outcome.in_scope if outcome.in_scope else 0.0,
        rephrase_rate=sum(turn.act in ("rephrase", "repeat") for turn in turns) / len(turns),
        logs=logs_file,
        truth=truth_file,
    )
