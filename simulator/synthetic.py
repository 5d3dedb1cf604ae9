"""Synthetic traffic by the million: users with goals, their wordings and tries, and a model of given accuracy.

The dialogue simulator lets users talk to a real model one turn at a time; this one draws whole blocks of turns with
numpy, so that ten million take minutes. It is for measuring cost, not quality: words are made up of syllables, and the
model knows a wording or does not, the same for every user. A block is a function of the settings, the seed and its
number, so that blocks can be made anywhere in any order (`benchmarks.synthetic_lake` maps them over Spark partitions).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from schemas.columns import INTERPRETATION, SLOT
from schemas.tables import INTERACTIONS

Ints = NDArray[np.int64]
TRUTH = pa.schema([("interaction_id", pa.string()), ("task_id", pa.int64()), ("right", pa.bool_())])
_LETTERS = "abcdefghijklmnoprstuvwyz"
_SYLLABLES = ("ba", "ki", "tu", "ma", "le", "nge", "wa", "si", "mbo", "ya", "ro", "chi", "ñu", "ta", "pé", "za")


class SyntheticTraffic(BaseModel):
    """What the traffic is like. Shares are of 1, times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=17, ge=0)
    locale: str = "sw-KE"
    start: datetime = datetime(2026, 1, 5, tzinfo=UTC)
    days: int = Field(default=14, ge=1)
    intents: int = Field(default=60, ge=2)
    wordings: int = Field(default=40, ge=2)  # of one intent, popular by Zipf's law
    values: int = Field(default=500, ge=2)  # of one slot type, popular by Zipf's law
    accuracy: float = Field(default=0.4, ge=0, le=1)  # share of the wordings, by use, that the model understands
    misheard: float = Field(default=0.08, ge=0, le=1)  # turns with a letter that the recogniser got wrong
    unanswered: float = Field(default=0.6, ge=0, le=1)  # of the wordings not understood; others get a wrong answer
    tries: int = Field(default=4, ge=1)  # of one task, at most
    gives_up: float = Field(default=0.2, ge=0, le=1)  # after an unanswered try
    silent: float = Field(default=0.3, ge=0, le=1)  # after a wrong answer, no further try
    repeats: float = Field(default=0.15, ge=0, le=1)  # of the further tries, in the same words
    tasks_a_user: int = Field(default=20, ge=1)  # on average
    new_session: float = Field(default=0.5, ge=0, le=1)  # of the tasks begin one
    robot_block: bool = False  # all turns of block 0 are one user's, who never pauses
    broken: float = Field(default=0.003, ge=0, le=1)  # raw lines added that are no interaction
    redelivered: float = Field(default=0.002, ge=0, le=1)  # raw lines that come a second time


@dataclass(frozen=True)
class _Language:
    """Wordings of an intent as text before and after a value; values of a slot type; popularity of both."""

    before: pa.Array  # intents x wordings
    after: pa.Array
    value: pa.Array
    wording_share: NDArray[np.float64]  # cumulative
    value_share: NDArray[np.float64]  # cumulative
    known: NDArray[np.bool_]  # intents x wordings, whether the model understands it
    mistaken_for: Ints  # the intent it takes it for where it does not
    unanswered: NDArray[np.bool_]  # where it does not, and says so


def _zipf(n: int) -> NDArray[np.float64]:
    share = 1 / np.arange(1, n + 1)
    return np.asarray(np.cumsum(share / share.sum()), dtype=np.float64)


@lru_cache(maxsize=4)
def _language(traffic: SyntheticTraffic) -> _Language:
    rng = np.random.default_rng([traffic.seed, 1 << 32])

    def phrase(low: int, high: int) -> str:
        return " ".join("".join(rng.choice(_SYLLABLES, rng.integers(1, 4))) for _ in range(rng.integers(low, high)))

    shape = traffic.intents * traffic.wordings
    values = dict.fromkeys(phrase(1, 3) for _ in range(4 * traffic.values))
    # Popular wordings are known first, up to the accuracy; which are popular differs from intent to intent.
    used = np.tile(np.diff(_zipf(traffic.wordings), prepend=0), traffic.intents) / traffic.intents
    order = rng.permutation(shape)
    known = np.zeros(shape, dtype=bool)
    known[order] = np.cumsum(used[order]) <= traffic.accuracy
    return _Language(
        before=pa.array([f"{phrase(1, 5)} " for _ in range(shape)]),
        after=pa.array([f" {phrase(1, 3)}" if rng.random() < 0.5 else "" for _ in range(shape)]),
        value=pa.array(list(values)[: traffic.values]),
        wording_share=_zipf(traffic.wordings),
        value_share=_zipf(min(traffic.values, len(values))),
        known=known,
        mistaken_for=rng.integers(0, traffic.intents, shape),
        unanswered=rng.random(shape) < traffic.unanswered,
    )


def _tries(traffic: SyntheticTraffic, rng: np.random.Generator, tasks: int) -> dict[str, NDArray[Any]]:
    """The turns of some tasks, in order: task, intent, wording, value, and what came of each."""
    language, shape = _language(traffic), (tasks, traffic.tries)
    intent = rng.integers(0, traffic.intents, tasks)
    value = np.searchsorted(language.value_share, rng.random(tasks), side="right").clip(max=len(language.value) - 1)
    wording = np.searchsorted(language.wording_share, rng.random(shape)).clip(max=traffic.wordings - 1)
    again = rng.random(shape) < traffic.repeats
    for later in range(1, traffic.tries):
        wording[:, later] = np.where(again[:, later], wording[:, later - 1], wording[:, later])
    phrase = intent[:, None] * traffic.wordings + wording
    misheard = rng.random(shape) < traffic.misheard
    right = language.known[phrase] & ~(misheard & (rng.random(shape) < 0.5))
    unanswered = ~right & language.unanswered[phrase]
    goes_on = ~right & (rng.random(shape) >= np.where(unanswered, traffic.gives_up, traffic.silent))
    spoken = np.ones(shape, dtype=bool)
    spoken[:, 1:] = np.cumprod(goes_on[:, :-1], axis=1).astype(bool)
    task, attempt = np.nonzero(spoken)
    made = {"phrase": phrase, "misheard": misheard, "right": right, "unanswered": unanswered}
    return {"task": task, "attempt": attempt, "intent": intent[task], "value": value[task]} | {
        name: found[spoken] for name, found in made.items()
    }


def _moments(traffic: SyntheticTraffic, rng: np.random.Generator, turns: dict[str, NDArray[Any]], user: Ints) -> Ints:
    """Microseconds since the epoch of each turn: sessions anywhere in the days, tries seconds apart."""
    rows, new_task = len(user), turns["attempt"] == 0
    gap = np.where(new_task, rng.uniform(15, 200, rows), np.minimum(rng.lognormal(1.9, 0.6, rows), 100))
    begins = new_task & (rng.random(rows) < traffic.new_session)
    begins |= np.diff(user, prepend=-1) != 0
    gap[begins] = 0
    session = np.cumsum(begins) - 1
    offset = np.cumsum(gap)
    offset -= offset[begins][session]
    starts = rng.uniform(0, traffic.days * 86_400 - 3_600, session[-1] + 1)
    order = np.lexsort((starts, user[begins]))  # a user's sessions in the order of time
    base = int(traffic.start.timestamp() * 1_000_000)
    return np.asarray(base + ((starts[order][session] + offset) * 1_000_000).astype(np.int64), dtype=np.int64)


def _utterances(
    language: _Language, rng: np.random.Generator, turns: dict[str, NDArray[Any]]
) -> tuple[pa.Array, Ints, Ints]:
    """What the recogniser wrote, and where the value stands in it (a misheard letter is in the carrier)."""
    before, value = language.before.take(pa.array(turns["phrase"])), language.value.take(pa.array(turns["value"]))
    heard = np.asarray(before.to_pylist(), dtype=object)
    rows = np.flatnonzero(turns["misheard"])
    letters, places = rng.integers(0, len(_LETTERS), len(rows)), rng.random(len(rows))
    for row, letter, place in zip(rows, letters, places, strict=True):
        at = int(place * (len(heard[row]) - 1))  # the space at the end stays
        heard[row] = f"{heard[row][:at]}{_LETTERS[letter]}{heard[row][at + 1 :]}"
    carrier = pa.array(heard, pa.string())
    start = pc.utf8_length(carrier).to_numpy().astype(np.int64)
    end = start + pc.utf8_length(value).to_numpy()
    text = pc.binary_join_element_wise(carrier, value, language.after.take(pa.array(turns["phrase"])), "")
    return text, start, end


def block(traffic: SyntheticTraffic, number: int, turns: int) -> tuple[pa.Table, pa.Table]:
    """One block of traffic: whole users, whose ids no other block has.

    Args:
        traffic: the settings; the same settings and number give the same block.
        number: of the block, from 0.
        turns: how many to make, exactly.

    Returns:
        `interactions` rows less `run_id`, by user and session, with user ids as a product logs them; and `TRUTH`:
        the task each turn was a try of, and whether the model got it right.

    About 2 microseconds a turn; memory some 1 kB a turn.
    """
    rng, language = np.random.default_rng([traffic.seed, number]), _language(traffic)
    made = {name: column[:turns] for name, column in _tries(traffic, rng, turns).items()}
    tasks = int(made["task"][-1]) + 1
    user_of = np.cumsum(rng.random(tasks) < 1 / traffic.tasks_a_user)
    if traffic.robot_block and number == 0:
        user_of[:] = 0
    user = user_of[made["task"]]
    at = _moments(traffic, rng, made, user)
    if traffic.robot_block and number == 0:
        at = at[0] + np.cumsum(rng.integers(1_000_000, 60_000_000, turns))
    text, start, end = _utterances(language, rng, made)
    meant = np.where(made["right"], made["intent"], language.mistaken_for[made["phrase"]])
    value = language.value.take(pa.array(made["value"]))
    slots = pa.StructArray.from_arrays(
        [_named("slot", meant % 20), value, pa.array(start.astype(np.int32)), pa.array(end.astype(np.int32))],
        fields=list(SLOT),
    )
    understood = pa.StructArray.from_arrays(
        [_named("intent", meant), pa.ListArray.from_arrays(pa.array(np.arange(turns + 1, dtype=np.int32)), slots)],
        fields=list(INTERPRETATION),
        mask=pa.array(made["unanswered"]),
    )
    wrong = ~made["right"] & ~made["unanswered"]
    draw, sure = rng.random(turns), rng.beta(5, 2, turns)
    response = np.where(made["unanswered"], "no_match", np.where(wrong & (draw < 0.2), "failed", "completed"))
    feedback = np.select([wrong & (draw > 0.9), made["right"] & (draw > 0.98)], [1, 2], 0)
    columns = {
        "interaction_id": _numbered("t", number * 10_000_000 + np.arange(turns)),
        "date": pa.array(at, pa.timestamp("us", tz="UTC")).cast(pa.date32()),
        "user_id": _numbered("u", number * 10_000_000 + user),
        "locale": pa.repeat(traffic.locale, turns),
        "occurred_at": pa.array(at, pa.timestamp("us", tz="UTC")),
        "utterance": text,
        "interpretation": understood,
        "confidence": pa.array(np.round(np.where(wrong, sure * 0.8, sure), 3), mask=made["unanswered"]),
        "model_version": pa.repeat("launch", turns),
        "response": pa.array(response),
        "feedback": pa.array([(), ("barge_in",), ("thumbs_up",)])
        .cast(INTERACTIONS.arrow.field("feedback").type)
        .take(pa.array(feedback)),
        "asr_confidence": pa.array(np.round(rng.beta(8, 2, turns), 3)),
        "channel": pa.array(np.where(user % 3 == 0, "phone", "speaker")),
        "record_hash": _numbered("h", number * 10_000_000 + np.arange(turns)),
    }
    wanted = pa.schema([f for f in INTERACTIONS.arrow if f.name != "run_id"]).remove_metadata()
    empty = {name: _empty(wanted.field(name), turns) for name in wanted.names if name not in columns}
    table = pa.table({name: {**columns, **empty}[name] for name in wanted.names}, schema=wanted)
    truth = pa.table([columns["interaction_id"], number * 10_000_000 + made["task"], made["right"]], schema=TRUTH)
    return table, truth


def _named(kind: str, numbers: Ints) -> pa.Array:
    names = pa.array([f"{kind}_{i:02}" for i in range(int(numbers.max(initial=0)) + 1)])
    return names.take(pa.array(numbers))


def _numbered(letter: str, numbers: Ints) -> pa.Array:
    return pc.binary_join_element_wise(letter, pa.array(numbers).cast(pa.string()), "")


def _empty(field: pa.Field, rows: int) -> pa.Array:
    """No value: null, or the empty list where the column takes no null."""
    if field.nullable:
        return pa.nulls(rows, field.type)
    return pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), pa.nulls(0, field.type.value_type)).cast(
        field.type
    )


def pseudonymous(table: pa.Table) -> pa.Table:
    """The rows as the `interactions` table keeps them: each user id replaced by a hash."""
    users = table.column("user_id").combine_chunks().dictionary_encode()
    made = pa.array([hashlib.sha256(user.encode()).hexdigest() for user in users.dictionary.to_pylist()])
    return table.set_column(
        table.schema.get_field_index("user_id"), table.schema.field("user_id"), made.take(users.indices)
    )


def json_lines(traffic: SyntheticTraffic, number: int, table: pa.Table) -> pa.Array:
    """The rows of a block as lines of the input contract, with broken and repeated lines among them, in seeded places.

    No text of the traffic needs an escape. About 2 microseconds a line.
    """
    understood = table.column("interpretation").combine_chunks()
    slot = understood.field("slots").flatten()  # one a turn, also behind the interpretations that are null
    name, value, start, end = (pc.struct_field(slot, f.name).cast(pa.string()) for f in SLOT)
    spelt = _join('{"intent":"', understood.field("intent"), '","slots":[{"name":"', name, '","value":"', value)
    said = pc.if_else(understood.is_null(), "null", _join(spelt, '","start":', start, ',"end":', end, "}]}"))
    times = pc.strftime(table.column("occurred_at").combine_chunks(), "%Y-%m-%dT%H:%M:%SZ")
    feedback = pc.binary_join(table.column("feedback").combine_chunks().cast(pa.list_(pa.string())), '","')
    feedback = pc.if_else(pc.equal(feedback, ""), "", _join('"', feedback, '"'))
    text = {
        c: table.column(c).combine_chunks() for c in ("interaction_id", "user_id", "locale", "utterance", "response")
    }
    lines = _join('{"interaction_id":"', text["interaction_id"], '","user_id":"', text["user_id"], '","locale":"')
    lines = _join(lines, text["locale"], '","occurred_at":"', times, '","utterance":"', text["utterance"])
    lines = _join(lines, '","asr_confidence":', _plain(table, "asr_confidence"), ',"interpretation":', said)
    lines = _join(lines, ',"confidence":', _plain(table, "confidence"), ',"model_version":"launch","response":"')
    lines = _join(lines, text["response"], '","feedback":[', feedback, '],"channel":"')
    lines = _join(lines, table.column("channel").combine_chunks(), '"}')
    rng = np.random.default_rng([traffic.seed, number, 1])
    again = np.flatnonzero(rng.random(len(lines)) < traffic.redelivered)
    faulty = np.flatnonzero(rng.random(len(lines)) < traffic.broken)
    spoilt = [
        (
            line[: len(line) // 2],
            line.replace('"locale":"', '"locale":"no such '),
            line.replace('"response"', '"said"'),
        )[i % 3]
        for i, line in enumerate(lines.take(pa.array(faulty)).to_pylist())
    ]
    every = pa.concat_arrays([lines, lines.take(pa.array(again)), pa.array(spoilt, pa.string())])
    order = np.argsort(np.concatenate([np.arange(len(lines)), again + 0.5, faulty + 0.25]), kind="stable")
    return every.take(pa.array(order))


def _plain(table: pa.Table, name: str) -> pa.Array:
    return pc.fill_null(table.column(name).combine_chunks().cast(pa.string()), "null")


def _join(*parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")
