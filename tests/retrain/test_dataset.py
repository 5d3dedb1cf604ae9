"""An exported training set, read by others: our own reader of MASSIVE's format, and `datasets`."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_language import snapshot_row, toy_rows

from retrain.data import Example
from retrain.dataset import export_snapshot
from retrain.tables import append_rows
from schemas.annotated import read_annotated
from schemas.errors import InputError
from schemas.lake import Lake, Manifest


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake").open(create=True)
    rows = [
        *toy_rows(30, 1, "xx-XX", source="pseudo_label", weight=0.7),
        *toy_rows(10, 2, "en-US"),
        *toy_rows(8, 3, "xx-XX", "dev"),
        Example("something open", "xx-XX", "weather_query", None, 0.5, "train", "pseudo_label", tags=(("O",), ())),
        Example(
            "divided", "xx-XX", "weather_query", None, 0.5, "train", "contested", intents=(("weather_query", 0.2),)
        ),
        *toy_rows(5, 4, "xx-XX", "gate"),
    ]
    version = append_rows(made, "training_sets", [snapshot_row("s1", i, e) for i, e in enumerate(rows)])
    made.publish(Manifest("training_sets", "s1", {}, {"training_sets": version}, {}, {"snapshot_id": "s1"}))
    return made


def test_massives_own_format(lake: Lake, tmp_path: Path) -> None:
    assert export_snapshot(lake, "s1", tmp_path / "out") == {"train": 41, "dev": 8}
    read = read_annotated(tmp_path / "out" / "train.jsonl")
    wanted = {(e.utterance, e.intent, e.slots) for e in [*toy_rows(30, 1, "xx-XX"), *toy_rows(10, 2)]}
    assert {(r.utterance, r.interpretation.intent, r.interpretation.slots) for r in read} == wanted
    assert "something open" in (tmp_path / "out" / "train.intents.jsonl").read_text(encoding="utf-8")
    for kind in ("train.jsonl", "train.intents.jsonl"):
        assert "divided" not in (tmp_path / "out" / kind).read_text(encoding="utf-8")
    assert "Left out: 1 wordings" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "Of 1 of these some tokens" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "41 annotated" not in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_load_dataset_reads_the_folder(lake: Lake, tmp_path: Path) -> None:
    load_dataset = pytest.importorskip("datasets", reason="the library `datasets` is not installed").load_dataset
    export_snapshot(lake, "s1", tmp_path / "out")
    found = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 41, "dev": 8}
    open_row = next(r for r in found["train"] if r["utt"] == "something open")
    assert open_row["annot_utt"] is None
    assert open_row["tags"] == [["O"], []]
    assert open_row["weight"] == 0.5


def test_what_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no snapshot s2"):
        export_snapshot(lake, "s2", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InputError, match="not empty"):
        export_snapshot(lake, "s1", tmp_path / "full")
