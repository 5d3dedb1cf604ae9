"""What the page reads: published versions only, the newest run of a step, and sums that add up."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake
from planted_lake import EVIDENCE, PAIRS, plant, write

from inspector.charts import probability, waterfall, waterfall_steps
from inspector.lake import PAIR_COLUMNS, Published, Search
from inspector.serve import command, serve
from schemas.errors import InputError
from schemas.lake import Lake, Manifest


def test_what_was_written_and_not_published_is_not_read(tmp_path: Path) -> None:
    lake = plant(tmp_path / "lake")
    write(lake, "rephrase_pairs", PAIRS[:1])  # a run killed before its manifest
    published = Published.of(lake.path)
    assert published.count("rephrase_pairs", Search()) == 2
    assert published.found("rephrase_pairs", Search(), PAIR_COLUMNS, 1)[1] == 2


def test_the_newest_run_of_each_step_counts(planted: Lake) -> None:
    runs = Published.of(planted.path).latest_runs()
    assert [(run["step"], run["run_id"]) for run in runs] == [("ingest", "r1"), ("turns", "r1")]


def test_a_search_finds_text_in_any_case_and_takes_it_literally(planted: Lake) -> None:
    published = Published.of(planted.path)
    for text, ids in (
        ("NIAMSHE", ["p-swahili"]),
        ("<b>", ["p-german"]),
        (".*", []),
        ("  ", ["p-swahili", "p-german"]),
    ):
        rows, total = published.found("rephrase_pairs", Search(text=text), PAIR_COLUMNS, 10)
        assert rows["pair_id"].to_pylist() == ids
        assert total == len(ids)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("", ["p-swahili", "p-other", "p-german"]),
        ("new_request", ["p-other"]),
        ("rephrase", ["p-swahili"]),
    ],
)
def test_a_new_request_is_believed_to_be_one(tmp_path: Path, kind: str, found: list[str]) -> None:
    lake = plant(tmp_path / "lake")
    other = PAIRS[0] | {"pair_id": "p-other", "kind": "new_request", "posterior": 0.06, "new_request": 0.9}
    version = write(lake, "rephrase_pairs", [*PAIRS, other])
    lake.publish(Manifest("rephrase_pairs", "r2", {"turns": 0}, {"rephrase_pairs": version}))
    rows, total = Published.of(lake.path).found(
        "rephrase_pairs", Search(kind=kind, min_posterior=0.5), PAIR_COLUMNS, 10
    )
    assert rows.column("pair_id").to_pylist() == found
    assert total == len(found)


def test_pairs_of_an_older_program_are_found_by_what_they_have(tmp_path: Path) -> None:
    lake = plant(tmp_path / "lake")
    older = lake.dataset("rephrase_pairs").to_table().drop_columns(["new_request"])
    write_deltalake(lake.table("rephrase_pairs"), older, mode="overwrite", schema_mode="overwrite")
    version = DeltaTable(lake.table("rephrase_pairs")).version()
    lake.publish(Manifest("rephrase_pairs", "r2", {"turns": 0}, {"rephrase_pairs": version}))
    published, search = Published.of(lake.path), Search(min_posterior=0.8)
    rows, total = published.found("rephrase_pairs", search, PAIR_COLUMNS, 10)
    assert rows.column("pair_id").to_pylist() == ["p-swahili"]
    assert total == published.count("rephrase_pairs", search) == 1


def test_an_unpublished_table_reads_as_empty(planted: Lake) -> None:
    published = Published.of(planted.path)
    assert len(published.rows("utterances")) == 0
    assert published.count("utterances", Search(locale="sw-KE", text="x")) == 0


def test_a_waterfall_adds_up_to_the_match_weight() -> None:
    steps = waterfall_steps(EVIDENCE)
    assert steps[0]["label"] == "prior: before any evidence"
    assert steps[1]["label"] == "wording: shares"
    for before, after in pairwise(steps[:-1]):
        assert after["start"] == pytest.approx(before["end"])
    assert steps[-1]["weight"] == pytest.approx(sum(piece["weight"] for piece in EVIDENCE))
    assert [step["kind"] for step in steps] == ["against", "for", "for", "for", "total"]
    assert len(waterfall(EVIDENCE).to_dict()["layer"]) == 3
    assert waterfall_steps([])[-1]["weight"] == 0


def test_bits_are_log_odds_to_the_base_two() -> None:
    assert probability(0) == 0.5
    assert probability(1) == pytest.approx(2 / 3)
    for bits in (-1e6, 1e6):
        assert 0 <= probability(bits) <= 1
        assert math.isfinite(probability(bits))


def test_serving_is_local_and_tells_nobody(tmp_path: Path) -> None:
    line = command(tmp_path, 8502, headless=True)
    assert "--browser.gatherUsageStats=false" in line
    assert "--server.address=localhost" in line
    assert line[-2:] == ["--", str(tmp_path)]
    with pytest.raises(InputError, match="no lake at"):
        serve(tmp_path / "nowhere")
    Lake(tmp_path / "lake").open(create=True)
    with pytest.raises(InputError, match="no such port"):
        serve(tmp_path / "lake", port=70_000)
