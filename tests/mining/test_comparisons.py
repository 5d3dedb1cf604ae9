"""Candidate pairs against a search over all pairs, and comparison levels of hand-made turns."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mining.comparisons import (
    ACCEPTED,
    COMPARISONS,
    INTERPRETATION,
    NEXT_SECONDS,
    POSITION,
    QUICK_SECONDS,
    SIZES,
    SOURCE,
    VALUES,
    WORDING,
    Candidates,
    candidates,
    own_signs,
)
from mining.tokens import TokenWeights, slot_token_counts, token_counts
from mining.value_words import tagged_values
from schemas.columns import INTERPRETATION as INTERPRETATION_TYPE
from schemas.normalise import normalise

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FAILED, UNSURE, SERVED = 0.9, (ACCEPTED + 0.5) / 2, ACCEPTED / 2


def meant(intent: str, utterance: str = "", **slots: str) -> dict[str, Any]:
    """An interpretation whose slots lie where their values stand in the utterance."""
    made = []
    for name, value in slots.items():
        start = max(utterance.find(value), 0)
        made.append({"name": name, "value": value, "start": start, "end": start + len(value)})
    return {"intent": intent, "slots": made}


def turn(second: float, said: str, friction: float = FAILED, **changes: Any) -> dict[str, Any]:
    """A turn of session a in English which nobody understood, but for what is changed."""
    return {
        "session_id": "a",
        "locale": "en-US",
        "occurred_at": NOON + timedelta(seconds=second),
        "utterance": said,
        "text": normalise(said),
        "friction": friction,
        "response": "no_match",
        "requested_slot": None,
        "interpretation": None,
        "confidence": 0.9,
        "feedback": [],
        "rewritten_from": None,
    } | changes


def table(turns: list[dict[str, Any]]) -> pa.Table:
    schema = pa.schema(
        [
            ("session_id", pa.string()),
            ("locale", pa.string()),
            ("occurred_at", pa.timestamp("us", tz="UTC")),
            ("utterance", pa.string()),
            ("text", pa.string()),
            ("friction", pa.float64()),
            ("response", pa.string()),
            ("requested_slot", pa.string()),
            ("interpretation", INTERPRETATION_TYPE),
            ("confidence", pa.float64()),
            ("feedback", pa.list_(pa.string())),
            ("rewritten_from", pa.string()),
        ]
    )
    return pa.Table.from_pylist(turns, schema=schema)


def weights(turns: list[dict[str, Any]]) -> dict[str, TokenWeights]:
    found = {}
    for locale in {t["locale"] for t in turns}:
        texts = {t["text"] for t in turns if t["locale"] == locale}
        found[locale] = TokenWeights(len(texts), token_counts(texts))
    return found


def compare(turns: list[dict[str, Any]], gap: float = 180.0, lookahead: int = 6) -> Candidates:
    return candidates(table(turns), weights(turns), max_gap_seconds=gap, lookahead=lookahead, min_source_friction=0.5)


def levels_of(turns: list[dict[str, Any]], source: int = 0, target: int = 1) -> tuple[str, str, str]:
    found = compare(turns)
    row = list(zip(found.source.tolist(), found.target.tolist(), strict=True)).index((source, target))
    wording, position, interpretation = found.levels[row].tolist()[:3]
    return WORDING[wording], POSITION[position], INTERPRETATION[interpretation]


def random_log(seed: int, size: int = 200) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    words = ["wake", "me", "at", "seven", "eight", "play", "jazz"]
    turns, second, session = [], 0.0, 0
    for _ in range(size):
        if rng.random() < 0.15:
            session, second = session + 1, second + 400
        second += float(rng.choice([2.0, 11.0, 39.0, 41.0, 100.0]))
        said = " ".join(rng.choice(words, rng.integers(1, 5)))
        changes: dict[str, Any] = {
            "session_id": f"s{session}",
            "locale": str(rng.choice(["en-US", "en-US", "de-DE"])),
        }
        if rng.random() < 0.5:
            changes |= {
                "response": "completed",
                "interpretation": meant("alarm_set", said, time=said.split()[-1]),
            }
        if rng.random() < 0.2:
            changes |= {"requested_slot": "time", "response": "clarification"}
        if rng.random() < 0.2:
            changes |= {"interpretation": meant("alarm_set", said, time=said), "response": "completed"}
        turns.append(turn(second, said, float(rng.choice([FAILED, UNSURE, SERVED])), **changes))
    return turns


def answers_question(turns: list[dict[str, Any]], row: int) -> bool:
    """The turn before asked for a slot, and this turn is nothing but a value of it."""
    turn = turns[row]
    if row == 0 or turns[row - 1]["session_id"] != turn["session_id"] or not turn["interpretation"]:
        return False
    asked = turns[row - 1]["requested_slot"]
    return asked is not None and any(
        slot["name"] == asked and slot["value"] == turn["utterance"] for slot in turn["interpretation"]["slots"]
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("gap", "lookahead"), [(180.0, 6), (60.0, 2), (1e6, 20)])
def test_candidates_are_those_of_a_search_over_all_pairs(seed: int, gap: float, lookahead: int) -> None:
    turns = random_log(seed)
    wanted = []
    for i, source in enumerate(turns):
        for j, target in enumerate(turns):
            apart = (target["occurred_at"] - source["occurred_at"]).total_seconds()
            if not (i < j <= i + lookahead and apart <= gap and source["session_id"] == target["session_id"]):
                continue
            if source["locale"] != target["locale"]:
                continue
            if not answers_question(turns, i) and not answers_question(turns, j):
                wanted.append((i, j, source["friction"] < 0.5))
    found = compare(turns, gap, lookahead)
    pairs = zip(found.source.tolist(), found.target.tolist(), found.answered.tolist(), strict=True)
    assert list(pairs) == wanted
    assert len(wanted) > 50
    assert any(answers_question(turns, i) for i in range(len(turns)))
    assert (found.levels >= 0).all()
    assert (found.levels < SIZES).all()


@pytest.mark.parametrize("seed", range(5))
def test_positions_are_those_of_a_walk_between_the_turns(seed: int) -> None:
    turns = random_log(seed)
    found = compare(turns)
    for i, j, level in zip(found.source.tolist(), found.target.tolist(), found.levels[:, 1].tolist(), strict=True):
        apart = (turns[j]["occurred_at"] - turns[i]["occurred_at"]).total_seconds()
        if j == i + 1:
            wanted = "quick_next" if apart <= QUICK_SECONDS else "next" if apart <= NEXT_SECONDS else "late_next"
        else:
            between = [turns[k]["friction"] for k in range(i + 1, j)]
            wanted = "after_success" if any(f < ACCEPTED for f in between) else "after_failures"
        assert POSITION[level] == wanted, (i, j)


def test_the_answer_to_a_question_is_no_rephrase_and_no_source() -> None:
    said = "saa moja"
    turns = [
        turn(0, "weka kengele", response="clarification", requested_slot="time"),
        turn(5, said, response="completed", interpretation=meant("alarm_set", said, time=said)),
        turn(9, "niamshe saa moja"),
    ]
    found = compare(turns)
    assert list(zip(found.source.tolist(), found.target.tolist(), strict=True)) == [(0, 2)]
    # Another slot, or more words than the value: that is a turn of its own.
    for changed in (
        {"interpretation": meant("alarm_set", said, date=said)},
        {"interpretation": meant("alarm_set", said, time="moja")},
    ):
        turns[1] = turn(
            5, said, response="completed", **{"interpretation": meant("alarm_set", said, time=said)} | changed
        )
        assert 1 in compare(turns).source
    turns[0]["session_id"], turns[1] = "b", turn(5, said, interpretation=meant("alarm_set", said, time=said))
    assert 1 in compare(turns).source  # who answers has been asked in the same session


@pytest.mark.parametrize(
    ("locale", "source", "target", "wanted"),
    [
        ("en-US", "wake me at seven", "Wake me at seven!", "identical"),
        ("en-US", "wake me at seven", "wake me up at seven", "alike"),
        ("en-US", "wake me at seven", "at seven wake me", "alike"),  # the same tokens, another order
        ("en-US", "wake me at seven", "qqq zzz", "different"),
        ("ja-JP", "七時に起こして", "七時に起こして。", "identical"),
        ("ja-JP", "明日の朝七時に起こしてください", "明日の朝七時に起こして下さい", "alike"),
        ("ja-JP", "七時に起こして", "電気消灯", "different"),
    ],
)
def test_wording(locale: str, source: str, target: str, wanted: str) -> None:
    found = levels_of([turn(0, source, locale=locale), turn(5, target, locale=locale)])[0]
    between = set(WORDING) - {"identical", "shares", "different"}
    assert found in (between if wanted == "alike" else {wanted})


def test_a_shared_rare_word_says_more_than_a_shared_frequent_one() -> None:
    filler = [turn(500 + i, f"please word{i}", session_id=f"x{i}") for i in range(50)]
    rare = levels_of([turn(0, "please zanzibar"), turn(5, "zanzibar quickly now"), *filler])[0]
    frequent = levels_of([turn(0, "please zanzibar"), turn(5, "please quickly now"), *filler])[0]
    assert WORDING.index(rare) < WORDING.index(frequent)


@pytest.mark.parametrize(
    ("source", "target", "wanted"),
    [
        (None, meant("alarm_set"), "unanswered"),
        (None, None, "unanswered"),
        (meant("alarm_set"), None, "unanswered"),
        (meant("alarm_set", time="Seven"), meant("alarm_set", time="seven!"), "same"),
        (meant("alarm_set", time="seven"), meant("alarm_set", time="eight"), "value_changed"),
        (meant("alarm_set", time="seven"), meant("alarm_set", time="eight", date="today"), "value_changed"),
        (meant("alarm_set", time="seven"), meant("alarm_set", time="seven", date="today"), "slots_differ"),
        (meant("alarm_set"), meant("alarm_set", date="today"), "slots_differ"),
        (meant("alarm_set", time="seven"), meant("music_play", time="seven"), "other_intent"),
        (meant("alarm_set", time="七時"), meant("alarm_set", time="八時"), "value_changed"),
    ],
)
def test_interpretation(source: Any, target: Any, wanted: str) -> None:
    turns = [
        turn(0, "one", response="failed", interpretation=source),
        turn(5, "two", response="failed", interpretation=target),
    ]
    assert levels_of(turns)[2] == wanted


def test_what_a_no_match_guessed_does_not_count_as_understood() -> None:
    guess = meant("alarm_set", time="seven")
    turns = [turn(0, "one", interpretation=guess), turn(5, "two", response="completed", interpretation=guess)]
    assert levels_of(turns)[2] == "unanswered"


def test_no_turns_one_turn_and_empty_texts() -> None:
    for turns in ([], [turn(0, "hello")]):
        found = candidates(table(turns), {"en-US": TokenWeights(0, {})}, max_gap_seconds=60, lookahead=6,
                           min_source_friction=0.5)  # fmt: skip
        assert len(found.source) == 0
        assert found.levels.shape == (0, len(COMPARISONS))
    assert levels_of([turn(0, "..."), turn(5, "hello")])[0] == "different"


def test_what_a_deployed_rewrite_answered_confirms_nothing() -> None:
    turns = [turn(0, "weka kengele"), turn(5, "niamshe", rewritten_from="nambie"), turn(9, "niamshe saa moja")]
    found = compare(turns)
    assert list(zip(found.source.tolist(), found.target.tolist(), strict=True)) == [(0, 2), (1, 2)]


@pytest.mark.parametrize(
    ("source", "target", "wanted"),
    [
        ("wake me at seven", "get me up at seven", "kept"),
        ("wake me at seven", "wake me at eight", "all_exchanged"),
        ("wake me at seven in london", "wake me at eight in london", "some_exchanged"),
        ("wake me at seven", "wake me", "lost"),
        ("wake me at seven", "wake me at seven in london", "added"),
        ("wake me", "wake me at seven", "only_new"),
        ("wake me", "get me up", "none"),
        ("wake me at seven", "wake me at sevem", "kept"),  # a word that nobody else said resembles it
        ("wake me at sevem", "wake me at seven", "kept"),
    ],
)
def test_values_kept_exchanged_lost_and_added(source: str, target: str, wanted: str) -> None:
    said = [f"{x} {y}" for x in ("wake me at", "get me up at", "i rise at") for y in ("seven", "eight", "nine")]
    said += [f"rain in {place}" for place in ("london", "paris", "rome")] * 2 + ["go to london", "fly to london"]
    values = [text.split()[-1] for text in said]
    there, inside = slot_token_counts(said, values)
    known = tagged_values(len(said), there, inside)
    assert known == {"seven", "eight", "nine", "london"} | {p for p in ("paris", "rome") if there[p] >= 3}
    weigh = {"en-US": TokenWeights(len(said), token_counts([*said, *said]) + Counter(wake=3, me=3), known)}
    turns = table([turn(0, source), turn(5, target)])
    found = candidates(turns, weigh, max_gap_seconds=60, lookahead=6, min_source_friction=0.5)
    assert VALUES[found.levels[0, 3]] == wanted


def test_a_word_of_the_language_is_no_value_though_it_often_stands_in_slots() -> None:
    said = [f"play song{i} of the band{i % 7}" for i in range(60)] + [f"call person{i % 9} {i}" for i in range(60)]
    values = [f"song{i}" if i % 2 else f"song{i} of the band{i % 7}" for i in range(60)] + [
        f"person{i % 9}" for i in range(60)
    ]
    there, inside = slot_token_counts(said, values)
    assert inside["the"] >= 0.5 * there["the"]
    known = tagged_values(len(said), there, inside)
    assert "the" not in known
    assert {"band0", "person1"} <= known
    few = slot_token_counts(said[:20], values[:20])
    assert "the" in tagged_values(20, *few)  # nothing is common among so few


def test_a_text_that_was_never_understood_says_nothing_of_slots() -> None:
    there, inside = slot_token_counts(["wake me at seven", "wake me"], [None, ""])
    assert there == {"wake": 1, "me": 1}
    assert not inside


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "unanswered"),
        ({"response": "failed"}, "failed"),
        ({"response": "completed", "feedback": ["barge_in"]}, "failed"),
        ({"response": "completed", "feedback": ["thumbs_up"]}, "sure"),
        ({"response": "clarification"}, "open"),
        ({"response": "completed", "confidence": 0.4}, "open"),
        ({"response": "completed", "confidence": 0.7}, "unsure"),
        ({"response": "completed", "confidence": None}, "unsure"),
    ],
)
def test_what_a_turn_shows_of_its_own_failure(changes: dict[str, Any], wanted: str) -> None:
    assert SOURCE[own_signs(table([turn(0, "hello", **changes)]))[0]] == wanted


def test_beliefs_are_distributions_and_the_measured_ones_exist() -> None:
    for comparison in COMPARISONS:
        assert sum(comparison.m) == pytest.approx(1, abs=0.02)
        assert sum(comparison.u) == pytest.approx(1, abs=0.02)
        assert sum(comparison.alike) == pytest.approx(1, abs=0.02)


# Against one pair at a time


def naive_interpretation(source: dict[str, Any], target: dict[str, Any]) -> str:
    one, other = (
        None if t["response"] == "no_match" or t["interpretation"] is None else t["interpretation"]
        for t in (source, target)
    )
    if one is None or other is None:
        return "unanswered"
    if one["intent"] != other["intent"]:
        return "other_intent"
    left, right = ({s["name"]: normalise(s["value"]) for s in x["slots"]} for x in (one, other))
    if left == right:
        return "same"
    return "value_changed" if any(left[n] != right[n] for n in left.keys() & right.keys()) else "slots_differ"


@pytest.mark.parametrize("seed", range(3))
def test_interpretations_compare_as_one_pair_at_a_time(seed: int) -> None:
    turns = random_log(seed)
    found = compare(turns)
    assert len(found.source) > 100
    for i, j, level in zip(found.source.tolist(), found.target.tolist(), found.levels[:, 2].tolist(), strict=True):
        assert INTERPRETATION[level] == naive_interpretation(turns[i], turns[j])
