"""Training sets of the mined planted log: splits, caps, weights, gold, and snapshots that stay."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable, write_deltalake
from mined_lake import Mined, Remade, settings_for
from planted_log import LOCALE, WRONG, read

from jobs.lake import run_step
from jobs.pipeline import STEPS
from schemas.lake import Lake
from schemas.normalise import formulation_id, normalise
from schemas.training_tables import NO_ANSWER, turn_group


def snapshot(mined: Mined) -> list[dict[str, Any]]:
    """The rows of the first snapshot."""
    return mined.rows("training_sets")


def test_gate_rows_are_turns_that_no_label_was_made_of(mined: Mined, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    shutil.copytree(mined.lake.path, lake.path)
    picky = settings_for(mined.folder, labels__vote_floor=110)
    made = [run_step(STEPS[step], lake, picky) for step in ("pseudo_labels", "training_sets")]
    assert [result.status for result in made] == ["done", "done"]
    rows = [r for r in read(lake, "training_sets") if r["snapshot_id"] == lake.manifest("training_sets").run_id]  # type: ignore[union-attr]
    gate = [row for row in rows if row["split"] == "gate"]
    gold = {formulation_id(LOCALE, normalise(r["utterance"])) for r in rows if r["source"] == "gold"}
    labelled = gold | {r["formulation_id"] for r in read(lake, "pseudo_labels") if r["status"] == "accepted"}
    judges: dict[str, tuple[str, str, str, bool]] = {}
    by_user: dict[tuple[Any, ...], list[str]] = {}
    left_out: Counter[str] = Counter()
    for turn in mined.rows("turns"):
        said, text = turn["interpretation"], turn["utterance"]
        if turn["locale"] != LOCALE:
            continue
        tells = turn["text"] and turn["heard"] and turn["response"] == ("no_match" if said is None else "completed")
        bare = said and any((s["start"], s["end"]) == (0, len(text)) for s in said["slots"])
        if not tells or bare:
            left_out["gate_tells_nothing"] += 1
            continue
        stratum = "labelled" if turn["formulation_id"] in labelled else "unlabelled"
        if turn["held_out"] or stratum == "unlabelled":
            group = turn_group(turn["interaction_id"])
            same = turn["user_id"], turn["formulation_id"], said and said["intent"]
            by_user.setdefault(same, []).append(group)
            judges[group] = (text, stratum, "held_out" if turn["held_out"] else "voter", said is not None)
        else:
            left_out["gate_taught"] += 1
    again = {group for groups in by_user.values() for group in sorted(groups)[1:]}
    judges = {group: judge for group, judge in judges.items() if group not in again}
    manifest = lake.manifest("training_sets")
    assert manifest is not None
    assert manifest.counts["gate_said_again"] == len(again) > 10
    assert {name: manifest.counts[name] for name in left_out} == left_out
    assert min(left_out.values()) > 10
    assert {judge[1:] for judge in judges.values()} >= {
        ("labelled", "held_out", True), ("unlabelled", "held_out", True), ("unlabelled", "voter", True),
        ("labelled", "held_out", False),
    }  # fmt: skip
    assert {row["source"] for row in gate} == {"expected", "held_out", "voter", "rephrased"}
    after = {r["group_id"]: (r["utterance"], r["stratum"], r["source"], r["intent"] != NO_ANSWER) for r in gate
             if r["source"] in ("held_out", "voter")}  # fmt: skip
    assert after == judges
    assert all((row["utterance"], row["stratum"]) == judges[row["group_id"]][:2] for row in gate)
    answered = [group for group, judge in judges.items() if judge[3]]
    assert Counter(r["group_id"] for r in gate if r["source"] == "expected") == Counter(answered)
    assert {r["weight"] for r in gate if r["intent"] == NO_ANSWER} == {0.0}


def test_nobody_judges_alone(mined: Mined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path / "lake")
    shutil.copytree(mined.lake.path, lake.path)
    monkeypatch.setattr("jobs.training_sets._OF_A_USER", 2)
    run_step(STEPS["training_sets"], lake, settings_for(mined.folder, training__head_share=0.3))
    manifest = lake.manifest("training_sets")
    assert manifest is not None
    names = {turn["interaction_id"]: turn["user_id"] for turn in mined.rows("turns")}
    of_turn = {turn_group(name): user for name, user in names.items()}

    def judging(rows: list[dict[str, Any]]) -> Counter[str]:
        return Counter(of_turn[r["group_id"]] for r in rows if r["source"] in ("held_out", "voter"))

    before = judging(snapshot(mined))
    after = judging([r for r in read(lake, "training_sets") if r["snapshot_id"] == manifest.run_id])
    assert max(before.values()) > 2
    assert after == {user: min(turns, 2) for user, turns in before.items()}
    assert manifest.counts["gate_over_user_cap"] == before.total() - after.total()


def test_a_sample_of_wordings_judges_where_there_are_many(
    mined: Mined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path / "lake")
    shutil.copytree(mined.lake.path, lake.path)

    def judging(**changes: Any) -> tuple[list[dict[str, Any]], dict[str, int]]:
        picky = settings_for(mined.folder, labels__vote_floor=110, **changes)
        for step in ("pseudo_labels", "training_sets"):
            run_step(STEPS[step], lake, picky)
        manifest = lake.manifest("training_sets")
        assert manifest is not None
        rows = [r for r in read(lake, "training_sets") if r["snapshot_id"] == manifest.run_id and r["split"] == "gate"]
        return rows, manifest.counts

    before, counts = judging()
    assert counts["gate_not_sampled"] == 0
    every = {r["utterance"] for r in before if r["source"] == "voter"}
    place = {text: int(formulation_id(LOCALE, normalise(text))[:8], 16) for text in every}
    many, sampled = next(
        (n, chosen) for n in range(2, 20) if 0 < len(chosen := {t for t in every if place[t] % n == 0}) < len(every)
    )
    voters = sum(t["locale"] == LOCALE and t["heard"] and not t["held_out"] for t in mined.rows("turns"))
    monkeypatch.setattr("jobs.training_sets._OF_VOTERS", -(-voters // many))
    after, counts = judging(training__head_share=0.3)
    assert {r["utterance"] for r in after if r["source"] == "voter"} == sampled
    ids = [{r["group_id"] for r in rows if r["source"] == "held_out"} for rows in (before, after)]
    assert ids[0] == ids[1]
    gone = sum(r["source"] == "voter" and r["utterance"] not in sampled for r in before)
    assert counts["gate_not_sampled"] >= gone > 0  # what is said again is counted there, too


def test_contested_wordings_teach_their_distribution_and_judge_nothing(mined: Mined, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    shutil.copytree(mined.lake.path, lake.path)
    found = {}
    for weight in (0.5, 0.0):
        chosen = settings_for(mined.folder, labels__min_posterior=0.999, training__contested=weight)
        for step in ("pseudo_labels", "training_sets"):
            run_step(STEPS[step], lake, chosen)
        manifest = lake.manifest("training_sets")
        assert manifest is not None
        found[weight] = [r for r in read(lake, "training_sets") if r["snapshot_id"] == manifest.run_id], manifest.counts
    labels = {r["utterance"]: r for r in read(lake, "pseudo_labels") if r["locale"] == LOCALE}
    rows, counts = found[0.5]
    divided = [r for r in rows if r["source"] == "contested"]
    floor = settings_for(mined.folder).labels.vote_floor
    assert len(divided) > 3
    assert counts["contested"] == counts["contested_left_out"] + len(divided)
    for row in divided:
        label = labels[row["utterance"]]
        assert (label["status"], row["split"], row["slots"], row["weight"]) == ("contested", "train", None, 0.5)
        assert label["users"] >= floor
        assert row["intents"] == label["intents"]
    steering = {r["group_id"] for r in rows if r["split"] == "dev" and r["source"] == "pseudo_label"}
    assert not steering & {r["group_id"] for r in divided}
    judges = {r["utterance"] for r in rows if r["source"] == "voter"}
    assert not judges & {r["utterance"] for r in divided}
    assert not [r for r in found[0.0][0] if r["source"] == "contested"]
    assert found[0.0][1]["contested"] == 0
    assert len({r["utterance"] for r in found[0.0][0] if r["source"] == "voter"}) > len(judges)


def test_a_lake_of_an_older_program_gets_the_new_column(mined: Mined, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    shutil.copytree(mined.lake.path, lake.path)
    path = str(lake.table("training_sets"))
    before = DeltaTable(path).to_pyarrow_table()
    write_deltalake(
        path, before.drop_columns(["intents"]), mode="overwrite", schema_mode="overwrite", partition_by=["snapshot_id"]
    )
    run_step(STEPS["training_sets"], lake, settings_for(mined.folder, training__head_share=0.3))
    manifest = lake.manifest("training_sets")
    assert manifest is not None
    rows = read(lake, "training_sets")
    assert {r["intents"] for r in rows} == {None}
    assert sum(r["snapshot_id"] != manifest.run_id for r in rows) == len(before)
    assert sum(r["snapshot_id"] == manifest.run_id for r in rows) > 0


def test_what_gate_rows_say_of_held_out_turns_is_right(mined: Mined) -> None:
    gate = [row for row in snapshot(mined) if row["split"] == "gate"]
    held_out = {row["group_id"] for row in gate if row["source"] == "held_out"}
    best: dict[str, dict[str, Any]] = {}
    for row in gate:
        if row["source"] != "expected" and row["group_id"] in held_out:
            best[row["group_id"]] = max(best.get(row["group_id"], row), row, key=lambda r: r["weight"])
    sure = [row for row in best.values() if row["weight"] > 0.6]
    meant = [mined.log.meaning[formulation_id(LOCALE, normalise(row["utterance"]))][0] for row in sure]
    assert len(sure) > 10
    assert np.mean([row["intent"] == m for row, m in zip(sure, meant, strict=True)]) > 0.9


def test_gold_wins_over_what_users_taught(mined: Mined) -> None:
    rows = [row for row in snapshot(mined) if row["utterance"] == "weka kengele ya saa moja" and row["split"] != "gate"]
    assert [(row["source"], row["intent"]) for row in rows] == [("gold", "gold_intent")]
    assert [s["value"] for s in rows[0]["slots"]] == ["saa moja"]
    label = next(x for x in mined.rows("pseudo_labels") if x["utterance"] == "weka kengele ya saa moja")
    assert (label["status"], label["intent"]) == ("accepted", "alarm_set")


def test_test_partitions_and_other_locales_stay_out(mined: Mined) -> None:
    said = {row["utterance"] for row in snapshot(mined) if row["source"] == "gold"}
    assert said == {"weka kengele ya saa moja", "cheza nyimbo", "wake me at seven"}
    assert mined.results["training_sets"].counts["gold_of_other_locales"] == 1


def test_the_head_holds_no_more_than_its_share_of_the_weight(mined: Mined, remade: Remade) -> None:
    for lake, share in ((mined.lake, 0.5), (remade[0], 0.2)):
        snapshot_id = lake.manifest("training_sets").details["snapshot_id"]  # type: ignore[union-attr]
        rows = [
            r for r in read(lake, "training_sets") if r["snapshot_id"] == snapshot_id and r["source"] == "pseudo_label"
        ]
        weight = {s: sum(r["weight"] for r in rows if r["stratum"] == s) for s in ("head", "torso", "tail")}
        assert weight["head"] > 0
        assert weight["head"] / sum(weight.values()) <= share + 1e-4
    assert weight["head"] / sum(weight.values()) == pytest.approx(0.2, abs=1e-3)  # and no less where there is more


def test_no_cluster_has_more_than_its_cap_and_none_straddles_a_split(mined: Mined) -> None:
    rows = [row for row in snapshot(mined) if row["source"] == "pseudo_label"]
    assert max(Counter(row["group_id"] for row in rows).values()) <= 3
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["group_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())


def test_a_frozen_snapshot_stays_when_another_is_made(mined: Mined, remade: Remade) -> None:
    copy = remade[0]
    first = mined.lake.manifest("training_sets").details["snapshot_id"]  # type: ignore[union-attr]
    before = [row for row in mined.rows("training_sets") if row["snapshot_id"] == first]
    second = copy.manifest("training_sets").details["snapshot_id"]  # type: ignore[union-attr]
    rows = read(copy, "training_sets")
    order = lambda row: row["example_id"]  # noqa: E731
    assert second != first
    assert sorted((r for r in rows if r["snapshot_id"] == first), key=order) == sorted(before, key=order)
    assert {row["snapshot_id"] for row in rows} == {first, second}
    for name in (first, second):
        manifest = json.loads((copy.snapshots / name / "manifest.json").read_text())
        assert manifest["snapshot_id"] == name
        assert manifest["inputs"].keys() == {"pseudo_labels", "translations", "turns", "rephrase_pairs"}
        assert str(manifest["counts"]["examples"]) in (copy.snapshots / name / "README.md").read_text()


def test_the_wrong_intent_of_the_launch_model_is_taught_to_nobody(mined: Mined) -> None:
    taught = {row["intent"] for row in snapshot(mined) if row["source"] == "pseudo_label"}
    assert WRONG not in taught
    assert taught
