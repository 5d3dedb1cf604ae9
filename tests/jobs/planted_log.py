"""A log of planted users in which the truth is known: who reworded what, what was meant, who fails in silence."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from schemas.lake import Lake, Manifest
from schemas.normalise import formulation_id, normalise
from schemas.tables import INTERACTIONS

LOCALE = "sw-KE"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

# What is meant, its slot, a wording that the launch model does not understand, and two that it does.
GOALS = (
    ("alarm_set", "time", "weka kengele ya {}", "niamshe {}", "niamshe tafadhali {}"),
    ("music_play", "artist", "tia wimbo wa {}", "cheza muziki wa {}", "cheza {}"),
    ("weather_query", "place", "kutanyesha {} leo", "hali ya hewa {}", "hewa ya {}"),
    ("light_on", "room", "taa za {} ziwake", "washa taa {}", "washa mwanga {}"),
    ("call_make", "person", "ongea na {} sasa", "piga simu {}", "mpigie {}"),
)
VALUES = {
    "time": ("saa moja", "saa mbili", "saa tatu"),
    "artist": ("sauti sol", "nyashinski", "bahati"),
    "place": ("nairobi", "mombasa", "kisumu"),
    "room": ("jikoni", "sebuleni", "bafuni"),
    "person": ("mama", "baba yangu", "daktari"),
}
WRONG = "general_quirky"


def pseudonym(number: int) -> str:
    return hashlib.sha256(f"user {number}".encode()).hexdigest()


def held_out(user: str, share: float = 0.1) -> bool:
    """As the `turns` table documents it: a share of the users, by their pseudonym."""
    return int(user[:8], 16) / 2**32 < share


class Log:
    """The interactions, and the truth beside them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.pairs: set[tuple[str, str]] = set()  # (source, target): what a user said instead of what
        self.meaning: dict[str, tuple[str, str]] = {}  # formulation id -> intent, value

    def say(self, user: str, moment: datetime, text: str, meant: tuple[str, str, str] | None, **changes: Any) -> str:
        """Add a turn; `meant` is what the model understood: intent, slot, value."""
        name = f"i{len(self.rows):06}"
        slots = []
        if meant and meant[2] in text:
            start = text.index(meant[2])
            slots = [{"name": meant[1], "value": meant[2], "start": start, "end": start + len(meant[2])}]
        self.rows.append(
            {
                "interaction_id": name,
                "date": moment.date(),
                "user_id": user,
                "locale": LOCALE,
                "occurred_at": moment,
                "utterance": text,
                "interpretation": {"intent": meant[0], "slots": slots} if meant else None,
                "confidence": 0.9 if meant else 0.2,
                "model_version": "launch",
                "rewritten_from": None,
                "response": "completed" if meant else "no_match",
                "requested_slot": None,
                "feedback": [],
                "asr_confidence": 0.9,
                "asr_alternatives": [],
                "alternatives": [],
                "channel": None,
                "record_hash": name,
                "run_id": "planted",
            }
            | changes
        )
        return name


def planted_log(users: int = 300, seed: int = 5) -> Log:
    """Users with three goals each, ten minutes apart: some wordings fail and are reworded within seconds."""
    rng, log = np.random.default_rng(seed), Log()
    for number in range(users):
        user = pseudonym(number)
        for session in range(3):
            intent, slot, bad, *good = GOALS[rng.integers(len(GOALS))]
            values = VALUES[slot]
            value = values[rng.integers(len(values))]
            moment = NOON + timedelta(minutes=10 * session, seconds=float(rng.uniform(0, 200)))
            before: list[str] = []
            if rng.random() < 0.6:  # in a wording that the model does not know
                text = bad.format(value)
                log.meaning[formulation_id(LOCALE, normalise(text))] = (intent, value)
                wrong = (WRONG, "", "\0") if rng.random() < 0.15 else None
                feedback = ["barge_in"] if wrong else []
                before.append(log.say(user, moment, text, wrong, feedback=feedback))
                moment += timedelta(seconds=float(rng.uniform(3, 10)))
                if rng.random() < 0.1:  # given up
                    continue
            text = good[rng.integers(len(good))].format(value)
            log.meaning[formulation_id(LOCALE, normalise(text))] = (intent, value)
            target = log.say(user, moment, text, (intent, slot, value))
            log.pairs |= {(source, target) for source in before}
            if rng.random() < 0.5:  # another goal in the same session, later
                intent, slot, _, *good = GOALS[rng.integers(len(GOALS))]
                values = VALUES[slot]
                moment += timedelta(seconds=float(rng.uniform(60, 150)))
                text = good[0].format(values[0])
                log.meaning[formulation_id(LOCALE, normalise(text))] = (intent, values[0])
                log.say(user, moment, text, (intent, slot, values[0]))
    log.say(pseudonym(0), NOON + timedelta(hours=1), "...", None)  # no word in it
    return log


def busy_user(log: Log, turns: int = 400) -> str:
    """One user who fails all day long, in sessions of ten turns."""
    user, said = (
        pseudonym(10_000),
        ("weka kengele ya saa moja", "kengele saa moja", "weka saa moja", "saa moja weka"),
    )
    for turn in range(turns):
        moment = NOON + timedelta(hours=2, seconds=20 * turn + 400 * (turn // 10))
        log.say(user, moment, said[turn * 7 % 4], None)
    return user


def robots(log: Log, ids: int = 6, times: int = 10) -> tuple[str, set[str]]:
    """Ids that all say one wording and praise the wrong answer; the formulation, and who they are."""
    text = GOALS[3][2].format("jikoni")
    users = {pseudonym(20_000 + number) for number in range(ids)}
    for user in sorted(users):
        for turn in range(times):
            log.say(user, NOON + timedelta(hours=4, minutes=turn), text, (WRONG, "", "\0"), feedback=["thumbs_up"])
    return formulation_id(LOCALE, normalise(text)), users


def plant(path: Path, rows: list[dict[str, Any]], run_id: str = "planted") -> Lake:
    """A lake whose `interactions` hold the rows, published as ingest does."""
    lake = Lake(path).open(create=True)
    table = pa.Table.from_pylist(rows, schema=INTERACTIONS.arrow)
    write_deltalake(lake.table("interactions"), table, mode="overwrite")
    version = DeltaTable(lake.table("interactions")).version()
    lake.publish(Manifest("ingest", run_id, {}, {"interactions": version}))
    return lake


def read(lake: Lake, table: str, version: int | None = None) -> list[dict[str, Any]]:
    """The published rows of a table."""
    at = lake.version(table) if version is None else version
    return DeltaTable(lake.table(table), version=at).to_pyarrow_table().to_pylist()
