"""A simulated round: a valid log, a consistent truth, the same bytes for the same seed."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from schemas.errors import InputError
from schemas.normalise import normalise
from schemas.predictor import Predictor
from schemas.record import RESPONSES, check_record
from simulator.assistant import NoModel
from simulator.dialogue import converse
from simulator.habits import WEEK_SECONDS, Habits
from simulator.logs import ACTS, TRUTH, Simulated, simulate
from simulator.phrasebook import Phrasebook
from simulator.population import Attack, Population, population

START = datetime(2026, 1, 5, tzinfo=UTC)
WINDOW = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
Row = dict[str, Any]


def play(
    folder: Path, book: Phrasebook, model: Predictor, crowd: Population, seed: int = 1, number: int = 0
) -> Simulated:
    return simulate(
        book, model, crowd, seed=seed, round=number, start=START, out=folder / "logs", truth=folder / "truth"
    )


def read(simulated: Simulated) -> tuple[list[Row], list[Row]]:
    logs = [json.loads(line) for line in simulated.logs.read_text(encoding="utf-8").splitlines()]
    return logs, pq.read_table(simulated.truth).to_pylist()


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory, phrasebook: Phrasebook, muddled: Predictor) -> Simulated:
    """A hard population, so that every kind of turn occurs."""
    crowd = population("hurried").model_copy(update={"users": 120, "tasks_per_user": 8.0, "change_after_success": 0.2})
    return play(tmp_path_factory.mktemp("rough"), phrasebook, muddled, crowd)


def test_every_record_passes_the_contract(rough: Simulated) -> None:
    lines = rough.logs.read_text(encoding="utf-8").splitlines()
    for line in lines:
        record, reasons = check_record(line, WINDOW)
        assert record is not None, (reasons, line)
    assert len(lines) == rough.turns
    times = [json.loads(line)["occurred_at"] for line in lines]
    assert times == sorted(times)
    ids = [json.loads(line)["interaction_id"] for line in lines]
    assert len(set(ids)) == len(ids)


def test_truth_is_consistent(rough: Simulated) -> None:
    logs, truth = read(rough)
    assert pq.read_schema(rough.truth).equals(TRUTH)
    assert [r["interaction_id"] for r in logs] == [t["interaction_id"] for t in truth]
    by_id = {r["interaction_id"]: (r, t) for r, t in zip(logs, truth, strict=True)}
    assert {t["act"] for t in truth} == set(ACTS)
    for log, row in by_id.values():
        for slot in row["gold_slots"]:
            assert log["utterance"][slot["start"] : slot["end"]] == slot["value"]
        if row["act"] in ("rephrase", "repeat"):
            before_log, before = by_id[row["rewords"]]
            assert before_log["user_id"] == log["user_id"]
            assert before_log["occurred_at"] < log["occurred_at"]
            assert (before["task_id"], before["goal_id"]) == (row["task_id"], row["goal_id"])
            assert before["gold_intent"] == row["gold_intent"]
            same = normalise(before["clean_utterance"]) == normalise(row["clean_utterance"])
            assert same == (row["act"] == "repeat")
            assert not before["satisfied"]
        else:
            assert row["rewords"] is None
        assert not (row["satisfied"] and row["perceived"])
        if row["satisfied"] and row["act"] != "other":
            understood = log["interpretation"]
            assert log["response"] == "completed"
            assert understood["intent"] == row["gold_intent"]


def test_all_habits_occur(rough: Simulated) -> None:
    logs, truth = read(rough)
    assert {r["response"] for r in logs} >= set(RESPONSES)
    assert {f for r in logs for f in r["feedback"]} == {"barge_in", "stop", "thumbs_up", "thumbs_down"}
    silent = [t for r, t in zip(logs, truth, strict=True) if not t["satisfied"] and not t["perceived"]]
    assert silent
    # interleaved: another task's turn between two turns of one task
    by_user: dict[str, list[str]] = {}
    for log, row in zip(logs, truth, strict=True):
        by_user.setdefault(log["user_id"], []).append(row["task_id"])
    returns = sum(
        a == c != b for tasks in by_user.values() for a, b, c in zip(tasks, tasks[1:], tasks[2:], strict=False)
    )
    assert returns > 5


def test_a_share_of_unfinished_tasks_is_interleaved(phrasebook: Phrasebook) -> None:
    crowd = Population(users=150, tasks_per_user=10, give_up=0.0, nest=0.0, shared_device=0.0)
    turns = converse(phrasebook, NoModel(), crowd, seed=1, round=0, name="x").turns
    tasks: dict[str, list[int]] = {}
    for place, turn in enumerate(turns):
        tasks.setdefault(turn.task_id, []).append(place)
    tried = [places for places in tasks.values() if len(places) > 2]
    torn = sum(places[-1] - places[0] >= len(places) for places in tried)
    # the interleaved task is torn too: it waits for the first one to end
    assert 0.17 < torn / len(tried) < 0.4


def test_nested_tasks_are_over_before_the_user_comes_back(phrasebook: Phrasebook) -> None:
    crowd = Population(users=150, tasks_per_user=10, give_up=0.0, interleave=0.0, nest=0.5, shared_device=0.0)
    turns = converse(phrasebook, NoModel(), crowd, seed=1, round=0, name="x").turns
    spans: dict[str, list[int]] = {}
    for place, turn in enumerate(turns):
        spans.setdefault(turn.task_id, []).append(place)
    torn = [places for places in spans.values() if places[-1] - places[0] >= len(places)]
    assert len(torn) > 200
    for places in torn:
        inner = {turns[i].task_id for i in range(places[0], places[-1]) if i not in places}
        assert all(spans[task][0] > places[0] and spans[task][-1] < places[-1] for task in inner)


def test_two_people_share_an_id_and_speak_at_one_time(phrasebook: Phrasebook) -> None:
    crowd = Population(users=100, tasks_per_user=8, shared_device=0.5, shared_overlap=1.0)
    turns = converse(phrasebook, NoModel(), crowd, seed=1, round=0, name="x").turns
    people: dict[str, set[str]] = {}
    for turn in turns:
        people.setdefault(turn.user_id, set()).add(turn.person)
    shared = {user for user, found in people.items() if len(found) == 2}
    assert 30 < len(shared) < 70
    assert max(map(len, people.values())) == 2
    ordered = sorted((t for t in turns if t.user_id in shared), key=lambda t: (t.user_id, t.seconds))
    near = [
        a.person != b.person and b.seconds - a.seconds < 60
        for a, b in itertools.pairwise(ordered)
        if a.user_id == b.user_id
    ]
    assert sum(near) > 50


def test_bots_repeat_one_false_pairing_under_many_ids(tmp_path: Path, phrasebook: Phrasebook) -> None:
    attack = Attack(attackers=2, ids=3, repetitions=40)
    crowd = Population(users=5, tasks_per_user=2, attack=attack)
    logs, truth = read(play(tmp_path, phrasebook, NoModel(), crowd))
    said: dict[str, list[str]] = {}
    meant: dict[str, set[str]] = {}
    for log, row in zip(logs, truth, strict=True):
        assert row["attack"] == row["person"].startswith("bot")
        if row["attack"]:
            said.setdefault(log["user_id"], []).append(log["utterance"])
            meant.setdefault(log["user_id"], set()).add(row["gold_intent"])
            assert row["goal_id"] is None
    assert len(said) == 6
    assert all(len(texts) == 80 and texts == texts[:2] * 40 for texts in said.values())
    assert all(len(intents) == 2 for intents in meant.values())
    assert len({tuple(texts[:2]) for texts in said.values()}) == 2
    quiet, _ = read(play(tmp_path / "quiet", phrasebook, NoModel(), crowd.model_copy(update={"attack": Attack()})))
    assert quiet == [log for log in logs if log["user_id"].startswith("user")]  # attacks leave the others as they were


def test_what_covers_bots_is_their_own_and_said_once(tmp_path: Path, phrasebook: Phrasebook) -> None:
    attack = Attack(attackers=1, ids=4, repetitions=6, kind="vouch", cover=12)
    logs, truth = read(play(tmp_path, phrasebook, NoModel(), Population(users=2, tasks_per_user=2, attack=attack)))
    pushed: dict[str, list[str]] = {}
    cover: dict[str, list[str]] = {}
    for log, row in zip(logs, truth, strict=True):
        if row["person"].startswith("bot"):
            (pushed if row["attack"] else cover).setdefault(log["user_id"], []).append(log["utterance"])
            assert log["feedback"] == (["thumbs_up"] if row["attack"] else [])
    assert {tuple(texts) for texts in pushed.values()} == {(next(iter(pushed.values()))[0],) * 6}
    assert sorted(map(len, cover.values())) == [12] * 4
    assert len({tuple(texts) for texts in cover.values()}) == 4


def test_what_attackers_say(tmp_path: Path, phrasebook: Phrasebook) -> None:
    said: dict[str, list[tuple[str, ...]]] = {}
    feedback: dict[str, set[tuple[str, ...]]] = {}
    for kind in ("pair", "alike", "vouch", "denounce"):
        crowd = Population(users=1, tasks_per_user=1, attack=Attack(attackers=8, ids=1, repetitions=2, kind=kind))
        logs, truth = read(play(tmp_path / kind, phrasebook, NoModel(), crowd))
        rows = [log for log, row in zip(logs, truth, strict=True) if row["attack"]]
        feedback[kind] = {tuple(row["feedback"]) for row in rows}
        texts: dict[str, list[str]] = {}
        for row in rows:
            texts.setdefault(row["user_id"], []).append(row["utterance"])
        assert all(own[: len(own) // 2] == own[len(own) // 2 :] for own in texts.values())
        said[kind] = [tuple(own[: len(own) // 2]) for _, own in sorted(texts.items())]
    assert {kind: {len(one) for one in own} for kind, own in said.items()} == {
        "pair": {2}, "alike": {2}, "vouch": {1}, "denounce": {2}
    }  # fmt: skip
    assert feedback == {"pair": {()}, "alike": {()}, "vouch": {("thumbs_up",)}, "denounce": {("thumbs_down",)}}
    assert all(first == second for first, second in said["denounce"])
    assert [one[0] for one in said["pair"]] == [one[0] for one in said["vouch"]]  # the same wordings are pushed

    def shared(texts: tuple[str, ...]) -> float:
        one, other = (set(text.split()) for text in texts)
        return len(one & other) / len(one | other)

    assert np.mean([shared(own) for own in said["alike"]]) > np.mean([shared(own) for own in said["pair"]]) + 0.2


def test_habits_last_and_popularity_drifts(phrasebook: Phrasebook) -> None:
    signature = max(phrasebook.wordings, key=lambda s: len(phrasebook.wordings[s]))

    def first(crowd: Population, user: int, week: int, draws: int = 200) -> Counter[str]:
        habits = Habits(phrasebook, crowd, seed=1)
        rng = np.random.default_rng(week)
        return Counter(str(habits.first(signature, (user, 0), week * WEEK_SECONDS, rng).literals) for _ in range(draws))

    settled = Population(habit=1.0)
    assert len(first(settled, 3, 0)) == 1
    assert first(settled, 3, 0) == first(settled, 3, 9)
    assert len({next(iter(first(settled, user, 0))) for user in range(30)}) > 3
    steady, drifting = Population(habit=0.0, drift=0.0), Population(habit=0.0, drift=1.0)
    assert Habits(phrasebook, steady, 1).law(signature, 0) is not None
    np.testing.assert_array_equal(
        Habits(phrasebook, steady, 1).law(signature, 50), Habits(phrasebook, drifting, 1).law(signature, 0)
    )
    moved = Habits(phrasebook, drifting, 1)
    assert np.abs(np.diff(moved.law(signature, 20)) - np.diff(moved.law(signature, 0))).max() > 0.05


def test_hyperarticulated_repeats_and_late_complaints(phrasebook: Phrasebook, muddled: Predictor) -> None:
    crowd = Population(users=150, noise=0.0, hyperarticulate_noise=0.0, hyperarticulate=1.0, late_complaint=1.0)
    turns = converse(phrasebook, muddled, crowd, seed=1, round=0, name="x").turns
    slow = [t for t in turns if t.hyperarticulated]
    assert len(slow) > 30
    assert all(t.act == "repeat" for t in slow)
    apart = [t for t in slow if len(t.utterance.split()) == len(t.clean_utterance.split()) + 1]
    assert len(apart) > 0.9 * len(slow)
    assert all("".join(t.utterance.split()) == "".join(t.clean_utterance.split()) for t in slow)
    by_id = {t.interaction_id: t for t in turns}
    waits: dict[bool, list[float]] = {True: [], False: []}
    for turn in turns:
        if turn.act == "rephrase":
            before = by_id[turn.rewords]
            waits[before.reply.response == "completed"].append(turn.seconds - before.seconds)
    assert np.median(waits[True]) > 40 > 20 > np.median(waits[False])


def test_a_changed_request_changes_one_value(rough: Simulated) -> None:
    _, truth = read(rough)
    last: dict[str, Row] = {}
    changed, kinds = 0, set()
    for row in truth:
        before = last.get(row["task_id"])
        assert (row["change"] is not None) == (row["act"] == "changed_request")
        if row["act"] == "changed_request":
            assert before is not None
            assert (before["gold_intent"] == row["gold_intent"]) == (row["change"] != "opposite")
            assert before["goal_id"] != row["goal_id"]
            kinds.add(row["change"])
            if row["change"] == "value" and before["clean_utterance"].split()[:1] == row["clean_utterance"].split()[:1]:
                changed += before["clean_utterance"] != row["clean_utterance"]
        if row["gold_intent"]:
            last[row["task_id"]] = row
    assert changed > 5
    assert kinds == {"value", "opposite", "explore"}


def test_same_seed_same_bytes(tmp_path: Path, phrasebook: Phrasebook, oracle: Predictor, crowd: Population) -> None:
    def content(name: str, seed: int, book: Phrasebook = phrasebook) -> tuple[bytes, bytes]:
        played = play(tmp_path / name, book, oracle, crowd, seed)
        return played.logs.read_bytes(), played.truth.read_bytes()

    first = content("a", 1)
    assert first == content("b", 1, Phrasebook(seed=3, fillings=12))
    other = content("c", 2)
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_a_perfect_model_succeeds(tmp_path: Path, phrasebook: Phrasebook, oracle: Predictor, crowd: Population) -> None:
    quiet = crowd.model_copy(update={"noise": 0.0, "execution_failure": 0.0, "out_of_scope": 0.0})
    played = play(tmp_path, phrasebook, oracle, quiet)
    assert played.success_rate > 0.99
    assert played.rephrase_rate < 0.02
    noisy = play(tmp_path / "noisy", phrasebook, oracle, crowd)
    assert 0.85 < noisy.success_rate < 1
    assert 0.02 < noisy.rephrase_rate < 0.3


def test_no_model_no_success(tmp_path: Path, phrasebook: Phrasebook, oracle: Predictor, crowd: Population) -> None:
    played = play(tmp_path, phrasebook, NoModel(), crowd)
    assert played.success_rate == 0
    assert played.rephrase_rate > 0.5
    logs, truth = read(played)
    assert all(r["interpretation"] is None for r in logs)
    # arms share what users want and first say, whatever the model answers
    seen = read(play(tmp_path / "served", phrasebook, oracle, crowd))[1]

    def wishes(rows: list[Row]) -> dict[str, str]:
        return {t["task_id"]: t["clean_utterance"] for t in rows if t["act"] == "new"}

    assert wishes(truth) == wishes(seen)


def test_batching_changes_nothing(phrasebook: Phrasebook, oracle: Predictor, crowd: Population) -> None:
    few = crowd.model_copy(update={"users": 7})
    alone = converse(phrasebook, oracle, few, seed=1, round=0, name="x").turns
    among = converse(phrasebook, oracle, crowd, seed=1, round=0, name="x").turns
    assert alone == among[: len(alone)]


def test_one_call_a_wave_with_distinct_texts(phrasebook: Phrasebook, understand: Any, crowd: Population) -> None:
    model = understand(phrasebook)
    turns = converse(phrasebook, model, crowd, seed=1, round=0, name="x").turns
    longest = max(Counter(t.user_id for t in turns).values())
    assert len(model.calls) <= longest
    asked = [text for call in model.calls for text in call]
    assert len(set(asked)) == len(asked)


def test_popular_wordings_recur_across_users(rough: Simulated) -> None:
    logs, truth = read(rough)
    users: dict[str, set[str]] = {}
    for log, row in zip(logs, truth, strict=True):
        if row["act"] != "other":
            users.setdefault(normalise(log["utterance"]), set()).add(log["user_id"])
    counts = sorted((len(found) for found in users.values()), reverse=True)
    assert counts[0] >= 10
    assert sum(n >= 5 for n in counts) >= 10
    assert sum(n == 1 for n in counts) > 100  # and a long tail


def test_rounds_do_not_share_ids(tmp_path: Path, phrasebook: Phrasebook, oracle: Predictor, crowd: Population) -> None:
    first, second = (read(play(tmp_path, phrasebook, oracle, crowd, number=n)) for n in (0, 1))
    assert not {r["interaction_id"] for r in first[0]} & {r["interaction_id"] for r in second[0]}
    assert not {t["task_id"] for t in first[1]} & {t["task_id"] for t in second[1]}
    assert {r["user_id"] for r in first[0]} == {r["user_id"] for r in second[0]}


@pytest.mark.parametrize("truth", ["logs", "logs/truth", "logs/../logs/deep"])
def test_truth_stays_out_of_the_logs(tmp_path: Path, phrasebook: Phrasebook, crowd: Population, truth: str) -> None:
    with pytest.raises(InputError, match="inside the logs' folder"):
        simulate(
            phrasebook,
            NoModel(),
            crowd,
            seed=1,
            round=0,
            start=START,
            out=tmp_path / "logs",
            truth=tmp_path / truth,
        )
    assert not (tmp_path / "logs").exists()


def test_bad_arguments_are_named_together(tmp_path: Path, phrasebook: Phrasebook, crowd: Population) -> None:
    with pytest.raises(InputError) as caught:
        simulate(
            phrasebook,
            NoModel(),
            crowd,
            seed=-1,
            round=0,
            start=datetime(2026, 1, 5),  # noqa: DTZ001
            out=tmp_path / "logs",
            truth=tmp_path / "truth",
            locale="sw-KE",
        )
    assert all(word in str(caught.value) for word in ("time zone", "negative", "sw-KE"))


def test_populations() -> None:
    assert population().users == population("launch").users
    with pytest.raises(InputError, match="launch, calm, hurried, hostile"):
        population("angry")
    with pytest.raises(ValueError, match="give_up"):
        Population(give_up=1.5)
    with pytest.raises(ValueError, match="extra"):
        Population.model_validate({"patience": 1})
