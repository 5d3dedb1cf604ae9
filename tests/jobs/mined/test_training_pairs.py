"""Pairs of wordings that a snapshot trains with: of voters alone, apart from what judges, and nobody's to decide."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from mined_lake import Mined, settings_for
from planted_log import LOCALE, read

from jobs.lake import run_step
from jobs.pipeline import STEPS
from jobs.training_pairs import LEFT_OUT, weighed
from retrain.data import Pair, read_pairs, read_snapshot
from schemas.lake import Lake, Manifest
from schemas.normalise import formulation_id, normalise
from schemas.tables import BY_NAME

MOST = 2  # pairs of a user that count


def named(text: str) -> str:
    return formulation_id(LOCALE, normalise(text))


def spread(mined: Mined, folder: Path, seed: int) -> Lake:
    """The mined lake with most of its turns in wordings of few users, as real ones are, in clusters drawn at random."""
    rng, lake = np.random.default_rng(seed), Lake(folder / f"lake {seed}")
    shutil.copytree(mined.lake.path, lake.path)
    turns, pairs, labels = (read(lake, name) for name in ("turns", "rephrase_pairs", "pseudo_labels"))
    of_turn = {}
    for turn in turns:
        if turn["locale"] == LOCALE and turn["text"] and rng.random() < 0.85:
            turn["utterance"] += f" {rng.integers(60)}"
            turn["text"], turn["formulation_id"] = normalise(turn["utterance"]), named(turn["utterance"])
            labels.append(labels[0] | {
                "formulation_id": turn["formulation_id"], "utterance": turn["utterance"], "status": "too_few_users",
                "cluster_id": f"{rng.integers(2**32):08x}",
            })  # fmt: skip
        of_turn[turn["interaction_id"]] = turn
    for pair in pairs:
        for end in ("source", "target"):
            turn = of_turn[pair[end]]
            pair[f"{end}_utterance"], pair[f"{end}_formulation"] = turn["utterance"], turn["formulation_id"]
    labels = list({row["formulation_id"]: row for row in labels}.values())
    for name, rows in (("turns", turns), ("rephrase_pairs", pairs), ("pseudo_labels", labels)):
        table = pa.Table.from_pylist(rows, schema=BY_NAME[name].arrow)
        by = list(BY_NAME[name].partition_by) or None
        write_deltalake(str(lake.table(name)), table, mode="overwrite", partition_by=by)
        written = {name: DeltaTable(lake.table(name)).version()}
        if name == "pseudo_labels":
            written["translations"] = lake.version("translations")
        lake.publish(Manifest(name, f"spread {seed}", {}, written))
    return lake


def snapshot(lake: Lake, folder: Path, **changes: Any) -> tuple[str, dict[str, int]]:
    """A snapshot made with these settings: its id and counts."""
    chosen = {"training__consistency": 1.0, "rephrase__max_pairs_per_user": MOST} | changes
    result = run_step(STEPS["training_sets"], lake, settings_for(folder, **chosen))
    manifest = lake.manifest("training_sets")
    assert manifest is not None
    return str(manifest.details["snapshot_id"]), result.counts


def of(lake: Lake, table: str, snapshot_id: str) -> list[dict[str, Any]]:
    return [row for row in read(lake, table) if row["snapshot_id"] == snapshot_id]


Paired = tuple[Lake, str, dict[str, int]]


@pytest.fixture(scope="module")
def paired(mined: Mined, tmp_path_factory: pytest.TempPathFactory) -> Paired:
    """A lake with a snapshot that has pairs, its id and counts."""
    lake = spread(mined, tmp_path_factory.mktemp("paired"), 1)
    return lake, *snapshot(lake, mined.folder)


def test_pairs_are_voters_own_and_apart_from_what_judges(paired: Paired) -> None:
    lake, name, counts = paired
    rows, taught = of(lake, "training_pairs", name), of(lake, "training_sets", name)
    turns = [t for t in read(lake, "turns") if t["locale"] == LOCALE]
    judging = {t["formulation_id"] for t in turns if t["held_out"]}
    judging |= {named(r["utterance"]) for r in taught if r["split"] in ("dev", "gate")}
    cluster = {r["formulation_id"]: r["cluster_id"] for r in read(lake, "pseudo_labels")}
    assert len(rows) > 20
    in_pairs = {named(row[side]) for row in rows for side in ("left", "right")}
    assert not in_pairs & judging
    assert all(int(cluster[wording][:6], 16) % 20 for wording in in_pairs if wording in cluster)
    # The same by another way: what each voter said instead, their surest ones, shared out at each wording.
    said: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    left_out: Counter[str] = Counter()
    every: dict[tuple[str, bool, tuple[str, str]], float] = {}
    for p in read(lake, "rephrase_pairs"):
        ends = tuple(sorted((p["source_formulation"], p["target_formulation"])))
        if p["kind"] == "rephrase" and ends[0] != ends[1] and p["locale"] == LOCALE:
            key = (p["user_id"], p["held_out"], (ends[0], ends[1]))
            every[key] = max(every.get(key, 0), round(p["posterior"], 6))
    of_held_out = {t["formulation_id"] for t in turns if t["held_out"]}
    for (user, held_out, ends), posterior in every.items():
        assert posterior >= 0.7
        steers = any(int(cluster[e][:6], 16) % 20 == 0 for e in ends if e in cluster) or named("cheza nyimbo") in ends
        if held_out or set(ends) & of_held_out or steers:
            barred = "with_a_held_out_users_wording" if set(ends) & of_held_out else "with_a_dev_wording"
            left_out["of_held_out_users" if held_out else barred] += 1
        else:
            said[user][ends] = posterior
    voters: dict[str, set[str]] = defaultdict(set)
    for t in turns:
        if t["heard"] and not t["held_out"]:
            voters[t["formulation_id"]].add(t["user_id"])
    wanted: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
    for mine in said.values():
        surest = sorted(mine, key=lambda ends: (-mine[ends], ends))
        left_out["over_user_cap"] += len(surest[MOST:])
        there = Counter(end for ends in surest[:MOST] for end in ends)
        for ends in surest[:MOST]:
            for side, end in enumerate(ends):
                wanted[ends][side] += mine[ends] / there[end] / len(voters[end])
            wanted[ends][2] += 1
    found = {(named(r["left"]), named(r["right"])): [r["left_weight"], r["right_weight"], r["users"]] for r in rows}
    assert found.keys() == wanted.keys()
    for ends, weights in found.items():
        assert weights == pytest.approx(wanted[ends], abs=2e-6)
    assert {reason: counts[f"pairs_{reason}"] for reason in LEFT_OUT} == {r: left_out[r] for r in LEFT_OUT}
    assert all(left_out[reason] for reason in LEFT_OUT)
    assert counts["pairs_of_users"] == sum(left_out.values()) + sum(r["users"] for r in rows)
    assert counts["pairs"] == len(rows)
    total: Counter[str] = Counter()
    for (left, right), (of_left, of_right, _) in found.items():
        total.update({left: of_left, right: of_right})
    assert max(total.values()) <= 1 + 1e-5


def test_a_coalition_moves_a_wording_by_no_more_than_its_share_of_the_users(spark: Any) -> None:
    """Three accounts say something else for a wording that fifty say, ten times each."""
    attack = [(f"bad {k}", "head", f"junk {n}", 0.99) for k in range(3) for n in range(10)]
    honest = [("good 0", "head", "tail", 0.9)]
    names = ["user_id", "left", "right", "posterior"]
    kept = spark.createDataFrame(attack + honest, names).selectExpr("*", "left as left_text", "right as right_text")
    counts = [("head", 50), ("tail", 1), *((f"junk {n}", 3) for n in range(10))]
    voters = spark.createDataFrame(counts, ["formulation_id", "voters"])
    spelling = spark.createDataFrame([("tail", "the tail")], ["formulation_id", "utterance"])
    rows = {row["right"]: row for row in weighed(kept, voters, spelling).collect()}
    assert sum(row["left_weight"] for name, row in rows.items() if name != "tail") <= 3 / 50
    assert rows["tail"]["left_weight"] == pytest.approx(0.9 / 50)
    assert rows["tail"]["right_weight"] == pytest.approx(0.9)
    assert (rows["tail"]["left_utterance"], rows["tail"]["right_utterance"]) == ("head", "the tail")


def test_a_snapshot_keeps_its_pairs_and_says_the_same_again(mined: Mined, paired: Paired, tmp_path: Path) -> None:
    lake, first, _ = paired
    pairs, rows = read_pairs(lake, first), read_snapshot(lake, first)
    assert pairs
    off, counts = snapshot(lake, mined.folder, training__consistency=0.0)
    assert off != first
    assert read_pairs(lake, off) == []
    assert not [name for name in counts if name.startswith("pairs")]
    assert read_pairs(lake, first) == pairs
    # Examples are the same with and without, but that voters' turns in wordings of pairs judge nobody.
    without = read_snapshot(lake, off)
    texts = {named(text) for pair in pairs for text in (pair.left, pair.right)}
    assert [e for e in rows if e.split != "gate"] == [e for e in without if e.split != "gate"]
    dropped = [e for e in without if e not in rows]
    assert dropped
    assert {named(e.utterance) for e in dropped} <= texts
    again = spread(mined, tmp_path, 1)
    second, _ = snapshot(again, mined.folder)
    assert (second, read_pairs(again, second)) == (first, pairs)
    manifest = json.loads((lake.snapshots / first / "manifest.json").read_text())
    assert manifest["counts"]["pairs"] == len(pairs)
    assert manifest["inputs"].keys() == {"pseudo_labels", "translations", "turns", "rephrase_pairs"}


def test_a_snapshot_of_a_program_that_knew_no_pairs_has_none(mined: Mined, copy: Lake) -> None:
    manifest = copy.manifest("training_sets")
    assert manifest is not None
    shutil.rmtree(copy.table("training_pairs"))
    del manifest.outputs["training_pairs"]
    copy.publish(manifest)
    old = str(manifest.details["snapshot_id"])
    assert read_pairs(copy, old) == []
    rows = read_snapshot(copy, old)
    assert rows
    new, _ = snapshot(copy, mined.folder)
    assert read_snapshot(copy, old) == rows
    assert read_pairs(copy, old) == []
    assert all(isinstance(pair, Pair) for pair in read_pairs(copy, new))
