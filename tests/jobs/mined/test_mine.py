"""All mining steps on one planted lake: what is found, what is counted, and what a rerun, a crash and a shuffle do."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable
from mined_lake import FLOOR, TABLES, Mined, Remade, same_tables, settings_for, versions
from planted_log import Log, held_out, plant, pseudonym, read, robots

from jobs.pipeline import STEPS, mine
from schemas.errors import InputError
from schemas.lake import Lake, Manifest
from schemas.tables import BY_NAME

# What is found


def test_planted_rephrases_are_found_and_little_else(mined: Mined) -> None:
    pairs = [p for p in mined.rows("rephrase_pairs") if p["kind"] != "new_request"]
    found = {(p["source"], p["target"]) for p in pairs if p["user_id"] != pseudonym(10_000)}
    truth = mined.log.pairs
    unanswered = {row["interaction_id"] for row in mined.log.rows if row["response"] == "no_match"}
    loud = {pair for pair in truth if pair[0] in unanswered}
    assert len(loud) > 300
    assert len(found & loud) / len(loud) > 0.9
    assert len(found & truth) / len(truth) > 0.7  # with those where the model thought that it had understood
    assert len(found & truth) / len(found) > 0.9


def test_what_the_model_did_not_know_is_labelled_by_what_was_said_instead(mined: Mined) -> None:
    labels = {label["formulation_id"]: label for label in mined.rows("pseudo_labels")}
    assert set(mined.log.meaning) <= set(labels)
    accepted = {name: label for name, label in labels.items() if label["status"] == "accepted"}
    taught = [name for name in mined.log.meaning if name in accepted]
    assert len(taught) / len(mined.log.meaning) > 0.8
    right = [name for name in taught if accepted[name]["intent"] == mined.log.meaning[name][0]]
    assert len(right) / len(taught) > 0.95
    spelt = [n for n in right if [s["value"] for s in accepted[n]["slots"] or ()] == [mined.log.meaning[n][1]]]
    assert len(spelt) / len(right) > 0.9


def test_every_value_of_a_table_is_one_its_definition_allows(mined: Mined) -> None:
    for name in TABLES:
        table = DeltaTable(mined.lake.table(name), version=mined.lake.version(name)).to_pyarrow_table()
        assert table.schema.names == list(BY_NAME[name].names)
        # One locale: nothing to link. No consistency loss: no pairs.
        assert len(table) > 0 or name in ("cluster_links", "training_pairs"), name
        for column in BY_NAME[name].columns:
            if not column.nullable:
                assert table.column(column.name).null_count == 0, (name, column.name)
        keys = Counter(tuple(row[k] for k in BY_NAME[name].key) for row in table.to_pylist())
        assert max(keys.values(), default=1) == 1, name
    assert all(0 <= t["friction"] <= 1 for t in mined.rows("turns"))
    for pair in mined.rows("rephrase_pairs"):
        bits = sum(feature["weight"] for feature in pair["features"])
        assert pair["match_weight"] == pytest.approx(bits, abs=1e-6)
        assert pair["posterior"] == pytest.approx(1 / (1 + 2.0**-bits), abs=1e-6)
        assert 0 <= pair["none_posterior"] <= 1 - pair["posterior"] + 1e-6
        same = pair["source_formulation"] == pair["target_formulation"]
        assert pair["kind"] == "new_request" or (pair["kind"] == "repeat") == same
        assert (pair["edit"] == "same_words") == same
        assert pair["new_request" if pair["kind"] == "new_request" else "posterior"] >= 0.7
        assert pair["posterior"] + pair["new_request"] <= 1 + 1e-6
    for label in mined.rows("pseudo_labels"):
        assert all(s["value"] == label["utterance"][s["start"] : s["end"]] for s in label["slots"] or ())


def test_counts_add_up(mined: Mined) -> None:
    counts = {step: result.counts for step, result in mined.results.items()}
    assert counts["turns"]["read"] == counts["turns"]["turns"] == len(mined.log.rows) == len(mined.rows("turns"))
    pairs = counts["rephrase_pairs"]
    assert pairs["turns_with_candidates"] == pairs["pairs"] + pairs["nothing_believed"]
    by_kind = pairs["rephrases"] + pairs["repeats"] + pairs["new_requests"]
    assert pairs["pairs"] == by_kind == len(mined.rows("rephrase_pairs"))
    assert pairs["candidates"] >= pairs["turns_with_candidates"] > 0
    edges = counts["variant_edges"]
    by_kind = sum(edges[kind] for kind in ("same_locale", "near", "cross_locale", "rephrase"))
    assert edges["edges"] == by_kind == len(mined.rows("variant_edges"))
    told = mined.lake.manifest("variant_edges").details["min_cosine"]
    assert set(told) == {row["locale"] for row in mined.rows("utterances")}
    for edge in mined.rows("variant_edges"):
        assert edge["kind"] != "same_locale" or edge["cosine"] >= told[edge["locale"]]["cosine"]
    labels = counts["pseudo_labels"]
    assert labels["formulations"] == labels["accepted"] + labels["contested"] + labels["too_few_users"]
    open_ = [row for row in mined.rows("pseudo_labels") if row["status"] == "accepted" and row["slots"] is None]
    assert labels["slots_open"] == len(open_)
    assert labels["slots_open_but_words"] == sum(bool(row["tags"]) for row in open_)
    spoken = {t["formulation_id"] for t in mined.rows("turns") if t["text"]}
    assert labels["formulations"] == counts["utterances"]["formulations"] == len(spoken)
    assert counts["variant_clusters"]["formulations"] == len(spoken)
    assert counts["variant_clusters"]["clusters"] == len({row["cluster_id"] for row in mined.rows("variant_clusters")})
    training = counts["training_sets"]
    assert training["examples"] == sum(n for name, n in training.items() if "." in name)
    kept = training["pseudo_label.train"] + training.get("pseudo_label.dev", 0)
    assert training["accepted"] == kept + training["also_in_gold"] + training["over_cluster_cap"]


def test_edges_count_users_and_events(mined: Mined) -> None:
    users: dict[tuple[str, str], list[str]] = {}
    for pair in mined.rows("rephrase_pairs"):
        if pair["kind"] == "rephrase" and not pair["held_out"]:
            edge = (pair["source_formulation"], pair["target_formulation"])
            users.setdefault(edge, []).append(pair["user_id"])
    wanted = {edge: (len(set(found)), len(found)) for edge, found in users.items()}
    found = {(e["source_formulation"], e["target_formulation"]): (e["users"], e["events"])
             for e in mined.rows("rephrase_edges")}  # fmt: skip
    assert found == wanted


# Held-out users and the floor


def test_held_out_users_have_no_vote(mined: Mined) -> None:
    assert {t["user_id"] for t in mined.rows("turns") if t["held_out"]} == {
        user for user in {row["user_id"] for row in mined.log.rows} if held_out(user)
    }
    pairs = {p["pair_id"]: p for p in mined.rows("rephrase_pairs")}
    assert sum(p["held_out"] for p in pairs.values()) > 10
    own: dict[str, set[str]] = {}
    for row in mined.rows("turns"):
        if not row["held_out"]:
            own.setdefault(row["formulation_id"], set()).add(row["user_id"])
    named = 0
    for label in mined.rows("pseudo_labels"):
        assert not any(pairs[pair]["held_out"] for pair in label["pair_ids"])
        assert label["own_users"] <= len(own.get(label["formulation_id"], ()))
        named += len(label["pair_ids"])
    assert named > 50


def test_robots_are_not_heard(mined: Mined) -> None:
    name, users = robots(Log())
    turns = mined.rows("turns")
    said: dict[str, list[str]] = {}
    for turn in turns:
        said.setdefault(turn["user_id"], []).append(turn["formulation_id"])
    for turn in turns:
        own = said[turn["user_id"]]
        effective = len(own) ** 2 / sum(own.count(one) ** 2 for one in set(own))
        assert turn["heard"] == (effective >= 4 or len(own) < 8)
    assert not users & {turn["user_id"] for turn in turns if turn["heard"]}
    assert not users & {pair["user_id"] for pair in mined.rows("rephrase_pairs")}
    unheard = sum(not turn["heard"] for turn in turns)
    assert mined.results["turns"].counts["turns_of_unheard_users"] == unheard >= 60
    assert mined.results["rephrase_pairs"].counts["turns_of_unheard_users"] == unheard
    (label,) = (row for row in mined.rows("pseudo_labels") if row["formulation_id"] == name)
    assert label["intent"] == "light_on"
    # Friction of what people say is told by people: the robots' praise is theirs alone.
    of = {turn["user_id"] in users: turn["friction"] for turn in turns
          if turn["formulation_id"] == name and turn["interpretation"]}  # fmt: skip
    assert of[False] > of[True] + 0.2


def test_accepted_labels_have_the_floor_of_users_behind_them(mined: Mined) -> None:
    for label in mined.rows("pseudo_labels"):
        assert label["why"]
        if label["status"] == "accepted":
            assert label["users"] >= FLOOR
        if label["status"] == "too_few_users":
            assert label["users"] < FLOOR


# Reruns, crashes, shuffles


def test_a_label_tells_what_near_annotated_utterances_say(mined: Mined) -> None:
    run = mined.lake.manifest("pseudo_labels")
    assert run is not None
    assert run.counts["annotated_neighbours"] > 0
    assert len(list(mined.lake.encoders.glob("gold-*.npy"))) == 1
    told = [
        [s for s in row["sources"] if s["source"] == "annotated"]
        for row in mined.lake.rows("pseudo_labels", ["sources"])
    ]
    assert all(told)
    assert all(s["users"] == 0 and 0 < s["weight"] <= 1 for some in told for s in some)
    assert all(sum(s["weight"] for s in some) <= 1 + 1e-5 for some in told)


def test_a_second_run_does_nothing_and_says_so(mined: Mined) -> None:
    before, published = versions(mined.lake), mined.lake.published()
    again = list(mine(mined.lake, mined.settings))
    assert [r.step for r in again] == list(STEPS)
    assert {r.status for r in again} == {"unchanged"}
    assert (versions(mined.lake), mined.lake.published()) == (before, published)
    assert {r.step: r.counts for r in again} == {step: r.counts for step, r in mined.results.items()}


@pytest.fixture
def other_shuffle(spark: Any) -> Iterator[None]:
    names = {"spark.sql.shuffle.partitions": "3", "spark.sql.execution.arrow.maxRecordsPerBatch": "64"}
    before = {name: spark.conf.get(name) for name in names}
    for name, value in names.items():
        spark.conf.set(name, value)
    yield
    for name, value in before.items():
        spark.conf.set(name, value)


@pytest.mark.usefixtures("other_shuffle")
def test_partitions_batches_and_order_of_the_input_change_nothing(mined: Mined, tmp_path: Path) -> None:
    shuffled = Log()
    order = np.random.default_rng(1).permutation(len(mined.log.rows))
    shuffled.rows = [mined.log.rows[i] for i in order]
    lake = plant(tmp_path / "lake", shuffled.rows)
    results = {r.step: r.counts for r in mine(lake, mined.settings)}
    assert results == {step: r.counts for step, r in mined.results.items()}
    same_tables(mined.lake, lake)


class Killed(Exception):
    """The process dies here."""


def test_a_killed_step_leaves_readers_where_they_were_and_the_next_run_ends_the_same(
    mined: Mined, copy: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = settings_for(mined.folder, clusters__min_medoid_cosine=0.9)
    tables = [table.name for table in STEPS["variant_clusters"].writes]
    published, before = copy.published(), read(copy, "variant_clusters")
    publish = Lake.publish

    def dies(lake: Lake, manifest: Manifest) -> None:
        if manifest.step == "variant_clusters":
            raise Killed
        publish(lake, manifest)

    monkeypatch.setattr(Lake, "publish", dies)
    with pytest.raises(Killed):
        list(mine(copy, changed, only="variant_clusters"))
    assert DeltaTable(copy.table("variant_clusters")).version() > published["variant_clusters"]
    assert copy.published() == published
    assert read(copy, "variant_clusters") == before
    monkeypatch.undo()
    again = next(iter(mine(copy, changed, only="variant_clusters")))
    assert again.status == "done"
    killed_and_run = read(copy, "variant_clusters")
    # The same as in a lake where nothing died.
    same = Lake(copy.path.with_name("undisturbed"))
    shutil.copytree(mined.lake.path, same.path)
    list(mine(same, changed, only="variant_clusters"))
    same_tables(copy, same, tables)
    assert len({row["cluster_id"] for row in killed_and_run}) > len({row["cluster_id"] for row in before})


def test_a_changed_setting_reruns_the_steps_that_it_concerns_and_no_others(remade: Remade) -> None:
    assert [step for step, said in remade[1].items() if said == "done"] == ["training_sets"]
    assert list(remade[1]) == list(STEPS)


# What is wrong with the input is said


def test_a_snapshot_needs_a_locale(mined: Mined, copy: Lake) -> None:
    with pytest.raises(InputError, match="--locale"):
        list(mine(copy, settings_for(mined.folder, locale=None), only="training_sets"))


def test_a_missing_gold_file_is_named(mined: Mined, copy: Lake) -> None:
    for step in ("encoder", "training_sets"):
        with pytest.raises(InputError, match=r"nowhere\.jsonl"):
            list(mine(copy, settings_for(mined.folder, training__gold=["nowhere.jsonl"]), only=step))


def test_spaces_of_two_encoders_are_not_mixed(mined: Mined, copy: Lake) -> None:
    changed = settings_for(mined.folder, encoder__dimensions=16, labels__vote_floor=FLOOR + 1)
    list(mine(copy, changed, only="encoder"))
    with pytest.raises(InputError, match="run the step `utterances` first"):
        list(mine(copy, changed, only="pseudo_labels"))


@pytest.mark.parametrize(
    ("step", "needs"), [("turns", "ingest"), ("rephrase_pairs", "turns"), ("pseudo_labels", "turns")]
)
def test_a_step_whose_input_is_missing_names_the_step_to_run(tmp_path: Path, step: str, needs: str) -> None:
    with pytest.raises(InputError, match=f"run the step `{needs}` first"):
        list(mine(Lake(tmp_path / "lake").open(create=True), settings_for(tmp_path), only=step))


def test_how_often_an_intent_outlives_its_turn_lies_midway_between_its_bounds(mined: Mined) -> None:
    """Against plain Python over the tables."""
    turns = {t["interaction_id"]: t for t in mined.rows("turns") if not t["held_out"] and t["text"]}
    said: dict[tuple[str, str, str], list[tuple[float, float, float]]] = {}
    for pair in mined.rows("rephrase_pairs"):
        first = turns.get(pair["source"])
        if pair["held_out"] or pair["kind"] != "rephrase" or pair["posterior"] < 0.5 or first is None:
            continue
        if first["response"] != "completed" or first["interpretation"] is None:
            continue
        target, accepted = pair["target_interpretation"], pair["posterior"] * pair["target_acceptance"]
        agrees = target is not None and target["intent"] == first["interpretation"]["intent"]
        whose = pair["user_id"], pair["source_formulation"], pair["target_formulation"]
        said.setdefault(whose, []).append((agrees * accepted, accepted, pair["posterior"]))
    # A user counts once for each pair of wordings.
    same, known, whole = (sum(sum(one[i] for one in pairs) / len(pairs) for pairs in said.values()) for i in range(3))
    manifest = mined.lake.manifest("pseudo_labels")
    assert manifest is not None
    assert whole > 0
    assert manifest.details["intent_survival"]["sw-KE"] == pytest.approx((same / whole + same / known) / 2, abs=1e-6)
