"""Frames of votes against plain Python: who is behind an intent, what the champion guessed, and the prior."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs.votes import backers_of, guesses_of, priors_of

INTERPRETATION = "struct<intent string, slots array<struct<name string, value string, start int, end int>>>"
VOTE = f"formulation_id string, user_id string, interpretation {INTERPRETATION}, support double"
EDGE = "locale string, left string, right string, cosine double"


def meaning(intent: str) -> dict[str, Any]:
    return {"intent": intent, "slots": []}


@pytest.mark.parametrize("seed", [1, 2])
def test_backers_are_the_users_of_a_wording_and_of_its_neighbours(spark: SparkSession, seed: int) -> None:
    random = np.random.default_rng(seed)
    names = [f"f{i}" for i in range(12)]
    votes = [
        (names[random.integers(12)], f"u{random.integers(90)}", meaning("xyz"[random.integers(3)]), float(s))
        for s in random.choice([0.1, 0.29, 0.3, 0.9], 600)
    ]
    pairs = sorted({tuple(sorted(random.choice(12, 2, replace=False).tolist())) for _ in range(15)})
    edges = [("sw-KE", names[a], names[b], 0.7) for a, b in pairs]
    own: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, user, said, support in votes:
        if support >= 0.3:
            own[name, said["intent"]].add(user)
    expected: dict[str, dict[str, int]] = defaultdict(dict)
    for name in names:
        near = [names[b if a == names.index(name) else a] for a, b in pairs if names.index(name) in (a, b)]
        for intent in "xyz":
            users = set(own[name, intent])
            for mate in near:
                users |= set(sorted(own[mate, intent])[:50])
            if users:
                expected[name][intent] = len(users)
    found = backers_of(spark.createDataFrame(votes, VOTE), spark.createDataFrame(edges, EDGE)).collect()
    assert {row["formulation_id"]: {b["intent"]: b["users"] for b in row["backers"]} for row in found} == expected


def test_guesses_are_the_champions_probabilities_summed_over_turns(spark: SparkSession) -> None:
    shape = f"formulation_id string, utterance string, interpretation {INTERPRETATION}, confidence double, "
    shape += "alternatives array<struct<intent string, confidence double>>, response string"
    turns = [
        ("f", "wake me", meaning("alarm"), 0.6, [("music", 0.3)], "completed"),
        ("f", "wake me", meaning("alarm"), 0.6, [("music", 0.3)], "completed"),
        ("g", "play it", None, 0.2, [("music", 0.2), ("alarm", 0.1)], "no_match"),
        ("g", "play it", None, None, [], "no_match"),
        ("h", "never mind", meaning("stop"), 0.9, [], "cancelled"),
        ("i", "seven", {"intent": "alarm", "slots": [("time", "seven", 0, 5)]}, 0.9, [], "completed"),
    ]
    found = guesses_of(spark.createDataFrame(turns, shape)).collect()
    assert {row["formulation_id"]: {g["intent"]: g["weight"] for g in row["guesses"]} for row in found} == {
        "f": {"": 2.0, "alarm": 1.2, "music": 0.6},
        "g": {"": 1.0, "music": 0.2, "alarm": 0.1},
    }


def test_a_wording_is_told_by_its_neighbours(spark: SparkSession) -> None:
    vote = f"struct<user_id string, source string, interpretation {INTERPRETATION}, support double, "
    vote += "opposition double, pair_id string, odds double>"
    shape = f"locale string, formulation_id string, votes array<{vote}>, "
    shape += "guesses array<struct<intent string, weight double>>"
    rows, edges = [], []
    for locale, intents in (("sw-KE", ("alarm", "music")), ("ja-JP", ("music", "alarm"))):
        for i in range(40):
            intent = intents[i % 2]
            votes = [(f"u{n}", "rephrase", meaning(intent), 0.9, 0.0, "p", None) for n in range(6)]
            rows.append((locale, f"{locale} {i:02}", votes, [("", 1.0), (intent, 0.5)]))
            edges += [(locale, f"{locale} {i:02}", f"{locale} {j:02}", 0.8) for j in range(i + 2, 40, 2)]
        rows.append((locale, f"{locale} new", None, None))
        edges += [(locale, f"{locale} {i:02}", f"{locale} new", 0.8) for i in range(0, 10, 2)]
    found = priors_of(spark.createDataFrame(rows, shape), spark.createDataFrame(edges, EDGE)).toArrow().to_pylist()
    assert len(found) == 82
    fitted = {row["locale"]: json.loads(row["fitted"]) for row in found if row["fitted"]}
    assert set(fitted) == {"sw-KE", "ja-JP"}
    assert fitted["sw-KE"]["agreement"]["0.8"] > 0.9
    best = {row["formulation_id"]: row["prior"][0]["intent"] for row in found}
    assert (best["sw-KE new"], best["ja-JP new"]) == ("alarm", "music")
