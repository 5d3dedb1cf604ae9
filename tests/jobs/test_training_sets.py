"""Training sets of the mined planted log: splits, caps, weights, gold, and snapshots that stay."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from mined_lake import Mined, Remade
from planted_log import LOCALE, WRONG, read

from schemas.normalise import formulation_id, normalise


def snapshot(mined: Mined) -> list[dict[str, Any]]:
    """The rows of the first snapshot."""
    return mined.rows("training_sets")


def test_gate_rows_come_from_held_out_users_alone(mined: Mined) -> None:
    said: dict[str, set[bool]] = {}
    for turn in mined.rows("turns"):
        said.setdefault(turn["utterance"], set()).add(turn["held_out"])
    gate = [row for row in snapshot(mined) if row["split"] == "gate"]
    assert gate
    assert {row["source"] for row in gate} == {"expected", "held_out", "rephrased"}
    assert all(True in said[row["utterance"]] for row in gate)
    turns = [t for t in mined.rows("turns") if t["held_out"]]
    # No user who votes adds a row: a turn has at most its own answer, twice, and that of its rephrase.
    spoken = Counter(t["utterance"] for t in turns)
    assert all(n <= 3 * spoken[utterance] for utterance, n in Counter(row["utterance"] for row in gate).items())
    by_source = Counter(row["source"] for row in gate)
    assert by_source["expected"] == by_source["held_out"] > by_source["rephrased"]
    best: dict[str, dict[str, Any]] = {}
    for row in gate:
        if row["source"] != "expected":
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
        assert manifest["inputs"].keys() == {"pseudo_labels", "turns", "rephrase_pairs"}
        assert str(manifest["counts"]["examples"]) in (copy.snapshots / name / "README.md").read_text()


def test_the_wrong_intent_of_the_launch_model_is_taught_to_nobody(mined: Mined) -> None:
    taught = {row["intent"] for row in snapshot(mined) if row["source"] == "pseudo_label"}
    assert WRONG not in taught
    assert taught
