"""The champion reads what others answered and what it was not taught, and nothing else."""

from __future__ import annotations

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from toy_language import toy_rows, toy_settings, trained

from retrain import registry
from retrain.predictor import TorchPredictor
from retrain.second_guesses import STEP, guess_again
from retrain.tables import append_rows
from schemas.errors import InputError
from schemas.lake import Lake, Manifest
from schemas.normalise import formulation_id, normalise

L = "xx-XX"
SETTINGS = toy_settings()


def plant_turns(lake: Lake, run_id: str, rows: list[tuple[str, str | None, str]]) -> None:
    """utterance, model_version, locale: the columns that are read."""
    said = [
        {"formulation_id": formulation_id(where, normalise(text)), "utterance": text, "text": normalise(text),
         "model_version": model, "locale": where}
        for text, model, where in rows
    ]  # fmt: skip
    path = str(lake.table("turns"))
    table, half = pa.Table.from_pylist(said), len(said) // 2
    write_deltalake(path, table.slice(half), mode="overwrite")
    write_deltalake(path, table.slice(0, half), mode="append")
    lake.publish(Manifest("turns", run_id, {}, {"turns": DeltaTable(path).version()}))


def promoted(lake: Lake, model: TorchPredictor, snapshot_id: str = "s1") -> str:
    version = registry.register(trained(model, snapshot_id), None, lake)
    registry.promote(lake, L, force=True)
    return version


@pytest.mark.parametrize("waiting", [0, 500_000], ids=["merged at once", "merged at the end"])
def test_it_reads_what_others_answered_and_what_it_was_not_taught(
    lake: Lake, toy_model: TorchPredictor, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    monkeypatch.setattr("retrain.second_guesses._WAITING", waiting)
    texts = sorted({e.utterance for e in toy_rows(60, 7)})[:9]
    first = promoted(lake, toy_model)
    log = [(text, "older/1" if i % 3 else first, L) for i, text in enumerate(texts)]
    log += [(texts[1], None, L), ("?!", "older/1", L), (texts[3], "older/1", "yy-YY")]
    plant_turns(lake, "r1", log)
    lesson = {"snapshot_id": "s1", "example_id": "e", "locale": L, "split": "train", "source": "pseudo_label",
              "utterance": texts[2].upper(), "intent": "x", "weight": 1.0, "stratum": "tail", "group_id": "g",
              "run_id": "r"}  # fmt: skip
    version = append_rows(lake, "training_sets", [lesson, lesson | {"snapshot_id": "s0", "utterance": texts[4]}])
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": version}))

    done = guess_again(SETTINGS, lake)
    assert not done.unchanged
    assert done.champion == first
    open_ = [text for i, text in enumerate(texts) if i % 3 and i != 2]  # texts[4] was another model's lesson
    assert done.counts == {"wordings": 9, "answered_by_the_champion": 3, "taught_to_the_champion": 1, "guessed": 5,
                           "of_them_new": 5}  # fmt: skip
    rows = lake.rows(STEP)
    assert {r["formulation_id"] for r in rows} == {formulation_id(L, normalise(text)) for text in open_}
    assert {r["model_version"] for r in rows} == {first}
    told = {r["formulation_id"]: [(g["intent"], g["probability"]) for g in r["guesses"]] for r in rows}
    for text, p in zip(open_, toy_model.predict(open_), strict=True):
        best = [(p.interpretation.intent, p.confidence), *((i.intent, c) for i, c in p.alternatives)]
        assert told[formulation_id(L, normalise(text))] == [(i, pytest.approx(c, abs=1e-6)) for i, c in best]


def test_what_it_has_guessed_stays_until_another_model_is_champion(lake: Lake, toy_model: TorchPredictor) -> None:
    texts = sorted({e.utterance for e in toy_rows(60, 7)})[:4]
    promoted(lake, toy_model)
    plant_turns(lake, "r1", [(text, "older/1", L) for text in texts[:3]])
    guess_again(SETTINGS, lake)
    before = lake.manifest(STEP)
    assert guess_again(SETTINGS, lake).unchanged
    assert lake.manifest(STEP) == before
    kept = {r["formulation_id"]: r["guesses"] for r in lake.rows(STEP)}

    plant_turns(lake, "r2", [(text, "older/1", L) for text in texts[1:]])
    done = guess_again(SETTINGS, lake)
    assert done.counts["guessed"] == 3
    assert done.counts["of_them_new"] == 1
    now = {r["formulation_id"]: r["guesses"] for r in lake.rows(STEP)}
    assert len(now) == 3
    assert all(now[name] == kept[name] for name in now.keys() & kept.keys())

    second = promoted(lake, toy_model, "s2")
    assert guess_again(SETTINGS, lake).counts["of_them_new"] == 3
    assert {r["model_version"] for r in lake.rows(STEP)} == {second}


def test_other_locales_keep_their_guesses(lake: Lake, toy_model: TorchPredictor) -> None:
    texts = sorted({e.utterance for e in toy_rows(60, 7)})[:4]
    promoted(lake, toy_model)
    path = str(lake.table(STEP))
    plant_turns(lake, "r1", [(text, "older/1", L) for text in texts])
    guess_again(SETTINGS, lake)
    other = lake.rows(STEP)[0] | {"formulation_id": "f", "locale": "yy-YY"}
    write_deltalake(
        path, pa.Table.from_pylist([other], schema=DeltaTable(path).to_pyarrow_table().schema), mode="append"
    )
    plant_turns(lake, "r2", [(text, "older/1", L) for text in texts[1:]])
    guess_again(SETTINGS, lake)
    found = [(r["locale"], r["formulation_id"]) for r in lake.rows(STEP)]
    assert len(found) == 4
    assert ("yy-YY", "f") in found


def test_without_a_champion_nothing_is_done_and_without_turns_it_says_so(lake: Lake, toy_model: TorchPredictor) -> None:
    with pytest.raises(InputError, match="run the step `turns` first"):
        guess_again(SETTINGS, lake)
    with pytest.raises(InputError, match="no launch locale"):
        guess_again(SETTINGS.model_copy(update={"locale": None}), lake)
    plant_turns(lake, "r1", [("wake me", "older/1", L)])
    done = guess_again(SETTINGS, lake)
    assert done.unchanged
    assert done.champion is None
    assert lake.manifest(STEP) is None
