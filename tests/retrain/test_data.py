from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from toy_language import snapshot_row, toy_rows

from retrain.data import Example, fingerprint, read_gold, read_snapshot
from retrain.tables import append_rows, read_table
from retrain.vocabulary import Vocabulary
from schemas.annotated import write_annotated
from schemas.errors import InputError
from schemas.lake import Lake, Manifest
from schemas.predictor import Slot
from schemas.tables import BY_NAME


def test_a_snapshot_is_read_at_its_published_version(lake: Lake) -> None:
    rows = [
        Example("wake me", "de-DE", "alarm", (Slot("who", "me", 5, 7),), 0.25, "train", "pseudo_label", "cluster"),
        Example("hm", "de-DE", "alarm", None, 0.5, "gate", "held_out", "turn"),
        Example("eh", "de-DE", "alarm", None, 0.5, "train", "contested", "c2", intents=(("alarm", 0.2), ("qa", 0.1))),
        Example("wake us", "de-DE", "alarm", None, 0.5, "train", "pseudo_label", "c3", tags=(("O",), ())),
    ]
    version = append_rows(lake, "training_sets", [snapshot_row("s1", i, e) for i, e in enumerate(rows)])
    with pytest.raises(InputError, match="training_sets"):
        read_snapshot(lake, "s1")
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": version}))
    append_rows(lake, "training_sets", [snapshot_row("s1", 9, rows[0]), snapshot_row("s2", 0, rows[0])])
    assert read_snapshot(lake, "s1") == rows
    assert read_snapshot(lake, "s1", ("gate",)) == rows[1:2]
    with pytest.raises(InputError, match="no snapshot s2"):
        read_snapshot(lake, "s2")


def test_tags_of_other_tokens_are_refused(lake: Lake) -> None:
    row = Example("wake us", "de-DE", "alarm", None, tags=(("O",), (), ()))
    version = append_rows(lake, "training_sets", [snapshot_row("s1", 0, row)])
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": version}))
    with pytest.raises(InputError, match=r"3 tokens have tags in 'wake us'"):
        read_snapshot(lake, "s1")


def test_gold_never_comes_from_a_test_partition(tmp_path: Path) -> None:
    rows = [e.annotated for split in ("train", "dev", "test") for e in toy_rows(5, 1, split=split)]
    write_annotated(tmp_path / "en-US.jsonl", rows)
    assert {e.split for e in read_gold([tmp_path / "en-US.jsonl"])} == {"train", "dev"}
    with pytest.raises(InputError, match="not test"):
        read_gold([tmp_path / "en-US.jsonl"], ("test",))


def test_a_set_of_examples_has_one_name_whatever_its_order() -> None:
    rows = toy_rows(30, 1)
    assert fingerprint(rows) == fingerprint(rows[::-1])
    assert fingerprint(rows) != fingerprint(rows[1:])


def test_appending_checks_columns(lake: Lake) -> None:
    assert read_table(lake, "model_runs") == []
    with pytest.raises(ValueError, match="no column color"):
        append_rows(lake, "model_runs", [{"color": "red"}])
    with pytest.raises(ValueError, match="must not be null"):
        append_rows(lake, "model_runs", [{"locale": "de-DE"}])


def test_a_vocabulary_grows_at_the_end_and_survives_json(tmp_path: Path) -> None:
    first = Vocabulary().grown(toy_rows(50, 1))
    second = first.grown([Example("wecke mich", "de-DE", "wake", (Slot("who", "mich", 6, 10),))])
    for kind in ("words", "chars", "intents", "slots", "tags", "locales"):
        assert getattr(second, kind)[: len(getattr(first, kind))] == getattr(first, kind)
    assert {"wecke", "mich"} <= set(second.words)
    assert second.tags[-2:] == ("B-who", "I-who")
    second.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json") == second


def test_many_labels_do_not_outvote_a_few_annotations() -> None:
    from retrain.plan import MAX_REPEATS, balanced

    gold = [Example("a", "xx-XX", "i")]
    mined = [Example(str(n), "xx-XX", "i", (), float(n), source="pseudo_label") for n in (2, 6)]
    assert [e.weight for e in balanced(gold + mined, 3.0)] == [3.0, 3.0, 0.5, 1.5]  # shown as often as there are labels
    many = [Example(str(n), "xx-XX", "i", source="pseudo_label") for n in range(50)]
    shown = balanced(gold + many, 3.0).count(Example("a", "xx-XX", "i", weight=3.0))
    assert shown == MAX_REPEATS < 50  # but within a bound
    assert balanced(gold, 3.0) == gold
    assert balanced(mined, 3.0) == mined


def test_a_snapshot_of_an_older_program_has_no_soft_targets(lake: Lake) -> None:
    from deltalake import write_deltalake

    row = Example("wake me", "de-DE", "alarm", None, 0.25, "train", "pseudo_label", "c1")
    table = pa.Table.from_pylist([snapshot_row("s1", 0, row)], schema=BY_NAME["training_sets"].arrow)
    write_deltalake(str(lake.table("training_sets")), table.drop_columns(["intents"]))
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": 0}))
    assert read_snapshot(lake, "s1") == [row]
