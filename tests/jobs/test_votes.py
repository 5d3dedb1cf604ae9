"""Frames of votes against plain Python: who is behind an intent, what the champion guessed, what users did and said
instead, and the posterior."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.translations import Mature
from jobs.votes import (
    absorbed_of,
    backers_of,
    guesses_of,
    intent_survival,
    posteriors_of,
    said_instead,
    served_of,
    speakers_of,
)
from mining.slot_evidence import annotated

INTERPRETATION = "struct<intent string, slots array<struct<name string, value string, start int, end int>>>"
VOTE = f"formulation_id string, user_id string, interpretation {INTERPRETATION}, support double"
GUESSED = (
    f"formulation_id string, utterance string, interpretation {INTERPRETATION}, confidence double, "
    "alternatives array<struct<intent string, confidence double>>, response string, told_intent boolean"
)
EDGE = "locale string, left string, right string, cosine double"
NOTHING_MATURE = Mature((), {})


WEIGHTS = "array<struct<intent string, weight double>>"


def texted(rows: DataFrame, absorbed: dict[str, list[tuple[str, float]]] | None = None) -> DataFrame:
    """The rows with their ids as texts, and where tries of their clusters end."""
    ends = rows.sparkSession.createDataFrame(
        list((absorbed or {}).items()), f"formulation_id string, absorbed {WEIGHTS}"
    )
    return rows.withColumn("utterance", F.col("formulation_id")).join(ends, "formulation_id", "left")


def meaning(intent: str) -> dict[str, Any]:
    return {"intent": intent, "slots": []}


@pytest.mark.parametrize("seed", [1, 2])
def test_backers_are_the_users_of_a_wording_and_of_its_neighbours(spark: SparkSession, seed: int) -> None:
    random = np.random.default_rng(seed)
    names = [f"f{i}" for i in range(12)]
    votes = [
        (names[random.integers(12)], f"u{random.integers(90)}", meaning("xyz"[random.integers(3)]), float(s))
        for s in random.choice([0.1, 0.49, 0.5, 0.9], 600)
    ]
    pairs = sorted({tuple(sorted(random.choice(12, 2, replace=False).tolist())) for _ in range(15)})
    edges = [("sw-KE", names[a], names[b], 0.7) for a, b in pairs]
    # What somebody said is a wording of a wish: they stand behind what the wish means.
    wishes = [(names[random.integers(12)], "xyz"[random.integers(3)], f"u{random.integers(90)}") for _ in range(40)]
    own: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, user, said, support in votes:
        if support >= 0.5:
            own[name, said["intent"]].add(user)
    for name, intent, user in wishes:
        own[name, intent].add(user)
    expected: dict[str, dict[str, int]] = defaultdict(dict)
    for name in names:
        near = [names[b if a == names.index(name) else a] for a, b in pairs if names.index(name) in (a, b)]
        for intent in "xyz":
            users = set(own[name, intent])
            for mate in near:
                users |= set(sorted(own[mate, intent])[:50])
            if users:
                expected[name][intent] = len(users)
    found = backers_of(
        spark.createDataFrame(votes, VOTE), spark.createDataFrame(edges, EDGE),
        spark.createDataFrame(wishes, "formulation_id string, intent string, user_id string"),
    ).collect()  # fmt: skip
    assert {row["formulation_id"]: {b["intent"]: b["users"] for b in row["backers"]} for row in found} == expected


def test_guesses_are_the_champions_probabilities_summed_over_turns(spark: SparkSession) -> None:
    turns = [
        ("f", "wake me", meaning("alarm"), 0.6, [("music", 0.3)], "completed", False),
        ("f", "wake me", meaning("alarm"), 0.6, [("music", 0.3)], "completed", False),
        ("f", "wake me", meaning("music"), 0.9, [], "completed", True),  # by a model that was taught what it says
        ("g", "play it", None, 0.2, [("music", 0.2), ("alarm", 0.1)], "no_match", False),
        ("g", "play it", None, None, [], "no_match", False),
        ("h", "never mind", meaning("stop"), 0.9, [], "cancelled", False),
        ("i", "seven", {"intent": "alarm", "slots": [("time", "seven", 0, 5)]}, 0.9, [], "completed", False),
    ]
    found = guesses_of(spark.createDataFrame(turns, GUESSED)).collect()
    assert {row["formulation_id"]: {g["intent"]: g["weight"] for g in row["guesses"]} for row in found} == {
        "f": {"": 2.0, "alarm": 1.2, "music": 0.6},
        "g": {"": 1.0, "music": 0.2, "alarm": 0.1},
    }


def test_a_second_guess_counts_for_as_much_as_all_first_ones(spark: SparkSession) -> None:
    turns = [
        ("f", "wake me", meaning("alarm"), 0.6, [("music", 0.3)], "completed", False),
        ("f", "wake me", meaning("alarm"), 0.6, [("music", 0.3)], "completed", False),
        ("g", "play it", meaning("music"), 0.9, [], "completed", True),  # as taught
        ("h", "hush", meaning("stop"), 0.9, [], "completed", False),
    ]
    again = [("f", [("music", 0.8), ("radio", 0.1)]), ("g", [("music", 0.7)])]
    second = spark.createDataFrame(
        again, "formulation_id string, guesses array<struct<intent string, probability double>>"
    )
    found = guesses_of(spark.createDataFrame(turns, GUESSED), second).collect()
    mean: dict[str, dict[str, float]] = {}
    for row in found:
        weights: dict[str, float] = defaultdict(float)
        for g in row["guesses"]:
            weights[g["intent"]] += g["weight"]
        mean[row["formulation_id"]] = {k: pytest.approx(w / weights[""]) for k, w in weights.items() if k}
    assert mean == {"f": {"alarm": 0.3, "music": 0.55, "radio": 0.05}, "g": {"music": 0.7}, "h": {"stop": 0.9}}


def test_how_often_intents_survive_lies_midway_between_its_bounds(spark: SparkSession) -> None:
    # The last user says the same three times over, and is heard once; each of the two wordings counts once.
    frictions = [0.9] * 4 + [0.1] * 3
    said = [("u0", "f"), ("u1", "f"), ("u2", "f"), ("u2", "g"), *[("u3", "f")] * 3]
    turns = [
        ("sw-KE", f"t{i}", *whose, "completed", meaning("alarm"), friction)
        for i, (whose, friction) in enumerate(zip(said, frictions, strict=True))
    ]
    shape = "locale string, interaction_id string, user_id string, formulation_id string, response string, "
    shape += f"interpretation {INTERPRETATION}, friction double"
    pairs = [
        ("sw-KE", user, wording, "h", *pair)
        for user, wording, pair in (
            ("u0", "f", ("rephrase", "t0", meaning("alarm"), 1.0, 0.8)),
            ("u1", "f", ("rephrase", "t1", meaning("music"), 1.0, 0.8)),
            ("u2", "f", ("rephrase", "t2", meaning("alarm"), 1.0, 0.0)),
            ("u2", "g", ("rephrase", "t3", None, 0.5, 0.0)),
            ("u2", "g", ("rephrase", "t3", None, 0.5, 0.0)),
            ("u2", "g", ("repeat", "t3", meaning("alarm"), 1.0, 1.0)),
        )
    ]
    pair_shape = "locale string, user_id string, source_formulation string, target_formulation string, kind string, "
    pair_shape += f"source string, target_interpretation {INTERPRETATION}, posterior double, target_acceptance double"
    found = intent_survival(spark.createDataFrame(turns, shape), spark.createDataFrame(pairs, pair_shape)).collect()
    survival = (0.8 / 3.5 + 0.8 / 1.6) / 2
    accepted = ((0.1 * 3 + 0.9) / 4 + 0.1) / 2
    assert found[0]["survival"] == pytest.approx(survival, abs=1e-6)
    assert found[0]["served"] == pytest.approx(accepted / (accepted + (1 - accepted) * survival), abs=1e-6)


def test_the_odds_of_an_intent_are_those_of_what_its_users_did(spark: SparkSession) -> None:
    piece = "array<struct<name string, weight double>>"
    shape = f"locale string, formulation_id string, utterance string, interpretation {INTERPRETATION}, "
    shape += f"response string, evidence {piece}"
    turns = [
        (
            "sw-KE",
            "f",
            "wake me",
            meaning("alarm"),
            "completed",
            [("answer", 9.0), ("feedback", 1.0), ("others", -3.0)],
        ),
        ("sw-KE", "f", "wake me", meaning("alarm"), "completed", [("answer", 9.0), ("continued", -2.0)]),
        ("sw-KE", "f", "wake me", meaning("music"), "completed", [("others", 50.0)]),
        ("sw-KE", "f", "wake me", meaning("alarm"), "failed", [("others", 50.0)]),
        ("sw-KE", "g", "seven", {"intent": "alarm", "slots": [("time", "seven", 0, 5)]}, "completed", []),
    ]
    survival = spark.createDataFrame([("sw-KE", 0.5)], "locale string, served double")
    found = served_of(spark.createDataFrame(turns, shape), survival).collect()
    odds = {row["formulation_id"]: {s["intent"]: s["weight"] for s in row["served"]} for row in found}
    assert odds == {
        "f": {
            "alarm": pytest.approx(1 + 0.5 * (4 - 1)),  # the mean of two turns, 2 bits for it
            "music": pytest.approx(1 + 0.5 * (2**-6 - 1)),  # at most six bits against it
        }
    }


def test_a_pair_speaks_for_its_user_among_all_users_of_a_wording(spark: SparkSession) -> None:
    turns = [("f", f"u{i}") for i in range(10)] + [("f", "u0"), ("g", "u0"), ("g", "u1"), ("h", "bot")]
    pairs = [("rephrase", "sw-KE", "f", "g", "u0", 0.9), ("rephrase", "sw-KE", "f", "g", "u0", 0.6),
             ("rephrase", "sw-KE", "f", "g", "u1", 0.5), ("repeat", "sw-KE", "f", "g", "u2", 1.0),
             ("rephrase", "sw-KE", "f", "f", "u3", 1.0)]  # fmt: skip
    pairs += [("rephrase", "sw-KE", "f", "h", "bot", 1.0)] * 1000
    shape = "kind string, locale string, source_formulation string, target_formulation string, user_id string, "
    frame = spark.createDataFrame(pairs, shape + "posterior double")
    found = said_instead(spark.createDataFrame(turns, "formulation_id string, user_id string"), frame).collect()
    assert {(r["left"], r["right"]): (r["forth"], r["back"]) for r in found} == {
        ("f", "g"): (pytest.approx(0.14), pytest.approx(0.7)),
        ("f", "h"): (pytest.approx(0.1), pytest.approx(0.97)),
    }


def test_a_wording_is_told_by_near_wordings_and_by_what_was_said_instead(spark: SparkSession) -> None:
    shape = f"locale string, formulation_id string, guesses {WEIGHTS}, served {WEIGHTS}, annotated {WEIGHTS}, "
    shape += "speakers array<bigint>"
    rows, near = [], []
    for locale, intents in (("sw-KE", ("alarm", "music")), ("ja-JP", ("music", "alarm"))):
        for i in range(40):
            intent = intents[i % 2]
            rows.append((locale, f"{locale} {i:02}", [("", 1.0), (intent, 0.5)], [(intent, 30.0)], None, [i]))
            near += [(locale, f"{locale} {i:02}", f"{locale} {j:02}", 0.8) for j in range(i + 2, 40, 2)]
        rows += [(locale, f"{locale} {name}", None, None, None, None) for name in ("new", "said", "ended", "alone")]
        rows.append((locale, f"{locale} taught", None, None, [("music", 0.9), ("weather", 0.1)], None))
        near += [(locale, f"{locale} {i:02}", f"{locale} new", 0.8) for i in range(0, 10, 2)]
    ended = {f"{locale} {i:02}": [(("alarm", "music")[i % 2], 1.0)] for locale in ("sw-KE", "ja-JP") for i in range(40)}
    ended |= {f"{locale} ended": [("alarm", 4.0), ("music", 0.5)] for locale in ("sw-KE", "ja-JP")}
    links = [(locale, f"{locale} 01", f"{locale} said", None, 0.9, 0.9) for locale in ("sw-KE", "ja-JP")]
    found = posteriors_of(
        texted(spark.createDataFrame(rows, shape), ended), spark.createDataFrame(near, EDGE),
        spark.createDataFrame(links, f"{EDGE}, forth double, back double"), NOTHING_MATURE,
    ).toArrow().to_pylist()  # fmt: skip
    assert len(found) == 90
    fitted = {row["locale"]: json.loads(row["fitted"]) for row in found if row["fitted"]}
    assert set(fitted) == {"sw-KE", "ja-JP"}
    assert fitted["sw-KE"]["agreement"]["0.8"] > 0.9
    best = {row["formulation_id"]: row["posterior"][0] for row in found}
    assert [best[f"{locale} {name}"]["intent"] for locale in ("sw-KE", "ja-JP") for name in ("new", "said")] == [
        "alarm", "music", "music", "alarm",
    ]  # fmt: skip
    assert best["sw-KE new"]["weight"] > 0.8
    assert best["sw-KE alone"]["weight"] == pytest.approx(1 / 3, abs=0.01)
    assert {best[f"{locale} ended"]["intent"] for locale in ("sw-KE", "ja-JP")} == {"alarm"}
    assert all(row["wish"] is None for row in found)  # forty wordings are no log
    # An intent that no champion guessed is known from the annotated alone.
    assert {best[f"{locale} taught"]["intent"] for locale in ("sw-KE", "ja-JP")} == {"music"}


def test_wordings_of_a_large_community_are_told_by_it(spark: SparkSession) -> None:
    shape = f"locale string, formulation_id string, guesses {WEIGHTS}, served {WEIGHTS}, annotated {WEIGHTS}, "
    random = np.random.default_rng(1)
    wish = random.permutation(np.repeat(np.arange(30), 40))
    rows = []
    for i, of in enumerate(wish.tolist()):
        # Understood one time in five, and then served half the time; else taken for anything.
        said = f"intent {of % 10}" if random.random() < 0.2 else f"intent {random.integers(10)}"
        served = [(said, 12.0 if said == f"intent {of % 10}" and random.random() < 0.5 else 0.8)]
        rows.append(("sw-KE", f"{i:04}", [("", 1.0), (said, 0.5)], served, None, [i // 2]))
    rows.append(("sw-KE", "alone", [("", 1.0), ("intent 1", 0.5)], None, None, None))
    links = set()
    for i, of in enumerate(wish.tolist()):
        links |= {tuple(sorted((i, int(j)))) for j in random.choice(np.flatnonzero(wish == of), 4) if i != j}
    instead = [("sw-KE", f"{a:04}", f"{b:04}", None, 0.2, 0.2) for a, b in sorted(links)]
    found = posteriors_of(
        texted(spark.createDataFrame(rows, shape + "speakers array<bigint>")), spark.createDataFrame([], EDGE),
        spark.createDataFrame(instead, f"{EDGE}, forth double, back double"), NOTHING_MATURE,
    ).toArrow().to_pylist()  # fmt: skip
    by_id = {row["formulation_id"]: row for row in found}
    assert by_id.pop("alone")["wish"] is None
    named = [row["wish"] for row in by_id.values() if row["wish"] is not None]
    assert len(named) > 1100
    right = [by_id[f"{i:04}"]["posterior"][0]["intent"] == f"intent {of % 10}" for i, of in enumerate(wish.tolist())]
    assert np.mean(right) > 0.9
    first = {w["wish_id"]: w for w in named}
    for wish_id, told in first.items():
        members = [name for name, row in by_id.items() if row["wish"] and row["wish"]["wish_id"] == wish_id]
        assert min(members) == wish_id
        assert (told["wordings"], told["users"]) == (len(members), len({int(name) // 2 for name in members}))
    assert next(json.loads(row["fitted"]) for row in found if row["fitted"])["wishes"] == len(first)


def test_words_tell_of_what_no_champion_understood(spark: SparkSession) -> None:
    shape = f"locale string, formulation_id string, guesses {WEIGHTS}, served {WEIGHTS}, annotated {WEIGHTS}, "
    said = {
        "alarm": ("wake seven", "niamshe saba"),
        "music": ("play song", "cheza wimbo"),
        "news": ("song seven news", "soma wimbo saba"),
    }
    rows = []
    for intent, (_, text) in said.items():
        # News was never understood; the champion takes it for anything.
        guess = [("", 1.0), (intent, 0.9)] if intent != "news" else [("", 1.0), ("music", 0.3), ("alarm", 0.3)]
        rows += [("sw-KE", f"{text} {i}", guess, [(intent, 50.0)] if intent != "news" else None, None, [i])
                 for i in range(60)]  # fmt: skip
    mature = Mature(tuple(annotated(text, intent, ()) for intent, (text, _) in said.items()), {"sw-KE": ()})
    links = spark.createDataFrame([], f"{EDGE}, forth double, back double")
    frame = texted(spark.createDataFrame(rows, shape + "speakers array<bigint>"))
    best = {}
    for told, known in ((False, NOTHING_MATURE), (True, mature)):
        found = posteriors_of(frame, spark.createDataFrame([], EDGE), links, known).toArrow().to_pylist()
        best[told] = {row["formulation_id"]: {p["intent"]: p["weight"] for p in row["posterior"]} for row in found}
    of_news = [name for name in best[True] if name.startswith("soma")]
    assert all(max(best[True][name], key=best[True][name].__getitem__) == "news" for name in of_news)
    assert all("news" not in best[False][name] for name in of_news)
    others = [name for name in best[True] if not name.startswith("soma")]
    assert all(best[True][name][said_of(name)] > 0.9 for name in others)


def said_of(name: str) -> str:
    """The intent of a planted wording by its first word."""
    return {"niamshe": "alarm", "cheza": "music"}[name.split()[0]]


def test_speakers_are_a_few_users_of_each_wording(spark: SparkSession) -> None:
    turns = [("f", f"u{i % 20}") for i in range(60)] + [("g", "u0"), ("g", "u0")]
    found = speakers_of(spark.createDataFrame(turns, "formulation_id string, user_id string")).collect()
    of = {row["formulation_id"]: row["speakers"] for row in found}
    assert {name: len(set(users)) for name, users in of.items()} == {"f": 8, "g": 1}


def test_what_a_cluster_ends_with_is_told_to_each_of_its_wordings(spark: SparkSession) -> None:
    states = [
        ("c", "alarm_set(time)", 4, 0.5),
        ("c", "alarm_set()", 2, 0.25),
        ("c", "music(play)()", 1, 0.75),  # an intent with brackets of its own
        ("c", "weather()", 1, 0.01),  # hardly anybody
        ("c", "", 9, 0.9),  # ends with nothing understood
        ("other", "joke()", 1, 0.9),
    ]
    reformulations = spark.createDataFrame(
        states, "cluster_id string, best_interpretation string, users long, probability double"
    )
    members = [("f", "c"), ("g", "c"), ("h", "nobody")]
    clusters = spark.createDataFrame(members, "formulation_id string, cluster_id string")
    found = {row["formulation_id"]: row["absorbed"] for row in absorbed_of(reformulations, clusters).collect()}
    assert set(found) == {"f", "g"}
    assert [tuple(end) for end in found["f"]] == [("alarm_set", 2.5), ("music(play)", 0.75)]
