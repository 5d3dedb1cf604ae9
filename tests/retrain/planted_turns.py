"""Turns of users whose two models serve a known share: who served whom, how they went on, and the truth behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from schemas.lake import Lake, Manifest
from schemas.predictor import Interpretation, Prediction
from schemas.tables import TURNS

LOCALE, OLD, NEW = "xx-XX", "sayagain-xx-XX/1", "sayagain-xx-XX/2"
START = datetime(2026, 1, 5, tzinfo=UTC)
LEVELS = {"thumbs_up": (0.10, 0.02), "nothing": (0.80, 0.58), "said_again": (0.10, 0.40)}  # of served, of failed turns
Row = dict[str, object]


@dataclass(frozen=True)
class Says:
    """A model that has one intent for all texts but those that begin with `alike`, which both have the same for."""

    version: str
    intent: str

    def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
        return [Prediction(Interpretation("c" if u.startswith("alike") else self.intent), 0.9) for u in utterances]


CHAMPION, CHALLENGER = Says(OLD, "a"), Says(NEW, "b")


def said(user: str, model: str, served: float, turns: int, random: np.random.Generator, **fields: object) -> list[Row]:
    """Turns of one user, of which a tenth is not completed; what was seen of their wording before is misleading."""
    rows = []
    for number in range(turns):
        kind = 0 if random.random() < served else 1
        level = str(random.choice(list(LEVELS), p=[p[kind] for p in LEVELS.values()]))
        own = float(np.log2(LEVELS[level][1] / LEVELS[level][0]))
        pieces = [("answer", "a", 5.0), ("feedback", level, own), ("continued", "", 0.0), ("others", "", -3.0)]
        row: Row = {
            "interaction_id": f"{user}-{model}-{number}",
            "session_id": user,
            "position": number,
            "user_id": user,
            "held_out": False,
            "heard": True,
            "formulation_id": "f",
            "text": "t",
            "locale": LOCALE,
            "occurred_at": START + timedelta(seconds=number),
            "utterance": "t",
            "interpretation": None,
            "model_version": model,
            "response": "no_match" if number % 10 == 9 else "completed",
            "confidence": 0.9,
            "feedback": [],
            "alternatives": [],
            "friction": 0.5,
            "evidence": [dict(zip(("name", "level", "weight"), piece, strict=True)) for piece in pieces],
            "run_id": "r",
        }
        rows.append(row | fields)
    return rows


def publish(lake: Lake, rows: list[Row]) -> None:
    table = pa.Table.from_pylist([{n: row.get(n) for n in TURNS.names} for row in rows], schema=TURNS.arrow)
    write_deltalake(str(lake.table("turns")), table, mode="append")
    lake.publish(Manifest("turns", "r", {}, {"turns": lake.latest("turns") or 0}))


def crowd(old: float, new: float, users: int = 400, share: float = 0.25) -> list[Row]:
    """Users whose own luck varies, a share of them with the challenger."""
    random, rows = np.random.default_rng(5), list[Row]()
    for number in range(users):
        model, mean = (NEW, new) if number < share * users else (OLD, old)
        luck = float(np.clip(mean + 0.1 * random.standard_normal(), 0, 1))
        rows += said(f"user{number}", model, luck, 20, random)
    return rows
